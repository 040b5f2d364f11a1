#include "openai/chat_request.h"

#include <string.h>

#include "support/support.h"

static const struct api_limits limits = API_LIMITS_DEFAULT;

/* Parses a request of one message with `members` added to it. */
static enum quern_status parse(const char *members, struct chat_request *r, json_t **root,
                               struct api_error *err) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    buffer_printf(&text, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s%s}",
                  *members ? "," : "", members);
    assert_int_equal(json_parse(text.data, text.len, "test", root, NULL), QUERN_OK);
    buffer_release(&text);
    struct api_context context = {.limits = &limits, .n_vocab = 100};
    context.defaults.temperature = 0.5f;
    context.defaults.top_k = 7;
    return chat_request_parse(*root, &context, r, err);
}

static void absent_parameters_are_the_models(void **state) {
    (void)state;
    struct chat_request r;
    struct api_error err;
    json_t *root;
    assert_int_equal(parse("\"temperature\":null", &r, &root, &err), QUERN_OK);
    assert_true(r.generation.sampling.temperature == 0.5f);
    assert_int_equal(r.generation.sampling.top_k, 7);
    assert_int_equal(r.generation.n, 1);
    assert_int_equal(r.generation.max_tokens, -1);
    assert_int_equal(r.thinking.enabled, -1);
    assert_int_equal(r.thinking.budget, -1);
    assert_true(r.add_generation_prompt);
    chat_request_release(&r);
    json_decref(root);
}

static void every_parameter_finds_its_place(void **state) {
    (void)state;
    struct chat_request r;
    struct api_error err;
    json_t *root;
    assert_int_equal(
        parse("\"temperature\":1,\"top_p\":0.25,\"top_k\":-1,\"min_p\":0.5,\"seed\":-3,\"n\":2.0,"
              "\"stop\":[\"a\",\"b\"],\"stop_token_ids\":[5],\"logit_bias\":{\"9\":-100},"
              "\"max_tokens\":4,\"max_completion_tokens\":5,\"logprobs\":true,"
              "\"top_logprobs\":3,\"reasoning_effort\":\"low\",\"stream\":true,"
              "\"stream_options\":{\"include_usage\":true}",
              &r, &root, &err),
        QUERN_OK);
    const struct generation_params *g = &r.generation;
    assert_true(g->sampling.top_p == 0.25f && g->sampling.min_p == 0.5f);
    assert_int_equal(g->sampling.top_k, 0);
    assert_true(g->sampling.seed == (uint64_t)-3);
    assert_int_equal(g->n, 2);
    assert_int_equal(g->n_stop_strings, 2);
    assert_string_equal(g->stop_strings[1], "b");
    assert_int_equal(g->stop_tokens[0], 5);
    assert_int_equal(g->sampling.n_logit_bias, 1);
    assert_int_equal(g->sampling.logit_bias[0].token, 9);
    assert_int_equal(g->max_tokens, 5);
    assert_int_equal(g->top_logprobs, 3);
    assert_true(g->stream && g->include_usage);
    assert_int_equal(r.thinking.enabled, 1);
    assert_int_equal(r.thinking.budget, 1024);
    struct quern_generate_options second = generation_params_options(g, 1);
    assert_true(second.sampling.seed == (uint64_t)-2);
    chat_request_release(&r);
    json_decref(root);
}

static void without_a_seed_two_requests_have_two(void **state) {
    (void)state;
    struct chat_request a, b;
    struct api_error err;
    json_t *root_a, *root_b;
    assert_int_equal(parse("", &a, &root_a, &err), QUERN_OK);
    assert_int_equal(parse("", &b, &root_b, &err), QUERN_OK);
    assert_true(a.generation.sampling.seed != b.generation.sampling.seed);
    chat_request_release(&a);
    chat_request_release(&b);
    json_decref(root_a);
    json_decref(root_b);
}

static void what_is_out_of_range_is_refused_with_its_name(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"\"temperature\":-0.1", "temperature"},
        {"\"top_p\":1.01", "top_p"},
        {"\"n\":9", "n"},
        {"\"n\":-1", "n"},
        {"\"n\":true", "n"},
        {"\"seed\":1.5", "seed"},
        {"\"max_tokens\":0", "max_tokens"},
        {"\"max_tokens\":1e12", "max_tokens"},
        {"\"top_logprobs\":2", "top_logprobs"},
        {"\"stop\":3", "stop"},
        {"\"stop\":[3]", "stop"},
        {"\"stop_token_ids\":[100]", "stop_token_ids"},
        {"\"logit_bias\":{\"100\":1}", "logit_bias"},
        {"\"logit_bias\":{\"1x\":1}", "logit_bias"},
        {"\"logit_bias\":{\"1\":\"a\"}", "logit_bias"},
        {"\"stream_options\":{\"x\":1},\"stream\":true", "stream_options.x"},
        {"\"chat_template_kwargs\":{\"self\":1}", "chat_template_kwargs"},
        {"\"thinking\":{\"type\":\"on\"}", "thinking.type"},
        {"\"tools\":[3]", "tools[0].type"},
        {"\"tool_choice\":{\"type\":\"function\"}", "tool_choice"},
        {"\"none_such\":1", "none_such"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chat_request r;
        struct api_error err = {0};
        json_t *root;
        assert_int_not_equal(parse(cases[i][0], &r, &root, &err), QUERN_OK);
        assert_string_equal(err.param, cases[i][1]);
        assert_int_equal(api_error_http_status(err.kind), 400);
        json_decref(root);
    }
}

static void tool_choice_none_hides_the_tools(void **state) {
    (void)state;
    struct chat_request r;
    struct api_error err;
    json_t *root;
    assert_int_equal(
        parse("\"tool_choice\":\"none\",\"tools\":[{\"type\":\"function\",\"function\":"
              "{\"name\":\"f\"}}]",
              &r, &root, &err),
        QUERN_OK);
    assert_null(r.tools);
    chat_request_release(&r);
    json_decref(root);
}

static json_t *normalized(const char *messages, struct api_error *err) {
    json_t *in, *out = NULL;
    assert_int_equal(json_parse(messages, strlen(messages), "test", &in, NULL), QUERN_OK);
    if (chat_messages_normalize(in, &limits, &out, err))
        out = NULL;
    json_decref(in);
    return out;
}

static void messages_are_brought_to_the_form_templates_know(void **state) {
    (void)state;
    struct api_error err;
    json_t *out =
        normalized("[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                   "{\"type\":\"text\",\"text\":\"b\"}]},"
                   "{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"r\",\"x\":1,"
                   "\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":\"f\","
                   "\"arguments\":\"{}\"}}]},"
                   "{\"role\":\"function\",\"name\":\"f\",\"content\":\"c\"}]",
                   &err);
    assert_non_null(out);
    const json_t *first = json_array_get(out, 0), *second = json_array_get(out, 1);
    assert_string_equal(json_string_value(json_object_get(first, "role")), "system");
    assert_string_equal(json_string_value(json_object_get(first, "content")), "ab");
    assert_string_equal(json_string_value(json_object_get(second, "content")), "");
    assert_string_equal(json_string_value(json_object_get(second, "reasoning_content")), "r");
    assert_null(json_object_get(second, "x"));
    assert_int_equal(json_array_size(json_object_get(second, "tool_calls")), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(out, 2), "role")), "tool");
    json_decref(out);
}

static void bad_messages_are_refused_with_their_place(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "messages"},
        {"[3]", "messages[0]"},
        {"[{\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":3}]",
         "messages[1].content"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "messages[0].content"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{}]}]", "messages[0].tool_calls"},
        {"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":3}}]"
         "}]",
         "messages[0].tool_calls"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_error err = {0};
        assert_null(normalized(cases[i][0], &err));
        assert_string_equal(err.param, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_parameters_are_the_models),
        cmocka_unit_test(every_parameter_finds_its_place),
        cmocka_unit_test(without_a_seed_two_requests_have_two),
        cmocka_unit_test(what_is_out_of_range_is_refused_with_its_name),
        cmocka_unit_test(tool_choice_none_hides_the_tools),
        cmocka_unit_test(messages_are_brought_to_the_form_templates_know),
        cmocka_unit_test(bad_messages_are_refused_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
