#include "tokenizer/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

static int compare_patterns(const void *a, const void *b) {
    struct str x = (*(const struct added_token *const *)a)->pattern;
    struct str y = (*(const struct added_token *const *)b)->pattern;
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static unsigned char first_byte(const struct added_token *t) {
    return (unsigned char)t->pattern.ptr[0];
}

enum quern_status added_set_init(struct added_set *set, const struct added_token *tokens, size_t n,
                                 bool normalized, struct quern_error *err) {
    *set = (struct added_set){.only_first = -1};
    set->tokens = malloc((n ? n : 1) * sizeof(const struct added_token *));
    if (!set->tokens)
        return error_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (tokens[i].normalized == normalized && tokens[i].pattern.len)
            set->tokens[set->n++] = &tokens[i];
    qsort(set->tokens, set->n, sizeof(const struct added_token *), compare_patterns);
    for (uint32_t i = 1; i < set->n; i++)
        if (str_eq(set->tokens[i - 1]->pattern, set->tokens[i]->pattern))
            return error_set(err, QUERN_ERR_FORMAT, "added_tokens: \"%.*s\" is looked for twice",
                             STR_FMT(set->tokens[i]->pattern));
    uint32_t i = 0;
    for (int b = 0; b <= 256; b++) {
        while (i < set->n && first_byte(set->tokens[i]) < b)
            i++;
        set->first[b] = i;
    }
    if (set->n && first_byte(set->tokens[0]) == first_byte(set->tokens[set->n - 1]))
        set->only_first = first_byte(set->tokens[0]);
    return QUERN_OK;
}

void added_set_release(struct added_set *set) {
    free(set->tokens);
    *set = (struct added_set){0};
}

/* The first of tokens[lo, hi), all equal up to `depth`, whose byte there is not below `byte`. */
static uint32_t lower_bound(const struct added_set *set, uint32_t lo, uint32_t hi, size_t depth,
                            int byte) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct str s = set->tokens[mid]->pattern;
        int at = s.len > depth ? (unsigned char)s.ptr[depth] : -1;
        if (at < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest pattern that begins at text[at]. */
static const struct added_token *longest_at(const struct added_set *set, struct str text,
                                            size_t at) {
    unsigned char first = (unsigned char)text.ptr[at];
    uint32_t lo = set->first[first], hi = set->first[first + 1];
    const struct added_token *longest = NULL;
    for (size_t depth = 1; lo < hi; depth++) {
        if (set->tokens[lo]->pattern.len == depth)
            longest = set->tokens[lo];
        if (at + depth == text.len)
            break;
        if (hi - lo == 1) {
            struct str only = set->tokens[lo]->pattern;
            struct str rest = {text.ptr + at, text.len - at};
            return str_starts_with(rest, only) ? set->tokens[lo] : longest;
        }
        int byte = (unsigned char)text.ptr[at + depth];
        lo = lower_bound(set, lo, hi, depth, byte);
        hi = lower_bound(set, lo, hi, depth, byte + 1);
    }
    return longest;
}

static const struct added_token *find_next(const struct added_set *set, struct str text,
                                           size_t from, size_t *at) {
    for (size_t i = from; i < text.len; i++) {
        if (set->only_first >= 0) {
            const char *p = memchr(text.ptr + i, set->only_first, text.len - i);
            if (!p)
                return NULL;
            i = (size_t)(p - text.ptr);
        } else {
            unsigned char b = (unsigned char)text.ptr[i];
            if (set->first[b] == set->first[b + 1])
                continue;
        }
        const struct added_token *t = longest_at(set, text, i);
        if (t) {
            *at = i;
            return t;
        }
    }
    return NULL;
}

static int32_t character_at(struct str text, size_t at, size_t *len) {
    int32_t c;
    const unsigned char *p = (const unsigned char *)text.ptr + at;
    *len = (size_t)utf8_decode(p, (const unsigned char *)text.ptr + text.len, &c);
    return c;
}

static int32_t character_before(struct str text, size_t at, size_t *begin) {
    size_t len;
    *begin = at;
    while (*begin > 0 && (text.ptr[--*begin] & 0xC0) == 0x80)
        continue;
    return character_at(text, *begin, &len);
}

static bool stands_alone(struct str text, size_t begin, size_t end) {
    size_t ignored;
    if (begin > 0 && unicode_is_word(character_before(text, begin, &ignored)))
        return false;
    return end == text.len || !unicode_is_word(character_at(text, end, &ignored));
}

/* Takes in the spaces that the token strips. Those before it that an earlier token took stay
 * taken. */
static void widen(struct str text, struct added_cursor *cursor, struct added_piece *piece) {
    size_t begin = piece->begin, len;
    if (piece->token->lstrip) {
        while (begin > cursor->emitted) {
            size_t before;
            if (!unicode_is_space(character_before(text, begin, &before)))
                break;
            begin = before;
        }
        piece->begin = begin > cursor->emitted ? begin : cursor->emitted;
    }
    if (!piece->token->rstrip)
        return;
    /* A token that is itself a space is met at every place of a run, which would be walked through
     * each time. */
    if (piece->end >= cursor->spaces_begin && piece->end < cursor->spaces_end) {
        piece->end = cursor->spaces_end;
        return;
    }
    cursor->spaces_begin = piece->end;
    while (piece->end < text.len && unicode_is_space(character_at(text, piece->end, &len)))
        piece->end += len;
    cursor->spaces_end = piece->end;
}

bool added_set_next(const struct added_set *set, struct str text, struct added_cursor *cursor,
                    struct added_piece *piece) {
    size_t at;
    const struct added_token *t = NULL;
    if (cursor->has_held) {
        *piece = cursor->held;
        cursor->has_held = false;
        cursor->emitted = piece->end;
        return true;
    }
    while (set->n && (t = find_next(set, text, cursor->search, &at))) {
        cursor->search = at + t->pattern.len;
        if (t->single_word && !stands_alone(text, at, cursor->search))
            continue;
        cursor->held = (struct added_piece){t, at, cursor->search};
        widen(text, cursor, &cursor->held);
        /* A token that strips on its left and lies within what an earlier one took keeps no text,
         * and tokenizers drops it. */
        if (cursor->held.begin < cursor->held.end)
            break;
    }
    if (!t) {
        *piece = (struct added_piece){NULL, cursor->emitted, text.len};
        cursor->search = cursor->emitted = text.len;
        return piece->begin < piece->end;
    }
    if (cursor->emitted < cursor->held.begin) {
        *piece = (struct added_piece){NULL, cursor->emitted, cursor->held.begin};
        cursor->has_held = true;
        return true;
    }
    *piece = cursor->held;
    cursor->emitted = piece->end;
    return true;
}
