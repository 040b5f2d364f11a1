/* compressed-tensors (llm-compressor, vLLM):
 *     pack-quantized   weight_packed I32 [out, in * bits / 32], codes plus 2^(bits-1), lowest bits first;
 *                      weight_zero_point I32 [out * bits / 32, groups], likewise, when asymmetric;
 *                      weight_shape [2]
 *     int-quantized    weight I8 [out, in], weight_zero_point I8 when asymmetric
 *     float-quantized  weight F8_E4M3 [out, in]
 * each with weight_scale; weight_g_idx I32 [in] when groups were formed in another order. */
#include "formats/quantized/parts.h"

/* ---- pack-quantized ------------------------------------------------------------- */

/* Eight codes, the lowest first, spread by halves. */
static void store_nibbles(uint32_t word, uint8_t q[8]) {
    uint64_t w = word;
    w = (w | w << 16) & 0x0000ffff0000ffffu;
    w = (w | w << 8) & 0x00ff00ff00ff00ffu;
    w = (w | w << 4) & 0x0f0f0f0f0f0f0f0fu;
    memcpy(q, &w, sizeof w);
}

static void unpack_row(const struct quantized_linear *l, size_t row, uint8_t *q) {
    const struct quant_source *s = &l->source;
    const unsigned char *line = (const unsigned char *)l->codes->data + row * l->codes->shape[1] * 4;
    if (s->spec.bits == 8) {
        for (size_t j = 0; j < s->cols; j++)
            q[j] = line[s->col_order ? s->col_order[j] : j];
    } else if (s->col_order) {
        for (size_t j = 0; j < s->cols; j++)
            q[j] = line[s->col_order[j] / 2] >> 4 * (s->col_order[j] % 2) & 15;
    } else {
        const size_t whole = s->cols / 8 * 8;
        for (size_t j = 0; j < whole; j += 8)
            store_nibbles(load_u32(line + j / 2), q + j);
        for (size_t j = whole; j < s->cols; j++)
            q[j] = line[j / 2] >> 4 * (j % 2) & 15;
    }
}

/* Packed along the rows. */
static void unpack_zeros(const struct quantized_linear *l, size_t row, float *zero) {
    const unsigned bits = (unsigned)l->source.spec.bits;
    const size_t groups = quant_n_groups(&l->source.spec, l->source.cols), pack = 32 / bits;
    const unsigned char *words = (const unsigned char *)l->zero->data + row / pack * groups * 4;
    for (size_t g = 0; g < groups; g++) {
        const uint32_t word = load_u32(words + 4 * g);
        zero[g] = (float)(word >> bits * (row % pack) & ((1u << bits) - 1));
    }
}

static void read_packed_numbers(const struct quant_source *s, size_t first, size_t n, float *scale,
                                float *zero) {
    const struct quantized_linear *l = linear_of(s);
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    read_row_scales(l, first, n, scale);
    if (!l->zero)
        fill_zeros(l, n, zero);
    for (size_t i = 0; l->zero && i < n; i++)
        unpack_zeros(l, first + i, zero + i * groups);
}

static void read_packed(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                        float *scale, float *zero) {
    read_packed_numbers(s, first, n, scale, zero);
    for (size_t i = 0; i < n; i++)
        unpack_row(linear_of(s), first + i, q + i * s->cols);
}

/* [2], I64 or I32. It adds nothing to the configuration, but must not contradict it. */
static void check_shape_tensor(struct parts_reader *r) {
    const struct tensor *t = part_optional(r, ".weight_shape", TYPE(DTYPE_I64) | TYPE(DTYPE_I32));
    if (!t)
        return;
    uint64_t found[2] = {0, 0};
    const size_t size = dtype_size_bytes(t->dtype);
    if (tensor_elements(t) == 2 && t->size_bytes == 2 * size)
        for (size_t i = 0; i < 2; i++)
            memcpy(&found[i], (const unsigned char *)t->data + i * size, size);
    if (found[0] != r->rows || found[1] != r->cols)
        part_fail(r, "weight_shape does not say [%zu, %zu]", r->rows, r->cols);
}

static void packed_open(struct parts_reader *r) {
    struct quantized_linear *l = r->out;
    l->codes = part_need(r, ".weight_packed", TYPE(DTYPE_I32));
    if (!l->codes)
        return;
    const bool eight = l->codes->rank == 2 && l->codes->shape[1] == (r->cols + 3) / 4;
    const int bits = eight && r->cols > 4 ? 8 : 4;
    const size_t pack = 32 / (size_t)bits;
    if (!part_shape(r, l->codes, r->rows, (r->cols + pack - 1) / pack))
        return;
    l->source.spec = (struct quant_spec){.kind = QUANT_INT, .bits = bits};
    l->source.read_rows = read_packed;
    l->source.read_numbers = read_packed_numbers;
    l->number[0] = (float)(1 << (bits - 1));
    check_shape_tensor(r);
    if (!part_scales(r, ".weight_scale", bits, false))
        return;
    const size_t groups = quant_n_groups(&l->source.spec, r->cols);
    l->zero = part_optional(r, ".weight_zero_point", TYPE(DTYPE_I32));
    if (l->zero)
        part_shape(r, l->zero, (r->rows + pack - 1) / pack, groups);
    part_column_groups(r, ".weight_g_idx");
}

/* ---- int-quantized ---------------------------------------------------------------- */

static void read_int8_numbers(const struct quant_source *s, size_t first, size_t n, float *scale,
                              float *zero) {
    const struct quantized_linear *l = linear_of(s);
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    read_row_scales(l, first, n, scale);
    fill_zeros(l, n, zero);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *zeros =
            l->zero ? (const uint8_t *)l->zero->data + (first + i) / l->scale_rows * groups : NULL;
        for (size_t g = 0; zeros && g < groups; g++)
            zero[i * groups + g] = (float)(zeros[g] ^ 0x80);
    }
}

static void read_int8(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                      float *scale, float *zero) {
    const uint8_t *codes = linear_of(s)->codes->data;
    read_int8_numbers(s, first, n, scale, zero);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *line = codes + (first + i) * s->cols;
        for (size_t j = 0; j < s->cols; j++) /* plus 128 */
            q[i * s->cols + j] = line[s->col_order ? s->col_order[j] : j] ^ 0x80;
    }
}

static void int8_open(struct parts_reader *r) {
    struct quantized_linear *l = r->out;
    l->codes = part_need(r, ".weight", TYPE(DTYPE_I8));
    if (!part_shape(r, l->codes, r->rows, r->cols))
        return;
    l->source.spec = (struct quant_spec){.kind = QUANT_INT, .bits = 8};
    l->source.read_rows = read_int8;
    l->source.read_numbers = read_int8_numbers;
    l->number[0] = 128;
    /* Weights of 4 bits may stand in bytes too. */
    bool eight = false;
    for (size_t i = 0; i < r->config->n_schemes; i++)
        eight |= r->config->schemes[i].bits == 8 && !r->config->schemes[i].is_float;
    if (!part_scales(r, ".weight_scale", eight ? 8 : 4, false))
        return;
    l->zero = part_optional(r, ".weight_zero_point", TYPE(DTYPE_I8));
    if (l->zero && tensor_elements(l->zero) != tensor_elements(l->scale))
        part_fail(r, "has %zu zero points for %zu scales", tensor_elements(l->zero),
                  tensor_elements(l->scale));
    part_column_groups(r, ".weight_g_idx");
}

bool compressed_open(struct parts_reader *r) {
    const struct tensor *t = part_find(r, ".weight");
    if (part_find(r, ".weight_packed"))
        packed_open(r);
    else if (t && !t->block_type && t->dtype == DTYPE_I8)
        int8_open(r);
    else
        return fp8_open(r);
    return true;
}
