/* Derivatives, the escapes of JSON strings, and the search for emptiness. */
#include <string.h>

#include "grammar/regex.h"
#include "text/unicode.h"

/* States of RE_JSON: what of an escape has been read. The digits read so far are counted in
 * bits 4 to 6; the value in `c` holds them, and above bit 16 the high surrogate. With
 * RE_JSON_USUAL a character that needs no escape has none, unless it is outside ASCII. */
enum { J_PLAIN, J_ESCAPE, J_DIGITS, J_HIGH, J_HIGH_ESCAPE, J_LOW_DIGITS };
enum { J_STATE = 7 };

enum re_json_reads re_json_reads(const struct re_node *n) {
    switch (n->b & J_STATE) {
    case J_PLAIN:
        return RE_JSON_READS_TEXT;
    case J_ESCAPE:
    case J_HIGH:
    case J_HIGH_ESCAPE:
        return RE_JSON_READS_ESCAPE;
    default:
        return RE_JSON_READS_DIGITS;
    }
}

static expr_id derive_char(struct regex_store *s, expr_id x, uint32_t code_point) {
    char utf8[4];
    int n = utf8_encode((int32_t)code_point, utf8);
    for (int i = 0; i < n && x != GRAMMAR_NONE; i++)
        x = re_derive(s, x, (unsigned char)utf8[i]);
    return x;
}

static expr_id plain_json(struct regex_store *s, const struct re_node *n, expr_id x) {
    return x == GRAMMAR_NONE ? x : re_json(s, x, J_PLAIN | (n->b & RE_JSON_FLAGS), 0);
}

static expr_id next_json(struct regex_store *s, const struct re_node *n, uint32_t state,
                         uint32_t value) {
    return re_json(s, n->a, state | (n->b & RE_JSON_FLAGS), value);
}

static int hex_digit(unsigned c) {
    if (c >= '0' && c <= '9')
        return (int)c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (int)c - 'a' + 10 : -1;
}

static expr_id derive_json_digit(struct regex_store *s, const struct re_node *n, unsigned c) {
    int digit = hex_digit(c);
    if (digit < 0)
        return RE_ID_NOTHING;
    uint32_t state = n->b & J_STATE, count = (n->b >> 4 & 7) + 1;
    uint32_t value = (n->c & 0xffff) << 4 | (uint32_t)digit, high = n->c >> 16;
    if (count < 4)
        return next_json(s, n, state | count << 4, high << 16 | value);
    if ((n->b & RE_JSON_USUAL) && value >= 0x20 && value < 0x80)
        return RE_ID_NOTHING;
    bool is_high = value >= 0xd800 && value < 0xdc00, is_low = value >= 0xdc00 && value < 0xe000;
    if (state == J_LOW_DIGITS) {
        if (!is_low)
            return RE_ID_NOTHING;
        value = 0x10000 + ((high - 0xd800) << 10) + (value - 0xdc00);
        return plain_json(s, n, derive_char(s, n->a, value));
    }
    if (is_high && (n->b & RE_JSON_BMP))
        return RE_ID_NOTHING;
    if (is_high)
        return next_json(s, n, J_HIGH, value << 16);
    return is_low ? RE_ID_NOTHING : plain_json(s, n, derive_char(s, n->a, value));
}

static expr_id derive_json(struct regex_store *s, const struct re_node *n, unsigned c) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    switch (n->b & J_STATE) {
    case J_PLAIN:
        if (c < 0x20 || c == '"')
            return RE_ID_NOTHING;
        if (c == '\\')
            return next_json(s, n, J_ESCAPE, 0);
        return plain_json(s, n, re_derive(s, n->a, c));
    case J_ESCAPE:
        if (c == 'u')
            return next_json(s, n, J_DIGITS, 0);
        if (c == '/' && (n->b & RE_JSON_USUAL))
            return RE_ID_NOTHING;
        for (size_t i = 0; i + 1 < sizeof from; i++)
            if ((unsigned char)from[i] == c)
                return plain_json(s, n, derive_char(s, n->a, (unsigned char)to[i]));
        return RE_ID_NOTHING;
    case J_HIGH:
        return c == '\\' ? next_json(s, n, J_HIGH_ESCAPE, n->c) : RE_ID_NOTHING;
    case J_HIGH_ESCAPE:
        return c == 'u' ? next_json(s, n, J_LOW_DIGITS, n->c) : RE_ID_NOTHING;
    default:
        return derive_json_digit(s, n, c);
    }
}

static expr_id derive_nary(struct regex_store *s, expr_id x, unsigned c) {
    struct re_node n = s->nodes[x];
    size_t base = s->scratch.n, k = n.b / sizeof(uint32_t);
    expr_id out = GRAMMAR_NONE;
    for (size_t i = 0; i < k; i++) {
        uint32_t child;
        memcpy(&child, (const char *)(s->content + n.a) + i * sizeof child, sizeof child);
        expr_id d = re_derive(s, child, c);
        if (d == GRAMMAR_NONE)
            goto done;
        if (d == RE_ID_NOTHING && n.kind == RE_AND) {
            out = d;
            goto done;
        }
        if (d == RE_ID_NOTHING)
            continue;
        enum quern_status st = u32s_push(&s->budget, &s->scratch, d);
        if (st != QUERN_OK) {
            regex_fail(s, st, "out of its limit of bytes");
            goto done;
        }
    }
    out = re_nary_scratch(s, (enum re_kind)n.kind, base);
done:
    s->scratch.n = base;
    return out;
}

static expr_id derive_uncached(struct regex_store *s, expr_id x, unsigned c) {
    struct re_node n = s->nodes[x];
    switch (n.kind) {
    case RE_CONCAT: {
        expr_id d = re_concat(s, re_derive(s, n.a, c), n.b);
        if (d == GRAMMAR_NONE || !s->nodes[n.a].nullable)
            return d;
        return re_pair(s, RE_OR, d, re_derive(s, n.b, c));
    }
    case RE_OR:
    case RE_AND:
        return derive_nary(s, x, c);
    case RE_NOT:
        return re_not(s, re_derive(s, n.a, c));
    case RE_REPEAT: {
        expr_id d = re_derive(s, n.a, c);
        if (d == GRAMMAR_NONE || d == RE_ID_NOTHING)
            return d;
        uint32_t max = n.c == GRAMMAR_INF ? n.c : n.c - 1;
        return re_concat(s, d, re_repeat(s, n.a, n.b ? n.b - 1 : 0, max));
    }
    case RE_MULTIPLE:
        if (c < '0' || c > '9')
            return RE_ID_NOTHING;
        return re_remainder(s, n.a, (uint32_t)((n.b * UINT64_C(10) + (c - '0')) % n.a), n.c);
    case RE_JSON:
        return derive_json(s, &n, c);
    default:
        return RE_ID_NOTHING;
    }
}

/* Seen at the first byte of a text that x begins with: declared keys are many, and most bytes end
 * most of them. */
static bool is_mismatch(const struct regex_store *s, expr_id x, unsigned c) {
    const struct re_node *n = &s->nodes[x];
    if (n->kind == RE_CONCAT)
        n = &s->nodes[n->a];
    if (n->kind == RE_JSON && (n->b & J_STATE) == J_PLAIN) {
        if (c == '\\')
            return false;
        n = &s->nodes[n->a];
        if (n->kind == RE_CONCAT)
            n = &s->nodes[n->a];
    }
    return n->kind == RE_LITERAL && *(const unsigned char *)(s->content + n->a) != c;
}

expr_id re_derive(struct regex_store *s, expr_id x, unsigned byte) {
    if (s->failed || x == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    struct re_node n = s->nodes[x];
    unsigned c = s->representative[s->class_of[byte]];
    switch (n.kind) {
    case RE_NOTHING:
    case RE_EMPTY:
        return RE_ID_NOTHING;
    case RE_ANYTHING:
        return x;
    case RE_BYTES:
        return s->content[n.a + c / 64] >> (c % 64) & 1 ? RE_ID_EMPTY : RE_ID_NOTHING;
    default:
        if (is_mismatch(s, x, c))
            return RE_ID_NOTHING;
        break;
    }
    uint64_t key = (uint64_t)x << 8 | c;
    uint32_t d;
    if (pair_map_get(&s->derivatives, key, &d))
        return d;
    if (!regex_burn(s, 1))
        return GRAMMAR_NONE;
    if (n.kind == RE_LITERAL) {
        const char *p = (const char *)(s->content + n.a);
        d = re_literal(s, (struct str){p + 1, n.b - 1});
    } else {
        d = derive_uncached(s, x, c);
    }
    if (d == GRAMMAR_NONE)
        return d;
    enum quern_status st = pair_map_put(&s->budget, &s->derivatives, key, d);
    return st == QUERN_OK ? d : regex_fail(s, st, "out of its limit of bytes");
}

/* What an unfinished escape may still become: is any of it in x? */
static expr_id json_rest(struct regex_store *s, const struct re_node *n) {
    uint32_t state = n->b & J_STATE, count = n->b >> 4 & 7, value = n->c & 0xffff, high = n->c >> 16;
    uint32_t lo = value << (4 * (4 - count)), hi = lo + (1u << (4 * (4 - count))) - 1;
    expr_id chars;
    if (state == J_ESCAPE) {
        chars = re_char_range(s, 0, 0x10ffff);
    } else if (state == J_DIGITS) {
        chars = re_char_range(s, lo, hi);
        uint32_t h1 = lo < 0xd800 ? 0xd800 : lo, h2 = hi > 0xdbff ? 0xdbff : hi;
        if (h1 <= h2 && !(n->b & RE_JSON_BMP)) {
            uint32_t first = 0x10000 + ((h1 - 0xd800) << 10);
            uint32_t last = 0x10000 + ((h2 - 0xd800) << 10) + 0x3ff;
            chars = re_pair(s, RE_OR, chars, re_char_range(s, first, last));
        }
    } else {
        if (state != J_LOW_DIGITS)
            lo = 0, hi = 0xffff;
        lo = lo < 0xdc00 ? 0xdc00 : lo;
        hi = hi > 0xdfff ? 0xdfff : hi;
        uint32_t base = 0x10000 + ((high - 0xd800) << 10) - 0xdc00;
        chars = lo <= hi ? re_char_range(s, base + lo, base + hi) : RE_ID_NOTHING;
    }
    if (n->b & RE_JSON_USUAL) { /* what has an escape, and with digits */
        expr_id usual =
            re_pair(s, RE_OR, re_char_range(s, 0, 0x1f), re_char_range(s, 0x80, 0x10ffff));
        if (state == J_ESCAPE)
            usual = re_pair(s, RE_OR, usual,
                            re_pair(s, RE_OR, re_range(s, '"', '"'), re_range(s, '\\', '\\')));
        chars = re_pair(s, RE_AND, chars, usual);
    }
    return re_pair(s, RE_AND, n->a, re_concat(s, chars, RE_ID_ANYTHING));
}

/* 1 or 2 as below; 0 for a concatenation that depends on its second part. */
static int emptiness_of_parts(struct regex_store *s, const struct re_node *n) {
    bool nothing = true;
    if (n->kind == RE_CONCAT)
        return re_is_nothing(s, n->a, &nothing) && nothing ? 2 : 0;
    for (size_t i = 0; i < n->b / sizeof(uint32_t); i++) {
        uint32_t child;
        memcpy(&child, (const char *)(s->content + n->a) + i * sizeof child, sizeof child);
        if (!re_is_nothing(s, child, &nothing))
            return 0;
        if (!nothing)
            return 1;
    }
    return 2;
}

/* Without a search: 1 matches something, 2 nothing, 0 a search is needed for *x, to which
 * the question has been moved. */
static int emptiness_quick(struct regex_store *s, expr_id *x) {
    for (;;) {
        struct re_node n = s->nodes[*x];
        if (n.nullable || n.emptiness == 1)
            return 1;
        if (n.emptiness == 2)
            return 2;
        if (!n.searchy)
            return 1;
        if (n.kind == RE_REPEAT)
            *x = n.a;
        else if (n.kind == RE_JSON && (n.b & ~(uint32_t)RE_JSON_FLAGS) == 0)
            *x = n.a;
        else if (n.kind == RE_CONCAT || n.kind == RE_OR) {
            /* A search that asked about parts would search within itself, without end. */
            bool plain_first =
                n.kind == RE_CONCAT &&
                (!s->nodes[n.a].searchy || s->nodes[n.a].nullable || s->nodes[n.a].emptiness == 1);
            if (s->searching && !plain_first)
                return 0;
            int known = plain_first ? 0 : emptiness_of_parts(s, &n);
            if (known || s->failed)
                return known;
            *x = n.b; /* of a concatenation whose first part matches something */
        } else if (n.kind == RE_JSON) {
            *x = json_rest(s, &n);
            if (*x == GRAMMAR_NONE)
                return 0;
        } else
            return 0;
    }
}

struct search {
    struct u32s queue, parent;
    struct u32s heap; /* indices into the queue, the least way first */
    struct u32s done; /* of each index */
    struct id_table seen;
    uint32_t oldest;
    bool greedy;
};

/* Of two indices: is the first nearer to a match, or newer? */
static bool nearer(const struct regex_store *s, const struct search *q, uint32_t i, uint32_t k) {
    const uint32_t x = s->nodes[q->queue.v[i]].way, y = s->nodes[q->queue.v[k]].way;
    return x != y ? x < y : i > k;
}

static enum quern_status heap_push(struct regex_store *s, struct search *q, uint32_t i) {
    enum quern_status st = u32s_push(&s->budget, &q->heap, i);
    if (st != QUERN_OK)
        return st;
    uint32_t *v = q->heap.v;
    size_t at = q->heap.n - 1;
    for (; at > 0 && nearer(s, q, i, v[(at - 1) / 2]); at = (at - 1) / 2)
        v[at] = v[(at - 1) / 2];
    v[at] = i;
    return QUERN_OK;
}

static uint32_t heap_pop(const struct regex_store *s, struct search *q) {
    uint32_t *v = q->heap.v;
    const uint32_t top = v[0], last = v[--q->heap.n];
    size_t at = 0;
    for (size_t k; (k = 2 * at + 1) < q->heap.n; at = k) {
        if (k + 1 < q->heap.n && nearer(s, q, v[k + 1], v[k]))
            k++;
        if (!nearer(s, q, v[k], last))
            break;
        v[at] = v[k];
    }
    v[at] = last;
    return top;
}

static bool search_push(struct regex_store *s, struct search *q, expr_id x, uint32_t parent) {
    size_t cursor = SIZE_MAX;
    if (id_table_next(&q->seen, x * 0x9e3779b1u, &cursor) != GRAMMAR_NONE)
        return true; /* the multiplication is a bijection: equal hash, equal id */
    const uint32_t i = (uint32_t)q->queue.n;
    enum quern_status st = id_table_add(&s->budget, &q->seen, x * 0x9e3779b1u, x);
    if (st == QUERN_OK)
        st = u32s_push(&s->budget, &q->queue, x);
    if (st == QUERN_OK)
        st = u32s_push(&s->budget, &q->parent, parent);
    if (st == QUERN_OK)
        st = u32s_push(&s->budget, &q->done, 0);
    if (st == QUERN_OK)
        st = heap_push(s, q, i);
    if (st != QUERN_OK)
        regex_fail(s, st, "out of its limit of bytes");
    return st == QUERN_OK;
}

/* The nearest and the oldest in turn: what is missing is only guessed, and where the guess leads
 * astray, a short witness is still found by breadth. False: none is left. */
static bool search_pop(const struct regex_store *s, struct search *q, uint32_t *i) {
    q->greedy = !q->greedy;
    do {
        if (q->greedy ? !q->heap.n : q->oldest == q->done.n)
            return false;
        *i = q->greedy ? heap_pop(s, q) : q->oldest++;
    } while (q->done.v[*i]);
    q->done.v[*i] = 1;
    return true;
}

/* The derivatives of entry i. *found: one of them matches something. */
static bool search_entry(struct regex_store *s, struct search *q, uint32_t i, bool *found) {
    const expr_id x = q->queue.v[i];
    const struct re_partition *local = re_local_classes(s, &x, 1, 1);
    if (!local)
        return false;
    uint8_t first[256];
    const unsigned n = local->n;
    memcpy(first, local->first, n);
    for (unsigned k = 0; k < n; k++) {
        expr_id d = re_derive(s, x, first[k]);
        if (d == GRAMMAR_NONE || !regex_burn(s, 1))
            return false;
        int known = emptiness_quick(s, &d);
        if (s->failed)
            return false;
        if (known == 0 && !search_push(s, q, d, i))
            return false;
        *found = known == 1;
        if (*found)
            return true;
    }
    return true;
}

static bool search_run(struct regex_store *s, struct search *q, expr_id x, bool *nothing) {
    bool found = false;
    uint32_t i;
    if (!search_push(s, q, x, GRAMMAR_NONE))
        return false;
    while (!found && search_pop(s, q, &i))
        if (!search_entry(s, q, i, &found))
            return false;
    if (found)
        for (; i != GRAMMAR_NONE; i = q->parent.v[i])
            s->nodes[q->queue.v[i]].emptiness = 1;
    for (size_t k = 0; k < q->queue.n && !found; k++)
        s->nodes[q->queue.v[k]].emptiness = 2;
    *nothing = !found;
    return true;
}

bool re_is_nothing(struct regex_store *s, expr_id x, bool *out) {
    if (s->failed || x == GRAMMAR_NONE)
        return false;
    expr_id y = x;
    int known = emptiness_quick(s, &y);
    if (s->failed)
        return false;
    if (known) {
        *out = known == 2;
        s->nodes[x].emptiness = (uint8_t)known;
        return true;
    }
    struct search q = {0};
    s->searching = true;
    bool ok = search_run(s, &q, y, out);
    s->searching = false;
    size_t held = (q.queue.capacity + q.parent.capacity + q.heap.capacity + q.done.capacity) * 4 +
                  q.seen.capacity * 8;
    s->budget.used -= held;
    u32s_release(&q.queue);
    u32s_release(&q.parent);
    u32s_release(&q.heap);
    u32s_release(&q.done);
    id_table_release(&q.seen);
    if (ok)
        s->nodes[x].emptiness = *out ? 2 : 1;
    return ok;
}
