/* neon_matmul.c - y = x W^T with lanes along the columns, weights read in the file's own layout
 * and widened in registers. */
#include "kernels/neon/neon.h"

/* In the last columns, fewer than 16, lanes without a term keep their sum: adding +0 would turn
 * -0 into +0. `tail` copies the columns into a padded place, since there is no masked load. */
struct tail {
    unsigned char bytes[KERNEL_LANES * sizeof(float)];
};

static inline struct tail tail_of(const void *from, size_t bytes) {
    struct tail t = {{0}};
    memcpy(t.bytes, from, bytes);
    return t;
}

/* s, token, row, lanes: 0 is 0-3, 3 is 12-15. */
#define DECLARE(t)                                                               \
    const float *x##t = a->x[t];                                                 \
    float32x4_t s##t##00 = vdupq_n_f32(0), s##t##01 = s##t##00;                  \
    float32x4_t s##t##02 = s##t##00, s##t##03 = s##t##00;                        \
    float32x4_t s##t##10 = s##t##00, s##t##11 = s##t##00, s##t##12 = s##t##00;   \
    float32x4_t s##t##13 = s##t##00;
#define STEP(t, part)                                       \
    {                                                       \
        const float32x4_t x = vld1q_f32(x##t + k + 4 * part); \
        s##t##0##part = vfmaq_f32(s##t##0##part, x, w0);    \
        s##t##1##part = vfmaq_f32(s##t##1##part, x, w1);    \
    }
#define STEP_0(t) STEP(t, 0)
#define STEP_1(t) STEP(t, 1)
#define STEP_2(t) STEP(t, 2)
#define STEP_3(t) STEP(t, 3)
#define PART(type, size, T, part)                                              \
    w0 = widen_##type(p0 + (k + 4 * part) * size);                             \
    w1 = widen_##type(p1 + (k + 4 * part) * size);                             \
    EACH_##T(STEP_##part)

#define LAST(t, part)                                                                          \
    {                                                                                          \
        const float32x4_t x = widen_f32(tx##t.bytes + 16 * part);                              \
        s##t##0##part = vbslq_f32(m, vfmaq_f32(s##t##0##part, x, w0), s##t##0##part);          \
        s##t##1##part = vbslq_f32(m, vfmaq_f32(s##t##1##part, x, w1), s##t##1##part);          \
    }
#define LAST_0(t) LAST(t, 0)
#define LAST_1(t) LAST(t, 1)
#define LAST_2(t) LAST(t, 2)
#define LAST_3(t) LAST(t, 3)
#define TAIL_X(t) const struct tail tx##t = tail_of(x##t + k, (n - k) * sizeof(float));
#define LAST_PART(type, size, T, part)                                   \
    w0 = widen_##type(t0.bytes + 4 * part * size);                       \
    w1 = widen_##type(t1.bytes + 4 * part * size);                       \
    m = first_lanes(n - k > 4 * part ? n - k - 4 * part : 0);            \
    EACH_##T(LAST_##part)

#define STORE_ROW(t, row)                                                                    \
    {                                                                                        \
        const float y = fold(s##t##row##0, s##t##row##1, s##t##row##2, s##t##row##3);        \
        a->y[t][r + row] = a->bias ? y + a->bias[r + row] : y;                               \
    }
#define STORE_2(t) STORE_ROW(t, 0) STORE_ROW(t, 1)
/* One row is rare: the second of the pair is the first again, and not stored. */
#define STORE_1(t) STORE_ROW(t, 0)

#define DEFINE_ROWS(type, size, T, store)                                                \
    {                                                                                    \
        const size_t n = a->n_cols, whole = n / KERNEL_LANES * KERNEL_LANES;             \
        const ptrdiff_t ahead = a->ahead;                                                \
        float32x4_t w0, w1;                                                              \
        EACH_##T(DECLARE) size_t k = 0;                                                  \
        for (; k < whole; k += KERNEL_LANES) {                                           \
            if (ahead)                                                                   \
                fetch(p0 + k * size + ahead), fetch(p1 + k * size + ahead);              \
            PART(type, size, T, 0)                                                       \
            PART(type, size, T, 1)                                                       \
            PART(type, size, T, 2)                                                       \
            PART(type, size, T, 3)                                                       \
        }                                                                                \
        if (k < n) {                                                                     \
            const struct tail t0 = tail_of(p0 + k * size, (n - k) * size);               \
            const struct tail t1 = tail_of(p1 + k * size, (n - k) * size);               \
            uint32x4_t m;                                                                \
            EACH_##T(TAIL_X)                                                             \
            LAST_PART(type, size, T, 0)                                                  \
            LAST_PART(type, size, T, 1)                                                  \
            LAST_PART(type, size, T, 2)                                                  \
            LAST_PART(type, size, T, 3)                                                  \
        }                                                                                \
        EACH_##T(store)                                                                  \
    }

#define DEFINE_TILE(type, size, T)                                            \
    static void tile_##type##_##T(const struct tile *a) {                     \
        size_t r = 0;                                                         \
        for (; r + NEON_ROWS <= a->n_rows; r += NEON_ROWS) {                  \
            const unsigned char *p0 = a->w + r * a->w_stride;                 \
            const unsigned char *p1 = p0 + a->w_stride;                       \
            DEFINE_ROWS(type, size, T, STORE_2)                               \
        }                                                                     \
        if (r < a->n_rows) {                                                  \
            const unsigned char *p0 = a->w + r * a->w_stride, *p1 = p0;       \
            DEFINE_ROWS(type, size, T, STORE_1)                               \
        }                                                                     \
    }

#define DEFINE_TILES(type, size) \
    DEFINE_TILE(type, size, 1)   \
    DEFINE_TILE(type, size, 2)   \
    DEFINE_TILE(type, size, 3)   \
    static tile_fn *const tile_##type[] = {NULL, tile_##type##_1, tile_##type##_2, tile_##type##_3};

DEFINE_TILES(f32, 4)
DEFINE_TILES(f16, 2)
DEFINE_TILES(bf16, 2)

static const struct tile_set tiles_f32 = {tile_f32, NEON_TOKENS, NEON_ROWS, 4};
static const struct tile_set tiles_f16 = {tile_f16, NEON_TOKENS, NEON_ROWS, 2};
static const struct tile_set tiles_bf16 = {tile_bf16, NEON_TOKENS, NEON_ROWS, 2};

void neon_matmul_f32(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_f32);
}

void neon_matmul_f16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_f16);
}

void neon_matmul_bf16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_bf16);
}
