/* Lengths add up along an expression's structure but for and, not and the spellings of JSON: there
 * A* walks the derivatives, guided by a bound that the structure gives. It is exact where nothing
 * is and-ed, so that the walk goes straight. */
#include "grammar/shortest.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/heap.h"

enum { NODES_MAX = 20000, N_FIRST = 63, N_BYTES = N_FIRST + 256 };

/* Bytes that read well come first, then all once more. */
static unsigned nth_byte(unsigned k) {
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ";
    _Static_assert(sizeof first - 1 == N_FIRST, "as many as are counted");
    return k < N_FIRST ? (unsigned char)first[k] : (k - N_FIRST + '!') & 255;
}

static uint32_t remember(struct regex_store *re, struct pair_map *map, expr_id x, uint32_t value) {
    (void)pair_map_put(&re->budget, map, x, value); /* without room it is worked out again */
    return value;
}

static size_t n_parts(const struct re_node *n) {
    return n->b / sizeof(uint32_t);
}

static expr_id part(const struct regex_store *re, const struct re_node *n, size_t i) {
    uint32_t x;
    memcpy(&x, (const char *)(re->content + n->a) + i * sizeof x, sizeof x);
    return x;
}

static uint32_t times(uint32_t length, uint32_t n) {
    const uint64_t all = (uint64_t)length * n;
    return length == SHORTEST_NONE && n ? length
           : all < SHORTEST_NONE        ? (uint32_t)all
                                        : SHORTEST_NONE - 1;
}

/* The digits that lead from one remainder to the wanted one: how many, and their value. */
static uint32_t digits_of(const struct re_node *n, uint64_t *value) {
    uint64_t power = 1;
    for (uint32_t k = 0;; k++, power *= 10) {
        const uint64_t there = n->b % n->a * (power % n->a) % n->a;
        *value = (n->c + n->a - there) % n->a;
        if (*value < power)
            return k;
    }
}

typedef uint32_t length_fn(struct shortest *t, struct regex_store *re, expr_id x);

/* A chain of concatenations is long, not deep. */
static uint32_t length_of_chain(struct shortest *t, struct regex_store *re, expr_id x,
                                length_fn *length, struct pair_map *map) {
    const size_t base = re->scratch.n;
    uint32_t sum = 0, known;
    expr_id tail = x;
    for (; re->nodes[tail].kind == RE_CONCAT; tail = re->nodes[tail].b) {
        if (pair_map_get(map, tail, &known) ||
            u32s_push(&re->budget, &re->scratch, tail) != QUERN_OK)
            break;
    }
    if (pair_map_get(map, tail, &known))
        sum = known;
    else
        sum = re->nodes[tail].kind == RE_CONCAT ? SHORTEST_NONE : length(t, re, tail);
    while (re->scratch.n > base) {
        const expr_id y = re->scratch.v[--re->scratch.n];
        const size_t held = re->scratch.n;
        const uint32_t head = length(t, re, re->nodes[y].a);
        re->scratch.n = held;
        sum = remember(re, map, y, shortest_add(sum, head));
    }
    return sum;
}

/* Along the structure; and, not and JSON are the caller's. */
static uint32_t length_of_parts(struct shortest *t, struct regex_store *re, expr_id x,
                                length_fn *length, struct pair_map *map) {
    const struct re_node n = re->nodes[x];
    uint32_t best = SHORTEST_NONE;
    uint64_t value;
    switch (n.kind) {
    case RE_BYTES:
        return 1;
    case RE_LITERAL:
        return n.b;
    case RE_MULTIPLE:
        return digits_of(&n, &value);
    case RE_CONCAT:
        return length_of_chain(t, re, x, length, map);
    case RE_REPEAT:
        return times(length(t, re, n.a), n.b);
    case RE_OR:
        for (size_t i = 0; i < n_parts(&n); i++) {
            const uint32_t l = length(t, re, part(re, &n, i));
            best = l < best ? l : best;
        }
        return best;
    default:
        return best;
    }
}

static uint32_t low_of_json(struct shortest *t, struct regex_store *re, const struct re_node *n) {
    /* An escape that has begun ends in so many bytes and takes a character off the text. */
    const uint32_t low = shortest_low(t, re, n->a), left = low > 4 ? low - 4 : 0;
    if (low == SHORTEST_NONE || (n->b & ~(uint32_t)RE_JSON_FLAGS) == 0)
        return low;
    return re_json_reads(n) == RE_JSON_READS_DIGITS ? left + 4 - (n->b >> 4 & 7) : left + 1;
}

uint32_t shortest_low(struct shortest *t, struct regex_store *re, expr_id x) {
    const struct re_node n = re->nodes[x];
    uint32_t low = 0;
    if (n.kind == RE_NOTHING || n.emptiness == 2)
        return SHORTEST_NONE;
    if (n.nullable || n.kind == RE_BYTES || n.kind == RE_LITERAL)
        return n.nullable ? 0 : n.kind == RE_BYTES ? 1 : n.b;
    if (pair_map_get(&t->exact, x, &low) && low != SHORTEST_NONE)
        return low;
    if (pair_map_get(&t->low, x, &low))
        return low;
    if (n.kind == RE_NOT) {
        low = 1;
    } else if (n.kind == RE_JSON) {
        low = low_of_json(t, re, &n);
    } else if (n.kind == RE_AND) {
        low = 1;
        for (size_t i = 0; i < n_parts(&n); i++) {
            const uint32_t l = shortest_low(t, re, part(re, &n, i));
            low = l > low ? l : low;
        }
    } else {
        low = length_of_parts(t, re, x, shortest_low, &t->low);
    }
    return remember(re, &t->low, x, low);
}

/* ---- the search -------------------------------------------------------------------- */

struct walk_node {
    expr_id x;
    uint32_t parent, done, at; /* bytes read so far; the next byte to try */
    uint8_t byte;
};

struct walk {
    struct budget budget;
    struct walk_node *nodes;
    size_t n, capacity;
    struct heap heap;
    struct pair_map best; /* expression -> its last node */
};

/* False: the search is over. */
static bool walk_push(struct walk *w, struct shortest *t, struct regex_store *re,
                      struct walk_node node) {
    uint32_t known;
    const uint32_t low = shortest_low(t, re, node.x);
    if (low == SHORTEST_NONE ||
        (pair_map_get(&w->best, node.x, &known) && w->nodes[known].done <= node.done))
        return true;
    if (w->n == NODES_MAX ||
        budget_grow(&w->budget, &w->nodes, &w->capacity, w->n + 1, sizeof node) != QUERN_OK ||
        pair_map_put(&w->budget, &w->best, node.x, (uint32_t)w->n) != QUERN_OK ||
        heap_push(&w->budget, &w->heap, shortest_add(node.done, low), (uint32_t)w->n) != QUERN_OK)
        return false;
    w->nodes[w->n++] = node;
    return true;
}

/* Stops at the first derivative that is as near as can be, and goes on there when it is asked
 * again: a straight way costs a derivative a byte. */
static bool walk_expand(struct walk *w, struct shortest *t, struct regex_store *re, uint32_t i,
                        uint64_t key) {
    const struct walk_node node = w->nodes[i];
    uint8_t class_of[256];
    uint64_t seen[4] = {0};
    const struct re_partition *local = re_local_classes(re, &node.x, 1, 1);
    if (!local)
        return false;
    memcpy(class_of, local->class_of, sizeof class_of);
    for (uint32_t k = 0; k < N_BYTES; k++) {
        const unsigned byte = nth_byte(k), c = class_of[byte];
        if (seen[c / 64] >> (c % 64) & 1)
            continue;
        seen[c / 64] |= UINT64_C(1) << (c % 64);
        if (k < node.at)
            continue;
        const expr_id d = re_derive(re, node.x, byte);
        if (d == GRAMMAR_NONE || !regex_burn(re, 1) ||
            !walk_push(w, t, re, (struct walk_node){d, i, node.done + 1, 0, (uint8_t)byte}))
            return false;
        if (shortest_add(node.done + 1, shortest_low(t, re, d)) > key)
            continue;
        w->nodes[i].at = k + 1;
        return heap_push(&w->budget, &w->heap, key, i) == QUERN_OK;
    }
    return true;
}

static uint32_t walk_end(const struct walk *w, struct shortest *t, struct regex_store *re,
                         uint32_t i, uint32_t left) {
    for (; w->nodes[i].parent != GRAMMAR_NONE; i = w->nodes[i].parent) {
        const expr_id from = w->nodes[w->nodes[i].parent].x;
        if (pair_map_put(&re->budget, &t->exact, from, ++left) != QUERN_OK ||
            pair_map_put(&re->budget, &t->next, from, w->nodes[i].byte) != QUERN_OK)
            return SHORTEST_NONE;
    }
    return left;
}

static uint32_t search(struct shortest *t, struct regex_store *re, expr_id x) {
    struct walk w = {.budget = {.max = 8 << 20}};
    uint32_t out = SHORTEST_NONE, left;
    bool ok = walk_push(&w, t, re, (struct walk_node){x, GRAMMAR_NONE, 0, 0, 0});
    while (ok && w.heap.n && out == SHORTEST_NONE) {
        const struct heap_entry e = heap_pop(&w.heap);
        const struct walk_node node = w.nodes[e.value];
        left = 0;
        if (re_nullable(re, node.x) ||
            (pair_map_get(&t->exact, node.x, &left) && left != SHORTEST_NONE))
            out = walk_end(&w, t, re, e.value, left);
        else
            ok = walk_expand(&w, t, re, e.value, e.key);
    }
    re->failed = false;
    free(w.nodes);
    heap_release(&w.heap);
    pair_map_release(&w.best);
    return out;
}

uint32_t shortest_length(struct shortest *t, struct regex_store *re, expr_id x) {
    const struct re_node n = re->nodes[x];
    uint32_t known;
    if (n.nullable)
        return 0;
    if (n.kind == RE_BYTES || n.kind == RE_LITERAL)
        return n.kind == RE_BYTES ? 1 : n.b;
    if (pair_map_get(&t->exact, x, &known))
        return known;
    if (n.kind == RE_AND || n.kind == RE_NOT || n.kind == RE_JSON)
        known = search(t, re, x);
    else
        known = length_of_parts(t, re, x, shortest_length, &t->exact);
    return remember(re, &t->exact, x, known);
}

/* ---- writing ------------------------------------------------------------------------ */

struct writer {
    struct shortest *t;
    struct regex_store *re;
    size_t max;
    struct budget *budget;
    struct u32s *out;
};

static bool put(struct writer *w, unsigned byte) {
    return w->out->n < w->max && u32s_push(w->budget, w->out, byte) == QUERN_OK;
}

static bool put_digits(struct writer *w, const struct re_node *n) {
    uint64_t value, power = 1;
    const uint32_t k = digits_of(n, &value);
    for (uint32_t i = 1; i < k; i++)
        power *= 10;
    for (uint32_t i = 0; i<k; i++, power = power> 1 ? power / 10 : 1)
        if (!put(w, '0' + (unsigned)(value / power % 10)))
            return false;
    return true;
}

static bool put_set(struct writer *w, const uint64_t *set) {
    for (unsigned k = 0; k < N_BYTES; k++) {
        const unsigned byte = nth_byte(k);
        if (set[byte / 64] >> (byte % 64) & 1)
            return put(w, byte);
    }
    return false;
}

static bool write(struct writer *w, expr_id x);

static bool write_repeat(struct writer *w, const struct re_node *n) {
    for (uint32_t i = 0; i < n->b; i++)
        if (!write(w, n->a))
            return false;
    return true;
}

/* What structure decides; *x is what is left to write, RE_ID_EMPTY when nothing is. */
static bool write_parts(struct writer *w, expr_id *x) {
    const struct re_node n = w->re->nodes[*x];
    const expr_id y = *x;
    const char *p;
    *x = RE_ID_EMPTY;
    switch (n.kind) {
    case RE_BYTES:
        return put_set(w, w->re->content + n.a);
    case RE_LITERAL:
        p = (const char *)(w->re->content + n.a);
        for (uint32_t i = 0; i < n.b; i++)
            if (!put(w, (unsigned char)p[i]))
                return false;
        return true;
    case RE_MULTIPLE:
        return put_digits(w, &n);
    case RE_REPEAT:
        return write_repeat(w, &n);
    case RE_CONCAT:
        *x = n.b;
        return write(w, n.a);
    case RE_OR:
        for (size_t i = 0; i < n_parts(&n) && *x == RE_ID_EMPTY; i++) {
            const expr_id o = part(w->re, &n, i);
            if (shortest_length(w->t, w->re, o) == shortest_length(w->t, w->re, y))
                *x = o;
        }
        return *x != RE_ID_EMPTY;
    default:
        return false;
    }
}

static bool write(struct writer *w, expr_id x) {
    uint32_t byte;
    while (!re_nullable(w->re, x)) {
        if (shortest_length(w->t, w->re, x) == SHORTEST_NONE)
            return false;
        if (!pair_map_get(&w->t->next, x, &byte)) {
            if (!write_parts(w, &x))
                return false;
            continue;
        }
        x = re_derive(w->re, x, byte);
        if (x == GRAMMAR_NONE || !put(w, byte))
            return false;
    }
    return true;
}

bool shortest_write(struct shortest *t, struct regex_store *re, expr_id x, size_t max,
                    struct budget *b, struct u32s *out) {
    struct writer w = {t, re, max, b, out};
    return write(&w, x);
}

void shortest_release(struct shortest *t) {
    pair_map_release(&t->low);
    pair_map_release(&t->exact);
    pair_map_release(&t->next);
}
