#include "formats/random_checkpoint.h"

#include "base/os.h"
#include "formats/safetensors.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct hf_config fixture(const char *name) {
    char file[128];
    struct hf_config c;
    struct quern_error err = {0};
    size_t len;
    snprintf(file, sizeof file, "fixtures/configs/%s.json", name);
    char *text = support_read_file(support_fixture(file), &len);
    if (hf_config_parse(text, len, name, &c, &err))
        fail_msg("%s", err.message);
    free(text);
    return c;
}

static const char *new_dir(void) {
    static int count;
    char name[32];
    snprintf(name, sizeof name, "r%d", count++);
    const char *path = support_temp_path(name);
    assert_int_equal(os_make_dir(path, NULL), QUERN_OK);
    return path;
}

static struct safetensors *make(const struct hf_config *c,
                                const struct random_checkpoint_options *options) {
    const char *dir = new_dir();
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    if (random_checkpoint_write(c, dir, options, &err) || safetensors_open(dir, &st, &err))
        fail_msg("%s", err.message);
    return st;
}

static void expect_same(const struct safetensors *a, const struct safetensors *b) {
    assert_int_equal(safetensors_count(a), safetensors_count(b));
    for (size_t i = 0; i < safetensors_count(a); i++) {
        const struct tensor *x = safetensors_at(a, i), *y = safetensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->size_bytes, y->size_bytes);
        assert_memory_equal(x->data, y->data, x->size_bytes);
    }
}

static void every_tensor_of_the_layout_is_written(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3_new_keys", "qwen3_moe", "qwen2", "llama3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct hf_config c = fixture(names[i]);
        struct random_checkpoint_options options = {.seed = 1, .dtype = DTYPE_BF16};
        struct safetensors *st = make(&c, &options);
        struct tensor_layout walk;
        struct tensor_spec spec;
        size_t n = 0;
        for (tensor_layout_begin(&walk, &c); tensor_layout_next(&walk, &spec); n++) {
            const struct tensor *t = safetensors_at(st, n);
            assert_string_equal(t->name, spec.name);
            assert_int_equal(t->rank, spec.rank);
            for (int k = 0; k < t->rank; k++)
                assert_int_equal(t->shape[k], spec.shape[k]);
        }
        assert_int_equal(safetensors_count(st), n);
        assert_int_equal(safetensors_total_bytes(st), 2 * hf_config_param_count(&c, NULL));
        safetensors_close(st);
    }
}

static void the_bytes_do_not_depend_on_threads_or_shards(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3_moe");
    c.vocab_size = 70000; /* an embedding of several pieces */
    struct random_checkpoint_options options = {
        .seed = 7, .dtype = DTYPE_F32, .randomize_norms = true};
    struct safetensors *one = make(&c, &options);
    assert_int_equal(thread_pool_create(3, &options.pool, NULL), QUERN_OK);
    options.max_shard_bytes = 100000;
    struct safetensors *other = make(&c, &options);
    thread_pool_destroy(options.pool);
    assert_true(safetensors_file_count(other) > 2);
    expect_same(one, other);
    safetensors_close(one);
    safetensors_close(other);
}

static void seeds_and_tensors_have_different_numbers(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    struct tensor_spec q = {.name = "model.layers.0.self_attn.q_proj.weight",
                            .role = TENSOR_MATRIX};
    struct tensor_spec k = {.name = "model.layers.0.self_attn.k_proj.weight",
                            .role = TENSOR_MATRIX};
    struct random_checkpoint_options one = {.seed = 1}, two = {.seed = 2};
    float a[64], b[64], d[64], tail[32];
    random_checkpoint_values(&c, &q, &one, 0, 64, a);
    random_checkpoint_values(&c, &q, &two, 0, 64, b);
    random_checkpoint_values(&c, &k, &one, 0, 64, d);
    random_checkpoint_values(&c, &q, &one, 32, 32, tail);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, d, sizeof a);
    assert_memory_equal(a + 32, tail, sizeof tail);
}

/* Fixed for all time: checkpoints are named by their seeds. */
static void the_numbers_never_change(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    struct tensor_spec spec = {.name = "model.embed_tokens.weight", .role = TENSOR_EMBEDDING};
    struct random_checkpoint_options options = {.seed = 42};
    static const uint32_t want[4] = {0x3c9837a9, 0xbd1ca89d, 0x3c7009aa, 0x3c8305f1};
    float got[4];
    uint32_t bits[4];
    random_checkpoint_values(&c, &spec, &options, 1000000, 4, got);
    memcpy(bits, got, sizeof bits);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bits[i], want[i]);
}

static void matrices_are_normal_with_the_configured_deviation(void **state) {
    (void)state;
    enum { N = 100000 };
    struct hf_config c = fixture("qwen2");
    struct tensor_spec spec = {.name = "lm_head.weight", .role = TENSOR_HEAD};
    struct random_checkpoint_options options = {.seed = 3};
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    c.initializer_range = 0.5;
    random_checkpoint_values(&c, &spec, &options, 0, N, x);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < N; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    free(x);
    /* Five standard errors: of the mean 0.5/sqrt(N), of the variance 0.25*sqrt(2/N). */
    assert_true(fabs(sum / N) < 5 * 0.5 / sqrt(N));
    assert_true(fabs(squares / N - 0.25) < 5 * 0.25 * sqrt(2.0 / N));
}

static void norms_are_one_and_biases_zero_unless_asked(void **state) {
    (void)state;
    struct hf_config c = fixture("llama3");
    struct random_checkpoint_options options = {.seed = 1, .dtype = DTYPE_F16};
    for (int random = 0; random < 2; random++) {
        options.randomize_norms = random;
        struct safetensors *st = make(&c, &options);
        const char *const names[] = {"model.norm.weight", "model.layers.1.mlp.up_proj.bias"};
        for (int i = 0; i < 2; i++) {
            const struct tensor *t = safetensors_find(st, names[i]);
            float x[96];
            bool plain = true;
            dtype_to_f32(t->dtype, t->data, x, t->shape[0]);
            for (size_t k = 0; k < t->shape[0]; k++) {
                plain = plain && x[k] == (i ? 0.0f : 1.0f);
                assert_true(fabsf(x[k] - (i ? 0.0f : 1.0f)) < 0.6f);
            }
            assert_int_equal(plain, !random);
        }
        safetensors_close(st);
    }
}

static void on_progress(void *user, double fraction) {
    double *last = user;
    assert_true(fraction > *last && fraction <= 1);
    *last = fraction;
}

static void progress_rises_to_one(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    double last = 0;
    struct random_checkpoint_options options = {
        .dtype = DTYPE_BF16, .on_progress = on_progress, .user = &last};
    safetensors_close(make(&c, &options));
    assert_true(last == 1);
}

static bool cancel_the_third_piece(void *user) {
    int *calls = user;
    return ++*calls == 3;
}

static void nothing_remains_when_cancelled(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    struct quern_error err = {0};
    int calls = 0;
    bool empty = false;
    const char *dir = new_dir();
    struct random_checkpoint_options options = {
        .dtype = DTYPE_BF16, .is_cancelled = cancel_the_third_piece, .user = &calls};
    assert_int_equal(random_checkpoint_write(&c, dir, &options, &err), QUERN_ERR_CANCELLED);
    assert_int_equal(calls, 3);
    assert_int_equal(os_dir_is_empty(dir, &empty, NULL), QUERN_OK);
    assert_true(empty);
}

static void a_type_that_is_no_weight_is_refused(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    struct random_checkpoint_options options = {.dtype = DTYPE_I8};
    assert_int_equal(random_checkpoint_write(&c, new_dir(), &options, NULL), QUERN_ERR_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_of_the_layout_is_written),
        cmocka_unit_test(the_bytes_do_not_depend_on_threads_or_shards),
        cmocka_unit_test(seeds_and_tensors_have_different_numbers),
        cmocka_unit_test(the_numbers_never_change),
        cmocka_unit_test(matrices_are_normal_with_the_configured_deviation),
        cmocka_unit_test(norms_are_one_and_biases_zero_unless_asked),
        cmocka_unit_test(progress_rises_to_one),
        cmocka_unit_test(nothing_remains_when_cancelled),
        cmocka_unit_test(a_type_that_is_no_weight_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
