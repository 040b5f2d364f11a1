/* Exact values of coded matrices. */
#include "quant/quantized.h"

size_t quant_dequantize_scratch_bytes(const struct quant_source *s, size_t n) {
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    return n * (2 * groups * sizeof(float) + s->cols);
}

static float value(const struct quant_spec *spec, uint8_t q, float scale, float zero) {
    switch (spec->kind) {
    case QUANT_INT:
        return scale * ((float)q - zero);
    case QUANT_AFFINE:
        return scale * (float)q - zero;
    case QUANT_CODE:
        return scale * spec->code[q];
    }
    return 0;
}

void quant_dequantize_rows(const struct quant_source *s, size_t first, size_t n, float *y,
                           void *scratch) {
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    float *scale = scratch, *zero = scale + n * groups;
    uint8_t *q = (uint8_t *)(zero + n * groups);
    s->read_rows(s, first, n, q, scale, zero);
    for (size_t r = 0; r < n; r++) {
        for (size_t j = 0; j < s->cols; j++) {
            const size_t g = r * groups + j / s->spec.group;
            const size_t c = s->col_order ? s->col_order[j] : j;
            const float z = s->spec.kind == QUANT_CODE ? 0.0f : zero[g];
            y[r * s->cols + c] = value(&s->spec, q[r * s->cols + j], scale[g], z);
        }
    }
}
