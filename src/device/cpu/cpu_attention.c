/* cpu_attention.c - storing keys and values, and attention, shared out over the pool.
 *
 * Attention is cut into units: a tile of a sequence's new tokens and a KV head. Where there are too few of
 * them (a decode step of few sequences), each unit is cut further, into the chunks of positions that
 * attention is defined by (kernels.h): a chunk's result goes to a buffer, and who finishes the last
 * one joins them in order. Both ways do the same operations, so the bits are the same. */
#include "device/cpu/device_cpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/pages.h"

enum {
    /* Queries of a unit: a chunk of keys and values, 64 KB as bf16, is read from the second-level cache
     * for all groups of ATTENTION_ROWS after the first. */
    UNIT_QUERIES = 5 * ATTENTION_ROWS,
    /* Fewer units than that for each thread are too coarse to end at the same time. */
    UNITS_PER_THREAD = 4,
};

/* ---- storing --------------------------------------------------------------------------------- */

struct seqs_args {
    const struct attention_shape *shape;
    const struct attention_seq *seqs;
    size_t n_seqs;
    float *out;
    const float *q, *k, *v;
    size_t n_rep, tile; /* query heads of a KV head; tokens of a unit */
};

static size_t head_offset(const struct attention_shape *s, size_t head) {
    return s->layer * s->layout->layer_bytes + head * s->layout->head_bytes;
}

static void store_head(const struct job *job, const struct attention_seq *seq, size_t head) {
    const struct seqs_args *a = job->args;
    const struct kv_layout *l = a->shape->layout;
    const size_t stride = a->shape->n_kv_heads * l->head_dim;
    for (size_t t = 0, n; t < seq->n_tokens; t += n) {
        size_t position = seq->first_position + t, row = position % KV_BLOCK_TOKENS;
        size_t from = (seq->first_row + t) * stride + head * l->head_dim;
        n = KV_BLOCK_TOKENS - row < seq->n_tokens - t ? KV_BLOCK_TOKENS - row : seq->n_tokens - t;
        /* The cache is read-only to everyone but its owner, whose call this is. */
        unsigned char *block = (unsigned char *)(uintptr_t)seq->blocks[position / KV_BLOCK_TOKENS];
        const struct kv_store_args store = {.head = block + head_offset(a->shape, head),
                                            .layout = l,
                                            .k = a->k + from,
                                            .v = a->v + from,
                                            .stride = stride,
                                            .first_row = row,
                                            .n_rows = n};
        job->cpu->kernels->kv_store[l->type](&store);
    }
}

static void store_heads(const struct job *job, size_t begin, size_t end, int worker) {
    const struct seqs_args *a = job->args;
    const size_t n_kv = a->shape->n_kv_heads;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        store_head(job, &a->seqs[i / n_kv], i % n_kv);
}

void cpu_kv_store(struct device *d, const struct attention_shape *shape,
                  const struct attention_seq *seqs, size_t n_seqs, const float *k, const float *v) {
    const struct seqs_args a = {.shape = shape, .seqs = seqs, .k = k, .v = v};
    struct job job = {.fn = store_heads, .args = &a, .n = n_seqs * shape->n_kv_heads, .grain = 1};
    size_t n_tokens = 0;
    for (size_t i = 0; i < n_seqs; i++)
        n_tokens += seqs[i].n_tokens;
    run_small_job(cpu_of(d), &job,
                  n_tokens * shape->n_kv_heads * shape->layout->head_dim >= PARALLEL_MIN_FLOATS);
}

/* ---- units -------------------------------------------------------------------------------------- */

/* A tile of a sequence and a KV head, with the chunks its queries see. */
struct unit {
    const struct attention_seq *seq;
    size_t head, first, n_tokens;
    size_t chunk_begin, chunk_end;
};

static size_t seq_tiles(const struct seqs_args *a, size_t seq) {
    return (a->seqs[seq].n_tokens + a->tile - 1) / a->tile;
}

static struct unit unit_of(const struct seqs_args *a, size_t seq, size_t tile, size_t head) {
    const struct attention_seq *s = &a->seqs[seq];
    struct unit u = {.seq = s, .head = head, .first = tile * a->tile};
    u.n_tokens = s->n_tokens - u.first < a->tile ? s->n_tokens - u.first : a->tile;
    size_t end = s->first_position + u.first + 1;
    size_t oldest = a->shape->window && end > a->shape->window ? end - a->shape->window : 0;
    u.chunk_begin = oldest / ATTENTION_CHUNK;
    u.chunk_end = (end + u.n_tokens - 2) / ATTENTION_CHUNK + 1;
    return u;
}

/* Where a unit's numbers stand: in the result, or in a buffer. */
struct unit_place {
    float *out, *max, *sum;
    size_t out_stride;
};

static void attend(const struct job *job, const struct unit *u, const struct unit_place *p,
                   size_t chunk_begin, size_t chunk_end, int worker) {
    const struct seqs_args *a = job->args;
    const struct attention_shape *s = a->shape;
    const size_t row = s->n_heads * s->layout->head_dim;
    const struct attention_args args = {
        .out = p->out,
        .max = p->max,
        .sum = p->sum,
        .q = a->q + (u->seq->first_row + u->first) * row + u->head * a->n_rep * s->layout->head_dim,
        .blocks = u->seq->blocks,
        .layout = s->layout,
        .head_offset = head_offset(s, u->head),
        .out_stride = p->out_stride,
        .q_stride = row,
        .n_tokens = u->n_tokens,
        .n_rep = a->n_rep,
        .first_position = u->seq->first_position + u->first,
        .window = s->window,
        .chunk_begin = chunk_begin,
        .chunk_end = chunk_end,
        .scale = s->scale,
        .scratch = job->cpu->scratch[worker].data,
    };
    memset(p->sum, 0, u->n_tokens * a->n_rep * sizeof *p->sum);
    job->cpu->kernels->attention[s->layout->type](&args);
}

static float *result_of(const struct seqs_args *a, const struct unit *u, size_t query) {
    const size_t D = a->shape->layout->head_dim, row = a->shape->n_heads * D;
    return a->out + (u->seq->first_row + u->first + query / a->n_rep) * row +
           (u->head * a->n_rep + query % a->n_rep) * D;
}

/* The state of a unit that is not split lies behind the kernel's scratch. */
static float *state_of(const struct job *job, int worker) {
    const struct seqs_args *a = job->args;
    return job->cpu->scratch[worker].data +
           attention_scratch_bytes(a->shape->layout->head_dim) / sizeof(float);
}

static void whole_unit(const struct job *job, const struct unit *u, int worker) {
    const struct seqs_args *a = job->args;
    const size_t D = a->shape->layout->head_dim, n = u->n_tokens * a->n_rep;
    float *state = state_of(job, worker);
    const struct unit_place p = {result_of(a, u, 0), state, state + n, a->shape->n_heads * D};
    attend(job, u, &p, u->chunk_begin, u->chunk_end, worker);
    for (size_t i = 0; i < n; i++)
        job->cpu->kernels->divide(result_of(a, u, i), D, p.sum[i]);
}

/* Task numbers run over sequences, then tiles from the last (the longest) to the first, then
 * KV heads. */
static void attention_units(const struct job *job, size_t begin, size_t end, int worker) {
    const struct seqs_args *a = job->args;
    const size_t n_kv = a->shape->n_kv_heads;
    size_t seq = 0, base = 0;
    for (size_t task = begin; task < end; task++) {
        while (task - base >= seq_tiles(a, seq) * n_kv)
            base += seq_tiles(a, seq++) * n_kv;
        size_t tile = seq_tiles(a, seq) - 1 - (task - base) / n_kv;
        const struct unit u = unit_of(a, seq, tile, (task - base) % n_kv);
        whole_unit(job, &u, worker);
    }
}

/* ---- units cut into chunks ------------------------------------------------------------------------ */

/* A chunk's part of the buffer: max, sum, out of all queries of the unit. */
static struct unit_place part_of(const struct job *job, size_t part) {
    const struct seqs_args *a = job->args;
    const size_t D = a->shape->layout->head_dim, n = a->tile * a->n_rep;
    float *at = job->cpu->parts.buffer.data + part * n * (D + 2);
    return (struct unit_place){at + 2 * n, at, at + n, a->n_rep * D};
}

static void join_unit(const struct job *job, const struct unit *u, size_t first_part) {
    const struct seqs_args *a = job->args;
    const struct kernels *k = job->cpu->kernels;
    const size_t D = a->shape->layout->head_dim;
    for (size_t i = 0; i < u->n_tokens * a->n_rep; i++) {
        float max = 0.0f, sum = 0.0f, *out = result_of(a, u, i);
        for (size_t c = 0; c < u->chunk_end - u->chunk_begin; c++) {
            const struct unit_place p = part_of(job, first_part + c);
            const struct attention_join join = {out, &max, &sum, p.out + i * D, p.max[i], p.sum[i], D};
            if (p.sum[i] != 0.0f) /* it sees something of this chunk */
                k->attention_join(&join);
        }
        k->divide(out, D, sum);
    }
}

/* Task numbers run over units as above, then over their chunks. */
static void attention_chunks(const struct job *job, size_t begin, size_t end, int worker) {
    const struct seqs_args *a = job->args;
    size_t base = 0, number = 0;
    for (size_t seq = 0; seq < a->n_seqs; seq++) {
        for (size_t i = 0; i < seq_tiles(a, seq) * a->shape->n_kv_heads; i++, number++) {
            const struct unit u = unit_of(a, seq, i / a->shape->n_kv_heads, i % a->shape->n_kv_heads);
            size_t n = u.chunk_end - u.chunk_begin, task = begin > base ? begin : base;
            for (; task < end && task < base + n; task++) {
                const struct unit_place p = part_of(job, task);
                size_t c = u.chunk_begin + (task - base);
                attend(job, &u, &p, c, c + 1, worker);
                atomic_size_t *done = &job->cpu->parts.done[number];
                if (atomic_fetch_add(done, 1) + 1 == n) {
                    atomic_store(done, 0);
                    join_unit(job, &u, base);
                }
            }
            base += n;
            if (base >= end)
                return;
        }
    }
}

/* Parts and units that `a` makes; whether the buffer holds them. */
static bool parts_fit(const struct device_cpu *cpu, const struct seqs_args *a, size_t *n_parts) {
    size_t n_units = 0, floats, bytes;
    *n_parts = 0;
    for (size_t seq = 0; seq < a->n_seqs; seq++) {
        for (size_t tile = 0; tile < seq_tiles(a, seq); tile++) {
            const struct unit u = unit_of(a, seq, tile, 0);
            *n_parts += (u.chunk_end - u.chunk_begin) * a->shape->n_kv_heads;
            n_units += a->shape->n_kv_heads;
        }
    }
    return n_units <= cpu->parts.n_done &&
           checked_mul(a->tile * a->n_rep, a->shape->layout->head_dim + 2, &floats) &&
           checked_mul(floats * sizeof(float), *n_parts, &bytes) && bytes <= atomic_load(&cpu->parts.room);
}

static size_t count_units(const struct seqs_args *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_seqs; i++)
        n += seq_tiles(a, i) * a->shape->n_kv_heads;
    return n;
}

void cpu_attention(struct device *d, const struct attention_shape *shape,
                   const struct attention_seq *seqs, size_t n_seqs, float *out, const float *q) {
    struct device_cpu *cpu = cpu_of(d);
    struct seqs_args a = {.shape = shape, .seqs = seqs, .n_seqs = n_seqs, .out = out, .q = q,
                          .n_rep = shape->n_heads / shape->n_kv_heads};
    const size_t enough = UNITS_PER_THREAD * (size_t)thread_pool_size(cpu->pool);
    size_t queries = UNIT_QUERIES, longest = 1, n_parts;
    for (size_t i = 0; i < n_seqs; i++)
        longest = seqs[i].n_tokens > longest ? seqs[i].n_tokens : longest;
    do {
        a.tile = queries > a.n_rep ? queries / a.n_rep : 1;
        a.tile = a.tile < longest ? a.tile : longest;
        queries -= ATTENTION_ROWS;
    } while (queries > 0 && count_units(&a) < enough);
    struct job job = {.fn = attention_units, .args = &a, .n = count_units(&a), .grain = 1};
    if (thread_pool_size(cpu->pool) > 1 && job.n < 4 * enough && parts_fit(cpu, &a, &n_parts)) {
        job.fn = attention_chunks;
        job.n = n_parts;
    }
    run_job(cpu, &job); /* always in the pool: it uses scratch */
}

/* ---- memory --------------------------------------------------------------------------------------- */

struct reserve_args {
    struct device_cpu *cpu;
    size_t worker_bytes, parts_bytes, n_units;
    atomic_bool failed;
};

static bool grow(struct scratch *s, size_t bytes) {
    if (s->bytes >= bytes)
        return true;
    float *grown = pages_alloc(bytes);
    if (!grown)
        return false;
    pages_free(s->data, s->bytes);
    s->data = grown;
    s->bytes = bytes;
    return true;
}

static void reserve_worker(void *ctx, int worker, int n_workers) {
    struct reserve_args *a = ctx;
    (void)n_workers;
    if (!grow(&a->cpu->scratch[worker], a->worker_bytes))
        atomic_store(&a->failed, true);
    if (worker == 0 && !grow(&a->cpu->parts.buffer, a->parts_bytes))
        atomic_store(&a->failed, true);
    if (worker == 0)
        atomic_store(&a->cpu->parts.room, a->cpu->parts.buffer.bytes);
}

enum quern_status cpu_reserve(struct device *d, size_t n_positions, size_t n_rep, size_t head_dim,
                              struct quern_error *err) {
    struct reserve_args a = {.cpu = cpu_of(d)};
    atomic_init(&a.failed, false);
    size_t queries = n_rep > UNIT_QUERIES ? n_rep : UNIT_QUERIES, state, floats, n_parts;
    /* Parts of steps with a token or two for each sequence, units as many as are ever split. */
    if (n_rep == 0 || n_rep > SIZE_MAX / 64 || head_dim > SIZE_MAX / 1024 / ATTENTION_ROWS ||
        !checked_mul(n_positions / ATTENTION_CHUNK + 2, a.cpu->parts.n_done, &n_parts) ||
        !checked_mul(head_dim + 2, 2 * n_rep, &floats) ||
        !checked_mul(floats, sizeof(float), &floats) ||
        !checked_mul(floats, n_parts, &a.parts_bytes) ||
        !checked_mul(queries, 2 * sizeof(float), &state) ||
        !checked_add(state, attention_scratch_bytes(head_dim), &a.worker_bytes))
        return error_set(err, QUERN_ERR_LIMIT,
                         "attention over %zu positions with %zu query heads of %zu to a KV head "
                         "cannot be addressed",
                         n_positions, n_rep, head_dim);
    /* Run by the pool, so that no attention is under way. */
    thread_pool_run(a.cpu->pool, reserve_worker, &a);
    return atomic_load(&a.failed) ? error_nomem(err) : QUERN_OK;
}

enum quern_status cpu_attention_init(struct device_cpu *cpu, struct quern_error *err) {
    atomic_init(&cpu->parts.room, 0);
    cpu->parts.n_done = 4 * UNITS_PER_THREAD * (size_t)thread_pool_size(cpu->pool);
    cpu->parts.done = malloc(cpu->parts.n_done * sizeof *cpu->parts.done);
    if (!cpu->parts.done)
        return error_nomem(err);
    for (size_t i = 0; i < cpu->parts.n_done; i++)
        atomic_init(&cpu->parts.done[i], 0);
    return QUERN_OK;
}

void cpu_attention_release(struct device_cpu *cpu) {
    pages_free(cpu->parts.buffer.data, cpu->parts.buffer.bytes);
    free(cpu->parts.done);
}
