/* coder.h - one matrix after the other to codes; memory grows to the largest. */
#ifndef QUERN_MODEL_QUANTIZE_CODER_H
#define QUERN_MODEL_QUANTIZE_CODER_H

#include "formats/quantized_writer.h"
#include "model/quantize/feedback.h"
#include "model/quantize/source.h"

struct coder {
    enum quantized_layout layout;
    size_t group; /* int8, int4 */
    struct thread_pool *pool;
    const struct kernels *kernels;
    float *w;     /* [rows][cols] the values */
    size_t w_room;
    uint8_t *q;
    size_t q_room;
    float *scale;
    size_t scale_room;
    uint8_t *absmax;
    float *nested;
};

void coder_release(struct coder *c);

/* *out is valid until the next call. `in` NULL: without calibration; else prepared. *output_error
 * is set with `in`. */
enum quern_status coder_code(struct coder *c, const struct matrix_source *s,
                             const struct calibration_input *in, struct coded_matrix *out,
                             double *weight_error, double *output_error, struct quern_error *err);

#endif
