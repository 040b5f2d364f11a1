#include "quant/packed.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

/* ---- groups ------------------------------------------------------------------------- */

enum { GROUP_USUAL = 128, GROUP_LEAST = 16 };

/* The source's group, or a part of it where it is too large. 0: there is none. */
static size_t packed_group_of(size_t group, size_t cols) {
    if (group >= cols)
        return cols <= GROUP_USUAL ? cols : GROUP_USUAL;
    if (group <= PACKED_GROUP_MAX && (group <= GROUP_USUAL || group % GROUP_USUAL != 0))
        return group;
    if (group % GROUP_USUAL == 0)
        return GROUP_USUAL;
    for (size_t part = PACKED_GROUP_MAX; part >= GROUP_LEAST; part--)
        if (group % part == 0)
            return part;
    return 0;
}

/* ---- survey ------------------------------------------------------------------------- */

size_t packed_scratch_bytes(const struct quant_source *s, size_t n) {
    return n * (2 * quant_n_groups(&s->spec, s->cols) * sizeof(float) + s->cols);
}

struct block {
    float *scale, *zero;
    uint8_t *q;
    size_t n_groups; /* of the source */
};

static struct block place_block(const struct quant_source *s, size_t n, void *scratch) {
    struct block b = {.scale = scratch, .n_groups = quant_n_groups(&s->spec, s->cols)};
    b.zero = b.scale + n * b.n_groups;
    b.q = (uint8_t *)(b.zero + n * b.n_groups);
    return b;
}

static struct block read_block(const struct quant_source *s, size_t first, size_t n, void *scratch) {
    const struct block b = place_block(s, n, scratch);
    s->read_rows(s, first, n, b.q, b.scale, b.zero);
    return b;
}

static bool same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Among float16's normal numbers, with no more digits than they have. */
static bool is_plain_f16(uint32_t bits) {
    const uint32_t exponent = bits >> 23 & 0xff;
    return exponent >= 127 - 14 && exponent <= 127 + 15 && !(bits & 0x1fff);
}

static void survey_numbers(struct packed_survey *survey, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if (!is_plain_f16(bits))
            survey->not_f16 |= !same_bits(f16_to_f32(f32_to_f16(x[i])), x[i]);
        if (bits & 0xffff)
            survey->not_bf16 |= !same_bits(bf16_to_f32(f32_to_bf16(x[i])), x[i]);
    }
}

void packed_survey_rows(struct packed_survey *survey, const struct quant_source *s, size_t first, size_t n,
                        void *scratch) {
    struct block b = place_block(s, n, scratch);
    const size_t count = n * b.n_groups;
    if (s->read_numbers)
        s->read_numbers(s, first, n, b.scale, b.zero);
    else
        s->read_rows(s, first, n, b.q, b.scale, b.zero);
    survey_numbers(survey, b.scale, count);
    if (s->spec.kind == QUANT_AFFINE)
        survey_numbers(survey, b.zero, count);
    if (s->spec.kind == QUANT_INT && count > 0) {
        struct packed_survey here = {.seen = true, .zero = b.zero[0]};
        for (size_t i = 0; i < count; i++)
            here.zeros_differ |= !same_bits(b.zero[i], here.zero);
        packed_survey_join(survey, &here);
    }
}

void packed_survey_join(struct packed_survey *survey, const struct packed_survey *other) {
    survey->not_f16 |= other->not_f16;
    survey->not_bf16 |= other->not_bf16;
    survey->zeros_differ |=
        other->zeros_differ || (survey->seen && other->seen && !same_bits(survey->zero, other->zero));
    if (other->seen && !survey->seen) {
        survey->zero = other->zero;
        survey->seen = true;
    }
}

/* ---- plan --------------------------------------------------------------------------- */

static enum packed_zeros zeros_of(const struct quant_spec *spec, const struct packed_survey *survey) {
    switch (spec->kind) {
    case QUANT_CODE:
        return ZEROS_NONE;
    case QUANT_AFFINE:
        return ZEROS_FLOAT;
    case QUANT_INT:
        break;
    }
    return !survey->zeros_differ ? ZEROS_CONSTANT : spec->bits == 4 ? ZEROS_U8 : ZEROS_U16;
}

static size_t zero_size(const struct packed_matrix *m) {
    switch (m->zeros) {
    case ZEROS_U8:
        return 1;
    case ZEROS_U16:
        return 2;
    case ZEROS_FLOAT:
        return dtype_size_bytes(m->number);
    case ZEROS_NONE:
    case ZEROS_CONSTANT:
        break;
    }
    return 0;
}

static size_t codes_bytes(const struct packed_matrix *m, size_t g) {
    return packed_padded_cols(m, g) / packed_chunk_cols(m->bits) * PACKED_CHUNK_BYTES;
}

static enum quern_status unsupported(int bits, size_t group, struct quern_error *err) {
    return error_set(err, QUERN_ERR_UNSUPPORTED,
                     "weights of %d bits in groups of %zu; expected 4 or 8 bits and groups that have a "
                     "divisor between %d and %d", bits, group, GROUP_LEAST, PACKED_GROUP_MAX);
}

enum quern_status packed_measure(struct packed_matrix *m, size_t *data_bytes, struct quern_error *err) {
    size_t last;
    if ((m->bits != 4 && m->bits != 8) || m->group == 0 || m->group > PACKED_GROUP_MAX || m->cols == 0)
        return unsupported(m->bits, m->group, err);
    if (!checked_add(m->rows, PACKED_ROWS, &last) || !checked_mul(last, m->cols, &last) ||
        !checked_mul(last, 16, &last))
        return error_set(err, QUERN_ERR_LIMIT, "a matrix of %zu x %zu is too large", m->rows, m->cols);
    m->n_groups = (m->cols + m->group - 1) / m->group;
    m->scales_bytes = PACKED_ROWS * dtype_size_bytes(m->number);
    m->zeros_bytes = PACKED_ROWS * zero_size(m);
    const size_t head = m->scales_bytes + m->zeros_bytes;
    m->group_bytes = m->n_groups > 1 ? head + codes_bytes(m, 0) : 0;
    m->panel_bytes = (m->n_groups - 1) * m->group_bytes + head + codes_bytes(m, m->n_groups - 1);
    *data_bytes = packed_n_panels(m) * m->panel_bytes;
    return QUERN_OK;
}

enum quern_status packed_plan(struct packed_matrix *out, const struct quant_source *s,
                              const struct packed_survey *survey, enum packed_math math,
                              size_t *data_bytes, struct quern_error *err) {
    const struct quant_spec *spec = &s->spec;
    struct packed_matrix m = {.kind = spec->kind, .math = math, .bits = spec->bits, .rows = s->rows,
                              .cols = s->cols, .code = spec->code, .col_order = s->col_order};
    m.group = spec->group > 0 && s->cols > 0 ? packed_group_of(spec->group, s->cols) : 0;
    if (m.group == 0)
        return unsupported(spec->bits, spec->group, err);
    m.number = !survey->not_f16 ? DTYPE_F16 : !survey->not_bf16 ? DTYPE_BF16 : DTYPE_F32;
    m.zeros = zeros_of(spec, survey);
    m.zero = m.zeros == ZEROS_CONSTANT ? (int32_t)survey->zero : 0;
    enum quern_status st = packed_measure(&m, data_bytes, err);
    if (!st)
        *out = m;
    return st;
}

/* ---- writing ------------------------------------------------------------------------ */

static void put_number(enum dtype t, void *p, size_t i, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint16_t high = (uint16_t)(bits >> 16);
    if (t == DTYPE_BF16) { /* exact, and the usual case */
        memcpy((char *)p + i * 2, &high, 2);
        return;
    }
    if (t == DTYPE_F16 && is_plain_f16(bits)) {
        const uint16_t half = (uint16_t)((high & 0x8000) | ((bits >> 13 & 0x3ffff) - (112 << 10)));
        memcpy((char *)p + i * 2, &half, 2);
        return;
    }
    dtype_from_f32(t, &f, (char *)p + i * dtype_size_bytes(t), 1);
}

static void put_zero(const struct packed_matrix *m, unsigned char *zeros, size_t r, float zero) {
    const uint16_t z = m->zeros == ZEROS_FLOAT ? 0 : (uint16_t)zero;
    if (m->zeros == ZEROS_U8)
        zeros[r] = (unsigned char)z;
    else if (m->zeros == ZEROS_U16)
        memcpy(zeros + 2 * r, &z, sizeof z);
    else if (m->zeros == ZEROS_FLOAT)
        put_number(m->number, zeros, r, zero);
}

/* Four bytes of a row: the codes of a chunk. Missing columns have code 0. */
static void put_chunk(const struct packed_matrix *m, unsigned char *to, const uint8_t *q) {
    if (m->bits == 8) {
        memcpy(to, q, 4);
    } else if (m->kind == QUANT_CODE) {
        to[0] = (unsigned char)(q[0] | q[2] << 4);
        to[1] = (unsigned char)(q[4] | q[6] << 4);
        to[2] = (unsigned char)(q[1] | q[3] << 4);
        to[3] = (unsigned char)(q[5] | q[7] << 4);
    } else {
        uint32_t low, high;
        memcpy(&low, q, sizeof low);
        memcpy(&high, q + 4, sizeof high);
        low |= high << 4;
        memcpy(to, &low, sizeof low);
    }
}

static void put_codes(const struct packed_matrix *m, unsigned char *codes, size_t r, const uint8_t *q,
                      size_t n) {
    const size_t step = packed_chunk_cols(m->bits), whole = n / step * step;
    unsigned char *to = codes + 4 * r;
    uint8_t last[8] = {0};
    for (size_t c = 0; c < whole; c += step, to += PACKED_CHUNK_BYTES)
        put_chunk(m, to, q + c);
    if (whole < n) {
        memcpy(last, q + whole, n - whole);
        put_chunk(m, to, last);
    }
}

/* Group after group, so that the 64 rows of a chunk are written while it is in the cache. */
static void write_panel(const struct packed_matrix *m, unsigned char *panel, const struct quant_source *s,
                        const struct block *b, size_t from, size_t n) {
    for (size_t g = 0; g < m->n_groups; g++) {
        unsigned char *scales = panel + g * m->group_bytes;
        unsigned char *zeros = scales + m->scales_bytes, *codes = zeros + m->zeros_bytes;
        const size_t source_group = g * m->group / s->spec.group;
        for (size_t r = 0; r < n; r++) {
            const size_t i = (from + r) * b->n_groups + source_group;
            put_number(m->number, scales, r, b->scale[i]);
            put_zero(m, zeros, r, m->zeros == ZEROS_NONE ? 0.0f : b->zero[i]);
            put_codes(m, codes, r, b->q + (from + r) * s->cols + g * m->group, packed_group_cols(m, g));
        }
    }
}

static bool has_nan_code(const uint8_t *q, size_t n) {
    unsigned found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (q[i] & 0x7f) == 0x7f;
    return found;
}

bool packed_code_is_e4m3(const float *code) {
    for (unsigned i = 0; i < 256; i++) {
        const int exponent = i >> 3 & 15, fraction = i & 7;
        const float m = exponent ? ldexpf((float)(8 + fraction), exponent - 10) : ldexpf((float)fraction, -9);
        if ((i & 0x7f) != 0x7f && !same_bits(code[i], i & 0x80 ? -m : m))
            return false;
    }
    return true;
}

bool packed_write_rows(const struct packed_matrix *m, unsigned char *data, const struct quant_source *s,
                       size_t first, size_t n, void *scratch) {
    const struct block b = read_block(s, first, n, scratch);
    for (size_t r = 0; r < n; r += PACKED_ROWS) {
        const size_t some = n - r < PACKED_ROWS ? n - r : PACKED_ROWS;
        write_panel(m, data + (first + r) / PACKED_ROWS * m->panel_bytes, s, &b, r, some);
    }
    return m->bits == 8 && has_nan_code(b.q, n * s->cols);
}

/* ---- reading ------------------------------------------------------------------------ */

static float zero_at(const struct packed_matrix *m, const unsigned char *zeros, size_t r) {
    uint16_t z;
    switch (m->zeros) {
    case ZEROS_U8:
        return zeros[r];
    case ZEROS_U16:
        memcpy(&z, zeros + 2 * r, sizeof z);
        return z;
    case ZEROS_FLOAT:
        return packed_number(m->number, zeros, r);
    case ZEROS_CONSTANT:
        return (float)m->zero;
    case ZEROS_NONE:
        break;
    }
    return 0;
}

void packed_row(const struct packed_matrix *m, size_t row, float *y) {
    const size_t r = row % PACKED_ROWS;
    for (size_t g = 0; g < m->n_groups; g++) {
        const unsigned char *scales = packed_group_at(m, row / PACKED_ROWS, g);
        const unsigned char *zeros = scales + m->scales_bytes, *codes = zeros + m->zeros_bytes;
        const float scale = packed_number(m->number, scales, r), zero = zero_at(m, zeros, r);
        for (size_t c = 0; c < packed_group_cols(m, g); c++) {
            const uint8_t q = packed_code(m, codes, r, c);
            const size_t j = g * m->group + c;
            y[m->col_order ? m->col_order[j] : j] = m->kind == QUANT_CODE  ? scale * m->code[q]
                                                    : m->kind == QUANT_INT ? scale * ((float)q - zero)
                                                                           : scale * (float)q - zero;
        }
    }
}
