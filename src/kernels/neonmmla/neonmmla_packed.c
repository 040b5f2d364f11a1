/* neonmmla_packed.c - MATH_INT8 with USMMLA for two tokens and more, USDOT for one. Needs FEAT_I8MM.
 *
 * An instruction multiplies two rows of eight columns by two tokens. A chunk has four columns of a row side by side,
 * so two chunks are interleaved in registers; codes are the unsigned operand as they lie. */
#include <arm_neon.h>

static inline int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t x) {
    return vusdotq_s32(s, vreinterpretq_u8_s8(w), x);
}

#define CODES_ARE_UNSIGNED
#include "kernels/neon/int8_rows.h"
#include "kernels/tables.h"

enum { MOST_TOKENS = 8 };

/* Activations of tokens 2p and 2p + 1, eight columns each; of the last pair the second may be the first again. */
#define DECLARE_X(p)                                                                   \
    const int8_t *x##p = (const int8_t *)a->x + 2 * p * a->x_stride;                   \
    const int8_t *z##p = 2 * p + 1 < n_tokens ? x##p + a->x_stride : x##p;
#define LOAD_X(p) const int8x16_t v##p = vcombine_s8(vld1_s8(x##p + k), vld1_s8(z##p + k));
/* s: token pair, two rows each. */
#define DECLARE_MM(p)                                                                  \
    int32x4_t s##p##0 = vdupq_n_s32(0), s##p##1 = s##p##0, s##p##2 = s##p##0, s##p##3 = s##p##0;
#define STEP_MM(p)                               \
    s##p##0 = vusmmlaq_s32(s##p##0, w0, v##p);   \
    s##p##1 = vusmmlaq_s32(s##p##1, w1, v##p);   \
    s##p##2 = vusmmlaq_s32(s##p##2, w2, v##p);   \
    s##p##3 = vusmmlaq_s32(s##p##3, w3, v##p);
#define FINISH_MM(p)                                                        \
    add_int8(a, 2 * p, row, vuzp1q_s32(s##p##0, s##p##1), 0);               \
    add_int8(a, 2 * p, row + 4, vuzp1q_s32(s##p##2, s##p##3), 0);           \
    if (2 * p + 1 < n_tokens) {                                             \
        add_int8(a, 2 * p + 1, row, vuzp2q_s32(s##p##0, s##p##1), 0);       \
        add_int8(a, 2 * p + 1, row + 4, vuzp2q_s32(s##p##2, s##p##3), 0);   \
    }

static inline uint8x16_t low_rows(uint32x4_t first, uint32x4_t second) {
    return vreinterpretq_u8_u32(vzip1q_u32(first, second));
}

static inline uint8x16_t high_rows(uint32x4_t first, uint32x4_t second) {
    return vreinterpretq_u8_u32(vzip2q_u32(first, second));
}

static inline uint32x4_t codes_at(const unsigned char *q) {
    return vreinterpretq_u32_u8(vld1q_u8(q));
}

/* Eight rows and eight columns, whose last four are no columns of the group when `half`. */
#define STEP_8(P, half)                                                                                \
    {                                                                                                  \
        const uint32x4_t none = vdupq_n_u32(0);                                                        \
        const uint32x4_t a0 = codes_at(q), b0 = half ? none : codes_at(q + PACKED_CHUNK_BYTES);        \
        const uint32x4_t a1 = codes_at(q + 16), b1 = half ? none : codes_at(q + PACKED_CHUNK_BYTES + 16); \
        const uint8x16_t w0 = low_rows(a0, b0), w1 = high_rows(a0, b0);                                \
        const uint8x16_t w2 = low_rows(a1, b1), w3 = high_rows(a1, b1);                                \
        EACH_##P(LOAD_X)                                                                               \
        EACH_##P(STEP_MM)                                                                              \
    }

#define DEFINE_PAIRS(P)                                                                  \
    static inline void pairs_##P(const struct packed_tile *a, size_t n_tokens) {         \
        EACH_##P(DECLARE_X)                                                              \
        for (size_t row = 0; row < PACKED_ROWS; row += 8) {                              \
            const unsigned char *q = (const unsigned char *)a->codes + 4 * row;          \
            EACH_##P(DECLARE_MM)                                                         \
            size_t k = 0;                                                                \
            for (; k + 4 < a->n_cols; k += 8, q += 2 * PACKED_CHUNK_BYTES) {             \
                if (a->ahead)                                                            \
                    fetch(q + a->ahead), fetch(q + a->ahead + PACKED_CHUNK_BYTES);       \
                STEP_8(P, false)                                                         \
            }                                                                            \
            if (k < a->n_cols)                                                           \
                STEP_8(P, true)                                                          \
            EACH_##P(FINISH_MM)                                                          \
        }                                                                                \
    }

DEFINE_PAIRS(1)
DEFINE_PAIRS(2)
DEFINE_PAIRS(3)
DEFINE_PAIRS(4)

#define DEFINE_TOKENS(T, P)                              \
    static void tokens_##T(const struct packed_tile *a) { \
        pairs_##P(a, T);                                 \
    }

DEFINE_TOKENS(2, 1)
DEFINE_TOKENS(3, 2)
DEFINE_TOKENS(4, 2)
DEFINE_TOKENS(5, 3)
DEFINE_TOKENS(6, 3)
DEFINE_TOKENS(7, 4)
DEFINE_TOKENS(8, 4)

static packed_tile_fn *const tiles[MOST_TOKENS + 1] = {NULL,     bytes_1,  tokens_2, tokens_3, tokens_4,
                                                       tokens_5, tokens_6, tokens_7, tokens_8};

static void mmla_matmul(const struct packed_args *a) {
    static const struct packed_parts parts8 = {.dot = tiles, .n_tokens = MOST_TOKENS};
    static const struct packed_parts parts4 = {.dot = tiles, .n_tokens = MOST_TOKENS, .unpack = unpack_nibbles,
                                               .direct = nibbles, .n_direct = 1, .direct_most = 1};
    packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
}

const struct packed_kernels packed_neonmmla = {
    .prepare = {[MATH_EXACT] = neon_prepare_exact, [MATH_INT8] = neon_prepare_int8},
    .matmul = {[MATH_EXACT] = neon_packed_exact, [MATH_INT8] = mmla_matmul},
};
