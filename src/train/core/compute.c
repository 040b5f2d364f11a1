#include "train/core/panels.h"

#include <string.h>

#include "base/pages.h"

/* What is packed of a at once fills half of a second-level cache, of b a quarter; a strip of b
 * stays in the first level. */
enum { BLOCK_K_BYTES = 1024, BLOCK_M = 516, BLOCK_N = 256, ELEMENTS = 4096 };

static size_t piece_bytes(void) {
    const size_t pad = GEMM_MR_MAX + GEMM_NR_MAX;
    return (BLOCK_M + BLOCK_N + pad) * BLOCK_K_BYTES;
}

enum quern_status compute_init(struct compute *c, int threads, const char *cpu, bool bf16,
                               struct quern_error *err) {
    *c = (struct compute){0};
    enum quern_status st = kernels_select(cpu, &c->kernels, err);
    if (st == QUERN_OK)
        st = thread_pool_create(threads, &c->pool, err);
    if (st != QUERN_OK)
        return st;
    c->train = c->kernels->train;
    c->bf16 = bf16 && c->train->bf16.tile;
    c->n_workers = thread_pool_size(c->pool);
    c->scratch_bytes = piece_bytes();
    c->scratch = pages_alloc(c->scratch_bytes * (size_t)c->n_workers);
    return c->scratch ? QUERN_OK : error_nomem(err);
}

void compute_release(struct compute *c) {
    if (c->scratch)
        pages_free(c->scratch, c->scratch_bytes * (size_t)c->n_workers);
    thread_pool_destroy(c->pool);
    *c = (struct compute){0};
}

/* ---- products --------------------------------------------------------------------------------- */

struct part {
    const struct gemm *g;
    const struct gemm_tiles *t;
    char *a, *b; /* packed */
    size_t m0, m1, n0, n1;
};

static size_t at_most(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A tile that reaches beyond c's edge. */
static void edge_tile(const struct gemm_tiles *t, size_t k, const void *a, const void *b, float *c,
                      size_t ld, bool add, size_t rows, size_t cols) {
    float whole[GEMM_MR_MAX * GEMM_NR_MAX];
    if (add) {
        memset(whole, 0, t->mr * t->nr * sizeof *whole);
        for (size_t i = 0; i < rows; i++)
            memcpy(whole + i * t->nr, c + i * ld, cols * sizeof *c);
    }
    t->tile(k, a, b, whole, t->nr, add);
    for (size_t i = 0; i < rows; i++)
        memcpy(c + i * ld, whole + i * t->nr, cols * sizeof *c);
}

static void tiles_of_block(const struct part *p, size_t m, size_t m_end, size_t n, size_t n_end, size_t k,
                           bool add) {
    const struct gemm_tiles *t = p->t;
    const size_t even = (k + 1) / 2 * 2;
    for (size_t j = n; j < n_end; j += t->nr) {
        const char *b = p->b + (j - n) * even * t->element;
        for (size_t i = m; i < m_end; i += t->mr) {
            const char *a = p->a + (i - m) * even * t->element;
            float *c = p->g->c + i * p->g->ldc + j;
            const size_t rows = at_most(t->mr, m_end - i), cols = at_most(t->nr, n_end - j);
            if (rows == t->mr && cols == t->nr)
                t->tile(k, a, b, c, p->g->ldc, add);
            else
                edge_tile(t, k, a, b, c, p->g->ldc, add, rows, cols);
        }
    }
}

static void gemm_part(const struct part *p) {
    const struct gemm *g = p->g;
    const struct gemm_tiles *t = p->t;
    const struct panel_source a = {g->a, g->a_type, g->lda, g->m, g->k, g->a_across};
    const struct panel_source b = {g->b, g->b_type, g->ldb, g->n, g->k, g->b_across};
    const size_t block_k = BLOCK_K_BYTES / t->element, block_m = BLOCK_M / t->mr * t->mr;
    for (size_t k0 = 0; k0 < g->k; k0 += block_k) {
        const size_t k = at_most(block_k, g->k - k0);
        for (size_t m = p->m0; m < p->m1; m += block_m) {
            const size_t m_end = at_most(m + block_m, p->m1);
            panel_pack_part(t, p->a, t->mr, &a, m / t->mr, (m_end - m + t->mr - 1) / t->mr, k0, k);
            for (size_t n = p->n0; n < p->n1; n += BLOCK_N) {
                const size_t n_end = at_most(n + BLOCK_N, p->n1);
                panel_pack_part(t, p->b, t->nr, &b, n / t->nr, (n_end - n + t->nr - 1) / t->nr, k0, k);
                tiles_of_block(p, m, m_end, n, n_end, k, g->add || k0 > 0);
            }
        }
    }
}

static const struct gemm_tiles *tiles_of(const struct compute *c, const struct gemm *g) {
    return c->bf16 && !g->exact ? &c->train->bf16 : &c->train->f32;
}

static struct part whole_part(const struct compute *c, const struct gemm *g, int worker) {
    char *scratch = c->scratch + (size_t)worker * c->scratch_bytes;
    return (struct part){.g = g,
                         .t = tiles_of(c, g),
                         .a = scratch,
                         .b = scratch + (BLOCK_M + GEMM_MR_MAX) * (size_t)BLOCK_K_BYTES,
                         .m1 = g->m,
                         .n1 = g->n};
}

struct gemm_call {
    const struct compute *c;
    const struct gemm *g;
};

static void gemm_share(void *ctx, int worker, int n_workers) {
    const struct gemm_call *call = ctx;
    const struct gemm *g = call->g;
    struct part p = whole_part(call->c, g, worker);
    /* What is not divided, each packs for itself: so the longer side is. */
    if (g->n >= g->m)
        thread_share(g->n, p.t->nr, worker, n_workers, &p.n0, &p.n1);
    else
        thread_share(g->m, p.t->mr, worker, n_workers, &p.m0, &p.m1);
    if (p.m0 < p.m1 && p.n0 < p.n1)
        gemm_part(&p);
}

/* A product over nothing. */
static bool is_empty(const struct gemm *g) {
    for (size_t i = 0; g->k == 0 && !g->add && i < g->m; i++)
        memset(g->c + i * g->ldc, 0, g->n * sizeof *g->c);
    return g->m == 0 || g->n == 0 || g->k == 0;
}

void gemm_run(const struct compute *c, const struct gemm *g) {
    struct gemm_call call = {c, g};
    if (!is_empty(g))
        thread_pool_run(c->pool, gemm_share, &call);
}

void gemm_one(const struct compute *c, int worker, const struct gemm *g) {
    const struct part p = whole_part(c, g, worker);
    if (!is_empty(g))
        gemm_part(&p);
}

/* ---- shares ------------------------------------------------------------------------------------- */

struct for_call {
    size_t n, grain;
    compute_fn *fn;
    void *ctx;
};

static void for_share(void *ctx, int worker, int n_workers) {
    const struct for_call *f = ctx;
    size_t begin, end;
    thread_share(f->n, f->grain, worker, n_workers, &begin, &end);
    if (begin < end)
        f->fn(f->ctx, begin, end);
}

void compute_for(const struct compute *c, size_t n, size_t grain, compute_fn *fn, void *ctx) {
    struct for_call f = {n, grain, fn, ctx};
    if (n <= grain)
        n ? fn(ctx, 0, n) : (void)0;
    else
        thread_pool_run(c->pool, for_share, &f);
}

struct vector_call {
    const struct compute *c;
    float *y;
    const float *x;
    float a;
    size_t n;
};

static void axpy_share(void *ctx, size_t begin, size_t end) {
    const struct vector_call *v = ctx;
    v->c->train->axpy(v->y + begin, v->x + begin, v->a, end - begin);
}

void compute_axpy(const struct compute *c, float *y, const float *x, float a, size_t n) {
    struct vector_call v = {c, y, x, a, n};
    compute_for(c, n, ELEMENTS, axpy_share, &v);
}

static void scale_share(void *ctx, size_t begin, size_t end) {
    const struct vector_call *v = ctx;
    v->c->train->scale(v->y + begin, v->x + begin, v->a, end - begin);
}

void compute_scale(const struct compute *c, float *y, const float *x, float a, size_t n) {
    struct vector_call v = {c, y, x, a, n};
    compute_for(c, n, ELEMENTS, scale_share, &v);
}

enum { SQUARES = 1024 };

static void squares_share(void *ctx, size_t begin, size_t end) {
    const struct vector_call *v = ctx;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * ELEMENTS, n = at_most(ELEMENTS, v->n - at);
        v->y[i] = v->c->train->dot(v->x + at, v->x + at, n);
    }
}

double compute_square_sum(const struct compute *c, const float *x, size_t n) {
    double sum = 0;
    float some[SQUARES];
    const size_t most = (size_t)SQUARES * ELEMENTS;
    for (size_t at = 0; at < n; at += most) {
        const size_t here = at_most(most, n - at), parts = (here + ELEMENTS - 1) / ELEMENTS;
        struct vector_call v = {c, some, x + at, 0, here};
        compute_for(c, parts, 1, squares_share, &v);
        for (size_t i = 0; i < parts; i++)
            sum += (double)some[i];
    }
    return sum;
}
