#include <string.h>

#include "quern.h"
#include "support/support.h"

static struct quern_error error;

static quern_model *open_tokenizer(void) {
    static char dir[4096];
    quern_model *model = NULL;
    struct quern_model_options options = {.tokenizer_only = true};
    strncpy(dir, support_fixture("fixtures/qwen3-tiny/chat_template.jinja"), sizeof dir - 1);
    *strrchr(dir, '/') = '\0';
    if (quern_model_open(dir, &options, &model, &error))
        fail_msg("%s", error.message);
    return model;
}

static void a_chat_is_rendered_with_the_models_template(void **state) {
    (void)state;
    quern_model *model = open_tokenizer();
    struct quern_render_options options = {.enable_thinking = 0, .add_generation_prompt = true};
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(quern_render_chat(model, "[{\"role\":\"user\",\"content\":\"Hi\"}]", &options,
                                       &text, &len, &error),
                     QUERN_OK);
    assert_string_equal(text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
                              "<think>\n\n</think>\n\n");
    assert_int_equal(len, strlen(text));
    quern_free(text);
    quern_model_close(model);
}

static void an_own_template_sees_tools_and_variables(void **state) {
    (void)state;
    quern_model *model = open_tokenizer();
    struct quern_render_options options = {
        .template_source = "{{ messages|length }}{{ tools|tojson }}{{ x }}",
        .tools_json = "[1]",
        .kwargs_json = "{\"x\": null}",
        .enable_thinking = -1,
    };
    char *text = NULL;
    assert_int_equal(quern_render_chat(model, "[]", &options, &text, NULL, &error), QUERN_OK);
    assert_string_equal(text, "0[1]None");
    quern_free(text);
    quern_model_close(model);
}

static void errors_leave_the_output_untouched(void **state) {
    (void)state;
    quern_model *model = open_tokenizer();
    char *text = (char *)&error;
    size_t len = 7;
    struct quern_render_options options = {.template_source = "{{ x.y }}", .enable_thinking = -1};
    assert_int_equal(quern_render_chat(model, "[]", &options, &text, &len, &error),
                     QUERN_ERR_TEMPLATE);
    assert_string_equal(error.message, "template, line 1: 'x' is undefined");
    assert_int_equal(quern_render_chat(model, "[", NULL, &text, &len, &error), QUERN_ERR_FORMAT);
    assert_int_equal(quern_render_chat(model, NULL, NULL, &text, &len, &error), QUERN_ERR_ARG);
    assert_int_equal(quern_render_chat(NULL, "[]", NULL, &text, &len, &error), QUERN_ERR_ARG);
    assert_ptr_equal(text, &error);
    assert_int_equal(len, 7);
    quern_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_rendered_with_the_models_template),
        cmocka_unit_test(an_own_template_sees_tools_and_variables),
        cmocka_unit_test(errors_leave_the_output_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
