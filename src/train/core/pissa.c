/* PiSSA (Meng et al.): an adapter begins as the part of its matrix with the largest singular values,
 *     A = sqrt(S / s) V^T,  B = U sqrt(S / s),
 * found by iterating a subspace a little wider than the rank: as peft's "pissa_niter_16" does. */
#include <math.h>

#include "base/pages.h"
#include "base/rng.h"
#include "train/core/network.h"

enum { ITERATIONS = 16, WIDER = 8, SWEEPS = 30 };

struct subspace {
    const struct compute *c;
    size_t rows, cols, width;
    float *w;           /* [rows, cols] */
    float *v, *y;       /* [width, cols] [width, rows] */
    double *gram, *rot; /* [width, width] */
};

/* Rows become orthonormal, twice over for what the first time leaves. A row of nothing stays so. */
static void orthonormalize(const struct compute *c, float *x, size_t n, size_t len) {
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * len;
        for (size_t j = 0; j < 2 * i; j++) {
            const float *other = x + j % i * len;
            c->train->axpy(row, other, -c->train->dot(row, other, len), len);
        }
        const float size = sqrtf(c->train->dot(row, row, len));
        c->train->scale(row, row, size > 0 ? 1.0f / size : 0.0f, len);
    }
}

/* y = v w^T, or v = y w */
static void to_rows(const struct subspace *s) {
    const struct gemm g = {.c = s->y, .ldc = s->rows, .m = s->width, .n = s->rows, .k = s->cols,
                           .a = s->v, .lda = s->cols, .b = s->w, .ldb = s->cols, .exact = true};
    gemm_run(s->c, &g);
}

static void to_cols(const struct subspace *s) {
    const struct gemm g = {.c = s->v, .ldc = s->cols, .m = s->width, .n = s->cols, .k = s->rows,
                           .a = s->y, .lda = s->rows, .b = s->w, .ldb = s->cols, .b_across = true,
                           .exact = true};
    gemm_run(s->c, &g);
}

/* Turns coordinates i and j so that gram[i][j] becomes 0. */
static void rotate(const struct subspace *s, size_t i, size_t j) {
    const size_t n = s->width;
    double *g = s->gram, *r = s->rot;
    if (fabs(g[i * n + j]) <= 1e-300)
        return;
    const double theta = (g[j * n + j] - g[i * n + i]) / (2 * g[i * n + j]);
    const double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    const double cs = 1 / sqrt(t * t + 1), sn = t * cs;
    for (size_t k = 0; k < n; k++) {
        const double a = g[k * n + i], b = g[k * n + j];
        g[k * n + i] = cs * a - sn * b;
        g[k * n + j] = sn * a + cs * b;
    }
    for (size_t k = 0; k < n; k++) {
        const double a = g[i * n + k], b = g[j * n + k], x = r[i * n + k], y = r[j * n + k];
        g[i * n + k] = cs * a - sn * b;
        g[j * n + k] = sn * a + cs * b;
        r[i * n + k] = cs * x - sn * y;
        r[j * n + k] = sn * x + cs * y;
    }
}

/* gram = y y^T made diagonal; rows of rot are its directions. */
static void diagonalize(const struct subspace *s) {
    const size_t n = s->width;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            s->gram[i * n + j] =
                (double)s->c->train->dot(s->y + i * s->rows, s->y + j * s->rows, s->rows);
            s->rot[i * n + j] = i == j;
        }
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                rotate(s, i, j);
}

static size_t largest(const struct subspace *s) {
    size_t best = 0;
    for (size_t i = 1; i < s->width; i++)
        if (s->gram[i * s->width + i] > s->gram[best * s->width + best])
            best = i;
    return best;
}

/* The k-th largest direction to row k of A and column k of B; then it is struck out. */
static void take_direction(const struct subspace *s, size_t k, size_t rank, float scale, float *a, float *b) {
    const size_t n = s->width, d = largest(s);
    const double square = s->gram[d * n + d], value = square > 0 ? sqrt(square) : 0;
    const double size = sqrt(value / (double)scale);
    for (size_t i = 0; i < n; i++) {
        const float part = (float)(size * s->rot[d * n + i]);
        s->c->train->axpy(a + k * s->cols, s->v + i * s->cols, part, s->cols);
        for (size_t r = 0; r < s->rows && value > 0; r++)
            b[r * rank + k] += (float)(size * s->rot[d * n + i] / value) * s->y[i * s->rows + r];
    }
    s->gram[d * n + d] = -1;
}

static void iterate(const struct subspace *s, uint64_t seed, uint32_t site) {
    for (size_t i = 0; i < s->width * s->cols; i++)
        s->v[i] = rng_normal(seed, (uint64_t)site << 32 | 2u, i);
    orthonormalize(s->c, s->v, s->width, s->cols);
    for (int i = 0; i < ITERATIONS; i++) {
        to_rows(s);
        orthonormalize(s->c, s->y, s->width, s->rows);
        to_cols(s);
        orthonormalize(s->c, s->v, s->width, s->cols);
    }
    to_rows(s);
}

enum quern_status pissa_start(struct net *n, struct linear *l, const struct train_options *o,
                              const struct compute *c, struct quern_error *err) {
    struct adapter *a = l->adapter;
    const size_t small = l->rows < l->cols ? l->rows : l->cols;
    struct subspace s = {.c = c, .rows = l->rows, .cols = l->cols};
    float *A = n->values + a->a->offset, *B = n->values + a->b->offset;
    if (a->rank > small)
        return error_set(err, QUERN_ERR_ARG, "PiSSA: rank %zu is more than a matrix of %zu x %zu has", a->rank,
                         l->rows, l->cols);
    s.width = a->rank + WIDER < small ? a->rank + WIDER : small;
    const size_t floats = l->rows * l->cols + s.width * (l->rows + l->cols);
    const size_t bytes = floats * sizeof(float) + 2 * s.width * s.width * sizeof(double) + sizeof(double);
    char *room = pages_alloc(bytes);
    a->start_a = arena_calloc(&n->arena, a->a->n, sizeof(float));
    a->start_b = arena_calloc(&n->arena, a->b->n, sizeof(float));
    if (!room || !a->start_a || !a->start_b) {
        pages_free(room, bytes);
        return error_nomem(err);
    }
    s.gram = (double *)(void *)room;
    s.rot = s.gram + s.width * s.width;
    s.w = (float *)(void *)(s.rot + s.width * s.width);
    s.v = s.w + l->rows * l->cols;
    s.y = s.v + s.width * l->cols;
    net_fixed_rows(l->fixed, 0, l->rows, s.w);
    iterate(&s, o->seed, a->site);
    diagonalize(&s);
    memset(A, 0, a->a->n * sizeof *A);
    for (size_t k = 0; k < a->rank; k++)
        take_direction(&s, k, a->rank, a->scale, A, B);
    memcpy(a->start_a, A, a->a->n * sizeof *A);
    memcpy(a->start_b, B, a->b->n * sizeof *B);
    pages_free(room, bytes);
    return QUERN_OK;
}
