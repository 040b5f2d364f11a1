#include "train/core/panels.h"

#include <string.h>

/* A strip of a of one block of k stays in the first level of caches; in the second, BLOCK_N columns of b and
 * of c, so that c waits there for the next block of k. (Zen 5: 98 % of the peak with one block of k, 97 % with
 * two; blocks half as long 96 %.) */
enum { BLOCK_K_BYTES = 3072, BLOCK_N = 128 };

const struct gemm_tiles *panel_tiles(const struct compute *c, bool exact) {
    return c->bf16 && !exact ? &c->train->bf16 : &c->train->f32;
}

static size_t even(size_t k) {
    return (k + 1) / 2 * 2;
}

static size_t at_most(size_t a, size_t b) {
    return a < b ? a : b;
}

size_t panel_bytes(const struct gemm_tiles *t, size_t width, size_t count, size_t k) {
    return (count + width - 1) / width * width * even(k) * t->element;
}

/* Rows lying across strips are read a few at a time for all strips: each is a page of its own, or more. */
enum { ACROSS_ROWS = 32 };

/* ---- packing ------------------------------------------------------------------------------------ */

struct pack_call {
    const struct gemm_tiles *t;
    const struct panel_source *s;
    char *dst;
    size_t width;
};

struct strips {
    const struct gemm_tiles *t;
    const struct panel_source *s;
    char *dst;
    size_t width, first, n, bytes; /* bytes of each */
};

/* Elements [k0, k0 + k) of all of them, at element `at` of the strips. */
static void pack_stretch(const struct strips *p, size_t at, size_t k0, size_t k) {
    const struct panel_source *s = p->s;
    for (size_t i = 0; i < p->n && (p->first + i) * p->width < s->count; i++) {
        const size_t row = (p->first + i) * p->width, src = s->across ? k0 * s->ld + row : row * s->ld + k0;
        const struct gemm_strip strip = {.dst = p->dst + i * p->bytes + at * p->width * p->t->element,
                                         .src = (const char *)s->data + src * dtype_size_bytes(s->dtype),
                                         .dtype = s->dtype,
                                         .ld = s->ld,
                                         .width = p->width,
                                         .count = at_most(p->width, s->count - row),
                                         .k = k,
                                         .across = s->across};
        p->t->pack(&strip);
    }
}

void panel_pack_part(const struct gemm_tiles *t, void *dst, size_t width, const struct panel_source *s,
                     size_t first, size_t n, size_t k0, size_t k) {
    const struct strips p = {t, s, dst, width, first, n, width * even(k) * t->element};
    const size_t step = s->across ? ACROSS_ROWS : k;
    for (size_t at = 0; at < k; at += step)
        pack_stretch(&p, at, k0 + at, at_most(step, k - at));
}

static void pack_share(void *ctx, size_t begin, size_t end) {
    const struct pack_call *p = ctx;
    const size_t strip_bytes = p->width * even(p->s->k) * p->t->element;
    panel_pack_part(p->t, p->dst + begin * strip_bytes, p->width, p->s, begin, end - begin, 0, p->s->k);
}

void panel_pack(const struct compute *c, const struct gemm_tiles *t, void *dst, size_t width,
                const struct panel_source *s) {
    struct pack_call p = {t, s, dst, width};
    compute_for(c, (s->count + width - 1) / width, 1, pack_share, &p);
}

/* ---- products ----------------------------------------------------------------------------------- */

struct part {
    const struct gemm_tiles *t;
    const struct panel_sum *s;
    char *room; /* for a block of b */
    size_t m0, m1, n0, n1;
};

/* Elements [k0, k0 + k) of the first term for the columns from n on; with `last`, then the others. */
struct stretch {
    size_t n, n_end, k0, k;
    const char *b;  /* of column n, strips b_bytes apart */
    size_t b_bytes;
    bool add, last;
};

/* Outputs [i, ...) [j, ...) to c. */
static void add_terms(const struct part *p, const struct stretch *k, size_t i, size_t j, float *c, size_t ld) {
    const struct gemm_tiles *t = p->t;
    const struct panel_term *first = &p->s->terms[0];
    t->tile(k->k, (const char *)first->a + (i * even(first->k) + k->k0 * t->mr) * t->element,
            k->b + (j - k->n) / t->nr * k->b_bytes, c, ld, k->add);
    for (size_t n = 1; n < PANEL_TERMS && k->last; n++) {
        const struct panel_term *more = &p->s->terms[n];
        if (more->k)
            t->tile(more->k, (const char *)more->a + i * even(more->k) * t->element,
                    (const char *)more->b + j * even(more->k) * t->element, c, ld, true);
    }
}

/* What reaches beyond c's edge is computed aside. */
static void edge(const struct part *p, const struct stretch *k, size_t i, size_t j) {
    const struct panel_sum *s = p->s;
    const size_t rows = at_most(p->t->mr, s->m - i), cols = at_most(p->t->nr, s->n - j);
    float whole[GEMM_MR_MAX * GEMM_NR_MAX];
    memset(whole, 0, p->t->mr * p->t->nr * sizeof *whole);
    for (size_t r = 0; r < rows && k->add; r++)
        memcpy(whole + r * p->t->nr, s->c + (i + r) * s->ldc + j, cols * sizeof *whole);
    add_terms(p, k, i, j, whole, p->t->nr);
    for (size_t r = 0; r < rows; r++)
        memcpy(s->c + (i + r) * s->ldc + j, whole + r * p->t->nr, cols * sizeof *whole);
}

static void block(const struct part *p, const struct stretch *k) {
    const struct panel_sum *s = p->s;
    const size_t mr = p->t->mr, nr = p->t->nr;
    for (size_t i = p->m0; i < p->m1; i += mr)
        for (size_t j = k->n; j < k->n_end; j += nr)
            if (i + mr <= s->m && j + nr <= s->n)
                add_terms(p, k, i, j, s->c + i * s->ldc + j, s->ldc);
            else
                edge(p, k, i, j);
}

/* Where the stretch's part of b is, packed now or before. */
static void find_b(const struct part *p, struct stretch *k) {
    const struct gemm_tiles *t = p->t;
    const struct panel_term *first = &p->s->terms[0];
    k->b_bytes = t->nr * even(first->b ? first->k : k->k) * t->element;
    k->b = p->room;
    if (first->b)
        k->b = (const char *)first->b + k->n / t->nr * k->b_bytes + k->k0 * t->nr * t->element;
    else
        panel_pack_part(t, p->room, t->nr, &p->s->raw, k->n / t->nr, (k->n_end - k->n + t->nr - 1) / t->nr,
                        k->k0, k->k);
}

static void sum_part(const struct part *p) {
    const size_t K = p->s->terms[0].k, most = BLOCK_K_BYTES / p->t->element;
    const size_t blocks = (K + most - 1) / most, each = even((K + blocks - 1) / blocks);
    for (size_t n = p->n0; n < p->n1; n += BLOCK_N)
        for (size_t k0 = 0; k0 < K; k0 += each) {
            struct stretch k = {.n = n, .n_end = at_most(n + BLOCK_N, p->n1), .k0 = k0,
                                .k = at_most(each, K - k0), .add = p->s->add || k0 > 0,
                                .last = k0 + each >= K};
            find_b(p, &k);
            block(p, &k);
        }
}

struct sum_call {
    const struct compute *c;
    struct part whole;
};

/* Along the columns where there are enough: then each packs what it alone needs of b. */
static void sum_share(void *ctx, int worker, int n_workers) {
    const struct sum_call *call = ctx;
    struct part p = call->whole;
    p.room = compute_scratch(call->c, worker);
    if (p.s->n / p.t->nr >= (size_t)n_workers * 4 || p.s->n >= p.s->m)
        thread_share(p.s->n, p.t->nr, worker, n_workers, &p.n0, &p.n1);
    else
        thread_share(p.s->m, p.t->mr, worker, n_workers, &p.m0, &p.m1);
    if (p.m0 < p.m1 && p.n0 < p.n1)
        sum_part(&p);
}

void panel_sum_run(const struct compute *c, const struct gemm_tiles *t, const struct panel_sum *s) {
    struct sum_call call = {c, {.t = t, .s = s, .m1 = s->m, .n1 = s->n}};
    if (s->m && s->n)
        thread_pool_run(c->pool, sum_share, &call);
}
