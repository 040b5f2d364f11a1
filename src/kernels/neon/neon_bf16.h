/* neon_bf16.h - the processor's mode for products of bfloat16 (kernels.h: mac), and what to do where it is not enough.
 *
 * With flushing on, fma counts subnormal operands as zeros, as mac does. A result it flushes when the exact value is
 * below 2^-126, mac only when the rounded one is. So whoever computes in this mode asks afterwards whether anything was
 * flushed, which the processor notes, and then does the piece again by plain arithmetic. That is rare. */
#ifndef QUERN_KERNELS_NEON_NEON_BF16_H
#define QUERN_KERNELS_NEON_NEON_BF16_H

#include "kernels/neon/neon_attention.h"

struct flushing {
    uint64_t mode;
};

enum { FPCR_FLUSH = 1 << 24, FPSR_FLUSHED = 1 << 3 };

static inline struct flushing flush_begin(void) {
    struct flushing f;
    __asm__ volatile("mrs %0, fpcr" : "=r"(f.mode));
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, xzr" : : "r"(f.mode | FPCR_FLUSH) : "memory");
    return f;
}

/* Was a result flushed since flush_begin() or the last call? Sums must be held beforehand. */
static inline bool was_flushed(void) {
    uint64_t status;
    __asm__ volatile("mrs %0, fpsr" : "=r"(status) : : "memory");
    if (!(status & FPSR_FLUSHED))
        return false;
    __asm__ volatile("msr fpsr, xzr" : : : "memory");
    return true;
}

static inline void flush_end(struct flushing f) {
    __asm__ volatile("msr fpcr, %0" : : "r"(f.mode) : "memory");
}

/* Nothing that makes s moves behind this. */
#define HOLD(s) __asm__ volatile("" : "+w"(s));

static inline float32x4_t upper(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xFFFF0000u)));
}

static inline float32x4_t lower(uint32x4_t pairs) {
    return vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
}

static inline uint32_t pair_of(const void *p) {
    uint32_t pair;
    memcpy(&pair, p, sizeof pair);
    return pair;
}

/* ---- plain arithmetic, for the rare case ----------------------------------------------------- */

/* Four rows by one token. */
float32x4_t neon_dot_pairs(const unsigned char *const w[NEON_LANES], const uint16_t *x, size_t n);
/* As score_fn and weigh_fn, for n queries; of the values 16 dimensions from i on. */
void neon_plain_scores(const struct score_tile *a, size_t n);
void neon_plain_weigh(const struct weigh_tile *a, size_t n, size_t i);

/* ---- what attention shares ---------------------------------------------------------------------- */

float neon_bf16_pack(void *to, const float *q, size_t head_dim, size_t padded);
void neon_bf16_soften(struct soften *a);
extern weigh_fn *const neon_bf16_edges[];

#endif
