/* check_attention.c - storing keys and values, and attention over them: every table against the generic
 * reference, byte by byte, and every way of cutting the work against the whole.
 *
 *     check_attention [SEED [CASES]]     checks; exit code 1 on the first difference
 *     check_attention --bench [TYPE]     speed of every table (bench_attention.c)
 *
 * As in check_kernels.c: random and adversarial input, blocks and other buffers flush with
 * unreadable pages. What no position was stored to, padding included, is random bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/bench_attention.h"
#include "support/guarded.h"

enum { DIM_MAX = 256, BLOCKS_MAX = 24, QUERIES_MAX = 400, FLOATS_MAX = 120000 };

static uint64_t rng_state;

static uint64_t next_u64(void) {
    uint64_t z = rng_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t pick(size_t low, size_t high) {
    return low + (size_t)(next_u64() % (high - low + 1));
}

enum flavour { PLAIN, SPIKED, TINY, HUGE_ONES, SPECIAL, ONE_BAD, FLAVOURS };

static float random_float(enum flavour flavour) {
    static const float specials[] = {0.0f,   -0.0f, 1e-45f, -1e-45f,  1.17e-38f, -1e-38f,
                                     3e38f,  -3e38f, 1e-36f, -1e-20f, 1e19f,     0x1p-126f};
    float unit = (float)(int32_t)next_u64() * 0x1p-31f;
    switch (flavour) {
    case SPIKED:
        return pick(0, 15) ? unit * 0.1f : unit * 60.0f;
    case TINY:
        return unit * 1e-36f;
    case HUGE_ONES:
        return unit * 1e18f;
    case SPECIAL:
        return pick(0, 3) ? unit : specials[pick(0, sizeof specials / sizeof *specials - 1)];
    case ONE_BAD:
        return pick(0, 4000) ? unit : pick(0, 1) ? NAN : INFINITY;
    default:
        return unit * 4.0f;
    }
}

static struct guarded blocks_of[2][BLOCKS_MAX], q_area, k_area, v_area, scratch_area, out_area[2];

/* ---- one case ---------------------------------------------------------------------------- */

struct check {
    struct kv_layout layout;
    struct attention_args args; /* without what differs between the runs */
    size_t first_seen, end;     /* positions */
    void *blocks[2][BLOCKS_MAX];
    const float *k, *v;
    float out[3][FLOATS_MAX], max[3][QUERIES_MAX], sum[3][QUERIES_MAX];
};

static float *fill(const struct guarded *area, size_t n, enum flavour flavour) {
    guarded_protect(area, false);
    float *p = guarded_place(area, n * sizeof *p, pick(0, 1), 0);
    for (size_t i = 0; i < n; i++)
        p[i] = random_float(flavour);
    guarded_protect(area, true);
    return p;
}

/* The same random bytes in both copies of a block. */
static void place_block(struct check *c, size_t b) {
    size_t bytes = c->args.head_offset + c->layout.head_bytes;
    unsigned char *p[2];
    bool at_end = pick(0, 1);
    for (int copy = 0; copy < 2; copy++) {
        guarded_protect(&blocks_of[copy][b], false);
        c->blocks[copy][b] = p[copy] = guarded_place(&blocks_of[copy][b], bytes, at_end, 0);
    }
    for (size_t i = 0; i < bytes; i++)
        p[0][i] = p[1][i] = (unsigned char)next_u64();
}

static void random_shape(struct check *c) {
    static const size_t usual[] = {64, 80, 96, 128, 256};
    struct attention_args *a = &c->args;
    size_t head_dim = pick(0, 1) ? usual[pick(0, 4)] : 2 * pick(1, 70);
    kv_layout_init(&c->layout, (enum kv_type)pick(0, KV_TYPE_COUNT - 1), 1, 1, head_dim);
    a->layout = &c->layout;
    a->head_offset = 64 * pick(0, 3);
    a->n_rep = pick(0, 9) ? pick(1, 9) : pick(10, 40);
    a->n_tokens = pick(0, 2) ? pick(1, 3) : pick(1, 60);
    a->first_position = pick(0, 3) ? pick(0, 700) : 0;
    while (a->n_tokens > 1 && (a->n_tokens * a->n_rep > QUERIES_MAX ||
                               a->n_tokens * a->n_rep * head_dim > FLOATS_MAX / 2))
        a->n_tokens--;
    a->window = pick(0, 1) ? 0 : pick(1, 600);
    a->scale = pick(0, 1) ? 0.125f : random_float(PLAIN);
    a->q_stride = a->n_rep * head_dim + pick(0, 5);
    a->out_stride = a->n_rep * head_dim + pick(0, 5);
    c->end = a->first_position + a->n_tokens;
    size_t oldest = a->first_position + 1;
    c->first_seen = a->window && oldest > a->window ? oldest - a->window : 0;
    a->chunk_begin = c->first_seen / ATTENTION_CHUNK;
    a->chunk_end = (c->end - 1) / ATTENTION_CHUNK + 1;
}

static void store(const struct check *c, const struct kernels *k, int copy) {
    const size_t D = c->layout.head_dim;
    for (size_t p = c->first_seen, n; p < c->end; p += n) {
        size_t row = p % KV_BLOCK_TOKENS;
        n = pick(1, KV_BLOCK_TOKENS - row);
        n = n < c->end - p ? n : c->end - p;
        unsigned char *head = c->blocks[copy][p / KV_BLOCK_TOKENS];
        const struct kv_store_args args = {.head = head + c->args.head_offset,
                                           .layout = &c->layout,
                                           .k = c->k + (p - c->first_seen) * D,
                                           .v = c->v + (p - c->first_seen) * D,
                                           .stride = D,
                                           .first_row = row,
                                           .n_rows = n};
        k->kv_store[c->layout.type](&args);
    }
}

static void fill_case(struct check *c) {
    enum flavour flavour = pick(0, 1) ? PLAIN : (enum flavour)pick(0, FLAVOURS - 1);
    size_t n = (c->end - c->first_seen) * c->layout.head_dim;
    c->k = fill(&k_area, n, flavour);
    c->v = fill(&v_area, n, pick(0, 1) ? flavour : PLAIN);
    c->args.q = fill(&q_area, (c->args.n_tokens - 1) * c->args.q_stride + c->args.n_rep * c->layout.head_dim,
                     pick(0, 1) ? flavour : PLAIN);
    for (size_t b = 0; b * KV_BLOCK_TOKENS < c->end; b++) {
        c->blocks[0][b] = c->blocks[1][b] = NULL;
        if ((b + 1) * KV_BLOCK_TOKENS > c->first_seen)
            place_block(c, b);
    }
}

/* ---- ways of computing it ------------------------------------------------------------------ */

static struct attention_args with_scratch(const struct attention_args *a) {
    struct attention_args b = *a;
    b.scratch = guarded_place(&scratch_area, attention_scratch_bytes(a->layout->head_dim), true, 0);
    memset(scratch_area.data, 0xFF, scratch_area.size_bytes); /* NaN: nothing may be left over */
    return b;
}

/* At once, in guarded memory; the result is copied to slot `to`. */
static void run_whole(struct check *c, const struct kernels *k, int to) {
    struct attention_args a = with_scratch(&c->args);
    const size_t queries = a.n_tokens * a.n_rep, row = a.n_rep * c->layout.head_dim;
    const size_t n = (a.n_tokens - 1) * a.out_stride + row;
    a.out = guarded_place(&out_area[0], n * sizeof *a.out, pick(0, 1), 0);
    memset(out_area[0].data, 0x5A, out_area[0].size_bytes);
    a.max = guarded_place(&out_area[1], 2 * queries * sizeof *a.max, pick(0, 1), 0);
    a.sum = a.max + queries;
    memset(a.max, 0, 2 * queries * sizeof *a.max);
    k->attention[c->layout.type](&a);
    for (size_t t = 0; t < a.n_tokens; t++) {
        memcpy(c->out[to] + t * row, a.out + t * a.out_stride, row * sizeof *a.out);
        for (size_t i = row; i < a.out_stride && t + 1 < a.n_tokens; i++)
            if (memcmp(a.out + t * a.out_stride + i, &(uint32_t){0x5A5A5A5Au}, 4) != 0)
                c->sum[to][0] = -1.0f; /* seen as a difference */
    }
    memcpy(c->max[to], a.max, queries * sizeof *a.max);
    if (c->sum[to][0] >= 0.0f)
        memcpy(c->sum[to], a.sum, queries * sizeof *a.sum);
}

/* Some tokens and some chunks at a time, chunks apart and joined. */
static void run_cut(struct check *c, const struct kernels *k, int to) {
    static float o[FLOATS_MAX], m[QUERIES_MAX], l[QUERIES_MAX];
    const struct attention_args *a = &c->args;
    const size_t D = c->layout.head_dim;
    for (size_t t = 0, n; t < a->n_tokens; t += n) {
        n = pick(1, a->n_tokens - t);
        for (size_t chunk = a->chunk_begin; chunk < a->chunk_end; chunk++) {
            struct attention_args b = with_scratch(a);
            b.out = o;
            b.out_stride = a->n_rep * D;
            b.max = m;
            b.sum = l;
            b.q = a->q + t * a->q_stride;
            b.n_tokens = n;
            b.first_position = a->first_position + t;
            b.chunk_begin = chunk;
            b.chunk_end = chunk + 1;
            memset(l, 0, sizeof l);
            k->attention[c->layout.type](&b);
            for (size_t i = 0; i < n * a->n_rep; i++) {
                size_t at = t * a->n_rep + i;
                const struct attention_join join = {c->out[to] + at * D, c->max[to] + at,
                                                    c->sum[to] + at, o + i * D, m[i], l[i], D};
                if (l[i] != 0.0f)
                    k->attention_join(&join);
            }
        }
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool same(float x, float y) {
    return memcmp(&x, &y, sizeof x) == 0 || (isnan(x) && isnan(y));
}

static bool report(const struct check *c, const struct kernels *k, uint64_t seed, const char *what,
                   size_t at, float found, float expected) {
    const struct attention_args *a = &c->args;
    printf("FAIL %s %s, seed %llu: %s, %zu tokens x %zu heads of %zu from %zu, window %zu: number %zu is "
           "%a, expected %a\n",
           k->name, what, (unsigned long long)seed, kv_type_name(c->layout.type), a->n_tokens,
           a->n_rep, c->layout.head_dim, a->first_position, a->window, at, (double)found,
           (double)expected);
    return false;
}

static bool same_results(const struct check *c, const struct kernels *k, uint64_t seed, int slot,
                         const char *what) {
    size_t queries = c->args.n_tokens * c->args.n_rep, D = c->layout.head_dim;
    for (size_t i = 0; i < queries; i++) {
        if (!same(c->sum[0][i], c->sum[slot][i]))
            return report(c, k, seed, what, i, c->sum[slot][i], c->sum[0][i]);
        if (isnan(c->sum[0][i]))
            continue; /* and the quotient will be NaN, whatever the rest says */
        /* A maximum of zeros may have either sign: it is only ever subtracted. */
        if (!same(c->max[0][i] + 0.0f, c->max[slot][i] + 0.0f))
            return report(c, k, seed, what, i, c->max[slot][i], c->max[0][i]);
        for (size_t d = i * D; d < (i + 1) * D; d++)
            if (!same(c->out[0][d], c->out[slot][d]))
                return report(c, k, seed, what, d, c->out[slot][d], c->out[0][d]);
    }
    return true;
}

static bool same_blocks(const struct check *c, const struct kernels *k, uint64_t seed) {
    for (size_t b = 0; b * KV_BLOCK_TOKENS < c->end; b++) {
        const unsigned char *x = c->blocks[0][b], *y = c->blocks[1][b];
        for (size_t i = 0; x && i < c->args.head_offset + c->layout.head_bytes; i++) {
            /* A NaN may be any NaN: as float32, bfloat16 or a scale it has these bits set. */
            if (x[i] != y[i] && !((x[i | 1] & 0x7F) == 0x7F && (y[i | 1] & 0x7F) == 0x7F) &&
                !((x[i | 3] & 0x7F) == 0x7F && (y[i | 3] & 0x7F) == 0x7F))
                return report(c, k, seed, "kv_store, byte", i, (float)y[i], (float)x[i]);
        }
    }
    return true;
}

static bool check_case(uint64_t seed, const struct kernels *reference, const struct kernels *k) {
    static struct check c;
    rng_state = seed * 0x9E3779B97F4A7C15u + 1;
    memset(&c, 0, sizeof c);
    random_shape(&c);
    fill_case(&c);
    store(&c, reference, 0);
    store(&c, k, 1);
    if (!same_blocks(&c, k, seed))
        return false;
    for (size_t b = 0; b * KV_BLOCK_TOKENS < c.end; b++)
        if (c.blocks[0][b])
            guarded_protect(&blocks_of[0][b], true);
    c.args.blocks = (const void *const *)c.blocks[0];
    run_whole(&c, reference, 0);
    run_whole(&c, k, 1);
    run_cut(&c, k, 2);
    return same_results(&c, k, seed, 1, "attention") &&
           same_results(&c, k, seed, 2, "attention in pieces");
}

/* ---- main -------------------------------------------------------------------------------------- */

static void areas(void (*fn)(struct guarded *, size_t)) {
    for (int copy = 0; copy < 2; copy++) {
        for (size_t b = 0; b < BLOCKS_MAX; b++)
            fn(&blocks_of[copy][b], 2 * KV_BLOCK_TOKENS * DIM_MAX * sizeof(float) + 4096);
        fn(&out_area[copy], FLOATS_MAX * sizeof(float));
    }
    fn(&q_area, FLOATS_MAX * sizeof(float));
    fn(&k_area, BLOCKS_MAX * KV_BLOCK_TOKENS * DIM_MAX * sizeof(float));
    fn(&v_area, BLOCKS_MAX * KV_BLOCK_TOKENS * DIM_MAX * sizeof(float));
    fn(&scratch_area, attention_scratch_bytes(DIM_MAX));
}

static void release(struct guarded *g, size_t bytes) {
    (void)bytes;
    guarded_release(g);
}

int main(int argc, char **argv) {
    size_t n_tables;
    const struct kernels *const *tables = kernels_available(&n_tables);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench_attention(tables, n_tables, argc > 2 ? argv[2] : NULL);
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const uint64_t cases = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 300;
    int failures = 0;
    areas(guarded_init);
    for (size_t t = 0; t < n_tables; t++) { /* the reference too: its pieces must agree */
        int before = failures;
        for (uint64_t i = 0; i < cases && failures - before < 10; i++)
            failures += !check_case(seed + i, tables[0], tables[t]);
        printf("%s: %llu cases, %s\n", tables[t]->name, (unsigned long long)cases,
               failures == before ? "bit-equal to generic" : "DIFFERS");
    }
    areas(release);
    return failures != 0;
}
