#include "formats/npy.h"

#include "support/support.h"

#include <stdlib.h>
#include <string.h>

static void a_file_is_laid_out_as_numpy_lays_it_out(void **state) {
    (void)state;
    const char *path = support_temp_path("a.npy");
    const float values[6] = {0, 1, 2, -1.5f, 1e30f, -0.0f};
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(npy_write_header(f, path, 2, 3, NULL), QUERN_OK);
    assert_int_equal(npy_write_rows(f, path, values, 3, NULL), QUERN_OK);
    assert_int_equal(npy_write_rows(f, path, values + 3, 3, NULL), QUERN_OK);
    assert_int_equal(npy_write_rows(f, path, NULL, 0, NULL), QUERN_OK);
    assert_int_equal(fclose(f), 0);
    size_t n;
    char *bytes = support_read_file(path, &n);
    assert_int_equal(n, 128 + sizeof values);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    static const char dict[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    assert_memory_equal(bytes + 10, dict, sizeof dict - 1);
    assert_int_equal(bytes[127], '\n');
    for (size_t i = 10 + sizeof dict - 1; i < 127; i++)
        assert_int_equal(bytes[i], ' ');
    assert_memory_equal(bytes + 128, values, sizeof values);
    free(bytes);
}

static void a_huge_shape_still_fits_the_header(void **state) {
    (void)state;
    const char *path = support_temp_path("b.npy");
    FILE *f = fopen(path, "wb");
    assert_int_equal(npy_write_header(f, path, SIZE_MAX, SIZE_MAX, NULL), QUERN_OK);
    assert_int_equal(ftell(f) % 64, 0);
    fclose(f);
}

static void a_failed_write_names_the_file(void **state) {
    (void)state;
    struct quern_error err = {0};
    FILE *f = fopen("/dev/full", "wb");
    if (!f)
        skip();
    setvbuf(f, NULL, _IONBF, 0);
    assert_int_equal(npy_write_header(f, "logits.npy", 1, 1, &err), QUERN_ERR_IO);
    assert_ptr_equal(strstr(err.message, "logits.npy: cannot write"), err.message);
    assert_int_equal(npy_write_rows(f, "logits.npy", (const float[]){1}, 1, &err), QUERN_ERR_IO);
    fclose(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_laid_out_as_numpy_lays_it_out),
        cmocka_unit_test(a_huge_shape_still_fits_the_header),
        cmocka_unit_test(a_failed_write_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
