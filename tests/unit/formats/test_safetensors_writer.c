#include "formats/safetensors_writer.h"

#include "base/os.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tensor_decl decls[] = {
    {"a", DTYPE_F32, 2, {2, 3}},  {"quote\"and\\slash", DTYPE_F32, 1, {1}},
    {"empty", DTYPE_F32, 1, {0}}, {"scalar", DTYPE_F32, 0, {0}},
    {"b", DTYPE_F32, 1, {4}},
};
enum { N_DECLS = 5, TOTAL_BYTES = (6 + 1 + 0 + 1 + 4) * 4 };

static const char *new_dir(void) {
    static int count;
    char name[32];
    snprintf(name, sizeof name, "w%d", count++);
    const char *path = support_temp_path(name);
    assert_int_equal(os_make_dir(path, NULL), QUERN_OK);
    return path;
}

static void path_in(const char *dir, const char *name, char out[512]) {
    assert_int_equal(os_path_join(out, 512, dir, name, NULL), QUERN_OK);
}

static bool exists(const char *dir, const char *name) {
    char path[512];
    path_in(dir, name, path);
    return os_file_exists(path);
}

/* Bytes 0, 1, 2, ... in pieces of `piece` bytes. */
static void write_all(struct safetensors_writer *w, size_t piece) {
    unsigned char bytes[TOTAL_BYTES];
    for (size_t i = 0; i < TOTAL_BYTES; i++)
        bytes[i] = (unsigned char)i;
    for (size_t at = 0; at < TOTAL_BYTES; at += piece) {
        size_t n = TOTAL_BYTES - at < piece ? TOTAL_BYTES - at : piece;
        assert_int_equal(safetensors_writer_write(w, bytes + at, n, NULL), QUERN_OK);
    }
}

static void write_checkpoint(const char *dir, size_t max_shard_bytes, size_t piece) {
    struct safetensors_writer *w = NULL;
    struct quern_error err = {0};
    if (safetensors_writer_create(dir, decls, N_DECLS, max_shard_bytes, &w, &err))
        fail_msg("%s", err.message);
    assert_int_equal(safetensors_writer_total_bytes(w), TOTAL_BYTES);
    write_all(w, piece);
    assert_int_equal(safetensors_writer_finish(w, NULL), QUERN_OK);
    safetensors_writer_destroy(w);
}

static void check_checkpoint(const char *dir, size_t n_files) {
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    if (safetensors_open(dir, &st, &err))
        fail_msg("%s", err.message);
    assert_int_equal(safetensors_count(st), N_DECLS);
    assert_int_equal(safetensors_file_count(st), n_files);
    assert_string_equal(safetensors_metadata(st, "format"), "pt");
    unsigned char at = 0;
    for (size_t i = 0; i < N_DECLS; i++) {
        const struct tensor *t = safetensors_find(st, decls[i].name);
        assert_non_null(t);
        assert_int_equal(t->rank, decls[i].rank);
        for (int k = 0; k < t->rank; k++)
            assert_int_equal(t->shape[k], decls[i].shape[k]);
        const unsigned char *data = t->data;
        assert_int_equal((uintptr_t)data % 4, 0);
        for (size_t k = 0; k < t->size_bytes; k++)
            assert_int_equal(data[k], at++);
    }
    safetensors_close(st);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    for (size_t piece = 1; piece <= TOTAL_BYTES; piece += 5) {
        const char *dir = new_dir();
        write_checkpoint(dir, 0, piece);
        check_checkpoint(dir, 1);
        assert_false(exists(dir, "model.safetensors.index.json"));
    }
}

static void shards_break_where_the_next_tensor_would_not_fit(void **state) {
    (void)state;
    const char *dir = new_dir();
    write_checkpoint(dir, 28, 7); /* a + quote = 28; empty, scalar, b = 20 */
    check_checkpoint(dir, 2);
    assert_true(exists(dir, "model-00001-of-00002.safetensors"));
    assert_true(exists(dir, "model-00002-of-00002.safetensors"));
    dir = new_dir();
    write_checkpoint(dir, 1, 100); /* every tensor is too large: one each, the empty one joins */
    check_checkpoint(dir, 4);
}

static void the_index_is_written_as_transformers_writes_it(void **state) {
    (void)state;
    const char *dir = new_dir();
    char path[512];
    write_checkpoint(dir, 28, 100);
    path_in(dir, "model.safetensors.index.json", path);
    char *text = support_read_file(path, NULL);
    assert_string_equal(text,
                        "{\n  \"metadata\": {\n    \"total_size\": 48\n  },\n"
                        "  \"weight_map\": {\n"
                        "    \"a\": \"model-00001-of-00002.safetensors\",\n"
                        "    \"quote\\\"and\\\\slash\": \"model-00001-of-00002.safetensors\",\n"
                        "    \"empty\": \"model-00001-of-00002.safetensors\",\n"
                        "    \"scalar\": \"model-00002-of-00002.safetensors\",\n"
                        "    \"b\": \"model-00002-of-00002.safetensors\"\n  }\n}\n");
    free(text);
}

static void a_new_checkpoint_is_not_hidden_by_an_old_one(void **state) {
    (void)state;
    const char *dir = new_dir();
    write_checkpoint(dir, 0, 100);
    write_checkpoint(dir, 28, 100);
    assert_false(exists(dir, "model.safetensors"));
    check_checkpoint(dir, 2);
    write_checkpoint(dir, 0, 100);
    assert_false(exists(dir, "model.safetensors.index.json"));
    check_checkpoint(dir, 1);
}

static void nothing_remains_of_an_unfinished_checkpoint(void **state) {
    (void)state;
    const char *dir = new_dir();
    struct safetensors_writer *w = NULL;
    struct quern_error err = {0};
    assert_int_equal(safetensors_writer_create(dir, decls, N_DECLS, 28, &w, NULL), QUERN_OK);
    assert_int_equal(safetensors_writer_write(w, "0123456789012345678901234567", 28, NULL), 0);
    assert_int_equal(safetensors_writer_finish(w, &err), QUERN_ERR_STATE);
    assert_non_null(strstr(err.message, "missing"));
    safetensors_writer_destroy(w);
    bool empty = false;
    assert_int_equal(os_dir_is_empty(dir, &empty, NULL), QUERN_OK);
    assert_true(empty);
    safetensors_writer_destroy(NULL);
}

static void too_much_data_is_refused(void **state) {
    (void)state;
    struct safetensors_writer *w = NULL;
    assert_int_equal(safetensors_writer_create(new_dir(), decls, N_DECLS, 0, &w, NULL), QUERN_OK);
    write_all(w, 100);
    assert_int_equal(safetensors_writer_write(w, "x", 1, NULL), QUERN_ERR_STATE);
    safetensors_writer_destroy(w);
}

static void bad_declarations_are_refused(void **state) {
    (void)state;
    static const struct tensor_decl cases[][2] = {
        {{"a", DTYPE_F32, 1, {1}}, {"a", DTYPE_F32, 1, {1}}},
        {{"a", DTYPE_F32, 1, {1}}, {"", DTYPE_F32, 1, {1}}},
        {{"a", DTYPE_F32, 1, {1}}, {"__metadata__", DTYPE_F32, 1, {1}}},
        {{"a", DTYPE_F32, 1, {1}}, {"b", DTYPE_F32, 2, {SIZE_MAX, 2}}},
        {{"a", DTYPE_F32, 1, {SIZE_MAX / 4}}, {"b", DTYPE_F32, 1, {SIZE_MAX / 4}}},
        {{"a", DTYPE_F32, 1, {1}}, {"b", DTYPE_F32, 9, {1}}},
        {{"a", DTYPE_F32, 1, {1}}, {"b", DTYPE_COUNT, 1, {1}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors_writer *w = NULL;
        const char *dir = new_dir();
        bool empty = false;
        assert_int_equal(safetensors_writer_create(dir, cases[i], 2, 0, &w, NULL), QUERN_ERR_ARG);
        assert_null(w);
        assert_int_equal(os_dir_is_empty(dir, &empty, NULL), QUERN_OK);
        assert_true(empty);
    }
}

static void no_tensors_make_an_empty_file(void **state) {
    (void)state;
    const char *dir = new_dir();
    struct safetensors_writer *w = NULL;
    assert_int_equal(safetensors_writer_create(dir, NULL, 0, 0, &w, NULL), QUERN_OK);
    assert_int_equal(safetensors_writer_finish(w, NULL), QUERN_OK);
    safetensors_writer_destroy(w);
    struct safetensors *st = NULL;
    assert_int_equal(safetensors_open(dir, &st, NULL), QUERN_OK);
    assert_int_equal(safetensors_count(st), 0);
    safetensors_close(st);
}

static void a_directory_that_is_not_there_is_an_error(void **state) {
    (void)state;
    struct safetensors_writer *w = NULL;
    struct quern_error err = {0};
    assert_int_equal(
        safetensors_writer_create(support_temp_path("absent"), decls, N_DECLS, 0, &w, &err),
        QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "model.safetensors: cannot create"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(shards_break_where_the_next_tensor_would_not_fit),
        cmocka_unit_test(the_index_is_written_as_transformers_writes_it),
        cmocka_unit_test(a_new_checkpoint_is_not_hidden_by_an_old_one),
        cmocka_unit_test(nothing_remains_of_an_unfinished_checkpoint),
        cmocka_unit_test(too_much_data_is_refused),
        cmocka_unit_test(bad_declarations_are_refused),
        cmocka_unit_test(no_tensors_make_an_empty_file),
        cmocka_unit_test(a_directory_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
