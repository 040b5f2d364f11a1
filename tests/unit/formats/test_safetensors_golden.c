/* A file of the reference writer (tests/golden/make_formats.py). */
#include "formats/safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

static void check(const struct tensor *t, const json_t *want) {
    const json_t *shape = json_object_get(want, "shape");
    const char *hex = json_string_value(json_object_get(want, "data"));
    assert_string_equal(t->name, json_string_value(json_object_get(want, "name")));
    assert_string_equal(dtype_name(t->dtype), json_string_value(json_object_get(want, "dtype")));
    assert_int_equal(t->rank, json_array_size(shape));
    for (int i = 0; i < t->rank; i++)
        assert_int_equal(t->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
    assert_int_equal(t->size_bytes, strlen(hex) / 2);
    for (size_t i = 0; i < t->size_bytes; i++) {
        char byte[3];
        snprintf(byte, sizeof byte, "%02x", ((const unsigned char *)t->data)[i]);
        assert_memory_equal(hex + 2 * i, byte, 2);
    }
}

static void a_file_of_the_reference_is_read_as_the_reference_reads_it(void **state) {
    (void)state;
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    json_t *want = json_load_file(support_fixture("golden/formats/reference.json"), 0, NULL);
    assert_non_null(want);
    if (safetensors_open(support_fixture("golden/formats/reference.safetensors"), &st, &err))
        fail_msg("%s", err.message);
    assert_int_equal(safetensors_count(st), json_array_size(want));
    for (size_t i = 0; i < safetensors_count(st); i++)
        check(safetensors_at(st, i), json_array_get(want, i));
    assert_string_equal(safetensors_metadata(st, "format"), "pt");
    assert_string_equal(safetensors_metadata(st, "note"), "\xc3\xa9");
    safetensors_close(st);
    json_decref(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_the_reference_is_read_as_the_reference_reads_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
