#include "server/host_check.h"

#include "support/support.h"

static void loopback_by_any_name_and_the_host_listened_on_are_allowed(void **state) {
    (void)state;
    const struct option_list none = {{NULL}, 0};
    static const char *const good[] = {"localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1",
                                       "[::1]",     "[::1]:80",       "box",       "box:8080"};
    static const char *const bad[] = {
        "",           ":80",      "evil.example", "localhost.evil.example",
        "[::1",       "[::1]x",   "[]:80",        "127.0.0.1.evil",
        "xlocalhost", "localhos", "box.evil:80",  "[::2]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(host_is_allowed(good[i], "box", &none));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(host_is_allowed(bad[i], "box", &none));
    assert_false(host_is_allowed(NULL, "box", &none));
}

static void named_hosts_are_allowed_and_a_star_allows_all(void **state) {
    (void)state;
    const struct option_list named = {{"a.example", "b.example"}, 2}, star = {{"*"}, 1};
    assert_true(host_is_allowed("B.example:443", "box", &named));
    assert_false(host_is_allowed("c.example", "box", &named));
    assert_true(host_is_allowed("c.example", "box", &star));
    assert_true(host_is_allowed(NULL, "box", &star));
}

static void a_servers_own_pages_are_known_by_its_name(void **state) {
    (void)state;
    assert_true(origin_is_host("http://localhost:8080", "localhost:8080"));
    assert_true(origin_is_host("https://Box", "box"));
    assert_false(origin_is_host("http://localhost:8081", "localhost:8080"));
    assert_false(origin_is_host("http://localhost:8080.evil", "localhost:8080"));
    assert_false(origin_is_host("null", "localhost"));
    assert_false(origin_is_host("http://localhost", NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_by_any_name_and_the_host_listened_on_are_allowed),
        cmocka_unit_test(a_servers_own_pages_are_known_by_its_name),
        cmocka_unit_test(named_hosts_are_allowed_and_a_star_allows_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
