#include "base/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "support/support.h"

static struct process start(const char *script) {
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct process p;
    struct quern_error err = {0};
    if (process_start(&p, argv, NULL, &err))
        fail_msg("%s", err.message);
    return p;
}

static void run(const char *script, const char *input, struct process *p, struct buffer *out,
                struct buffer *errors) {
    struct str in = str_from(input);
    *p = start(script);
    do {
        if (!in.len)
            process_close_input(p);
    } while (process_pump(p, &in, out, errors) != PROCESS_CLOSED);
    process_wait(p, 5000);
}

static void check(const char *script, const char *input, const char *out, const char *errors,
                  int code) {
    struct process p;
    struct buffer got, problems;
    buffer_init(&got, 1 << 20);
    buffer_init(&problems, 1 << 20);
    run(script, input, &p, &got, &problems);
    assert_string_equal(got.data ? got.data : "", out);
    assert_string_equal(problems.data ? problems.data : "", errors);
    assert_int_equal(p.code, code);
    process_end(&p, 0);
    buffer_release(&got);
    buffer_release(&problems);
}

static void input_output_errors_and_exit_code_go_through(void **state) {
    (void)state;
    check("cat; echo no >&2; exit 3", "a\nb", "a\nb", "no\n", 3);
    check("kill -9 $$", "", "", "", 128 + 9);
    check("exec <&-; exec 1>&-; exit 0", "unread", "", "", 0);
}

static void a_child_that_reads_nothing_does_not_end_us(void **state) {
    (void)state;
    char *much = malloc((1 << 20) + 1);
    assert_non_null(much);
    memset(much, 'x', 1 << 20);
    much[1 << 20] = '\0';
    check("exec 0<&-; sleep 0.2; echo done", much, "done\n", "", 0);
    check("wc -c | tr -d ' '", much, "1048576\n", "", 0);
    free(much);
}

static void what_passes_a_buffer_is_dropped_and_told(void **state) {
    (void)state;
    struct process p;
    struct buffer out, errors;
    buffer_init(&out, 10);
    buffer_init(&errors, 3);
    run("echo 0123456789abcdef; echo wrong >&2", "", &p, &out, &errors);
    assert_string_equal(out.data, "0123456789");
    assert_string_equal(errors.data, "wro");
    assert_true(p.cut);
    process_end(&p, 0);
    buffer_release(&out);
    buffer_release(&errors);
}

static void ending_takes_what_it_started_along(void **state) {
    (void)state;
    struct process p = start("trap '' TERM; sh -c 'echo $$; exec sleep 100' & wait");
    struct buffer out, errors;
    struct str nothing = {0};
    buffer_init(&out, 100);
    buffer_init(&errors, 100);
    while (!out.len)
        process_pump(&p, &nothing, &out, &errors);
    const long grandchild = strtol(out.data, NULL, 10);
    assert_true(grandchild > 1);
    assert_false(process_wait(&p, 10));
    process_end(&p, 50);
    assert_int_equal(p.code, 128 + SIGKILL);
    /* Whoever adopts it may take a moment to bury it; it runs no more. */
    char path[64], stat[256] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", grandchild);
    FILE *f = fopen(path, "r");
    if (f) {
        if (!fgets(stat, sizeof stat, f))
            stat[0] = '\0';
        fclose(f);
        assert_true(stat[0] == '\0' || strstr(stat, ") Z ") || strstr(stat, ") X "));
    }
    process_end(&p, 0);
    buffer_release(&out);
    buffer_release(&errors);
}

static void an_end_without_closed_pipes_is_noticed(void **state) {
    (void)state;
    const uint64_t begin = os_now_ns();
    check("sleep 30 & echo fine", "", "fine\n", "", 0);
    assert_true(os_now_ns() - begin < 20ull * 1000000000ull);
}

static void a_program_that_is_not_there_is_named(void **state) {
    (void)state;
    const char *const argv[] = {"./no-such-program", NULL};
    struct process p;
    struct quern_error err = {0};
    assert_int_equal(process_start(&p, argv, NULL, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "no-such-program"));
    process_end(&p, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_output_errors_and_exit_code_go_through),
        cmocka_unit_test(a_child_that_reads_nothing_does_not_end_us),
        cmocka_unit_test(what_passes_a_buffer_is_dropped_and_told),
        cmocka_unit_test(ending_takes_what_it_started_along),
        cmocka_unit_test(an_end_without_closed_pipes_is_noticed),
        cmocka_unit_test(a_program_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
