#include "formats/quant_config.h"

#include "formats/hf_config.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static enum quern_status parse(const char *quantization, struct quant_config *q,
                               struct quern_error *err) {
    char text[2048];
    struct hf_config c;
    int n = snprintf(text, sizeof text,
                     "{\"architectures\": [\"Qwen3ForCausalLM\"], \"quantization_config\": %s}",
                     quantization);
    enum quern_status status = hf_config_parse(text, (size_t)n, "config.json", &c, err);
    if (!status)
        *q = c.quant;
    return status;
}

static struct quant_config parsed(const char *quantization) {
    struct quant_config q = {0};
    struct quern_error err = {0};
    if (parse(quantization, &q, &err))
        fail_msg("%s: %s", quantization, err.message);
    return q;
}

static void expect_problem(const char *quantization, const char *fragment) {
    struct quant_config q = parsed(quantization);
    if (!strstr(q.problem, fragment))
        fail_msg("%s: \"%s\" does not contain \"%s\"", quantization, q.problem, fragment);
}

static void expect_error(const char *quantization, const char *fragment) {
    struct quant_config q;
    struct quern_error err = {0};
    assert_int_not_equal(parse(quantization, &q, &err), QUERN_OK);
    if (!strstr(err.message, fragment))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, fragment);
}

static void expect_description(const char *quantization, const char *description) {
    struct quant_config q = parsed(quantization);
    char text[256];
    quant_config_describe(&q, text, sizeof text);
    assert_string_equal(text, description);
    assert_string_equal(q.problem, "");
}

static void published_configurations_are_understood(void **state) {
    (void)state;
    expect_description("{\"quant_method\": \"fp8\", \"activation_scheme\": \"dynamic\", \"fmt\": "
                       "\"e4m3\", \"weight_block_size\": [128, 128]}",
                       "fp8, e4m3, 8 bits, blocks of 128 x 128");
    expect_description("{\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128, "
                       "\"zero_point\": true, \"version\": \"gemm\"}",
                       "awq, gemm, 4 bits with zero points, groups of 128");
    expect_description("{\"quant_method\": \"gptq\", \"bits\": 8, \"group_size\": 128, \"sym\": "
                       "true, \"checkpoint_format\": \"gptq_v2\"}",
                       "gptq, gptq_v2, 8 bits, groups of 128");
    expect_description("{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true, "
                       "\"bnb_4bit_quant_type\": \"nf4\"}",
                       "bitsandbytes, nf4, 4 bits");
    expect_description("{\"load_in_8bit\": true}", "bitsandbytes, int8, 8 bits");
    expect_description(
        "{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", "
        "\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 4, "
        "\"type\": \"int\", \"strategy\": \"group\", \"group_size\": 64, \"symmetric\": false}}}}",
        "compressed-tensors, pack-quantized, 4 bits with zero points, groups of 64");
}

static void what_is_unknown_is_a_problem_of_the_weights_alone(void **state) {
    (void)state;
    expect_problem("{\"quant_method\": \"hqq\"}", "expected fp8, awq");
    expect_problem("{}", "expected fp8, awq");
    expect_problem("{\"quant_method\": \"awq\", \"version\": \"gemv\"}", "version \"gemv\"");
    expect_problem("{\"quant_method\": \"gptq\", \"bits\": 3}", "3 bits");
    expect_problem("{\"quant_method\": \"gptq\", \"bits\": 4, \"checkpoint_format\": \"marlin\"}",
                   "\"marlin\"");
    expect_problem("{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"}", "\"e5m2\"");
    expect_problem("{\"quant_method\": \"compressed-tensors\", \"format\": \"marlin-24\"}",
                   "\"marlin-24\"");
    expect_problem("{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\"}",
                   "names no weights");
    expect_problem("{\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\", "
                   "\"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 4, \"type\": "
                   "\"float\"}}}}",
                   "float weights of 4 bits");
}

static void malformed_members_are_errors(void **state) {
    (void)state;
    expect_error("3", "quantization_config");
    expect_error("{\"quant_method\": 4}", "quant_method");
    expect_error("{\"quant_method\": \"gptq\", \"bits\": \"four\"}", "bits");
    expect_error("{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 0}", "group_size");
    expect_error("{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": -2}", "group_size");
    expect_error("{\"quant_method\": \"fp8\", \"weight_block_size\": [128]}", "weight_block_size");
    expect_error("{\"quant_method\": \"fp8\", \"weight_block_size\": [0, 1]}", "weight_block_size");
    expect_error("{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", "
                 "\"config_groups\": [1]}",
                 "config_groups");
}

static void more_groups_than_fit_are_a_problem(void **state) {
    (void)state;
    char text[2048];
    int at = snprintf(text, sizeof text,
                      "{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", "
                      "\"config_groups\": {");
    for (int i = 0; i <= QUANT_SCHEMES_MAX; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s\"g%d\": {\"weights\": {}}",
                       i ? ", " : "", i);
    snprintf(text + at, sizeof text - (size_t)at, "}}");
    expect_problem(text, "more than 16 groups");
}

static void a_description_is_cut_to_its_room(void **state) {
    (void)state;
    struct quant_config q = parsed("{\"quant_method\": \"awq\", \"bits\": 4}");
    for (size_t n = 1; n < 60; n++) {
        char text[64];
        memset(text, 'x', sizeof text);
        quant_config_describe(&q, text, n);
        assert_true(strlen(text) < n && text[n] == 'x');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_configurations_are_understood),
        cmocka_unit_test(what_is_unknown_is_a_problem_of_the_weights_alone),
        cmocka_unit_test(malformed_members_are_errors),
        cmocka_unit_test(more_groups_than_fit_are_a_problem),
        cmocka_unit_test(a_description_is_cut_to_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
