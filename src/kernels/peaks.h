/* peaks.h - how fast this CPU can be at all: loops of nothing but multiply-adds, or loads. What a
 * benchmark measures its results by. */
#ifndef QUERN_KERNELS_PEAKS_H
#define QUERN_KERNELS_PEAKS_H

#include "kernels/kernels.h"

enum peak_kind {
    PEAK_F32,  /* fma of float32 */
    PEAK_BF16, /* dot products of bfloat16 into float32 */
    PEAK_INT8, /* dot products of 8-bit into 32-bit integers */
    PEAK_KINDS
};

struct peaks {
    /* Executes `rounds` of independent multiply-adds and answers how many operations these were (a
     * multiply-add is two). NULL: the CPU has no such instruction, or this build does not know it. */
    double (*compute[PEAK_KINDS])(size_t rounds);
    /* Loads `bytes` (a multiple of 256) at `p`, aligned to 64. NULL: unknown. */
    void (*read)(const void *p, size_t bytes);
};

/* Of the widest instruction set this CPU has. */
struct peaks peaks_of_cpu(void);

#endif
