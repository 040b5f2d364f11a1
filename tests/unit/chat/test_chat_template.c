#include "chat/chat_template.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/jinja_run.h"
#include "support/support.h"
#include "text/json.h"

static struct quern_error error;

static json_t *json(const char *text) {
    json_t *value = NULL;
    if (json_parse(text, strlen(text), "test", &value, &error))
        fail_msg("%s", error.message);
    return value;
}

/* The status; the text in *out. */
static enum quern_status render_with(const char *source, const char *messages,
                                     struct chat_render_options options, struct buffer *out) {
    struct chat_template *t = NULL;
    json_t *list = json(messages);
    memset(&error, 0, sizeof error);
    buffer_init(out, 16 << 20);
    enum quern_status status =
        chat_template_parse(source, strlen(source), "here", "<s>", "</s>", &t, &error);
    if (!status)
        status = chat_template_render(t, list, &options, out, &error);
    chat_template_close(t);
    json_decref(list);
    return status;
}

static const struct chat_render_options plain = {.enable_thinking = -1};

static void expect_text(const char *source, const char *messages,
                        struct chat_render_options options, const char *expected) {
    struct buffer out;
    if (render_with(source, messages, options, &out))
        fail_msg("%s: %s", source, error.message);
    assert_string_equal(out.data ? out.data : "", expected);
    buffer_release(&out);
}

static void expect_error(const char *source, enum quern_status status, const char *message) {
    struct buffer out;
    assert_int_equal(render_with(source, "[]", plain, &out), status);
    if (!strstr(error.message, message))
        fail_msg("\"%s\" does not contain \"%s\"", error.message, message);
    buffer_release(&out);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void errors_name_template_line_and_construct(void **state) {
    (void)state;
    expect_error("a\n\n{{ x | foo }}", QUERN_ERR_TEMPLATE, "here, line 3: unknown filter 'foo'");
    expect_error("a\n{% if x is foo %}\n{% endif %}", QUERN_ERR_TEMPLATE,
                 "here, line 2: unknown test 'foo'");
    expect_error("{% foo %}", QUERN_ERR_TEMPLATE, "here, line 1: unknown tag 'foo'");
    expect_error("\n{{ x.y }}", QUERN_ERR_TEMPLATE, "here, line 2: 'x' is undefined");
    expect_error("{{ messages[0].role.x }}", QUERN_ERR_TEMPLATE, "list object has no element 0");
    expect_error("{% set d = {} %}\n{{ d.a.b }}", QUERN_ERR_TEMPLATE,
                 "here, line 2: 'dict object' has no attribute 'a'");
    expect_error("\n\n{{ raise_exception('roles must alternate') }}", QUERN_ERR_TEMPLATE,
                 "here, line 3: roles must alternate");
    expect_error("{{ 'a' + 1 }}", QUERN_ERR_TEMPLATE,
                 "unsupported operand types for +: 'str' and 'int'");
    expect_error("{% if true %}\n", QUERN_ERR_TEMPLATE, "'endif' is missing");
    expect_error("{{ (1 }}", QUERN_ERR_TEMPLATE, "here, line 1: unexpected '}'");
    expect_error("{% macro m(a) %}{% endmacro %}\n{{ m(b=1) }}", QUERN_ERR_TEMPLATE,
                 "here, line 2: macro 'm' takes no keyword argument 'b'");
    expect_error("{{ 'abc'.startswith() }}", QUERN_ERR_TEMPLATE,
                 "startswith() needs the argument 'prefix'");
}

static void text_that_is_no_utf8_is_refused(void **state) {
    (void)state;
    expect_error("a\xff", QUERN_ERR_FORMAT, "here is not valid UTF-8");
}

/* ---- limits --------------------------------------------------------------------------------- */

static void endless_work_is_stopped(void **state) {
    (void)state;
    const char *r = "range(99999)";
    char source[300];
    snprintf(source, sizeof source,
             "{%% for a in %s %%}{%% for b in %s %%}{%% endfor %%}{%% endfor %%}", r, r);
    expect_error(source, QUERN_ERR_LIMIT, "more than 1000000 steps");
    expect_error("{% set ns = namespace(s='ab' * 100000) %}{% for a in range(99999) %}"
                 "{% set x = ns.s in ns.s %}{% endfor %}",
                 QUERN_ERR_LIMIT, "steps");
    /* Hashing and comparing count as well, */
    static const char *const long_work[] = {"{{ {s: 1}[s] }}", "{% set x = {}[s] %}",
                                            "{% set x = s == t %}", "{% set x = s < t %}"};
    for (size_t i = 0; i < sizeof long_work / sizeof *long_work; i++) {
        snprintf(source, sizeof source,
                 "{%% set s = 'a' * 999999 + 'b' %%}{%% set t = 'a' * 999999 + 'c' %%}"
                 "{%% for a in range(99999) %%}%s{%% endfor %%}",
                 long_work[i]);
        expect_error(source, QUERN_ERR_LIMIT, "steps");
    }
    /* and a value of 60 tuples that is looked at 2^60 times. */
    static const char *const doubling[] = {"{{ {t: 1} }}", "{{ {}[t] }}", "{{ t is filter }}"};
    for (size_t i = 0; i < sizeof doubling / sizeof *doubling; i++) {
        snprintf(source, sizeof source,
                 "{%% set n = namespace(t=()) %%}{%% for i in range(60) %%}"
                 "{%% set n.t = (n.t, n.t) %%}{%% endfor %%}{%% set t = n.t %%}%s",
                 doubling[i]);
        expect_error(source, QUERN_ERR_LIMIT, "steps");
    }
}

static void output_and_strings_are_limited(void **state) {
    (void)state;
    expect_error("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", QUERN_ERR_LIMIT,
                 "longer than 4194304 bytes");
    expect_error("{% set x = 'x' * 5000000 %}", QUERN_ERR_LIMIT, "repetition");
    expect_error("{% set x = [0] * 5000000 %}", QUERN_ERR_LIMIT, "repetition");
    expect_error("{% set x = 'xx' * 2000000 %}{% set y = x ~ x %}", QUERN_ERR_LIMIT, "longer");
    expect_error("{% set x = ('x' * 2000000)|replace('x', 'yyy') %}", QUERN_ERR_LIMIT, "longer");
    expect_error("{% set x = ['x' * 100000] * 100 %}{{ x|join }}", QUERN_ERR_LIMIT, "longer");
    expect_error("{{ '%99999999d' % 1 }}", QUERN_ERR_LIMIT, "width");
    expect_error("{{ 'a'.center(99999999) }}", QUERN_ERR_LIMIT, "longer");
    expect_error("{{ range(99999999) }}", QUERN_ERR_TEMPLATE, "more than 100000");
}

static void memory_is_limited(void **state) {
    (void)state;
    expect_error("{% set ns = namespace(l=[]) %}{% for a in range(200) %}"
                 "{% set ns.l = ns.l + ['x' * 4000000] %}{% endfor %}",
                 QUERN_ERR_LIMIT, "of memory");
}

static void recursion_is_limited(void **state) {
    (void)state;
    expect_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", QUERN_ERR_LIMIT,
                 "more than 64 deep");
    expect_error("{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}", QUERN_ERR_LIMIT,
                 "nested too deeply");
    expect_error("{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}"
                 "{% endfor %}{{ ns.x == ns.x[0] }}{{ ns.x|tojson }}",
                 QUERN_ERR_LIMIT, "nested too deeply");
    expect_error("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", QUERN_ERR_LIMIT,
                 "more than 64 deep");
}

/* `n` times `open`, then `middle`, then n times `close`. */
static void expect_nested_error(const char *open, const char *middle, const char *close, size_t n) {
    struct buffer source;
    buffer_init(&source, 1 << 20);
    buffer_puts(&source, "{{ ");
    for (size_t i = 0; i < n; i++)
        buffer_puts(&source, open);
    buffer_puts(&source, middle);
    for (size_t i = 0; i < n; i++)
        buffer_puts(&source, close);
    buffer_puts(&source, " }}");
    expect_error(source.data, QUERN_ERR_LIMIT, "");
    buffer_release(&source);
}

static void nesting_of_the_source_is_limited(void **state) {
    (void)state;
    expect_nested_error("(", "1", ")", 100);
    expect_nested_error("[", "1", "]", 100);
    expect_nested_error("not ", "1", "", 100);
    expect_nested_error("-", "1", "", 100);
    expect_nested_error("1 if 1 else ", "1", "", 100);
    expect_nested_error("a(", "1", ")", 100);
    expect_nested_error("1 + ", "1", "", 100000);
    expect_nested_error("", "x", ".a", 100000);
    expect_nested_error("", "x", "|e", 100000);
    expect_nested_error("(", "1", ")", 50000);
}

static void a_long_chain_of_elifs_is_no_nesting(void **state) {
    (void)state;
    struct buffer source;
    buffer_init(&source, 1 << 20);
    buffer_puts(&source, "{% if false %}");
    /* As many as a template can hold. */
    for (int i = 0; i < 60000; i++)
        buffer_puts(&source, "{% elif false %}x");
    buffer_puts(&source, "{% else %}y{% endif %}");
    expect_text(source.data, "[]", plain, "y");
    buffer_release(&source);
}

/* ---- options ----------------------------------------------------------------------------------
 */

static void options_become_variables(void **state) {
    (void)state;
    const char *source = "{{ enable_thinking is defined }}{{ enable_thinking }}"
                         "{{ add_generation_prompt }}{{ tools is none }}{{ bos_token }}{{ x }}";
    json_t *kwargs = json("{\"x\": [1]}"), *tools = json("[1]");
    expect_text(source, "[]", plain, "FalseFalseTrue<s>");
    struct chat_render_options options = {
        .enable_thinking = 0, .add_generation_prompt = true, .kwargs = kwargs, .tools = tools};
    expect_text(source, "[]", options, "TrueFalseTrueFalse<s>[1]");
    options.enable_thinking = 1;
    expect_text(source, "[]", options, "TrueTrueTrueFalse<s>[1]");
    json_decref(kwargs);
    json_decref(tools);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    struct buffer out;
    json_t *object = json("{\"messages\": []}"), *list = json("[]");
    struct chat_render_options options = {.kwargs = object, .enable_thinking = -1};
    assert_int_equal(render_with("x", "[]", options, &out), QUERN_ERR_ARG);
    options.kwargs = list;
    assert_int_equal(render_with("x", "[]", options, &out), QUERN_ERR_ARG);
    options.kwargs = NULL;
    options.tools = object;
    assert_int_equal(render_with("x", "[]", options, &out), QUERN_ERR_ARG);
    assert_int_equal(render_with("x", "{}", plain, &out), QUERN_ERR_ARG);
    assert_int_equal(render_with("x", "[1]", plain, &out), QUERN_ERR_ARG);
    assert_string_equal(error.message, "messages[0]: found integer, expected an object");
    json_decref(object);
    json_decref(list);
}

static void reasoning_is_found_under_all_its_names(void **state) {
    (void)state;
    const char *source =
        "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }};{% endfor %}";
    expect_text(source,
                "[{\"reasoning\": \"a\"}, {\"thinking\": \"b\"}, {\"reasoning_content\": \"c\"},"
                "{\"reasoning_content\": null, \"thinking\": \"d\"}, {\"content\": \"e\"}]",
                plain, "a|a;b|b;c|c;d|d;|;");
}

#define CHATML "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}"
#define TRIMMED "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}<end>\n{% endfor %}"

static void a_final_message_is_left_open(void **state) {
    (void)state;
    struct chat_render_options options = {.enable_thinking = -1, .continue_final_message = true};
    const char *messages =
        "[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"so far \"}]";
    expect_text(CHATML, messages, options, "<user>q<end>\n<assistant>so far ");
    expect_text(TRIMMED, messages, options, "<user>q<end>\n<assistant>so far");
    expect_text(
        "{% for m in messages %}<{{ m.content[1].text }}>{% endfor %}",
        "[{\"role\":\"user\",\"content\":[{\"text\":\"a\"},{\"text\":\"b\"},{\"image\":1}]}]",
        options, "<b");
}

static void a_final_message_that_cannot_be_continued_is_an_error(void **state) {
    (void)state;
    struct chat_render_options options = {.enable_thinking = -1, .continue_final_message = true};
    struct buffer out;
    assert_int_equal(render_with(CHATML, "[]", options, &out), QUERN_ERR_ARG);
    assert_int_equal(render_with(CHATML, "[{\"role\":\"user\",\"content\":null}]", options, &out),
                     QUERN_ERR_ARG);
    assert_int_equal(
        render_with(CHATML, "[{\"role\":\"user\",\"content\":[{\"image\":1}]}]", options, &out),
        QUERN_ERR_ARG);
    assert_int_equal(
        render_with("no con-tent", "[{\"role\":\"user\",\"content\":\"x\"}]", options, &out),
        QUERN_ERR_TEMPLATE);
    assert_int_equal(
        render_with("content", "[{\"role\":\"user\",\"content\":\"x\"}]", options, &out),
        QUERN_ERR_TEMPLATE);
    options.add_generation_prompt = true;
    assert_int_equal(render_with(CHATML, "[{\"role\":\"user\",\"content\":\"x\"}]", options, &out),
                     QUERN_ERR_ARG);
}

/* ---- directories --------------------------------------------------------------------------------
 */

static void expect_opened(const char *dir, const json_t *tools, const char *expected) {
    struct chat_template *t = NULL;
    json_t *messages = json("[]");
    struct buffer out;
    buffer_init(&out, 1000);
    if (chat_template_open(dir, &t, &error))
        fail_msg("%s", error.message);
    assert_non_null(t);
    struct chat_render_options options = {.enable_thinking = -1, .tools = tools};
    if (chat_template_render(t, messages, &options, &out, &error))
        fail_msg("%s", error.message);
    assert_string_equal(out.data, expected);
    buffer_release(&out);
    chat_template_close(t);
    json_decref(messages);
}

static void put(const char *name, const char *text) {
    support_write_file(support_temp_path(name), text, strlen(text));
}

static void a_directory_is_searched_in_transformers_order(void **state) {
    (void)state;
    const char *dir = support_temp_dir();
    struct chat_template *t = (struct chat_template *)&error; /* must become NULL */
    assert_int_equal(chat_template_open(dir, &t, &error), QUERN_OK);
    assert_null(t);
    put("tokenizer_config.json", "{\"bos_token\": {\"content\": \"<B>\"}, \"eos_token\": \"<E>\","
                                 "\"pad_token\": null, \"chat_template\": \"config{{ bos_token ~ "
                                 "eos_token ~ pad_token }}\"}");
    expect_opened(dir, NULL, "config<B><E>");
    put("chat_template.json", "{\"chat_template\": \"json{{ bos_token }}\"}");
    expect_opened(dir, NULL, "json<B>");
    put("chat_template.jinja", "jinja{{ bos_token }}\n");
    expect_opened(dir, NULL, "jinja<B>");
    put("chat_template.jinja", "{{ x |\n nope }}");
    assert_int_equal(chat_template_open(dir, &t, &error), QUERN_ERR_TEMPLATE);
    assert_non_null(strstr(error.message, "chat_template.jinja, line 2: unknown filter 'nope'"));
    remove(support_temp_path("chat_template.jinja"));
    remove(support_temp_path("chat_template.json"));
}

static void a_named_template_is_chosen_by_tools(void **state) {
    (void)state;
    put("tokenizer_config.json",
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"D\"},"
        "{\"name\": \"rag\", \"template\": \"{% broken\"}, {\"name\": \"tool_use\", \"template\": "
        "\"T\"}]}");
    json_t *tools = json("[]");
    expect_opened(support_temp_dir(), NULL, "D");
    expect_opened(support_temp_dir(), tools, "T");
    json_decref(tools);
    struct chat_template *t = NULL;
    put("tokenizer_config.json", "{\"chat_template\": 5}");
    assert_int_equal(chat_template_open(support_temp_dir(), &t, &error), QUERN_ERR_FORMAT);
    put("tokenizer_config.json", "{\"chat_template\": [{\"name\": \"default\"}]}");
    assert_int_equal(chat_template_open(support_temp_dir(), &t, &error), QUERN_ERR_FORMAT);
    put("tokenizer_config.json", "{\"bos_token\": 5}");
    assert_int_equal(chat_template_open(support_temp_dir(), &t, &error), QUERN_ERR_FORMAT);
    put("tokenizer_config.json", "[]");
    assert_int_equal(chat_template_open(support_temp_dir(), &t, &error), QUERN_ERR_FORMAT);
}

static void features_are_seen_in_the_source(void **state) {
    (void)state;
    static const struct {
        const char *source;
        bool thinks, tools;
    } cases[] = {{"x", false, false},
                 {"{{ tools }}", false, true},
                 {"<think>", true, false},
                 {"{{ enable_thinking }}", true, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_template *t = NULL;
        assert_int_equal(chat_template_parse(cases[i].source, strlen(cases[i].source), "t", NULL,
                                             NULL, &t, &error),
                         QUERN_OK);
        assert_int_equal(chat_template_can_think(t), cases[i].thinks);
        assert_int_equal(chat_template_has_tools(t), cases[i].tools);
        chat_template_close(t);
    }
}

/* ---- threads
 * -------------------------------------------------------------------------------------- */

static void *render_often(void *shared) {
    json_t *messages = json("[{\"role\":\"user\",\"content\":\"hi\"}]");
    bool ok = true;
    for (int i = 0; i < 200 && ok; i++) {
        struct buffer out;
        struct quern_error err;
        buffer_init(&out, 1000);
        ok = !chat_template_render(shared, messages, &plain, &out, &err) &&
             strcmp(out.data, "<user>hi<end>\n") == 0;
        buffer_release(&out);
    }
    json_decref(messages);
    return ok ? shared : NULL;
}

static void one_template_serves_several_threads(void **state) {
    (void)state;
    struct chat_template *t = NULL;
    pthread_t threads[3];
    assert_int_equal(chat_template_parse(CHATML, strlen(CHATML), "t", NULL, NULL, &t, &error),
                     QUERN_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, t), 0);
    for (int i = 0; i < 3; i++) {
        void *answer = NULL;
        pthread_join(threads[i], &answer);
        assert_non_null(answer);
    }
    chat_template_close(t);
}

static void templates_do_not_depend_on_the_locale(void **state) {
    (void)state;
    static const char source[] = "{{ 1.5 + 1 }} {{ '2.5'|float }} {{ 2.345|round(2) }} "
                                 "{{ '%.2f'|format(1.5) }} {{ '%G'|format(1e30) }} {{ 0.1 }}";
    static const char expected[] = "2.5 2.5 2.35 1.50 1E+30 0.1";
    expect_text(source, "[]", plain, expected);
    if (!support_use_foreign_point())
        skip();
    expect_text(source, "[]", plain, expected);
    setlocale(LC_ALL, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_template_line_and_construct),
        cmocka_unit_test(text_that_is_no_utf8_is_refused),
        cmocka_unit_test(endless_work_is_stopped),
        cmocka_unit_test(output_and_strings_are_limited),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(recursion_is_limited),
        cmocka_unit_test(nesting_of_the_source_is_limited),
        cmocka_unit_test(a_long_chain_of_elifs_is_no_nesting),
        cmocka_unit_test(options_become_variables),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(reasoning_is_found_under_all_its_names),
        cmocka_unit_test(a_final_message_is_left_open),
        cmocka_unit_test(a_final_message_that_cannot_be_continued_is_an_error),
        cmocka_unit_test(a_directory_is_searched_in_transformers_order),
        cmocka_unit_test(a_named_template_is_chosen_by_tools),
        cmocka_unit_test(features_are_seen_in_the_source),
        cmocka_unit_test(one_template_serves_several_threads),
        cmocka_unit_test(templates_do_not_depend_on_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
