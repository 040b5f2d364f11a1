#include "formats/random_checkpoint.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "formats/safetensors_writer.h"

enum { PIECE_ELEMENTS = 1 << 20, GRAIN = 1 << 12 };

/* FNV-1a: a tensor's numbers depend on its name, not on its place in the list. */
static uint64_t stream_of(const char *name) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

void random_checkpoint_values(const struct hf_config *config, const struct tensor_spec *spec,
                              const struct random_checkpoint_options *options, size_t begin,
                              size_t n, float *out) {
    float mean = spec->role == TENSOR_NORM ? 1.0f : 0.0f;
    float deviation = (float)config->initializer_range;
    if (spec->role == TENSOR_NORM || spec->role == TENSOR_BIAS)
        deviation = options->randomize_norms ? 0.1f : 0.0f;
    uint64_t stream = stream_of(spec->name);
    for (size_t i = 0; i < n; i++) {
        float normal = deviation != 0 ? rng_normal(options->seed, stream, begin + i) : 0.0f;
        float scaled = normal * deviation; /* a statement of its own: no fused multiply-add */
        out[i] = mean + scaled;
    }
}

/* One piece of one tensor, shared out among the threads. */
struct piece {
    const struct hf_config *config;
    const struct tensor_spec *spec;
    const struct random_checkpoint_options *options;
    size_t begin, n;
    float *values;        /* [n] */
    unsigned char *bytes; /* [n * size of the dtype] */
};

static void fill_share(void *ctx, int worker, int n_workers) {
    struct piece *p = ctx;
    size_t begin, end;
    thread_share(p->n, GRAIN, worker, n_workers, &begin, &end);
    random_checkpoint_values(p->config, p->spec, p->options, p->begin + begin, end - begin,
                             p->values + begin);
    dtype_from_f32(p->options->dtype, p->values + begin,
                   p->bytes + begin * dtype_size_bytes(p->options->dtype), end - begin);
}

static enum quern_status write_tensor(struct piece *p, struct safetensors_writer *w, size_t *done,
                                      struct quern_error *err) {
    size_t n = p->spec->shape[0] * (p->spec->rank == 2 ? p->spec->shape[1] : 1);
    size_t element = dtype_size_bytes(p->options->dtype);
    for (p->begin = 0; p->begin < n; p->begin += p->n) {
        if (p->options->is_cancelled && p->options->is_cancelled(p->options->user))
            return error_set(err, QUERN_ERR_CANCELLED, "interrupted: no weights were written");
        p->n = n - p->begin < PIECE_ELEMENTS ? n - p->begin : PIECE_ELEMENTS;
        if (p->options->pool)
            thread_pool_run(p->options->pool, fill_share, p);
        else
            fill_share(p, 0, 1);
        enum quern_status status = safetensors_writer_write(w, p->bytes, p->n * element, err);
        if (status)
            return status;
        *done += p->n * element;
        if (p->options->on_progress)
            p->options->on_progress(p->options->user,
                                    (double)*done / (double)safetensors_writer_total_bytes(w));
    }
    return QUERN_OK;
}

static enum quern_status declare(const struct hf_config *config, enum dtype dtype,
                                 struct arena *arena, struct tensor_decl **out, size_t *n_out,
                                 struct quern_error *err) {
    size_t n = tensor_layout_count(config), i = 0;
    struct tensor_decl *decls = arena_calloc(arena, n, sizeof *decls);
    struct tensor_layout walk;
    struct tensor_spec spec;
    if (!decls)
        return error_nomem(err);
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec); i++) {
        decls[i] = (struct tensor_decl){.name = arena_strdup(arena, spec.name),
                                        .dtype = dtype,
                                        .rank = spec.rank,
                                        .shape = {spec.shape[0], spec.shape[1]}};
        if (!decls[i].name)
            return error_nomem(err);
    }
    *out = decls;
    *n_out = n;
    return QUERN_OK;
}

static enum quern_status write_tensors(const struct hf_config *config,
                                       const struct random_checkpoint_options *options,
                                       struct safetensors_writer *w, struct quern_error *err) {
    struct tensor_spec spec;
    struct piece piece = {.config = config, .spec = &spec, .options = options};
    piece.values = malloc(PIECE_ELEMENTS * sizeof *piece.values);
    piece.bytes = malloc(PIECE_ELEMENTS * dtype_size_bytes(options->dtype));
    enum quern_status status = piece.values && piece.bytes ? QUERN_OK : error_nomem(err);
    struct tensor_layout walk;
    size_t done = 0;
    for (tensor_layout_begin(&walk, config); !status && tensor_layout_next(&walk, &spec);)
        status = write_tensor(&piece, w, &done, err);
    free(piece.values);
    free(piece.bytes);
    return status;
}

enum quern_status random_checkpoint_write(const struct hf_config *config, const char *dir,
                                          const struct random_checkpoint_options *options,
                                          struct quern_error *err) {
    if (!dtype_is_weight(options->dtype))
        return error_set(err, QUERN_ERR_ARG, "%s: weights cannot be of type %s", dir,
                         dtype_name(options->dtype));
    struct arena arena;
    struct tensor_decl *decls = NULL;
    struct safetensors_writer *w = NULL;
    size_t n = 0;
    arena_init(&arena, 0);
    enum quern_status status = declare(config, options->dtype, &arena, &decls, &n, err);
    if (!status)
        status = safetensors_writer_create(dir, decls, n, options->max_shard_bytes, &w, err);
    if (!status)
        status = write_tensors(config, options, w, err);
    if (!status)
        status = safetensors_writer_finish(w, err);
    safetensors_writer_destroy(w);
    arena_release(&arena);
    return status;
}
