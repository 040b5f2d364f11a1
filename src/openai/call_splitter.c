#include "openai/call_splitter.h"

#include <string.h>

#include "grammar/schema/value_types.h"

enum split_state {
    SPLIT_START,     /* blanks before the first character */
    SPLIT_NAME,      /* JSON, up to the end of the name's string */
    SPLIT_ARGUMENTS, /* JSON, up to the value's first character */
    SPLIT_VALUE,     /* inside it */
    SPLIT_TAG,       /* Coder: blanks, then a tag up to '>' */
    SPLIT_PARAMETER, /* after a parameter's opening tag */
    SPLIT_TEXT,      /* inside a parameter's value */
    SPLIT_DONE,
};

static const char CLOSING[] = "\n</parameter>";

void call_splitter_init(struct call_splitter *c, const json_t *tools) {
    *c = (struct call_splitter){.tools = tools};
    buffer_init(&c->held, SIZE_MAX / 4);
    buffer_init(&c->name, SIZE_MAX / 4);
    buffer_init(&c->arguments, SIZE_MAX / 4);
}

void call_splitter_release(struct call_splitter *c) {
    buffer_release(&c->held);
    buffer_release(&c->name);
    buffer_release(&c->arguments);
}

/* Forgets the text, not that memory ran out. */
static void clear(struct call_splitter *c, struct buffer *b) {
    c->failed = c->failed || b->failed;
    buffer_clear(b);
}

void call_splitter_restart(struct call_splitter *c) {
    c->state = SPLIT_START;
    c->is_json = c->inside_string = c->escaped = c->has_name = false;
    c->depth = 0;
    c->matched = c->n_parameters = 0;
    c->parameters = NULL;
    clear(c, &c->held);
    clear(c, &c->name);
    clear(c, &c->arguments);
}

bool call_splitter_is_done(const struct call_splitter *c) {
    return c->state == SPLIT_DONE;
}

bool call_splitter_failed(const struct call_splitter *c) {
    return c->failed || c->held.failed || c->name.failed || c->arguments.failed;
}

const json_t *tool_parameters(const json_t *tools, struct str name) {
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        const char *other = json_string_value(json_object_get(function, "name"));
        if (other && str_is(name, other))
            return json_object_get(function, "parameters");
    }
    return NULL;
}

void call_write_value(struct str text, unsigned types, struct buffer *out) {
    static const struct {
        const char *python, *json;
        unsigned type;
    } words[] = {{"True", "true", VALUE_BOOLEAN},
                 {"False", "false", VALUE_BOOLEAN},
                 {"None", "null", VALUE_NULL}};
    for (size_t i = 0; !(types & VALUE_STRING) && i < sizeof words / sizeof words[0]; i++) {
        if (!(types & words[i].type) || !str_is(text, words[i].python))
            continue;
        buffer_puts(out, words[i].json);
        return;
    }
    if (value_type_of_text(text) & types)
        buffer_append_str(out, text);
    else
        json_write_string(text, out);
}

static bool is_blank(char ch) {
    return ch == ' ' || ch == '\n' || ch == '\t' || ch == '\r';
}

/* ---- JSON ------------------------------------------------------------------------------ */

/* Whether this character ends a string. */
static bool track_string(struct call_splitter *c, char ch) {
    if (!c->inside_string) {
        c->inside_string = ch == '"';
        return false;
    }
    if (c->escaped)
        c->escaped = false;
    else if (ch == '\\')
        c->escaped = true;
    else if (ch == '"')
        c->inside_string = false;
    return !c->inside_string;
}

/* held: {"name": "..." */
static void take_name(struct call_splitter *c) {
    json_t *head = NULL;
    buffer_putc(&c->held, '}');
    const enum quern_status status =
        c->held.failed ? c->held.failed
                       : json_parse(c->held.data, c->held.len, "call", &head, NULL);
    c->failed = c->failed || status == QUERN_ERR_NOMEM;
    if (!status) {
        const json_t *name = json_object_get(head, "name");
        c->has_name = json_is_string(name) && json_string_length(name) > 0;
        if (c->has_name)
            buffer_append(&c->name, json_string_value(name), json_string_length(name));
    }
    json_decref(head);
    clear(c, &c->held);
    c->state = c->has_name ? SPLIT_ARGUMENTS : SPLIT_DONE;
}

static void take_json(struct call_splitter *c, char ch) {
    const bool ended = track_string(c, ch);
    if (c->state == SPLIT_NAME) {
        buffer_putc(&c->held, ch);
        if (ended && ++c->depth == 2) { /* the second string is the name */
            c->depth = 0;
            take_name(c);
        }
    } else if (c->state == SPLIT_ARGUMENTS) {
        if (!c->inside_string && !ended && ch == '{')
            c->state = SPLIT_VALUE;
    }
    if (c->state != SPLIT_VALUE)
        return;
    buffer_putc(&c->arguments, ch);
    if (!c->inside_string && !ended)
        c->depth += (ch == '{' || ch == '[') - (ch == '}' || ch == ']');
    if (c->depth == 0)
        c->state = SPLIT_DONE;
}

/* ---- Qwen3-Coder's form -------------------------------------------------------------------- */

static struct str after(struct str tag, const char *prefix) {
    size_t n = strlen(prefix);
    if (!str_starts_with(tag, str_from(prefix)))
        return (struct str){NULL, 0};
    return (struct str){tag.ptr + n, tag.len - n};
}

static void begin_parameter(struct call_splitter *c, struct str key) {
    c->types = value_types_of_parameter(c->parameters, key);
    buffer_puts(&c->arguments, c->n_parameters++ ? ", " : "{");
    json_write_string(key, &c->arguments);
    buffer_puts(&c->arguments, ": ");
    if (c->types == VALUE_STRING)
        buffer_putc(&c->arguments, '"');
    c->state = SPLIT_PARAMETER;
    c->matched = 0;
}

/* A tag without its '>'. */
static void take_tag(struct call_splitter *c) {
    struct str tag = buffer_str(&c->held), name = after(tag, "<function="),
               key = after(tag, "<parameter=");
    if (name.len && !c->has_name) {
        buffer_append_str(&c->name, name);
        c->has_name = true;
        c->parameters = tool_parameters(c->tools, name);
    } else if (key.len && c->has_name) {
        begin_parameter(c, key);
    } else {
        if (c->has_name)
            buffer_puts(&c->arguments, c->n_parameters ? "}" : "{}");
        c->state = SPLIT_DONE;
    }
    clear(c, &c->held);
}

/* Text of a value that is surely no closing tag. */
static void take_value_text(struct call_splitter *c, struct str text) {
    if (c->types == VALUE_STRING)
        json_write_escaped(text, &c->arguments);
    else
        buffer_append_str(&c->held, text);
}

static void end_parameter(struct call_splitter *c) {
    if (c->types == VALUE_STRING)
        buffer_putc(&c->arguments, '"');
    else
        call_write_value(buffer_str(&c->held), c->types, &c->arguments);
    clear(c, &c->held);
    c->state = SPLIT_TAG;
}

static void take_value(struct call_splitter *c, char ch) {
    if (c->state == SPLIT_PARAMETER) { /* one line break belongs to the tag */
        c->state = SPLIT_TEXT;
        if (ch == '\n')
            return;
    }
    if (ch != CLOSING[c->matched]) {
        take_value_text(c, (struct str){CLOSING, c->matched});
        c->matched = ch == CLOSING[0];
        if (!c->matched)
            take_value_text(c, (struct str){&ch, 1});
    } else if (++c->matched == sizeof CLOSING - 1) {
        c->matched = 0;
        end_parameter(c);
    }
}

static void take_coder(struct call_splitter *c, char ch) {
    if (c->state == SPLIT_PARAMETER || c->state == SPLIT_TEXT)
        take_value(c, ch);
    else if (ch == '>')
        take_tag(c);
    else if (c->held.len || !is_blank(ch))
        buffer_putc(&c->held, ch);
}

/* ---- both -------------------------------------------------------------------------------------- */

void call_splitter_push(struct call_splitter *c, struct str text) {
    for (size_t i = 0; i < text.len; i++) {
        const char ch = text.ptr[i];
        if (c->state == SPLIT_START) {
            if (is_blank(ch))
                continue;
            c->is_json = ch == '{';
            c->state = c->is_json ? SPLIT_NAME : SPLIT_TAG;
        }
        if (c->is_json)
            take_json(c, ch); /* also when done: strings are followed to the end */
        else if (c->state != SPLIT_DONE)
            take_coder(c, ch);
    }
}
