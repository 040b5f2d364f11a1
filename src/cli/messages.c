#include "cli/messages.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "text/unicode.h"

static json_t *clean_string(struct str text) {
    struct buffer clean;
    buffer_init(&clean, SIZE_MAX / 4);
    json_t *string = NULL;
    if (utf8_sanitize(text, &clean) == QUERN_OK)
        string = json_stringn(clean.len ? clean.data : "", clean.len);
    buffer_release(&clean);
    return string;
}

bool messages_add(json_t *messages, const char *role, struct str content, struct str reasoning) {
    json_t *message = json_object();
    bool ok = message && json_object_set_new(message, "role", json_string(role)) == 0;
    if (reasoning.len)
        ok = ok && json_object_set_new(message, "reasoning_content", clean_string(reasoning)) == 0;
    ok = ok && json_object_set_new(message, "content", clean_string(content)) == 0;
    ok = ok && json_array_append(messages, message) == 0;
    json_decref(message);
    return ok;
}

const char *messages_role(const json_t *messages, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return role ? role : "";
}

long messages_last(const json_t *messages, const char *role) {
    for (size_t i = json_array_size(messages); i > 0; i--)
        if (strcmp(messages_role(messages, i - 1), role) == 0)
            return (long)i - 1;
    return -1;
}

void messages_truncate(json_t *messages, size_t n) {
    while (json_array_size(messages) > n)
        json_array_remove(messages, json_array_size(messages) - 1);
}

/* ---- files --------------------------------------------------------------------------- */

enum { FILE_MAX_BYTES = 256 << 20 };

static enum quern_status check_message(const json_t *message, const char *path, size_t i,
                                       struct quern_error *err) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    if (!json_is_object(message))
        return error_set(err, QUERN_ERR_FORMAT, "%s: message %zu is no object but %s", path, i,
                         json_type_name(message));
    const char *role = json_string_value(json_object_get(message, "role"));
    bool known = false;
    for (size_t r = 0; role && r < sizeof roles / sizeof roles[0]; r++)
        known = known || strcmp(role, roles[r]) == 0;
    if (!known)
        return error_set(
            err, QUERN_ERR_FORMAT,
            "%s: message %zu: role is %s%s%s, expected system, user, assistant or tool", path, i,
            role ? "\"" : "", role ? role : "missing", role ? "\"" : "");
    const json_t *content = json_object_get(message, "content");
    if (content && !json_is_string(content) && !json_is_array(content) && !json_is_null(content))
        return error_set(err, QUERN_ERR_FORMAT, "%s: message %zu: content is %s, expected string",
                         path, i, json_type_name(content));
    return QUERN_OK;
}

static enum quern_status check_messages(const json_t *messages, const char *path,
                                        struct quern_error *err) {
    if (!json_is_array(messages))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: expected a JSON array of messages, or an object with one as "
                         "\"messages\"",
                         path);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        enum quern_status status = check_message(json_array_get(messages, i), path, i, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

enum quern_status messages_load(const char *path, json_t **out, struct quern_error *err) {
    json_t *root = NULL;
    enum quern_status status = json_load_path(path, FILE_MAX_BYTES, &root, err);
    if (status)
        return status;
    json_t *messages = json_is_object(root) ? json_object_get(root, "messages") : root;
    status = check_messages(messages, path, err);
    if (!status)
        *out = json_incref(messages);
    json_decref(root);
    return status;
}

enum quern_status messages_save(const json_t *messages, const char *path, struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    json_write_python(messages, 2, &text);
    buffer_putc(&text, '\n');
    enum quern_status status = buffer_status(&text, "the conversation", err);
    if (!status)
        status = os_write_file(path, text.data, text.len, err);
    buffer_release(&text);
    return status;
}

/* ---- rendering ------------------------------------------------------------------------- */

enum quern_status messages_encode(const quern_model *model, const json_t *messages,
                                  const char *tools_json, int enable_thinking, int32_t **ids, size_t *n_ids,
                                  struct quern_error *err) {
    char *json = json_dumps(messages, JSON_COMPACT);
    if (!json)
        return error_nomem(err);
    struct quern_render_options options = {
        .tools_json = tools_json,
        .enable_thinking = enable_thinking,
        .add_generation_prompt = true,
    };
    char *text = NULL;
    size_t len = 0;
    enum quern_status status = quern_render_chat(model, json, &options, &text, &len, err);
    if (!status)
        status = quern_tokenize(model, text, len, false, true, ids, n_ids, err);
    quern_free(text);
    free(json);
    return status;
}
