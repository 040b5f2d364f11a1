/* avx512_train.c - train_kernels.h by AVX-512. */
#include "kernels/avx512/avx512_train.h"
#include "kernels/train_loops.h"

static void tile_f32(size_t k, const void *a, const void *b, float *c, size_t ld, bool add) {
    const float *pa = a, *pb = b;
    TRAIN_ROWS(TRAIN_BEGIN)
    for (size_t t = 0; t < k; t++, pa += TRAIN_MR, pb += TRAIN_NR) {
        const __m512 b0 = _mm512_loadu_ps(pb), b1 = _mm512_loadu_ps(pb + 16);
        __m512 x;
#define STEP(i)                                   \
    x = _mm512_set1_ps(pa[i]);                    \
    c##i##_0 = _mm512_fmadd_ps(x, b0, c##i##_0);  \
    c##i##_1 = _mm512_fmadd_ps(x, b1, c##i##_1);
        TRAIN_ROWS(STEP)
#undef STEP
    }
    TRAIN_ROWS(TRAIN_END)
}

static void pack_across(const struct gemm_strip *s) {
    float *dst = s->dst;
    for (size_t i = 0; i < s->k; i++)
        for (size_t w = 0; w < s->width; w += 16) {
            const __mmask16 m = train_lanes(s->count > w ? s->count - w : 0);
            const __m512 v = train_load(s->dtype, s->src, i * s->ld + w, m);
            _mm512_mask_storeu_ps(dst + i * s->width + w, train_lanes(s->width - w), v);
        }
}

/* Sixteen rows, sixteen k at a time. */
static void pack_rows(const struct gemm_strip *s, size_t w, size_t k) {
    const __mmask16 m = train_lanes(s->k - k), to = train_lanes(s->width - w);
    float *dst = (float *)s->dst + k * s->width + w;
    const size_t n = s->k - k;
#define LOAD(i)                                                                                   \
    const __m512i w##i = _mm512_castps_si512(train_load(s->dtype, s->src, (w + i) * s->ld + k,    \
                                                        w + i < s->count ? m : (__mmask16)0));
    EACH_16(LOAD)
    TRANSPOSE16
#define STORE(i) \
    if (i < n)   \
        _mm512_mask_storeu_ps(dst + i * s->width, to, _mm512_castsi512_ps(t##i));
    EACH_16(STORE)
#undef LOAD
#undef STORE
}

static void pack(const struct gemm_strip *s) {
    if (s->across) {
        pack_across(s);
        return;
    }
    for (size_t k = 0; k < s->k; k += 16)
        for (size_t w = 0; w < s->width; w += 16)
            pack_rows(s, w, k);
}

#define F32 \
    { .mr = TRAIN_MR, .nr = TRAIN_NR, .element = sizeof(float), .pack = pack, .tile = tile_f32 }

const struct train_kernels train_avx512 = {.f32 = F32, TRAIN_LOOPS};
const struct train_kernels train_avx512bf16 = {
    .f32 = F32,
    .bf16 = {.mr = TRAIN_MR_BF16,
             .nr = TRAIN_NR,
             .element = sizeof(uint16_t),
             .pack = avx512bf16_train_pack,
             .tile = avx512bf16_train_tile},
    .decode = avx512bf16_train_decode,
    .decode_strip = avx512bf16_train_decode_strip,
    TRAIN_LOOPS,
};
