/* bf16_pairs.h - matmul_bf16 of kernels.h, for a file that defines
 *     MAC2_LANE(s, w, x, i)   s after the two steps of a pair: pairs of four rows in w, and pair i of x
 * in the mode of neon_bf16.h. Rows stand in the lanes: 8 columns of 4 rows are transposed in registers for
 * all tokens. */
#ifndef QUERN_KERNELS_NEON_BF16_PAIRS_H
#define QUERN_KERNELS_NEON_BF16_PAIRS_H

#include "kernels/neon/neon_bf16.h"

/* The weights of up to eight groups of four rows; of rows that are none the last one stands in. */
struct bf16_rows {
    const unsigned char *w[8 * NEON_LANES];
    const uint16_t *x[TILE_TOKENS_MAX];
    size_t n_cols;
    float (*y)[8 * NEON_LANES]; /* [tokens] */
};

static inline uint32x4_t eight_columns(const unsigned char *p) {
    return vreinterpretq_u32_u8(vld1q_u8(p));
}

static inline uint32x4_t two_of(uint32x4_t a, uint32x4_t b, bool high) {
    const uint64x2_t x = vreinterpretq_u64_u32(a), y = vreinterpretq_u64_u32(b);
    return vreinterpretq_u32_u64(high ? vtrn2q_u64(x, y) : vtrn1q_u64(x, y));
}

/* Pairs k / 2 .. k / 2 + 3 of four rows. */
#define LOAD_GROUP(g)                                                                                     \
    const uint32x4_t r0 = eight_columns(a->w[4 * g] + 2 * k), r1 = eight_columns(a->w[4 * g + 1] + 2 * k); \
    const uint32x4_t r2 = eight_columns(a->w[4 * g + 2] + 2 * k), r3 = eight_columns(a->w[4 * g + 3] + 2 * k); \
    const uint32x4_t e0 = vtrn1q_u32(r0, r1), o0 = vtrn2q_u32(r0, r1);                                    \
    const uint32x4_t e1 = vtrn1q_u32(r2, r3), o1 = vtrn2q_u32(r2, r3);                                    \
    const uint32x4_t w0 = two_of(e0, e1, false), w1 = two_of(o0, o1, false);                              \
    const uint32x4_t w2 = two_of(e0, e1, true), w3 = two_of(o0, o1, true);

#define ROW_PAIR(g, i) last_pair(a->w[4 * g + i] + 2 * k, a->n_cols - k)

static inline uint32_t last_pair(const unsigned char *w, size_t left) {
    uint16_t one;
    if (left > 1)
        return pair_of(w);
    memcpy(&one, w, sizeof one);
    return one;
}

#define DECLARE_G(t, g) float32x4_t s##t##g = vdupq_n_f32(0);
#define STEP_G(t, g)                                    \
    {                                                   \
        const uint32x4_t x = vreinterpretq_u32_u16(vld1q_u16(a->x[t] + k)); \
        s##t##g = MAC2_LANE(s##t##g, w0, x, 0);         \
        s##t##g = MAC2_LANE(s##t##g, w1, x, 1);         \
        s##t##g = MAC2_LANE(s##t##g, w2, x, 2);         \
        s##t##g = MAC2_LANE(s##t##g, w3, x, 3);         \
    }
#define LAST_G(t, g)                                               \
    {                                                              \
        const uint32x4_t x = vdupq_n_u32(pair_of(a->x[t] + k));    \
        s##t##g = MAC2_LANE(s##t##g, w, x, 0);                     \
    }
#define STORE_G(t, g) HOLD(s##t##g) vst1q_f32(a->y[t] + 4 * g, s##t##g);

/* M(t, g) for the tokens of a tile. */
#define OVER_1(M, g) M(0, g)
#define OVER_2(M, g) OVER_1(M, g) M(1, g)
#define OVER_3(M, g) OVER_2(M, g) M(2, g)
#define OVER_4(M, g) OVER_3(M, g) M(3, g)
#define OVER_5(M, g) OVER_4(M, g) M(4, g)
#define OVER_6(M, g) OVER_5(M, g) M(5, g)
/* and of each group */
#define GROUPS_1(M, T) M(0, T)
#define GROUPS_2(M, T) M(0, T) M(1, T)
#define GROUPS_4(M, T) GROUPS_2(M, T) M(2, T) M(3, T)
#define GROUPS_8(M, T) GROUPS_4(M, T) M(4, T) M(5, T) M(6, T) M(7, T)
#define DECLARE_ALL(g, T) OVER_##T(DECLARE_G, g)
#define STORE_ALL(g, T) OVER_##T(STORE_G, g)
#define STEP_ALL(g, T)      \
    {                       \
        LOAD_GROUP(g)       \
        OVER_##T(STEP_G, g) \
    }
#define LAST_ALL(g, T)                                                                              \
    {                                                                                               \
        const uint32_t four[4] = {ROW_PAIR(g, 0), ROW_PAIR(g, 1), ROW_PAIR(g, 2), ROW_PAIR(g, 3)};  \
        const uint32x4_t w = vld1q_u32(four);                                                       \
        OVER_##T(LAST_G, g)                                                                         \
    }

/* G groups of rows by T tokens. */
#define DEFINE_ROWS(T, G)                                           \
    static void rows_##T##_##G(const struct bf16_rows *a) {         \
        size_t k = 0;                                               \
        GROUPS_##G(DECLARE_ALL, T)                                  \
        for (; k + 8 <= a->n_cols; k += 8) {                        \
            GROUPS_##G(STEP_ALL, T)                                 \
        }                                                           \
        for (; k < a->n_cols; k += 2) {                             \
            GROUPS_##G(LAST_ALL, T)                                 \
        }                                                           \
        GROUPS_##G(STORE_ALL, T)                                    \
    }

DEFINE_ROWS(1, 8)
DEFINE_ROWS(2, 4)
DEFINE_ROWS(3, 4)
DEFINE_ROWS(4, 4)
DEFINE_ROWS(5, 2)
DEFINE_ROWS(6, 2)

static void plain_rows(const struct bf16_rows *a, size_t n_tokens, size_t n_rows) {
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t r = 0; r < n_rows; r += NEON_LANES)
            vst1q_f32(a->y[t] + r, neon_dot_pairs(a->w + r, a->x[t], a->n_cols));
}

static void matmul_pairs(const struct matmul_bf16_args *m) {
    static void (*const rows[])(const struct bf16_rows *) = {NULL,     rows_1_8, rows_2_4, rows_3_4,
                                                             rows_4_4, rows_5_2, rows_6_2};
    static const size_t n_rows[] = {0, 32, 16, 16, 16, 8, 8};
    float y[TILE_TOKENS_MAX][8 * NEON_LANES];
    struct bf16_rows a = {.n_cols = m->n_cols, .y = y};
    for (size_t t = 0, n; t < m->n_tokens; t += n) {
        n = m->n_tokens - t < TILE_TOKENS_MAX ? m->n_tokens - t : TILE_TOKENS_MAX;
        for (size_t i = 0; i < n; i++)
            a.x[i] = m->x + (t + i) * m->x_stride;
        for (size_t r = m->row_begin; r < m->row_end; r += n_rows[n]) {
            const size_t some = m->row_end - r < n_rows[n] ? m->row_end - r : n_rows[n];
            for (size_t i = 0; i < n_rows[n]; i++)
                a.w[i] = (const unsigned char *)m->w + (r + (i < some ? i : some - 1)) * m->n_cols * 2;
            const struct flushing mode = flush_begin();
            rows[n](&a);
            const bool again = was_flushed();
            flush_end(mode);
            if (again)
                plain_rows(&a, n, n_rows[n]);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < some; j++)
                    m->y[(t + i) * m->y_stride + r + j] = m->bias ? y[i][j] + m->bias[r + j] : y[i][j];
        }
    }
}

#endif
