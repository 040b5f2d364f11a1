/* train_kernels.h - the arithmetic of training as a table of functions, one table per instruction
 * set, as kernels.h for inference. Float32 functions give the same bits in every table: sums go
 * by one chain of fma (products) or by 16 partial sums (rows), as said at each.
 *
 * Products are made of tiles. An output is one chain over k in increasing order, begun at what c
 * holds (or +0) and kept in c between blocks of k, so it depends neither on blocks nor on threads:
 *     f32   c = fma(a[k], b[k], c)
 *     bf16  c = mac(a[2i+1], b[2i+1], c), then mac(a[2i], b[2i], c): what vdpbf16ps does (kernels.h);
 *           a and b rounded to bfloat16, to nearest even. */
#ifndef QUERN_KERNELS_TRAIN_KERNELS_H
#define QUERN_KERNELS_TRAIN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/packed.h"

enum { GEMM_MR_MAX = 16, GEMM_NR_MAX = 64 };

/* A strip of a matrix for the tiles: `width` of its rows (or columns), k elements of each.
 *     f32   dst[k][width]
 *     bf16  dst[(k + 1) / 2][width][2], an odd last k filled up with zero
 * Element (w, i) is src[w * ld + i], or src[i * ld + w] when `across`. Strips from `count` to
 * `width` are zeros. */
struct gemm_strip {
    void *dst;
    const void *src;
    enum dtype dtype; /* F32, F16, BF16 */
    size_t ld;        /* elements between rows of src */
    size_t width, count, k;
    bool across;
};

struct gemm_tiles {
    size_t mr, nr;  /* outputs of a tile */
    size_t element; /* bytes of a packed element */
    void (*pack)(const struct gemm_strip *s);
    /* c[mr][nr], ld floats between rows, from a strip of mr and one of nr; adds to what c holds, or
     * begins at +0. */
    void (*tile)(size_t k, const void *a, const void *b, float *c, size_t ld, bool add);
};

struct adamw_rates {
    float decay;         /* 1 - lr * weight_decay */
    float beta1, beta2;
    float step;          /* lr / (1 - beta1^t) */
    float root_v;        /* sqrt(1 - beta2^t) */
    float epsilon, grad; /* what gradients are multiplied by first */
};

struct train_kernels {
    struct gemm_tiles f32, bf16; /* bf16.tile NULL: no instruction for it, f32 serves */
    /* Sixteen rows from `row` on (a multiple of 16) to out[16][cols], rounded to bfloat16. For what
     * decodes_by_16 says yes to; NULL: not there. */
    void (*decode)(const struct packed_matrix *m, size_t row, uint16_t *out);
    /* The same as a part of a packed strip of bf16.nr rows: out[cols / 2][nr][2], its first sixteen rows. */
    void (*decode_strip)(const struct packed_matrix *m, size_t row, uint16_t *out);

    /* y = (x * r) * w, r = 1 / sqrt(sum(x^2) / n + eps), as kernels.h; returns r. */
    float (*norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* dx = r * (dy * w - (x * r) * (sum(dy * w * (x * r)) / n)); dx may be dy */
    void (*norm_back)(float *dx, const float *dy, const float *x, const float *w, size_t n, float r);
    /* dw[i] += dy[i] * (x[i] * r) */
    void (*norm_weight)(float *dw, const float *dy, const float *x, size_t n, float r);
    /* y = gate / (1 + exp(-gate)) * up */
    void (*silu)(float *y, const float *gate, const float *up, size_t n);
    /* (gate, up) become their gradients from dy: with s = 1 / (1 + exp(-gate)),
     * gate' = dy * up * s * (1 + gate * (1 - s)), up' = dy * gate * s */
    void (*silu_back)(float *gate, float *up, const float *dy, size_t n);
    float (*largest)(const float *x, size_t n); /* n > 0 */
    /* x = exp(x * scale - shift); returns the sum, 16 partial sums */
    float (*exp_sum)(float *x, size_t n, float scale, float shift);
    /* ds = s * ((ds - delta) * scale) */
    void (*softmax_back)(float *ds, const float *s, size_t n, float delta, float scale);
    /* y = x * a */
    void (*scale)(float *y, const float *x, float a, size_t n);
    /* y += x * a, fma */
    void (*axpy)(float *y, const float *x, float a, size_t n);
    void (*mul)(float *y, const float *x, size_t n);     /* y *= x */
    float (*dot)(const float *x, const float *y, size_t n); /* 16 partial sums */
    /* y += a * b elementwise, fma */
    void (*mul_add)(float *y, const float *a, const float *b, size_t n);
    /* p *= decay; m += (1-beta1)(g-m); v = beta2 v + (1-beta2) g^2; p -= step * m / (sqrt(v)/root_v +
     * epsilon) */
    void (*adamw)(float *p, const float *g, float *m, float *v, size_t n, const struct adamw_rates *r);
};

static inline bool decodes_by_16(const struct packed_matrix *m) {
    return !m->col_order && m->rows % 16 == 0 && m->cols % 32 == 0 && (m->n_groups == 1 || m->group % 32 == 0);
}

/* Those of a build's architecture exist; kernels.h names the one of a table. */
extern const struct train_kernels train_generic, train_avx2, train_avx512, train_avx512bf16;

#endif
