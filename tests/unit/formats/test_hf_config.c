#include "formats/hf_config.h"

#include "formats/tensor_layout.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

static struct hf_config load_file(const char *path) {
    struct hf_config c;
    struct quern_error err = {0};
    size_t len;
    char *text = support_read_file(path, &len);
    if (hf_config_parse(text, len, "config.json", &c, &err))
        fail_msg("%s: %s", path, err.message);
    free(text);
    return c;
}

static struct hf_config fixture(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "fixtures/configs/%s.json", name);
    return load_file(support_fixture(path));
}

/* Parses {"architectures": ["Qwen3ForCausalLM"], MEMBERS}. */
static enum quern_status parse_with(const char *members, struct hf_config *c,
                                    struct quern_error *err) {
    char text[1024];
    int n = snprintf(text, sizeof text, "{\"architectures\": [\"Qwen3ForCausalLM\"], %s}", members);
    return hf_config_parse(text, (size_t)n, "config.json", c, err);
}

static void expect_error(const char *text, enum quern_status code, const char *fragment) {
    struct hf_config c = {.vocab_size = 77};
    struct quern_error err = {0};
    assert_int_equal(hf_config_parse(text, strlen(text), "config.json", &c, &err), code);
    assert_int_equal(err.code, code);
    assert_ptr_equal(strstr(err.message, "config.json: "), err.message);
    if (!strstr(err.message, fragment))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, fragment);
    assert_int_equal(c.vocab_size, 77); /* untouched */
}

static void expect_member_error(const char *members, enum quern_status code, const char *fragment) {
    char text[1024];
    snprintf(text, sizeof text, "{\"architectures\": [\"Qwen3ForCausalLM\"], %s}", members);
    expect_error(text, code, fragment);
}

static void qwen3_is_read_in_its_published_form(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3");
    assert_int_equal(c.arch, ARCH_QWEN3);
    assert_string_equal(c.architecture_name, "Qwen3ForCausalLM");
    assert_int_equal(c.vocab_size, 151936);
    assert_int_equal(c.hidden_size, 1024);
    assert_int_equal(c.intermediate_size, 3072);
    assert_int_equal(c.n_layers, 28);
    assert_int_equal(c.n_heads, 16);
    assert_int_equal(c.n_kv_heads, 8);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.max_position_embeddings, 40960);
    assert_true(c.rms_norm_eps == 1e-6f);
    assert_int_equal(c.rope.type, ROPE_DEFAULT);
    assert_true(c.rope.theta == 1e6);
    assert_true(c.tie_word_embeddings);
    assert_true(c.qk_norm);
    assert_false(c.qkv_bias || c.o_bias || c.mlp_bias);
    assert_int_equal(c.dtype, DTYPE_BF16);
    assert_int_equal(c.bos_token_id, 151643);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos_token_ids[0], 151645);
    assert_int_equal(c.n_experts, 0);
    for (int i = 0; i < c.n_layers; i++)
        assert_true(c.layer_window[i] == 0 && !c.layer_is_moe[i]);
    assert_false(c.has_quantization);
    assert_int_equal(hf_config_kv_bytes_per_token(&c, 2), 114688);
    int64_t active;
    assert_int_equal(hf_config_param_count(&c, &active), 596049920);
    assert_int_equal(active, 596049920);
    assert_int_equal(tensor_layout_count(&c), 310);
}

static void the_new_spellings_are_read(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3_new_keys");
    assert_int_equal(c.dtype, DTYPE_F32);
    assert_int_equal(c.bos_token_id, -1);
    assert_int_equal(c.n_eos, 2);
    assert_int_equal(c.eos_token_ids[1], 7);
    assert_int_equal(c.rope.type, ROPE_YARN);
    assert_true(c.rope.theta == 1e6 && c.rope.factor == 4.0);
    assert_int_equal(c.rope.original_max_positions, 32768);
    assert_true(c.rope.attention_factor == 0 && c.rope.truncate);
    assert_true(c.rope.beta_fast == 32 && c.rope.beta_slow == 1);
    /* layer_types wins over max_window_layers */
    assert_int_equal(c.layer_window[0], 0);
    assert_int_equal(c.layer_window[1], 8);
    assert_int_equal(c.layer_window[2], 0);
}

static void moe_layers_follow_step_and_list(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3_moe");
    assert_int_equal(c.arch, ARCH_QWEN3_MOE);
    assert_int_equal(c.n_experts, 8);
    assert_int_equal(c.n_experts_per_token, 2);
    assert_true(c.norm_topk_prob);
    static const bool moe[6] = {false, true, false, false, false, true};
    for (int i = 0; i < 6; i++)
        assert_int_equal(c.layer_is_moe[i], moe[i]);
    int64_t active, total = hf_config_param_count(&c, &active);
    assert_int_equal(total - active, 2 * 6 * 3 * 64 * 32);
}

static void qwen2_has_its_biases_and_windows(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen2");
    assert_true(c.qkv_bias);
    assert_false(c.o_bias || c.mlp_bias || c.qk_norm);
    assert_int_equal(c.head_dim, 16);
    assert_int_equal(c.layer_window[1], 0);
    assert_int_equal(c.layer_window[2], 4096);
    assert_int_equal(c.rope.type, ROPE_YARN);
    assert_int_equal(c.rope.original_max_positions, 8192);
}

static void llama3_is_read(void **state) {
    (void)state;
    struct hf_config c = fixture("llama3");
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias);
    assert_false(c.qk_norm);
    assert_int_equal(c.n_eos, 3);
    assert_int_equal(c.rope.type, ROPE_LLAMA3);
    assert_true(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    assert_true(c.rope.factor == 8 && c.rope.theta == 5e5);
    assert_int_equal(c.rope.original_max_positions, 8192);
    assert_true(c.rms_norm_eps == 1e-5f);
}

/* The closed formula and the list of tensors are two ways to the same number. */
static void the_parameter_count_is_the_sum_of_the_tensors(void **state) {
    (void)state;
    static const char *const names[] = {"qwen3", "qwen3_new_keys", "qwen3_moe", "qwen2", "llama3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct hf_config c = fixture(names[i]);
        struct tensor_layout walk;
        struct tensor_spec spec;
        int64_t sum = 0;
        for (tensor_layout_begin(&walk, &c); tensor_layout_next(&walk, &spec);)
            sum += (int64_t)(spec.shape[0] * (spec.rank == 2 ? spec.shape[1] : 1));
        assert_int_equal(sum, hf_config_param_count(&c, NULL));
    }
}

static void tensors_come_in_the_order_of_the_modules(void **state) {
    (void)state;
    static const char *const want[] = {
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.k_proj.bias",
        "model.layers.0.self_attn.v_proj.weight",
        "model.layers.0.self_attn.v_proj.bias",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.self_attn.o_proj.bias",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.gate_proj.bias",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.up_proj.bias",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.mlp.down_proj.bias",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.1.self_attn.q_proj.weight",
    };
    struct hf_config c = fixture("llama3");
    struct tensor_layout walk;
    struct tensor_spec spec;
    tensor_layout_begin(&walk, &c);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_true(tensor_layout_next(&walk, &spec));
        assert_string_equal(spec.name, want[i]);
    }
    while (tensor_layout_next(&walk, &spec))
        continue;
    assert_string_equal(spec.name, "lm_head.weight");
    assert_int_equal(spec.role, TENSOR_HEAD);
    assert_false(tensor_layout_next(&walk, &spec));
}

static void absent_keys_get_transformers_defaults(void **state) {
    (void)state;
    struct hf_config c;
    struct quern_error err;
    assert_int_equal(hf_config_parse("{\"model_type\": \"qwen3\"}", 23, "c", &c, &err), QUERN_OK);
    assert_string_equal(c.architecture_name, "Qwen3ForCausalLM");
    assert_int_equal(c.hidden_size, 4096);
    assert_int_equal(c.intermediate_size, 22016);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.max_position_embeddings, 32768);
    assert_true(c.rope.theta == 1e4 && c.initializer_range == 0.02);
    assert_false(c.tie_word_embeddings);
    assert_int_equal(c.dtype, DTYPE_F32);
    assert_int_equal(hf_config_parse("{\"model_type\": \"qwen3_moe\"}", 27, "c", &c, &err),
                     QUERN_OK);
    assert_int_equal(c.head_dim, 64); /* 2048 / 32: the MoE class has no default for it */
    assert_int_equal(c.n_experts, 128);
    assert_int_equal(c.n_experts_per_token, 8);
    assert_false(c.norm_topk_prob);
    assert_int_equal(hf_config_parse("{\"model_type\": \"llama\"}", 23, "c", &c, &err), QUERN_OK);
    assert_int_equal(c.n_kv_heads, 32);
    assert_int_equal(c.eos_token_ids[0], 2);
    assert_int_equal(c.bos_token_id, 1);
}

static void null_stands_for_the_default(void **state) {
    (void)state;
    struct hf_config c;
    assert_int_equal(
        parse_with("\"sliding_window\": null, \"rope_scaling\": null, \"head_dim\": null,"
                   "\"num_key_value_heads\": null, \"num_attention_heads\": 8,"
                   "\"eos_token_id\": null, \"layer_types\": null,"
                   "\"quantization_config\": null, \"torch_dtype\": null,"
                   "\"use_sliding_window\": true",
                   &c, NULL),
        QUERN_OK);
    assert_int_equal(c.n_kv_heads, 8);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.layer_window[31], 0);
    assert_int_equal(c.n_eos, 0);
}

static void a_window_counts_only_when_it_is_used(void **state) {
    (void)state;
    struct hf_config c;
    assert_int_equal(parse_with("\"sliding_window\": 64, \"max_window_layers\": 2", &c, NULL), 0);
    assert_int_equal(c.layer_window[5], 0);
    assert_int_equal(parse_with("\"sliding_window\": 64, \"max_window_layers\": 2,"
                                "\"use_sliding_window\": true",
                                &c, NULL),
                     0);
    assert_int_equal(c.layer_window[1], 0);
    assert_int_equal(c.layer_window[2], 64);
}

static void a_class_without_a_head_counts_as_tied(void **state) {
    (void)state;
    struct hf_config c;
    const char *text = "{\"architectures\": [\"Qwen3Model\"], \"model_type\": \"qwen3\"}";
    assert_int_equal(hf_config_parse(text, strlen(text), "c", &c, NULL), QUERN_OK);
    assert_string_equal(c.architecture_name, "Qwen3Model");
    assert_true(c.tie_word_embeddings);
}

static void yarn_may_give_its_factor_by_the_lengths(void **state) {
    (void)state;
    struct hf_config c;
    assert_int_equal(parse_with("\"max_position_embeddings\": 65536, \"rope_scaling\": "
                                "{\"type\": \"yarn\", \"original_max_position_embeddings\": 32768,"
                                "\"beta_fast\": 0, \"mscale\": 0.7, \"mscale_all_dim\": 1.5,"
                                "\"truncate\": false}",
                                &c, NULL),
                     QUERN_OK);
    assert_true(c.rope.factor == 2.0 && c.rope.beta_fast == 32);
    assert_true(c.rope.mscale == 0.7 && c.rope.mscale_all_dim == 1.5 && !c.rope.truncate);
}

static void quantization_is_noticed(void **state) {
    (void)state;
    struct hf_config c;
    assert_int_equal(
        parse_with("\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4}", &c, NULL),
        QUERN_OK);
    assert_true(c.has_quantization);
    assert_string_equal(c.quant_method, "awq");
}

static void ids_outside_the_vocabulary_are_dropped(void **state) {
    (void)state;
    struct hf_config c;
    assert_int_equal(parse_with("\"vocab_size\": 100, \"eos_token_id\": [3, 151645, -1, 3],"
                                "\"bos_token_id\": 151643",
                                &c, NULL),
                     QUERN_OK);
    assert_int_equal(c.n_eos, 1);
    assert_int_equal(c.eos_token_ids[0], 3);
    assert_int_equal(c.bos_token_id, -1);
}

static void bad_values_are_named(void **state) {
    (void)state;
    expect_error("", QUERN_ERR_FORMAT, "config.json");
    expect_error("[1]", QUERN_ERR_FORMAT, "expected an object");
    expect_error("{}", QUERN_ERR_FORMAT, "neither architectures nor model_type");
    expect_error("{\"architectures\": [\"MistralForCausalLM\"]}", QUERN_ERR_UNSUPPORTED,
                 "\"MistralForCausalLM\" is not supported");
    expect_error("{\"model_type\": \"gemma\"}", QUERN_ERR_UNSUPPORTED, "model_type \"gemma\"");
    expect_error("{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen2\"}",
                 QUERN_ERR_FORMAT, "contradicts model_type \"qwen2\"");
    expect_error("{\"architectures\": [7]}", QUERN_ERR_FORMAT, "architectures");
    expect_error("{\"architectures\": [\"Qwen3ForCausalLM\"", QUERN_ERR_FORMAT, "line 1");
    static const struct {
        const char *members, *fragment;
        enum quern_status code;
    } cases[] = {
        {"\"hidden_size\": 0", "hidden_size", QUERN_ERR_FORMAT},
        {"\"hidden_size\": -8", "hidden_size", QUERN_ERR_FORMAT},
        {"\"hidden_size\": 1e30", "hidden_size", QUERN_ERR_FORMAT},
        {"\"hidden_size\": 18446744073709551616", "line 1", QUERN_ERR_FORMAT},
        {"\"hidden_size\": \"big\"", "hidden_size", QUERN_ERR_FORMAT},
        {"\"vocab_size\": 4294967296", "vocab_size", QUERN_ERR_FORMAT},
        {"\"num_hidden_layers\": 513", "num_hidden_layers", QUERN_ERR_FORMAT},
        {"\"num_attention_heads\": 6, \"num_key_value_heads\": 4", "no multiple of",
         QUERN_ERR_FORMAT},
        {"\"num_key_value_heads\": 0", "num_key_value_heads", QUERN_ERR_FORMAT},
        {"\"head_dim\": 127", "head_dim 127 must be even", QUERN_ERR_UNSUPPORTED},
        {"\"head_dim\": 1024", "head_dim", QUERN_ERR_FORMAT},
        {"\"hidden_act\": \"gelu\"", "hidden_act \"gelu\"", QUERN_ERR_UNSUPPORTED},
        {"\"rms_norm_eps\": -1", "rms_norm_eps", QUERN_ERR_FORMAT},
        {"\"torch_dtype\": \"int8\"", "dtype \"int8\"", QUERN_ERR_UNSUPPORTED},
        {"\"rope_scaling\": {\"rope_type\": \"longrope\"}", "\"longrope\"", QUERN_ERR_UNSUPPORTED},
        {"\"rope_scaling\": {\"rope_type\": \"linear\"}", "needs a factor", QUERN_ERR_FORMAT},
        {"\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0.5}", "factor",
         QUERN_ERR_FORMAT},
        {"\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}", "low_freq_factor",
         QUERN_ERR_FORMAT},
        {"\"rope_scaling\": [1]", "rope_scaling", QUERN_ERR_FORMAT},
        {"\"rope_parameters\": {\"full_attention\": {}}", "full_attention", QUERN_ERR_UNSUPPORTED},
        {"\"partial_rotary_factor\": 0.5", "partial_rotary_factor", QUERN_ERR_UNSUPPORTED},
        {"\"rope_theta\": 0", "rope_theta", QUERN_ERR_FORMAT},
        {"\"layer_types\": [\"full_attention\"]", "1 entries for 32 layers", QUERN_ERR_FORMAT},
        {"\"num_hidden_layers\": 1, \"layer_types\": [\"linear_attention\"]", "linear_attention",
         QUERN_ERR_UNSUPPORTED},
        {"\"num_hidden_layers\": 1, \"layer_types\": [\"sliding_attention\"]", "no sliding_window",
         QUERN_ERR_FORMAT},
        {"\"eos_token_id\": \"x\"", "eos_token_id", QUERN_ERR_FORMAT},
        {"\"eos_token_id\": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "more than 16",
         QUERN_ERR_LIMIT},
        {"\"tie_word_embeddings\": 1", "tie_word_embeddings", QUERN_ERR_FORMAT},
        {"\"head_dim\": 64, \"head_dim\": 64", "line 1", QUERN_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_member_error(cases[i].members, cases[i].code, cases[i].fragment);
}

static void bad_expert_settings_are_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"\"num_experts\": 4, \"num_experts_per_tok\": 5", "num_experts_per_tok 5"},
        {"\"num_experts\": 4, \"num_local_experts\": 8", "contradicts num_local_experts"},
        {"\"decoder_sparse_step\": 0", "decoder_sparse_step"},
        {"\"mlp_only_layers\": [\"a\"]", "mlp_only_layers"},
        {"\"num_experts\": 100000", "num_experts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"model_type\": \"qwen3_moe\", %s}", cases[i][0]);
        expect_error(text, QUERN_ERR_FORMAT, cases[i][1]);
    }
}

/* The parameter and tensor counts of the published models. */
static void published_configurations_give_the_published_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t params, kv_bytes;
        size_t tensors;
    } models[] = {
        {"Qwen3-0.6B", 596049920, 114688, 310},
        {"Qwen3-1.7B", 1720574976, 114688, 310},
        {"Qwen3-4B", 4022468096, 147456, 398},
        {"Qwen3-4B-Instruct-2507", 4022468096, 147456, 398},
        {"Qwen3-4B-Thinking-2507", 4022468096, 147456, 398},
        {"Qwen3-8B", 8190735360, 147456, 399},
        {"Qwen3-8B-Base", 8190735360, 147456, 399},
        {"Qwen3-14B", 14768307200, 163840, 443},
        {"Qwen3-32B", 32762123264, 262144, 707},
        {"Qwen3-30B-A3B", 30532122624, 98304, 18867},
        {"Qwen3-30B-A3B-2507", 30532122624, 98304, 18867},
        {"Qwen3-0.6B-GPTQ-Int8", 596049920, 114688, 310},
        {"Qwen3-30B-A3B-FP8", 30532122624, 98304, 18867},
        {"Qwen3-30B-A3B-GPTQ-Int4", 30532122624, 98304, 18867},
        {"Qwen3-4B-AWQ", 4022468096, 147456, 398},
        {"Qwen3-8B-AWQ", 8190735360, 147456, 399},
        {"Qwen3-8B-FP8", 8190735360, 147456, 399},
        {"unsloth_Qwen3-8B-bnb-4bit", 8190735360, 147456, 399},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char name[128];
        const char *path;
        snprintf(name, sizeof name, "qwen3/configs/%s.config.json", models[i].name);
        SHARED_OR_SKIP(path, name);
        struct hf_config c = load_file(path);
        int64_t active;
        assert_int_equal(hf_config_param_count(&c, &active), models[i].params);
        assert_int_equal(tensor_layout_count(&c), models[i].tensors);
        assert_int_equal(hf_config_kv_bytes_per_token(&c, 2), models[i].kv_bytes);
        assert_int_equal(c.has_quantization, i >= 11);
        assert_string_equal(c.quant.problem, "");
        if (c.n_experts)
            assert_int_equal(active, models[i].params - 48LL * (128 - 8) * 3 * 2048 * 768);
    }
}

static struct generation_config parse_generation(const char *text) {
    struct hf_config c = fixture("qwen3");
    struct generation_config g;
    struct quern_error err = {0};
    if (generation_config_parse(text, strlen(text), "generation_config.json", &c, &g, &err))
        fail_msg("%s", err.message);
    return g;
}

static void generation_defaults_are_read(void **state) {
    (void)state;
    struct generation_config g = parse_generation(
        "{\"bos_token_id\": 151643, \"do_sample\": true, \"eos_token_id\": [151645, 151643],"
        "\"pad_token_id\": 151643, \"temperature\": 0.6, \"top_k\": 20, \"top_p\": 0.95,"
        "\"max_new_tokens\": null}");
    assert_true(g.do_sample && g.temperature == 0.6f && g.top_p == 0.95f && g.top_k == 20);
    assert_int_equal(g.n_eos, 2);
    assert_int_equal(g.eos_token_ids[1], 151643);
    assert_int_equal(g.pad_token_id, 151643);
    assert_int_equal(g.max_new_tokens, 0);
    assert_true(g.min_p == 0 && g.typical_p == 1 && g.repetition_penalty == 1);
    g = parse_generation("{\"do_sample\": true}");
    assert_true(g.temperature == 1 && g.top_k == 50); /* transformers' defaults */
    assert_int_equal(g.eos_token_ids[0], 151645);     /* from config.json */
}

static void generation_without_sampling_is_greedy(void **state) {
    (void)state;
    struct generation_config g =
        parse_generation("{\"do_sample\": false, \"eos_token_id\": 151643, \"temperature\": 0.6}");
    assert_true(!g.do_sample && g.temperature == 0 && g.top_k == 0);
    assert_int_equal(g.n_eos, 1);
    assert_int_equal(g.eos_token_ids[0], 151643);
}

static void a_missing_generation_config_is_greedy(void **state) {
    (void)state;
    struct hf_config c = fixture("qwen3");
    struct generation_config g;
    assert_int_equal(generation_config_load(support_temp_dir(), &c, &g, NULL), QUERN_OK);
    assert_true(!g.do_sample && g.temperature == 0);
    assert_int_equal(g.eos_token_ids[0], 151645);
    assert_int_equal(g.pad_token_id, -1);
}

static void bad_generation_values_are_named(void **state) {
    (void)state;
    static const char *const cases[] = {"\"temperature\": -1", "\"top_p\": 1.5",
                                        "\"top_k\": -1",       "\"do_sample\": 3",
                                        "\"min_p\": \"x\"",    "\"repetition_penalty\": 0"};
    struct hf_config c = fixture("qwen3");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        struct generation_config g;
        struct quern_error err = {0};
        int n = snprintf(text, sizeof text, "{%s}", cases[i]);
        assert_int_equal(
            generation_config_parse(text, (size_t)n, "generation_config.json", &c, &g, &err),
            QUERN_ERR_FORMAT);
        assert_non_null(strstr(err.message, "generation_config.json: "));
    }
}

static void a_directory_without_config_is_an_error(void **state) {
    (void)state;
    struct hf_config c;
    struct quern_error err = {0};
    assert_int_equal(hf_config_load(support_temp_dir(), &c, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "config.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen3_is_read_in_its_published_form),
        cmocka_unit_test(the_new_spellings_are_read),
        cmocka_unit_test(moe_layers_follow_step_and_list),
        cmocka_unit_test(qwen2_has_its_biases_and_windows),
        cmocka_unit_test(llama3_is_read),
        cmocka_unit_test(the_parameter_count_is_the_sum_of_the_tensors),
        cmocka_unit_test(tensors_come_in_the_order_of_the_modules),
        cmocka_unit_test(absent_keys_get_transformers_defaults),
        cmocka_unit_test(null_stands_for_the_default),
        cmocka_unit_test(a_window_counts_only_when_it_is_used),
        cmocka_unit_test(a_class_without_a_head_counts_as_tied),
        cmocka_unit_test(yarn_may_give_its_factor_by_the_lengths),
        cmocka_unit_test(quantization_is_noticed),
        cmocka_unit_test(ids_outside_the_vocabulary_are_dropped),
        cmocka_unit_test(bad_values_are_named),
        cmocka_unit_test(bad_expert_settings_are_named),
        cmocka_unit_test(published_configurations_give_the_published_counts),
        cmocka_unit_test(generation_defaults_are_read),
        cmocka_unit_test(generation_without_sampling_is_greedy),
        cmocka_unit_test(a_missing_generation_config_is_greedy),
        cmocka_unit_test(bad_generation_values_are_named),
        cmocka_unit_test(a_directory_without_config_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
