/* Assembly, because a compiler would see that nothing comes of it, and because the instructions may
 * be newer than what this folder is compiled for: peaks.c asks the CPU. */
#include "kernels/peaks_tables.h"

enum { CHAINS = 16, LANES = 16 };

/* Sixteen accumulators: more than latency times units asks for. */
#define ALL_CHAINS(op)                                                                             \
    op " %%zmm30, %%zmm31, %%zmm0\n" op " %%zmm30, %%zmm31, %%zmm1\n"                              \
    op " %%zmm30, %%zmm31, %%zmm2\n" op " %%zmm30, %%zmm31, %%zmm3\n"                              \
    op " %%zmm30, %%zmm31, %%zmm4\n" op " %%zmm30, %%zmm31, %%zmm5\n"                              \
    op " %%zmm30, %%zmm31, %%zmm6\n" op " %%zmm30, %%zmm31, %%zmm7\n"                              \
    op " %%zmm30, %%zmm31, %%zmm8\n" op " %%zmm30, %%zmm31, %%zmm9\n"                              \
    op " %%zmm30, %%zmm31, %%zmm10\n" op " %%zmm30, %%zmm31, %%zmm11\n"                            \
    op " %%zmm30, %%zmm31, %%zmm12\n" op " %%zmm30, %%zmm31, %%zmm13\n"                            \
    op " %%zmm30, %%zmm31, %%zmm14\n" op " %%zmm30, %%zmm31, %%zmm15\n"
#define CLOBBERS                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm30", "xmm31"
/* Starting from zeros, so that no time depends on what was in the registers. */
#define CLEAR "vpxorq %%zmm30, %%zmm30, %%zmm30\n vpxorq %%zmm31, %%zmm31, %%zmm31\n"

double avx512_peak_f32(size_t rounds) {
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(CLEAR ALL_CHAINS("vfmadd231ps") ::: CLOBBERS);
    return (double)rounds * CHAINS * LANES * 2;
}

double avx512_peak_bf16(size_t rounds) {
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(CLEAR ALL_CHAINS("vdpbf16ps") ::: CLOBBERS);
    return (double)rounds * CHAINS * LANES * 2 * 2;
}

double avx512_peak_int8(size_t rounds) {
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(CLEAR ALL_CHAINS("vpdpbusd") ::: CLOBBERS);
    return (double)rounds * CHAINS * LANES * 4 * 2;
}

void avx512_peak_read(const void *p, size_t bytes) {
    const char *at = p;
    for (const char *end = at + bytes; at < end; at += 256)
        __asm__ volatile("vmovaps (%0), %%zmm0\n vmovaps 64(%0), %%zmm1\n"
                         "vmovaps 128(%0), %%zmm2\n vmovaps 192(%0), %%zmm3" ::"r"(at)
                         : "xmm0", "xmm1", "xmm2", "xmm3");
}
