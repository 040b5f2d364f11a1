/* Records as tokens and marks: against where ChatML puts an answer in jinja2's text, and what else a
 * record may be. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "train/data/example.h"

static struct tokenizer *tokenizer;
static struct chat_template *chat;
static struct quern_error err;

static int open_files(void **state) {
    const char *dir = support_fixture("fixtures/qwen3-tiny");
    (void)state;
    return tokenizer_open(dir, &tokenizer, &err) || chat_template_open(dir, &chat, &err);
}

static int close_files(void **state) {
    (void)state;
    chat_template_close(chat);
    tokenizer_close(tokenizer);
    return 0;
}

static json_t *json(const char *text) {
    json_t *value = NULL;
    if (json_parse(text, strlen(text), "test", &value, &err))
        fail_msg("%s", err.message);
    return value;
}

/* The view of one record, or the error's message. */
static char *show(const char *record, struct example_options options) {
    struct example_maker maker;
    struct example example;
    struct buffer out;
    json_t *value = json(record);
    buffer_init(&out, 1 << 20);
    example_init(&example);
    assert_int_equal(example_maker_init(&maker, tokenizer, chat, &options, &err), QUERN_OK);
    if (example_make(&maker, value, &example, &err))
        buffer_puts(&out, err.message);
    else
        assert_int_equal(example_show(&example, tokenizer, false, 0, &out, &err), QUERN_OK);
    json_decref(value);
    example_release(&example);
    example_maker_release(&maker);
    return buffer_detach(&out, NULL);
}

static void expect(const char *record, struct example_options options, const char *view) {
    char *got = show(record, options);
    assert_string_equal(got, view);
    free(got);
}

static void expect_part(const char *record, struct example_options options, const char *part) {
    char *got = show(record, options);
    if (!strstr(got, part))
        fail_msg("\"%s\" is not in \"%s\"", part, got);
    free(got);
}

static const struct example_options plain;

static void answers_are_marked_exactly_where_the_template_puts_them(void **state) {
    char *lines = support_read_file(support_fixture("golden/train_data/examples.jsonl"), NULL);
    struct example_maker maker;
    struct example example;
    (void)state;
    example_init(&example);
    assert_int_equal(example_maker_init(&maker, tokenizer, chat, &plain, &err), QUERN_OK);
    size_t n = 0;
    for (char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        *end = '\0';
        json_t *all = json(line);
        const json_t *tokens = json_object_get(all, "tokens"), *marks = json_object_get(all, "trained");
        if (example_make(&maker, json_object_get(all, "record"), &example, &err))
            fail_msg("%s", err.message);
        assert_int_equal(example.tokens.n, json_array_size(tokens));
        for (size_t i = 0; i < example.tokens.n; i++) {
            assert_int_equal(example.tokens.ids[i], json_integer_value(json_array_get(tokens, i)));
            assert_int_equal(example.trained.data[i], json_integer_value(json_array_get(marks, i)));
        }
        json_decref(all);
    }
    assert_int_equal(n, 9);
    free(lines);
    example_release(&example);
    example_maker_release(&maker);
}

static void every_form_of_record_becomes_a_conversation(void **state) {
    const char *view = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
                       "[[a<|im_end|>]]\n";
    (void)state;
    expect("{\"prompt\":\"q\",\"completion\":\"a\"}", plain, view);
    expect("{\"instruction\":\"q\",\"input\":\"\",\"output\":\"a\"}", plain, view);
    expect("{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]}",
           plain, view);
    expect("{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}],"
           "\"completion\":[{\"role\":\"assistant\",\"content\":\"a\"}]}",
           plain, view);
    expect_part("{\"instruction\":\"q\",\"input\":\"more\",\"output\":\"a\"}", plain, "q\n\nmore<|im_end|>");
    expect_part("{\"system\":\"S\",\"conversations\":[{\"from\":\"human\",\"value\":\"q\"},"
                "{\"from\":\"function_call\",\"value\":\"{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{}}\"},"
                "{\"from\":\"observation\",\"value\":\"7\"},{\"from\":\"gpt\",\"value\":\"a\"}]}",
                plain, "[[<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call><|im_end|>]]");
}

static void plain_texts_are_trained_to_their_end(void **state) {
    const struct example_options raw = {.raw = true};
    (void)state;
    /* Nothing comes before the first token, so it is no label. */
    expect("{\"text\":\"ab ab\"}", plain, "ab[[ ab<|endoftext|>]]\n");
    expect("{\"text\":\"given\",\"target\":\" this\"}", plain, "given[[ this<|endoftext|>]]\n");
    expect("{\"prompt\":\"given\",\"completion\":\" this\"}", raw, "given[[ this<|endoftext|>]]\n");
}

static void thinking_is_kept_dropped_or_masked_where_empty(void **state) {
    const char *thought = "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\","
                          "\"content\":\"a\",\"reasoning_content\":\"hm\"}]}";
    const char *none = "{\"prompt\":\"q\",\"completion\":\"a\"}";
    const struct example_options keep = {.thinking = EXAMPLE_THINK_KEEP},
                                 drop = {.thinking = EXAMPLE_THINK_DROP};
    (void)state;
    expect_part(thought, plain, "assistant\n[[<think>\nhm\n</think>\n\na<|im_end|>]]");
    expect_part(thought, keep, "assistant\n[[<think>\nhm\n</think>\n\na<|im_end|>]]");
    expect_part(thought, drop, "assistant\n<think>\n\n</think>\n\n[[a<|im_end|>]]");
    expect_part(none, keep, "assistant\n[[<think>\n\n</think>\n\na<|im_end|>]]");
}

static void the_last_turns_alone_are_trained_when_asked(void **state) {
    const struct example_options last = {.last_turns = true};
    (void)state;
    expect("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"},"
           "{\"role\":\"user\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
           last,
           "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\n"
           "r<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n[[b<|im_end|>]]\n");
}

static void a_template_with_generation_blocks_says_itself_what_is_trained(void **state) {
    const char *source = "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}"
                         "{{ m.content }}.{% endgeneration %}{% else %}U:{{ m.content }};{% endif %}"
                         "{% endfor %}";
    struct chat_template *own = NULL, *kept = chat;
    (void)state;
    assert_int_equal(chat_template_parse(source, strlen(source), "t", NULL, NULL, &own, &err), QUERN_OK);
    chat = own;
    expect("{\"prompt\":\"q\",\"completion\":\"a\"}", plain, "U:q;A:[[a.]]\n");
    chat = kept;
    chat_template_close(own);
}

static void records_that_are_none_say_what_they_lack(void **state) {
    (void)state;
    expect_part("{\"question\":\"q\"}", plain, "found none of messages");
    expect_part("[]", plain, "found array, expected an object");
    expect_part("{\"messages\":[]}", plain, "there are no messages");
    expect_part("{\"messages\":[{\"role\":\"bot\",\"content\":\"x\"}]}", plain, "messages[0]: role is \"bot\"");
    expect_part("{\"conversations\":[{\"from\":\"x\",\"value\":\"y\"}]}", plain, "conversations[0]");
    expect_part("{\"prompt\":\"q\",\"completion\":3}", plain, "completion is integer");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_marked_exactly_where_the_template_puts_them),
        cmocka_unit_test(every_form_of_record_becomes_a_conversation),
        cmocka_unit_test(plain_texts_are_trained_to_their_end),
        cmocka_unit_test(thinking_is_kept_dropped_or_masked_where_empty),
        cmocka_unit_test(the_last_turns_alone_are_trained_when_asked),
        cmocka_unit_test(a_template_with_generation_blocks_says_itself_what_is_trained),
        cmocka_unit_test(records_that_are_none_say_what_they_lack),
    };
    return cmocka_run_group_tests(tests, open_files, close_files);
}
