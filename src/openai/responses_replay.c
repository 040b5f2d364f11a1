#include "openai/responses_replay.h"

#include <inttypes.h>
#include <string.h>

struct replay {
    struct buffer *out;
    int64_t sequence_number, after;
    int output_index;
    const char *item_id;
};

/* Takes `members` over. */
static void emit(struct replay *r, const char *type, json_t *members) {
    const char *key;
    json_t *value;
    const int64_t n = r->sequence_number++;
    if (!members)
        r->out->failed = QUERN_ERR_NOMEM;
    if (members && n > r->after) {
        buffer_printf(r->out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRId64, type,
                      type, n);
        json_object_foreach(members, key, value) {
            buffer_printf(r->out, ",\"%s\":", key);
            json_write_python(value, -1, r->out);
        }
        buffer_puts(r->out, "}\n\n");
    }
    json_decref(members);
}

static json_t *get(const json_t *object, const char *key) {
    return json_object_get(object, key);
}

/* A copy that differs in some members; `changes` is taken over. */
static json_t *changed(const json_t *from, json_t *changes) {
    json_t *copy = json_copy((json_t *)(uintptr_t)from);
    if (!copy || !changes || json_object_update(copy, changes)) {
        json_decref(copy);
        copy = NULL;
    }
    json_decref(changes);
    return copy;
}

static void emit_part(struct replay *r, json_t *part) {
    const char *type = json_string_value(get(part, "type"));
    const bool output = type && strcmp(type, "output_text") == 0;
    json_t *text = get(part, "text"), *logprobs = output ? get(part, "logprobs") : NULL;
    json_t *empty = changed(part, output ? json_pack("{s:s, s:[]}", "text", "", "logprobs")
                                         : json_pack("{s:s}", "text", ""));
    emit(r, "response.content_part.added",
         json_pack("{s:s, s:i, s:i, s:o}", "item_id", r->item_id, "output_index", r->output_index,
                   "content_index", 0, "part", empty));
    if (json_string_length(text))
        emit(r, output ? "response.output_text.delta" : "response.reasoning_text.delta",
             json_pack("{s:s, s:i, s:i, s:O, s:O*}", "item_id", r->item_id, "output_index",
                       r->output_index, "content_index", 0, "delta", text, "logprobs", logprobs));
    emit(r, output ? "response.output_text.done" : "response.reasoning_text.done",
         json_pack("{s:s, s:i, s:i, s:O, s:O*}", "item_id", r->item_id, "output_index",
                   r->output_index, "content_index", 0, "text", text, "logprobs", logprobs));
    emit(r, "response.content_part.done",
         json_pack("{s:s, s:i, s:i, s:O}", "item_id", r->item_id, "output_index", r->output_index,
                   "content_index", 0, "part", part));
}

static void emit_arguments(struct replay *r, const json_t *item) {
    json_t *arguments = get(item, "arguments");
    if (json_string_length(arguments))
        emit(r, "response.function_call_arguments.delta",
             json_pack("{s:s, s:i, s:O}", "item_id", r->item_id, "output_index", r->output_index,
                       "delta", arguments));
    emit(r, "response.function_call_arguments.done",
         json_pack("{s:s, s:i, s:O, s:O}", "item_id", r->item_id, "output_index", r->output_index,
                   "arguments", arguments, "name", get(item, "name")));
}

static void emit_item(struct replay *r, json_t *item) {
    const bool is_call = get(item, "arguments") != NULL;
    r->item_id = json_string_value(get(item, "id"));
    json_t *empty = changed(
        item, is_call ? json_pack("{s:s, s:s}", "status", "in_progress", "arguments", "")
                      : json_pack("{s:s, s:[]}", "status", "in_progress", "content"));
    emit(r, "response.output_item.added",
         json_pack("{s:i, s:o}", "output_index", r->output_index, "item", empty));
    if (is_call)
        emit_arguments(r, item);
    else
        emit_part(r, json_array_get(get(item, "content"), 0));
    emit(r, "response.output_item.done",
         json_pack("{s:i, s:O}", "output_index", r->output_index, "item", item));
    r->output_index++;
}

void responses_write_replay(const json_t *answer, int64_t after, struct buffer *out) {
    struct replay r = {.out = out, .after = after};
    const json_t *output = get(answer, "output");
    const char *status = json_string_value(get(answer, "status"));
    const bool complete = status && strcmp(status, "completed") == 0;
    for (int i = 0; i < 2; i++) {
        json_t *begun = changed(answer, json_pack("{s:s, s:n, s:n, s:n, s:[]}", "status", "in_progress",
                                                  "completed_at", "incomplete_details", "usage",
                                                  "output"));
        emit(&r, i ? "response.in_progress" : "response.created",
             json_pack("{s:o}", "response", begun));
    }
    for (size_t i = 0; i < json_array_size(output); i++)
        emit_item(&r, json_array_get(output, i));
    emit(&r, complete ? "response.completed" : "response.incomplete",
         json_pack("{s:O}", "response", answer));
}
