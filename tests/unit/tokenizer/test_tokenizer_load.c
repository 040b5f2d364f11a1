/* tokenizer.json files that are broken, or ask for what is not there: one clear error each. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tokenizer/tokenizer.h"

#define SPLIT                                                                                  \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":" \
    "true}"
#define DECODER                                                                                \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":" \
    "false}"

/* A small tokenizer.json; NULL: the part as it should be. */
struct parts {
    const char *version, *added, *normalizer, *pre_tokenizer, *post_processor, *decoder, *model;
};

static const char good_model[] =
    "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\xC4\xA0\":3},\"merges\":[\"a b\"]}";

static const char *or_else(const char *text, const char *otherwise) {
    return text ? text : otherwise;
}

static struct buffer compose(const struct parts *p) {
    struct buffer out;
    buffer_init(&out, 1 << 20);
    buffer_printf(&out,
                  "{\"version\":%s,\"added_tokens\":%s,\"normalizer\":%s,\"pre_tokenizer\":%s,"
                  "\"post_processor\":%s,\"decoder\":%s,\"model\":%s}",
                  or_else(p->version, "\"1.0\""), or_else(p->added, "[]"),
                  or_else(p->normalizer, "null"), or_else(p->pre_tokenizer, SPLIT),
                  or_else(p->post_processor, "null"), or_else(p->decoder, DECODER),
                  or_else(p->model, good_model));
    return out;
}

static enum quern_status parse(const struct parts *p, struct tokenizer **t,
                               struct quern_error *err) {
    struct buffer json = compose(p);
    enum quern_status status = tokenizer_parse(buffer_str(&json), "dir/tokenizer.json", t, err);
    buffer_release(&json);
    return status;
}

static void expect(struct parts p, enum quern_status code, const char *message) {
    struct tokenizer *t = NULL;
    struct quern_error err = {0};
    enum quern_status status = parse(&p, &t, &err);
    if (status != code || err.code != code || !strstr(err.message, message) ||
        strncmp(err.message, "dir/tokenizer.json: ", 20) != 0)
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", status, err.message, code, message);
    assert_null(t);
}

static void expect_loads(struct parts p) {
    struct tokenizer *t = NULL;
    struct quern_error err = {0};
    if (parse(&p, &t, &err))
        fail_msg("%s", err.message);
    tokenizer_close(t);
}

#define MODEL(text) ((struct parts){.model = (text)})

static void what_is_not_supported_is_refused_by_name(void **state) {
    (void)state;
    enum quern_status u = QUERN_ERR_UNSUPPORTED;
    expect((struct parts){.version = "\"2.0\""}, u, "version");
    expect((struct parts){.normalizer = "{\"type\":\"Lowercase\"}"}, u,
           "normalizer: \"Lowercase\" is not supported");
    expect((struct parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}"
                                        ",{\"type\":\"Strip\"}]}"},
           u, "normalizer: \"Strip\"");
    expect((struct parts){.pre_tokenizer = "null"}, u, "no ByteLevel");
    expect((struct parts){.pre_tokenizer = "{\"type\":\"Whitespace\"}"}, u,
           "pre_tokenizer: \"Whitespace\"");
    expect((struct parts){.pre_tokenizer =
                              "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT "," SPLIT "]}"},
           u, "\"ByteLevel\" after ByteLevel");
    expect(
        (struct parts){
            .pre_tokenizer =
                "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\bx\"},\"behavior\":\"Isolated\","
                "\"invert\":false}"},
        u,
        "pre_tokenizer.pattern: the pattern holds an escape that engines read differently (at byte "
        "0)");
    expect(
        (struct parts){
            .pre_tokenizer =
                "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\","
                "\"invert\":false}"},
        u, "does not compile");
    expect(
        (struct parts){.pre_tokenizer =
                           "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Odd\","
                           "\"invert\":false}"},
        u, "pre_tokenizer.behavior: \"Odd\"");
    expect((struct parts){.decoder = "null"}, u, "decoder: there is no ByteLevel");
    expect((struct parts){.decoder = "{\"type\":\"Metaspace\"}"}, u, "decoder: \"Metaspace\"");
    expect((struct parts){.post_processor = "{\"type\":\"Odd\"}"}, u, "post_processor: \"Odd\"");
    expect(MODEL("{\"type\":\"Unigram\",\"vocab\":{},\"merges\":[]}"), u,
           "model.type: \"Unigram\"");
    expect(MODEL("{\"vocab\":{},\"merges\":[],\"dropout\":0.1}"), u, "model.dropout: 0.1");
    expect(MODEL("{\"vocab\":{},\"merges\":[],\"byte_fallback\":true}"), u,
           "model.byte_fallback: true");
    expect(MODEL("{\"vocab\":{},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}"), u,
           "model.end_of_word_suffix: </w>");
    expect(MODEL("{\"vocab\":{},\"merges\":[],\"continuing_subword_prefix\":\"##\"}"), u,
           "continuing_subword_prefix: ##");
}

static void faulty_models_are_refused(void **state) {
    (void)state;
    enum quern_status f = QUERN_ERR_FORMAT;
    expect(MODEL("null"), f, "model: one object was expected");
    expect(MODEL("{}"), f, "model.vocab is missing");
    expect(MODEL("{\"vocab\":{\"a\":0}}"), f, "model.merges is missing");
    expect(MODEL("{\"vocab\":[],\"merges\":[]}"), f, "model.vocab: an object was expected");
    expect(MODEL("{\"vocab\":{\"a\":\"0\"},\"merges\":[]}"), f, "an id was expected");
    expect(MODEL("{\"vocab\":{\"a\":-1},\"merges\":[]}"), f, "a whole number");
    expect(MODEL("{\"vocab\":{\"a\":1.5},\"merges\":[]}"), f, "a whole number");
    expect(MODEL("{\"vocab\":{\"a\":4294967296},\"merges\":[]}"), f, "a whole number");
    expect(MODEL("{\"vocab\":{\"a\":999999999},\"merges\":[]}"), f,
           "id 999999999, but only 1 tokens");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}"), f, "id 0 is given to two tokens");
    expect(MODEL("{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}"), f,
           "ids 0 and 1 are the same token");
    expect(MODEL("{\"vocab\":{\"a\":0},\"vocab\":{\"a\":0},\"merges\":[]}"), f,
           "model.vocab is there twice");
    expect(MODEL("{\"vocab\":{\"a\":0},\"merges\":[],\"merges\":[]}"), f,
           "model.merges is there twice");
    expect(MODEL("{\"vocab\":{\"a\":0},\"merges\":{}}"), f, "strings or pairs of strings");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",[\"a\",\"b\"]]}"), f,
           "strings or pairs of strings");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\"]]}"), f,
           "two strings were expected");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[[\"a\",\"b\",\"c\"]]}"), f,
           "two strings were expected");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"ab\"]}"), f,
           "model.merges[0]: \"ab\" is not two tokens");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b a\"]}"), f, "is not two tokens");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}"), f,
           "model.merges[0]: of \"a\" + \"b\" the vocabulary lacks the two together");
    expect(MODEL("{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",\"c b\"]}"), f,
           "model.merges[1]: of \"c\" + \"b\" the vocabulary lacks the first");
    expect(MODEL("{\"merges\":[\"a c\"],\"vocab\":{\"a\":0}}"), f, "lacks the second");
    expect(MODEL("{\"merges\":7,\"vocab\":{\"a\":0}}"), f, "strings or pairs of strings");
    expect(MODEL("{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"<unk>\"}"), f,
           "the vocabulary has no \"<unk>\"");
    expect(MODEL("{\"vocab\":{\"a\":0},\"merges\":[],\"ignore_merges\":1}"), f,
           "true or false was expected");
}

#define TOKEN(flags) "[{\"id\":4,\"content\":\"<x>\"," flags "}]"

static void faulty_parts_are_refused(void **state) {
    (void)state;
    enum quern_status f = QUERN_ERR_FORMAT;
    expect((struct parts){.added = "7"}, f, "added_tokens is a number, expected an array");
    expect((struct parts){.added = "[7]"}, f, "added_tokens[0].content is missing");
    expect((struct parts){.added = "[{\"id\":\"4\",\"content\":\"x\"}]"}, f,
           "added_tokens[0].id is a string, expected a number");
    expect((struct parts){.added = "[{\"id\":-4,\"content\":\"x\"}]"}, f,
           "added_tokens[0].id is -4");
    expect((struct parts){.added = TOKEN("\"special\":1")}, f,
           "added_tokens[0].special is a number, expected a boolean");
    expect((struct parts){.added = TOKEN("\"special\":true")}, f,
           "added_tokens[0].single_word is missing");
    expect((struct parts){.normalizer = "[]"}, f, "normalizer is an array, expected an object");
    expect((struct parts){.normalizer = "{}"}, f, "normalizer.type is missing");
    expect((struct parts){.normalizer = "{\"type\":\"Sequence\"}"}, f, "normalizer.normalizers");
    expect((struct parts){.pre_tokenizer = "{\"type\":\"ByteLevel\"}"}, f,
           "pre_tokenizer.add_prefix_space is missing");
    expect(
        (struct parts){
            .pre_tokenizer =
                "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\",\"invert\":false}"},
        f, "neither a \"Regex\" nor a \"String\"");
    expect((struct parts){.post_processor =
                              "{\"type\":\"RobertaProcessing\",\"cls\":[\"a\"],\"sep\":[\"b\",1]}"},
           f, "post_processor.cls is not [token, id]");
    expect((struct parts){.post_processor =
                              "{\"type\":\"BertProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",99]}"},
           f, "id 99 is beyond the last token");
    expect((struct parts){.post_processor = "{\"type\":\"TemplateProcessing\"}"}, f,
           "post_processor.single");
    expect(
        (struct parts){
            .post_processor =
                "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}"},
        f, "no ids for \"x\"");
}

static void syntax_errors_name_line_and_column(void **state) {
    (void)state;
    struct tokenizer *t = NULL;
    struct quern_error err;
    assert_int_equal(
        tokenizer_parse(STR_LIT("{\n  \"model\": {\"vocab\": {\"a\" 1}}}"), "f", &t, &err),
        QUERN_ERR_FORMAT);
    assert_string_equal(err.message, "f: line 2, column 27: ':' was expected after a key");
    assert_int_equal(tokenizer_parse((struct str){NULL, 0}, "f", &t, NULL), QUERN_ERR_FORMAT);
    assert_int_equal(tokenizer_parse(STR_LIT("[]"), "f", &t, &err), QUERN_ERR_FORMAT);
    assert_int_equal(tokenizer_parse(STR_LIT("{}"), "f", &t, &err), QUERN_ERR_FORMAT);
    assert_string_equal(err.message, "f: model is missing");
    assert_null(t);
}

static void odd_but_valid_files_load(void **state) {
    (void)state;
    expect_loads((struct parts){0});
    expect_loads(MODEL("{\"vocab\":{},\"merges\":[]}"));
    expect_loads(MODEL("{\"merges\":[\"#version: 0.2\",\"a "
                       "b\"],\"vocab\":{\"b\":7,\"ab\":3,\"a\":0,\"\":1},\"other\":{\"x\":[]}}"));
    expect_loads(MODEL("{\"vocab\":{\"\\u2581\":0,\"a\":1,\"\\u2581a\":2},\"merges\":[[\"\\u2581\","
                       "\"a\"]],\"dropout\":null}"));
    expect_loads((struct parts){.added = "null"});
    expect_loads((struct parts){.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[]}"});
}

/* Every prefix of a real file, and the file with each of some bytes changed: no crash, no leak. */
static void truncated_and_flipped_files_end_in_an_error_or_load(void **state) {
    (void)state;
    size_t size;
    char *text =
        support_read_file(support_fixture("golden/tokenizer/llama3/tokenizer.json"), &size);
    struct quern_error err;
    for (size_t n = 0; n + 2 < size; n += 97) {
        /* The exact size, so that a sanitizer sees a read beyond the end. */
        char *copy = malloc(n + 1);
        struct tokenizer *t = NULL;
        assert_non_null(copy);
        memcpy(copy, text, n);
        assert_int_not_equal(tokenizer_parse((struct str){copy, n}, "f", &t, &err), QUERN_OK);
        free(copy);
    }
    for (size_t i = 0; i < size; i += 61) {
        struct tokenizer *t = NULL;
        text[i] = (char)(text[i] ^ 1 << i % 7);
        tokenizer_parse((struct str){text, size}, "f", &t, &err);
        tokenizer_close(t);
        text[i] = (char)(text[i] ^ 1 << i % 7);
    }
    free(text);
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    struct tokenizer *t = NULL;
    struct quern_error err;
    assert_int_equal(tokenizer_open(support_temp_path("nowhere"), &t, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "nowhere/tokenizer.json"));
}

#define ADDED(content, rstrip)                                                      \
    "{\"id\":4,\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false," \
    "\"rstrip\":" rstrip ",\"normalized\":false,\"special\":false}"

static void what_would_take_quadratic_time_is_refused(void **state) {
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_puts(&text, "[{\"id\":4,\"content\":\"");
    for (int i = 0; i < 1025; i++)
        buffer_putc(&text, 'a');
    buffer_puts(&text, "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                       "\"normalized\":false,\"special\":false}]");
    expect((struct parts){.added = text.data}, QUERN_ERR_LIMIT,
           "added_tokens[0].content has 1025 bytes, at most 1024 are taken");
    buffer_clear(&text);
    buffer_puts(&text,
                "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}");
    for (int i = 0; i < 64; i++)
        buffer_puts(&text, ",{\"SpecialToken\":{\"id\":\"x\"}}");
    buffer_puts(&text, "],\"special_tokens\":{\"x\":{\"ids\":[1]}}}");
    expect((struct parts){.post_processor = text.data}, QUERN_ERR_LIMIT,
           "post_processor.single: more than 64 pieces");
    buffer_clear(&text);
    buffer_puts(&text, "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
                       "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[1");
    for (int i = 0; i < 64; i++)
        buffer_puts(&text, ",1");
    buffer_puts(&text, "]}}}");
    expect((struct parts){.post_processor = text.data}, QUERN_ERR_LIMIT,
           "post_processor: more than 64 ids around a text");
    buffer_release(&text);
}

/* Each of a million spaces is a token that takes all spaces after it: 5e11 steps, were they
 * walked through each time. The alarm ends the test then. */
static void a_run_of_spaces_is_walked_through_once(void **state) {
    (void)state;
    enum { N = 1000000 };
    struct tokenizer *t = NULL;
    struct quern_error err = {0};
    const struct parts parts = {.added = "[" ADDED(" ", "true") "]"};
    if (parse(&parts, &t, &err))
        fail_msg("%s", err.message);
    char *spaces = malloc(N);
    assert_non_null(spaces);
    memset(spaces, ' ', N);
    struct token_ids ids = {0};
    alarm(60);
    const struct encode_options options = {.parse_special = true};
    assert_int_equal(tokenizer_encode(t, (struct str){spaces, N}, options, &ids, NULL), QUERN_OK);
    alarm(0);
    assert_int_equal(ids.n, N);
    token_ids_release(&ids);
    free(spaces);
    tokenizer_close(t);
}

/* As tokenizers 0.23.3 has it. */
static void a_token_whose_spaces_are_taken_already_is_dropped(void **state) {
    (void)state;
    struct tokenizer *t = NULL;
    struct quern_error err = {0};
    const struct parts parts = {
        .added = "[{\"id\":4,\"content\":\"\\u0020\",\"single_word\":false,\"lstrip\":true,"
                 "\"rstrip\":true,\"normalized\":false,\"special\":false}]"};
    if (parse(&parts, &t, &err))
        fail_msg("%s", err.message);
    struct token_ids ids = {0};
    const struct encode_options options = {.parse_special = true};
    assert_int_equal(tokenizer_encode(t, STR_LIT("a   b"), options, &ids, NULL), QUERN_OK);
    const int32_t space = tokenizer_added_id(t, STR_LIT(" "));
    const int32_t expected[] = {0, space, 1};
    assert_int_equal(ids.n, 3);
    assert_memory_equal(ids.ids, expected, sizeof expected);
    token_ids_release(&ids);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(faulty_models_are_refused),
        cmocka_unit_test(faulty_parts_are_refused),
        cmocka_unit_test(syntax_errors_name_line_and_column),
        cmocka_unit_test(odd_but_valid_files_load),
        cmocka_unit_test(truncated_and_flipped_files_end_in_an_error_or_load),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(what_would_take_quadratic_time_is_refused),
        cmocka_unit_test(a_run_of_spaces_is_walked_through_once),
        cmocka_unit_test(a_token_whose_spaces_are_taken_already_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
