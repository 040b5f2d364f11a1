/* Adapters' directories: what is written is read again, and what is broken is refused. */
#include "formats/peft_adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support/support.h"

static const char *const two_targets[] = {"q_proj", "mlp.up_proj"};
static const float a_numbers[6] = {1, 2, 3, 4, 5, 6}, b_numbers[8] = {-1, 0.5f, 0, 7, 8, 9, 10, 11},
                   magnitude[4] = {1, 2, 3, 4};

/* Rank 2 of [4, 3], and rank 1 of the same by a pattern. */
static struct peft_matrices matrices[] = {
    {"model.layers.0.self_attn.q_proj", DTYPE_F32, 2, 3, 4, a_numbers, b_numbers, NULL},
    {"model.layers.11.mlp.up_proj", DTYPE_F32, 1, 3, 4, a_numbers, b_numbers, NULL},
};
static const struct peft_pattern one[] = {{"mlp.up_proj", 1}},
                                 alphas[] = {{"layers\\.11\\..*", 0.5}};
static const size_t layers[] = {0, 11};

static struct peft_config config(void) {
    return (struct peft_config){.rank = 2,
                                .alpha = 8,
                                .dropout = 0.05,
                                .base_model = "some/model \"x\"",
                                .targets = two_targets,
                                .n_targets = 2,
                                .layers = layers,
                                .n_layers = 2,
                                .ranks = one,
                                .n_ranks = 1,
                                .alphas = alphas,
                                .n_alphas = 1};
}

static struct peft_adapter *write_and_open(const char *name, const struct peft_config *c,
                                           const struct peft_matrices *m, size_t n) {
    struct quern_error err;
    struct peft_adapter *a = NULL;
    const char *dir = support_temp_path(name);
    if (peft_adapter_write(dir, c, m, n, NULL, 0, &err) || peft_adapter_open(dir, &a, &err))
        fail_msg("%s", err.message);
    return a;
}

static void test_what_is_written_is_read_again(void **state) {
    (void)state;
    const struct peft_config c = config();
    struct peft_adapter *a = write_and_open("plain", &c, matrices, 2);
    const struct peft_config *r = peft_adapter_config(a);
    assert_int_equal(peft_adapter_count(a), 2);
    assert_int_equal(r->rank, 2);
    assert_string_equal(r->base_model, c.base_model);
    assert_int_equal(r->n_layers, 2);
    const struct peft_module *q = peft_adapter_find(a, "model.layers.0.self_attn.q_proj");
    const struct peft_module *up = peft_adapter_find(a, "model.layers.11.mlp.up_proj");
    assert_non_null(q);
    assert_non_null(up);
    assert_null(peft_adapter_find(a, "model.layers.1.mlp.up_proj"));
    assert_int_equal(q->rank, 2);
    assert_true(q->scale == 4);
    assert_memory_equal(q->a->data, a_numbers, sizeof a_numbers);
    assert_memory_equal(q->b->data, b_numbers, sizeof b_numbers);
    assert_int_equal(up->rank, 1);
    assert_true(up->scale == 0.5);
    peft_adapter_close(a);
}

static void test_rslora_scales_by_the_root_of_each_rank(void **state) {
    (void)state;
    struct peft_config c = config();
    c.use_rslora = true;
    struct peft_adapter *a = write_and_open("rslora", &c, matrices, 2);
    assert_true(peft_adapter_at(a, 0)->scale == 8 / sqrt(2));
    assert_true(peft_adapter_at(a, 1)->scale == 0.5);
    peft_adapter_close(a);
}

static void test_dora_keeps_its_magnitudes_and_saved_modules_their_names(void **state) {
    (void)state;
    static const char *const saved[] = {"lm_head"};
    struct peft_config c = config();
    struct peft_matrices m = matrices[0];
    const struct peft_saved_module head = {"lm_head", DTYPE_F32, 2, {2, 3}, a_numbers};
    struct quern_error err;
    struct peft_adapter *a = NULL;
    const char *dir = support_temp_path("dora");
    c.use_dora = true;
    c.saved = saved;
    c.n_saved = 1;
    m.magnitude = magnitude;
    if (peft_adapter_write(dir, &c, &m, 1, &head, 1, &err) || peft_adapter_open(dir, &a, &err))
        fail_msg("%s", err.message);
    assert_memory_equal(peft_adapter_at(a, 0)->magnitude->data, magnitude, sizeof magnitude);
    assert_int_equal(peft_adapter_saved_count(a), 1);
    assert_string_equal(peft_saved_name(peft_adapter_saved_at(a, 0)), "lm_head.weight");
    peft_adapter_close(a);
}

static void test_targets_may_be_a_pattern_or_all(void **state) {
    (void)state;
    struct peft_config c = config();
    c.target_pattern = ".*\\.(q|up)_proj";
    peft_adapter_close(write_and_open("pattern", &c, matrices, 2));
    c.target_pattern = "all-linear";
    peft_adapter_close(write_and_open("all", &c, matrices, 2));
    struct quern_error err;
    c.target_pattern = "q_proj"; /* of a whole name */
    assert_int_equal(peft_adapter_write(support_temp_path("no"), &c, matrices, 2, NULL, 0, &err),
                     QUERN_ERR_ARG);
}

static void expect_refused(const struct peft_config *c, const struct peft_matrices *m, size_t n,
                           const char *text) {
    struct quern_error err = {0};
    const char *dir = support_temp_path("refused");
    assert_int_equal(peft_adapter_write(dir, c, m, n, NULL, 0, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, text));
    assert_false(os_file_exists(dir));
}

static void test_a_writer_is_not_believed(void **state) {
    (void)state;
    struct peft_config c = config();
    struct peft_matrices m[2] = {matrices[0], matrices[1]};
    expect_refused(&c, m, 0, "without a module");
    m[0].rank = 1;
    expect_refused(&c, m, 2, "rank 1");
    m[0] = matrices[0];
    m[0].module = "model.layers.1.self_attn.q_proj";
    expect_refused(&c, m, 2, "target");
    m[0] = matrices[0];
    m[0].magnitude = magnitude;
    expect_refused(&c, m, 2, "one too many");
    m[0] = matrices[0];
    m[0].b = NULL;
    expect_refused(&c, m, 2, "lacks a matrix");
    c.rank = 0;
    expect_refused(&c, matrices, 2, "rank 0");
    c = config();
    c.alpha = (double)INFINITY;
    expect_refused(&c, matrices, 2, "alpha");
}

/* ---- what is read -----------------------------------------------------------------------------
 */

/* A file of one module with these shapes; "" leaves a tensor out. */
static struct peft_adapter *parse(const char *json, const char *tensors, size_t data_bytes,
                                  enum quern_status expected, const char *text) {
    static unsigned char file[8192];
    struct quern_error err = {0};
    struct peft_adapter *a = NULL;
    const size_t n = strlen(tensors);
    memset(file, 0, sizeof file);
    assert_true(8 + n + data_bytes <= sizeof file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)(n >> (8 * i));
    memcpy(file + 8, tensors, n);
    assert_int_equal(
        peft_adapter_parse(json, strlen(json), file, 8 + n + data_bytes, "x", &a, &err), expected);
    if (text)
        assert_non_null(strstr(err.message, text));
    return a;
}

#define HEAD "{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": [\"q_proj\"]"
#define Q "\"base_model.model.model.layers.0.self_attn.q_proj."
#define F32_AT(shape, begin, end) \
    ": {\"dtype\": \"F32\", \"shape\": " shape ", \"data_offsets\": [" begin ", " end "]}"
#define GOOD                                      \
    "{" Q "lora_A.weight\"" F32_AT("[2, 3]", "0", \
                                   "24") ", " Q "lora_B.weight\"" F32_AT("[4, 2]", "24", "56") "}"

static void test_defaults_are_those_of_peft(void **state) {
    (void)state;
    struct peft_adapter *a = parse(HEAD "}", GOOD, 56, QUERN_OK, NULL);
    assert_true(peft_adapter_at(a, 0)->scale == 4); /* lora_alpha 8 */
    peft_adapter_close(a);
    peft_adapter_close(parse(HEAD
                             ", \"x\": 1, \"fan_in_fan_out\": false, \"layers_to_transform\": 0}",
                             GOOD, 56, QUERN_OK, NULL));
}

static void test_broken_tensors_are_named(void **state) {
    (void)state;
    parse(HEAD "}", "{" Q "lora_A.weight\"" F32_AT("[2, 3]", "0", "24") "}", 24, QUERN_ERR_FORMAT,
          "lora_B");
    parse(HEAD "}",
          "{" Q "lora_A.weight\"" F32_AT("[2, 3]", "0", "24") ", " Q "lora_B.weight\"" F32_AT(
              "[4, 3]", "24", "72") "}",
          72, QUERN_ERR_FORMAT, "fit together");
    parse(HEAD "}",
          "{" Q "lora_A.weight\"" F32_AT("[0, 3]", "0", "0") ", " Q "lora_B.weight\"" F32_AT(
              "[4, 0]", "0", "0") "}",
          0, QUERN_ERR_FORMAT, "fit together");
    parse(HEAD "}", "{\"lora_A.weight\"" F32_AT("[2, 3]", "0", "24") "}", 24, QUERN_ERR_FORMAT,
          "none of an adapter");
    parse(HEAD "}", "{" Q "weight\"" F32_AT("[2, 3]", "0", "24") "}", 24, QUERN_ERR_FORMAT,
          "modules_to_save");
    parse(
        HEAD "}",
        "{\"base_model.model.model.embed_tokens.lora_embedding_A\"" F32_AT("[2, 3]", "0", "24") "}",
        24, QUERN_ERR_FORMAT, "embedding");
    parse(HEAD "}", "{}", 0, QUERN_ERR_FORMAT, "empty");
    parse(HEAD ", \"use_dora\": true}", GOOD, 56, QUERN_ERR_FORMAT, "magnitude");
    parse("[]", GOOD, 56, QUERN_ERR_FORMAT, "array");
    parse("{", GOOD, 56, QUERN_ERR_FORMAT, NULL);
}

static void test_a_pattern_that_runs_away_is_stopped(void **state) {
    (void)state;
    parse("{\"peft_type\": \"LORA\", \"r\": 2, \"target_modules\": \"((a|[a-z._0-9])+)+[A-Z]\"}",
          GOOD, 56, QUERN_ERR_LIMIT, "too long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_again),
        cmocka_unit_test(test_rslora_scales_by_the_root_of_each_rank),
        cmocka_unit_test(test_dora_keeps_its_magnitudes_and_saved_modules_their_names),
        cmocka_unit_test(test_targets_may_be_a_pattern_or_all),
        cmocka_unit_test(test_a_writer_is_not_believed),
        cmocka_unit_test(test_defaults_are_those_of_peft),
        cmocka_unit_test(test_broken_tensors_are_named),
        cmocka_unit_test(test_a_pattern_that_runs_away_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
