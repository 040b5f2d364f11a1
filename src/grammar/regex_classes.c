/* Which bytes an expression tells apart at its beginning. The store's classes serve all of its
 * expressions and are as many as 256 once JSON strings are among them; those of one expression
 * are few, and a derivative for each is enough. Partitions of the bytes are interned, and what
 * two of them cut together is remembered, so that an expression asks its parts only once. */
#include <string.h>

#include "grammar/regex.h"

/* More of them are not told apart: every byte for itself, which is the first partition. */
enum { PARTITIONS_MAX = 2048, PARTITION_NONE = 0x7fffffff };
enum {
    PARTITION_FULL,
    PARTITION_ONE,
    PARTITION_JSON_TEXT,
    PARTITION_JSON_ESCAPE,
    PARTITION_JSON_DIGITS,
    PARTITION_DIGITS,
    PARTITIONS_READY
};

/* Classes are numbered in the order of their first bytes: equal partitions are equal arrays. */
static uint32_t intern(struct regex_store *s, const uint8_t class_of[256]) {
    struct re_partition p = {.n = 0};
    memcpy(p.class_of, class_of, sizeof p.class_of);
    for (unsigned c = 0; c < 256; c++)
        if (p.class_of[c] == p.n)
            p.first[p.n++] = (uint8_t)c;
    const uint32_t h = intern_hash(class_of, 256, 7);
    size_t cursor = SIZE_MAX;
    for (uint32_t id; (id = id_table_next(&s->partition_table, h, &cursor)) != GRAMMAR_NONE;)
        if (memcmp(s->partitions[id].class_of, class_of, 256) == 0)
            return id;
    if (s->n_partitions == PARTITIONS_MAX)
        return PARTITION_FULL;
    enum quern_status st = budget_grow(&s->budget, &s->partitions, &s->partitions_capacity,
                                       s->n_partitions + 1, sizeof p);
    if (st == QUERN_OK)
        st = id_table_add(&s->budget, &s->partition_table, h, (uint32_t)s->n_partitions);
    if (st != QUERN_OK) {
        regex_fail(s, st, "out of its limit of bytes");
        return PARTITION_NONE;
    }
    s->partitions[s->n_partitions] = p;
    return (uint32_t)s->n_partitions++;
}

/* class_of[c] = key[c], numbered anew; keys below 2^16. */
static uint32_t intern_keys(struct regex_store *s, const uint16_t key[256]) {
    uint8_t class_of[256];
    uint16_t keys[256];
    unsigned n = 0;
    for (unsigned c = 0; c < 256; c++) {
        unsigned k = n;
        while (k > 0 && keys[k - 1] != key[c])
            k--;
        if (k == 0) {
            keys[n] = key[c];
            k = ++n;
        }
        class_of[c] = (uint8_t)(k - 1);
    }
    return intern(s, class_of);
}

static uint32_t of_set(struct regex_store *s, const uint64_t set[4]) {
    uint16_t key[256];
    for (unsigned c = 0; c < 256; c++)
        key[c] = set[c / 64] >> (c % 64) & 1;
    return intern_keys(s, key);
}

/* Each of these bytes alone, control characters together, and the rest. */
static uint32_t of_text(struct regex_store *s, const char *bytes, bool control) {
    uint16_t key[256];
    for (unsigned c = 0; c < 256; c++)
        key[c] = control && c < 0x20;
    for (uint16_t k = 2; *bytes; bytes++)
        key[(unsigned char)*bytes] = k++;
    return intern_keys(s, key);
}

static uint32_t meet(struct regex_store *s, uint32_t x, uint32_t y) {
    if (x == PARTITION_NONE || y == PARTITION_NONE)
        return PARTITION_NONE;
    if (x == y || x == PARTITION_FULL || y == PARTITION_ONE)
        return x;
    if (y == PARTITION_FULL || x == PARTITION_ONE)
        return y;
    const uint64_t pair = x < y ? (uint64_t)x << 32 | y : (uint64_t)y << 32 | x;
    uint32_t out;
    if (pair_map_get(&s->meets, pair, &out))
        return out;
    uint16_t key[256];
    for (unsigned c = 0; c < 256; c++)
        key[c] = (uint16_t)(s->partitions[x].class_of[c] << 8 | s->partitions[y].class_of[c]);
    out = intern_keys(s, key);
    if (out == PARTITION_NONE)
        return out;
    enum quern_status st = pair_map_put(&s->budget, &s->meets, pair, out);
    if (st == QUERN_OK)
        return out;
    regex_fail(s, st, "out of its limit of bytes");
    return PARTITION_NONE;
}

/* The first partitions have the numbers above. */
static bool prepare(struct regex_store *s) {
    uint8_t class_of[256];
    if (s->n_partitions >= PARTITIONS_READY)
        return true;
    for (unsigned c = 0; c < 256; c++)
        class_of[c] = (uint8_t)c;
    if (intern(s, class_of) != PARTITION_FULL)
        return false;
    memset(class_of, 0, sizeof class_of);
    return intern(s, class_of) == PARTITION_ONE &&
           of_text(s, "\"\\", true) == PARTITION_JSON_TEXT &&
           of_text(s, "\"\\/bfnrtu", false) == PARTITION_JSON_ESCAPE &&
           of_text(s, "0123456789abcdefABCDEF", false) == PARTITION_JSON_DIGITS &&
           of_text(s, "0123456789", false) == PARTITION_DIGITS;
}

static uint32_t partition_of(struct regex_store *s, expr_id x);

static uint32_t of_json(struct regex_store *s, const struct re_node *n) {
    switch (re_json_reads(n)) {
    case RE_JSON_READS_TEXT:
        return meet(s, PARTITION_JSON_TEXT, partition_of(s, n->a));
    case RE_JSON_READS_ESCAPE:
        return PARTITION_JSON_ESCAPE;
    default:
        return PARTITION_JSON_DIGITS;
    }
}

static uint32_t of_node(struct regex_store *s, const struct re_node *n) {
    uint32_t out = PARTITION_ONE;
    switch (n->kind) {
    case RE_BYTES:
        return of_set(s, s->content + n->a);
    case RE_LITERAL: {
        const unsigned first = *(const unsigned char *)(s->content + n->a);
        uint64_t set[4] = {0};
        set[first / 64] = UINT64_C(1) << (first % 64);
        return of_set(s, set);
    }
    case RE_CONCAT:
        out = partition_of(s, n->a);
        return s->nodes[n->a].nullable ? meet(s, out, partition_of(s, n->b)) : out;
    case RE_OR:
    case RE_AND:
        for (size_t i = 0; i < n->b / sizeof(uint32_t) && out != PARTITION_FULL; i++) {
            uint32_t child;
            memcpy(&child, (const char *)(s->content + n->a) + i * sizeof child, sizeof child);
            out = meet(s, out, partition_of(s, child));
        }
        return out;
    case RE_NOT:
    case RE_REPEAT:
        return partition_of(s, n->a);
    case RE_MULTIPLE:
        return PARTITION_DIGITS;
    case RE_JSON:
        return of_json(s, n);
    default:
        return out;
    }
}

static uint32_t partition_of(struct regex_store *s, expr_id x) {
    if (s->nodes[x].partition)
        return s->nodes[x].partition - 1;
    const struct re_node n = s->nodes[x];
    const uint32_t out = of_node(s, &n);
    if (out != PARTITION_NONE)
        s->nodes[x].partition = out + 1;
    return out;
}

const struct re_partition *re_local_classes(struct regex_store *s, const expr_id *x, size_t n,
                                            size_t stride) {
    if (!prepare(s))
        return NULL;
    uint32_t out = PARTITION_ONE;
    for (size_t i = 0; i < n && out != PARTITION_NONE; i++)
        if (x[i * stride] < s->n)
            out = meet(s, out, partition_of(s, x[i * stride]));
    return out == PARTITION_NONE ? NULL : &s->partitions[out];
}

/* ---- first bytes ------------------------------------------------------------------------- */

static void set_all(uint64_t set[4], bool ones) {
    for (int k = 0; k < 4; k++)
        set[k] = ones ? ~UINT64_C(0) : 0;
}

static void first_of_json(const struct re_node *n, uint64_t set[4]) {
    static const char escape[] = "\"\\/bfnrtu", digits[] = "0123456789abcdefABCDEF";
    const enum re_json_reads reads = re_json_reads(n);
    if (reads == RE_JSON_READS_TEXT) {
        set[0] &= ~(UINT64_C(0xffffffff) | UINT64_C(1) << '"');
        set['\\' / 64] |= UINT64_C(1) << ('\\' % 64);
        return;
    }
    set_all(set, false);
    for (const char *p = reads == RE_JSON_READS_ESCAPE ? escape : digits; *p; p++)
        set[*p / 64] |= UINT64_C(1) << (*p % 64);
}

static void first_of_parts(const struct regex_store *s, const struct re_node *n, uint64_t set[4],
                           unsigned *steps) {
    set_all(set, n->kind == RE_AND);
    for (size_t i = 0; i < n->b / sizeof(uint32_t); i++) {
        uint32_t child;
        uint64_t part[4];
        memcpy(&child, (const char *)(s->content + n->a) + i * sizeof child, sizeof child);
        re_first(s, child, part, steps);
        for (int k = 0; k < 4; k++)
            set[k] = n->kind == RE_AND ? set[k] & part[k] : set[k] | part[k];
    }
}

void re_first(const struct regex_store *s, expr_id x, uint64_t set[4], unsigned *steps) {
    const struct re_node *n = &s->nodes[x];
    uint64_t more[4];
    set_all(set, n->kind == RE_ANYTHING || n->kind == RE_NOT || *steps == 0);
    if (*steps == 0 || --*steps == 0) {
        set_all(set, true);
        return;
    }
    switch (n->kind) {
    case RE_BYTES:
        memcpy(set, s->content + n->a, 4 * sizeof *set);
        return;
    case RE_LITERAL: {
        const unsigned c = *(const unsigned char *)(s->content + n->a);
        set[c / 64] |= UINT64_C(1) << (c % 64);
        return;
    }
    case RE_MULTIPLE:
        set[0] |= UINT64_C(0x3ff) << '0';
        return;
    case RE_REPEAT:
        re_first(s, n->a, set, steps);
        return;
    case RE_JSON:
        re_first(s, n->a, set, steps);
        first_of_json(n, set);
        return;
    case RE_CONCAT:
        re_first(s, n->a, set, steps);
        if (!s->nodes[n->a].nullable)
            return;
        re_first(s, n->b, more, steps);
        for (int k = 0; k < 4; k++)
            set[k] |= more[k];
        return;
    case RE_OR:
    case RE_AND:
        first_of_parts(s, n, set, steps);
        return;
    default:
        return;
    }
}
