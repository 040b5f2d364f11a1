#include "base/pages.h"

#include "base/os.h"
#include "support/support.h"

static void pages_are_zero_and_aligned(void **state) {
    (void)state;
    enum { BYTES = 3 * 1024 * 1024 + 5 };
    unsigned char *p = pages_alloc(BYTES);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 4096, 0);
    for (size_t i = 0; i < BYTES; i++)
        assert_int_equal(p[i], 0);
    p[0] = p[BYTES - 1] = 1;
    pages_free(p, BYTES);
}

static void nothing_is_a_valid_size(void **state) {
    (void)state;
    void *p = pages_alloc(0);
    assert_non_null(p);
    pages_free(p, 0);
    pages_free(NULL, 0);
}

static void untouched_pages_cost_no_memory(void **state) {
    (void)state;
    const size_t bytes = (size_t)8 << 30;
    size_t before = os_rss_bytes();
    unsigned char *p = pages_alloc(bytes);
    if (!p) {
        print_message("no address space for this test\n");
        skip();
    }
    p[bytes / 2] = 1;
    assert_true(os_rss_bytes() < before + ((size_t)64 << 20));
    pages_free(p, bytes);
}

static void too_much_is_refused(void **state) {
    (void)state;
    assert_null(pages_alloc(SIZE_MAX / 2));
    assert_null(pages_alloc(SIZE_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_zero_and_aligned),
        cmocka_unit_test(nothing_is_a_valid_size),
        cmocka_unit_test(untouched_pages_cost_no_memory),
        cmocka_unit_test(too_much_is_refused),
    };
    return cmocka_run_group_tests_name("base/pages", tests, NULL, NULL);
}
