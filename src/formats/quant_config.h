/* quant_config.h - config.json's quantization_config, in the words of the tools that write it: fp8
 * (Qwen's, DeepSeek's), awq, gptq, bitsandbytes, compressed-tensors. It says how coded tensors are to
 * be read; which tensors are coded, the tensors themselves say (formats/quantized_linear.h). */
#ifndef QUERN_FORMATS_QUANT_CONFIG_H
#define QUERN_FORMATS_QUANT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum quant_method {
    QUANT_METHOD_NONE,
    QUANT_METHOD_FP8,
    QUANT_METHOD_AWQ,
    QUANT_METHOD_GPTQ,
    QUANT_METHOD_BITSANDBYTES,
    QUANT_METHOD_COMPRESSED, /* compressed-tensors */
    QUANT_METHOD_OTHER,      /* `problem` says what was found */
};

/* One way in which weights of a model are coded. */
struct quant_scheme {
    bool is_float, symmetric;
    int bits;                      /* 4 or 8 */
    size_t group;                  /* columns that share a scale; 0: whole rows, or the whole matrix */
    size_t block_rows, block_cols; /* a scale for each such block instead; 0: none */
};

enum { QUANT_SCHEMES_MAX = 16 };

struct quant_config {
    enum quant_method method;
    char name[32];   /* quant_method, fit to be shown; "" without a quantization_config */
    char format[32]; /* what more there is to say: "pack-quantized", "gptq_v2", "nf4" */
    bool gptq_v2;    /* zero points are stored as they are, not less one */
    bool by_module;  /* gptq's "dynamic": bits and groups may differ from `schemes` */
    struct quant_scheme schemes[QUANT_SCHEMES_MAX]; /* one, but for compressed-tensors */
    size_t n_schemes;
    char problem[200]; /* why such weights cannot be read, or "" */
};

struct config_reader;

/* From the whole config.json. What is malformed fails the reader; what is merely unknown is noted in
 * `problem`, so that all but the weights remains usable. */
void quant_config_read(struct config_reader *r, struct quant_config *out);

/* "compressed-tensors, pack-quantized, 4 bits, groups of 128" into out. */
void quant_config_describe(const struct quant_config *q, char *out, size_t size);

#endif
