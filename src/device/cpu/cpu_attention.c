/* cpu_attention.c - storing keys and values, and attention, shared out over the pool. */
#include "device/cpu/device_cpu.h"

#include <string.h>

#include "base/checked.h"
#include "base/pages.h"

struct seqs_args {
    const struct attention_shape *shape;
    const struct attention_seq *seqs;
    size_t n_seqs;
    float *out;
    const float *q, *k, *v;
    size_t n_rep, tile; /* query heads of a KV head; tokens of a query tile */
};

static size_t seq_tiles(const struct seqs_args *a, size_t seq) {
    return (a->seqs[seq].n_tokens + a->tile - 1) / a->tile;
}

static void attend_tile(const struct seqs_args *a, const struct job *job, const struct attention_seq *seq,
                        size_t kv_head, size_t tile, int worker) {
    const struct attention_shape *s = a->shape;
    size_t row_floats = s->n_heads * s->head_dim;
    size_t first = tile * a->tile;
    size_t rest = seq->n_tokens - first;
    size_t head = kv_head * a->n_rep * s->head_dim;
    struct attention_args args = {
        .out = a->out + (seq->first_row + first) * row_floats + head,
        .q = a->q + (seq->first_row + first) * row_floats + head,
        .blocks = seq->blocks,
        .k_offset = s->k_offset + kv_head * KV_BLOCK_TOKENS * s->head_dim,
        .v_offset = s->v_offset + kv_head * KV_BLOCK_TOKENS * s->head_dim,
        .out_stride = row_floats,
        .q_stride = row_floats,
        .n_tokens = rest < a->tile ? rest : a->tile,
        .n_rep = a->n_rep,
        .head_dim = s->head_dim,
        .first_position = seq->first_position + first,
        .window = s->window,
        .scale = s->scale,
        .scratch = job->cpu->scratch[worker].data,
    };
    job->cpu->kernels->attention(&args);
}

/* Task numbers run over sequences, then tiles from the last (the longest) to the first, then
 * KV heads. */
static void attention_tasks(const struct job *job, size_t begin, size_t end, int worker) {
    const struct seqs_args *a = job->args;
    size_t n_kv = a->shape->n_kv_heads;
    size_t seq = 0, base = 0;
    for (size_t task = begin; task < end; task++) {
        while (task - base >= seq_tiles(a, seq) * n_kv)
            base += seq_tiles(a, seq++) * n_kv;
        size_t tile = seq_tiles(a, seq) - 1 - (task - base) / n_kv;
        attend_tile(a, job, &a->seqs[seq], (task - base) % n_kv, tile, worker);
    }
}

void cpu_attention(struct device *d, const struct attention_shape *shape,
                          const struct attention_seq *seqs, size_t n_seqs, float *out, const float *q) {
    struct seqs_args a = {.shape = shape, .seqs = seqs, .n_seqs = n_seqs, .out = out, .q = q,
                          .n_rep = shape->n_heads / shape->n_kv_heads};
    a.tile = attention_tile_tokens(a.n_rep);
    struct job job = {.fn = attention_tasks, .args = &a, .grain = 1};
    for (size_t i = 0; i < n_seqs; i++)
        job.n += seq_tiles(&a, i) * shape->n_kv_heads;
    run_job(cpu_of(d), &job); /* always in the pool: it uses scratch */
}

static void store_seq(const struct seqs_args *a, const struct attention_seq *seq) {
    size_t head_dim = a->shape->head_dim, n_kv = a->shape->n_kv_heads;
    for (size_t t = 0; t < seq->n_tokens; t++) {
        size_t position = seq->first_position + t;
        /* The cache is read-only to everyone but its owner, whose call this is. */
        float *block = (float *)(uintptr_t)seq->blocks[position / KV_BLOCK_TOKENS];
        size_t from = (seq->first_row + t) * n_kv * head_dim;
        for (size_t h = 0; h < n_kv; h++) {
            size_t to = (h * KV_BLOCK_TOKENS + position % KV_BLOCK_TOKENS) * head_dim;
            memcpy(block + a->shape->k_offset + to, a->k + from + h * head_dim,
                   head_dim * sizeof(float));
            memcpy(block + a->shape->v_offset + to, a->v + from + h * head_dim,
                   head_dim * sizeof(float));
        }
    }
}

void cpu_kv_store(struct device *d, const struct attention_shape *shape,
                         const struct attention_seq *seqs, size_t n_seqs, const float *k,
                         const float *v) {
    struct seqs_args a = {.shape = shape, .k = k, .v = v};
    (void)d;
    for (size_t i = 0; i < n_seqs; i++)
        store_seq(&a, &seqs[i]);
}

struct reserve_args {
    struct device_cpu *cpu;
    size_t bytes;
    atomic_bool failed;
};

static void reserve_worker(void *ctx, int worker, int n_workers) {
    struct reserve_args *a = ctx;
    struct scratch *s = &a->cpu->scratch[worker];
    (void)n_workers;
    if (s->bytes >= a->bytes)
        return;
    float *grown = pages_alloc(a->bytes);
    if (!grown) {
        atomic_store(&a->failed, true);
        return;
    }
    pages_free(s->data, s->bytes);
    s->data = grown;
    s->bytes = a->bytes;
}

enum quern_status cpu_reserve(struct device *d, size_t n_positions, size_t n_rep,
                                     struct quern_error *err) {
    struct reserve_args a = {.cpu = cpu_of(d)};
    atomic_init(&a.failed, false);
    /* attention_scratch_floats pads 31 positions at most and has at most TILE_ROWS - 1 more rows. */
    size_t rows, floats, bytes;
    if (n_rep == 0 || !checked_add(n_rep, ATTENTION_TILE_ROWS, &rows) ||
        !checked_add(n_positions, 32, &floats) || !checked_mul(rows, floats, &floats) ||
        !checked_mul(floats, sizeof(float), &bytes))
        return error_set(err, QUERN_ERR_LIMIT,
                         "attention over %zu positions with %zu query heads to a KV head cannot be "
                         "addressed", n_positions, n_rep);
    a.bytes = attention_scratch_floats(n_rep, n_positions) * sizeof(float);
    /* Run by the pool, so that no attention is under way. */
    thread_pool_run(a.cpu->pool, reserve_worker, &a);
    return atomic_load(&a.failed) ? error_nomem(err) : QUERN_OK;
}
