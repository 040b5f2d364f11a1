/* source.h - the matrices of a checkpoint as rows of float32, whatever they are stored as. */
#ifndef QUERN_MODEL_QUANTIZE_SOURCE_H
#define QUERN_MODEL_QUANTIZE_SOURCE_H

#include "base/threads.h"
#include "formats/quantized_linear.h"
#include "formats/tensor_layout.h"

struct matrix_source {
    size_t rows, cols;
    const struct quant_source *coded; /* or */
    enum dtype dtype;
    const unsigned char *data;
};

/* The tensor of the layout: of its own, coded, or a slice of all experts'. `prefix` stands for
 * "model." in the checkpoint. Coded ones live in `arena`. */
enum quern_status matrix_source_open(const struct checkpoint *checkpoint,
                                     const struct hf_config *config, const char *prefix,
                                     const struct tensor_spec *spec, struct arena *arena,
                                     struct matrix_source *out, struct quern_error *err);

/* All of it: y[rows][cols]. */
enum quern_status matrix_source_read(const struct matrix_source *s, float *y,
                                     struct thread_pool *pool, struct quern_error *err);

/* The name of a layout's tensor in a checkpoint with this prefix. */
void source_name(const char *layout_name, const char *prefix, char out[TENSOR_LAYOUT_NAME_MAX]);

#endif
