#include "server/config_file.h"

#include <string.h>

#include "support/support.h"

struct args {
    int64_t port;
    bool lazy;
    const char *host;
    struct option_list models;
};

static const struct option_spec specs[] = {
    OPT_INT('p', "port", "N", struct args, port, 0, 65535, "port"),
    OPT_FLAG(0, "lazy", struct args, lazy, "lazy"),
    OPT_STRING(0, "host", "H", struct args, host, "host"),
    OPT_LIST('m', "model", "DIR", struct args, models, "models"),
    OPT_END,
};

static enum quern_status read_text(const char *text, struct config_file *f,
                                   struct quern_error *err) {
    const char *path = support_temp_path("config.ini");
    support_write_file(path, text, strlen(text));
    return config_file_read(path, specs, f, err);
}

static void entries_become_words_of_a_command_line(void **state) {
    (void)state;
    struct config_file f;
    struct quern_error err = {0};
    assert_int_equal(
        read_text("; c\nport = 80 ; c\n[x]\nmodel = a=/b\nmodel=c\nlazy = true\nhost=::1\n", &f,
                  &err),
        QUERN_OK);
    assert_int_equal(f.n, 5);
    assert_string_equal(f.args[0], "--port=80");
    assert_string_equal(f.args[1], "--model=a=/b");
    assert_string_equal(f.args[2], "--model=c");
    assert_string_equal(f.args[3], "--lazy");
    assert_string_equal(f.args[4], "--host=::1");
    config_file_release(&f);
    assert_int_equal(read_text("lazy = off\n", &f, &err), QUERN_OK);
    assert_int_equal(f.n, 0);
    assert_int_equal(read_text("", &f, &err), QUERN_OK);
}

static void mistakes_are_told_with_their_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"port = 1\nprot = 2\n", "line 2: there is no option \"prot\"; did you mean \"port\"?"},
        {"lazy = x\n", "line 1: lazy: \"x\" is neither yes nor no"},
        {"\n\nport\n", "line 3: expected NAME = VALUE"},
        {"[x\n", "line 1: expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config_file f;
        struct quern_error err = {0};
        assert_int_not_equal(read_text(cases[i][0], &f, &err), QUERN_OK);
        assert_non_null(strstr(err.message, cases[i][1]));
        assert_int_equal(f.n, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_become_words_of_a_command_line),
        cmocka_unit_test(mistakes_are_told_with_their_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
