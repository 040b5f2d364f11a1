#include "model/forward.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

/* ---- allocations counted ---------------------------------------------------- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

/* glibc lets a program put its own malloc in front; sanitizers do the same, so not with them. */
#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTS_ALLOCATIONS 1
static size_t n_allocations;
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
void *malloc(size_t size) {
    n_allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    n_allocations++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t size) {
    n_allocations++;
    return __libc_realloc(p, size);
}
#endif

/* ---- a model with sequences ---------------------------------------------------- */

enum { CONTEXT = 100, MAX_TOKENS = 160 };

struct bench {
    struct device *device;
    struct model *model;
    struct workspace *ws;
    struct rope rope;
    size_t vocab;
};

static struct bench open_bench_in(const char *dir, size_t vocab, int threads) {
    struct bench b = {.vocab = vocab};
    struct quern_error err = {0};
    if (device_cpu_create(threads, NULL, &b.device, &err) ||
        model_open(dir, NULL, b.device, NULL, NULL, &b.model, &err) ||
        workspace_create(b.model, MAX_TOKENS, CONTEXT, &b.ws, &err) ||
        rope_init(&b.rope, &b.model->config, CONTEXT, true, &err))
        fail_msg("%s", err.message);
    return b;
}

static struct bench open_bench(const struct tiny_shape *shape, const char *name, int threads) {
    return open_bench_in(tiny_model_write(shape, name, 7), shape->vocab, threads);
}

static void close_bench(struct bench *b) {
    workspace_destroy(b->ws);
    model_close(b->model);
    device_destroy(b->device);
}

static struct kv_cache open_cache(const struct bench *b) {
    struct kv_cache kv;
    assert_int_equal(kv_cache_init(&kv, b->model, KV_F32, CONTEXT, NULL), QUERN_OK);
    return kv;
}

/* Ids of sequence `s`: any, but fixed. */
static const int32_t *ids_of(size_t s) {
    static int32_t ids[4][CONTEXT];
    for (size_t i = 0; i < CONTEXT; i++)
        ids[s][i] = (int32_t)((i * 31 + s * 17 + i * i * (s + 3)) % 97);
    return ids[s];
}

static struct forward_seq part(const struct bench *b, struct kv_cache *kv, size_t s, size_t from,
                               size_t n) {
    return (struct forward_seq){
        .kv = kv, .rope = &b->rope, .ids = ids_of(s) + from, .n_ids = n, .all_logits = true};
}

static void run(const struct bench *b, const struct forward_seq *seqs, size_t n_seqs,
                float *logits) {
    struct quern_error err = {0};
    if (forward(b->model, b->ws, seqs, n_seqs, logits, &err))
        fail_msg("%s", err.message);
}

/* Logits of the first n tokens of sequence s, alone and in one pass; freed by the caller. */
static float *run_alone(const struct bench *b, size_t s, size_t n) {
    float *logits = calloc(n * b->vocab, sizeof *logits);
    assert_non_null(logits);
    struct kv_cache kv = open_cache(b);
    const struct forward_seq seq = part(b, &kv, s, 0, n);
    run(b, &seq, 1, logits);
    assert_int_equal(kv.n_tokens, n);
    kv_cache_release(&kv);
    return logits;
}

static const struct tiny_shape dense = TINY_QWEN3;
static struct tiny_shape moe_shape(void) {
    struct tiny_shape s = TINY_QWEN3;
    s.architecture = "Qwen3MoeForCausalLM";
    s.model_type = "qwen3_moe";
    s.experts = 8;
    s.experts_per_token = 3;
    s.moe_inter = 32;
    return s;
}
static struct tiny_shape windowed_shape(void) {
    struct tiny_shape s = TINY_QWEN3;
    s.window = 9;
    return s;
}

/* Logits of a checkpoint of one type whose data begins `padding` bytes late; freed by the caller. */
static float *run_shifted(enum dtype dtype, size_t padding, size_t n) {
    static struct tiny_checkpoint checkpoint;
    tiny_checkpoint_fill(&checkpoint, &dense);
    for (size_t i = 0; i < checkpoint.n; i++)
        checkpoint.tensors[i].dtype = dtype;
    checkpoint.header_padding = padding;
    struct bench b =
        open_bench_in(tiny_checkpoint_write(&checkpoint, &dense, "shifted", 7), dense.vocab, 1);
    float *logits = run_alone(&b, 0, n);
    close_bench(&b);
    return logits;
}

static void where_the_file_puts_the_weights_does_not_matter(void **state) {
    (void)state;
    const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (size_t i = 0; i < 3; i++) {
        float *even = run_shifted(dtypes[i], 0, 20), *odd = run_shifted(dtypes[i], 1, 20);
        assert_memory_equal(odd, even, 20 * dense.vocab * sizeof *even);
        free(even);
        free(odd);
    }
}

/* ---- the bits of a row depend only on its own sequence ---------------------------- */

/* Four sequences, at different positions, prefilling and decoding, in the same calls. */
static void check_batching(const struct tiny_shape *shape, const char *name, int threads) {
    struct bench b = open_bench(shape, name, threads);
    static const size_t steps[][4] = {
        /* tokens of each sequence in the calls one after the other */
        {33, 1, 7, 0}, {1, 40, 1, 64}, {1, 1, 50, 1}, {20, 3, 1, 1}, {1, 1, 1, 1},
    };
    enum { N_STEPS = sizeof steps / sizeof *steps };
    size_t total[4] = {0};
    for (size_t i = 0; i < N_STEPS; i++)
        for (size_t s = 0; s < 4; s++)
            total[s] += steps[i][s];
    float *alone[4];
    struct kv_cache kv[4];
    for (size_t s = 0; s < 4; s++) {
        alone[s] = run_alone(&b, s, total[s]);
        kv[s] = open_cache(&b);
    }
    float *logits = calloc(MAX_TOKENS * b.vocab, sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < N_STEPS; i++) {
        struct forward_seq seqs[4];
        size_t from[4], n = 0;
        for (size_t s = 0; s < 4; s++) {
            from[s] = kv[s].n_tokens;
            if (steps[i][s])
                seqs[n++] = part(&b, &kv[s], s, from[s], steps[i][s]);
        }
        run(&b, seqs, n, logits);
        const float *row = logits;
        for (size_t s = 0; s < 4; s++) {
            assert_memory_equal(row, alone[s] + from[s] * b.vocab,
                                steps[i][s] * b.vocab * sizeof(float));
            row += steps[i][s] * b.vocab;
        }
    }
    for (size_t s = 0; s < 4; s++) {
        kv_cache_release(&kv[s]);
        free(alone[s]);
    }
    free(logits);
    close_bench(&b);
}

static void a_dense_model_gives_the_same_bits_in_any_batch(void **state) {
    (void)state;
    check_batching(&dense, "dense", 1);
    check_batching(&dense, "dense", 2);
}

static void a_model_of_experts_gives_the_same_bits_in_any_batch(void **state) {
    (void)state;
    const struct tiny_shape s = moe_shape();
    check_batching(&s, "moe", 1);
    check_batching(&s, "moe", 2);
}

static void a_sliding_window_gives_the_same_bits_in_any_batch(void **state) {
    (void)state;
    const struct tiny_shape s = windowed_shape();
    check_batching(&s, "window", 2);
}

static void check_chunks(const struct tiny_shape *shape, const char *name) {
    struct bench b = open_bench(shape, name, 2);
    float *whole = run_alone(&b, 0, CONTEXT);
    float *cut = calloc(CONTEXT * b.vocab, sizeof *cut);
    assert_non_null(cut);
    static const size_t chunks[] = {1, 2, 7, 32, 64, 99};
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        struct kv_cache kv = open_cache(&b);
        for (size_t at = 0; at < CONTEXT;) {
            size_t n = CONTEXT - at < chunks[c] ? CONTEXT - at : chunks[c];
            const struct forward_seq seq = part(&b, &kv, 0, at, n);
            run(&b, &seq, 1, cut + at * b.vocab);
            at += n;
        }
        assert_memory_equal(cut, whole, CONTEXT * b.vocab * sizeof(float));
        kv_cache_release(&kv);
    }
    free(cut);
    free(whole);
    close_bench(&b);
}

static void chunks_of_any_size_give_the_same_bits(void **state) {
    (void)state;
    const struct tiny_shape moe = moe_shape(), windowed = windowed_shape();
    check_chunks(&dense, "dense");
    check_chunks(&moe, "moe");
    check_chunks(&windowed, "window");
}

static void every_instruction_set_gives_the_same_bits(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    float *best = run_alone(&b, 1, 64);
    close_bench(&b);
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n; i++) {
        b = (struct bench){.vocab = dense.vocab};
        const char *dir = tiny_model_write(&dense, "dense", 7);
        assert_int_equal(device_cpu_create(1, tables[i]->name, &b.device, NULL), QUERN_OK);
        assert_int_equal(model_open(dir, NULL, b.device, NULL, NULL, &b.model, NULL), QUERN_OK);
        assert_int_equal(workspace_create(b.model, MAX_TOKENS, CONTEXT, &b.ws, NULL), QUERN_OK);
        assert_int_equal(rope_init(&b.rope, &b.model->config, CONTEXT, true, NULL), QUERN_OK);
        float *other = run_alone(&b, 1, 64);
        assert_memory_equal(best, other, 64 * b.vocab * sizeof(float));
        free(other);
        close_bench(&b);
    }
    free(best);
}

/* Positions outside the window must not count: with the first tokens changed, those whose window
 * (over all layers) has left them behind keep their bits. */
static void a_window_forgets_what_it_has_left_behind(void **state) {
    (void)state;
    struct tiny_shape s = windowed_shape();
    s.layers = 2;
    s.extra_config = "\"layer_types\": [\"sliding_attention\", \"sliding_attention\"], ";
    struct bench b = open_bench(&s, "window2", 1);
    assert_int_equal(b.model->config.layer_window[0], 9);
    float *before = run_alone(&b, 2, 60);
    int32_t ids[60];
    memcpy(ids, ids_of(2), sizeof ids);
    ids[0] = (ids[0] + 1) % 97;
    float *after = calloc(60 * b.vocab, sizeof *after);
    assert_non_null(after);
    struct kv_cache kv = open_cache(&b);
    struct forward_seq seq = part(&b, &kv, 2, 0, 60);
    seq.ids = ids;
    run(&b, &seq, 1, after);
    const size_t reach = 2 * (9 - 1); /* two layers, each looking 8 tokens back */
    assert_memory_not_equal(before + reach * b.vocab, after + reach * b.vocab,
                            b.vocab * sizeof(float));
    assert_memory_equal(before + (reach + 1) * b.vocab, after + (reach + 1) * b.vocab,
                        (60 - reach - 1) * b.vocab * sizeof(float));
    kv_cache_release(&kv);
    free(before);
    free(after);
    close_bench(&b);
}

/* ---- what is computed and what is refused ------------------------------------------ */

static void only_the_rows_asked_for_are_written(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    float *first = run_alone(&b, 0, 5), *second = run_alone(&b, 1, 6);
    struct kv_cache kv[3] = {open_cache(&b), open_cache(&b), open_cache(&b)};
    struct forward_seq seqs[3] = {part(&b, &kv[0], 0, 0, 5), part(&b, &kv[1], 2, 0, 4),
                                  part(&b, &kv[2], 1, 0, 6)};
    seqs[0].all_logits = false;
    seqs[1].no_logits = true;
    seqs[2].all_logits = false;
    float logits[3][97];
    logits[2][0] = 12345;
    run(&b, seqs, 3, logits[0]);
    assert_memory_equal(logits[0], first + 4 * b.vocab, sizeof logits[0]);
    assert_memory_equal(logits[1], second + 5 * b.vocab, sizeof logits[1]);
    assert_true(logits[2][0] == 12345);
    assert_int_equal(kv[1].n_tokens, 4);
    for (int i = 0; i < 3; i++)
        kv_cache_release(&kv[i]);
    free(first);
    free(second);
    close_bench(&b);
}

static void a_full_context_is_an_error_and_appends_nothing(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    struct kv_cache kv[2] = {open_cache(&b), open_cache(&b)};
    struct quern_error err = {0};
    struct forward_seq seqs[2] = {part(&b, &kv[0], 0, 0, 90), part(&b, &kv[1], 1, 0, 3)};
    seqs[0].no_logits = seqs[1].no_logits = true;
    run(&b, seqs, 2, NULL);
    seqs[0] = part(&b, &kv[1], 1, 3, 2);
    seqs[1] = part(&b, &kv[0], 0, 0, 11);
    float *logits = calloc(13 * b.vocab, sizeof *logits);
    assert_int_equal(forward(b.model, b.ws, seqs, 2, logits, &err), QUERN_ERR_CONTEXT);
    assert_string_equal(err.message,
                        "the context is full: 90 of 100 tokens held, 11 more do not fit");
    assert_int_equal(kv[0].n_tokens, 90);
    assert_int_equal(kv[1].n_tokens, 3);
    free(logits);
    kv_cache_release(&kv[0]);
    kv_cache_release(&kv[1]);
    close_bench(&b);
}

static void a_pool_without_free_blocks_refuses_the_whole_batch(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    struct kv_pool *pool = NULL;
    struct kv_cache kv[2];
    struct quern_error err = {0};
    float logits[2 * 97];
    assert_int_equal(kv_pool_create(b.model, KV_F32, 2, &pool, NULL), QUERN_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kv_cache_init_in(&kv[i], pool, CONTEXT, NULL), QUERN_OK);
    struct forward_seq seqs[] = {part(&b, &kv[0], 0, 0, 33), part(&b, &kv[1], 1, 0, 1)};
    seqs[0].all_logits = seqs[1].all_logits = false;
    assert_int_equal(forward(b.model, b.ws, seqs, 2, logits, &err), QUERN_ERR_LIMIT);
    assert_string_equal(err.message, "1 more tokens need 1 blocks of KV memory, 0 of 2 are free");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kv[i].n_tokens, 0);
        assert_int_equal(kv[i].n_blocks, 0);
    }
    seqs[0].n_ids = 32;
    assert_int_equal(forward(b.model, b.ws, seqs, 2, logits, &err), QUERN_OK);
    assert_int_equal(pool->n_free, 0);
    for (int i = 0; i < 2; i++)
        kv_cache_release(&kv[i]);
    kv_pool_destroy(pool);
    close_bench(&b);
}

/* Shared blocks, a copied one, and blocks that held something else before. */
static void a_sequence_on_shared_blocks_gets_the_same_bits(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    enum { N = 90, SHARED = 41 };
    float *want = run_alone(&b, 0, N), *got = calloc(N * 97, sizeof *got);
    assert_non_null(got);
    struct kv_pool *pool = NULL;
    struct kv_cache a, c;
    assert_int_equal(kv_pool_create(b.model, KV_F32, 8, &pool, NULL), QUERN_OK);
    assert_int_equal(kv_cache_init_in(&a, pool, CONTEXT, NULL), QUERN_OK);
    assert_int_equal(kv_cache_init_in(&c, pool, CONTEXT, NULL), QUERN_OK);
    struct forward_seq other = part(&b, &c, 1, 0, N);
    run(&b, &other, 1, got);
    kv_cache_truncate(&c, 0);
    struct forward_seq first = part(&b, &a, 0, 0, N);
    run(&b, &first, 1, got);
    assert_memory_equal(got, want, N * 97 * sizeof *want);
    kv_cache_share(&c, &a, SHARED);
    struct forward_seq rest = part(&b, &c, 0, SHARED, N - SHARED);
    run(&b, &rest, 1, got);
    assert_memory_equal(got, want + SHARED * 97, (N - SHARED) * 97 * sizeof *want);
    kv_cache_release(&a);
    kv_cache_release(&c);
    assert_int_equal(pool->n_free, 8);
    kv_pool_destroy(pool);
    free(want);
    free(got);
    close_bench(&b);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    struct bench b = open_bench(&dense, "dense", 1);
    struct kv_cache kv = open_cache(&b);
    struct quern_error err = {0};
    float logits[97];
    struct forward_seq seq = part(&b, &kv, 0, 0, 3);
    seq.all_logits = false;
    seq.ids = (const int32_t[]){1, 2, 97};
    assert_int_equal(forward(b.model, b.ws, &seq, 1, logits, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "token id 97 at index 2 is outside 0..96");
    seq.ids = (const int32_t[]){1, -1, 0};
    assert_int_equal(forward(b.model, b.ws, &seq, 1, logits, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "token id -1 at index 1 is outside 0..96");
    seq.n_ids = 0;
    assert_int_equal(forward(b.model, b.ws, &seq, 1, logits, &err), QUERN_ERR_ARG);
    seq.n_ids = MAX_TOKENS + 1;
    assert_int_equal(forward(b.model, b.ws, &seq, 1, logits, &err), QUERN_ERR_ARG);
    assert_int_equal(kv.n_tokens, 0);
    assert_int_equal(forward(b.model, b.ws, NULL, 0, NULL, &err), QUERN_OK);
    kv_cache_release(&kv);
    close_bench(&b);
}

static void a_pass_allocates_nothing(void **state) {
    (void)state;
#ifdef COUNTS_ALLOCATIONS
    const struct tiny_shape shapes[] = {dense, moe_shape()};
    for (int i = 0; i < 2; i++) {
        struct bench b = open_bench(&shapes[i], i ? "moe" : "dense", 2);
        struct kv_cache kv = open_cache(&b);
        float *logits = calloc(CONTEXT * b.vocab, sizeof *logits);
        const struct forward_seq prompt = part(&b, &kv, 0, 0, 40);
        const size_t before = n_allocations;
        assert_true(before > 0);
        run(&b, &prompt, 1, logits);
        while (kv.n_tokens < CONTEXT) {
            const struct forward_seq next = part(&b, &kv, 0, kv.n_tokens, 1);
            run(&b, &next, 1, logits);
        }
        assert_int_equal(n_allocations, before);
        free(logits);
        kv_cache_release(&kv);
        close_bench(&b);
    }
#else
    print_message("skipped: allocations cannot be counted in this build\n");
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_the_file_puts_the_weights_does_not_matter),
        cmocka_unit_test(a_dense_model_gives_the_same_bits_in_any_batch),
        cmocka_unit_test(a_model_of_experts_gives_the_same_bits_in_any_batch),
        cmocka_unit_test(a_sliding_window_gives_the_same_bits_in_any_batch),
        cmocka_unit_test(chunks_of_any_size_give_the_same_bits),
        cmocka_unit_test(every_instruction_set_gives_the_same_bits),
        cmocka_unit_test(a_window_forgets_what_it_has_left_behind),
        cmocka_unit_test(only_the_rows_asked_for_are_written),
        cmocka_unit_test(a_full_context_is_an_error_and_appends_nothing),
        cmocka_unit_test(a_pool_without_free_blocks_refuses_the_whole_batch),
        cmocka_unit_test(a_sequence_on_shared_blocks_gets_the_same_bits),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(a_pass_allocates_nothing),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
