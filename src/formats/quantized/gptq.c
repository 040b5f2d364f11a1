/* GPTQ: qweight I32 [in * bits / 32, out] packed along the inputs, qzeros I32 [groups, out * bits / 32]
 * packed along the outputs, scales [groups, out], g_idx I32 [in]. Version 1 stores zero points less
 * one, modulo 2^bits. */
#include "formats/quantized/parts.h"

enum { TILE = 64 };

static uint8_t code_at(const struct quantized_linear *l, size_t col, size_t row) {
    const unsigned bits = (unsigned)l->source.spec.bits;
    const size_t pack = 32 / bits;
    const unsigned char *words = l->codes->data;
    const uint32_t word = load_u32(words + (col / pack * l->source.rows + row) * 4);
    return (uint8_t)(word >> bits * (col % pack) & ((1u << bits) - 1));
}

/* Columns [c, c + width) of rows [first, first + n): a line of words after the other, turned in a
 * small array. c is a multiple of a word's columns. */
static void read_tile(const struct quantized_linear *l, size_t first, size_t n, size_t c,
                      size_t width, uint8_t *q) {
    const unsigned bits = (unsigned)l->source.spec.bits, mask = (1u << bits) - 1;
    const size_t pack = 32 / bits, cols = l->source.cols;
    const unsigned char *words = l->codes->data;
    uint8_t tile[TILE][TILE];
    for (size_t k = 0; k < width; k += pack) {
        const unsigned char *line = words + ((c + k) / pack * l->source.rows + first) * 4;
        for (size_t r = 0; r < n; r++) {
            const uint32_t word = load_u32(line + 4 * r);
            for (size_t j = 0; j < pack; j++)
                tile[r][k + j] = (uint8_t)(word >> bits * j & mask);
        }
    }
    for (size_t r = 0; r < n; r++)
        memcpy(q + r * cols + c, tile[r], width);
}

static void read_codes(const struct quantized_linear *l, size_t first, size_t n, uint8_t *q) {
    const struct quant_source *s = &l->source;
    for (size_t r = 0; r < n; r += TILE)
        for (size_t c = 0; c < s->cols; c += TILE)
            read_tile(l, first + r, n - r < TILE ? n - r : TILE, c,
                      s->cols - c < TILE ? s->cols - c : TILE, q + r * s->cols);
}

static void read_ordered_codes(const struct quantized_linear *l, size_t first, size_t n, uint8_t *q) {
    const struct quant_source *s = &l->source;
    uint8_t column[TILE];
    for (size_t j = 0; j < s->cols; j++) {
        for (size_t r = 0; r < n; r += TILE) {
            const size_t m = n - r < TILE ? n - r : TILE;
            for (size_t i = 0; i < m; i++)
                column[i] = code_at(l, s->col_order[j], first + r + i);
            for (size_t i = 0; i < m; i++)
                q[(r + i) * s->cols + j] = column[i];
        }
    }
}

static void read_numbers(const struct quant_source *s, size_t first, size_t n, float *scale,
                         float *zero) {
    const struct quantized_linear *l = linear_of(s);
    const unsigned bits = (unsigned)s->spec.bits, mask = (1u << bits) - 1;
    const size_t pack = 32 / bits, size = dtype_size_bytes(l->scale->dtype);
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    for (size_t g = 0; g < groups; g++) {
        const unsigned char *line = (const unsigned char *)l->scale->data + g * s->rows * size;
        const unsigned char *zeros = (const unsigned char *)l->zero->data + g * (s->rows / pack * 4);
        for (size_t i = 0; i < n; i++) {
            const size_t r = first + i;
            const uint32_t word = load_u32(zeros + r / pack * 4);
            const uint32_t z = (word >> bits * (r % pack)) + (l->plus_one ? 1 : 0);
            dtype_to_f32(l->scale->dtype, line + r * size, &scale[i * groups + g], 1);
            zero[i * groups + g] = (float)(z & mask);
        }
    }
}

static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                      float *scale, float *zero) {
    const struct quantized_linear *l = linear_of(s);
    read_numbers(s, first, n, scale, zero);
    if (s->col_order)
        read_ordered_codes(l, first, n, q);
    else
        read_codes(l, first, n, q);
}

/* Bits and group size of this matrix: the configuration's, unless it says that they differ; then the
 * shapes tell. */
static bool settle_spec(struct parts_reader *r, const struct tensor *codes,
                        const struct tensor *scale) {
    const struct quant_scheme *s = &r->config->schemes[0];
    size_t bits = (size_t)s->bits, group = s->group ? s->group : r->cols;
    if (r->config->by_module && codes->rank == 2 && scale->rank == 2 && scale->shape[0] &&
        r->cols % scale->shape[0] == 0) {
        bits = codes->shape[0] * 32 == r->cols * 8 ? 8 : 4;
        group = r->cols / scale->shape[0];
    }
    const size_t pack = 32 / bits;
    if (r->cols % pack || r->rows % pack) {
        part_fail(r, "[%zu, %zu], expected multiples of %zu for GPTQ with %zu bits", r->rows,
                  r->cols, pack, bits);
        return false;
    }
    r->out->source.spec = (struct quant_spec){.kind = QUANT_INT, .bits = (int)bits, .group = group};
    return true;
}

bool gptq_open(struct parts_reader *r) {
    if (!part_find(r, ".qweight"))
        return false;
    struct quantized_linear *l = r->out;
    l->codes = part_need(r, ".qweight", TYPE(DTYPE_I32));
    l->zero = part_need(r, ".qzeros", TYPE(DTYPE_I32));
    l->scale = part_need(r, ".scales", TYPES_SCALE);
    if (r->status || !settle_spec(r, l->codes, l->scale))
        return true;
    const size_t pack = 32 / (size_t)l->source.spec.bits;
    const size_t groups = quant_n_groups(&l->source.spec, r->cols);
    part_shape(r, l->codes, r->cols / pack, r->rows);
    part_shape(r, l->zero, groups, r->rows / pack);
    part_shape(r, l->scale, groups, r->rows);
    part_column_groups(r, ".g_idx");
    l->plus_one = !r->config->gptq_v2;
    l->source.read_rows = read_rows;
    l->source.read_numbers = read_numbers;
    return true;
}
