/* avx512bf16_train.c - products of bfloat16 by vdpbf16ps; the rest is avx512_train.c's. */
#include "kernels/avx512/avx512_train.h"
#include "kernels/avx512bf16/mac2.h"

/* Rows are a page apart, further than the processor fetches ahead by itself. */
enum { AHEAD_ROWS = 16, AHEAD_BYTES = 256 };

/* 16 sums in registers. A pair of a is broadcast once for two products: as their memory operand it would be
 * loaded twice, and two loads a cycle are all there are (85 %, so 98 % of the peak). */
#define BEGIN(i)                                                              \
    __m512 c##i##_0 = add ? _mm512_loadu_ps(c + i * ld) : _mm512_setzero_ps(); \
    __m512 c##i##_1 = add ? _mm512_loadu_ps(c + i * ld + 16) : _mm512_setzero_ps();
#define STEP(i)                                                                          \
    __asm__("vbroadcastss %1, %0" : "=v"(x) : "m"(*(const struct pair *)(const void *)(pa + 4 * i))); \
    MAC2(c##i##_0, b0, x);                                                               \
    MAC2(c##i##_1, b1, x);
#define EACH_ROW(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)

void avx512bf16_train_tile(size_t k, const void *a, const void *b, float *c, size_t ld, bool add) {
    const char *pa = a, *pb = b;
    EACH_ROW(BEGIN)
    for (size_t t = 0; t < (k + 1) / 2; t++, pa += 4 * TRAIN_MR_BF16, pb += 4 * TRAIN_NR) {
        __m512 x, b0 = _mm512_loadu_ps(pb), b1 = _mm512_loadu_ps(pb + 64);
        __asm__("" : "+v"(b0), "+v"(b1));
        EACH_ROW(STEP)
    }
    EACH_ROW(TRAIN_END)
}

/* Sixteen floats to bfloat16, zero-extended to 32 bits. */
static inline __m512i rounded(__m512 x) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

static inline size_t size_of(enum dtype t) {
    return t == DTYPE_F32 ? 4 : 2;
}

/* Elements [at, at + 32) as sixteen pairs, n of them there. */
static inline __m512i load_pairs(enum dtype t, const void *src, size_t at, size_t n) {
    _mm_prefetch((const char *)src + at * size_of(t) + AHEAD_BYTES, _MM_HINT_T0);
    if (t == DTYPE_F32 && n >= 32) {
        const float *p = (const float *)src + at;
        return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + 16), _mm512_loadu_ps(p));
    }
    if (t == DTYPE_BF16) {
        const __mmask32 m = n >= 32 ? 0xffffffffu : (1u << n) - 1u;
        return _mm512_maskz_loadu_epi16(m, (const char *)src + 2 * at);
    }
    const __m512 lo = train_load(t, src, at, train_lanes(n));
    const __m512 hi = train_load(t, src, at + 16, train_lanes(n > 16 ? n - 16 : 0));
    return (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
}

/* Rows k and k + 1, sixteen columns, side by side. */
static inline __m512i interleave(const struct gemm_strip *s, size_t k, size_t w, __mmask16 m) {
    const __mmask16 odd = k + 1 < s->k ? m : (__mmask16)0;
    const __m512i lo = rounded(train_load(s->dtype, s->src, k * s->ld + w, m));
    const __m512i hi = rounded(train_load(s->dtype, s->src, (k + 1) * s->ld + w, odd));
    return _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16));
}

static void pack_across(const struct gemm_strip *s) {
    const size_t row_bytes = s->ld * size_of(s->dtype);
    char *dst = s->dst;
    for (size_t i = 0; i < s->k; i += 2) {
        const char *ahead = (const char *)s->src + (i + AHEAD_ROWS) * row_bytes;
        _mm_prefetch(ahead, _MM_HINT_T0);
        _mm_prefetch(ahead + row_bytes, _MM_HINT_T0);
        for (size_t w = 0; w < s->width; w += 16) {
            const __mmask16 m = train_lanes(s->count > w ? s->count - w : 0);
            _mm512_mask_storeu_epi32(dst + 4 * (i / 2 * s->width + w), train_lanes(s->width - w),
                                     interleave(s, i, w, m));
        }
    }
}

/* 32 elements as bfloat16. */
static inline __m512i load_32(enum dtype t, const char *p) {
    if (t == DTYPE_BF16)
        return _mm512_loadu_si512(p);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + 64), _mm512_loadu_ps(p));
}

/* Whole strips of bfloat16 or float32, an even number of k: 32 columns of two rows by two permutations. */
static inline void pack_across_32(const struct gemm_strip *s, enum dtype t) {
    static const uint16_t order[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                       8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i first = _mm512_loadu_si512(order);
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    const size_t row_bytes = s->ld * size_of(t);
    const char *row = s->src;
    char *dst = s->dst;
    for (size_t i = 0; i < s->k; i += 2, row += 2 * row_bytes, dst += 128) {
        const __m512i a = load_32(t, row), b = load_32(t, row + row_bytes);
        _mm_prefetch(row + AHEAD_ROWS * row_bytes, _MM_HINT_T0);
        _mm_prefetch(row + (AHEAD_ROWS + 1) * row_bytes, _MM_HINT_T0);
        _mm512_storeu_si512(dst, _mm512_permutex2var_epi16(a, first, b));
        _mm512_storeu_si512(dst + 64, _mm512_permutex2var_epi16(a, second, b));
    }
}

/* Whole strips of eight columns of float32, a multiple of four k: two pairs of rows at a time. */
static void pack_across_8(const struct gemm_strip *s) {
    static const uint16_t order[32] = {0,  8,  1,  9,  2,  10, 3,  11, 4,  12, 5,  13, 6,  14, 7,  15,
                                       16, 24, 17, 25, 18, 26, 19, 27, 20, 28, 21, 29, 22, 30, 23, 31};
    const __m512i pairs = _mm512_loadu_si512(order);
    const float *row = s->src;
    char *dst = s->dst;
    for (size_t i = 0; i < s->k; i += 4, row += 4 * s->ld, dst += 64) {
        const __m512 a = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(row)),
                                            _mm256_loadu_ps(row + s->ld), 1);
        const __m512 b = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(row + 2 * s->ld)),
                                            _mm256_loadu_ps(row + 3 * s->ld), 1);
        _mm512_storeu_si512(dst, _mm512_permutexvar_epi16(pairs, (__m512i)_mm512_cvtne2ps_pbh(b, a)));
    }
}

static void pack_strip_across(const struct gemm_strip *s) {
    const bool whole = s->count == s->width && s->k % 2 == 0;
    if (whole && s->width == 32 && s->dtype == DTYPE_BF16)
        pack_across_32(s, DTYPE_BF16);
    else if (whole && s->width == 32 && s->dtype == DTYPE_F32)
        pack_across_32(s, DTYPE_F32);
    else if (whole && s->width == 8 && s->k % 4 == 0 && s->dtype == DTYPE_F32)
        pack_across_8(s);
    else
        pack_across(s);
}

/* Sixteen rows, 32 k at a time. */
static void pack_rows(const struct gemm_strip *s, size_t w, size_t k) {
    const __mmask16 to = train_lanes(s->width - w);
    const size_t left = s->k - k, n = (left + 1) / 2;
    char *dst = (char *)s->dst + 4 * (k / 2 * s->width + w);
#define LOAD(i) \
    const __m512i w##i = load_pairs(s->dtype, s->src, (w + i) * s->ld + k, w + i < s->count ? left : 0);
    EACH_16(LOAD)
    TRANSPOSE16
#define STORE(i) \
    if (i < n)   \
        _mm512_mask_storeu_epi32(dst + 4 * i * s->width, to, t##i);
    EACH_16(STORE)
#undef LOAD
#undef STORE
}

/* Pairs c, 4 + c, 8 + c, 12 + c of eight rows: of rows 0..3 in lo, of 4..7 in hi. */
static inline void store_8(char *dst, size_t c, size_t n, __m512i lo, __m512i hi) {
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512i v[2] = {_mm512_permutex2var_epi64(lo, first, hi), _mm512_permutex2var_epi64(lo, second, hi)};
    for (size_t i = 0; i < 2; i++) {
        if (8 * i + c < n)
            _mm256_storeu_si256((__m256i *)(void *)(dst + 32 * (8 * i + c)), _mm512_castsi512_si256(v[i]));
        if (8 * i + c + 4 < n)
            _mm256_storeu_si256((__m256i *)(void *)(dst + 32 * (8 * i + c + 4)), _mm512_extracti64x4_epi64(v[i], 1));
    }
}

/* Strips of eight rows, 32 k at a time. */
static void pack_8_rows(const struct gemm_strip *s, size_t k) {
    const size_t left = s->k - k, n = (left + 1) / 2;
    char *dst = (char *)s->dst + 16 * k;
#define LOAD(i) const __m512i w##i = load_pairs(s->dtype, s->src, i * s->ld + k, i < s->count ? left : 0);
    EACH_ROW(LOAD)
    TRANSPOSE16_FOUR_ROWS(0, 0, 1, 2, 3)
    TRANSPOSE16_FOUR_ROWS(1, 4, 5, 6, 7)
    store_8(dst, 0, n, q00, q10);
    store_8(dst, 1, n, q01, q11);
    store_8(dst, 2, n, q02, q12);
    store_8(dst, 3, n, q03, q13);
#undef LOAD
}

void avx512bf16_train_pack(const struct gemm_strip *s) {
    if (s->across)
        pack_strip_across(s);
    for (size_t k = 0; k < s->k && !s->across; k += 32) {
        if (s->width == TRAIN_MR_BF16) {
            pack_8_rows(s, k);
            continue;
        }
        for (size_t w = 0; w < s->width; w += 16)
            pack_rows(s, w, k);
    }
}
