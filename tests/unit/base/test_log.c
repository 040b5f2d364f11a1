#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

/* What four messages, one of each level, leave on stderr. */
static char *logged_at(enum log_level level) {
    const char *path = support_temp_path("log");
    fflush(stderr);
    int saved = dup(2), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && fd >= 0);
    dup2(fd, 2);
    log_set_level(level);
    log_error("e%d", 1);
    log_warn("w%d", 2);
    log_info("i%d", 3);
    log_debug("d%d", 4);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    close(fd);
    return support_read_file(path, NULL);
}

static void only_messages_of_the_level_and_worse_are_written(void **state) {
    (void)state;
    char *text = logged_at(LOG_WARN);
    assert_string_equal(text, "quern: error: e1\nquern: warning: w2\n");
    free(text);
    text = logged_at(LOG_ERROR);
    assert_string_equal(text, "quern: error: e1\n");
    free(text);
    text = logged_at(LOG_DEBUG);
    assert_string_equal(text,
                        "quern: error: e1\nquern: warning: w2\nquern: i3\nquern: debug: d4\n");
    free(text);
}

struct heard {
    int n, level;
    char message[64];
};

static void hear(void *user, int level, const char *message) {
    struct heard *h = user;
    h->n++;
    h->level = level;
    snprintf(h->message, sizeof h->message, "%s", message);
}

static void messages_go_to_the_function_set_and_nowhere_without_one(void **state) {
    (void)state;
    struct heard heard = {0};
    log_set_sink(hear, &heard);
    char *text = logged_at(LOG_WARN);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(heard.n, 2);
    assert_int_equal(heard.level, QUERN_LOG_WARNING);
    assert_string_equal(heard.message, "w2");
    log_warn("token \"%s\"", "\x1b[2J\n");
    assert_string_equal(heard.message, "token \"?[2J?\"");
    log_set_sink(NULL, NULL);
    text = logged_at(LOG_WARN);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(heard.n, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_messages_of_the_level_and_worse_are_written),
        cmocka_unit_test(messages_go_to_the_function_set_and_nowhere_without_one),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
