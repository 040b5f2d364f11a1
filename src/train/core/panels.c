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

/* ---- packing ------------------------------------------------------------------------------------ */

struct pack_call {
    const struct gemm_tiles *t;
    const struct panel_source *s;
    char *dst;
    size_t width;
};

static void pack_share(void *ctx, size_t begin, size_t end) {
    const struct pack_call *p = ctx;
    const struct panel_source *s = p->s;
    const size_t strip_bytes = p->width * even(s->k) * p->t->element;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * p->width;
        const struct gemm_strip strip = {
            .dst = p->dst + i * strip_bytes,
            .src = (const char *)s->data + (s->across ? at : at * s->ld) * dtype_size_bytes(s->dtype),
            .dtype = s->dtype,
            .ld = s->ld,
            .width = p->width,
            .count = at_most(p->width, s->count - at),
            .k = s->k,
            .across = s->across};
        p->t->pack(&strip);
    }
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
    size_t m0, m1, n0, n1;
};

/* Elements [k0, k0 + k) of the first term; with `last`, then the others. */
struct stretch {
    size_t k0, k;
    bool add, last;
};

/* Outputs [i, ...) [j, ...) to c. */
static void add_terms(const struct part *p, const struct stretch *k, size_t i, size_t j, float *c, size_t ld) {
    const struct gemm_tiles *t = p->t;
    const struct panel_term *first = &p->s->terms[0];
    t->tile(k->k, (const char *)first->a + (i * even(first->k) + k->k0 * t->mr) * t->element,
            (const char *)first->b + (j * even(first->k) + k->k0 * t->nr) * t->element, c, ld, k->add);
    for (size_t n = 1; n < PANEL_TERMS && k->last; n++) {
        const struct panel_term *more = &p->s->terms[n];
        if (more->b)
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

static void block(const struct part *p, const struct stretch *k, size_t n, size_t n_end) {
    const struct panel_sum *s = p->s;
    const size_t mr = p->t->mr, nr = p->t->nr;
    for (size_t i = p->m0; i < p->m1; i += mr)
        for (size_t j = n; j < n_end; j += nr)
            if (i + mr <= s->m && j + nr <= s->n)
                add_terms(p, k, i, j, s->c + i * s->ldc + j, s->ldc);
            else
                edge(p, k, i, j);
}

static void sum_part(const struct part *p) {
    const size_t K = p->s->terms[0].k, most = BLOCK_K_BYTES / p->t->element;
    const size_t blocks = (K + most - 1) / most, each = even((K + blocks - 1) / blocks);
    for (size_t n = p->n0; n < p->n1; n += BLOCK_N)
        for (size_t k0 = 0; k0 < K; k0 += each) {
            const struct stretch k = {.k0 = k0, .k = at_most(each, K - k0),
                                      .add = p->s->add || k0 > 0, .last = k0 + each >= K};
            block(p, &k, n, at_most(n + BLOCK_N, p->n1));
        }
}

static void sum_share(void *ctx, int worker, int n_workers) {
    struct part p = *(const struct part *)ctx;
    if (p.s->n / p.t->nr >= (size_t)n_workers && p.s->n >= p.s->m)
        thread_share(p.s->n, p.t->nr, worker, n_workers, &p.n0, &p.n1);
    else
        thread_share(p.s->m, p.t->mr, worker, n_workers, &p.m0, &p.m1);
    if (p.m0 < p.m1 && p.n0 < p.n1)
        sum_part(&p);
}

void panel_sum_run(const struct compute *c, const struct gemm_tiles *t, const struct panel_sum *s) {
    struct part p = {.t = t, .s = s, .m1 = s->m, .n1 = s->n};
    if (s->m && s->n)
        thread_pool_run(c->pool, sum_share, &p);
}
