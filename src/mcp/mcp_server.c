#include "mcp/mcp_server.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "text/json.h"

enum { WORDS_MAX = 256, FILE_BYTES_MAX = 16 << 20, VALUE_BYTES_MAX = 1 << 20 };

static void free_list(char **list) {
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void mcp_server_release(struct mcp_server *s) {
    free(s->name);
    free(s->url);
    free_list(s->argv);
    free_list(s->env);
    free_list(s->headers);
    *s = (struct mcp_server){0};
}

/* ---- a command line -------------------------------------------------------------------------- */

/* The next word of *p, unquoted in place. NULL at the end; *broken: a quote is open. */
static char *next_word(char **p, bool *broken) {
    char *from = *p, quote = '\0';
    from += strspn(from, " \t\n");
    if (!*from)
        return NULL;
    char *word = from, *to = from;
    for (; *from && (quote || !strchr(" \t\n", *from)); from++) {
        if (quote ? *from == quote : *from == '\'' || *from == '"')
            quote = quote ? '\0' : *from;
        else if (*from == '\\' && quote != '\'' && from[1])
            *to++ = *++from;
        else
            *to++ = *from;
    }
    *broken = quote != '\0';
    *p = *from ? from + 1 : from;
    *to = '\0';
    return word;
}

static enum quern_status split(const char *text, char **argv, struct quern_error *err) {
    char *copy = strdup(text), *at = copy, *word;
    size_t n = 0;
    bool broken = false, ok = copy != NULL;
    while (ok && n < WORDS_MAX && (word = next_word(&at, &broken)) != NULL) {
        argv[n] = strdup(word);
        ok = argv[n++] != NULL;
    }
    free(copy);
    if (!ok)
        return error_nomem(err);
    if (broken)
        return error_set(err, QUERN_ERR_ARG, "%s: a quote is not closed", text);
    if (n == 0 || n == WORDS_MAX)
        return error_set(err, QUERN_ERR_ARG, "%s: expected a command of 1 to %d words", text,
                         WORDS_MAX - 1);
    return QUERN_OK;
}

static bool is_url(const char *text) {
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

enum quern_status mcp_server_parse(const char *text, struct mcp_server *out,
                                   struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    *out = (struct mcp_server){.name = strdup(text)};
    if (is_url(text))
        out->url = strdup(text);
    else
        out->argv = calloc(WORDS_MAX + 1, sizeof *out->argv);
    if (!out->name || (!out->url && !out->argv))
        status = error_nomem(err);
    else if (out->argv)
        status = split(text, out->argv, err);
    if (status)
        mcp_server_release(out);
    return status;
}

/* ---- a file ------------------------------------------------------------------------------------
 */

/* Where in the file we are, for messages. */
struct place {
    const char *path, *server, *key;
    const char *(*variable)(const char *name);
};

static enum quern_status wrong(const struct place *at, const json_t *found, const char *expected,
                               struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT, "%s: server \"%s\": \"%s\": found %s, expected %s",
                     at->path, at->server, at->key, json_type_name(found), expected);
}

/* The text between "${" and "}": NAME, env:NAME, NAME:-otherwise. */
static enum quern_status append_variable(struct str text, const struct place *at,
                                         struct buffer *out, struct quern_error *err) {
    char name[256];
    if (str_starts_with(text, STR_LIT("env:")))
        text = (struct str){text.ptr + 4, text.len - 4};
    const char *otherwise = memmem(text.ptr, text.len, ":-", 2);
    const size_t n = otherwise ? (size_t)(otherwise - text.ptr) : text.len;
    if (n == 0 || n >= sizeof name)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: server \"%s\": \"%s\": ${%.*s} names no variable", at->path,
                         at->server, at->key, STR_FMT(text));
    memcpy(name, text.ptr, n);
    name[n] = '\0';
    const char *value = at->variable(name);
    if (value && (*value || !otherwise))
        buffer_puts(out, value);
    else if (otherwise)
        buffer_append(out, otherwise + 2, text.len - n - 2);
    else
        return error_set(err, QUERN_ERR_ARG,
                         "%s: server \"%s\": \"%s\": the variable %s is not set", at->path,
                         at->server, at->key, name);
    return QUERN_OK;
}

/* *out: `prefix` and the string with its variables, of the caller. */
static enum quern_status expand(const json_t *value, const char *prefix, const struct place *at,
                                char **out, struct quern_error *err) {
    struct buffer b;
    if (!json_is_string(value))
        return wrong(at, value, "a string", err);
    enum quern_status status = QUERN_OK;
    const char *p = json_string_value(value), *begin;
    buffer_init(&b, VALUE_BYTES_MAX);
    buffer_puts(&b, prefix);
    while (!status && (begin = strstr(p, "${")) != NULL) {
        const char *end = strchr(begin, '}');
        if (!end)
            break;
        buffer_append(&b, p, (size_t)(begin - p));
        status = append_variable((struct str){begin + 2, (size_t)(end - begin) - 2}, at, &b, err);
        p = end + 1;
    }
    buffer_puts(&b, p);
    if (!status)
        status = buffer_status(&b, at->key, err);
    if (!status && strpbrk(buffer_str(&b).ptr, "\r\n"))
        status = error_set(err, QUERN_ERR_FORMAT, "%s: server \"%s\": \"%s\" has a line break",
                           at->path, at->server, at->key);
    if (!status && !(*out = strdup(buffer_str(&b).ptr)))
        status = error_nomem(err);
    buffer_release(&b);
    return status;
}

/* An object of strings as "name", `between`, "value". */
static enum quern_status read_pairs(const json_t *object, const char *between,
                                    const struct place *at, char ***out, struct quern_error *err) {
    const char *name;
    json_t *value;
    size_t n = 0;
    enum quern_status status = QUERN_OK;
    if (!object)
        return QUERN_OK;
    if (!json_is_object(object))
        return wrong(at, object, "an object of strings", err);
    *out = calloc(json_object_size(object) + 1, sizeof **out);
    if (!*out)
        return error_nomem(err);
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        char prefix[256];
        if (!*name || strpbrk(name, "=: \t\r\n") || strlen(name) + 3 > sizeof prefix)
            return error_set(err, QUERN_ERR_FORMAT,
                             "%s: server \"%s\": \"%s\" has no such name: \"%s\"", at->path,
                             at->server, at->key, name);
        snprintf(prefix, sizeof prefix, "%s%s", name, between);
        if (!status)
            status = expand(value, prefix, at, &(*out)[n++], err);
    }
    return status;
}

static enum quern_status read_argv(const json_t *object, struct place *at, char ***out,
                                   struct quern_error *err) {
    const json_t *args = json_object_get(object, "args");
    const size_t n = json_array_size(args);
    at->key = "args";
    if (args && (!json_is_array(args) || n >= WORDS_MAX))
        return wrong(at, args, "a list of strings", err);
    *out = calloc(n + 2, sizeof **out);
    if (!*out)
        return error_nomem(err);
    at->key = "command";
    enum quern_status status = expand(json_object_get(object, "command"), "", at, *out, err);
    at->key = "args";
    for (size_t i = 0; i < n && !status; i++)
        status = expand(json_array_get(args, i), "", at, &(*out)[i + 1], err);
    return status;
}

static enum quern_status read_server(const json_t *object, struct place *at, struct mcp_server *out,
                                     struct quern_error *err) {
    const json_t *url = json_object_get(object, "url");
    enum quern_status status = QUERN_OK;
    *out = (struct mcp_server){.name = strdup(at->server)};
    if (!out->name)
        return error_nomem(err);
    if (!url == !json_object_get(object, "command"))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: server \"%s\": expected either \"command\" or \"url\"", at->path,
                         at->server);
    at->key = "url";
    status = url ? expand(url, "", at, &out->url, err) : read_argv(object, at, &out->argv, err);
    if (!status && url && !is_url(out->url))
        status = error_set(err, QUERN_ERR_FORMAT,
                           "%s: server \"%s\": found the url %s, expected http:// or https://",
                           at->path, at->server, out->url);
    at->key = "env";
    if (!status)
        status = read_pairs(json_object_get(object, "env"), "=", at, &out->env, err);
    at->key = "headers";
    if (!status)
        status = read_pairs(json_object_get(object, "headers"), ": ", at, &out->headers, err);
    return status;
}

enum quern_status mcp_servers_load(const char *path, const char *(*variable)(const char *name),
                                   enum quern_status (*take)(void *user, struct mcp_server *server,
                                                             struct quern_error *err),
                                   void *user, struct quern_error *err) {
    json_t *root = NULL, *value;
    const char *name;
    enum quern_status status = json_load_path(path, FILE_BYTES_MAX, &root, err);
    if (status)
        return status;
    json_t *servers = json_object_get(root, "mcpServers");
    if (!servers)
        servers = json_object_get(root, "servers");
    if (!json_object_size(servers))
        status =
            error_set(err, QUERN_ERR_FORMAT, "%s: expected {\"mcpServers\": {name: {...}}}", path);
    json_object_foreach(servers, name, value) {
        struct place at = {path, name, "", variable};
        struct mcp_server server = {0};
        if (status || json_is_true(json_object_get(value, "disabled")))
            continue;
        status = read_server(value, &at, &server, err);
        if (status)
            mcp_server_release(&server);
        else
            status = take(user, &server, err);
    }
    json_decref(root);
    return status;
}
