/* Where servers are: command lines in words, files of other clients, variables of the environment. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "mcp/mcp_server.h"

static struct quern_error err;
static struct mcp_server seen[8];
static size_t n_seen;

static enum quern_status take(void *user, struct mcp_server *server, struct quern_error *e) {
    (void)user;
    (void)e;
    assert_true(n_seen < 8);
    seen[n_seen++] = *server;
    return QUERN_OK;
}

static const char *variable(const char *name) {
    return strcmp(name, "A") == 0 ? "one" : NULL;
}

static int forget(void **state) {
    (void)state;
    while (n_seen)
        mcp_server_release(&seen[--n_seen]);
    return 0;
}

static enum quern_status load(const char *text) {
    const char *path = support_temp_path("servers.json");
    support_write_file(path, text, strlen(text));
    return mcp_servers_load(path, variable, take, NULL, &err);
}

static void a_command_line_is_split_as_a_shell_would(void **state) {
    struct mcp_server s;
    (void)state;
    assert_int_equal(mcp_server_parse("a  'b \\c' \"d \\\"e\" f\\ g", &s, &err), QUERN_OK);
    assert_null(s.url);
    static const char *const words[] = {"a", "b \\c", "d \"e", "f g"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(s.argv[i], words[i]);
    assert_null(s.argv[4]);
    mcp_server_release(&s);
    assert_int_equal(mcp_server_parse("https://x/mcp", &s, &err), QUERN_OK);
    assert_string_equal(s.url, "https://x/mcp");
    assert_null(s.argv);
    mcp_server_release(&s);
    assert_int_equal(mcp_server_parse("a 'b", &s, &err), QUERN_ERR_ARG);
    assert_int_equal(mcp_server_parse(" ", &s, &err), QUERN_ERR_ARG);
}

static void a_file_lists_programs_and_urls(void **state) {
    (void)state;
    assert_int_equal(load("{\"mcpServers\":{\"p\":{\"command\":\"run\",\"args\":[\"-x\",\"${A}$\"],"
                          "\"env\":{\"K\":\"${B:-two}\",\"L\":\"${env:A}${\"}},"
                          "\"off\":{\"disabled\":true},"
                          "\"u\":{\"type\":\"http\",\"url\":\"http://h/m\",\"headers\":{\"A\":\"b c\"}}}}"),
                     QUERN_OK);
    assert_int_equal(n_seen, 2);
    assert_string_equal(seen[0].name, "p");
    assert_string_equal(seen[0].argv[0], "run");
    assert_string_equal(seen[0].argv[2], "one$");
    assert_null(seen[0].argv[3]);
    assert_string_equal(seen[0].env[0], "K=two");
    assert_string_equal(seen[0].env[1], "L=one${");
    assert_null(seen[0].headers);
    assert_string_equal(seen[1].url, "http://h/m");
    assert_string_equal(seen[1].headers[0], "A: b c");
    assert_null(seen[1].headers[1]);
    assert_int_equal(load("{\"servers\":{\"q\":{\"command\":\"z\"}}}"), QUERN_OK);
    assert_int_equal(n_seen, 3);
}

static void what_is_wrong_is_named(void **state) {
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"[]", "expected {\"mcpServers\""},
        {"{\"mcpServers\":{}}", "expected {\"mcpServers\""},
        {"{\"mcpServers\":{\"a\":7}}", "server \"a\": expected either"},
        {"{\"mcpServers\":{\"a\":{\"command\":\"x\",\"url\":\"y\"}}}", "expected either"},
        {"{\"mcpServers\":{\"a\":{\"command\":7}}}", "\"command\": found integer, expected a string"},
        {"{\"mcpServers\":{\"a\":{\"command\":\"x\",\"args\":\"y\"}}}", "\"args\": found string"},
        {"{\"mcpServers\":{\"a\":{\"command\":\"x\",\"args\":[{}]}}}", "\"args\": found object"},
        {"{\"mcpServers\":{\"a\":{\"command\":\"x\",\"env\":{\"B=\":\"y\"}}}}", "no such name: \"B=\""},
        {"{\"mcpServers\":{\"a\":{\"command\":\"x\",\"env\":[\"y\"]}}}", "\"env\": found array"},
        {"{\"mcpServers\":{\"a\":{\"url\":\"ftp://x\"}}}", "ftp://x, expected http"},
        {"{\"mcpServers\":{\"a\":{\"url\":\"http://x\",\"headers\":{\"B\":\"c\\r\\nD: e\"}}}}", "line break"},
        {"{\"mcpServers\":{\"a\":{\"url\":\"http://${NONE}\"}}}", "NONE is not set"},
        {"{\"mcpServers\":{\"a\":{\"url\":\"http://${}\"}}}", "names no variable"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(load(cases[i].text) != QUERN_OK);
        if (!strstr(err.message, cases[i].part))
            fail_msg("%s: %s", cases[i].text, err.message);
    }
    assert_int_equal(n_seen, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_is_split_as_a_shell_would),
        cmocka_unit_test_teardown(a_file_lists_programs_and_urls, forget),
        cmocka_unit_test_teardown(what_is_wrong_is_named, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
