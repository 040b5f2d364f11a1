/* quantize.h - a model directory written anew with coded weights, in layouts that others load
 * (formats/quantized_writer.h). Embedding, routers, norms and biases stay as they are, the head too
 * unless it is asked for. */
#ifndef QUERN_MODEL_QUANTIZE_QUANTIZE_H
#define QUERN_MODEL_QUANTIZE_QUANTIZE_H

#include "base/threads.h"
#include "formats/quantized_writer.h"
#include "model/model.h"

/* How well a matrix came through. */
struct quantize_report {
    const char *name; /* "model.layers.0.self_attn.q_proj" */
    size_t rows, cols;
    double weight_error; /* size of (coded - w) by the size of w */
    double output_error; /* the same of its outputs on the calibration text; 0 without one */
};

struct quantize_options {
    enum quantized_layout layout;
    struct quantized_head head; /* is_coded: both layouts are INT8 or INT4 */
    size_t max_shard_bytes; /* 0: one file */
    const int32_t *calibration_ids; /* LAYOUT_INT4 only; NULL: without */
    size_t n_calibration_ids, calibration_window;
    size_t calibration_bytes; /* most memory for sums; more text passes instead */
    struct thread_pool *pool; /* borrowed; NULL: the calling thread alone */
    struct device *device;    /* borrowed; with calibration_ids */
    /* All may be NULL. The fraction is of the whole work; false stops it (QUERN_ERR_CANCELLED). */
    bool (*go_on)(void *user, double fraction);
    void (*on_matrix)(void *user, const struct quantize_report *report);
    void *user;
};

/* Reads `from`, whose weights may be of any kind that can be loaded, and makes the directory `to`, which
 * must be absent or empty. It is written under a name of its own beside `to`, flushed to the disk and
 * renamed: whatever fails, `to` is untouched and nothing stays behind. Memory: one matrix. */
enum quern_status quantize_directory(const char *from, const char *to,
                                     const struct quantize_options *options,
                                     struct quern_error *err);

#endif
