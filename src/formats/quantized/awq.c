/* AWQ, version "gemm": qweight I32 [in, out / 8], qzeros I32 [in / group, out / 8], scales
 * [in / group, out]. A word holds eight neighbouring outputs in the order of awq_nibble. */
#include "formats/quantized/parts.h"

enum { PACK = 8, TILE = 64 };

/* Output j of a word is nibble awq_nibble[j]. */
static const unsigned awq_nibble[PACK] = {0, 4, 1, 5, 2, 6, 3, 7};

static uint8_t code_of(const unsigned char *words, size_t row) {
    const uint32_t word = load_u32(words + row / PACK * 4);
    return (uint8_t)(word >> 4 * awq_nibble[row % PACK] & 15);
}

/* Columns [c, c + width) of rows [first, first + n), n <= TILE. The words lie along the outputs, so
 * a tile is turned in a small array rather than written across rows far apart. */
static void read_tile(const struct quant_source *s, size_t first, size_t n, size_t c, size_t width,
                      uint8_t *q) {
    const unsigned char *words = linear_of(s)->codes->data;
    const size_t stride = s->rows / PACK * 4;
    uint8_t tile[TILE][TILE];
    for (size_t k = 0; k < width; k++) {
        const unsigned char *line = words + (c + k) * stride;
        size_t r = 0;
        if (first % PACK == 0) {
            for (; r + PACK <= n; r += PACK) {
                const uint32_t word = load_u32(line + (first + r) / PACK * 4);
                for (unsigned j = 0; j < PACK; j++)
                    tile[r + j][k] = (uint8_t)(word >> 4 * awq_nibble[j] & 15);
            }
        }
        for (; r < n; r++)
            tile[r][k] = code_of(line, first + r);
    }
    for (size_t r = 0; r < n; r++)
        memcpy(q + r * s->cols + c, tile[r], width);
}

static void read_numbers(const struct quant_source *s, size_t first, size_t n, float *scale,
                         float *zero) {
    const struct quantized_linear *l = linear_of(s);
    const size_t groups = quant_n_groups(&s->spec, s->cols), size = dtype_size_bytes(l->scale->dtype);
    for (size_t g = 0; g < groups; g++) {
        const unsigned char *line = (const unsigned char *)l->scale->data + g * s->rows * size;
        const unsigned char *zeros = (const unsigned char *)l->zero->data + g * (s->rows / PACK * 4);
        for (size_t r = 0; r < n; r++) {
            dtype_to_f32(l->scale->dtype, line + (first + r) * size, &scale[r * groups + g], 1);
            zero[r * groups + g] = code_of(zeros, first + r);
        }
    }
}

static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                      float *scale, float *zero) {
    read_numbers(s, first, n, scale, zero);
    for (size_t r = 0; r < n; r += TILE)
        for (size_t c = 0; c < s->cols; c += TILE)
            read_tile(s, first + r, n - r < TILE ? n - r : TILE, c,
                      s->cols - c < TILE ? s->cols - c : TILE, q + r * s->cols);
}

bool awq_open(struct parts_reader *r) {
    if (!part_find(r, ".qweight"))
        return false;
    struct quantized_linear *l = r->out;
    const size_t group = r->config->schemes[0].group ? r->config->schemes[0].group : r->cols;
    if (r->rows % PACK) {
        part_fail(r, "%zu outputs, expected a multiple of 8 for AWQ", r->rows);
        return true;
    }
    l->source.spec = (struct quant_spec){.kind = QUANT_INT, .bits = 4, .group = group};
    const size_t groups = quant_n_groups(&l->source.spec, r->cols);
    l->codes = part_need(r, ".qweight", TYPE(DTYPE_I32));
    l->zero = part_need(r, ".qzeros", TYPE(DTYPE_I32));
    l->scale = part_need(r, ".scales", TYPES_SCALE);
    part_shape(r, l->codes, r->cols, r->rows / PACK);
    part_shape(r, l->zero, groups, r->rows / PACK);
    part_shape(r, l->scale, groups, r->rows);
    l->source.read_rows = read_rows;
    l->source.read_numbers = read_numbers;
    return true;
}
