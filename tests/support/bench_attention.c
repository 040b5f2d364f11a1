#include "support/bench_attention.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/pages.h"

/* Head parts lie as in the cache of a model with eight KV heads; calls go from head to head, so that
 * a long sequence comes from memory. */
enum { KV_BYTES = 320 << 20, SMALL_BYTES = 16 << 20, HEADS = 8, HEAD_DIM = 128, BLOCKS_MAX = 2048 };

static struct {
    unsigned char *kv;
    float *q, *out, *max, *sum;
    void *scratch;
    struct kv_layout layout[KV_TYPE_COUNT];
    const void *blocks[KV_TYPE_COUNT][BLOCKS_MAX];
    size_t head;
} bench;

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct shape {
    size_t n_tokens, n_rep, past;
};

static size_t next_head(void) {
    bench.head = (bench.head + 3) % HEADS;
    return bench.head;
}

static void attend(const struct kernels *k, enum kv_type type, const struct shape *s) {
    const struct kv_layout *l = &bench.layout[type];
    const size_t row = s->n_rep * HEAD_DIM, offset = next_head() * l->head_bytes;
    /* As many tokens at a time as the CPU device takes. */
    for (size_t t = 0, n; t < s->n_tokens; t += n) {
        n = 120 / s->n_rep < s->n_tokens - t ? 120 / s->n_rep : s->n_tokens - t;
        const struct attention_args a = {.out = bench.out + t * row,
                                         .max = bench.max,
                                         .sum = bench.sum,
                                         .q = bench.q + t * row,
                                         .blocks = bench.blocks[type],
                                         .layout = l,
                                         .head_offset = offset,
                                         .out_stride = row,
                                         .q_stride = row,
                                         .n_tokens = n,
                                         .n_rep = s->n_rep,
                                         .first_position = s->past + t,
                                         .chunk_begin = 0,
                                         .chunk_end = (s->past + t + n - 1) / ATTENTION_CHUNK + 1,
                                         .scale = 0.088f,
                                         .scratch = bench.scratch};
        memset(bench.sum, 0, n * s->n_rep * sizeof *bench.sum);
        k->attention[type](&a);
    }
}

static void store(const struct kernels *k, enum kv_type type, const struct shape *s) {
    const size_t offset = next_head() * bench.layout[type].head_bytes;
    for (size_t t = 0, n; t < s->n_tokens; t += n) {
        n = s->n_tokens - t < KV_BLOCK_TOKENS ? s->n_tokens - t : KV_BLOCK_TOKENS;
        const struct kv_store_args a = {.head = (unsigned char *)(uintptr_t)
                                                    bench.blocks[type][t / KV_BLOCK_TOKENS] + offset,
                                        .layout = &bench.layout[type],
                                        .k = bench.q + t * HEAD_DIM,
                                        .v = bench.q + t * HEAD_DIM,
                                        .stride = HEAD_DIM,
                                        .n_rows = n};
        k->kv_store[type](&a);
    }
}

/* The fastest of the calls within 0.2 s, in seconds. */
static double fastest(void (*fn)(const struct kernels *, enum kv_type, const struct shape *),
                      const struct kernels *k, enum kv_type type, const struct shape *s) {
    double best = 1e9;
    const uint64_t begin = cpu_ns();
    do {
        const uint64_t start = cpu_ns();
        for (int i = 0; i < HEADS; i++)
            fn(k, type, s);
        const double seconds = (double)(cpu_ns() - start) / 1e9 / HEADS;
        best = seconds < best ? seconds : best;
    } while (cpu_ns() - begin < 200000000u);
    return best;
}

static void print_attention(const struct kernels *const *tables, size_t n_tables, enum kv_type type,
                            const struct shape *s) {
    const double n = (double)s->n_tokens, past = (double)s->past;
    const double flops = (n * past + n * (n + 1) / 2) * (double)s->n_rep * HEAD_DIM * 4;
    const double bytes = (past + n) * (double)bench.layout[type].head_bytes / KV_BLOCK_TOKENS;
    printf("%-5s %4zu tokens x %zu heads after %5zu", kv_type_name(type), s->n_tokens, s->n_rep,
           s->past);
    for (size_t t = 0; t < n_tables; t++) {
        if (t == 0 && n_tables > 1 && flops > 2e7)
            continue; /* the reference would take seconds */
        const double seconds = fastest(attend, tables[t], type, s);
        printf(" | %s %.0f us, %.0f GFLOP/s, %.1f GB/s", tables[t]->name, seconds * 1e6,
               flops / seconds / 1e9, bytes / seconds / 1e9);
    }
    printf("\n");
    fflush(stdout);
}

static void place(enum kv_type type) {
    struct kv_layout *l = &bench.layout[type];
    kv_layout_init(l, type, 1, HEADS, HEAD_DIM);
    size_t n = KV_BYTES / l->block_bytes;
    for (size_t b = 0; b < BLOCKS_MAX; b++) /* in no order that a prefetcher could follow */
        bench.blocks[type][b] = bench.kv + b * 7 % n * l->block_bytes;
}

int bench_attention(const struct kernels *const *tables, size_t n_tables, const char *wanted) {
    static const struct shape shapes[] = {{1, 2, 255},   {1, 2, 4095},   {1, 2, 16383},
                                          {1, 4, 16383}, {1, 8, 16383},  {4, 2, 16380},
                                          {512, 2, 0},   {512, 2, 4096}, {512, 4, 15872}};
    bench.kv = pages_alloc(KV_BYTES);
    bench.q = pages_alloc(SMALL_BYTES);
    bench.out = pages_alloc(SMALL_BYTES);
    bench.max = pages_alloc(SMALL_BYTES);
    bench.sum = pages_alloc(SMALL_BYTES);
    bench.scratch = pages_alloc(SMALL_BYTES);
    if (!bench.kv || !bench.q || !bench.out || !bench.max || !bench.sum || !bench.scratch)
        return 1;
    memset(bench.kv, 0x3c, KV_BYTES); /* about 0.01 in every type */
    for (size_t i = 0; i < SMALL_BYTES / sizeof *bench.q; i++)
        bench.q[i] = (float)(int)(i * 2654435761u % 1000) * 0.002f - 1.0f;
    for (int type = 0; type < KV_TYPE_COUNT; type++) {
        if (wanted && strcmp(wanted, kv_type_name((enum kv_type)type)) != 0)
            continue;
        place((enum kv_type)type);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            print_attention(tables, n_tables, (enum kv_type)type, &shapes[i]);
        const struct shape one = {512, 1, 0};
        printf("%-5s storing 512 tokens", kv_type_name((enum kv_type)type));
        for (size_t t = 0; t < n_tables; t++)
            printf(" | %s %.1f us", tables[t]->name,
                   fastest(store, tables[t], (enum kv_type)type, &one) * 1e6);
        printf("\n");
    }
    return 0;
}
