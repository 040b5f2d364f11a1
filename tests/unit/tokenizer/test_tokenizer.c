/* Ids and texts against those which Hugging Face's tokenizers gave
 * (tests/golden/make_tokenizer.py). */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/json.h"
#include "tokenizer/tokenizer.h"

static const char *const names[] = {"gpt2",
                                    "gpt2-pairs",
                                    "roberta",
                                    "llama3",
                                    "flags",
                                    "flags-nfc",
                                    "flags-nfkc",
                                    "nfd",
                                    "nfkd",
                                    "behaviors",
                                    "deepseek",
                                    "cl100k",
                                    "prefix-space-in-sequence",
                                    "unk",
                                    "unk-fused",
                                    "no-unk"};

static const struct encode_options parsed = {.parse_special = true};

static json_t *load_json(const char *path) {
    struct quern_error err;
    json_t *value = NULL;
    if (json_load_path(path, (size_t)1 << 24, &value, &err))
        fail_msg("%s", err.message);
    return value;
}

static json_t *load_golden(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "golden/tokenizer/%s.json", name);
    return load_json(support_fixture(path));
}

static struct tokenizer *open_dir(const char *dir) {
    struct quern_error err;
    struct tokenizer *t = NULL;
    if (tokenizer_open(dir, &t, &err))
        fail_msg("%s", err.message);
    return t;
}

static struct tokenizer *open_golden(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "golden/tokenizer/%s", name);
    return open_dir(support_fixture(path));
}

static struct token_ids encode(const struct tokenizer *t, struct str text,
                               struct encode_options options) {
    struct quern_error err;
    struct token_ids ids = {0};
    if (tokenizer_encode(t, text, options, &ids, &err))
        fail_msg("%s", err.message);
    return ids;
}

static void assert_ids(const char *name, const char *what, size_t i, const struct token_ids *ids,
                       const json_t *expected) {
    bool same = ids->n == json_array_size(expected);
    for (size_t k = 0; same && k < ids->n; k++)
        same = ids->ids[k] == json_integer_value(json_array_get(expected, k));
    if (!same) {
        fprintf(stderr, "%s, %s %zu:\n expected:", name, what, i);
        for (size_t k = 0; k < json_array_size(expected); k++)
            fprintf(stderr, " %lld", json_integer_value(json_array_get(expected, k)));
        fprintf(stderr, "\n found:   ");
        for (size_t k = 0; k < ids->n; k++)
            fprintf(stderr, " %d", ids->ids[k]);
        fprintf(stderr, "\n");
        fail_msg("ids differ");
    }
}

static struct str json_text(const json_t *string) {
    return (struct str){json_string_value(string), json_string_length(string)};
}

static void assert_encodes(const struct tokenizer *t, const char *name, const char *what, size_t i,
                           struct str text, struct encode_options options, const json_t *expected) {
    struct token_ids ids = encode(t, text, options);
    assert_ids(name, what, i, &ids, expected);
    token_ids_release(&ids);
}

static size_t from_hex(const char *hex, char *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (char)strtol(two, NULL, 16);
    }
    return n;
}

static void check_golden(const struct tokenizer *t, const char *name) {
    json_t *golden = load_golden(name), *texts = load_golden("texts"), *item;
    size_t i;
    assert_int_equal(tokenizer_n_tokens(t), json_integer_value(json_object_get(golden, "n_ids")));
    json_array_foreach(json_object_get(texts, "texts"), i, item)
        assert_encodes(t, name, "text", i, json_text(item), parsed,
                       json_array_get(json_object_get(golden, "ids"), i));
    json_array_foreach(json_object_get(texts, "broken"), i, item) {
        char bytes[64];
        size_t n = from_hex(json_string_value(item), bytes);
        assert_encodes(t, name, "broken", i, (struct str){bytes, n}, parsed,
                       json_array_get(json_object_get(golden, "broken"), i));
    }
    json_array_foreach(json_object_get(golden, "plain"), i, item) assert_encodes(
        t, name, "plain", i, json_text(json_array_get(json_object_get(texts, "texts"), i)),
        (struct encode_options){0}, item);
    assert_encodes(t, name, "with special tokens", 3,
                   json_text(json_array_get(json_object_get(texts, "texts"), 3)),
                   (struct encode_options){.parse_special = true, .add_special = true},
                   json_object_get(golden, "with_special"));
    json_decref(golden);
    json_decref(texts);
}

/* One id at a time; every piece must be whole characters. */
static void decode_stream(const struct tokenizer *t, const int32_t *ids, size_t n, bool skip,
                          struct buffer *out) {
    struct token_stream s;
    token_stream_init(&s, t, skip);
    for (size_t i = 0; i < n; i++) {
        size_t before = out->len;
        assert_int_equal(token_stream_push(&s, ids[i], out), QUERN_OK);
        /* A character goes on with 10xxxxxx: no piece may begin so. */
        if (out->len > before)
            assert_false((out->data[before] & 0xC0) == 0x80);
    }
    assert_int_equal(token_stream_finish(&s, out), QUERN_OK);
}

static void check_decoding(const struct tokenizer *t, const char *name) {
    json_t *golden = load_golden(name), *item;
    size_t i;
    json_array_foreach(json_object_get(golden, "decoded"), i, item) {
        const json_t *list = json_object_get(item, "ids");
        int32_t ids[64];
        size_t n = json_array_size(list);
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(list, k));
        for (int skip = 0; skip < 2; skip++) {
            struct str wanted = json_text(json_object_get(item, skip ? "skipped" : "text"));
            struct buffer whole, streamed;
            buffer_init(&whole, 1 << 16);
            buffer_init(&streamed, 1 << 16);
            assert_int_equal(tokenizer_decode(t, ids, n, skip, &whole, NULL), QUERN_OK);
            decode_stream(t, ids, n, skip, &streamed);
            if (!str_eq(buffer_str(&whole), wanted) || !str_eq(buffer_str(&streamed), wanted))
                fail_msg("%s, decoded %zu: \"%.*s\" and \"%.*s\", expected \"%.*s\"", name, i,
                         STR_FMT(buffer_str(&whole)), STR_FMT(buffer_str(&streamed)),
                         STR_FMT(wanted));
            buffer_release(&whole);
            buffer_release(&streamed);
        }
    }
    json_decref(golden);
}

static void every_form_gives_the_ids_of_hugging_face(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tokenizer *t = open_golden(names[i]);
        check_golden(t, names[i]);
        tokenizer_close(t);
    }
}

static void every_form_decodes_as_hugging_face(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct tokenizer *t = open_golden(names[i]);
        check_decoding(t, names[i]);
        tokenizer_close(t);
    }
}

static void the_qwen3_fixture_gives_the_ids_of_hugging_face(void **state) {
    (void)state;
    struct tokenizer *t = open_dir(support_fixture("fixtures/qwen3-tiny"));
    check_golden(t, "qwen3-tiny");
    check_decoding(t, "qwen3-tiny");
    tokenizer_close(t);
}

static void qwen3_itself_gives_the_golden_ids(void **state) {
    (void)state;
    const char *path, *cases_path;
    SHARED_OR_SKIP(path, "qwen3");
    SHARED_OR_SKIP(cases_path, "qwen3/golden/golden_hf_tokenizers_0.23.2.json");
    struct tokenizer *t = open_dir(path);
    json_t *cases = load_json(cases_path), *item;
    size_t i;
    assert_int_equal(json_array_size(cases), 120);
    json_array_foreach(cases, i, item) {
        struct token_ids ids = encode(t, json_text(json_object_get(item, "text")), parsed);
        assert_ids("qwen3", "case", i, &ids, json_object_get(item, "ids"));
        for (int skip = 0; skip < 2; skip++) {
            struct buffer text;
            buffer_init(&text, 1 << 20);
            assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, skip, &text, NULL), QUERN_OK);
            assert_true(str_eq(
                buffer_str(&text),
                json_text(json_object_get(item, skip ? "decoded_skip_special" : "decoded"))));
            buffer_release(&text);
        }
        token_ids_release(&ids);
    }
    json_decref(cases);
    tokenizer_close(t);
}

static void added_tokens_are_found_by_spelling_and_id(void **state) {
    (void)state;
    struct tokenizer *t = open_dir(support_fixture("fixtures/qwen3-tiny"));
    int32_t end = tokenizer_added_id(t, STR_LIT("<|im_end|>"));
    int32_t think = tokenizer_added_id(t, STR_LIT("<think>"));
    assert_int_equal(end, 488);
    assert_int_equal(think, 510);
    assert_int_equal(tokenizer_added_id(t, STR_LIT("<|im_end")), TOKENIZER_NONE);
    assert_int_equal(tokenizer_added_id(t, STR_LIT("")), TOKENIZER_NONE);
    assert_true(tokenizer_is_special(t, end) && tokenizer_is_added(t, end));
    assert_true(!tokenizer_is_special(t, think) && tokenizer_is_added(t, think));
    assert_true(!tokenizer_is_added(t, 0) && !tokenizer_is_added(t, -1));
    assert_false(tokenizer_is_special(t, tokenizer_n_tokens(t)));
    assert_true(str_is(tokenizer_token_bytes(t, end), "<|im_end|>"));
    assert_true(str_is(tokenizer_token_bytes(t, 0), "!"));
    assert_int_equal(tokenizer_token_bytes(t, 512).len, 0);
    assert_int_equal(tokenizer_token_bytes(t, -1).len, 0);
    tokenizer_close(t);
}

static void ids_out_of_range_do_not_decode(void **state) {
    (void)state;
    struct tokenizer *t = open_dir(support_fixture("fixtures/qwen3-tiny"));
    const int32_t beyond[] = {0, 512}, negative[] = {-1};
    struct quern_error err;
    struct buffer out;
    struct token_stream s;
    buffer_init(&out, 100);
    assert_int_equal(tokenizer_decode(t, beyond, 2, false, &out, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "token 1 is id 512, expected 0 to 511");
    assert_int_equal(tokenizer_decode(t, negative, 1, false, &out, NULL), QUERN_ERR_ARG);
    assert_int_equal(out.len, 0);
    token_stream_init(&s, t, false);
    assert_int_equal(token_stream_push(&s, 512, &out), QUERN_ERR_ARG);
    buffer_release(&out);
    tokenizer_close(t);
}

static void encoding_appends_to_what_is_there(void **state) {
    (void)state;
    struct tokenizer *t = open_dir(support_fixture("fixtures/qwen3-tiny"));
    struct token_ids ids = {0};
    assert_int_equal(tokenizer_encode(t, STR_LIT("Hello"), parsed, &ids, NULL), QUERN_OK);
    size_t n = ids.n;
    assert_int_equal(tokenizer_encode(t, (struct str){NULL, 0}, parsed, &ids, NULL), QUERN_OK);
    assert_int_equal(ids.n, n);
    assert_int_equal(tokenizer_encode(t, STR_LIT("Hello"), parsed, &ids, NULL), QUERN_OK);
    assert_int_equal(ids.n, 2 * n);
    assert_memory_equal(ids.ids, ids.ids + n, n * sizeof *ids.ids);
    token_ids_release(&ids);
    tokenizer_close(t);
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false}"

static void ids_that_no_token_has_are_listed(void **state) {
    (void)state;
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":2,\"content\":\"<x>\",\"single_word\":"
        "false,"
        "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
        "\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":" BYTE_LEVEL ","
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":6},\"merges\":[]}}";
    struct tokenizer *t = NULL;
    struct quern_error err = {0};
    if (tokenizer_parse(STR_LIT(json), "json", &t, &err))
        fail_msg("%s", err.message);
    int32_t *ids = NULL;
    size_t n = 99;
    assert_int_equal(tokenizer_gaps(t, &ids, &n, NULL), QUERN_OK);
    const int32_t expected[] = {1, 3, 4, 5};
    assert_int_equal(n, 4);
    assert_memory_equal(ids, expected, sizeof expected);
    free(ids);
    tokenizer_close(t);
    t = open_dir(support_fixture("fixtures/qwen3-tiny"));
    assert_int_equal(tokenizer_gaps(t, &ids, &n, NULL), QUERN_OK);
    assert_int_equal(n, 0);
    assert_null(ids);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_ids_of_hugging_face),
        cmocka_unit_test(every_form_decodes_as_hugging_face),
        cmocka_unit_test(the_qwen3_fixture_gives_the_ids_of_hugging_face),
        cmocka_unit_test(qwen3_itself_gives_the_golden_ids),
        cmocka_unit_test(added_tokens_are_found_by_spelling_and_id),
        cmocka_unit_test(ids_out_of_range_do_not_decode),
        cmocka_unit_test(encoding_appends_to_what_is_there),
        cmocka_unit_test(ids_that_no_token_has_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
