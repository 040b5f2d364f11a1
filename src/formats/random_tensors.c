#include "formats/random_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/pages.h"
#include "base/rng.h"
#include "formats/safetensors.h"
#include "formats/tensor_layout.h"

/* What is drawn; the memory repeats it, each piece from another place. */
enum { DRAWN = 1 << 20, PIECE = 1 << 12, ALIGNMENT = 64 };

/* Vectors first, then matrices. */
struct plan {
    size_t vector_bytes, matrix_bytes;
    bool overlapping;
};

/* Where a tensor lies within its kind, and the plan with its room. False on overflow. */
static bool place(struct plan *p, const struct tensor_spec *spec, size_t *offset, size_t *bytes) {
    size_t n = spec->shape[0], end;
    if ((spec->rank == 2 && !checked_mul(n, spec->shape[1], &n)) ||
        !checked_mul(n, sizeof(uint16_t), bytes) || !checked_add(*bytes, ALIGNMENT - 1, &end))
        return false;
    size_t *room = spec->rank == 2 ? &p->matrix_bytes : &p->vector_bytes;
    const bool first = spec->rank == 2 && p->overlapping;
    *offset = first ? 0 : *room;
    if (!checked_add(*offset, end / ALIGNMENT * ALIGNMENT, &end))
        return false;
    *room = end > *room ? end : *room;
    return true;
}

size_t random_tensors_bytes(const struct hf_config *config, bool overlapping) {
    struct plan p = {.overlapping = overlapping};
    struct tensor_layout walk;
    struct tensor_spec spec;
    size_t offset, bytes;
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec);)
        if (!place(&p, &spec, &offset, &bytes))
            return SIZE_MAX;
    return checked_add(p.vector_bytes, p.matrix_bytes, &bytes) ? bytes : SIZE_MAX;
}

/* ---- numbers ------------------------------------------------------------------ */

struct fill {
    float deviation;
    uint16_t *drawn; /* [DRAWN] */
    unsigned char *matrices;
    size_t matrix_bytes;
};

static void draw(void *ctx, int worker, int n_workers) {
    const struct fill *f = ctx;
    size_t begin, end;
    thread_share(DRAWN, PIECE, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i++)
        f->drawn[i] = f32_to_bf16(rng_normal(1, 0, i) * f->deviation);
}

static void repeat(void *ctx, int worker, int n_workers) {
    const struct fill *f = ctx;
    size_t begin, end;
    thread_share(f->matrix_bytes / sizeof(uint16_t), PIECE, worker, n_workers, &begin, &end);
    for (; begin < end; begin += PIECE) {
        const size_t from = begin / PIECE * 7919 % (DRAWN - PIECE); /* a prime: no period */
        const size_t n = end - begin < PIECE ? end - begin : PIECE;
        memcpy(f->matrices + begin * sizeof(uint16_t), f->drawn + from, n * sizeof(uint16_t));
    }
}

static bool fill(struct fill *f, struct thread_pool *pool) {
    f->drawn = malloc(DRAWN * sizeof *f->drawn);
    if (!f->drawn)
        return false;
    if (pool) {
        thread_pool_run(pool, draw, f);
        thread_pool_run(pool, repeat, f);
    } else {
        draw(f, 0, 1);
        repeat(f, 0, 1);
    }
    free(f->drawn);
    return true;
}

/* ---- tensors ------------------------------------------------------------------ */

/* `specs` keeps the names. */
static void name_tensors(const struct hf_config *config, struct plan p, unsigned char *memory,
                         struct tensor_spec *specs, struct tensor *tensors) {
    const size_t vector_bytes = p.vector_bytes;
    struct tensor_layout walk;
    size_t i = 0, offset = 0, bytes = 0;
    p.vector_bytes = p.matrix_bytes = 0;
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &specs[i]); i++) {
        (void)place(&p, &specs[i], &offset, &bytes); /* it went well before */
        unsigned char *at = memory + offset + (specs[i].rank == 2 ? vector_bytes : 0);
        const uint16_t one = f32_to_bf16(1);
        if (specs[i].role == TENSOR_NORM)
            for (size_t k = 0; k < bytes; k += sizeof one)
                memcpy(at + k, &one, sizeof one);
        tensors[i] = (struct tensor){.name = specs[i].name,
                                     .dtype = DTYPE_BF16,
                                     .rank = specs[i].rank,
                                     .shape = {specs[i].shape[0], specs[i].shape[1]},
                                     .data = at,
                                     .size_bytes = bytes,
                                     .file = "random numbers"};
    }
}

enum quern_status random_tensors_create(const struct hf_config *config, bool overlapping,
                                        struct thread_pool *pool, struct checkpoint **out,
                                        struct quern_error *err) {
    const size_t n = tensor_layout_count(config), all = random_tensors_bytes(config, overlapping);
    struct plan p = {.overlapping = overlapping};
    struct tensor_layout walk;
    struct tensor_spec spec;
    size_t offset, bytes;
    if (all == SIZE_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "the weights cannot be addressed");
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec);)
        (void)place(&p, &spec, &offset, &bytes);
    struct tensor_spec *specs = calloc(n + 1, sizeof *specs);
    struct tensor *tensors = calloc(n + 1, sizeof *tensors);
    unsigned char *memory = specs && tensors ? pages_alloc(all) : NULL;
    struct safetensors *st = NULL;
    struct fill f = {.deviation = (float)config->initializer_range,
                     .matrices = memory ? memory + p.vector_bytes : NULL,
                     .matrix_bytes = p.matrix_bytes};
    enum quern_status status = memory && fill(&f, pool) ? QUERN_OK : error_nomem(err);
    if (!status) {
        name_tensors(config, p, memory, specs, tensors);
        status = safetensors_from_memory(tensors, n, memory, all, &st, err);
    } else {
        pages_free(memory, all);
    }
    if (!status)
        status = checkpoint_from_safetensors(st, out, err);
    free(specs);
    free(tensors);
    return status;
}
