/* parts.h - finding and checking the tensors of one coded matrix; after the first failure every call
 * does nothing. Internal to formats. */
#ifndef QUERN_FORMATS_QUANTIZED_PARTS_H
#define QUERN_FORMATS_QUANTIZED_PARTS_H

#include <string.h>

#include "formats/quantized_linear.h"

enum { QUANTIZED_NAME_MAX = 256 };

struct parts_reader {
    const struct quant_config *config;
    const struct checkpoint *checkpoint;
    const char *base;
    size_t rows, cols;
    struct arena *arena;
    struct quantized_linear *out;
    struct quern_error *err;
    enum quern_status status;
};

/* Sets of types. */
#define TYPE(t) (1u << (t))
#define TYPES_SCALE (TYPE(DTYPE_F32) | TYPE(DTYPE_F16) | TYPE(DTYPE_BF16))
#define TYPES_FP8 (TYPE(DTYPE_F8_E4M3) | TYPE(DTYPE_F8_E5M2))
#define TYPES_ANY (~0u)

/* "base" + suffix, or NULL when absent; not recorded. */
const struct tensor *part_find(struct parts_reader *r, const char *suffix);
/* Must be there, with one of `types`. Recorded among the parts. NULL after a failure. */
const struct tensor *part_need(struct parts_reader *r, const char *suffix, unsigned types);
/* The same where it may be absent: NULL then too. */
const struct tensor *part_optional(struct parts_reader *r, const char *suffix, unsigned types);
/* Fails unless t has this shape; t may be NULL after a failure. False: failed, now or before. */
bool part_shape(struct parts_reader *r, const struct tensor *t, size_t a, size_t b);
/* "base: ..." */
void part_fail(struct parts_reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

size_t tensor_elements(const struct tensor *t);

/* Takes "base" + suffix as the scales and settles source.spec.group and scale_rows: one scale for the
 * matrix ([], [1] or [1, 1]), one a row ([rows] or [rows, 1]), one a group ([rows, groups]), or one a
 * block. The sizes come from the configuration's schemes for this kind of weight; where it has several,
 * from the one that fits the shape. */
bool part_scales(struct parts_reader *r, const char *suffix, int bits, bool is_float);

/* Reads col_order from "base" + suffix, the group of each column (absent: columns in order), once
 * source.spec.group is known. Every group must have as many columns as that says. */
void part_column_groups(struct parts_reader *r, const char *suffix);

/* scale[n][groups] of rows [first, first + n) from a tensor [rows / scale_rows, groups]. */
void read_row_scales(const struct quantized_linear *l, size_t first, size_t n, float *scale);
/* zero[n][groups] = number[0] */
void fill_zeros(const struct quantized_linear *l, size_t n, float *zero);

static inline uint32_t load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline const struct quantized_linear *linear_of(const struct quant_source *s) {
    return (const struct quantized_linear *)s; /* source is the first member */
}

/* The values of FP8's 256 codes. */
const float *fp8_values(enum dtype t);

/* One for each method: false when the checkpoint does not hold the matrix so; failures are in
 * r->status. */
bool fp8_open(struct parts_reader *r);
bool awq_open(struct parts_reader *r);
bool gptq_open(struct parts_reader *r);
bool bitsandbytes_open(struct parts_reader *r);
bool compressed_open(struct parts_reader *r);

#endif
