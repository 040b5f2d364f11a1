#include "model/quantize/quantize.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_writer.h"
#include "base/os.h"
#include "formats/gguf.h"
#include "model/quantize/coder.h"
#include "model/quantize/plan.h"

enum { PATH_BYTES = 4096, COPY_MAX_BYTES = 1 << 28, CHUNK_TOKENS = 256 };

struct work {
    const struct quantize_options *o;
    const char *from;
    char to[PATH_BYTES], temp[PATH_BYTES]; /* temp "": nothing to remove */
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

/* ---- files ------------------------------------------------------------------------- */

static enum quern_status copy_file(const char *from_dir, const char *to_dir, const char *name,
                                   struct quern_error *err) {
    char from[PATH_BYTES], to[PATH_BYTES];
    struct buffer b;
    enum quern_status st = os_path_join(from, sizeof from, from_dir, name, err);
    if (st != QUERN_OK || !os_file_exists(from))
        return st;
    buffer_init(&b, COPY_MAX_BYTES);
    st = os_read_regular(from, COPY_MAX_BYTES, &b, err);
    if (st == QUERN_OK)
        st = os_path_join(to, sizeof to, to_dir, name, err);
    if (st == QUERN_OK)
        st = os_write_file(to, b.data, b.len, err);
    buffer_release(&b);
    return st;
}

static enum quern_status copy_files(const struct work *k) {
    static const char *const names[] = {
        "tokenizer.json",     "tokenizer_config.json",   "chat_template.jinja", "chat_template.json",
        "vocab.json",         "merges.txt",              "added_tokens.json",   "special_tokens_map.json",
        "generation_config.json", "LICENSE"};
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; st == QUERN_OK && i < sizeof names / sizeof *names; i++)
        st = copy_file(k->from, k->temp, names[i], k->err);
    return st;
}

/* A name of its own beside the target, so that the last step is a rename within one file system. */
static enum quern_status make_temp(struct work *k, const char *to) {
    size_t len = strlen(to);
    while (len > 1 && to[len - 1] == '/')
        len--;
    const int n = snprintf(k->to, sizeof k->to, "%.*s", (int)len, to);
    const int m = snprintf(k->temp, sizeof k->temp, "%.*s.%08x.tmp", (int)len, to, (unsigned)os_random());
    if (len == 0 || n < 0 || (size_t)n >= sizeof k->to || m < 0 || (size_t)m >= sizeof k->temp) {
        k->temp[0] = '\0';
        return error_set(k->err, QUERN_ERR_ARG, "the name of the directory to write is no use");
    }
    bool empty = true;
    enum quern_status st = QUERN_OK;
    if (os_is_dir(k->to))
        st = os_dir_is_empty(k->to, &empty, k->err);
    if (st == QUERN_OK && (!empty || os_file_exists(k->to)))
        st = error_set(k->err, QUERN_ERR_ARG, "%s: exists and is not an empty directory", k->to);
    if (st == QUERN_OK)
        st = os_make_dir(k->temp, k->err);
    if (st != QUERN_OK)
        k->temp[0] = '\0';
    return st;
}

static enum quern_status publish(struct work *k) {
    file_writer_flush_dir(k->temp);
    if (rename(k->temp, k->to))
        return error_set(k->err, QUERN_ERR_IO, "%s: cannot be given its name: %s", k->to,
                         strerror(errno));
    k->temp[0] = '\0';
    char *slash = strrchr(k->to, '/');
    if (slash && slash != k->to)
        *slash = '\0';
    file_writer_flush_dir(slash ? k->to : ".");
    return QUERN_OK;
}

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
    enum quern_status st = calibrate(k, e->layer);
    if (st == QUERN_OK && k->model) {
        in = calibration_find(&k->calibration, e->layer, e->expert, e->site);
        st = feedback_prepare(in, k->o->pool, k->err);
    }
    if (st == QUERN_OK)
        st = coder_code(&k->coder, s, in, &coded, &report.weight_error, &report.output_error, k->err);
    if (st == QUERN_OK)
        st = quantized_layout_write(k->o->layout, &coded, k->writer, k->err);
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
    enum quern_status st = safetensors_writer_create(k->temp, k->plan.decls, k->plan.n_decls,
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
        st = plan_init(&k->plan, k->o->layout, &k->config, k->checkpoint, k->err);
    if (st == QUERN_OK)
        st = kernels_select(NULL, &k->coder.kernels, k->err);
    if (st == QUERN_OK)
        st = start_calibration(k);
    if (st == QUERN_OK)
        st = make_temp(k, to);
    k->coder.layout = k->o->layout;
    k->coder.group = k->plan.group;
    k->coder.pool = k->o->pool;
    if (st == QUERN_OK)
        st = copy_files(k);
    if (st == QUERN_OK)
        st = quantized_layout_write_config(k->o->layout, &k->config, k->plan.group, k->from, k->temp,
                                           k->err);
    if (st == QUERN_OK)
        st = write_weights(k);
    return st == QUERN_OK ? publish(k) : st;
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
    if (k->temp[0])
        os_remove_dir(k->temp);
    calibration_release(&k->calibration);
    model_close(k->model);
    coder_release(&k->coder);
    plan_release(&k->plan);
    checkpoint_close(k->checkpoint);
    free(k);
    return st;
}
