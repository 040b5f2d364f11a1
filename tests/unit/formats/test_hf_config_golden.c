/* Configurations in many spellings against what transformers builds from them
 * (tests/golden/make_formats.py). */
#include "formats/hf_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"
#include "text/json.h"

/* The first thing that differs in the case being checked. */
static const char *wrong;

static void same(bool ok, const char *what) {
    if (!ok && !wrong)
        wrong = what;
}

static json_int_t want_int(const json_t *want, const char *key) {
    const json_t *value = json_object_get(want, key);
    assert_non_null(value);
    return json_is_boolean(value) ? json_is_true(value) : json_integer_value(value);
}

/* The number, or `absent` without one. */
static double want_real(const json_t *want, const char *key, double absent) {
    const json_t *value = json_object_get(want, key);
    return value ? json_number_value(value) : absent;
}

static bool is(double got, double want) {
    return got >= want && got <= want;
}

static void check_rope(const struct rope_config *r, const json_t *want) {
    const char *type = json_string_value(json_object_get(want, "rope_type"));
    same(strcmp(rope_type_name(r->type), type) == 0, "rope_type");
    same(is(r->theta, want_real(want, "rope_theta", -1)), "rope_theta");
    if (r->type != ROPE_DEFAULT)
        same(is(r->factor, want_real(want, "factor", -1)), "factor");
    if (r->type == ROPE_YARN || r->type == ROPE_LLAMA3)
        same(is(r->original_max_positions, want_real(want, "original_max_position_embeddings", -1)),
             "original_max_position_embeddings");
    if (r->type == ROPE_YARN) {
        same(is(r->attention_factor, want_real(want, "attention_factor", 0)), "attention_factor");
        same(is(r->beta_fast, want_real(want, "beta_fast", 32)), "beta_fast");
        same(is(r->beta_slow, want_real(want, "beta_slow", 1)), "beta_slow");
        same(is(r->mscale, want_real(want, "mscale", 0)), "mscale");
        same(is(r->mscale_all_dim, want_real(want, "mscale_all_dim", 0)), "mscale_all_dim");
        same(r->truncate != json_is_false(json_object_get(want, "truncate")), "truncate");
    }
    if (r->type == ROPE_LLAMA3) {
        same(is(r->low_freq_factor, want_real(want, "low_freq_factor", -1)), "low_freq_factor");
        same(is(r->high_freq_factor, want_real(want, "high_freq_factor", -1)), "high_freq_factor");
    }
}

static void check_layers(const struct hf_config *c, const json_t *want) {
    const json_t *windows = json_object_get(want, "windows"), *moe = json_object_get(want, "moe");
    same(json_array_size(windows) == (size_t)c->n_layers, "num_hidden_layers");
    for (size_t i = 0; i < json_array_size(windows); i++) {
        same(c->layer_window[i] == json_integer_value(json_array_get(windows, i)), "windows");
        same(c->layer_is_moe[i] == json_is_true(json_array_get(moe, i)), "kinds of layers");
    }
}

static void check_ids(const struct hf_config *c, const json_t *want) {
    const json_t *eos = json_object_get(want, "eos");
    same(c->bos_token_id == want_int(want, "bos"), "bos_token_id");
    same((size_t)c->n_eos == json_array_size(eos), "number of eos_token_id");
    for (size_t i = 0; i < json_array_size(eos); i++)
        same(c->eos_token_ids[i] == json_integer_value(json_array_get(eos, i)), "eos_token_id");
}

static void check(const struct hf_config *c, const json_t *want) {
    const char *dtype = c->dtype == DTYPE_F32   ? "float32"
                        : c->dtype == DTYPE_F16 ? "float16"
                                                : "bfloat16";
    same(c->head_dim == want_int(want, "head_dim"), "head_dim");
    same(c->n_kv_heads == want_int(want, "kv_heads"), "num_key_value_heads");
    same(c->qkv_bias == want_int(want, "qkv_bias"), "q/k/v biases");
    same(c->o_bias == want_int(want, "o_bias"), "o bias");
    same(c->mlp_bias == want_int(want, "mlp_bias"), "mlp_bias");
    same(c->qk_norm == want_int(want, "qk_norm"), "q/k norms");
    same(c->tie_word_embeddings == want_int(want, "tied"), "tie_word_embeddings");
    same(hf_config_param_count(c, NULL) == want_int(want, "parameters"), "parameters");
    same(is((double)c->rms_norm_eps, (double)(float)want_real(want, "eps", -1)), "rms_norm_eps");
    same(strcmp(json_string_value(json_object_get(want, "dtype")), dtype) == 0, "dtype");
    check_ids(c, want);
    check_layers(c, want);
    check_rope(&c->rope, json_object_get(want, "rope"));
}

static void configurations_mean_what_they_mean_to_transformers(void **state) {
    (void)state;
    json_t *cases = NULL;
    struct quern_error err = {0};
    if (json_load_path(support_fixture("golden/formats/configs.json"), 1 << 24, &cases, &err))
        fail_msg("%s", err.message);
    assert_true(json_array_size(cases) > 100);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        struct hf_config c;
        char *text = json_dumps(json_object_get(one, "config"), 0);
        assert_non_null(text);
        if (hf_config_parse(text, strlen(text), "config", &c, &err))
            fail_msg("%s: %s", text, err.message);
        check(&c, json_object_get(one, "expected"));
        if (wrong)
            fail_msg("%s: %s differs", text, wrong);
        free(text);
    }
    json_decref(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_mean_what_they_mean_to_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
