/* generic_train.c - the reference of train_kernels.h. */
#include "kernels/train_loops.h"

enum { MR = 4, NR = 16 };

static void tile_f32(size_t k, const void *a, const void *b, float *c, size_t ld, bool add) {
    const float *pa = a, *pb = b;
    float acc[MR][NR] = {{0}};
    if (add)
        for (size_t i = 0; i < MR; i++)
            memcpy(acc[i], c + i * ld, sizeof acc[i]);
    for (size_t t = 0; t < k; t++)
        for (size_t i = 0; i < MR; i++)
            for (size_t j = 0; j < NR; j++)
                acc[i][j] = fma32(pa[t * MR + i], pb[t * NR + j], acc[i][j]);
    for (size_t i = 0; i < MR; i++)
        memcpy(c + i * ld, acc[i], sizeof acc[i]);
}

const struct train_kernels train_generic = {
    .f32 = {.mr = MR, .nr = NR, .element = sizeof(float), .pack = loop_pack_f32, .tile = tile_f32},
    TRAIN_LOOPS,
};
