#include "chat/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "chat/jinja_interp.h"
#include "chat/jinja_parser.h"
#include "chat/jinja_string.h"
#include "chat/jinja_trace.h"
#include "text/unicode.h"

enum {
    TEMPLATE_BYTES_MAX = 1 << 20,
    TEMPLATE_MEMORY_MAX = 256 << 20, /* of the syntax trees */
    CONFIG_BYTES_MAX = 64 << 20,     /* tokenizer_config.json may list every added token */
    NAME_BYTES = 4200,               /* a path and a little more */
};

struct chat_template {
    struct arena arena;
    char name[NAME_BYTES];
    struct str source; /* of the default template */
    struct jtemplate normal, with_tools;
    bool has_normal, has_with_tools;
    bool mentions_tools, mentions_thinking, mentions_function_tags;
    json_t *special_tokens; /* object: bos_token, ... */
};

/* ---- making
 * ---------------------------------------------------------------------------------------- */

static enum quern_status create(const char *name, struct chat_template **out,
                                struct quern_error *err) {
    struct chat_template *t = calloc(1, sizeof *t);
    if (!t)
        return error_nomem(err);
    arena_init(&t->arena, TEMPLATE_MEMORY_MAX);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->special_tokens = json_object();
    if (!t->special_tokens) {
        chat_template_close(t);
        return error_nomem(err);
    }
    *out = t;
    return QUERN_OK;
}

void chat_template_close(struct chat_template *t) {
    if (!t)
        return;
    json_decref(t->special_tokens);
    arena_release(&t->arena);
    free(t);
}

static bool contains(struct str s, const char *what) {
    return jstring_find(s, str_from(what), 0) != JSTRING_NONE;
}

static enum quern_status add_source(struct chat_template *t, struct str source, bool with_tools,
                                    struct quern_error *err) {
    if (source.len > TEMPLATE_BYTES_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%s is longer than %d bytes", t->name,
                         TEMPLATE_BYTES_MAX);
    if (!utf8_valid(source))
        return error_set(err, QUERN_ERR_FORMAT, "%s is not valid UTF-8", t->name);
    struct quern_error local = {0};
    struct jtemplate *parsed = with_tools ? &t->with_tools : &t->normal;
    enum quern_status status = jinja_parse(&t->arena, source, parsed, &local);
    if (status)
        return error_set(err, status, "%s, %s", t->name, local.message);
    if (with_tools)
        t->has_with_tools = true;
    else
        t->has_normal = true;
    t->mentions_tools = t->mentions_tools || contains(source, "tools");
    t->mentions_function_tags = t->mentions_function_tags || contains(source, "<function=");
    t->mentions_thinking =
        t->mentions_thinking || contains(source, "enable_thinking") || contains(source, "<think>");
    if (with_tools)
        return QUERN_OK;
    char *copy = arena_strndup(&t->arena, source.ptr, source.len);
    t->source = (struct str){copy, source.len};
    return copy ? QUERN_OK : error_nomem(err);
}

static enum quern_status set_token(struct chat_template *t, const char *key, const char *value,
                                   struct quern_error *err) {
    if (!value)
        return QUERN_OK;
    return json_object_set_new(t->special_tokens, key, json_string(value)) == 0 ? QUERN_OK
                                                                                : error_nomem(err);
}

enum quern_status chat_template_parse(const char *source, size_t len, const char *name,
                                      const char *bos, const char *eos, struct chat_template **out,
                                      struct quern_error *err) {
    struct chat_template *t = NULL;
    enum quern_status status = create(name, &t, err);
    if (!status)
        status = set_token(t, "bos_token", bos, err);
    if (!status)
        status = set_token(t, "eos_token", eos, err);
    if (!status)
        status = add_source(t, (struct str){source, len}, false, err);
    if (status) {
        chat_template_close(t);
        return status;
    }
    *out = t;
    return QUERN_OK;
}

enum quern_status chat_template_parse_like(const struct chat_template *base, const char *source,
                                           size_t len, const char *name, struct chat_template **out,
                                           struct quern_error *err) {
    struct chat_template *t = NULL;
    enum quern_status status = chat_template_parse(source, len, name, NULL, NULL, &t, err);
    if (status)
        return status;
    if (base && json_object_update(t->special_tokens, base->special_tokens) != 0) {
        chat_template_close(t);
        return error_nomem(err);
    }
    *out = t;
    return QUERN_OK;
}

/* ---- a model directory
 * --------------------------------------------------------------------------- */

/* What transformers calls special_tokens_map. */
static enum quern_status read_special_tokens(struct chat_template *t, const json_t *config,
                                             const char *path, struct quern_error *err) {
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(config, keys[i]);
        const char *text = NULL;
        enum quern_status status = json_is_object(value)
                                       ? json_get_string(value, path, "content", NULL, &text, err)
                                       : json_get_string(config, path, keys[i], NULL, &text, err);
        if (!status)
            status = set_token(t, keys[i], text, err);
        if (status)
            return status;
    }
    json_t *more = json_object_get(config, "additional_special_tokens");
    if (json_array_size(more) &&
        json_object_set(t->special_tokens, "additional_special_tokens", more) != 0)
        return error_nomem(err);
    return QUERN_OK;
}

static enum quern_status add_named(struct chat_template *t, const json_t *list, const char *path,
                                   struct quern_error *err) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = NULL, *source = NULL;
        enum quern_status status = json_require(entry, path, "template", err);
        if (!status)
            status = json_get_string(entry, path, "name", "default", &name, err);
        if (!status)
            status = json_get_string(entry, path, "template", NULL, &source, err);
        bool with_tools = !status && strcmp(name, "tool_use") == 0;
        if (!status && (with_tools || strcmp(name, "default") == 0))
            status = add_source(t, str_from(source), with_tools, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

/* The value of a "chat_template" key. */
static enum quern_status add_value(struct chat_template *t, const json_t *value, const char *path,
                                   struct quern_error *err) {
    snprintf(t->name, sizeof t->name, "%s chat_template", path);
    if (json_is_string(value))
        return add_source(t, (struct str){json_string_value(value), json_string_length(value)},
                          false, err);
    if (json_is_array(value))
        return add_named(t, value, t->name, err);
    if (value && !json_is_null(value))
        return error_set(err, QUERN_ERR_FORMAT, "%s: found %s, expected a string or an array",
                         t->name, json_type_name(value));
    return QUERN_OK;
}

/* NULL in *out when the file does not exist. */
static enum quern_status load_json(const char *path, json_t **out, struct quern_error *err) {
    *out = NULL;
    if (!os_file_exists(path))
        return QUERN_OK;
    enum quern_status status = json_load_regular(path, CONFIG_BYTES_MAX, out, err);
    if (!status && !json_is_object(*out)) {
        error_set(err, QUERN_ERR_FORMAT, "%s: found %s, expected an object", path,
                  json_type_name(*out));
        json_decref(*out);
        *out = NULL;
        return QUERN_ERR_FORMAT;
    }
    return status;
}

static enum quern_status add_jinja_file(struct chat_template *t, const char *path,
                                        struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, TEMPLATE_BYTES_MAX);
    snprintf(t->name, sizeof t->name, "%s", path);
    enum quern_status status = os_read_regular(path, TEMPLATE_BYTES_MAX, &text, err);
    if (!status)
        status = add_source(t, (struct str){text.data ? text.data : "", text.len}, false, err);
    buffer_release(&text);
    return status;
}

static enum quern_status add_from_dir(struct chat_template *t, const char *dir,
                                      const json_t *config, const char *config_path,
                                      struct quern_error *err) {
    char path[4096];
    enum quern_status status = os_path_join(path, sizeof path, dir, "chat_template.jinja", err);
    if (status)
        return status;
    if (os_file_exists(path))
        return add_jinja_file(t, path, err);
    json_t *file = NULL;
    status = os_path_join(path, sizeof path, dir, "chat_template.json", err);
    if (!status)
        status = load_json(path, &file, err);
    if (!status && file)
        status = add_value(t, json_object_get(file, "chat_template"), path, err);
    json_decref(file);
    if (status || t->has_normal || t->has_with_tools)
        return status;
    return config ? add_value(t, json_object_get(config, "chat_template"), config_path, err)
                  : QUERN_OK;
}

enum quern_status chat_template_open(const char *dir, struct chat_template **out,
                                     struct quern_error *err) {
    struct chat_template *t = NULL;
    json_t *config = NULL;
    char path[4096];
    enum quern_status status = os_path_join(path, sizeof path, dir, "tokenizer_config.json", err);
    if (!status)
        status = load_json(path, &config, err);
    if (!status)
        status = create(path, &t, err);
    if (!status && config)
        status = read_special_tokens(t, config, path, err);
    if (!status)
        status = add_from_dir(t, dir, config, path, err);
    json_decref(config);
    bool any = !status && (t->has_normal || t->has_with_tools);
    if (!any) {
        chat_template_close(t);
        t = NULL;
    }
    if (!status)
        *out = t;
    return status;
}

bool chat_template_can_think(const struct chat_template *t) {
    return t->mentions_thinking;
}

bool chat_template_has_tools(const struct chat_template *t) {
    return t->mentions_tools;
}

bool chat_template_has_coder_calls(const struct chat_template *t) {
    return t->mentions_function_tags;
}

/* ---- messages
 * --------------------------------------------------------------------------------------- */

static const char CONTINUE_TAG[] = "CONTINUE_FINAL_MESSAGE_TAG ";

/* The content with the tag at its end; *before is the text without it. NULL on failure. */
static json_t *tagged_text(const json_t *text, struct str *before) {
    struct buffer tagged;
    *before = (struct str){json_string_value(text), json_string_length(text)};
    buffer_init(&tagged, SIZE_MAX / 4);
    buffer_append_str(&tagged, *before);
    buffer_puts(&tagged, CONTINUE_TAG);
    json_t *value = tagged.failed ? NULL : json_stringn(tagged.data, tagged.len);
    buffer_release(&tagged);
    return value;
}

/* The last block with a text, as transformers takes it; JSTRING_NONE when there is none. */
static size_t last_text_block(const json_t *blocks) {
    for (size_t i = json_array_size(blocks); i-- > 0;)
        if (json_is_string(json_object_get(json_array_get(blocks, i), "text")))
            return i;
    return JSTRING_NONE;
}

/* A copy of `object` with one member replaced by the new reference `value`, which it takes in
 * any case. Unlike json_copy, it does not lose members when memory runs out. */
static json_t *copy_with(json_t *object, const char *key, json_t *value) {
    json_t *copy = value ? json_object() : NULL;
    if (copy && json_object_update(copy, object) == 0 && json_object_set(copy, key, value) == 0) {
        json_decref(value);
        return copy;
    }
    json_decref(copy);
    json_decref(value);
    return NULL;
}

static json_t *tagged_blocks(const json_t *blocks, size_t which, struct str *before) {
    json_t *copies = json_array();
    for (size_t i = 0; copies && i < json_array_size(blocks); i++) {
        json_t *block = json_array_get(blocks, i);
        json_t *copy = i == which ? copy_with(block, "text",
                                              tagged_text(json_object_get(block, "text"), before))
                                  : json_incref(block);
        if (json_array_append_new(copies, copy) != 0) {
            json_decref(copies);
            copies = NULL;
        }
    }
    return copies;
}

/* transformers' _alias_reasoning_fields: whichever name the reasoning came under, the
 * template finds reasoning_content and thinking. A new reference. */
static json_t *alias_reasoning(json_t *message) {
    static const char *const fields[] = {"reasoning_content", "thinking", "reasoning"};
    json_t *reasoning = NULL;
    for (size_t i = 0; i < 3 && !reasoning; i++) {
        reasoning = json_object_get(message, fields[i]);
        if (json_is_null(reasoning))
            reasoning = NULL;
    }
    if (!reasoning)
        return json_incref(message);
    json_t *copy = json_object();
    if (copy && json_object_set(copy, "thinking", reasoning) == 0 &&
        json_object_update(copy, message) == 0 &&
        json_object_set(copy, "reasoning_content", reasoning) == 0)
        return copy;
    json_decref(copy);
    return NULL;
}

static enum quern_status alias_messages(const json_t *messages, json_t **out,
                                        struct quern_error *err) {
    if (!json_is_array(messages))
        return error_set(err, QUERN_ERR_ARG, "messages: found %s, expected an array",
                         json_type_name(messages));
    json_t *copies = json_array();
    for (size_t i = 0; copies && i < json_array_size(messages); i++) {
        json_t *message = json_array_get(messages, i);
        if (!json_is_object(message)) {
            json_decref(copies);
            return error_set(err, QUERN_ERR_ARG, "messages[%zu]: found %s, expected an object", i,
                             json_type_name(message));
        }
        if (json_array_append_new(copies, alias_reasoning(message)) != 0) {
            json_decref(copies);
            copies = NULL;
        }
    }
    *out = copies;
    return copies ? QUERN_OK : error_nomem(err);
}

/* Puts the tag behind the last message's content. *before stays owned by the caller's JSON. */
static enum quern_status tag_last_message(const struct chat_template *t, json_t *messages,
                                          struct str *before, struct quern_error *err) {
    size_t n = json_array_size(messages);
    if (n == 0)
        return error_set(err, QUERN_ERR_ARG, "continue_final_message: there are no messages");
    json_t *last = json_array_get(messages, n - 1);
    const json_t *content = json_object_get(last, "content");
    size_t block = json_is_array(content) ? last_text_block(content) : 0;
    if ((!json_is_string(content) && !json_is_array(content)) || block == JSTRING_NONE)
        return error_set(err, QUERN_ERR_ARG,
                         "continue_final_message: the last message has no text to continue");
    if (!contains(t->source, "content"))
        return error_set(err, QUERN_ERR_TEMPLATE, "%s does not use the messages' content", t->name);
    json_t *tagged = json_is_string(content) ? tagged_text(content, before)
                                             : tagged_blocks(content, block, before);
    json_t *copy = copy_with(last, "content", tagged);
    if (json_array_set_new(messages, n - 1, copy) != 0)
        return error_nomem(err);
    return QUERN_OK;
}

/* Cuts the text off where the tag appeared. */
static enum quern_status cut_at_tag(const struct chat_template *t, struct str *text,
                                    struct str before, struct quern_error *err) {
    struct str tag = str_from(CONTINUE_TAG);
    struct str bare = jstring_strip(tag, NULL, true, true);
    struct str wanted = jstring_strip(before, NULL, true, true);
    size_t at = jstring_rfind(*text, bare);
    if (at == JSTRING_NONE || jstring_find(*text, wanted, 0) == JSTRING_NONE)
        return error_set(err, QUERN_ERR_TEMPLATE,
                         "%s does not print the whole last message, so it cannot be continued",
                         t->name);
    bool exact = str_starts_with(jstring_slice(*text, at, text->len), tag);
    *text = jstring_slice(*text, 0, at);
    if (!exact) /* the template trimmed the content */
        *text = jstring_strip(*text, NULL, false, true);
    return QUERN_OK;
}

/* ---- rendering
 * --------------------------------------------------------------------------------------- */

static bool set_variable(struct jinja_run *run, const char *name, struct jvalue value) {
    return jdict_set(run, run->variables, jvalue_string(str_from(name)), value);
}

static bool set_object(struct jinja_run *run, const json_t *object) {
    struct jvalue values;
    if (!object)
        return true;
    if (!jvalue_from_json(run, object, 0, &values))
        return false;
    for (size_t i = 0; i < values.as.dict->n; i++)
        if (!jdict_set(run, run->variables, values.as.dict->entries[i].key,
                       values.as.dict->entries[i].value))
            return false;
    return true;
}

/* In the order in which later ones win. */
static bool set_variables(struct jinja_run *run, const struct chat_template *t,
                          const json_t *messages, const struct chat_render_options *options) {
    struct jvalue list, tools = jvalue_none();
    run->variables = jdict_create(run, 16);
    if (!run->variables || !set_object(run, t->special_tokens) ||
        !set_object(run, options->kwargs) || !jvalue_from_json(run, messages, 0, &list) ||
        (options->tools && !jvalue_from_json(run, options->tools, 0, &tools)))
        return false;
    if (options->enable_thinking >= 0 &&
        !set_variable(run, "enable_thinking", jvalue_bool(options->enable_thinking > 0)))
        return false;
    return set_variable(run, "messages", list) && set_variable(run, "tools", tools) &&
           set_variable(run, "documents",
                        jdict_find_text(run->variables, STR_LIT("documents"))
                            ? *jdict_find_text(run->variables, STR_LIT("documents"))
                            : jvalue_none()) &&
           set_variable(run, "add_generation_prompt", jvalue_bool(options->add_generation_prompt));
}

static enum quern_status run_template(const struct chat_template *t, const json_t *messages,
                                      const struct chat_render_options *options,
                                      struct chat_spans *spans, struct buffer *text,
                                      struct quern_error *err) {
    const struct jtemplate *parsed =
        t->has_with_tools && (options->tools || !t->has_normal) ? &t->with_tools : &t->normal;
    struct jinja_run run = {.out = text, .steps_left = JINJA_STEPS_MAX, .now = options->now};
    arena_init(&run.arena, JINJA_MEMORY_BYTES_MAX);
    bool ok = set_variables(&run, t, messages, options);
    struct jinja_trace trace = {NULL, text, spans};
    if (ok && spans) {
        trace.messages = jdict_find_text(run.variables, STR_LIT("messages"))->as.list;
        run.trace = &trace;
    }
    ok = ok && jinja_render(&run, parsed);
    arena_release(&run.arena);
    if (ok)
        return QUERN_OK;
    enum quern_status status = run.status ? run.status : QUERN_ERR_TEMPLATE;
    if (status == QUERN_ERR_NOMEM)
        return error_nomem(err);
    return error_set(err, status, "%s, line %d: %s", t->name, run.line, run.error.message);
}

static enum quern_status check_options(const struct chat_render_options *options,
                                       struct quern_error *err) {
    static const char *const taken[] = {"messages", "tools", "add_generation_prompt"};
    if (options->continue_final_message && options->add_generation_prompt)
        return error_set(err, QUERN_ERR_ARG,
                         "continue_final_message and add_generation_prompt exclude each other");
    if (options->tools && !json_is_array(options->tools))
        return error_set(err, QUERN_ERR_ARG, "tools: found %s, expected an array",
                         json_type_name(options->tools));
    if (options->kwargs && !json_is_object(options->kwargs))
        return error_set(err, QUERN_ERR_ARG, "kwargs: found %s, expected an object",
                         json_type_name(options->kwargs));
    for (size_t i = 0; options->kwargs && i < sizeof taken / sizeof *taken; i++)
        if (json_object_get(options->kwargs, taken[i]))
            return error_set(err, QUERN_ERR_ARG, "kwargs: '%s' cannot be given there", taken[i]);
    return QUERN_OK;
}

static enum quern_status render(const struct chat_template *t, const json_t *messages,
                                const struct chat_render_options *options,
                                struct chat_spans *spans, struct buffer *out,
                                struct quern_error *err) {
    json_t *copies = NULL;
    struct str before = {NULL, 0};
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    enum quern_status status = check_options(options, err);
    if (!status)
        status = alias_messages(messages, &copies, err);
    if (!status && options->continue_final_message)
        status = tag_last_message(t, copies, &before, err);
    if (!status)
        status = run_template(t, copies, options, spans, &text, err);
    struct str result = buffer_str(&text);
    if (!status && options->continue_final_message)
        status = cut_at_tag(t, &result, before, err);
    if (!status && buffer_append_str(out, result))
        status = buffer_status(out, "the rendered chat", err);
    buffer_release(&text);
    json_decref(copies);
    return status;
}

enum quern_status chat_template_render(const struct chat_template *t, const json_t *messages,
                                       const struct chat_render_options *options,
                                       struct buffer *out, struct quern_error *err) {
    return render(t, messages, options, NULL, out, err);
}

enum quern_status chat_template_render_spans(const struct chat_template *t, const json_t *messages,
                                             const struct chat_render_options *options,
                                             struct buffer *out, struct chat_spans *spans,
                                             struct quern_error *err) {
    *spans = (struct chat_spans){.n_messages = json_array_size(messages)};
    spans->messages = calloc(spans->n_messages + 1, sizeof *spans->messages);
    return spans->messages ? render(t, messages, options, spans, out, err) : error_nomem(err);
}
