/* Ranges of characters as expressions over the bytes of UTF-8. */
#include "grammar/regex.h"

static uint32_t lead_byte(uint32_t c, int length) {
    static const uint8_t mark[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    return mark[length] | c >> (6 * (length - 1));
}

static expr_id is_character(struct regex_store *s, expr_id x, bool whole) {
    if (whole && x != GRAMMAR_NONE && x > RE_ID_ANYTHING)
        s->nodes[x].text = RE_CHARACTER;
    return x;
}

/* lo..hi, all of one length, `rest` bytes of which follow. */
static expr_id range_of_length(struct regex_store *s, uint32_t lo, uint32_t hi, int rest,
                               bool leading) {
    uint32_t low_bits = (1u << (6 * rest)) - 1;
    uint32_t b_lo =
        leading && rest ? lead_byte(lo, rest + 1) : (lo >> (6 * rest)) & (leading ? 0x7f : 0x3f);
    uint32_t b_hi =
        leading && rest ? lead_byte(hi, rest + 1) : (hi >> (6 * rest)) & (leading ? 0x7f : 0x3f);
    if (!leading)
        b_lo |= 0x80, b_hi |= 0x80;
    if (rest == 0)
        return is_character(s, re_range(s, b_lo, b_hi), leading);
    if (b_lo == b_hi)
        return is_character(
            s,
            re_concat(s, re_range(s, b_lo, b_hi),
                      range_of_length(s, lo & low_bits, hi & low_bits, rest - 1, false)),
            leading);
    expr_id out = RE_ID_NOTHING;
    if (lo & low_bits) { /* the first lead byte is not full */
        out = re_concat(s, re_range(s, b_lo, b_lo),
                        range_of_length(s, lo & low_bits, low_bits, rest - 1, false));
        is_character(s, out, leading);
        b_lo++;
    }
    if ((hi & low_bits) != low_bits) {
        expr_id last = re_concat(s, re_range(s, b_hi, b_hi),
                                 range_of_length(s, 0, hi & low_bits, rest - 1, false));
        out = re_pair(s, RE_OR, out, is_character(s, last, leading));
        b_hi--;
    }
    if (b_lo <= b_hi) {
        expr_id full =
            re_concat(s, re_range(s, b_lo, b_hi), range_of_length(s, 0, low_bits, rest - 1, false));
        out = re_pair(s, RE_OR, out, is_character(s, full, leading));
    }
    return out;
}

expr_id re_char_range(struct regex_store *s, uint32_t lo, uint32_t hi) {
    static const struct char_range parts[] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
    static const int rest[] = {0, 1, 2, 2, 3};
    expr_id out = RE_ID_NOTHING;
    for (int i = 0; i < 5; i++) {
        uint32_t a = lo < parts[i].lo ? parts[i].lo : lo, b = hi > parts[i].hi ? parts[i].hi : hi;
        if (a <= b)
            out = re_pair(s, RE_OR, out, range_of_length(s, a, b, rest[i], true));
    }
    return out;
}
