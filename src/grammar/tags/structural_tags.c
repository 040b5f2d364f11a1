#include "grammar/tags/structural_tags.h"

#include <stdarg.h>
#include <stdio.h>

#include "grammar/ebnf/gbnf.h"
#include "grammar/ebnf/lark.h"
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "text/json.h"

enum { TAGS_MAX = 1024, DEPTH_MAX = 40, SCHEMA_BYTES_MAX = 1 << 20, CONSTANT_MAX = 1 << 16 };

struct tags {
    struct grammar_builder *b;
    const struct schema_options *schema;
    const struct tokenizer *tokenizer;
    struct buffer *report;
    int depth;
};

static symbol_id refuse(struct tags *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static symbol_id refuse(struct tags *t, const char *fmt, ...) {
    char message[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    grammar_builder_fail(t->b, QUERN_ERR_FORMAT, "structural tag: %s", message);
    return GRAMMAR_NONE;
}

static bool text_of(struct tags *t, const json_t *object, const char *key, struct str *out) {
    const json_t *x = json_object_get(object, key);
    if (!json_is_string(x) || json_string_length(x) > CONSTANT_MAX) {
        refuse(t, "\"%s\" is missing or no string of at most %d bytes", key, CONSTANT_MAX);
        return false;
    }
    *out = (struct str){json_string_value(x), json_string_length(x)};
    return true;
}

/* ---- constants and free text ------------------------------------------------------------ */

/* The added token whose spelling begins here; *len its length. */
static int32_t added_at(const struct tags *t, struct str text, size_t *len) {
    if (!t->tokenizer || text.len == 0 || (text.ptr[0] != '<' && text.ptr[0] != '['))
        return -1;
    for (size_t n = text.len < 64 ? text.len : 64; n > 1; n--) {
        const int32_t id = tokenizer_added_id(t->tokenizer, (struct str){text.ptr, n});
        if (id >= 0) {
            *len = n;
            return id;
        }
    }
    return -1;
}

/* The text, in which an added token may stand as itself or as its spelling. */
static symbol_id constant(struct tags *t, struct str text) {
    symbol_id out = grammar_empty(t->b);
    size_t start = 0;
    for (size_t i = 0; i <= text.len && !grammar_builder_failed(t->b);) {
        size_t len = 1;
        const struct str rest = {text.ptr + i, text.len - i};
        const int32_t token = added_at(t, rest, &len);
        if (token < 0 && i < text.len) {
            i++;
            continue;
        }
        const expr_id before = expr_literal(t->b, (struct str){text.ptr + start, i - start});
        if (i > start)
            out = grammar_sequence2(t->b, out, grammar_terminal(t->b, before, "the text of a tag"));
        if (token >= 0) {
            const symbol_id spelled = grammar_terminal(
                t->b, expr_literal(t->b, (struct str){rest.ptr, len}), "the text of a tag");
            out = grammar_sequence2(
                t->b, out,
                grammar_alternatives2(t->b, grammar_token(t->b, token, "a token"), spelled));
        }
        i += token >= 0 ? len : 1;
        start = i;
    }
    return out;
}

/* Text in which none of the strings of a list (a text, or NULL) occurs. */
static symbol_id free_text(struct tags *t, const json_t *list) {
    expr_id out = expr_chars_any(t->b);
    const size_t n = json_is_string(list) ? 1 : json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_string(list) ? list : json_array_get(list, i);
        if (!json_is_string(one) || json_string_length(one) == 0)
            return refuse(t, "expected texts that are not empty to keep out of free text");
        const struct str text = {json_string_value(one), json_string_length(one)};
        out = expr_and(t->b, out, expr_not(t->b, expr_contains(t->b, expr_literal(t->b, text))));
    }
    return grammar_terminal(t->b, out, "text");
}

/* ---- formats ----------------------------------------------------------------------------- */

static symbol_id format_of(struct tags *t, const json_t *format, const json_t *end);

static symbol_id schema_of(struct tags *t, const json_t *schema) {
    struct buffer text;
    symbol_id out = GRAMMAR_NONE;
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return refuse(t, "expected a JSON Schema");
    buffer_init(&text, SCHEMA_BYTES_MAX);
    if (json_write_python(schema, -1, &text) != QUERN_OK)
        grammar_builder_fail(t->b, QUERN_ERR_LIMIT, "structural tag: a schema is too large");
    else
        json_schema_build(t->b, buffer_str(&text), "structural tag", t->schema, &out, t->report,
                          NULL);
    buffer_release(&text);
    return out;
}

static symbol_id pattern_of(struct tags *t, struct str text) {
    expr_id x = GRAMMAR_NONE;
    struct quern_error why = {0};
    if (expr_regex(t->b, text, REGEX_ECMA, &x, &why) == QUERN_ERR_NOMEM)
        grammar_builder_fail(t->b, QUERN_ERR_NOMEM, "structural tag: out of memory");
    else if (x == GRAMMAR_NONE)
        return refuse(t, "%s", why.message);
    return grammar_terminal(t->b, x, "text of the pattern");
}

static symbol_id grammar_of(struct tags *t, struct str text) {
    symbol_id out = GRAMMAR_NONE;
    bool gbnf = false;
    for (size_t i = 0; i + 3 <= text.len; i++)
        gbnf = gbnf || memcmp(text.ptr + i, "::=", 3) == 0;
    if (gbnf)
        gbnf_build(t->b, text, "structural tag", &out, NULL);
    else
        lark_build(t->b, text, "structural tag", &out, NULL);
    return out;
}

/* Its end may be one of several texts. */
static symbol_id end_of(struct tags *t, const json_t *end) {
    if (json_is_string(end))
        return constant(t, (struct str){json_string_value(end), json_string_length(end)});
    const symbol_id any = grammar_rule(t->b, "the end of a tag");
    if (json_array_size(end) == 0)
        return refuse(t, "\"end\" is missing or no string");
    for (size_t i = 0; i < json_array_size(end); i++) {
        const json_t *one = json_array_get(end, i);
        if (!json_is_string(one))
            return refuse(t, "\"end\" holds something other than strings");
        grammar_produce1(
            t->b, any, constant(t, (struct str){json_string_value(one), json_string_length(one)}));
    }
    return any;
}

/* {begin, content, end}; in the older form {begin, schema, end}. */
static symbol_id tag_of(struct tags *t, const json_t *tag) {
    struct str begin;
    const json_t *end = json_object_get(tag, "end"), *content = json_object_get(tag, "content");
    if (!json_is_object(tag))
        return refuse(t, "a tag is no object");
    if (!text_of(t, tag, "begin", &begin))
        return GRAMMAR_NONE;
    const symbol_id first = constant(t, begin);
    const symbol_id inner =
        content ? format_of(t, content, end) : schema_of(t, json_object_get(tag, "schema"));
    return grammar_sequence3(t->b, first, inner, end_of(t, end));
}

/* A rule of the tags of a list, each of which begins with one of the triggers (NULL: any). */
static symbol_id tags_of(struct tags *t, const json_t *list, const json_t *triggers) {
    const size_t n = json_array_size(list);
    const symbol_id any = grammar_rule(t->b, "a tag");
    if (n == 0 || n > TAGS_MAX)
        return refuse(t, "expected 1 to %d tags", TAGS_MAX);
    for (size_t i = 0; i < n && !grammar_builder_failed(t->b); i++) {
        const json_t *tag = json_array_get(list, i);
        const char *begin = json_string_value(json_object_get(tag, "begin"));
        bool triggered = !triggers;
        for (size_t k = 0; begin && k < json_array_size(triggers); k++) {
            const char *trigger = json_string_value(json_array_get(triggers, k));
            triggered = triggered || (trigger && strncmp(begin, trigger, strlen(trigger)) == 0);
        }
        if (begin && !triggered)
            return refuse(t, "the tag \"%.80s\" begins with none of the triggers", begin);
        grammar_produce1(t->b, any, tag_of(t, tag));
    }
    return any;
}

/* text (tag text)* */
static symbol_id triggered(struct tags *t, const json_t *format, const char *tags_key,
                           const json_t *end) {
    struct grammar_builder *b = t->b;
    const json_t *triggers = json_object_get(format, "triggers");
    const bool first = json_is_true(json_object_get(format, "at_least_one"));
    const bool once = json_is_true(json_object_get(format, "stop_after_first"));
    if (json_array_size(triggers) == 0)
        return refuse(t, "\"triggers\" is missing or no array of strings");
    json_t *outside = json_copy((json_t *)(uintptr_t)triggers);
    const json_t *excludes = json_object_get(format, "excludes");
    bool ok = outside != NULL;
    for (size_t i = 0; i < json_array_size(excludes); i++)
        ok = ok && json_array_append(outside, json_array_get(excludes, i)) == 0;
    if (ok && json_is_string(end) && json_string_length(end))
        ok = json_array_append(outside, (json_t *)(uintptr_t)end) == 0;
    for (size_t i = 0; ok && json_is_array(end) && i < json_array_size(end); i++)
        ok = json_array_append(outside, json_array_get(end, i)) == 0;
    if (!ok) {
        json_decref(outside);
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
        return GRAMMAR_NONE;
    }
    const symbol_id text = free_text(t, outside);
    json_decref(outside);
    const symbol_id tag = tags_of(t, json_object_get(format, tags_key), triggers);
    if (once) {
        const symbol_id until = grammar_sequence2(b, text, tag);
        return first ? tag : grammar_alternatives2(b, text, until);
    }
    const symbol_id more = grammar_repeat(b, grammar_sequence2(b, tag, text), first, GRAMMAR_INF);
    return first ? more : grammar_sequence2(b, text, more);
}

static symbol_id separated(struct tags *t, const json_t *format) {
    struct str separator;
    if (!text_of(t, format, "separator", &separator))
        return GRAMMAR_NONE;
    const symbol_id tag = tags_of(t, json_object_get(format, "tags"), NULL);
    const bool once = json_is_true(json_object_get(format, "stop_after_first"));
    return grammar_separated(t->b, tag, constant(t, separator),
                             json_is_true(json_object_get(format, "at_least_one")),
                             once ? 1 : GRAMMAR_INF);
}

static symbol_id elements(struct tags *t, const json_t *format, bool sequence, const json_t *end) {
    const json_t *list = json_object_get(format, "elements");
    const size_t n = json_array_size(list);
    symbol_id out = sequence ? grammar_empty(t->b) : grammar_rule(t->b, "a choice");
    if (n == 0 || n > TAGS_MAX)
        return refuse(t, "expected 1 to %d elements", TAGS_MAX);
    for (size_t i = 0; i < n && !grammar_builder_failed(t->b); i++) {
        const symbol_id x =
            format_of(t, json_array_get(list, i), sequence && i + 1 < n ? NULL : end);
        if (sequence)
            out = grammar_sequence2(t->b, out, x);
        else
            grammar_produce1(t->b, out, x);
    }
    return out;
}

static symbol_id named_format(struct tags *t, const char *type, const json_t *format,
                              const json_t *end) {
    struct str text;
    if (strcmp(type, "json_schema") == 0)
        return schema_of(t, json_object_get(format, "json_schema"));
    if (strcmp(type, "sequence") == 0 || strcmp(type, "or") == 0)
        return elements(t, format, *type == 's', end);
    if (strcmp(type, "tag") == 0)
        return tag_of(t, format);
    if (strcmp(type, "triggered_tags") == 0)
        return triggered(t, format, "tags", end);
    if (strcmp(type, "tags_with_separator") == 0)
        return separated(t, format);
    if (strcmp(type, "any_text") == 0)
        return free_text(t, json_is_array(end) || (end && json_string_length(end)) ? end : NULL);
    if (strcmp(type, "const_string") == 0)
        return text_of(t, format, "value", &text) ? constant(t, text) : GRAMMAR_NONE;
    if (strcmp(type, "regex") == 0)
        return text_of(t, format, "pattern", &text) ? pattern_of(t, text) : GRAMMAR_NONE;
    if (strcmp(type, "grammar") == 0)
        return text_of(t, format, "grammar", &text) ? grammar_of(t, text) : GRAMMAR_NONE;
    return refuse(t,
                  "the format \"%.60s\" is not known; known are const_string, json_schema, regex, "
                  "grammar, any_text, sequence, or, tag, triggered_tags, tags_with_separator",
                  type);
}

/* `end`: what free text at its end must not hold. */
static symbol_id format_of(struct tags *t, const json_t *format, const json_t *end) {
    const char *type = json_string_value(json_object_get(format, "type"));
    if (grammar_builder_failed(t->b))
        return GRAMMAR_NONE;
    if (!type)
        return refuse(t, "a format has no \"type\"");
    if (++t->depth > DEPTH_MAX)
        return refuse(t, "formats are nested more than %d deep", DEPTH_MAX);
    const symbol_id out = named_format(t, type, format, end);
    t->depth--;
    return out;
}

enum quern_status structural_tags_build(struct grammar_builder *b, struct str text,
                                        const struct schema_options *schema,
                                        const struct tokenizer *tokenizer, symbol_id *out,
                                        struct buffer *report, struct quern_error *err) {
    struct tags t = {.b = b, .schema = schema, .tokenizer = tokenizer, .report = report};
    symbol_id symbol = GRAMMAR_NONE;
    struct quern_error why = {0};
    json_t *root = NULL;
    const enum quern_status st = json_parse(text.ptr, text.len, "structural tag", &root, &why);
    if (st != QUERN_OK) {
        grammar_builder_fail(b, st, "%s", why.message);
    } else {
        const json_t *format = json_object_get(root, "format");
        symbol = format ? format_of(&t, format, NULL) : triggered(&t, root, "structures", NULL);
    }
    json_decref(root);
    if (grammar_builder_failed(b))
        return grammar_builder_status(b, err);
    *out = symbol;
    return QUERN_OK;
}
