/* generic_bf16_tiles.c - the reference of matmul_bf16 in tables with bf16_by_tiles: what tdpbf16ps does, by the
 * pseudocode of its manual. */
#include "kernels/generic/generic.h"

#include <string.h>

#include "kernels/math.h"

enum { STEP_COLS = 32 };

static float dot(const uint16_t *x, const unsigned char *w, size_t n) {
    float y = 0.0f;
    for (size_t k = 0; k < n; k += STEP_COLS) {
        float sums[2] = {0.0f, 0.0f};
        for (size_t i = 0; i < STEP_COLS; i++) {
            uint16_t weight = 0;
            if (k + i < n)
                memcpy(&weight, w + 2 * (k + i), sizeof weight);
            sums[i % 2] = mac_bf16(bf16_to_f32(weight), k + i < n ? bf16_to_f32(x[k + i]) : 0.0f, sums[i % 2]);
        }
        y = flush_subnormal(y + flush_subnormal(sums[0] + sums[1]));
    }
    return y;
}

void generic_matmul_bf16_tiles(const struct matmul_bf16_args *a) {
    for (size_t r = a->row_begin; r < a->row_end; r++) {
        const unsigned char *row = (const unsigned char *)a->w + r * a->n_cols * 2;
        for (size_t t = 0; t < a->n_tokens; t++) {
            const float y = dot(a->x + t * a->x_stride, row, a->n_cols);
            a->y[t * a->y_stride + r] = a->bias ? y + a->bias[r] : y;
        }
    }
}
