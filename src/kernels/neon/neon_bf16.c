/* neon_bf16.c - products of activations rounded to bfloat16, as kernels.h defines them: by multiply-adds
 * that flush, and by plain arithmetic where these do not suffice. */
#include "kernels/neon/neon_bf16.h"

#define MAC2_LANE(s, w, x, i) \
    vfmaq_laneq_f32(vfmaq_laneq_f32(s, upper(w), upper(x), i), lower(w), lower(x), i)

#include "kernels/neon/bf16_pairs.h"

static inline float32x4_t flush4(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t sign = vandq_u32(bits, vdupq_n_u32(0x80000000u));
    return vreinterpretq_f32_u32(vbslq_u32(vcaltq_f32(x, vdupq_n_f32(MIN_NORMAL)), sign, bits));
}

/* mac_bf16 of math.h. Where a result may be subnormal the scalar decides; that is rare. */
static inline float32x4_t mac4(float32x4_t w, float x, float32x4_t s) {
    const float32x4_t a = flush4(w), c = flush4(s);
    const float32x4_t r = vfmaq_n_f32(c, a, flush_subnormal(x));
    if (vmaxvq_u32(vcaleq_f32(r, vdupq_n_f32(MIN_NORMAL))) == 0)
        return r;
    float wl[NEON_LANES], sl[NEON_LANES];
    vst1q_f32(wl, w);
    vst1q_f32(sl, s);
    for (size_t i = 0; i < NEON_LANES; i++)
        sl[i] = mac_bf16(wl[i], x, sl[i]);
    return vld1q_f32(sl);
}

static inline float element(const unsigned char *w, size_t k) {
    uint16_t h;
    memcpy(&h, w + 2 * k, sizeof h);
    return bf16_to_f32(h);
}

/* Column k of four rows. */
static inline float32x4_t column(const unsigned char *const w[NEON_LANES], size_t k) {
    const float c[NEON_LANES] = {element(w[0], k), element(w[1], k), element(w[2], k), element(w[3], k)};
    return vld1q_f32(c);
}

/* Columns k .. k+3 of four rows. */
static inline void columns(const unsigned char *const w[NEON_LANES], size_t k, float32x4_t c[4]) {
    const float32x4x2_t a = vtrnq_f32(widen_bf16(w[0] + 2 * k), widen_bf16(w[1] + 2 * k));
    const float32x4x2_t b = vtrnq_f32(widen_bf16(w[2] + 2 * k), widen_bf16(w[3] + 2 * k));
    c[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    c[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    c[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    c[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

float32x4_t neon_dot_pairs(const unsigned char *const w[NEON_LANES], const uint16_t *x, size_t n) {
    float32x4_t s = vdupq_n_f32(0), c[4];
    size_t k = 0;
    for (; k + 4 <= n; k += 4) {
        columns(w, k, c);
        s = mac4(c[1], bf16_to_f32(x[k + 1]), s);
        s = mac4(c[0], bf16_to_f32(x[k]), s);
        s = mac4(c[3], bf16_to_f32(x[k + 3]), s);
        s = mac4(c[2], bf16_to_f32(x[k + 2]), s);
    }
    for (; k < n; k += 2) {
        const bool pair = k + 1 < n;
        s = mac4(pair ? column(w, k + 1) : vdupq_n_f32(0), pair ? bf16_to_f32(x[k + 1]) : 0.0f, s);
        s = mac4(column(w, k), bf16_to_f32(x[k]), s);
    }
    return s;
}

void neon_matmul_bf16_pairs(const struct matmul_bf16_args *a) {
    matmul_pairs(a);
}

void neon_to_bf16(uint16_t *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + NEON_LANES <= n; i += NEON_LANES) {
        const float32x4_t v = vld1q_f32(x + i);
        const uint32x4_t bits = vreinterpretq_u32_f32(v);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
        vst1_u16(y + i, vshrn_n_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet), 16));
    }
    for (; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}
