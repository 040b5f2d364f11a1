/* Which bytes an expression tells apart at its beginning. The store's classes serve all of its
 * expressions and are as many as 256 once JSON strings are among them; those of one expression
 * are few, and a derivative for each is enough. */
#include <string.h>

#include "grammar/regex.h"

enum { VISITS_MAX = 4096, SETS_MAX = 64 };

struct byte_sets {
    uint64_t single[4]; /* bytes that have a class of their own */
    uint64_t sets[SETS_MAX][4];
    size_t n;
    unsigned visits;
    bool full; /* gave up: every byte for itself */
};

static void add_single(struct byte_sets *out, unsigned c) {
    out->single[c / 64] |= UINT64_C(1) << (c % 64);
}

static void add_text(struct byte_sets *out, const char *bytes) {
    for (; *bytes; bytes++)
        add_single(out, (unsigned char)*bytes);
}

static void add_set(struct byte_sets *out, const uint64_t set[4]) {
    for (size_t i = out->n; i-- > 0;)
        if (memcmp(out->sets[i], set, sizeof out->sets[i]) == 0)
            return;
    if (out->n == SETS_MAX) {
        out->full = true;
        return;
    }
    memcpy(out->sets[out->n++], set, sizeof out->sets[0]);
}

static void collect(const struct regex_store *s, expr_id x, struct byte_sets *out);

static void collect_json(const struct regex_store *s, const struct re_node *n,
                         struct byte_sets *out) {
    static const uint64_t control[4] = {0xffffffff, 0, 0, 0};
    switch (re_json_reads(n)) {
    case RE_JSON_READS_TEXT:
        add_set(out, control);
        add_text(out, "\"\\");
        collect(s, n->a, out);
        break;
    case RE_JSON_READS_ESCAPE:
        add_text(out, "\"\\/bfnrtu");
        break;
    default:
        add_text(out, "0123456789abcdefABCDEF");
        break;
    }
}

static void collect(const struct regex_store *s, expr_id x, struct byte_sets *out) {
    struct re_node n = s->nodes[x];
    if (++out->visits > VISITS_MAX)
        out->full = true;
    if (out->full)
        return;
    switch (n.kind) {
    case RE_BYTES:
        add_set(out, s->content + n.a);
        break;
    case RE_LITERAL:
        add_single(out, *(const unsigned char *)(s->content + n.a));
        break;
    case RE_CONCAT:
        collect(s, n.a, out);
        if (s->nodes[n.a].nullable)
            collect(s, n.b, out);
        break;
    case RE_OR:
    case RE_AND:
        for (size_t i = 0; i < n.b / sizeof(uint32_t); i++) {
            uint32_t child;
            memcpy(&child, (const char *)(s->content + n.a) + i * sizeof child, sizeof child);
            collect(s, child, out);
        }
        break;
    case RE_NOT:
    case RE_REPEAT:
        collect(s, n.a, out);
        break;
    case RE_MULTIPLE:
        add_text(out, "0123456789");
        break;
    case RE_JSON:
        collect_json(s, &n, out);
        break;
    default:
        break;
    }
}

/* Splits every class along `set`; returns their new number. */
static size_t split(uint64_t (*classes)[4], size_t n, const uint64_t set[4]) {
    for (size_t i = 0, was = n; i < was; i++) {
        uint64_t in[4], any = 0, left = 0;
        for (int k = 0; k < 4; k++) {
            in[k] = classes[i][k] & set[k];
            any |= in[k];
            left |= classes[i][k] & ~set[k];
        }
        if (!any || !left)
            continue;
        for (int k = 0; k < 4; k++)
            classes[i][k] &= ~set[k];
        memcpy(classes[n++], in, sizeof in);
    }
    return n;
}

static unsigned number_classes(const struct byte_sets *sets, uint8_t class_of[256]) {
    uint64_t classes[256][4];
    size_t n = 1;
    for (int k = 0; k < 4; k++)
        classes[0][k] = ~sets->single[k];
    for (size_t i = 0; i < sets->n; i++)
        n = split(classes, n, sets->sets[i]);
    for (size_t i = 0; i < n; i++)
        for (unsigned w = 0; w < 4; w++)
            for (uint64_t v = classes[i][w]; v; v &= v - 1)
                class_of[64 * w + (unsigned)__builtin_ctzll(v)] = (uint8_t)i;
    for (unsigned w = 0; w < 4; w++)
        for (uint64_t v = sets->single[w]; v; v &= v - 1)
            class_of[64 * w + (unsigned)__builtin_ctzll(v)] = (uint8_t)n++;
    return (unsigned)n;
}

unsigned re_local_classes(const struct regex_store *s, const expr_id *x, size_t n, size_t stride,
                          uint8_t class_of[256]) {
    struct byte_sets sets = {.n = 0};
    for (size_t i = 0; i < n && !sets.full; i++)
        if (x[i * stride] < s->n)
            collect(s, x[i * stride], &sets);
    if (!sets.full)
        return number_classes(&sets, class_of);
    memcpy(class_of, s->class_of, 256);
    return s->n_classes;
}
