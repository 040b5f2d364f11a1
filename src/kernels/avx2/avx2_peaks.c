/* As in avx512_peaks.c. */
#include "kernels/peaks_tables.h"

enum { CHAINS = 12, LANES = 8 };

#define ALL_CHAINS(op)                                                                             \
    op " %%ymm14, %%ymm15, %%ymm0\n" op " %%ymm14, %%ymm15, %%ymm1\n"                              \
    op " %%ymm14, %%ymm15, %%ymm2\n" op " %%ymm14, %%ymm15, %%ymm3\n"                              \
    op " %%ymm14, %%ymm15, %%ymm4\n" op " %%ymm14, %%ymm15, %%ymm5\n"                              \
    op " %%ymm14, %%ymm15, %%ymm6\n" op " %%ymm14, %%ymm15, %%ymm7\n"                              \
    op " %%ymm14, %%ymm15, %%ymm8\n" op " %%ymm14, %%ymm15, %%ymm9\n"                              \
    op " %%ymm14, %%ymm15, %%ymm10\n" op " %%ymm14, %%ymm15, %%ymm11\n"
#define CLOBBERS                                                                                   \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm14", "xmm15"
#define CLEAR "vxorps %%ymm14, %%ymm14, %%ymm14\n vxorps %%ymm15, %%ymm15, %%ymm15\n"

double avx2_peak_f32(size_t rounds) {
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(CLEAR ALL_CHAINS("vfmadd231ps") ::: CLOBBERS);
    return (double)rounds * CHAINS * LANES * 2;
}

double avx2_peak_int8(size_t rounds) {
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(CLEAR ALL_CHAINS("%{vex%} vpdpbusd") ::: CLOBBERS);
    return (double)rounds * CHAINS * LANES * 4 * 2;
}

void avx2_peak_read(const void *p, size_t bytes) {
    const char *at = p;
    for (const char *end = at + bytes; at < end; at += 128)
        __asm__ volatile("vmovaps (%0), %%ymm0\n vmovaps 32(%0), %%ymm1\n"
                         "vmovaps 64(%0), %%ymm2\n vmovaps 96(%0), %%ymm3" ::"r"(at)
                         : "xmm0", "xmm1", "xmm2", "xmm3");
}
