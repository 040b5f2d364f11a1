#include "cli/ids_json.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static void ids_are_read_whatever_the_spacing(void **state) {
    (void)state;
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(ids_json_parse(STR_LIT(" [1,2147483647 ,\n0]\n"), "x", &ids, &n, NULL),
                     QUERN_OK);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], INT32_MAX);
    assert_int_equal(ids[2], 0);
    free(ids);
    assert_int_equal(ids_json_parse(STR_LIT("[]"), "x", &ids, &n, NULL), QUERN_OK);
    assert_int_equal(n, 0);
    assert_null(ids);
}

static void what_is_no_array_of_ids_is_an_error_that_says_where(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "x: "},
        {"{}", "expected a JSON array of token ids"},
        {"[1, -2]", "entry 1 of the array is no token id"},
        {"[1.0]", "entry 0"},
        {"[1, 2, \"3\"]", "entry 2"},
        {"[2147483648]", "entry 0"},
        {"[[1]]", "entry 0"},
        {"[1, 2", "line 1"},
        {"[1] 2", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        struct quern_error err = {0};
        assert_int_equal(ids_json_parse(str_from(cases[i][0]), "x", &ids, &n, &err),
                         QUERN_ERR_FORMAT);
        assert_non_null(strstr(err.message, cases[i][1]));
        assert_null(ids);
    }
}

static void ids_are_written_as_python_writes_a_list(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 1000);
    static const int32_t ids[] = {0, 7, 151935, INT32_MAX};
    assert_int_equal(ids_json_write(ids, 4, &out), QUERN_OK);
    assert_string_equal(out.data, "[0, 7, 151935, 2147483647]\n");
    buffer_clear(&out);
    assert_int_equal(ids_json_write(ids, 0, &out), QUERN_OK);
    assert_string_equal(out.data, "[]\n");
    buffer_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_read_whatever_the_spacing),
        cmocka_unit_test(what_is_no_array_of_ids_is_an_error_that_says_where),
        cmocka_unit_test(ids_are_written_as_python_writes_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
