/* tool_call_parse.c - one tool call as Qwen writes it. */
#include <string.h>

#include "grammar/schema/value_types.h"
#include "openai/answer_parts.h"
#include "text/json_reader.h"

static struct str trim(struct str s) {
    while (s.len && strchr(" \t\r\n", *s.ptr))
        s.ptr++, s.len--;
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* ---- {"name": ..., "arguments": ...} -------------------------------------------- */

/* The members' texts as they stand. */
static bool find_members(struct str text, struct str *name, struct str *arguments) {
    struct json_reader r;
    json_reader_init(&r, text, NULL);
    if (json_reader_next(&r) != JSON_TOKEN_OBJECT)
        return false;
    enum json_token token;
    while ((token = json_reader_next(&r)) == JSON_TOKEN_KEY) {
        bool is_name = json_reader_value_is(&r, STR_LIT("name"));
        bool is_arguments = json_reader_value_is(&r, STR_LIT("arguments")) ||
                            json_reader_value_is(&r, STR_LIT("parameters"));
        struct str value;
        if (!json_reader_skip(&r, &value))
            return false;
        if (is_name)
            *name = value;
        else if (is_arguments)
            *arguments = value;
    }
    return token == JSON_TOKEN_OBJECT_END && json_reader_next(&r) == JSON_TOKEN_END;
}

/* One JSON value of any kind; NULL: it is none. */
static json_t *parse_value(struct str text) {
    json_t *value = NULL, *array = NULL;
    struct buffer wrapped;
    buffer_init(&wrapped, SIZE_MAX / 4);
    buffer_putc(&wrapped, '[');
    buffer_append_str(&wrapped, text);
    buffer_putc(&wrapped, ']');
    if (!wrapped.failed &&
        json_parse(wrapped.data, wrapped.len, "call", &array, NULL) == QUERN_OK &&
        json_array_size(array) == 1)
        value = json_incref(json_array_get(array, 0));
    json_decref(array);
    buffer_release(&wrapped);
    return value;
}

/* Appends the content of the string whose text, quotes included, is `text`. */
static bool unquote(struct str text, struct buffer *storage) {
    json_t *value = parse_value(text);
    bool ok = json_is_string(value) && buffer_append(storage, json_string_value(value),
                                                     json_string_length(value)) == QUERN_OK;
    json_decref(value);
    return ok;
}

static bool parse_json_call(struct str text, struct buffer *storage, struct tool_call *out) {
    struct str name = {0}, arguments = STR_LIT("{}");
    if (!find_members(text, &name, &arguments) || !name.len || *name.ptr != '"')
        return false;
    if (!unquote(name, storage) || !storage->len)
        return false;
    size_t name_len = storage->len;
    /* Some models write the arguments as a string, as OpenAI's own form has them. */
    if (*arguments.ptr == '"') {
        if (!unquote(arguments, storage))
            return false;
        out->arguments = (struct str){storage->data + name_len, storage->len - name_len};
    } else {
        out->arguments = arguments;
    }
    out->name = (struct str){storage->data, name_len};
    return true;
}

/* ---- <function=name><parameter=key>value</parameter></function> --------------------- */

static bool take_tag(struct str *text, const char *tag, struct str *name) {
    struct str s = trim(*text);
    if (!str_starts_with(s, str_from(tag)))
        return false;
    const char *end = memchr(s.ptr, '>', s.len);
    if (!end)
        return false;
    size_t skip = strlen(tag);
    *name = trim((struct str){s.ptr + skip, (size_t)(end - s.ptr) - skip});
    *text = (struct str){end + 1, s.len - (size_t)(end + 1 - s.ptr)};
    return true;
}

static const char *find(struct str text, const char *what) {
    return text.len ? memmem(text.ptr, text.len, what, strlen(what)) : NULL;
}

/* Without the newline after the opening tag and the one before the closing one. */
static struct str value_of(struct str text) {
    if (text.len && *text.ptr == '\n')
        text.ptr++, text.len--;
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    return text;
}

static bool parse_xml_call(struct str text, const json_t *tools, struct buffer *storage,
                           struct tool_call *out) {
    struct str name, key;
    if (!take_tag(&text, "<function=", &name) || !name.len)
        return false;
    const json_t *parameters = tool_parameters(tools, name);
    buffer_putc(storage, '{');
    while (take_tag(&text, "<parameter=", &key)) {
        const char *end = find(text, "</parameter>");
        if (!end)
            return false;
        if (storage->len > 1)
            buffer_puts(storage, ", ");
        json_write_string(key, storage);
        buffer_puts(storage, ": ");
        call_write_value(value_of((struct str){text.ptr, (size_t)(end - text.ptr)}),
                         value_types_of_parameter(parameters, key), storage);
        end += strlen("</parameter>");
        text = (struct str){end, text.len - (size_t)(end - text.ptr)};
    }
    buffer_putc(storage, '}');
    if (storage->failed || !str_starts_with(trim(text), STR_LIT("</function>")))
        return false;
    out->name = name;
    out->arguments = buffer_str(storage);
    return true;
}

bool tool_call_parse(struct str text, const json_t *tools, struct buffer *storage,
                     struct tool_call *out) {
    text = trim(text);
    if (!text.len)
        return false;
    return *text.ptr == '{' ? parse_json_call(text, storage, out)
                            : parse_xml_call(text, tools, storage, out);
}
