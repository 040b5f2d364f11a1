/* cmocka.h - as much of cmocka as the kernels' tests use, for builds by a cross compiler, for which
 * there is no cmocka. A failed assertion ends the program with status 1. */
#ifndef TESTS_SUPPORT_NO_CMOCKA_H
#define TESTS_SUPPORT_NO_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};
#define cmocka_unit_test(f) {#f, f}

static inline void cmocka_check(int ok, const char *what, const char *file, int line) {
    if (ok)
        return;
    printf("%s:%d: failed: %s\n", file, line, what);
    exit(1);
}

#define assert_true(c) cmocka_check(!!(c), #c, __FILE__, __LINE__)
#define assert_false(c) cmocka_check(!(c), "not " #c, __FILE__, __LINE__)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) cmocka_check((a) == (b), #a " == " #b, __FILE__, __LINE__)
#define assert_ptr_equal(a, b) cmocka_check((a) == (b), #a " == " #b, __FILE__, __LINE__)
#define assert_memory_equal(a, b, n) \
    cmocka_check(memcmp(a, b, n) == 0, #a " equals " #b, __FILE__, __LINE__)

static inline int cmocka_run(const struct CMUnitTest *tests, size_t n, int (*set_up)(void **state)) {
    void *state = NULL;
    if (set_up && set_up(&state) != 0)
        return 1;
    for (size_t i = 0; i < n; i++) {
        tests[i].run(&state);
        printf("[       OK ] %s\n", tests[i].name);
    }
    return 0;
}
#define cmocka_run_group_tests(tests, set_up, tear_down) \
    ((void)(tear_down), cmocka_run(tests, sizeof(tests) / sizeof *(tests), set_up))

#endif
