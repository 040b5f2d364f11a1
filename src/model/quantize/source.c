#include "model/quantize/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void source_name(const char *layout_name, const char *prefix, char out[TENSOR_LAYOUT_NAME_MAX]) {
    static const char usual[] = "model.";
    const bool has = strncmp(layout_name, usual, sizeof usual - 1) == 0;
    snprintf(out, TENSOR_LAYOUT_NAME_MAX, "%s%s", has ? prefix : "",
             has ? layout_name + sizeof usual - 1 : layout_name);
}

static bool is_plain(const struct tensor *t, size_t rows, size_t cols) {
    return !t->block_type && dtype_is_weight(t->dtype) && t->rank == 2 && t->shape[0] == rows &&
           t->shape[1] == cols;
}

/* "PREFIX.experts.3.up_proj.weight" from "PREFIX.experts.gate_up_proj" [E, 2M, H], or from
 * "PREFIX.experts.down_proj" [E, H, M]. */
static bool expert_slice(const struct checkpoint *checkpoint, const struct hf_config *c,
                         const char *name, struct matrix_source *out) {
    static const char inner[] = ".experts.";
    char fused[TENSOR_LAYOUT_NAME_MAX + 16];
    const char *at = strstr(name, inner);
    unsigned expert;
    char part[16];
    if (!at || sscanf(at + sizeof inner - 1, "%u.%15[a-z_].weight", &expert, part) != 2)
        return false;
    const bool down = strcmp(part, "down_proj") == 0, up = strcmp(part, "up_proj") == 0;
    snprintf(fused, sizeof fused, "%.*s%s", (int)(at - name + (ptrdiff_t)sizeof inner - 1), name,
             down ? "down_proj" : "gate_up_proj");
    const struct tensor *t = checkpoint_find(checkpoint, fused);
    const size_t rows = out->rows * (down ? 1 : 2);
    if (!t || t->rank != 3 || !dtype_is_weight(t->dtype) || t->shape[0] != (size_t)c->n_experts ||
        t->shape[1] != rows || t->shape[2] != out->cols || expert >= t->shape[0])
        return false;
    out->dtype = t->dtype;
    out->data = (const unsigned char *)t->data +
                (expert * rows + (up ? out->rows : 0)) * out->cols * dtype_size_bytes(t->dtype);
    return true;
}

enum quern_status matrix_source_open(const struct checkpoint *checkpoint,
                                     const struct hf_config *config, const char *prefix,
                                     const struct tensor_spec *spec, struct arena *arena,
                                     struct matrix_source *out, struct quern_error *err) {
    static const char suffix[] = ".weight";
    char name[TENSOR_LAYOUT_NAME_MAX], base[TENSOR_LAYOUT_NAME_MAX];
    struct quantized_linear *l = NULL;
    *out = (struct matrix_source){.rows = spec->shape[0], .cols = spec->shape[1]};
    source_name(spec->name, prefix, name);
    const size_t len = strlen(name) - (sizeof suffix - 1);
    snprintf(base, sizeof base, "%.*s", (int)len, name);
    enum quern_status st = quantized_linear_open(&config->quant, checkpoint, base, out->rows,
                                                 out->cols, arena, &l, err);
    if (st != QUERN_OK)
        return st;
    const struct tensor *t = checkpoint_find(checkpoint, name);
    if (l) {
        out->coded = &l->source;
    } else if (t && t->coded && t->coded->rows == out->rows && t->coded->cols == out->cols) {
        out->coded = t->coded;
    } else if (t && is_plain(t, out->rows, out->cols)) {
        out->dtype = t->dtype;
        out->data = t->data;
    } else if (!expert_slice(checkpoint, config, name, out)) {
        return error_set(err, QUERN_ERR_FORMAT,
                         t ? "tensor \"%s\" is no matrix of [%zu, %zu] in F32, F16 or BF16"
                           : "tensor \"%s\" [%zu, %zu] is missing",
                         name, out->rows, out->cols);
    }
    return QUERN_OK;
}

struct read_job {
    const struct matrix_source *s;
    float *y;
    char *scratch;
    size_t scratch_bytes; /* of one worker */
};

enum { READ_ROWS = 64 };

static void read_share(void *ctx, int worker, int n_workers) {
    struct read_job *job = ctx;
    const struct matrix_source *s = job->s;
    size_t begin, end;
    thread_share(s->rows, READ_ROWS, worker, n_workers, &begin, &end);
    for (size_t r = begin; r < end; r += READ_ROWS) {
        const size_t n = end - r < READ_ROWS ? end - r : READ_ROWS;
        if (s->coded)
            quant_dequantize_rows(s->coded, r, n, job->y + r * s->cols,
                                  job->scratch + (size_t)worker * job->scratch_bytes);
        else
            dtype_to_f32(s->dtype, s->data + r * s->cols * dtype_size_bytes(s->dtype),
                         job->y + r * s->cols, n * s->cols);
    }
}

enum quern_status matrix_source_read(const struct matrix_source *s, float *y,
                                     struct thread_pool *pool, struct quern_error *err) {
    struct read_job job = {.s = s, .y = y};
    if (s->coded) {
        job.scratch_bytes = (quant_dequantize_scratch_bytes(s->coded, READ_ROWS) + 63) / 64 * 64;
        job.scratch = malloc(job.scratch_bytes * (pool ? (size_t)thread_pool_size(pool) : 1));
        if (!job.scratch)
            return error_nomem(err);
    }
    if (pool)
        thread_pool_run(pool, read_share, &job);
    else
        read_share(&job, 0, 1);
    free(job.scratch);
    return QUERN_OK;
}
