#include "cli/history_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

struct seen {
    size_t n;
    char first[64], last[64];
};

static void each(void *user, const char *turn) {
    struct seen *seen = user;
    if (seen->n++ == 0)
        snprintf(seen->first, sizeof seen->first, "%s", turn);
    snprintf(seen->last, sizeof seen->last, "%s", turn);
}

static struct seen load(const char *path) {
    struct seen seen = {0};
    history_file_load(path, each, &seen);
    return seen;
}

static void a_turn_of_several_lines_comes_back_as_it_was(void **state) {
    (void)state;
    const char *path = support_temp_path("several");
    assert_int_equal(history_file_append(path, "one", NULL), QUERN_OK);
    assert_int_equal(history_file_append(path, "C:\\new\n\nline\\", NULL), QUERN_OK);
    struct seen seen = load(path);
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.first, "one");
    assert_string_equal(seen.last, "C:\\new\n\nline\\");
}

static void a_missing_file_has_no_turns(void **state) {
    (void)state;
    assert_int_equal(load(support_temp_path("nowhere")).n, 0);
    struct quern_error err = {0};
    assert_int_equal(history_file_append(support_temp_path("no/dir"), "x", &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "no/dir"));
}

static void only_the_last_turns_are_loaded_and_a_long_file_is_cut(void **state) {
    (void)state;
    const char *path = support_temp_path("long");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i <= 2 * HISTORY_TURNS; i++)
        fprintf(file, "turn %d\n", i);
    fclose(file);
    for (int round = 0; round < 2; round++) {
        struct seen seen = load(path);
        assert_int_equal(seen.n, HISTORY_TURNS);
        assert_string_equal(seen.first, "turn 1001");
        assert_string_equal(seen.last, "turn 2000");
    }
    size_t size = 0;
    free(support_read_file(path, &size));
    assert_int_equal(size, HISTORY_TURNS * strlen("turn 1001\n"));
}

static void a_damaged_file_does_no_harm(void **state) {
    (void)state;
    const char *path = support_temp_path("damaged");
    static const char bytes[] = "\n\0\0\n\\\nwhole\ncut \\";
    support_write_file(path, bytes, sizeof bytes - 1);
    struct seen seen = load(path);
    assert_int_equal(seen.n, 3);
    assert_string_equal(seen.first, "\\");
    assert_string_equal(seen.last, "cut \\");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_of_several_lines_comes_back_as_it_was),
        cmocka_unit_test(a_missing_file_has_no_turns),
        cmocka_unit_test(only_the_last_turns_are_loaded_and_a_long_file_is_cut),
        cmocka_unit_test(a_damaged_file_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
