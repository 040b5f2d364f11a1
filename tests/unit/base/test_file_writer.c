#include "base/file_writer.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support/support.h"

static bool dir_is_empty(const char *path) {
    bool empty = false;
    assert_int_equal(os_dir_is_empty(path, &empty, NULL), QUERN_OK);
    return empty;
}

static const char *new_dir(const char *name) {
    const char *path = support_temp_path(name);
    assert_int_equal(os_make_dir(path, NULL), QUERN_OK);
    assert_true(dir_is_empty(path));
    return path;
}

static void path_in(const char *dir, const char *name, char out[512]) {
    assert_int_equal(os_path_join(out, 512, dir, name, NULL), QUERN_OK);
}

static void a_file_appears_whole_when_it_is_published(void **state) {
    (void)state;
    char path[512];
    struct file_writer w;
    path_in(new_dir("whole"), "f", path);
    assert_int_equal(file_writer_init(&w, path, NULL), QUERN_OK);
    assert_int_equal(file_writer_write(&w, "one ", 4, NULL), QUERN_OK);
    assert_int_equal(file_writer_write(&w, "two", 3, NULL), QUERN_OK);
    assert_int_equal(file_writer_write(&w, NULL, 0, NULL), QUERN_OK);
    assert_int_equal(file_writer_close(&w, NULL), QUERN_OK);
    assert_false(os_file_exists(path));
    assert_int_equal(file_writer_publish(&w, NULL), QUERN_OK);
    file_writer_release(&w);
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, "one two");
    free(text);
    file_writer_flush_dir(support_temp_dir());
    file_writer_flush_dir("/nowhere");
}

static void the_old_file_stays_until_then(void **state) {
    (void)state;
    char path[512];
    struct file_writer w;
    path_in(new_dir("old"), "f", path);
    support_write_file(path, "old", 3);
    assert_int_equal(file_writer_init(&w, path, NULL), QUERN_OK);
    assert_int_equal(file_writer_write(&w, "new", 3, NULL), QUERN_OK);
    char *text = support_read_file(path, NULL);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(file_writer_close(&w, NULL), QUERN_OK);
    assert_int_equal(file_writer_publish(&w, NULL), QUERN_OK);
    file_writer_release(&w);
    text = support_read_file(path, NULL);
    assert_string_equal(text, "new");
    free(text);
}

static void what_is_not_published_is_removed(void **state) {
    (void)state;
    char path[512];
    struct file_writer w;
    const char *dir = new_dir("removed");
    path_in(dir, "f", path);
    for (int closed = 0; closed < 2; closed++) {
        assert_int_equal(file_writer_init(&w, path, NULL), QUERN_OK);
        assert_int_equal(file_writer_write(&w, "x", 1, NULL), QUERN_OK);
        assert_false(dir_is_empty(dir));
        if (closed)
            assert_int_equal(file_writer_close(&w, NULL), QUERN_OK);
        file_writer_release(&w);
        assert_true(dir_is_empty(dir));
    }
    struct file_writer zero = {0};
    file_writer_release(&zero);
    file_writer_release(NULL);
}

static void failures_name_the_file(void **state) {
    (void)state;
    struct quern_error err = {0};
    struct file_writer w;
    assert_int_equal(file_writer_init(&w, "/nowhere/f", &err), QUERN_ERR_IO);
    assert_ptr_equal(strstr(err.message, "/nowhere/f: cannot create: "), err.message);
    file_writer_release(&w);
    char path[512];
    path_in(new_dir("taken"), "f", path);
    assert_int_equal(os_make_dir(path, NULL), QUERN_OK);
    assert_int_equal(file_writer_init(&w, path, NULL), QUERN_OK);
    assert_int_equal(file_writer_close(&w, NULL), QUERN_OK);
    assert_int_equal(file_writer_publish(&w, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "f: cannot rename the new file: "));
    file_writer_release(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_appears_whole_when_it_is_published),
        cmocka_unit_test(the_old_file_stays_until_then),
        cmocka_unit_test(what_is_not_published_is_removed),
        cmocka_unit_test(failures_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
