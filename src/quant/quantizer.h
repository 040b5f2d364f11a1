/* quantizer.h - a matrix of floats as a coded one: codes are made while rows are read.
 *
 *     INT8  groups of 128, symmetric: scale = max|x| / 127, rounded up to bfloat16; 8.125 bits a weight
 *     INT4  groups of 64, scale in bfloat16 and a zero point of 4 bits, chosen for the least squared error
 *           among six ranges, the scale fitted to the codes; 4.375 bits a weight as the kernels hold it.
 *           On normal numbers the error is that of symmetric groups of 32 without a search (llama.cpp's
 *           Q4_0, 4.5 bits): 0.087 to 0.086 of the numbers' size; with heavier tails it is less
 *     NF4   as bitsandbytes does: blocks of 64, absmax coded in blocks of 256 by its dynamic map
 *     FP8   e4m3 in blocks of 128 x 128 with a scale in bfloat16, as Qwen's releases
 *
 * Numbers that are not finite give codes without meaning, and scales that are not finite. */
#ifndef QUERN_QUANT_QUANTIZER_H
#define QUERN_QUANT_QUANTIZER_H

#include "quant/dtype.h"
#include "quant/packed.h"
#include "quant/quantized.h"

enum quantizer_form { QUANTIZER_INT8, QUANTIZER_INT4, QUANTIZER_NF4, QUANTIZER_FP8 };

struct quantizer {
    struct quant_source source; /* the first member; valid while the quantizer stays where it is */
    enum quantizer_form form;
    enum dtype dtype;
    const unsigned char *data; /* [rows][cols], unaligned; borrowed */
    float code[256];           /* NF4, FP8 */
    float *scales;             /* NF4: [rows][groups], the coded absmax; owned */
};

/* `dtype` is F32, F16 or BF16. NF4 looks at all of the data at once here. */
enum quern_status quantizer_init(struct quantizer *q, enum quantizer_form form, enum dtype dtype,
                                 const void *data, size_t rows, size_t cols, struct quern_error *err);
void quantizer_release(struct quantizer *q); /* zeroed is fine */
/* What packed_survey_rows would find, roughly: it may allow more room than is needed. */
struct packed_survey quantizer_survey(const struct quantizer *q);

/* ---- the parts ---------------------------------------------------------------------------- */

/* Codes of n numbers and their scale (and zero point). */
void quantize_int8_group(const float *x, size_t n, uint8_t *q, float *scale);
void quantize_int4_group(const float *x, size_t n, uint8_t *q, float *scale, float *zero);
/* bitsandbytes' quantize_4bit of one block; *absmax as it stores it before that is coded itself. */
void quantize_nf4_block(const float *x, size_t n, uint8_t *q, float *absmax);
/* n values of absmax with nested blocks of 256: offset is their mean. code[n] by the dynamic map,
 * nested_absmax[(n + 255) / 256]. */
void quantize_absmax(const float *absmax, size_t n, float offset, uint8_t *code, float *nested_absmax);
/* The mean as bitsandbytes takes it, but summed in double: torch's float32 sum depends on the number
 * of its threads. */
float absmax_offset(const float *absmax, size_t n);

extern const float nf4_code[16];
extern const float dynamic_map[256]; /* bitsandbytes' create_dynamic_map() */

uint8_t f32_to_e4m3(float f); /* to nearest even, beyond 448 to 448; NaN stays NaN */
float e4m3_to_f32(uint8_t e);

#endif
