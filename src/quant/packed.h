/* packed.h - a coded matrix (quantized.h) as the kernels read it.
 *
 * Rows come in panels of 64, the last one filled up with rows of zeros. A panel is one piece of memory,
 * read from front to back, group after group of columns:
 *     scales   [64]   float32, float16 or bfloat16: the narrowest in which all of the matrix's are exact
 *     zeros    [64]   only where they differ: bytes (4 bits), 16-bit integers (8 bits), or, for
 *                     QUANT_AFFINE, numbers stored as scales are
 *     codes           chunks of 256 bytes, in which four bytes belong to one row:
 *         8 bits      byte 4r + j of chunk i is column 4i + j of row r
 *         4 bits      chunk i holds columns 8i .. 8i+7. QUANT_INT and QUANT_AFFINE: byte 4r + j has
 *                     column 8i + j in its low half, 8i + 4 + j in its high half, so that a mask and a
 *                     shift give operands of vpdpbusd. QUANT_CODE: as a little-endian 32-bit word of
 *                     row r, bits 4j .. 4j+3 are column 8i + 2j and bits 16+4j .. 19+4j column
 *                     8i + 2j + 1 (j < 4), so that a shift and vpermw give pairs of bfloat16.
 * A group is filled up with codes 0 to a whole chunk. All groups but the last have the same size.
 * 64 rows are four registers of 16 lanes, rows in the lanes: one scale serves 16 outputs.
 *
 * Groups here need not be those of the source: one scale a row becomes a scale for every 128 columns,
 * the same value again. Activations are quantized group by group, and a group of thousands would
 * lose small ones beside one large one. */
#ifndef QUERN_QUANT_PACKED_H
#define QUERN_QUANT_PACKED_H

#include <stdbool.h>
#include <string.h>

#include "quant/dtype.h"
#include "quant/quantized.h"

enum { PACKED_ROWS = 64, PACKED_CHUNK_BYTES = 256, PACKED_GROUP_MAX = 256 };

/* How products with a matrix are computed (docs/NUMERICS.md). */
enum packed_math {
    MATH_EXACT, /* activations in float32, times the exact values */
    MATH_INT8,  /* activations rounded to int8 by token and group: QUANT_INT, QUANT_AFFINE */
    MATH_BF16,  /* activations rounded to bfloat16: QUANT_CODE */
    MATH_COUNT
};

enum packed_zeros {
    ZEROS_NONE,     /* QUANT_CODE */
    ZEROS_CONSTANT, /* QUANT_INT: `zero` everywhere */
    ZEROS_U8,       /* QUANT_INT, 4 bits */
    ZEROS_U16,      /* QUANT_INT, 8 bits */
    ZEROS_FLOAT,    /* QUANT_AFFINE */
};

struct packed_matrix {
    enum quant_kind kind;
    enum packed_math math;
    int bits; /* 4 or 8 */
    size_t rows, cols;
    size_t group, n_groups; /* group <= PACKED_GROUP_MAX */
    enum dtype number;      /* of scales and of QUANT_AFFINE's zeros: F32, F16 or BF16 */
    enum packed_zeros zeros;
    int32_t zero;              /* ZEROS_CONSTANT */
    const float *code;         /* [1 << bits]; QUANT_CODE */
    bool is_e4m3;              /* QUANT_CODE, 8 bits: code is that of FP8, and no code is a NaN's */
    const uint32_t *col_order; /* as in struct quant_source; [cols] or NULL */
    size_t scales_bytes, zeros_bytes, group_bytes; /* of one (not the last) group of a panel */
    size_t panel_bytes;
    const unsigned char *data; /* [n_panels][panel_bytes], 64-byte aligned */
};

static inline size_t packed_n_panels(const struct packed_matrix *m) {
    return (m->rows + PACKED_ROWS - 1) / PACKED_ROWS;
}

/* Columns of a chunk. */
static inline size_t packed_chunk_cols(int bits) {
    return bits == 4 ? 8 : 4;
}

/* Columns of group g. */
static inline size_t packed_group_cols(const struct packed_matrix *m, size_t g) {
    return g + 1 < m->n_groups ? m->group : m->cols - g * m->group;
}

/* The same, filled up to a whole chunk. */
static inline size_t packed_padded_cols(const struct packed_matrix *m, size_t g) {
    const size_t c = packed_chunk_cols(m->bits);
    return (packed_group_cols(m, g) + c - 1) / c * c;
}

/* Scales, then zeros, then codes of a group. */
static inline const unsigned char *packed_group_at(const struct packed_matrix *m, size_t panel,
                                                   size_t g) {
    return m->data + panel * m->panel_bytes + g * m->group_bytes;
}

static inline float packed_number(enum dtype t, const void *p, size_t i) {
    uint16_t h;
    float f;
    if (t == DTYPE_F32) {
        memcpy(&f, (const char *)p + i * sizeof f, sizeof f);
        return f;
    }
    memcpy(&h, (const char *)p + i * sizeof h, sizeof h);
    return t == DTYPE_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
}

/* Row r's code of column c of a group (both within panel and group). */
static inline uint8_t packed_code(const struct packed_matrix *m, const unsigned char *codes, size_t r,
                                  size_t c) {
    if (m->bits == 8)
        return codes[c / 4 * PACKED_CHUNK_BYTES + 4 * r + c % 4];
    const unsigned char *word = codes + c / 8 * PACKED_CHUNK_BYTES + 4 * r;
    const size_t nibble = m->kind == QUANT_CODE ? c % 8 / 2 + c % 2 * 4 : c % 4 * 2 + c % 8 / 4;
    return (uint8_t)(word[nibble / 2] >> nibble % 2 * 4 & 15);
}

/* What all panels of a source share, found by reading all of it: numbers' type, kind of zeros. Parts of
 * a source may be looked at on several threads, each with a survey of its own, zeroed at first. */
struct packed_survey {
    bool seen, not_f16, not_bf16, zeros_differ;
    float zero;
};
/* Bytes of scratch for packed_survey_rows and packed_write_panels over n rows. */
size_t packed_scratch_bytes(const struct quant_source *s, size_t n);
void packed_survey_rows(struct packed_survey *survey, const struct quant_source *s, size_t first, size_t n,
                        void *scratch);
void packed_survey_join(struct packed_survey *survey, const struct packed_survey *other);

/* The form of `s` in *out, without memory. QUERN_ERR_UNSUPPORTED: bits or groups nobody has;
 * QUERN_ERR_LIMIT: too large. `code` and `col_order` are those of the source. */
enum quern_status packed_plan(struct packed_matrix *out, const struct quant_source *s,
                              const struct packed_survey *survey, enum packed_math math,
                              size_t *data_bytes, struct quern_error *err);
/* Sizes of the parts from kind, bits, rows, cols, group, number and zeros, and n_groups; as
 * packed_plan. */
enum quern_status packed_measure(struct packed_matrix *m, size_t *data_bytes, struct quern_error *err);
/* Rows [first, first + n) into `data`, which holds the whole matrix and was zeroed; `first` is a
 * multiple of PACKED_ROWS, n too unless they are the last. On several threads at once. True when
 * there is a code 0x7f or 0xff among 8-bit ones. */
bool packed_write_rows(const struct packed_matrix *m, unsigned char *data, const struct quant_source *s,
                       size_t first, size_t n, void *scratch);

/* Whether the 256 entries are FP8's (e4m3), NaN left aside. */
bool packed_code_is_e4m3(const float *code);

/* y[cols] = the exact values of row r, columns in the matrix's order. */
void packed_row(const struct packed_matrix *m, size_t r, float *y);

#endif
