/* FP8: X.weight F8_E4M3 [out, in] with X.weight_scale_inv (Qwen, DeepSeek) or X.weight_scale (fbgemm,
 * vLLM), by which the codes are multiplied in either case. */
#include "formats/quantized/parts.h"

/* Filled by scripts/make_fp8_tables.py. */
#include "formats/quantized/fp8_tables.h"

const float *fp8_values(enum dtype t) {
    return t == DTYPE_F8_E5M2 ? e5m2_values : e4m3_values;
}

static void read_numbers(const struct quant_source *s, size_t first, size_t n, float *scale,
                         float *zero) {
    (void)zero;
    read_row_scales(linear_of(s), first, n, scale);
}

static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                      float *scale, float *zero) {
    memcpy(q, (const uint8_t *)linear_of(s)->codes->data + first * s->cols, n * s->cols);
    read_numbers(s, first, n, scale, zero);
}

bool fp8_open(struct parts_reader *r) {
    const struct tensor *t = part_find(r, ".weight");
    if (!t || t->block_type || !(TYPES_FP8 & TYPE(t->dtype)))
        return false;
    struct quantized_linear *l = r->out;
    l->codes = part_need(r, ".weight", TYPES_FP8);
    if (!part_shape(r, l->codes, r->rows, r->cols))
        return true;
    l->source.spec = (struct quant_spec){.kind = QUANT_CODE, .bits = 8, .code = fp8_values(t->dtype)};
    l->source.read_rows = read_rows;
    l->source.read_numbers = read_numbers;
    const bool inverse = part_find(r, ".weight_scale_inv") != NULL;
    part_scales(r, inverse || !part_find(r, ".weight_scale") ? ".weight_scale_inv" : ".weight_scale",
                8, true);
    return true;
}
