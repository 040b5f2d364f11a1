#include "openai/responses_items.h"

#include <stdio.h>
#include <string.h>

/* How far the assistant's open message is. */
enum { STAGE_THOUGHTS, STAGE_TEXT, STAGE_CALLS };

struct where {
    char text[80];
};

/* One item on its way. */
struct reading {
    struct items_reader *r;
    const json_t *item;
    size_t index;
    bool keep;
    struct api_error *err;
};

static struct where at(const struct reading *x, const char *member) {
    struct where w;
    snprintf(w.text, sizeof w.text, "input[%zu]%s", x->index, member);
    return w;
}

static enum quern_status wrong(const struct reading *x, const char *member, const json_t *value,
                               const char *expected) {
    const struct where w = at(x, member);
    if (!value || json_is_null(value))
        return api_fail(x->err, API_MISSING, w.text, "Missing required parameter: '%s'.", w.text);
    return api_fail(x->err, API_TYPE, w.text, "Invalid type for '%s': expected %s, but got %s.",
                    w.text, expected, json_type_name(value));
}

enum quern_status items_reader_init(struct items_reader *r, struct response_store *store,
                                    const char *owner, const char *hex, struct api_error *err) {
    *r = (struct items_reader){.store = store, .owner = owner, .hex = hex};
    r->messages = json_array();
    r->kept = json_array();
    r->call_ids = json_object();
    return r->messages && r->kept && r->call_ids ? QUERN_OK : api_nomem(err);
}

void items_reader_release(struct items_reader *r) {
    json_decref(r->messages);
    json_decref(r->kept);
    json_decref(r->call_ids);
    *r = (struct items_reader){0};
}

/* ---- what is kept ------------------------------------------------------------------ */

/* The item's own id, or one that names it and its answer. */
static json_t *id_of(const struct reading *x, const char *prefix) {
    const json_t *id = json_object_get(x->item, "id");
    char made[64];
    if (json_is_string(id) && json_string_length(id))
        return json_incref((json_t *)(uintptr_t)id);
    snprintf(made, sizeof made, "%s_%s_in%zu", prefix, x->r->hex, json_array_size(x->r->kept));
    return json_string(made);
}

static enum quern_status keep(const struct reading *x, json_t *item) {
    return json_array_append_new(x->r->kept, item) ? api_nomem(x->err) : QUERN_OK;
}

/* ---- text ------------------------------------------------------------------------------ */

/* Appends a part's text, and the part to `parts` in the form of its side of the conversation. */
static enum quern_status take_part(const struct reading *x, const char *member, const json_t *part,
                                   bool output, struct buffer *text, json_t *parts) {
    static const char *const types[] = {"input_text", "output_text", "text", "refusal",
                                        "reasoning_text", "summary_text"};
    const char *type = json_string_value(json_object_get(part, "type"));
    bool known = false;
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        known = known || strcmp(type, types[i]) == 0;
    const struct where w = at(x, member);
    if (!known)
        return api_fail(x->err, API_UNSUPPORTED, w.text,
                        "Invalid value for '%s': this server takes content of type 'input_text' and "
                        "'output_text', not '%.60s'.",
                        w.text, type ? type : "(none)");
    json_t *value = json_object_get(part, strcmp(type, "refusal") == 0 ? "refusal" : "text");
    if (!json_is_string(value))
        return wrong(x, member, value, "parts with a text");
    buffer_append(text, json_string_value(value), json_string_length(value));
    json_t *kept = output ? json_pack("{s:s, s:[], s:O}", "type", "output_text", "annotations",
                                      "text", value)
                          : json_pack("{s:s, s:O}", "type", "input_text", "text", value);
    return json_array_append_new(parts, kept) ? api_nomem(x->err) : QUERN_OK;
}

/* A string or an array of parts: as one text, and as parts. */
static enum quern_status take_text(const struct reading *x, const char *member, const json_t *value,
                                   bool output, struct buffer *text, json_t *parts) {
    if (json_is_string(value)) {
        json_t *part = json_pack("{s:s, s:O}", "type", "text", "text", value);
        enum quern_status status =
            part ? take_part(x, member, part, output, text, parts) : api_nomem(x->err);
        json_decref(part);
        return status;
    }
    if (!json_is_array(value))
        return wrong(x, member, value, "a string or an array of parts");
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < json_array_size(value); i++)
        status = take_part(x, member, json_array_get(value, i), output, text, parts);
    return status;
}

static json_t *string_of(const struct buffer *text) {
    return text->failed ? NULL : json_stringn_nocheck(text->data ? text->data : "", text->len);
}

/* ---- messages ---------------------------------------------------------------------------- */

static enum quern_status add_message(const struct reading *x, const char *role, json_t *content) {
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", content);
    if (json_array_append_new(x->r->messages, message))
        return api_nomem(x->err);
    x->r->open = strcmp(role, "assistant") == 0 ? message : NULL;
    return QUERN_OK;
}

/* The assistant's message, one that is not yet beyond `stage`, gets a member. */
static enum quern_status add_to_open(const struct reading *x, int stage, const char *key,
                                     json_t *value) {
    struct items_reader *r = x->r;
    const bool later = r->open && (stage == STAGE_CALLS || r->open_stage < stage);
    enum quern_status status = later ? QUERN_OK : add_message(x, "assistant", json_string(""));
    if (status) {
        json_decref(value);
        return status;
    }
    r->open_stage = stage;
    return json_object_set_new(r->open, key, value) ? api_nomem(x->err) : QUERN_OK;
}

static enum quern_status check_role(const struct reading *x, const char **role) {
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    const json_t *value = json_object_get(x->item, "role");
    if (!json_is_string(value))
        return wrong(x, ".role", value, "a string");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(json_string_value(value), roles[i]) == 0) {
            *role = roles[i];
            return QUERN_OK;
        }
    const struct where w = at(x, ".role");
    return api_fail(x->err, API_VALUE, w.text,
                    "Invalid value for '%s': \"%.40s\" is not one of user, assistant, system, developer.",
                    w.text, json_string_value(value));
}

static enum quern_status finish_message(const struct reading *x, const char *role,
                                        const struct buffer *text, json_t *parts) {
    json_t *content = string_of(text);
    if (!content)
        return api_nomem(x->err);
    enum quern_status status = strcmp(role, "assistant") == 0
                                   ? add_to_open(x, STAGE_TEXT, "content", content)
                                   : add_message(x, role, content);
    if (status || !x->keep)
        return status;
    return keep(x, json_pack("{s:o, s:s, s:s, s:s, s:O}", "id", id_of(x, "msg"), "type", "message",
                             "status", "completed", "role", role, "content", parts));
}

static enum quern_status take_message(const struct reading *x) {
    const char *role = NULL;
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    json_t *parts = json_array();
    enum quern_status status = check_role(x, &role);
    if (!status)
        status = take_text(x, ".content", json_object_get(x->item, "content"),
                           strcmp(role, "assistant") == 0, &text, parts);
    if (!status)
        status = finish_message(x, role, &text, parts);
    json_decref(parts);
    buffer_release(&text);
    return status;
}

/* ---- thoughts, calls, results ---------------------------------------------------------------- */

static enum quern_status take_reasoning(const struct reading *x) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    json_t *parts = json_array();
    json_t *content = json_object_get(x->item, "content");
    json_t *summary = json_object_get(x->item, "summary");
    const bool has_content = json_array_size(content) > 0;
    enum quern_status status = QUERN_OK;
    if (has_content)
        status = take_text(x, ".content", content, false, &text, parts);
    else if (json_array_size(summary))
        status = take_text(x, ".summary", summary, false, &text, parts);
    json_t *thoughts = status ? NULL : string_of(&text);
    if (!status && !thoughts)
        status = api_nomem(x->err);
    if (!status)
        status = add_to_open(x, STAGE_THOUGHTS, "reasoning_content", thoughts);
    if (!status && x->keep) {
        json_t *kept = json_pack("{s:o, s:s, s:O*, s:O*}", "id", id_of(x, "rs"), "type", "reasoning",
                                 "summary", json_is_array(summary) ? summary : NULL, "content",
                                 has_content ? content : NULL);
        if (!json_is_array(summary) && json_object_set_new(kept, "summary", json_array()))
            status = api_nomem(x->err);
        status = keep(x, kept) ? QUERN_ERR_NOMEM : status;
    }
    json_decref(parts);
    buffer_release(&text);
    return status;
}

static enum quern_status add_call(const struct reading *x, json_t *id, json_t *name,
                                  json_t *arguments) {
    struct items_reader *r = x->r;
    json_t *call = json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function",
                             "name", name, "arguments", arguments);
    if (!call || json_object_set_new(r->call_ids, json_string_value(id), json_true())) {
        json_decref(call);
        return api_nomem(x->err);
    }
    json_t *calls = r->open ? json_object_get(r->open, "tool_calls") : NULL;
    if (calls)
        return json_array_append_new(calls, call) ? api_nomem(x->err) : QUERN_OK;
    calls = json_array();
    if (json_array_append_new(calls, call)) {
        json_decref(calls);
        return api_nomem(x->err);
    }
    return add_to_open(x, STAGE_CALLS, "tool_calls", calls);
}

static enum quern_status take_call(const struct reading *x) {
    static const char *const members[] = {"call_id", "name", "arguments"};
    json_t *values[3];
    for (size_t i = 0; i < 3; i++) {
        char path[24];
        values[i] = json_object_get(x->item, members[i]);
        snprintf(path, sizeof path, ".%s", members[i]);
        if (!json_is_string(values[i]) || (i < 2 && !json_string_length(values[i])))
            return wrong(x, path, values[i], "a string that is not empty");
    }
    enum quern_status status = add_call(x, values[0], values[1], values[2]);
    if (status || !x->keep)
        return status;
    return keep(x, json_pack("{s:o, s:s, s:s, s:O, s:O, s:O}", "id", id_of(x, "fc"), "type",
                             "function_call", "status", "completed", "call_id", values[0], "name",
                             values[1], "arguments", values[2]));
}

static enum quern_status finish_result(const struct reading *x, json_t *call_id, json_t *output,
                                       const struct buffer *text) {
    json_t *content = string_of(text);
    if (!content)
        return api_nomem(x->err);
    enum quern_status status = add_message(x, "tool", content);
    if (status)
        return status;
    json_t *message = json_array_get(x->r->messages, json_array_size(x->r->messages) - 1);
    if (json_object_set(message, "tool_call_id", call_id))
        return api_nomem(x->err);
    if (!x->keep)
        return QUERN_OK;
    return keep(x, json_pack("{s:o, s:s, s:s, s:O, s:O}", "id", id_of(x, "fco"), "type",
                             "function_call_output", "status", "completed", "call_id", call_id,
                             "output", output));
}

static enum quern_status take_result(const struct reading *x) {
    json_t *call_id = json_object_get(x->item, "call_id");
    json_t *output = json_object_get(x->item, "output");
    if (!json_is_string(call_id))
        return wrong(x, ".call_id", call_id, "a string");
    if (x->keep && !json_object_get(x->r->call_ids, json_string_value(call_id))) {
        const struct where w = at(x, ".call_id");
        return api_fail(x->err, API_VALUE, w.text,
                        "No tool call found for function call output with call_id %.64s.",
                        json_string_value(call_id));
    }
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    json_t *parts = json_array();
    enum quern_status status = take_text(x, ".output", output, false, &text, parts);
    if (!status)
        status = finish_result(x, call_id, json_is_array(output) ? parts : output, &text);
    json_decref(parts);
    buffer_release(&text);
    return status;
}

/* ---- items ----------------------------------------------------------------------------------- */

static enum quern_status take_item(const struct reading *x);

static enum quern_status take_reference(const struct reading *x) {
    const json_t *id = json_object_get(x->item, "id");
    const struct where w = at(x, ".id");
    json_t *item = NULL;
    if (!json_is_string(id))
        return wrong(x, ".id", id, "a string");
    if (!x->r->store)
        return api_fail(x->err, API_NOT_FOUND, w.text, "Item with id '%.64s' not found.",
                        json_string_value(id));
    enum quern_status status = response_store_item(x->r->store, json_string_value(id), x->r->owner,
                                                   w.text, &item, x->err);
    if (status)
        return status;
    struct reading found = *x;
    found.item = item;
    status = take_item(&found); /* once: what is kept refers to nothing */
    json_decref(item);
    return status;
}

static enum quern_status take_item(const struct reading *x) {
    static const struct {
        const char *type;
        enum quern_status (*take)(const struct reading *x);
    } kinds[] = {
        {"message", take_message},
        {"reasoning", take_reasoning},
        {"function_call", take_call},
        {"function_call_output", take_result},
        {"item_reference", take_reference},
    };
    const json_t *type = json_object_get(x->item, "type");
    if (!json_is_object(x->item))
        return wrong(x, "", x->item, "an object");
    if (!type || json_is_null(type)) /* a reference may leave it out too */
        return json_object_get(x->item, "role") ? take_message(x) : take_reference(x);
    if (!json_is_string(type))
        return wrong(x, ".type", type, "a string");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(json_string_value(type), kinds[i].type) == 0)
            return kinds[i].take(x);
    const struct where w = at(x, ".type");
    return api_fail(x->err, API_UNSUPPORTED, w.text,
                    "Invalid value for '%s': this server takes items of type 'message', 'reasoning', "
                    "'function_call', 'function_call_output' and 'item_reference', not '%.60s'.",
                    w.text, json_string_value(type));
}

enum quern_status items_read_kept(struct items_reader *r, const json_t *items,
                                  struct api_error *err) {
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < json_array_size(items); i++)
        status = take_item(&(struct reading){r, json_array_get(items, i), i, false, err});
    return status;
}

enum quern_status items_read_input(struct items_reader *r, const json_t *input,
                                   struct api_error *err) {
    enum quern_status status = QUERN_OK;
    if (json_is_string(input)) {
        json_t *item = json_pack("{s:s, s:O}", "role", "user", "content", input);
        status = item ? take_item(&(struct reading){r, item, 0, true, err}) : api_nomem(err);
        json_decref(item);
        return status;
    }
    if (!json_is_array(input))
        return api_fail(err, API_TYPE, "input",
                        "Invalid type for 'input': expected a string or an array of items, but got "
                        "%s.",
                        json_type_name(input));
    for (size_t i = 0; !status && i < json_array_size(input); i++)
        status = take_item(&(struct reading){r, json_array_get(input, i), i, true, err});
    return status;
}

enum quern_status items_add_instructions(struct items_reader *r, const char *text,
                                         struct api_error *err) {
    struct reading x = {.r = r, .err = err};
    json_t *content = json_string(text);
    return content ? add_message(&x, "system", content) : api_nomem(err);
}
