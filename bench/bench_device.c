/* bench_device.c - the operations of a Qwen3-0.6B forward pass on the CPU device, without a
 * model: what the arithmetic alone allows.
 *
 *     bench_device [THREADS [KERNELS [KV [DEPTH]]]]     0 threads: all cores; KV: f32, bf16 or int8
 *
 * Prints the median time of each operation over all layers and tokens a second, for one token after
 * 128, 4096 and 16384 others, and for a prompt of 512 at the start and after 15872 (or only
 * for one token after DEPTH). One thread is measured by its own CPU time, which
 * other programs do not lengthen; several by wall-clock time, which they do. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/os.h"
#include "device/device.h"
#include "kernels/kernels.h"

enum {
    LAYERS = 28, H = 1024, I = 3072, N_HEADS = 16, N_KV = 8, D = 128, Q = N_HEADS * D, K = N_KV * D,
    VOCAB = 151936, MAX_TOKENS = 512, MAX_CONTEXT = 16416, BLOCKS = MAX_CONTEXT / KV_BLOCK_TOKENS,
    RUNS = 9,
    STORAGE = 1 << 30, /* of the cache; long sequences have some blocks several times */
};

enum op { NORM, QKV, NORM_ROPE, STORE, ATTENTION, O, GATE_UP, SILU, DOWN, ADD, HEAD, TOTAL, OPS };
static const char *const op_names[OPS] = {"rms_norm", "q, k, v", "norm_rope", "kv_store", "attention", "o",
                                          "gate, up", "silu_mul", "down", "add", "lm_head", "all"};

struct bench {
    struct device *d;
    int n_threads;
    unsigned char *weights, *next;
    size_t weight_bytes;
    struct kv_layout layout;
    unsigned char *storage;
    const void *blocks[BLOCKS];
    float *x, *h, *q, *k, *v, *a, *gate, *up, *logits, *cos, *norm;
    uint64_t ns[OPS], since;
};

static float *floats(struct bench *b, size_t n) {
    float *p = b->d->ops->alloc(b->d, n * sizeof *p);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        p[i] = (float)(i * 7919 % 2003) / 2003.0f - 0.5f;
    return p;
}

static uint64_t now_ns(const struct bench *b) {
    struct timespec t;
    clock_gettime(b->n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void mark(struct bench *b, enum op op) {
    uint64_t now = now_ns(b);
    b->ns[op] += now - b->since;
    b->since = now;
}

/* Matrices lie one after the other, as in a file. */
static struct weight take(struct bench *b, size_t rows, size_t cols) {
    struct weight w = {.dtype = DTYPE_BF16, .rows = rows, .cols = cols, .data = b->next};
    b->next += rows * cols * 2;
    return w;
}

static void linear(struct bench *b, float *y, const float *x, size_t rows, size_t cols, size_t n) {
    struct weight w = take(b, rows, cols);
    b->d->ops->linear(b->d, y, x, &w, NULL, n);
}

static void layer(struct bench *b, size_t index, size_t n, size_t past) {
    const struct device_ops *ops = b->d->ops;
    struct attention_seq seq = {b->blocks, 0, n, past};
    struct attention_shape shape = {N_HEADS, N_KV, 0, &b->layout, index, 0.088f};
    ops->rms_norm(b->d, b->h, b->x, b->norm, n, H, 1e-6f);
    mark(b, NORM);
    linear(b, b->q, b->h, Q, H, n);
    linear(b, b->k, b->h, K, H, n);
    linear(b, b->v, b->h, K, H, n);
    mark(b, QKV);
    ops->norm_rope(b->d, b->q, b->norm, 1e-6f, b->cos, b->cos, n, N_HEADS, D);
    ops->norm_rope(b->d, b->k, b->norm, 1e-6f, b->cos, b->cos, n, N_KV, D);
    mark(b, NORM_ROPE);
    ops->kv_store(b->d, &shape, &seq, 1, b->k, b->v);
    mark(b, STORE);
    ops->attention(b->d, &shape, &seq, 1, b->a, b->q);
    mark(b, ATTENTION);
    linear(b, b->h, b->a, H, Q, n);
    mark(b, O);
    ops->add(b->d, b->x, b->h, n * H);
    mark(b, ADD);
    ops->rms_norm(b->d, b->h, b->x, b->norm, n, H, 1e-6f);
    mark(b, NORM);
    linear(b, b->gate, b->h, I, H, n);
    linear(b, b->up, b->h, I, H, n);
    mark(b, GATE_UP);
    ops->silu_mul(b->d, b->gate, b->gate, b->up, n * I);
    mark(b, SILU);
    linear(b, b->h, b->gate, H, I, n);
    mark(b, DOWN);
    ops->add(b->d, b->x, b->h, n * H);
    mark(b, ADD);
}

static void forward(struct bench *b, size_t n, size_t past) {
    memset(b->ns, 0, sizeof b->ns);
    uint64_t start = now_ns(b);
    b->since = start;
    b->next = b->weights;
    for (size_t l = 0; l < LAYERS; l++)
        layer(b, l, n, past);
    linear(b, b->logits, b->x + (n - 1) * H, VOCAB, H, 1);
    mark(b, HEAD);
    b->ns[TOTAL] = now_ns(b) - start;
    b->d->ops->zero(b->d, b->x, n * H); /* nothing grows from run to run */
    b->d->ops->add(b->d, b->x, b->norm, H);
}

static int by_size(const void *x, const void *y) {
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static void report(struct bench *b, size_t n, size_t past) {
    static uint64_t all[OPS][RUNS];
    forward(b, n, past);
    for (size_t r = 0; r < RUNS; r++) {
        forward(b, n, past);
        for (size_t i = 0; i < OPS; i++)
            all[i][r] = b->ns[i];
    }
    printf("%zu token%s after %zu:\n", n, n == 1 ? "" : "s", past);
    for (size_t i = 0; i < OPS; i++) {
        qsort(all[i], RUNS, sizeof all[i][0], by_size);
        printf("  %-10s %10.3f ms\n", op_names[i], (double)all[i][RUNS / 2] / 1e6);
    }
    double seconds = (double)all[TOTAL][RUNS / 2] / 1e9;
    double kv_bytes = (double)b->layout.block_bytes / KV_BLOCK_TOKENS * (double)(past + n);
    printf("  %.1f tokens/s, weights read at %.1f GB/s, keys and values at %.1f\n", (double)n / seconds,
           (double)b->weight_bytes / seconds / 1e9, kv_bytes / (double)all[ATTENTION][RUNS / 2]);
}

static void init(struct bench *b) {
    size_t layer_weights = (size_t)(2 * Q + 2 * K + 3 * I) * H;
    b->weight_bytes = 2 * (LAYERS * layer_weights + (size_t)VOCAB * H);
    b->weights = b->d->ops->alloc(b->d, b->weight_bytes);
    b->storage = b->d->ops->alloc(b->d, STORAGE);
    if (!b->weights || !b->storage) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < b->weight_bytes; i += 2) { /* about +-0.02 */
        uint16_t w = (uint16_t)(((i * 2654435761u >> 13) & 0x807F) | 0x3C80);
        memcpy(b->weights + i, &w, sizeof w);
    }
    /* Touched, or reading it would be reading one page of zeros over and over. */
    memset(b->storage, 0x3C, STORAGE);
    for (size_t i = 0; i < BLOCKS; i++)
        b->blocks[i] = b->storage + i % (STORAGE / b->layout.block_bytes) * b->layout.block_bytes;
    b->x = floats(b, MAX_TOKENS * H);
    b->h = floats(b, MAX_TOKENS * H);
    b->q = floats(b, (size_t)MAX_TOKENS * Q);
    b->a = floats(b, (size_t)MAX_TOKENS * Q);
    b->k = floats(b, MAX_TOKENS * K);
    b->v = floats(b, MAX_TOKENS * K);
    b->gate = floats(b, MAX_TOKENS * I);
    b->up = floats(b, MAX_TOKENS * I);
    b->logits = floats(b, VOCAB);
    b->cos = floats(b, MAX_TOKENS * D / 2);
    b->norm = floats(b, H);
}

int main(int argc, char **argv) {
    static struct bench b;
    struct quern_error err;
    b.n_threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (b.n_threads == 0)
        b.n_threads = os_cpu_count();
    if (device_cpu_create(b.n_threads, argc > 2 ? argv[2] : NULL, &b.d, &err) ||
        b.d->ops->reserve(b.d, MAX_CONTEXT, N_HEADS / N_KV, D, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    enum kv_type type = KV_F32;
    if (argc > 3 && !kv_type_from_name(argv[3], &type)) {
        fprintf(stderr, "no cache of type %s\n", argv[3]);
        return 1;
    }
    kv_layout_init(&b.layout, type, LAYERS, N_KV, D);
    init(&b);
    printf("%s, %d threads, KV %s\n", b.d->name, b.n_threads, kv_type_name(type));
    if (argc > 4) {
        size_t depth = strtoull(argv[4], NULL, 10);
        report(&b, 1, depth < MAX_CONTEXT ? depth : MAX_CONTEXT - 1);
        return 0;
    }
    report(&b, 1, 128);
    report(&b, 1, 4096);
    report(&b, 1, 16384);
    report(&b, 512, 0);
    report(&b, 512, 15872);
    return 0;
}
