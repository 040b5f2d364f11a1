#include "model/quantize/quantize.h"

#include <stdlib.h>

#include "formats/gguf.h"
#include "model/output_dir.h"
#include "model/quantize/coder.h"
#include "model/quantize/plan.h"

enum { CHUNK_TOKENS = 256 };

struct work {
    const struct quantize_options *o;
    const char *from;
    struct output_dir out;
    struct hf_config config;
    struct checkpoint *checkpoint;
    struct plan plan;
    struct safetensors_writer *writer;
    struct coder coder;
    struct model *model; /* with a calibration text */
    struct calibration calibration;
    size_t done_elements, pass, n_passes;
    struct quern_error *err;
};

/* ---- progress --------------------------------------------------------------------------- */

/* Reading a calibration text and coding are taken to be as long. */
static bool go_on(const struct work *k, double of_pass) {
    double fraction = k->plan.coded_elements
                          ? (double)k->done_elements / (double)k->plan.coded_elements
                          : 1;
    if (k->n_passes)
        fraction = (fraction + ((double)k->pass + of_pass) / (double)k->n_passes) / 2;
    return !k->o->go_on || k->o->go_on(k->o->user, fraction < 1 ? fraction : 1);
}

static bool go_on_reading(void *user, double fraction) {
    return go_on(user, fraction);
}

/* ---- calibration -------------------------------------------------------------------------- */

/* Layers from `first` whose sums fit together; at least one. */
static size_t pass_end(const struct work *k, size_t first) {
    size_t bytes = 0, end = first;
    while (end < (size_t)k->config.n_layers) {
        bytes += calibration_layer_bytes(&k->config, end);
        if (end > first && bytes > k->o->calibration_bytes)
            break;
        end++;
    }
    return end;
}

static enum quern_status start_calibration(struct work *k) {
    if (!k->o->calibration_ids)
        return QUERN_OK;
    for (size_t first = 0; first < (size_t)k->config.n_layers; k->n_passes++)
        first = pass_end(k, first);
    return model_open(k->from, &k->config, k->o->device, NULL, NULL, &k->model, k->err);
}

/* Makes sure that the sums of `layer` are there. */
static enum quern_status calibrate(struct work *k, size_t layer) {
    if (!k->model || (k->calibration.inputs && layer < k->calibration.end))
        return QUERN_OK;
    calibration_release(&k->calibration);
    const size_t chunk = k->o->calibration_window < CHUNK_TOKENS ? k->o->calibration_window : CHUNK_TOKENS;
    enum quern_status st = calibration_init(&k->calibration, k->model, layer, pass_end(k, layer), chunk,
                                            k->err);
    if (st == QUERN_OK)
        st = calibration_run(&k->calibration, k->o->calibration_ids, k->o->n_calibration_ids,
                             k->o->calibration_window, go_on_reading, k, k->err);
    k->pass++;
    return st;
}

/* ---- tensors -------------------------------------------------------------------------------- */

static enum quern_status write_decoded(struct work *k, const struct matrix_source *s) {
    enum { STEP = 4096 };
    uint16_t some[STEP];
    const size_t n = s->rows * s->cols; /* checked with the tensors' sizes */
    float *values = calloc(n, sizeof *values);
    enum quern_status st = values ? matrix_source_read(s, values, k->o->pool, k->err)
                                  : error_nomem(k->err);
    for (size_t i = 0; st == QUERN_OK && i < n; i += STEP) {
        const size_t m = n - i < STEP ? n - i : STEP;
        dtype_from_f32(DTYPE_BF16, values + i, some, m);
        st = safetensors_writer_write(k->writer, some, m * sizeof *some, k->err);
    }
    free(values);
    return st;
}

static enum quern_status write_coded(struct work *k, const struct plan_entry *e,
                                     const struct matrix_source *s) {
    struct coded_matrix coded;
    struct calibration_input *in = NULL;
    struct quantize_report report = {.name = e->base, .rows = s->rows, .cols = s->cols};
    enum quern_status st = e->is_head ? QUERN_OK : calibrate(k, e->layer);
    k->coder.layout = e->layout;
    k->coder.group = e->group;
    if (st == QUERN_OK && k->model && !e->is_head) {
        in = calibration_find(&k->calibration, e->layer, e->expert, e->site);
        st = feedback_prepare(in, k->o->pool, k->err);
    }
    if (st == QUERN_OK)
        st = coder_code(&k->coder, s, in, &coded, &report.weight_error, &report.output_error, k->err);
    if (st == QUERN_OK)
        st = quantized_layout_write(e->layout, &coded, k->writer, k->err);
    if (st != QUERN_OK)
        return st;
    k->done_elements += s->rows * s->cols;
    if (k->o->on_matrix)
        k->o->on_matrix(k->o->user, &report);
    return QUERN_OK;
}

static enum quern_status write_entry(struct work *k, const struct plan_entry *e) {
    struct arena arena = ARENA_INIT(0);
    struct matrix_source source;
    if (!go_on(k, 0))
        return error_set(k->err, QUERN_ERR_CANCELLED, "interrupted: nothing was written");
    if (e->copied)
        return safetensors_writer_write(k->writer, e->copied->data, e->copied->size_bytes, k->err);
    enum quern_status st = matrix_source_open(k->checkpoint, &k->config, k->plan.prefix, &e->spec,
                                              &arena, &source, k->err);
    if (st == QUERN_OK)
        st = e->is_coded ? write_coded(k, e, &source) : write_decoded(k, &source);
    if (st != QUERN_OK && st != QUERN_ERR_CANCELLED && st != QUERN_ERR_IO)
        error_prefix(k->err, st, "%s", e->base);
    arena_release(&arena);
    return st;
}

static enum quern_status write_weights(struct work *k) {
    enum quern_status st = safetensors_writer_create(k->out.temp, k->plan.decls, k->plan.n_decls,
                                                     k->o->max_shard_bytes, &k->writer, k->err);
    for (size_t i = 0; st == QUERN_OK && i < k->plan.n; i++)
        st = write_entry(k, &k->plan.entries[i]);
    return st == QUERN_OK ? safetensors_writer_finish(k->writer, k->err) : st;
}

static enum quern_status work_through(struct work *k, const char *to) {
    if (gguf_is_file(k->from))
        return error_set(k->err, QUERN_ERR_UNSUPPORTED,
                         "%s is a GGUF file; a model is quantized from a directory of safetensors",
                         k->from);
    enum quern_status st = hf_config_load(k->from, &k->config, k->err);
    if (st == QUERN_OK)
        st = checkpoint_open(k->from, &k->checkpoint, k->err);
    if (st == QUERN_OK)
        st = plan_init(&k->plan, k->o->layout, &k->o->head, &k->config, k->checkpoint, k->err);
    if (st == QUERN_OK)
        st = kernels_select(NULL, &k->coder.kernels, k->err);
    if (st == QUERN_OK)
        st = start_calibration(k);
    if (st == QUERN_OK)
        st = output_dir_begin(&k->out, to, k->err);
    k->coder.pool = k->o->pool;
    if (st == QUERN_OK)
        st = output_dir_copy_rest(&k->out, k->from, k->err);
    if (st == QUERN_OK)
        st = quantized_layout_write_config(k->o->layout, &k->config, k->plan.group, &k->o->head,
                                           k->plan.head_group, k->from, k->out.temp, k->err);
    if (st == QUERN_OK)
        st = write_weights(k);
    return st == QUERN_OK ? output_dir_publish(&k->out, k->err) : st;
}

enum quern_status quantize_directory(const char *from, const char *to,
                                     const struct quantize_options *options,
                                     struct quern_error *err) {
    struct quern_error own;
    struct work *k = calloc(1, sizeof *k);
    if (!k)
        return error_nomem(err);
    k->o = options;
    k->from = from;
    k->err = err ? err : &own;
    enum quern_status st = work_through(k, to);
    safetensors_writer_destroy(k->writer);
    output_dir_release(&k->out);
    calibration_release(&k->calibration);
    model_close(k->model);
    coder_release(&k->coder);
    plan_release(&k->plan);
    checkpoint_close(k->checkpoint);
    free(k);
    return st;
}
