#include "device/device.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/support.h"

static struct device *open_device(int n_threads, const char *cpu) {
    struct device *d = NULL;
    assert_int_equal(device_cpu_create(n_threads, cpu, &d, NULL), QUERN_OK);
    return d;
}

static void fill(float *x, size_t n, uint32_t seed) {
    uint32_t s = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)s * 0x1p-31f;
    }
}

static float *floats(size_t n, uint32_t seed) {
    float *x = calloc(n ? n : 1, sizeof *x);
    assert_non_null(x);
    fill(x, n, seed);
    return x;
}

/* A weight of the type, and the same values in float32. */
static struct weight make_weight(enum dtype type, size_t rows, size_t cols, uint32_t seed, float **as_f32) {
    *as_f32 = floats(rows * cols, seed);
    void *data = malloc(rows * cols * dtype_size_bytes(type));
    assert_non_null(data);
    dtype_from_f32(type, *as_f32, data, rows * cols);
    dtype_to_f32(type, data, *as_f32, rows * cols);
    return (struct weight){.dtype = type, .rows = rows, .cols = cols, .data = data};
}

static void free_weight(struct weight *w, float *as_f32) {
    free((void *)(uintptr_t)w->data);
    free(as_f32);
}

/* ---- linear ---------------------------------------------------------------------- */

static void expect_linear(const float *y, const float *x, const float *w, const float *bias, size_t n,
                          size_t rows, size_t cols) {
    for (size_t t = 0; t < n; t++) {
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < cols; k++) {
                double term = (double)x[t * cols + k] * (double)w[r * cols + k];
                sum += term;
                size += fabs(term);
            }
            sum += (double)bias[r];
            size += fabs((double)bias[r]);
            /* The bound of the canonical order: cols/16 roundings in a lane, 4 in the fold, 1 for
             * the bias, each at most half an ulp of a partial sum no larger than `size`. */
            double bound = (double)(cols / 16 + 1 + 4 + 1) * 0x1p-24 * size;
            if (fabs((double)y[t * rows + r] - sum) > bound)
                fail_msg("token %zu row %zu: %g, expected %g +- %g", t, r, (double)y[t * rows + r], sum,
                         bound);
        }
    }
}

static void linear_is_a_matrix_product(void **state) {
    (void)state;
    static const struct {
        size_t n, rows, cols;
    } shapes[] = {{1, 300, 1024}, {1, 1, 5}, {2, 50, 33}, {70, 3, 64}, {130, 17, 100}, {33, 257, 128}};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    struct device *d = open_device(2, NULL);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t n = shapes[s].n, rows = shapes[s].rows, cols = shapes[s].cols;
        float *w32, *x = floats(n * cols, 1), *bias = floats(rows, 2), *y = floats(n * rows, 3);
        for (size_t t = 0; t < 3; t++) {
            struct weight w = make_weight(types[t], rows, cols, 4, &w32);
            d->ops->linear(d, y, x, &w, bias, n);
            expect_linear(y, x, w32, bias, n, rows, cols);
            free_weight(&w, w32);
        }
        free(x);
        free(bias);
        free(y);
    }
    device_destroy(d);
}

static void linear_of_nothing_does_nothing(void **state) {
    (void)state;
    struct device *d = open_device(2, NULL);
    float y = 7.0f, x = 1.0f, w = 2.0f;
    struct weight one = {.dtype = DTYPE_F32, .rows = 1, .cols = 1, .data = &w};
    struct weight none = {.dtype = DTYPE_F32, .rows = 0, .cols = 1, .data = &w};
    d->ops->linear(d, &y, &x, &one, NULL, 0);
    d->ops->linear(d, &y, &x, &none, NULL, 1);
    assert_true(y == 7.0f);
    device_destroy(d);
}

/* ---- rows ---------------------------------------------------------------------------- */

static void embed_widens_rows_of_every_type(void **state) {
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    const int32_t ids[] = {6, 0, 6, 2};
    struct device *d = open_device(2, NULL);
    for (size_t t = 0; t < 3; t++) {
        float *w32, out[4 * 19];
        struct weight w = make_weight(types[t], 7, 19, 5, &w32);
        d->ops->embed(d, out, &w, ids, 4);
        for (size_t i = 0; i < 4; i++)
            assert_memory_equal(out + i * 19, w32 + ids[i] * 19, 19 * sizeof(float));
        free_weight(&w, w32);
    }
    device_destroy(d);
}

/* x * sqrt(1/(mean + eps)) takes a handful of roundings after a sum of n squares. */
static double rms_norm_bound(double value, size_t n) {
    return fabs(value) * ((double)(n / 16) + 16) * 0x1p-24 + 1e-30;
}

static void rms_norm_scales_each_row(void **state) {
    (void)state;
    enum { N = 40, COLS = 771 };
    float *x = floats(N * COLS, 6), *w = floats(COLS, 7), *y = floats(N * COLS, 8);
    struct device *d = open_device(2, NULL);
    d->ops->rms_norm(d, y, x, w, N, COLS, 1e-6f);
    for (size_t i = 0; i < N; i++) {
        double squares = 0;
        for (size_t k = 0; k < COLS; k++)
            squares += (double)x[i * COLS + k] * (double)x[i * COLS + k];
        for (size_t k = 0; k < COLS; k++) {
            double want = (double)x[i * COLS + k] / sqrt(squares / COLS + 1e-6) * (double)w[k];
            assert_true(fabs((double)y[i * COLS + k] - want) <= rms_norm_bound(want, COLS));
        }
    }
    d->ops->rms_norm(d, x, x, w, N, COLS, 1e-6f);
    assert_memory_equal(x, y, N * COLS * sizeof *x);
    device_destroy(d);
    free(x);
    free(w);
    free(y);
}

static void norm_rope_norms_then_rotates_pairs_half_a_head_apart(void **state) {
    (void)state;
    enum { N = 3, HEADS = 2, DIM = 20, HALF = DIM / 2 };
    float x[N * HEADS * DIM], before[N * HEADS * DIM], w[DIM], cos_[N * HALF], sin_[N * HALF];
    fill(before, N * HEADS * DIM, 9);
    fill(w, DIM, 10);
    fill(cos_, N * HALF, 11);
    fill(sin_, N * HALF, 12);
    struct device *d = open_device(1, NULL);
    for (int with_norm = 0; with_norm < 2; with_norm++) {
        memcpy(x, before, sizeof x);
        d->ops->norm_rope(d, x, with_norm ? w : NULL, 1e-6f, cos_, sin_, N, HEADS, DIM);
        for (size_t row = 0; row < N * HEADS; row++) {
            const float *in = before + row * DIM;
            double scale = 0;
            for (size_t k = 0; k < DIM; k++)
                scale += (double)in[k] * (double)in[k];
            scale = with_norm ? 1 / sqrt(scale / DIM + 1e-6) : 1;
            for (size_t i = 0; i < HALF; i++) {
                double c = (double)cos_[row / HEADS * HALF + i], s = (double)sin_[row / HEADS * HALF + i];
                double a = (double)in[i] * scale * (with_norm ? (double)w[i] : 1);
                double b = (double)in[i + HALF] * scale * (with_norm ? (double)w[i + HALF] : 1);
                /* Roundings relative to the larger of the two products. */
                double bound = rms_norm_bound(fabs(a) + fabs(b), DIM);
                assert_true(fabs((double)x[row * DIM + i] - (a * c - b * s)) <= bound);
                assert_true(fabs((double)x[row * DIM + i + HALF] - (b * c + a * s)) <= bound);
            }
        }
    }
    device_destroy(d);
}

static void softmax_rows_sum_to_one(void **state) {
    (void)state;
    enum { N = 5, COLS = 131 };
    float *x = floats(N * COLS, 13), *y = floats(N * COLS, 13);
    struct device *d = open_device(2, NULL);
    d->ops->softmax(d, y, N, COLS);
    for (size_t i = 0; i < N; i++) {
        double sum = 0;
        for (size_t k = 0; k < COLS; k++)
            sum += exp((double)x[i * COLS + k]);
        for (size_t k = 0; k < COLS; k++) {
            double want = exp((double)x[i * COLS + k]) / sum;
            /* exp to 1.01 ulp, x - max and the quotient to half of one, the sum to 13 halves. */
            assert_true(fabs((double)y[i * COLS + k] - want) <= want * 12 * 0x1p-23);
        }
    }
    device_destroy(d);
    free(x);
    free(y);
}

static void silu_mul_gates(void **state) {
    (void)state;
    enum { N = 40000 };
    float *g = floats(N, 14), *u = floats(N, 15), *y = floats(N, 16);
    for (size_t i = 0; i < N; i++)
        g[i] *= 20.0f;
    struct device *d = open_device(2, NULL);
    d->ops->silu_mul(d, y, g, u, N);
    for (size_t i = 0; i < N; i++) {
        double want = (double)g[i] / (1 + exp(-(double)g[i])) * (double)u[i];
        assert_true(fabs((double)y[i] - want) <= fabs(want) * 4 * 0x1p-23);
    }
    d->ops->silu_mul(d, g, g, u, N);
    assert_memory_equal(g, y, N * sizeof *g);
    device_destroy(d);
    free(g);
    free(u);
    free(y);
}

static void gather_copies_and_scatter_add_accumulates_in_order(void **state) {
    (void)state;
    enum { ROWS = 4, COLS = 21, N = 5 };
    const int32_t rows[N] = {2, 0, 2, 3, 2};
    const float scale[N] = {0.5f, -1.0f, 3.0f, 0.25f, 1e-3f};
    float x[N * COLS], y[ROWS * COLS], want[ROWS * COLS], got[N * COLS];
    fill(x, N * COLS, 17);
    fill(y, ROWS * COLS, 18);
    struct device *d = open_device(2, NULL);
    d->ops->gather(d, got, y, rows, N, COLS);
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(got + i * COLS, y + rows[i] * COLS, COLS * sizeof(float));
    memcpy(want, y, sizeof y);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < COLS; k++)
            want[rows[i] * COLS + (int32_t)k] =
                fmaf(scale[i], x[i * COLS + k], want[rows[i] * COLS + (int32_t)k]);
    d->ops->scatter_add(d, y, x, rows, scale, N, COLS);
    assert_memory_equal(y, want, sizeof y);
    device_destroy(d);
}

static void add_and_zero_work_on_every_element(void **state) {
    (void)state;
    enum { N = 50001 };
    float *x = floats(N, 19), *y = floats(N, 20), *want = floats(N, 20);
    struct device *d = open_device(2, NULL);
    for (size_t i = 0; i < N; i++)
        want[i] += x[i];
    d->ops->add(d, y, x, N);
    assert_memory_equal(y, want, N * sizeof *y);
    d->ops->zero(d, y, N);
    for (size_t i = 0; i < N; i++)
        assert_true(y[i] == 0.0f);
    device_destroy(d);
    free(x);
    free(y);
    free(want);
}

/* ---- attention ------------------------------------------------------------------------- */

enum { HEADS = 6, KV_HEADS = 2, DIM = 24, N_SEQS = 3, MAX_BLOCKS = 5 };
enum { LAYERS = 2, LAYER = 1 };

/* Three sequences in one batch, of which two have a past, in the second of two layers. */
struct batch {
    struct attention_shape shape;
    struct attention_seq seqs[N_SEQS];
    struct kv_layout layout;
    const void *blocks[N_SEQS][MAX_BLOCKS];
    size_t n_tokens;
    float *storage, *k, *v, *q, *out;
    size_t storage_floats, out_floats;
};

static const struct {
    size_t first, n;
} batch_parts[N_SEQS] = {{0, 50}, {100, 1}, {37, 33}};

static void batch_init(struct batch *b, size_t window) {
    memset(b, 0, sizeof *b);
    kv_layout_init(&b->layout, KV_F32, LAYERS, KV_HEADS, DIM);
    b->shape = (struct attention_shape){.n_heads = HEADS, .n_kv_heads = KV_HEADS, .window = window,
                                        .layout = &b->layout, .layer = LAYER, .scale = 0.2f};
    const size_t block = b->layout.block_bytes / sizeof(float);
    b->storage_floats = N_SEQS * MAX_BLOCKS * block;
    b->storage = floats(b->storage_floats, 21);
    for (size_t s = 0; s < N_SEQS; s++) {
        for (size_t i = 0; i < MAX_BLOCKS; i++) /* in no particular order in memory */
            b->blocks[s][i] = b->storage + ((s * MAX_BLOCKS + i) * 7 % (N_SEQS * MAX_BLOCKS)) * block;
        b->seqs[s] = (struct attention_seq){b->blocks[s], b->n_tokens, batch_parts[s].n,
                                            batch_parts[s].first};
        b->n_tokens += batch_parts[s].n;
    }
    b->out_floats = b->n_tokens * HEADS * DIM;
    b->k = floats(b->n_tokens * KV_HEADS * DIM, 22);
    b->v = floats(b->n_tokens * KV_HEADS * DIM, 23);
    b->q = floats(b->out_floats, 24);
    b->out = floats(b->out_floats, 25);
}

static void batch_release(struct batch *b) {
    free(b->storage);
    free(b->k);
    free(b->v);
    free(b->q);
    free(b->out);
}

static void batch_run(struct batch *b, struct device *d) {
    assert_int_equal(d->ops->reserve(d, MAX_BLOCKS * KV_BLOCK_TOKENS, HEADS / KV_HEADS, DIM, NULL), QUERN_OK);
    d->ops->kv_store(d, &b->shape, b->seqs, N_SEQS, b->k, b->v);
    d->ops->attention(d, &b->shape, b->seqs, N_SEQS, b->out, b->q);
}

/* K (part 0) or V (part 1) of a position: the layout of kv_layout.h for float32. */
static size_t cached_at(const struct kv_layout *l, size_t part, size_t head, size_t row, size_t i) {
    size_t start = (LAYER * l->layer_bytes + head * l->head_bytes + part * l->v_offset) / sizeof(float);
    return start + (part == 0 ? i * KV_BLOCK_TOKENS + row : row * l->padded + i);
}

static double cached(const struct batch *b, size_t seq, size_t part, size_t head, size_t position,
                     size_t i) {
    const float *block = b->blocks[seq][position / KV_BLOCK_TOKENS];
    return (double)block[cached_at(&b->layout, part, head, position % KV_BLOCK_TOKENS, i)];
}

static void expect_attention_row(const struct batch *b, size_t seq, size_t token, size_t head) {
    size_t position = b->seqs[seq].first_position + token, row = b->seqs[seq].first_row + token;
    size_t first = b->shape.window && position + 1 > b->shape.window ? position + 1 - b->shape.window : 0;
    size_t kv_head = head / (HEADS / KV_HEADS);
    const float *q = b->q + (row * HEADS + head) * DIM, *out = b->out + (row * HEADS + head) * DIM;
    double sum = 0, want[DIM] = {0};
    for (size_t j = first; j <= position; j++) {
        double s = 0;
        for (size_t i = 0; i < DIM; i++)
            s += (double)q[i] * cached(b, seq, 0, kv_head, j, i);
        double p = exp(s * (double)b->shape.scale);
        sum += p;
        for (size_t i = 0; i < DIM; i++)
            want[i] += p * cached(b, seq, 1, kv_head, j, i);
    }
    /* |v| < 1. A score is exact to 10 halves of an ulp of 5, a sum of 133 terms to 133 of its
     * own: together below 2e-5 of the largest value. */
    for (size_t i = 0; i < DIM; i++)
        if (fabs((double)out[i] - want[i] / sum) > 2e-5)
            fail_msg("sequence %zu token %zu head %zu: %g, expected %g", seq, token, head,
                     (double)out[i], want[i] / sum);
}

static void attention_is_causal_softmax_over_the_cache(void **state) {
    (void)state;
    static const size_t windows[] = {0, 1, 20, 64};
    for (size_t i = 0; i < 4; i++) {
        struct batch b;
        struct device *d = open_device(2, NULL);
        batch_init(&b, windows[i]);
        batch_run(&b, d);
        for (size_t s = 0; s < N_SEQS; s++)
            for (size_t t = 0; t < b.seqs[s].n_tokens; t++)
                for (size_t h = 0; h < HEADS; h++)
                    expect_attention_row(&b, s, t, h);
        batch_release(&b);
        device_destroy(d);
    }
}

static void kv_store_writes_the_new_positions_only(void **state) {
    (void)state;
    struct batch b;
    struct device *d = open_device(1, NULL);
    batch_init(&b, 0);
    float *want = floats(b.storage_floats, 21);
    for (size_t s = 0; s < N_SEQS; s++) {
        for (size_t t = 0; t < b.seqs[s].n_tokens; t++) {
            for (size_t h = 0; h < KV_HEADS; h++) {
                size_t from = ((b.seqs[s].first_row + t) * KV_HEADS + h) * DIM;
                size_t position = b.seqs[s].first_position + t;
                float *block = want + ((const float *)b.blocks[s][position / KV_BLOCK_TOKENS] - b.storage);
                for (size_t i = 0; i < DIM; i++) {
                    size_t row = position % KV_BLOCK_TOKENS;
                    block[cached_at(&b.layout, 0, h, row, i)] = b.k[from + i];
                    block[cached_at(&b.layout, 1, h, row, i)] = b.v[from + i];
                }
            }
        }
    }
    d->ops->kv_store(d, &b.shape, b.seqs, N_SEQS, b.k, b.v);
    assert_memory_equal(b.storage, want, b.storage_floats * sizeof *want);
    free(want);
    batch_release(&b);
    device_destroy(d);
}

/* ---- one result for all ---------------------------------------------------------------- */

/* A little of everything, large enough to be shared out. */
static float *run_mixture(int n_threads, const char *cpu, size_t *n) {
    enum { T = 61, C = 600, R = 333 };
    struct device *d = open_device(n_threads, cpu);
    struct batch b;
    float *w32, *x = floats(T * C, 30), *norm = floats(C, 31);
    struct weight w = make_weight(DTYPE_BF16, R, C, 32, &w32);
    batch_init(&b, 0);
    batch_run(&b, d);
    *n = T * R + R + b.out_floats + T * C;
    float *all = floats(*n, 33), *out = all;
    d->ops->rms_norm(d, x, x, norm, T, C, 1e-5f);
    d->ops->linear(d, out, x, &w, NULL, T);
    d->ops->softmax(d, out, T, R);
    out += T * R;
    d->ops->linear(d, out, x, &w, NULL, 1);
    out += R;
    memcpy(out, b.out, b.out_floats * sizeof *out);
    out += b.out_floats;
    d->ops->silu_mul(d, x, x, x, T * C);
    memcpy(out, x, T * C * sizeof *out);
    batch_release(&b);
    free_weight(&w, w32);
    free(x);
    free(norm);
    device_destroy(d);
    return all;
}

static void results_are_the_same_bits_for_any_threads_and_kernels(void **state) {
    (void)state;
    size_t n, n_tables;
    float *want = run_mixture(1, "generic", &n);
    const struct kernels *const *tables = kernels_available(&n_tables);
    for (size_t t = 0; t < n_tables; t++) {
        for (int threads = 1; threads <= 3; threads++) {
            float *got = run_mixture(threads, tables[t]->name, &n);
            assert_memory_equal(got, want, n * sizeof *got);
            free(got);
        }
    }
    free(want);
}

struct caller {
    struct device *device;
    struct batch batch;
    size_t wrong;
    const float *want;
};

static void *call_often(void *arg) {
    struct caller *c = arg;
    for (int i = 0; i < 50; i++) {
        memset(c->batch.out, 0, c->batch.out_floats * sizeof(float));
        c->device->ops->reserve(c->device, (size_t)(160 + 100 * i), HEADS / KV_HEADS, DIM, NULL);
        c->device->ops->attention(c->device, &c->batch.shape, c->batch.seqs, N_SEQS, c->batch.out,
                                  c->batch.q);
        c->wrong += memcmp(c->batch.out, c->want, c->batch.out_floats * sizeof(float)) != 0;
    }
    return NULL;
}

static void callers_on_several_threads_do_not_disturb_each_other(void **state) {
    (void)state;
    enum { CALLERS = 3 };
    struct device *d = open_device(2, NULL);
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    struct batch alone;
    batch_init(&alone, 0);
    batch_run(&alone, d);
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.device = d, .want = alone.out};
        batch_init(&callers[i].batch, 0);
        d->ops->kv_store(d, &callers[i].batch.shape, callers[i].batch.seqs, N_SEQS, callers[i].batch.k,
                         callers[i].batch.v);
    }
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    for (size_t i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
        batch_release(&callers[i].batch);
    }
    batch_release(&alone);
    device_destroy(d);
}

/* ---- life and limits -------------------------------------------------------------------- */

static void memory_is_zero_and_aligned_and_moves_both_ways(void **state) {
    (void)state;
    struct device *d = open_device(1, NULL);
    float *p = d->ops->alloc(d, 1000 * sizeof *p), in[3] = {1, 2, 3}, out[3] = {0};
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (size_t i = 0; i < 1000; i++)
        assert_true(p[i] == 0.0f);
    d->ops->write(d, p + 5, in, sizeof in);
    d->ops->download(d, out, p + 5, sizeof out);
    assert_memory_equal(in, out, sizeof in);
    assert_ptr_equal(d->ops->upload(d, in, sizeof in), in);
    d->ops->release(d, p, 1000 * sizeof *p);
    d->ops->release(d, NULL, 0);
    assert_null(d->ops->alloc(d, SIZE_MAX / 2));
    device_destroy(d);
    device_destroy(NULL);
}

static void the_name_tells_the_kernels(void **state) {
    (void)state;
    struct device *d = open_device(1, "generic");
    assert_string_equal(d->name, "cpu/generic");
    device_destroy(d);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    struct device *d = NULL;
    struct quern_error err = {QUERN_OK, ""};
    assert_int_equal(device_cpu_create(1, "pentium", &d, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "generic"));
    assert_int_not_equal(device_cpu_create(-1, NULL, &d, &err), QUERN_OK);
    assert_null(d);
    d = open_device(2, NULL);
    assert_int_equal(d->ops->reserve(d, SIZE_MAX / 8, 4, 128, &err), QUERN_ERR_LIMIT);
    assert_int_equal(d->ops->reserve(d, SIZE_MAX - 3, 1, 128, &err), QUERN_ERR_LIMIT);
    assert_int_equal(d->ops->reserve(d, 100, 0, 128, &err), QUERN_ERR_LIMIT);
    assert_int_equal(d->ops->reserve(d, (size_t)1 << 48, 2, 128, &err), QUERN_ERR_NOMEM);
    device_destroy(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_a_matrix_product),
        cmocka_unit_test(linear_of_nothing_does_nothing),
        cmocka_unit_test(embed_widens_rows_of_every_type),
        cmocka_unit_test(rms_norm_scales_each_row),
        cmocka_unit_test(norm_rope_norms_then_rotates_pairs_half_a_head_apart),
        cmocka_unit_test(softmax_rows_sum_to_one),
        cmocka_unit_test(silu_mul_gates),
        cmocka_unit_test(gather_copies_and_scatter_add_accumulates_in_order),
        cmocka_unit_test(add_and_zero_work_on_every_element),
        cmocka_unit_test(attention_is_causal_softmax_over_the_cache),
        cmocka_unit_test(kv_store_writes_the_new_positions_only),
        cmocka_unit_test(results_are_the_same_bits_for_any_threads_and_kernels),
        cmocka_unit_test(callers_on_several_threads_do_not_disturb_each_other),
        cmocka_unit_test(memory_is_zero_and_aligned_and_moves_both_ways),
        cmocka_unit_test(the_name_tells_the_kernels),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests_name("device/device_cpu", tests, NULL, NULL);
}
