/* feedback.h - codes of 4 bits with compensated errors (GPTQ): columns are coded one after another,
 * those that carry most first, and what rounding one adds to the outputs is taken out of the columns
 * still to come, as far as they go together in the calibration text.
 *
 * Groups keep the columns they have in the file: scales are chosen before, for the least squared error
 * weighted by what the columns carry. So the order leaves no trace in the layout. */
#ifndef QUERN_MODEL_QUANTIZE_FEEDBACK_H
#define QUERN_MODEL_QUANTIZE_FEEDBACK_H

#include "base/threads.h"
#include "kernels/kernels.h"
#include "model/quantize/calibration.h"

/* Turns the sums of an input into what feedback_code reads, once: per block, with columns in
 * `order`, the upper triangle U of inverse(sums + damping) = U^T U. */
enum quern_status feedback_prepare(struct calibration_input *in, struct thread_pool *pool,
                                   struct quern_error *err);

struct feedback_job {
    const struct calibration_input *in; /* prepared */
    const struct kernels *kernels;
    const float *w; /* [rows][in->cols] */
    size_t rows, group;
    uint8_t *q;   /* [rows][cols] */
    float *scale; /* [rows][groups] */
    double loss;         /* out: sum over rows of the squared errors of the outputs, over the tokens */
    double carried;      /* out: the same measure of the weights themselves, columns taken as
                            independent */
};

/* `pool` NULL: the calling thread alone. */
enum quern_status feedback_code(struct feedback_job *job, struct thread_pool *pool,
                                struct quern_error *err);

/* The scale (a bfloat16) of n numbers for the least weighted squared error with codes -8 .. 7; they
 * are stored plus 8. */
float feedback_scale(const float *x, const float *weight, size_t n);

#endif
