#include "model/merge/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "formats/gguf.h"
#include "formats/hf_config_edit.h"
#include "model/low_rank.h"
#include "model/merge/merge_plan.h"
#include "model/output_dir.h"

enum { ROWS = LOW_RANK_ROWS };

struct work {
    const struct merge_options *o;
    const char *from;
    struct output_dir out;
    struct hf_config config;
    struct checkpoint *checkpoint;
    struct merge_plan plan;
    struct safetensors_writer *writer;
    size_t done_bytes;
    struct quern_error *err;
};

/* ---- one tensor ----------------------------------------------------------------------------- */

/* A tensor on its way: some rows at a time. */
struct passage {
    const struct merge_entry *e;
    struct matrix_source source; /* without e->plain */
    size_t rows, cols;
    enum dtype dtype; /* of the result */
    float *base;      /* [ROWS, cols] W */
    float *merged;    /* [ROWS, cols] */
    float *row;       /* [cols] */
    void *written;    /* [ROWS, cols] of dtype */
    void *scratch;
    struct low_rank low[MERGE_ADAPTERS_MAX];
    struct arena arena;
};

static void read_rows(const struct passage *t, size_t first, size_t n) {
    if (t->e->plain)
        dtype_to_f32(t->e->plain->dtype,
                     (const unsigned char *)t->e->plain->data +
                         first * t->cols * dtype_size_bytes(t->e->plain->dtype),
                     t->base, n * t->cols);
    else if (t->source.coded)
        quant_dequantize_rows(t->source.coded, first, n, t->base, t->scratch);
    else
        dtype_to_f32(t->source.dtype,
                     t->source.data + first * t->cols * dtype_size_bytes(t->source.dtype), t->base,
                     n * t->cols);
}

static void scale_row(float *row, double gain, size_t n) {
    for (size_t j = 0; j < n; j++)
        row[j] = (float)(gain * (double)row[j]);
}

/* merged = merged + s delta, and for DoRA the whole times m / |W + s delta|. */
static enum quern_status add_adapter(struct work *k, struct passage *t, size_t adapter,
                                     size_t first, size_t n) {
    const struct peft_module *m = t->e->modules[adapter];
    const float scale = (float)(m->scale * (double)k->o->adapters[adapter].scale);
    const float *delta = low_rank_rows(&t->low[adapter], first, n);
    for (size_t i = 0; i < n; i++) {
        const float *d = delta + i * t->cols;
        float *w = t->merged + i * t->cols;
        float magnitude;
        if (!low_rank_base_agrees(m, first + i, t->base + i * t->cols, t->row) && t->e->plain)
            return error_set(k->err, QUERN_ERR_FORMAT,
                             "the adapter brings weights for %s which differ from the model's: it "
                             "was made for another model",
                             m->name);
        for (size_t j = 0; j < t->cols; j++)
            w[j] += scale * d[j];
        if (!m->magnitude)
            continue;
        dtype_to_f32(m->magnitude->dtype,
                     (const unsigned char *)m->magnitude->data +
                         (first + i) * dtype_size_bytes(m->magnitude->dtype),
                     &magnitude, 1);
        scale_row(w, (double)magnitude / low_rank_norm(t->base + i * t->cols, d, scale, t->cols),
                  t->cols);
    }
    return QUERN_OK;
}

static enum quern_status passage_init(struct work *k, struct passage *t,
                                      const struct merge_entry *e, enum dtype dtype) {
    enum quern_status st = QUERN_OK;
    *t = (struct passage){.e = e, .dtype = dtype};
    arena_init(&t->arena, 0);
    t->rows = e->spec.rank == 2 ? e->spec.shape[0] : 1;
    t->cols = e->spec.rank == 2 ? e->spec.shape[1] : e->spec.shape[0];
    if (!e->plain)
        st = matrix_source_open(k->checkpoint, &k->config, k->plan.prefix, &e->read_as, &t->arena,
                                &t->source, k->err);
    if (st != QUERN_OK)
        return st;
    const size_t n = ROWS * t->cols; /* of a tensor whose size was checked */
    t->base = malloc(n * sizeof *t->base);
    t->merged = malloc(n * sizeof *t->merged);
    t->row = malloc(t->cols * sizeof *t->row);
    t->written = malloc(n * dtype_size_bytes(dtype));
    t->scratch =
        malloc(t->source.coded ? quant_dequantize_scratch_bytes(t->source.coded, ROWS) : (size_t)1);
    if (!t->base || !t->merged || !t->row || !t->written || !t->scratch)
        return error_nomem(k->err);
    for (size_t i = 0; i < k->o->n_adapters && st == QUERN_OK; i++)
        if (e->modules[i])
            st = low_rank_init(&t->low[i], k->o->device, e->modules[i], k->err);
    return st;
}

static void passage_release(struct passage *t) {
    for (size_t i = 0; i < MERGE_ADAPTERS_MAX; i++)
        if (t->low[i].device)
            low_rank_release(&t->low[i]);
    free(t->base);
    free(t->merged);
    free(t->row);
    free(t->written);
    free(t->scratch);
    arena_release(&t->arena);
}

static enum quern_status tell(struct work *k) {
    const size_t all = safetensors_writer_total_bytes(k->writer);
    const double fraction = all ? (double)k->done_bytes / (double)all : 1;
    if (!k->o->go_on || k->o->go_on(k->o->user, fraction))
        return QUERN_OK;
    return error_set(k->err, QUERN_ERR_CANCELLED, "interrupted: nothing was written");
}

static enum quern_status write_bytes(struct work *k, const void *data, size_t n) {
    k->done_bytes += n;
    return safetensors_writer_write(k->writer, data, n, k->err);
}

static enum quern_status write_rows(struct work *k, struct passage *t) {
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < t->rows && st == QUERN_OK; i += ROWS) {
        const size_t n = t->rows - i < ROWS ? t->rows - i : ROWS;
        read_rows(t, i, n);
        memcpy(t->merged, t->base, n * t->cols * sizeof *t->merged);
        for (size_t a = 0; a < k->o->n_adapters && st == QUERN_OK; a++)
            if (t->e->modules[a])
                st = add_adapter(k, t, a, i, n);
        dtype_from_f32(t->dtype, t->merged, t->written, n * t->cols);
        if (st == QUERN_OK)
            st = write_bytes(k, t->written, n * t->cols * dtype_size_bytes(t->dtype));
    }
    return st;
}

static enum quern_status write_entry(struct work *k, const struct merge_entry *e,
                                     enum dtype dtype) {
    bool low_rank = false;
    for (size_t i = 0; i < k->o->n_adapters; i++)
        low_rank = low_rank || e->modules[i];
    if (e->plain && !low_rank && e->plain->dtype == dtype)
        return write_bytes(k, e->plain->data, e->plain->size_bytes);
    struct passage t;
    enum quern_status st = passage_init(k, &t, e, dtype);
    if (st == QUERN_OK)
        st = write_rows(k, &t);
    passage_release(&t);
    return st;
}

static enum quern_status write_weights(struct work *k) {
    enum quern_status st = safetensors_writer_create(k->out.temp, k->plan.decls, k->plan.n,
                                                     k->o->max_shard_bytes, &k->writer, k->err);
    for (size_t i = 0; i < k->plan.n && st == QUERN_OK; i++) {
        st = tell(k);
        if (st == QUERN_OK)
            st = write_entry(k, &k->plan.entries[i], k->plan.decls[i].dtype);
    }
    if (st == QUERN_OK)
        k->plan.facts.total_bytes = safetensors_writer_total_bytes(k->writer);
    return st == QUERN_OK ? safetensors_writer_finish(k->writer, k->err) : st;
}

/* ---- the configuration -------------------------------------------------------------------- */

static enum quern_status write_config(const struct work *k) {
    const struct merge_result *r = &k->plan.facts;
    const enum dtype dtype = k->o->has_dtype ? k->o->dtype : DTYPE_BF16;
    const struct hf_config_edit edit = {.drop_quantization = true,
                                        .untie = r->untied,
                                        .dtype = k->o->has_dtype || r->n_decoded ? &dtype : NULL};
    return hf_config_copy(k->from, k->out.temp, &edit, k->err);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static enum quern_status check_options(const struct merge_options *o, struct quern_error *err) {
    if (o->n_adapters < 1 || o->n_adapters > MERGE_ADAPTERS_MAX)
        return error_set(err, QUERN_ERR_ARG, "%zu adapters to merge; expected 1 to %d",
                         o->n_adapters, MERGE_ADAPTERS_MAX);
    for (size_t i = 0; i < o->n_adapters; i++)
        if (!isfinite(o->adapters[i].scale))
            return error_set(err, QUERN_ERR_ARG, "an adapter's scale must be a finite number");
    return QUERN_OK;
}

static enum quern_status work_through(struct work *k, const char *to) {
    enum quern_status st = check_options(k->o, k->err);
    if (st == QUERN_OK && !os_is_dir(k->from))
        st = os_file_exists(k->from) && gguf_is_file(k->from)
                 ? error_set(k->err, QUERN_ERR_UNSUPPORTED,
                             "%s is a GGUF file; adapters are merged into a directory of "
                             "safetensors",
                             k->from)
                 : error_set(k->err, QUERN_ERR_IO, "%s: there is no such directory", k->from);
    if (st == QUERN_OK)
        st = hf_config_load(k->from, &k->config, k->err);
    if (st == QUERN_OK)
        st = checkpoint_open(k->from, &k->checkpoint, k->err);
    if (st == QUERN_OK)
        st = merge_plan_init(&k->plan, &k->config, k->checkpoint, k->o, k->err);
    if (st == QUERN_OK)
        st = output_dir_begin(&k->out, to, k->err);
    if (st == QUERN_OK)
        st = output_dir_copy_rest(&k->out, k->from, k->err);
    if (st == QUERN_OK)
        st = write_config(k);
    if (st == QUERN_OK)
        st = write_weights(k);
    return st == QUERN_OK ? output_dir_publish(&k->out, k->err) : st;
}

enum quern_status merge_directory(const char *from, const char *to,
                                  const struct merge_options *options, struct merge_result *result,
                                  struct quern_error *err) {
    struct quern_error own;
    struct work *k = calloc(1, sizeof *k);
    if (!k)
        return error_nomem(err);
    k->o = options;
    k->from = from;
    k->err = err ? err : &own;
    enum quern_status st = work_through(k, to);
    if (st == QUERN_OK && result)
        *result = k->plan.facts;
    safetensors_writer_destroy(k->writer);
    output_dir_release(&k->out);
    merge_plan_release(&k->plan);
    checkpoint_close(k->checkpoint);
    free(k);
    return st;
}
