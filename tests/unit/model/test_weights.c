#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

static struct device *device;
static struct tiny_checkpoint checkpoint;

static int open_device(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    return device_cpu_create(1, NULL, &device, NULL) != QUERN_OK;
}

static int close_device(void **state) {
    (void)state;
    device_destroy(device);
    return 0;
}

static struct model *open_ok(const char *dir) {
    struct model *m = NULL;
    struct quern_error err = {0};
    if (model_open(dir, NULL, device, NULL, NULL, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

/* Opening must fail with `code` and a message that holds `text`. */
static void assert_refused(const char *dir, enum quern_status code, const char *text) {
    struct model *m = NULL;
    struct quern_error err = {0};
    enum quern_status st = model_open(dir, NULL, device, NULL, NULL, &m, &err);
    if (st != code || !strstr(err.message, text))
        fail_msg("found %s \"%s\", expected %s \"%s\"", quern_status_name(st), err.message,
                 quern_status_name(code), text);
    assert_null(m);
}

static const struct tiny_shape qwen3 = TINY_QWEN3;

/* The checkpoint of `shape` as changed by the test, in a directory of the test's name. */
static const char *write_as(const struct tiny_shape *shape, const char *name) {
    return tiny_checkpoint_write(&checkpoint, shape, name, 5);
}

/* ---- what is bound ------------------------------------------------------------- */

static void every_tensor_of_qwen3_is_bound(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    struct model *m = open_ok(write_as(&qwen3, "qwen3"));
    assert_int_equal(m->embed.rows, 97);
    assert_int_equal(m->embed.cols, 48);
    assert_int_equal(m->lm_head.rows, 97);
    assert_ptr_not_equal(m->lm_head.data, m->embed.data);
    assert_true(m->attention_scale == 0.25f);
    for (int i = 0; i < 3; i++) {
        const struct layer_weights *w = &m->layers[i];
        assert_int_equal(w->q.rows, 64);
        assert_int_equal(w->k.rows, 32);
        assert_int_equal(w->o.cols, 64);
        assert_int_equal(w->down.cols, 80);
        assert_true(w->q_norm && w->k_norm && w->input_norm && w->post_norm);
        assert_null(w->q_bias);
        assert_null(w->experts);
    }
    model_close(m);
    model_close(NULL);
}

static void a_tied_head_is_the_embedding_even_when_a_copy_is_stored(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.tied = true;
    tiny_checkpoint_fill(&checkpoint, &s);
    struct model *m = open_ok(write_as(&s, "tied"));
    assert_ptr_equal(m->lm_head.data, m->embed.data);
    model_close(m);
    tiny_checkpoint_add(&checkpoint, "lm_head.weight", 2, 97, 48, 0);
    m = open_ok(write_as(&s, "tied2"));
    assert_ptr_equal(m->lm_head.data, m->embed.data);
    model_close(m);
}

static void embedding_checkpoints_need_no_prefix_and_no_head(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.prefix = "";
    tiny_checkpoint_fill(&checkpoint, &s);
    struct model *m = open_ok(write_as(&s, "bare"));
    assert_non_null(m->lm_head.data);
    model_close(m);
    tiny_checkpoint_remove(&checkpoint, "lm_head.weight");
    m = open_ok(write_as(&s, "headless"));
    assert_null(m->lm_head.data);
    model_close(m);
}

static void qwen2_has_biases_and_no_head_norms(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.architecture = "Qwen2ForCausalLM";
    s.model_type = "qwen2";
    s.qkv_bias = true;
    s.qk_norm = false;
    tiny_checkpoint_fill(&checkpoint, &s);
    struct model *m = open_ok(write_as(&s, "qwen2"));
    assert_true(m->layers[2].q_bias && m->layers[2].k_bias && m->layers[2].v_bias);
    assert_null(m->layers[2].q_norm);
    assert_null(m->layers[2].o_bias);
    model_close(m);
}

static struct tiny_shape moe_shape(void) {
    struct tiny_shape s = qwen3;
    s.architecture = "Qwen3MoeForCausalLM";
    s.model_type = "qwen3_moe";
    s.experts = 4;
    s.experts_per_token = 2;
    s.moe_inter = 24;
    return s;
}

static void experts_are_bound_one_by_one(void **state) {
    (void)state;
    const struct tiny_shape s = moe_shape();
    tiny_checkpoint_fill(&checkpoint, &s);
    struct model *m = open_ok(write_as(&s, "moe"));
    const struct layer_weights *w = &m->layers[1];
    assert_int_equal(w->router.rows, 4);
    assert_int_equal(w->experts[3].gate.rows, 24);
    assert_int_equal(w->experts[3].down.cols, 24);
    assert_null(w->gate.data);
    model_close(m);
}

static void fused_experts_are_taken_apart(void **state) {
    (void)state;
    const struct tiny_shape s = moe_shape();
    tiny_checkpoint_fill(&checkpoint, &s);
    for (size_t i = checkpoint.n; i-- > 0;)
        if (strstr(checkpoint.tensors[i].name, "mlp.experts."))
            tiny_checkpoint_remove(&checkpoint, checkpoint.tensors[i].name);
    for (int layer = 0; layer < 3; layer++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.gate_up_proj", layer);
        tiny_checkpoint_add(&checkpoint, name, 3, 4, 48, 48);
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.down_proj", layer);
        tiny_checkpoint_add(&checkpoint, name, 3, 4, 48, 24);
    }
    struct model *m = open_ok(write_as(&s, "fused"));
    const struct expert_weights *e = m->layers[1].experts;
    const float *gate_up =
        checkpoint_find(m->checkpoint, "model.layers.1.mlp.experts.gate_up_proj")->data;
    const float *down =
        checkpoint_find(m->checkpoint, "model.layers.1.mlp.experts.down_proj")->data;
    assert_ptr_equal(e[0].gate.data, gate_up);
    assert_ptr_equal(e[0].up.data, gate_up + 24 * 48);
    assert_ptr_equal(e[3].gate.data, gate_up + 3 * 48 * 48);
    assert_ptr_equal(e[3].down.data, down + 3 * 48 * 24);
    assert_int_equal(e[3].up.rows, 24);
    assert_int_equal(e[3].down.rows, 48);
    model_close(m);
}

static void half_precision_stays_in_the_mapping_and_norms_become_float32(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    for (size_t i = 0; i < checkpoint.n; i++)
        checkpoint.tensors[i].dtype = i % 2 ? DTYPE_F16 : DTYPE_BF16;
    struct model *m = open_ok(write_as(&qwen3, "half"));
    const struct tensor *t = checkpoint_find(m->checkpoint, "model.embed_tokens.weight");
    assert_ptr_equal(m->embed.data, t->data);
    assert_int_equal(m->embed.dtype, DTYPE_BF16);
    t = checkpoint_find(m->checkpoint, "model.norm.weight");
    float expected[48];
    dtype_to_f32(t->dtype, t->data, expected, 48);
    assert_memory_equal(m->final_norm, expected, sizeof expected);
    model_close(m);
}

static void data_behind_an_odd_header_stays_in_the_mapping(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    checkpoint.header_padding = 1;
    struct model *m = open_ok(write_as(&qwen3, "odd"));
    const struct tensor *t = checkpoint_find(m->checkpoint, "model.embed_tokens.weight");
    assert_int_not_equal((uintptr_t)t->data % sizeof(float), 0);
    assert_ptr_equal(m->embed.data, t->data);
    model_close(m);
}

static void note_progress(void *user, double fraction) {
    double *last = user;
    assert_true(fraction > *last && fraction <= 1);
    *last = fraction;
}
static void progress_ends_at_one(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    struct model *m = NULL;
    double last = 0;
    assert_int_equal(
        model_open(write_as(&qwen3, "progress"), NULL, device, note_progress, &last, &m, NULL),
        QUERN_OK);
    assert_true(last == 1);
    model_close(m);
}

/* ---- what is refused -------------------------------------------------------------- */

static void a_missing_tensor_is_named_with_its_shape(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_remove(&checkpoint, "model.layers.1.self_attn.k_norm.weight");
    assert_refused(write_as(&qwen3, "missing"), QUERN_ERR_FORMAT,
                   "tensor \"model.layers.1.self_attn.k_norm.weight\" [16] is missing");
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_remove(&checkpoint, "lm_head.weight");
    assert_refused(write_as(&qwen3, "missing2"), QUERN_ERR_FORMAT,
                   "tensor \"lm_head.weight\" [97, 48] is missing");
}

static void a_missing_expert_is_named(void **state) {
    (void)state;
    const struct tiny_shape s = moe_shape();
    tiny_checkpoint_fill(&checkpoint, &s);
    tiny_checkpoint_remove(&checkpoint, "model.layers.2.mlp.experts.3.up_proj.weight");
    assert_refused(write_as(&s, "missing3"), QUERN_ERR_FORMAT,
                   "tensor \"model.layers.2.mlp.experts.3.up_proj.weight\" [24, 48] is missing");
}

static void a_wrong_shape_is_named_with_both(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_find(&checkpoint, "model.layers.0.mlp.up_proj.weight")->shape[0] = 81;
    assert_refused(write_as(&qwen3, "shape"), QUERN_ERR_FORMAT,
                   "model.safetensors: tensor \"model.layers.0.mlp.up_proj.weight\" has shape "
                   "[81, 48], expected [80, 48]");
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_find(&checkpoint, "model.norm.weight")->rank = 2;
    tiny_checkpoint_find(&checkpoint, "model.norm.weight")->shape[1] = 1;
    assert_refused(write_as(&qwen3, "shape2"), QUERN_ERR_FORMAT,
                   "tensor \"model.norm.weight\" has shape [48, 1], expected [48]");
}

static void a_type_that_is_no_weight_is_named(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_find(&checkpoint, "model.layers.2.self_attn.q_proj.weight")->dtype =
        DTYPE_F8_E4M3;
    assert_refused(write_as(&qwen3, "fp8"), QUERN_ERR_UNSUPPORTED,
                   "tensor \"model.layers.2.self_attn.q_proj.weight\" has type F8_E4M3, expected "
                   "F32, F16 or BF16");
}

static void an_unknown_quantization_is_refused_by_its_method(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.extra_config = "\"quantization_config\": {\"quant_method\": \"hqq\"}, ";
    tiny_checkpoint_fill(&checkpoint, &s);
    assert_refused(write_as(&s, "hqq"), QUERN_ERR_UNSUPPORTED,
                   "quantized by \"hqq\": expected fp8, awq, gptq");
}

static void a_quantized_checkpoint_may_hold_plain_matrices(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.extra_config = "\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4}, ";
    tiny_checkpoint_fill(&checkpoint, &s);
    model_close(open_ok(write_as(&s, "awq")));
}

static void a_part_of_a_coded_matrix_that_is_missing_is_named(void **state) {
    (void)state;
    struct tiny_shape s = qwen3;
    s.extra_config = "\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4, "
                     "\"group_size\": 16}, ";
    tiny_checkpoint_fill(&checkpoint, &s);
    struct tiny_tensor *t = tiny_checkpoint_find(&checkpoint, "model.layers.0.self_attn.q_proj.weight");
    snprintf(t->name, sizeof t->name, "model.layers.0.self_attn.q_proj.qweight");
    t->dtype = DTYPE_I32;
    t->shape[0] = 48;
    t->shape[1] = 8;
    assert_refused(write_as(&s, "no_zeros"), QUERN_ERR_FORMAT,
                   "tensor \"model.layers.0.self_attn.q_proj.qzeros\" is missing");
}

static void surplus_tensors_are_tolerated(void **state) {
    (void)state;
    tiny_checkpoint_fill(&checkpoint, &qwen3);
    tiny_checkpoint_add(&checkpoint, "model.layers.0.self_attn.rotary_emb.inv_freq", 1, 8, 0, 0);
    tiny_checkpoint_add(&checkpoint, "model.layers.0.self_attn.q_proj.bias", 1, 64, 0, 0);
    model_close(open_ok(write_as(&qwen3, "surplus")));
}

static void an_empty_directory_is_an_error(void **state) {
    (void)state;
    struct model *m = NULL;
    assert_int_not_equal(model_open("/nonexistent", NULL, device, NULL, NULL, &m, NULL), QUERN_OK);
    assert_null(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_of_qwen3_is_bound),
        cmocka_unit_test(a_tied_head_is_the_embedding_even_when_a_copy_is_stored),
        cmocka_unit_test(embedding_checkpoints_need_no_prefix_and_no_head),
        cmocka_unit_test(qwen2_has_biases_and_no_head_norms),
        cmocka_unit_test(experts_are_bound_one_by_one),
        cmocka_unit_test(fused_experts_are_taken_apart),
        cmocka_unit_test(half_precision_stays_in_the_mapping_and_norms_become_float32),
        cmocka_unit_test(data_behind_an_odd_header_stays_in_the_mapping),
        cmocka_unit_test(progress_ends_at_one),
        cmocka_unit_test(a_missing_tensor_is_named_with_its_shape),
        cmocka_unit_test(a_missing_expert_is_named),
        cmocka_unit_test(a_wrong_shape_is_named_with_both),
        cmocka_unit_test(a_type_that_is_no_weight_is_named),
        cmocka_unit_test(an_unknown_quantization_is_refused_by_its_method),
        cmocka_unit_test(a_quantized_checkpoint_may_hold_plain_matrices),
        cmocka_unit_test(a_part_of_a_coded_matrix_that_is_missing_is_named),
        cmocka_unit_test(surplus_tensors_are_tolerated),
        cmocka_unit_test(an_empty_directory_is_an_error),
    };
    return cmocka_run_group_tests_name("weights", tests, open_device, close_device);
}
