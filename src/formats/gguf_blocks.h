/* gguf_blocks.h - ggml's types of weights: plain ones, and blocks of small codes with scales, read
 * as matrices of codes (quant/quantized.h). Bytes of a block (d, m, dmin: float16):
 *     Q4_0   32: d, 16 bytes: code j in the low half of byte j, code 16 + j in the high half
 *     Q4_1   32: d, m, 16 bytes alike
 *     Q5_0   32: d, 4 bytes: bit j is the fifth of code j, 16 bytes alike; Q5_1 with m
 *     Q8_0   32: d, 32 signed bytes
 *     Q4_K  256: d, dmin, 12 bytes: 8 scales and 8 minima of 6 bits, 128 bytes: of every 64
 *                codes the first 32 in low halves, the next 32 in high halves
 *     Q5_K  256: the same with 32 bytes of fifth bits before the 128
 *     Q6_K  256: 128 bytes of low halves, 64 bytes of upper pairs, 16 signed scales, d
 *     Q2_K  256: 16 bytes: scale and minimum of 4 bits for every 16, 64 bytes of pairs, d, dmin
 *     Q3_K  256: 32 bytes of third bits, 64 bytes of pairs, 12 bytes: 16 scales of 6 bits, d
 *     IQ4_NL 32: d, 16 bytes of indices into a table
 *     IQ4_XS 256: d, 8 scales of 6 bits in 2 + 4 bytes, 128 bytes of indices
 * Scale times 6-bit scale is formed in float32, as ggml does, so values are ggml's bit for bit. */
#ifndef QUERN_FORMATS_GGUF_BLOCKS_H
#define QUERN_FORMATS_GGUF_BLOCKS_H

#include "formats/tensor.h"

struct ggml_type {
    const char *name;   /* "Q4_K" */
    size_t elements;    /* of a block; 1: plain */
    size_t block_bytes;
    enum dtype dtype;   /* plain types; DTYPE_U8 for blocks */
};

/* NULL: unknown. */
const struct ggml_type *ggml_type_find(uint32_t type);

/* The matrix of `rows` by `cols` at `data`, a tensor of that type; cols is a multiple of the
 * block. `interleaved_heads` not 0: the rows of each of so many heads stand with their halves
 * interleaved, as llama.cpp's converter leaves them for its rotary embedding, and come out in
 * Hugging Face's order; rows is a multiple of twice the heads. False when the type is plain or
 * not readable. */
bool ggml_type_source(uint32_t type, const void *data, size_t rows, size_t cols,
                      size_t interleaved_heads, struct quant_source *out);

/* Where row r (in Hugging Face's order) of such a tensor is stored. */
static inline size_t gguf_stored_row(size_t r, size_t rows, size_t interleaved_heads) {
    if (!interleaved_heads)
        return r;
    const size_t d = rows / interleaved_heads, in_head = r % d;
    return r - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
}

#endif
