#include "model/rope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "text/json.h"

static struct hf_config qwen3_config(enum rope_type type) {
    return (struct hf_config){
        .head_dim = 128,
        .max_position_embeddings = 40960,
        .rope = {.type = type,
                 .theta = 1e6,
                 .factor = 4,
                 .original_max_positions = 32768,
                 .beta_fast = 32,
                 .beta_slow = 1,
                 .truncate = true},
    };
}

static struct rope make(const struct hf_config *c, size_t n_context, bool scaled) {
    struct rope r;
    struct quern_error err = {0};
    assert_int_equal(rope_init(&r, c, n_context, scaled, &err), QUERN_OK);
    return r;
}

static json_t *load(const char *path) {
    json_t *value = NULL;
    struct quern_error err = {0};
    assert_int_equal(json_load_path(path, 1 << 20, &value, &err), QUERN_OK);
    return value;
}

/* Both sides round to float32 at most four times on the way (the power, its reciprocal, the
 * scaled one, the blend), each within 6e-8; torch's vector power is within an ulp. */
static void assert_frequencies(const struct rope *r, const json_t *array) {
    assert_int_equal(json_array_size(array), r->half);
    for (size_t i = 0; i < r->half; i++) {
        double expected = json_number_value(json_array_get(array, i));
        assert_true(fabs((double)r->inv_freq[i] - expected) <= 5e-7 * expected);
    }
}

static void the_shared_frequencies_are_met(void **state) {
    (void)state;
    const char *path;
    SHARED_OR_SKIP(path, "qwen3/golden/rope_yarn_inv_freq.json");
    json_t *golden = load(path);
    struct hf_config c = qwen3_config(ROPE_DEFAULT);
    struct rope r = make(&c, 4096, true);
    assert_frequencies(&r, json_object_get(golden, "default_theta_1e6_dim128"));
    c.rope.theta = 5e6;
    r = make(&c, 4096, true);
    assert_frequencies(&r, json_object_get(golden, "default_theta_5e6_dim128"));
    for (int factor = 2; factor <= 4; factor += 2) {
        char key[64];
        snprintf(key, sizeof key, "yarn_factor%d.0_orig32768_theta1e6", factor);
        const json_t *yarn = json_object_get(golden, key);
        c = qwen3_config(ROPE_YARN);
        c.rope.factor = factor;
        r = make(&c, 65536, true);
        assert_frequencies(&r, json_object_get(yarn, "inv_freq"));
        double scaling = json_number_value(json_object_get(yarn, "attention_factor"));
        assert_true(r.attention_scaling == (float)scaling);
    }
    json_decref(golden);
}

static double number(const json_t *object, const char *key, double missing) {
    const json_t *value = json_object_get(object, key);
    return value ? json_number_value(value) : missing;
}

static enum rope_type type_of(const json_t *parameters) {
    static const char *const names[] = {"default", "linear", "yarn", "llama3", "dynamic"};
    const char *name = json_string_value(json_object_get(parameters, "rope_type"));
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum rope_type)i;
    fail();
    return ROPE_DEFAULT;
}

static struct hf_config config_of(const json_t *test_case) {
    const json_t *p = json_object_get(test_case, "parameters");
    const json_t *truncate = json_object_get(p, "truncate");
    return (struct hf_config){
        .head_dim = (int32_t)number(test_case, "head_dim", 0),
        .max_position_embeddings = (int32_t)number(test_case, "max_position_embeddings", 0),
        .rope = {.type = type_of(p),
                 .theta = number(test_case, "rope_theta", 0),
                 .factor = number(p, "factor", 1),
                 .original_max_positions =
                     (int32_t)number(p, "original_max_position_embeddings", 0),
                 .attention_factor = number(p, "attention_factor", 0),
                 .beta_fast = number(p, "beta_fast", 32),
                 .beta_slow = number(p, "beta_slow", 1),
                 .mscale = number(p, "mscale", 0),
                 .mscale_all_dim = number(p, "mscale_all_dim", 0),
                 .truncate = !truncate || json_is_true(truncate),
                 .low_freq_factor = number(p, "low_freq_factor", 0),
                 .high_freq_factor = number(p, "high_freq_factor", 0)},
    };
}

static void every_rope_type_equals_transformers(void **state) {
    (void)state;
    json_t *golden = load(support_fixture("golden/model/rope.json"));
    size_t i;
    json_t *test_case;
    json_array_foreach(golden, i, test_case) {
        struct hf_config c = config_of(test_case);
        struct rope r = make(&c, (size_t)number(test_case, "n_context", 0), true);
        assert_frequencies(&r, json_object_get(test_case, "inv_freq"));
        assert_true(r.attention_scaling == (float)number(test_case, "attention_scaling", 0));
    }
    assert_true(i >= 14);
    json_decref(golden);
}

static void yarn_not_applied_is_the_default(void **state) {
    (void)state;
    struct hf_config yarn = qwen3_config(ROPE_YARN), plain = qwen3_config(ROPE_DEFAULT);
    struct rope a = make(&yarn, 4096, false), b = make(&plain, 4096, true);
    assert_memory_equal(a.inv_freq, b.inv_freq, sizeof a.inv_freq);
    assert_true(a.attention_scaling == 1.0f);
}

static void contexts_count_what_scaling_adds(void **state) {
    (void)state;
    struct hf_config c = qwen3_config(ROPE_DEFAULT);
    assert_int_equal(rope_original_context(&c), 40960);
    assert_int_equal(rope_max_context(&c), 40960);
    c = qwen3_config(ROPE_YARN);
    assert_int_equal(rope_original_context(&c), 32768);
    assert_int_equal(rope_max_context(&c), 131072);
    c.max_position_embeddings = 262144;
    assert_int_equal(rope_max_context(&c), 262144);
    c.rope.factor = 1e6;
    assert_int_equal(rope_max_context(&c), INT32_MAX);
    /* These two stretch max_position_embeddings itself. */
    c = qwen3_config(ROPE_DYNAMIC);
    c.rope.factor = 2;
    assert_int_equal(rope_max_context(&c), 81920);
    c.rope.type = ROPE_LINEAR;
    assert_int_equal(rope_max_context(&c), 81920);
    assert_int_equal(rope_original_context(&c), 40960);
    /* Llama 3.2: the factor times the original 8192 is twice what the model was trained for. */
    c = qwen3_config(ROPE_LLAMA3);
    c.max_position_embeddings = 131072;
    c.rope.original_max_positions = 8192;
    c.rope.factor = 32;
    assert_int_equal(rope_max_context(&c), 131072);
}

/* cos and sin are the double's rounded to float32: with errors far below half an ulp, more than
 * the last bit never differs from libm's. */
static void angles_are_cosines_and_sines_up_to_a_million_positions(void **state) {
    (void)state;
    struct hf_config c = qwen3_config(ROPE_DEFAULT);
    struct rope r = make(&c, 4096, true);
    float cosine[64], sine[64];
    for (size_t position = 0; position < 1100000; position = position * 3 / 2 + 1) {
        rope_angles(&r, position, cosine, sine);
        for (size_t i = 0; i < 64; i++) {
            double angle = (double)((float)position * r.inv_freq[i]);
            assert_true(fabs((double)cosine[i] - cos(angle)) <= 6e-8);
            assert_true(fabs((double)sine[i] - sin(angle)) <= 6e-8);
        }
    }
}

static void attention_scaling_multiplies_both(void **state) {
    (void)state;
    struct hf_config c = qwen3_config(ROPE_YARN);
    struct rope r = make(&c, 65536, true);
    float cosine[64], sine[64];
    rope_angles(&r, 0, cosine, sine);
    assert_true(cosine[0] == r.attention_scaling && sine[0] == 0);
    assert_true(r.attention_scaling > 1.138f && r.attention_scaling < 1.139f);
}

static void impossible_parameters_are_refused(void **state) {
    (void)state;
    struct rope r;
    struct quern_error err = {0};
    struct hf_config c = qwen3_config(ROPE_DEFAULT);
    c.head_dim = 514;
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "head_dim is 514"));
    c.head_dim = 7;
    assert_int_equal(rope_init(&r, &c, 1, true, NULL), QUERN_ERR_UNSUPPORTED);
    c = qwen3_config(ROPE_DEFAULT);
    c.rope.theta = 1;
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "rope_theta is 1"));
    c = qwen3_config(ROPE_YARN);
    c.rope.factor = 0;
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_FORMAT);
    c = qwen3_config(ROPE_YARN);
    c.rope.beta_slow = 0;
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_FORMAT);
    c = qwen3_config(ROPE_LLAMA3);
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_FORMAT);
    c = qwen3_config(ROPE_DYNAMIC);
    c.head_dim = 2;
    assert_int_equal(rope_init(&r, &c, 1, true, &err), QUERN_ERR_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shared_frequencies_are_met),
        cmocka_unit_test(every_rope_type_equals_transformers),
        cmocka_unit_test(yarn_not_applied_is_the_default),
        cmocka_unit_test(contexts_count_what_scaling_adds),
        cmocka_unit_test(angles_are_cosines_and_sines_up_to_a_million_positions),
        cmocka_unit_test(attention_scaling_multiplies_both),
        cmocka_unit_test(impossible_parameters_are_refused),
    };
    return cmocka_run_group_tests_name("rope", tests, NULL, NULL);
}
