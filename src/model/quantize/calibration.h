/* calibration.h - what a text sends through the matrices of a model: for each input of matrices the
 * sums over its tokens of x_i * x_j, in blocks along the diagonal. */
#ifndef QUERN_MODEL_QUANTIZE_CALIBRATION_H
#define QUERN_MODEL_QUANTIZE_CALIBRATION_H

#include "model/model.h"

/* Columns that compensate each other's errors. Memory is columns x this, and preparing costs columns x
 * this squared; what lies further apart correlates as well, but most of the gain is had. */
enum { CALIBRATION_BLOCK = 1024 };

enum calibration_site { SITE_ATTENTION_IN, SITE_ATTENTION_OUT, SITE_MLP_IN, SITE_MLP_OUT, N_SITES };

struct calibration_input {
    const struct weight *seen; /* of the matrices with this input, the one observed */
    size_t cols;
    size_t n_tokens;
    float *sums;     /* per block of columns [n][n]; n is CALIBRATION_BLOCK but for the last */
    bool is_prepared; /* the feedback coder has put its factors there (feedback.h) */
    float *importance; /* [cols] the diagonal, in proportion; set by preparing */
    uint32_t *order;   /* [cols] within its block; set by preparing */
};

/* Layers [first, end) of a model. */
struct calibration {
    const struct model *model;
    size_t first, end;
    struct calibration_input *inputs; /* by layer, expert, site */
    size_t n_inputs;
    float *turned, *products; /* scratch, device memory */
    size_t chunk;
};

/* Bytes of one layer. */
size_t calibration_layer_bytes(const struct hf_config *c, size_t layer);

/* Zeroed sums for some layers; `chunk` is the most tokens of a forward pass. */
enum quern_status calibration_init(struct calibration *c, const struct model *m, size_t first,
                                   size_t end, size_t chunk, struct quern_error *err);
void calibration_release(struct calibration *c); /* zeroed is fine */

struct calibration_input *calibration_find(const struct calibration *c, size_t layer, size_t expert,
                                           enum calibration_site site);

/* Runs windows of the ids through the model. `go_on` (may be NULL) is asked before each window with
 * the share done; false: QUERN_ERR_CANCELLED. Only the layers before `end` matter; all are computed. */
enum quern_status calibration_run(struct calibration *c, const int32_t *ids, size_t n_ids,
                                  size_t window, bool (*go_on)(void *user, double fraction),
                                  void *user, struct quern_error *err);

#endif
