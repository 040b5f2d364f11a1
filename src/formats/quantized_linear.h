/* quantized_linear.h - the coded matrices of published checkpoints: FP8, AWQ, GPTQ, bitsandbytes,
 * compressed-tensors. docs/quantization.md describes the layouts and the values.
 *
 * Which matrices are coded is read from the tensors, not from the configuration's lists of exceptions:
 * a checkpoint holds "X.weight" in F32, F16 or BF16, or what its method puts there instead. */
#ifndef QUERN_FORMATS_QUANTIZED_LINEAR_H
#define QUERN_FORMATS_QUANTIZED_LINEAR_H

#include "base/arena.h"
#include "base/str.h"
#include "formats/checkpoint.h"
#include "formats/quant_config.h"
#include "quant/quantized.h"

enum { QUANTIZED_PARTS_MAX = 8 };

struct quantized_linear {
    struct quant_source source; /* the first member: its readers know the rest by it */
    const struct tensor *parts[QUANTIZED_PARTS_MAX]; /* the tensors it consists of */
    size_t n_parts;

    /* For the readers. */
    const struct tensor *codes, *scale, *zero, *nested_map, *nested_absmax;
    float number[2];       /* the zero point where there is no tensor; bitsandbytes' nested offset */
    size_t scale_rows;     /* rows that share a row of scales */
    size_t block_elements; /* bitsandbytes: elements of a block, of a nested block */
    size_t nested_elements;
    bool plus_one;         /* GPTQ: zero points are stored less one */
};

/* The matrix "base.weight" [rows, cols], every tensor of it checked for type and shape. *out is NULL
 * when the checkpoint does not hold it in a coded form; whether it holds it in another is not looked
 * at. What is made lives in `arena`; the checkpoint must outlive it. */
enum quern_status quantized_linear_open(const struct quant_config *config,
                                        const struct checkpoint *checkpoint, const char *base,
                                        size_t rows, size_t cols, struct arena *arena,
                                        struct quantized_linear **out, struct quern_error *err);

/* Whether a tensor of this name accompanies a coded matrix: scales, shapes and so on, and those of
 * activations, which are not used. *base_len (may be NULL) is the length of the matrix's name. */
bool quantized_part_name(const char *name, size_t *base_len);
/* Whether a tensor may be left over beside the coded matrix *base (a part of its name): such parts, and
 * the biases of zeros that AutoGPTQ gives every matrix. */
bool quantized_left_over(const struct tensor *t, struct str *base);

#endif
