/* avx2_packed.c - packed matrices without VNNI: 16 rows (two registers) by up to four tokens at a time. */
#include "kernels/avx2/avx2_packed.h"
#include "kernels/tables.h"

/* ---- activations ------------------------------------------------------------------- */

static void prepare_exact(const struct packed_prepare_args *a) {
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++)
            packed_columns(a, t, g * a->out->group, n, (float *)a->out->x + packed_input_at(a->out, g) + t * stride);
    }
}

static uint32_t top_of(const float *x, size_t n) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i top = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += HALF_LANES)
        top = _mm256_max_epu32(top, _mm256_and_si256(_mm256_loadu_si256((const void *)(x + i)), magnitude));
    uint32_t lanes[HALF_LANES], most = 0;
    _mm256_storeu_si256((void *)lanes, top);
    for (size_t i = 0; i < HALF_LANES; i++)
        most = lanes[i] > most ? lanes[i] : most;
    return most;
}

static int32_t quantize(int8_t *to, const float *x, size_t n, float by) {
    const __m256 inverse = _mm256_set1_ps(by);
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += HALF_LANES) {
        const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
        sum = _mm256_add_epi32(sum, q);
        const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
        _mm_storel_epi64((void *)(to + i), _mm_packs_epi16(half, half));
    }
    int32_t lanes[HALF_LANES], total = 0;
    _mm256_storeu_si256((void *)lanes, sum);
    for (size_t i = 0; i < HALF_LANES; i++)
        total += lanes[i];
    return total;
}

static void prepare_int8(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    float room[PACKED_GROUP_MAX];
    for (size_t t = a->token_begin; t < a->token_end; t++) {
        for (size_t g = 0; g < in->n_groups; g++) {
            const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
            const float *x = packed_columns(a, t, g * in->group, n, room);
            const struct int8_scale s = int8_scale_of(top_of(x, stride));
            int8_t *to = (int8_t *)in->x + packed_input_at(in, g) + t * stride;
            int32_t sum = 0;
            if (s.inverse > 0)
                sum = quantize(to, x, stride, s.inverse);
            else
                memset(to, 0, stride);
            in->scale[g * in->n_tokens + t] = s.scale;
            in->sum[g * in->n_tokens + t] = sum;
        }
    }
}

/* ---- MATH_INT8 ---------------------------------------------------------------------- */

static inline __m256i load_codes(const unsigned char *p) {
    __m256i v = _mm256_loadu_si256((const void *)p);
    __asm__("" : "+x"(v));
    return v;
}

static inline __m256i four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* One token and 8 rows. */
static inline void add_int8(const struct packed_tile *a, size_t t, size_t row, __m256i dot) {
    const struct packed_matrix *w = a->w;
    float *to = a->sums + t * PACKED_ROWS + row;
    if (w->kind == QUANT_INT) {
        const __m256i zero = packed_int_zeros(w, a->zeros, row);
        dot = _mm256_sub_epi32(dot, _mm256_mullo_epi32(zero, _mm256_set1_epi32(a->x_sum[t])));
    }
    const __m256 scale = numbers_at(w->number, a->scales, row);
    __m256 y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, _mm256_set1_ps(a->x_scale[t])),
                               _mm256_loadu_ps(to));
    if (w->kind == QUANT_AFFINE)
        y = _mm256_fnmadd_ps(numbers_at(w->number, a->zeros, row),
                             _mm256_set1_ps(a->x_scale[t] * (float)a->x_sum[t]), y);
    _mm256_storeu_ps(to, y);
}

#define DECLARE(t)                                                  \
    const int8_t *x##t = (const int8_t *)a->x + t * a->x_stride;    \
    __m256i s##t##0 = _mm256_setzero_si256(), s##t##1 = s##t##0;
/* Bytes of both operands widened to 16 bits, columns 0 and 2 in one register, 1 and 3 in the other:
 * the instruction for bytes would saturate at 255 * 127 * 2. */
#define STEP_BYTES(t)                                                                    \
    {                                                                                    \
        const __m256i x = four_of(x##t + k);                                             \
        const __m256i e = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);                 \
        const __m256i o = _mm256_srai_epi16(x, 8);                                       \
        s##t##0 = _mm256_add_epi32(s##t##0, _mm256_madd_epi16(e0, e));                   \
        s##t##1 = _mm256_add_epi32(s##t##1, _mm256_madd_epi16(e1, e));                   \
        s##t##0 = _mm256_add_epi32(s##t##0, _mm256_madd_epi16(o0, o));                   \
        s##t##1 = _mm256_add_epi32(s##t##1, _mm256_madd_epi16(o1, o));                   \
    }
/* Codes up to 15: two products stay below 4,000. */
#define STEP_SMALL(t)                                                                             \
    {                                                                                             \
        const __m256i x = four_of(x##t + k);                                                      \
        s##t##0 = _mm256_add_epi32(s##t##0, _mm256_madd_epi16(_mm256_maddubs_epi16(w0, x), one)); \
        s##t##1 = _mm256_add_epi32(s##t##1, _mm256_madd_epi16(_mm256_maddubs_epi16(w1, x), one)); \
    }
#define FINISH(t)                           \
    add_int8(a, t, row, s##t##0);           \
    add_int8(a, t, row + 8, s##t##1);

#define DEFINE_INT8(T)                                                                           \
    static void bytes_##T(const struct packed_tile *a) {                                         \
        const __m256i low = _mm256_set1_epi16(255);                                              \
        for (size_t row = 0; row < PACKED_ROWS; row += 16) {                                     \
            const unsigned char *q = (const unsigned char *)a->codes + 4 * row;                  \
            EACH_##T(DECLARE)                                                                    \
            for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES) {                 \
                const __m256i w0 = load_codes(q), w1 = load_codes(q + 32);                       \
                const __m256i e0 = _mm256_and_si256(w0, low), e1 = _mm256_and_si256(w1, low);    \
                const __m256i o0 = _mm256_srli_epi16(w0, 8), o1 = _mm256_srli_epi16(w1, 8);      \
                EACH_##T(STEP_BYTES)                                                             \
            }                                                                                    \
            EACH_##T(FINISH)                                                                     \
        }                                                                                        \
    }                                                                                            \
    static void small_##T(const struct packed_tile *a) {                                         \
        const __m256i one = _mm256_set1_epi16(1);                                                \
        for (size_t row = 0; row < PACKED_ROWS; row += 16) {                                     \
            const unsigned char *q = (const unsigned char *)a->codes + 4 * row;                  \
            EACH_##T(DECLARE)                                                                    \
            for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES) {                 \
                const __m256i w0 = load_codes(q), w1 = load_codes(q + 32);                       \
                EACH_##T(STEP_SMALL)                                                             \
            }                                                                                    \
            EACH_##T(FINISH)                                                                     \
        }                                                                                        \
    }

DEFINE_INT8(1)
DEFINE_INT8(2)
DEFINE_INT8(3)
DEFINE_INT8(4)

static void unpack_nibbles(void *to, const struct packed_tile *a) {
    const unsigned char *q = a->codes;
    const __m256i low = _mm256_set1_epi8(15);
    unsigned char *out = to;
    for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_CHUNK_BYTES) {
        for (size_t i = 0; i < PACKED_CHUNK_BYTES; i += 32) {
            const __m256i v = _mm256_loadu_si256((const void *)(q + i));
            fetch(q + a->ahead + i);
            _mm256_storeu_si256((void *)(out + i), _mm256_and_si256(v, low));
            _mm256_storeu_si256((void *)(out + PACKED_CHUNK_BYTES + i),
                                _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
        }
    }
}

static packed_tile_fn *const bytes[] = {NULL, bytes_1, bytes_2, bytes_3, bytes_4};
static packed_tile_fn *const small[] = {NULL, small_1, small_2, small_3, small_4};

void avx2_packed_int8(const struct packed_args *a) {
    static const struct packed_parts parts8 = {.dot = bytes, .n_tokens = 4};
    static const struct packed_parts parts4 = {.dot = small, .n_tokens = 4, .unpack = unpack_nibbles};
    packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
}

/* ---- MATH_EXACT --------------------------------------------------------------------- */

/* Eight rows' values of codes in the low bits of `q`. */
static inline __m256 value_of(const struct packed_tile *a, __m256i q, __m256 scale, __m256 zero) {
    if (a->w->kind == QUANT_CODE)
        return _mm256_i32gather_ps(a->w->code, q, 4);
    const __m256 v = _mm256_cvtepi32_ps(q);
    return a->w->kind == QUANT_INT ? _mm256_sub_ps(v, zero) : _mm256_sub_ps(_mm256_mul_ps(scale, v), zero);
}

static inline int shift_of(const struct packed_matrix *w, size_t c) {
    if (w->bits == 8)
        return (int)(8 * c);
    return (int)(4 * (w->kind == QUANT_CODE ? c / 2 + c % 2 * 4 : c % 4 * 2 + c / 4));
}

/* Floats [n_cols][64]. */
static void unpack_floats(void *to, const struct packed_tile *a) {
    const size_t per_chunk = packed_chunk_cols(a->w->bits);
    const __m256i low = _mm256_set1_epi32(a->w->bits == 8 ? 255 : 15);
    for (size_t row = 0; row < PACKED_ROWS; row += HALF_LANES) {
        const unsigned char *q = (const unsigned char *)a->codes + 4 * row;
        const __m256 scale = numbers_at(a->w->number, a->scales, row);
        __m256 zero = _mm256_setzero_ps();
        if (a->w->kind == QUANT_INT)
            zero = _mm256_cvtepi32_ps(packed_int_zeros(a->w, a->zeros, row));
        else if (a->w->kind == QUANT_AFFINE)
            zero = numbers_at(a->w->number, a->zeros, row);
        float *out = (float *)to + row;
        for (size_t k = 0; k < a->n_cols; k += per_chunk, q += PACKED_CHUNK_BYTES) {
            const __m256i v = _mm256_loadu_si256((const void *)q);
            for (size_t c = 0; c < per_chunk; c++, out += PACKED_ROWS) {
                const __m256i shifted = _mm256_srl_epi32(v, _mm_cvtsi32_si128(shift_of(a->w, c)));
                _mm256_storeu_ps(out, value_of(a, _mm256_and_si256(shifted, low), scale, zero));
            }
        }
    }
}

static inline void add_exact(const struct packed_tile *a, size_t t, size_t row, __m256 sum) {
    float *to = a->sums + t * PACKED_ROWS + row;
    const __m256 y = _mm256_loadu_ps(to);
    if (a->w->kind == QUANT_AFFINE)
        _mm256_storeu_ps(to, _mm256_add_ps(y, sum));
    else
        _mm256_storeu_ps(to, _mm256_fmadd_ps(sum, numbers_at(a->w->number, a->scales, row), y));
}

#define DECLARE_F(t)                                                 \
    const float *x##t = (const float *)a->x + t * a->x_stride;       \
    __m256 s##t##0 = _mm256_setzero_ps(), s##t##1 = s##t##0;
#define STEP_F(t)                                    \
    {                                                \
        const __m256 x = _mm256_set1_ps(x##t[k]);    \
        s##t##0 = _mm256_fmadd_ps(x, w0, s##t##0);   \
        s##t##1 = _mm256_fmadd_ps(x, w1, s##t##1);   \
    }
#define FINISH_F(t)                          \
    add_exact(a, t, row, s##t##0);           \
    add_exact(a, t, row + 8, s##t##1);

#define DEFINE_FLOATS(T)                                                                \
    static void floats_##T(const struct packed_tile *a) {                               \
        for (size_t row = 0; row < PACKED_ROWS; row += 16) {                            \
            const float *w = (const float *)a->codes + row;                             \
            EACH_##T(DECLARE_F)                                                         \
            for (size_t k = 0; k < a->n_cols; k++, w += PACKED_ROWS) {                  \
                const __m256 w0 = load_once(w), w1 = load_once(w + 8);                  \
                EACH_##T(STEP_F)                                                        \
            }                                                                           \
            EACH_##T(FINISH_F)                                                          \
        }                                                                               \
    }

DEFINE_FLOATS(1)
DEFINE_FLOATS(2)
DEFINE_FLOATS(3)
DEFINE_FLOATS(4)
DEFINE_FLOATS(5)

static packed_tile_fn *const floats[] = {NULL, floats_1, floats_2, floats_3, floats_4, floats_5};

static void matmul_exact(const struct packed_args *a) {
    static const struct packed_parts parts = {.dot = floats, .n_tokens = 5, .unpack = unpack_floats};
    packed_tiles_matmul(a, &parts);
}

const struct packed_kernels packed_avx2 = {
    .prepare = {[MATH_EXACT] = prepare_exact, [MATH_INT8] = prepare_int8, [MATH_BF16] = avx2_prepare_bf16},
    .matmul = {[MATH_EXACT] = matmul_exact, [MATH_INT8] = avx2_packed_int8, [MATH_BF16] = avx2_packed_bf16},
};
