/* The JSON-Schema-Test-Suite, draft 2020-12, required tests: under the strict policy every case
 * is decided right or its schema is refused. The suite is shared data; absent, the test skips. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "grammar/matcher.h"
#include "grammar/schema/json_schema.h"
#include "support/support.h"
#include "text/json_reader.h"

#define SUITE "data/json-schema-test-suite"

/* Cases of the suite decided right when this was written; fewer means something was lost. */
enum { RIGHT_AT_LEAST = 1190, PATH_ROOM = 1024 };

struct counts {
    int right, refused, wrong;
};

/* The text without white space between tokens: what SCHEMA_COMPACT accepts. */
static char *compact(struct str text, size_t *len) {
    char *out = malloc(text.len + 1);
    bool in_string = false;
    size_t n = 0;
    assert_non_null(out);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!in_string && (c == ' ' || c == '\n' || c == '\r' || c == '\t'))
            continue;
        out[n++] = c;
        if (in_string && c == '\\' && i + 1 < text.len)
            out[n++] = text.ptr[++i];
        else if (c == '"')
            in_string = !in_string;
    }
    *len = n;
    return out;
}

/* Documents that live as long as the test. */
static struct buffer kept[256];
static size_t n_kept;

static bool load_remote(void *user, struct str uri, struct str *text) {
    static const char prefix[] = "http://localhost:1234/";
    char path[PATH_ROOM];
    struct buffer data;
    if (!str_starts_with(uri, STR_LIT(prefix)) || n_kept == 256)
        return false;
    snprintf(path, sizeof path, "%s/remotes/%.*s", (const char *)user,
             (int)(uri.len - (sizeof prefix - 1)), uri.ptr + sizeof prefix - 1);
    buffer_init(&data, 1 << 20);
    if (os_read_file(path, 1 << 20, &data, NULL) != QUERN_OK) {
        buffer_release(&data);
        return false;
    }
    *text = (struct str){data.data, data.len};
    kept[n_kept++] = data;
    return true;
}

static bool accepts(struct grammar *g, struct str instance) {
    struct matcher m;
    struct quern_error err;
    size_t n;
    if (!g) /* nothing is valid */
        return false;
    assert_int_equal(matcher_init(&m, g, NULL, NULL, 0, &err), QUERN_OK);
    enum quern_status st = matcher_accept_bytes(&m, instance, &n, &err);
    if (st != QUERN_OK && st != QUERN_ERR_FORMAT)
        fail_msg("%.*s: %s", STR_FMT(instance), err.message);
    return st == QUERN_OK && matcher_can_end(&m);
}

static struct str text_of(struct json_reader *r) {
    struct str text;
    assert_true(json_reader_skip(r, &text));
    return text;
}

/* One {"description", "data", "valid"}. */
static void run_case(struct grammar *g, struct str schema, struct str text, const char *file,
                     struct counts *c) {
    struct arena arena = ARENA_INIT(0);
    struct json_reader r;
    struct str data = {NULL, 0}, description = {NULL, 0};
    bool valid = false;
    json_reader_init(&r, text, &arena);
    json_reader_next(&r);
    while (json_reader_next(&r) == JSON_TOKEN_KEY) {
        struct str key = r.value, value = text_of(&r);
        if (str_is(key, "data"))
            data = value;
        else if (str_is(key, "valid"))
            valid = str_is(value, "true");
        else if (str_is(key, "description"))
            description = value;
    }
    size_t len;
    char *instance = compact(data, &len);
    if (accepts(g, (struct str){instance, len}) == valid) {
        c->right++;
    } else {
        c->wrong++;
        print_message("%s: %.*s: %.*s is %s, not so here; schema %.*s\n", file,
                      STR_FMT(description), (int)len, instance, valid ? "valid" : "invalid",
                      STR_FMT(schema));
    }
    free(instance);
    arena_release(&arena);
}

static int count_cases(struct str tests) {
    int n = 0;
    for (size_t i = 0; i + 7 < tests.len; i++)
        n += memcmp(tests.ptr + i, "\"valid\"", 7) == 0;
    return n;
}

static void run_group(struct str text, const char *file, const char *root, struct counts *c) {
    struct arena arena = ARENA_INIT(0);
    struct json_reader r;
    struct str schema = {NULL, 0}, tests = {NULL, 0};
    struct grammar_builder *b;
    struct grammar *g = NULL;
    symbol_id start;
    struct quern_error err;
    json_reader_init(&r, text, &arena);
    json_reader_next(&r);
    while (json_reader_next(&r) == JSON_TOKEN_KEY) {
        struct str key = r.value, value = text_of(&r);
        if (str_is(key, "schema"))
            schema = value;
        else if (str_is(key, "tests"))
            tests = value;
    }
    const struct schema_options options = {.policy = SCHEMA_STRICT,
                                           .spacing = SCHEMA_COMPACT,
                                           .any_order = true,
                                           .all_spellings = true,
                                           .load = load_remote,
                                           .user = (void *)(uintptr_t)root};
    assert_int_equal(grammar_builder_create(NULL, &b, &err), QUERN_OK);
    enum quern_status st = json_schema_build(b, schema, "schema", &options, &start, NULL, &err);
    if (st == QUERN_OK) {
        grammar_start(b, start);
        st = grammar_compile(b, &g, &err);
    }
    if (st != QUERN_OK && !strstr(err.message, "nothing matches")) {
        c->refused += count_cases(tests);
        if (getenv("QUERN_VERBOSE"))
            print_message("%s: %s\n  %.*s\n", file, err.message, STR_FMT(schema));
    } else {
        json_reader_init(&r, tests, &arena);
        json_reader_next(&r);
        while (json_reader_next(&r) == JSON_TOKEN_OBJECT)
            run_case(g, schema, text_of(&r), file, c);
    }
    grammar_destroy(g);
    grammar_builder_destroy(b);
    arena_release(&arena);
}

static void every_required_case_is_decided_right_or_refused(void **state) {
    (void)state;
    const char *root;
    SHARED_OR_SKIP(root, SUITE);
    char path[PATH_ROOM];
    struct counts all = {0, 0, 0};
    snprintf(path, sizeof path, "%s/tests/draft2020-12", root);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        struct buffer data;
        struct counts c = {0, 0, 0};
        struct json_reader r;
        if (!strstr(e->d_name, ".json"))
            continue;
        snprintf(path, sizeof path, "%s/tests/draft2020-12/%s", root, e->d_name);
        buffer_init(&data, 1 << 22);
        assert_int_equal(os_read_file(path, 1 << 22, &data, NULL), QUERN_OK);
        json_reader_init(&r, (struct str){data.data, data.len}, NULL);
        json_reader_next(&r);
        while (json_reader_next(&r) == JSON_TOKEN_OBJECT)
            run_group(text_of(&r), e->d_name, root, &c);
        buffer_release(&data);
        if (c.refused || c.wrong)
            print_message("%s: %d right, %d refused, %d wrong\n", e->d_name, c.right, c.refused,
                          c.wrong);
        all.right += c.right;
        all.refused += c.refused;
        all.wrong += c.wrong;
    }
    closedir(dir);
    for (size_t i = 0; i < n_kept; i++)
        buffer_release(&kept[i]);
    print_message("%d right, %d refused, %d wrong\n", all.right, all.refused, all.wrong);
    assert_int_equal(all.wrong, 0);
    assert_true(all.right >= RIGHT_AT_LEAST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_required_case_is_decided_right_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
