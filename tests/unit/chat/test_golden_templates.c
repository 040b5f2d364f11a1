/* Every committed render of tests/golden/make_chat.py, and those of the shared data. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chat_template.h"
#include "support/support.h"
#include "text/json.h"

static const int64_t NOW = 1721997296; /* chat_oracle.py's clock */

static json_t *load(const char *path) {
    struct quern_error err = {0};
    json_t *value = NULL;
    if (json_load_path(path, 64 << 20, &value, &err))
        fail_msg("%s", err.message);
    return value;
}

/* Renders with the variables' messages and tools taken out of them. */
static enum quern_status render(const char *source, const json_t *tokens, const json_t *variables,
                                struct buffer *out, struct quern_error *err) {
    struct chat_template *t = NULL;
    json_t *kwargs = json_deep_copy(variables);
    json_t *messages = json_incref(json_object_get(kwargs, "messages"));
    json_t *tools = json_incref(json_object_get(kwargs, "tools"));
    struct chat_render_options options = {
        .kwargs = kwargs, .tools = tools, .enable_thinking = -1, .now = &NOW};
    options.add_generation_prompt = json_is_true(json_object_get(kwargs, "add_generation_prompt"));
    json_object_del(kwargs, "messages");
    json_object_del(kwargs, "tools");
    json_object_del(kwargs, "add_generation_prompt");
    enum quern_status status = chat_template_parse(
        source, strlen(source), "t", json_string_value(json_object_get(tokens, "bos_token")),
        json_string_value(json_object_get(tokens, "eos_token")), &t, err);
    if (!status)
        status = chat_template_render(t, messages, &options, out, err);
    chat_template_close(t);
    json_decref(kwargs);
    json_decref(messages);
    json_decref(tools);
    return status;
}

/* False, and a line on stderr, when the result is not the expected one. */
static bool matches(const char *name, const char *source, const json_t *tokens,
                    const json_t *variables, const json_t *expected) {
    struct quern_error err = {0};
    struct buffer out;
    buffer_init(&out, 8 << 20);
    enum quern_status status = render(source, tokens, variables, &out, &err);
    const json_t *text = json_object_get(expected, "text");
    if (!json_is_string(text))
        text = json_object_get(expected, "rendered");
    bool ok = json_is_string(text)
                  ? !status && out.len == json_string_length(text) &&
                        (out.len == 0 || memcmp(out.data, json_string_value(text), out.len) == 0)
                  : status == QUERN_ERR_TEMPLATE || status == QUERN_ERR_UNSUPPORTED;
    if (!ok)
        fprintf(stderr, "%s: %s\n  got      %s%s\n  expected %s\n", name, source,
                status ? "error: " : "",
                status     ? err.message
                : out.data ? out.data
                           : "",
                json_is_string(text) ? json_string_value(text)
                                     : json_string_value(json_object_get(expected, "error")));
    buffer_release(&out);
    return ok;
}

static void small_templates_render_as_transformers_renders_them(void **state) {
    (void)state;
    json_t *file = load(support_fixture("golden/chat/small.json"));
    json_t *cases = json_object_get(file, "cases");
    size_t wrong = 0;
    assert_true(json_array_size(cases) > 1000);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        wrong += !matches(json_string_value(json_object_get(c, "name")),
                          json_string_value(json_object_get(c, "template")), NULL,
                          json_object_get(file, "variables"), c);
    }
    assert_int_equal(wrong, 0);
    json_decref(file);
}

static void templates_in_the_manner_of_other_families_render_as_in_transformers(void **state) {
    (void)state;
    json_t *file = load(support_fixture("golden/chat/families.json"));
    json_t *families = json_object_get(file, "families");
    size_t wrong = 0, n = 0;
    for (size_t f = 0; f < json_array_size(families); f++) {
        const json_t *family = json_array_get(families, f),
                     *renders = json_object_get(family, "renders");
        for (size_t i = 0; i < json_array_size(renders); i++, n++) {
            const json_t *r = json_array_get(renders, i);
            size_t which = (size_t)json_integer_value(json_object_get(r, "conversation"));
            json_t *variables =
                json_copy(json_array_get(json_object_get(file, "conversations"), which));
            json_object_update(variables, json_object_get(r, "options"));
            wrong += !matches(json_string_value(json_object_get(family, "name")),
                              json_string_value(json_object_get(family, "template")),
                              json_object_get(file, "tokens"), variables, r);
            json_decref(variables);
        }
    }
    assert_true(n >= 128);
    assert_int_equal(wrong, 0);
    json_decref(file);
}

/* The template files behind the names in chat_template_renders.json. */
static char *template_source(const char *name) {
    static const char *const files[][2] = {
        {"qwen3", "chat_template_qwen3_official_1.7B.jinja"},
        {"qwen3_first_release", "chat_template_qwen3_official_1.7B.jinja"},
        {"qwen3_nonthinking", "chat_template_qwen3_nonthinking_official.jinja"},
        {"thinking_2507", "chat_template_qwen3_thinking_2507.jinja"},
        {"instruct_2507_from_memory", "chat_template_qwen3_instruct_2507_FROM_MEMORY.jinja"},
        {"qwen3_coder", "chat_template_qwen3_coder.jinja"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[200];
        if (strcmp(name, files[i][0]) != 0)
            continue;
        snprintf(path, sizeof path, "qwen3/templates/%s", files[i][1]);
        return support_read_file(support_shared(path), NULL);
    }
    fail_msg("no file for the template %s", name);
    return NULL;
}

static json_t *golden_variables(const json_t *cases, const json_t *r) {
    json_t *variables =
        json_copy(json_object_get(cases, json_string_value(json_object_get(r, "case"))));
    json_object_set(variables, "add_generation_prompt",
                    json_object_get(r, "add_generation_prompt"));
    json_t *thinking = json_object_get(r, "enable_thinking");
    if (!json_is_null(thinking))
        json_object_set(variables, "enable_thinking", thinking);
    return variables;
}

static void the_templates_of_qwen3_render_as_recorded(void **state) {
    (void)state;
    const char *path;
    SHARED_OR_SKIP(path, "qwen3/golden/chat_template_renders.json");
    json_t *file = load(path);
    json_t *renders = json_object_get(file, "renders");
    size_t wrong = 0;
    assert_int_equal(json_array_size(renders), 400);
    for (size_t i = 0; i < json_array_size(renders); i++) {
        const json_t *r = json_array_get(renders, i);
        char *source = template_source(json_string_value(json_object_get(r, "template")));
        json_t *variables = golden_variables(json_object_get(file, "cases"), r);
        wrong +=
            !matches(json_string_value(json_object_get(r, "case")), source, NULL, variables, r);
        json_decref(variables);
        free(source);
    }
    assert_int_equal(wrong, 0);
    json_decref(file);
}

/* tests/fixtures/qwen3-tiny has a template of our own that renders as Qwen3's does. */
static void our_qwen3_template_equals_the_official_one(void **state) {
    (void)state;
    const char *path;
    SHARED_OR_SKIP(path, "qwen3/golden/chat_template_renders.json");
    json_t *file = load(path);
    json_t *renders = json_object_get(file, "renders");
    char *source =
        support_read_file(support_fixture("fixtures/qwen3-tiny/chat_template.jinja"), NULL);
    size_t wrong = 0, n = 0;
    for (size_t i = 0; i < json_array_size(renders); i++) {
        const json_t *r = json_array_get(renders, i);
        if (strcmp(json_string_value(json_object_get(r, "template")), "qwen3") != 0)
            continue;
        json_t *variables = golden_variables(json_object_get(file, "cases"), r);
        wrong +=
            !matches(json_string_value(json_object_get(r, "case")), source, NULL, variables, r);
        json_decref(variables);
        n++;
    }
    assert_int_equal(n, 120);
    assert_int_equal(wrong, 0);
    free(source);
    json_decref(file);
}

int main(void) {
    setenv("TZ", "UTC", 1); /* strftime_now shows local time */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_templates_render_as_transformers_renders_them),
        cmocka_unit_test(templates_in_the_manner_of_other_families_render_as_in_transformers),
        cmocka_unit_test(the_templates_of_qwen3_render_as_recorded),
        cmocka_unit_test(our_qwen3_template_equals_the_official_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
