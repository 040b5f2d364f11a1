/* Data as a store of examples: lines of any size, a file that is used again or gone on with wherever it
 * broke off, a thread that makes examples ahead: the same examples every time. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "train/data/data.h"

enum { N = 5000 };

static struct tokenizer *tokenizer;
static struct example_maker maker;
static struct quern_error err;
static struct data_problem problem;

static void must(enum quern_status status) {
    if (status)
        fail_msg("%s", err.message);
}

static const char *data_file(void) {
    static const char *path;
    struct buffer b;
    if (path)
        return path;
    path = support_temp_path("data.jsonl");
    buffer_init(&b, 64 << 20);
    for (int i = 0; i < N; i++)
        buffer_printf(&b, "{\"text\":\"%.*s line %d\"}\n%s", i % 37, "some words of a line that is long enough",
                      i, i % 100 ? "" : "\n");
    support_write_file(path, b.data, b.len);
    buffer_release(&b);
    return path;
}

static int open_maker(void **state) {
    const struct example_options options = {.max_length = 512};
    (void)state;
    return tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, &err) ||
           example_maker_init(&maker, tokenizer, NULL, &options, &err);
}

static int close_maker(void **state) {
    (void)state;
    example_maker_release(&maker);
    tokenizer_close(tokenizer);
    return 0;
}

/* Files `path`, and data_file() once more behind it. */
static enum quern_status open(const char *path, const char *cache, size_t ahead, struct train_data *out) {
    const char *const paths[] = {path, data_file()};
    static const char *kept[2];
    memcpy(kept, paths, sizeof kept);
    const struct train_data_options options = {
        .paths = kept, .n_paths = 2, .cache_dir = cache, .hash_seed = 7, .ahead = ahead};
    return train_data_open(&maker, &options, out, &problem, &err);
}

static const char *cache_dir(const char *name) {
    const char *dir = support_temp_path(name);
    must(os_make_dir(dir, &err));
    return dir;
}

/* A checksum would hide what differs. */
static void expect_same(const struct train_data *a, const struct train_data *b) {
    uint32_t x[512], y[512];
    assert_int_equal(a->n_examples, b->n_examples);
    for (size_t i = 0; i < a->n_examples; i++) {
        const size_t n = train_data_length(a, i);
        assert_int_equal(n, train_data_length(b, i));
        must(train_data_read(a, i, x, &err));
        must(train_data_read(b, i, y, &err));
        assert_memory_equal(x, y, n * sizeof *x);
    }
    assert_int_equal(a->hash, b->hash);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_trained, b->n_trained);
    assert_int_equal(a->longest, b->longest);
    assert_int_equal(a->n_cut, b->n_cut);
}

static void make_all(struct train_data *memory) {
    must(open(data_file(), NULL, 0, memory));
    assert_int_equal(memory->n_examples, 2 * N);
}

static void a_file_of_examples_is_used_again(void **state) {
    struct train_data memory, made, read;
    (void)state;
    make_all(&memory);
    const char *dir = cache_dir("again");
    must(open(data_file(), dir, 0, &made));
    assert_false(made.from_cache);
    expect_same(&memory, &made);
    train_data_close(&made);
    must(open(data_file(), dir, 0, &read));
    assert_true(read.from_cache);
    expect_same(&memory, &read);
    train_data_close(&read);
    train_data_close(&memory);
}

static const char *only_file(const char *dir, uint64_t hash) {
    char name[64];
    static char path[4096];
    snprintf(name, sizeof name, "data-%016llx.tokens", (unsigned long long)hash);
    must(os_path_join(path, sizeof path, dir, name, &err));
    return path;
}

static void a_broken_file_is_gone_on_with_where_it_is_whole(void **state) {
    struct train_data memory, d;
    (void)state;
    make_all(&memory);
    const char *dir = cache_dir("broken");
    must(open(data_file(), dir, 0, &d));
    train_data_close(&d);
    const char *path = only_file(dir, memory.hash);
    size_t size;
    char *whole = support_read_file(path, &size);
    for (size_t i = 0; i < 24; i++) {
        const size_t at = size * i / 24 + i % 5;
        char *bytes = malloc(size);
        memcpy(bytes, whole, size);
        if (i % 2)
            bytes[at] ^= 4;
        support_write_file(path, bytes, i % 2 ? size : at);
        free(bytes);
        must(open(data_file(), dir, i % 3 ? 0 : 100, &d));
        if (d.stream) {
            size_t available;
            must(train_data_wait(&d, 3 * N, &available, &problem, &err));
        }
        assert_false(d.from_cache);
        expect_same(&memory, &d);
        train_data_close(&d);
        size_t now;
        char *mended = support_read_file(path, &now);
        assert_int_equal(now, size);
        assert_memory_equal(mended, whole, size);
        free(mended);
    }
    free(whole);
    train_data_close(&memory);
}

static void a_thread_makes_the_same_examples_and_no_more_than_asked_for(void **state) {
    struct train_data memory, d;
    size_t available = 0;
    (void)state;
    make_all(&memory);
    const char *dir = cache_dir("thread");
    must(open(data_file(), dir, 64, &d));
    assert_non_null(d.stream);
    must(train_data_wait(&d, 1, &available, &problem, &err));
    assert_int_equal(available, 1);
    os_sleep_ns(50000000);
    /* What was asked for, as much ahead, and the rest of the block of lines. */
    assert_true(data_store_count(&d.store) <= 65 + 1024);
    for (size_t n = 500; n < 2 * N + 600; n += 500) {
        must(train_data_wait(&d, n, &available, &problem, &err));
        assert_int_equal(available, n < 2 * N ? n : 2 * N);
        assert_int_equal(train_data_length(&d, available - 1), train_data_length(&memory, available - 1));
    }
    expect_same(&memory, &d);
    train_data_close(&d);
    /* Closed half way and opened again. */
    dir = cache_dir("half");
    must(open(data_file(), dir, 64, &d));
    must(train_data_wait(&d, 3000, &available, &problem, &err));
    train_data_close(&d);
    must(open(data_file(), dir, 64, &d));
    assert_true(d.n_examples >= 3000);
    must(train_data_wait(&d, SIZE_MAX / 2, &available, &problem, &err));
    expect_same(&memory, &d);
    train_data_close(&d);
    train_data_close(&memory);
}

static void a_bad_line_far_behind_is_an_error_when_it_is_come_to(void **state) {
    const char *path = support_temp_path("far.jsonl");
    struct train_data d;
    size_t available, size;
    (void)state;
    char *text = support_read_file(data_file(), &size);
    memcpy(text + size - 10, "\n{\"tex\"\n", 9);
    support_write_file(path, text, size - 1);
    free(text);
    must(open(path, cache_dir("far"), 64, &d));
    must(train_data_wait(&d, 1000, &available, &problem, &err));
    assert_int_equal(available, 1000);
    assert_int_equal(train_data_wait(&d, 2 * N, &available, &problem, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "far.jsonl:"));
    assert_string_equal(problem.path, path);
    assert_true(problem.line > N);
    train_data_close(&d);
}

static void a_line_may_be_longer_than_what_is_read_at_a_time(void **state) {
    const char *path = support_temp_path("long.jsonl");
    struct train_data d;
    struct buffer b;
    (void)state;
    buffer_init(&b, 64 << 20);
    buffer_puts(&b, "{\"text\":\"a\"}\n{\"text\":\"");
    for (int i = 0; i < 700000; i++)
        buffer_puts(&b, "word ");
    buffer_puts(&b, "\"}\n{\"text\":\"b\"}");
    support_write_file(path, b.data, b.len);
    buffer_release(&b);
    must(open(path, NULL, 0, &d));
    assert_int_equal(d.n_examples, N + 3);
    assert_int_equal(d.n_cut, 1);
    assert_int_equal(train_data_length(&d, 1), 512);
    train_data_close(&d);
    json_t *record = NULL;
    must(train_data_record(path, 3, &record, &err));
    assert_string_equal(json_string_value(json_object_get(record, "text")), "b");
    json_decref(record);
    must(train_data_record(path, 4, &record, &err));
    assert_null(record);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_examples_is_used_again),
        cmocka_unit_test(a_broken_file_is_gone_on_with_where_it_is_whole),
        cmocka_unit_test(a_thread_makes_the_same_examples_and_no_more_than_asked_for),
        cmocka_unit_test(a_bad_line_far_behind_is_an_error_when_it_is_come_to),
        cmocka_unit_test(a_line_may_be_longer_than_what_is_read_at_a_time),
    };
    return cmocka_run_group_tests(tests, open_maker, close_maker);
}
