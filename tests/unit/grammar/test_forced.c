/* Text without a choice is cut into tokens as the tokenizer cuts the whole text. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "grammar/grammar_engine.h"
#include "grammar/matcher.h"
#include "grammar/schema/json_schema.h"
#include "support/support.h"
#include "text/json.h"

struct vocabulary {
    struct tokenizer *tokenizer;
    struct token_image *image;
};
static struct vocabulary tiny, demo;

static void open_vocabulary(struct vocabulary *v, const char *directory) {
    struct quern_error err = {0};
    if (tokenizer_open(directory, &v->tokenizer, &err) != QUERN_OK ||
        token_image_create(v->tokenizer, &v->image, &err) != QUERN_OK)
        fail_msg("%s", err.message);
}

static void close_vocabulary(struct vocabulary *v) {
    token_image_destroy(v->image);
    tokenizer_close(v->tokenizer);
}

static int set_up(void **state) {
    (void)state;
    open_vocabulary(&tiny, support_fixture("fixtures/qwen3-tiny"));
    open_vocabulary(&demo, support_fixture("../models/quern-demo"));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close_vocabulary(&tiny);
    close_vocabulary(&demo);
    return 0;
}

static struct grammar *compile_text(const char *text, const char *then) {
    struct grammar_builder *b;
    struct grammar *g;
    struct quern_error err = {0};
    assert_int_equal(grammar_builder_create(NULL, &b, &err), QUERN_OK);
    symbol_id start = grammar_terminal(b, expr_text(b, text), "the text");
    if (then)
        start = grammar_sequence2(b, start, grammar_terminal(b, expr_chars_any(b), then));
    grammar_start(b, start);
    if (grammar_compile(b, &g, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    grammar_builder_destroy(b);
    return g;
}

static struct token_ids encode(const struct vocabulary *v, struct str text) {
    struct token_ids ids = {0};
    const struct encode_options options = {0};
    assert_int_equal(tokenizer_encode(v->tokenizer, text, options, &ids, NULL), QUERN_OK);
    return ids;
}

static const char *const texts[] = {
    "{\"name\": \"Ada Lovelace\", \"born\": 1815, \"alive\": false}",
    "SELECT city, population FROM cities WHERE population > 1000000;",
    "def f(x):\n    return x ** 2\n\n\nprint(f(12))\n",
    "Grüße aus Köln: 3.50 € – don't panic! 東京 is far   away.",
    "x",
};

/* Forced tokens are those of the text; not all are forced: a sign before letters may belong to what
 * was before, as in {"$id, and half a character cannot be cut. */
static size_t check_constant(const struct vocabulary *v, const char *text, size_t *n_tokens) {
    struct grammar *g = compile_text(text, NULL);
    struct matcher m;
    int32_t tokens[200];
    struct token_ids ids = encode(v, str_from(text));
    const struct matcher_state before = {g->start_set, 0, 0};
    size_t n_forced = 0;
    assert_int_equal(matcher_init(&m, g, v->image, NULL, 0, NULL), QUERN_OK);
    const size_t n = matcher_forced(&m, tokens, 200);
    assert_memory_equal(&m.state, &before, sizeof before);
    assert_true(n <= ids.n);
    assert_memory_equal(tokens, ids.ids, n * sizeof *tokens);
    /* And from within: a function of the place, whoever has asked before. */
    for (size_t i = 0; i < ids.n; i++) {
        int32_t one;
        if (matcher_forced(&m, &one, 1)) {
            assert_int_equal(one, ids.ids[i]);
            n_forced++;
        }
        assert_true(i >= n || n_forced == i + 1);
        assert_int_equal(matcher_accept_token(&m, ids.ids[i], NULL), QUERN_OK);
    }
    assert_int_equal(matcher_forced(&m, tokens, 1), 0);
    *n_tokens = ids.n;
    token_ids_release(&ids);
    grammar_destroy(g);
    return n_forced;
}

static void test_a_constant_text_is_cut_as_the_tokenizer_cuts_it(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n_tokens;
        size_t n_forced = check_constant(&demo, texts[i], &n_tokens);
        assert_true(i < 3 ? n_forced == n_tokens : n_forced * 2 > n_tokens);
        n_forced = check_constant(&tiny, texts[i], &n_tokens);
        assert_true(i < 3 ? n_forced == n_tokens : n_forced * 2 > n_tokens);
    }
}

/* Whatever follows, the tokens forced are those of the whole text. */
static void test_the_tail_that_what_follows_could_change_is_left_open(void **state) {
    (void)state;
    static const char *const tails[] = {"x", "name", " name", "\"", ":", " ", "\n", "12", "-", "é", "\":", "s"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct grammar *g = compile_text(texts[i], "anything");
        struct matcher m;
        int32_t tokens[200];
        assert_int_equal(matcher_init(&m, g, demo.image, NULL, 0, NULL), QUERN_OK);
        const size_t n = matcher_forced(&m, tokens, 200);
        assert_true(i == 4 ? n == 0 : i == 3 ? n > 0 : n > 4);
        for (size_t k = 0; k < sizeof tails / sizeof *tails; k++) {
            char whole[400];
            snprintf(whole, sizeof whole, "%s%s", texts[i], tails[k]);
            struct token_ids ids = encode(&demo, str_from(whole));
            assert_true(n <= ids.n);
            assert_memory_equal(tokens, ids.ids, n * sizeof *tokens);
            token_ids_release(&ids);
        }
        grammar_destroy(g);
    }
}

static void test_a_token_terminal_is_forced_where_nothing_else_may_follow(void **state) {
    (void)state;
    struct grammar_builder *b;
    struct grammar *g;
    struct matcher m;
    int32_t tokens[8];
    const int32_t end = tokenizer_added_id(demo.tokenizer, STR_LIT("</tool_call>"));
    assert_true(end >= 0);
    assert_int_equal(grammar_builder_create(NULL, &b, NULL), QUERN_OK);
    grammar_start(b, grammar_sequence2(b, grammar_literal(b, "}\n"), grammar_token(b, end, "end")));
    assert_int_equal(grammar_compile(b, &g, NULL), QUERN_OK);
    grammar_builder_destroy(b);
    assert_int_equal(matcher_init(&m, g, demo.image, NULL, 0, NULL), QUERN_OK);
    struct token_ids ids = encode(&demo, STR_LIT("}\n"));
    const size_t n = matcher_forced(&m, tokens, 8);
    assert_int_equal(n, ids.n + 1);
    assert_memory_equal(tokens, ids.ids, ids.n * sizeof *tokens);
    assert_int_equal(tokens[ids.n], end);
    token_ids_release(&ids);
    grammar_destroy(g);
}

/* ---- schemas and their instances --------------------------------------------------------- */

struct tally {
    size_t n_tokens, n_forced, n_files, n_odd;
};

/* A forced token is the next one of the text, as long as the text is cut as a whole. */
static void walk(const struct vocabulary *v, struct grammar *g, struct str text, const char *name,
                 struct tally *t) {
    struct token_ids ids = encode(v, text);
    struct matcher m;
    assert_int_equal(matcher_init(&m, g, v->image, NULL, 0, NULL), QUERN_OK);
    for (size_t i = 0; i < ids.n; i++) {
        int32_t forced[4];
        const size_t n = matcher_forced(&m, forced, 4);
        const struct matcher_state before = m.state;
        for (size_t k = 0; k < n; k++)
            if (matcher_accept_token(&m, forced[k], NULL) != QUERN_OK)
                fail_msg("%s: token %zu, forced, is refused", name, i + k);
        m.state = before;
        if (matcher_accept_token(&m, ids.ids[i], NULL) != QUERN_OK)
            break; /* such as members in another order */
        if (n && forced[0] != ids.ids[i]) {
            t->n_odd++;
            printf("%s: token %zu: \"%.*s\" forced, \"%.*s\" is the text's\n", name, i,
                   STR_FMT(tokenizer_token_bytes(v->tokenizer, forced[0])),
                   STR_FMT(tokenizer_token_bytes(v->tokenizer, ids.ids[i])));
        }
        t->n_forced += n > 0;
        t->n_tokens++;
    }
    token_ids_release(&ids);
}

static void walk_file(const struct vocabulary *v, const char *path, struct tally *t) {
    const struct schema_options options = {.spacing = SCHEMA_PYTHON, .assert_formats = true};
    size_t size, i;
    char *text = support_read_file(path, &size);
    json_t *file = NULL, *test;
    struct buffer schema, data;
    struct grammar_builder *b;
    struct grammar *g = NULL;
    symbol_id start;
    buffer_init(&schema, 16 << 20);
    buffer_init(&data, 16 << 20);
    if (json_parse(text, size, path, &file, NULL) != QUERN_OK) { /* half a pair of surrogates */
        free(text);
        return;
    }
    json_write_python(json_object_get(file, "schema"), -1, &schema);
    assert_int_equal(grammar_builder_create(NULL, &b, NULL), QUERN_OK);
    if (json_schema_build(b, buffer_str(&schema), "schema", &options, &start, NULL, NULL) == QUERN_OK) {
        grammar_start(b, start);
        if (grammar_compile(b, &g, NULL) != QUERN_OK)
            g = NULL;
    }
    grammar_builder_destroy(b);
    json_array_foreach(json_object_get(file, "tests"), i, test) {
        if (!g || !json_is_true(json_object_get(test, "valid")))
            continue;
        buffer_clear(&data);
        json_write_python(json_object_get(test, "data"), -1, &data);
        if (data.len < 20000)
            walk(v, g, buffer_str(&data), path, t);
    }
    t->n_files++;
    grammar_destroy(g);
    buffer_release(&schema);
    buffer_release(&data);
    json_decref(file);
    free(text);
}

enum { EVERY = 12 };

static void test_instances_of_real_schemas_are_cut_as_forced(void **state) {
    (void)state;
    const char *files, *qwen;
    char path[1100];
    struct tally t = {0}, d = {0};
    struct vocabulary v;
    SHARED_OR_SKIP(files, "data/maskbench/files");
    SHARED_OR_SKIP(qwen, "qwen3");
    open_vocabulary(&v, qwen);
    DIR *dir = opendir(files);
    assert_non_null(dir);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strstr(e->d_name, ".json") == NULL || n++ % EVERY != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", files, e->d_name);
        walk_file(&v, path, &t);
        walk_file(&demo, path, &d);
    }
    closedir(dir);
    close_vocabulary(&v);
    printf("%zu schemas: %zu of %zu tokens of Qwen3 forced, %zu otherwise than the text; demo %zu of %zu, %zu\n",
           t.n_files, t.n_forced, t.n_tokens, t.n_odd, d.n_forced, d.n_tokens, d.n_odd);
    assert_true(t.n_files > 90 && t.n_forced > 1000);
    assert_int_equal(t.n_odd + d.n_odd, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_constant_text_is_cut_as_the_tokenizer_cuts_it),
        cmocka_unit_test(test_the_tail_that_what_follows_could_change_is_left_open),
        cmocka_unit_test(test_a_token_terminal_is_forced_where_nothing_else_may_follow),
        cmocka_unit_test(test_instances_of_real_schemas_are_cut_as_forced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
