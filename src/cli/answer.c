#include "cli/answer.h"

#include <stdlib.h>
#include <string.h>

#include "api/loaded_model.h"
#include "openai/answer_parts.h"

/* ---- markers ---------------------------------------------------------------------- */

static int32_t single_token(const quern_model *model, const char *spelling) {
    int32_t *ids = NULL, id = -1;
    size_t n = 0;
    if (quern_tokenize(model, spelling, strlen(spelling), false, true, &ids, &n, NULL))
        return -1;
    if (n == 1)
        id = ids[0];
    quern_free(ids);
    return id;
}

struct think_tokens think_tokens_find(const quern_model *model) {
    struct think_tokens think = {single_token(model, "<think>"), single_token(model, "</think>")};
    if (think.begin < 0 || think.end < 0)
        think = (struct think_tokens){-1, -1};
    return think;
}

bool think_tokens_left_open(struct think_tokens think, const int32_t *ids, size_t n_ids) {
    /* The opening is part of the generation prompt: the marker and perhaps a newline. A <think>
     * farther up is something a message talks about. */
    enum { TAIL = 3 };
    for (size_t i = n_ids; i > 0 && n_ids - i < TAIL; i--) {
        if (think.begin >= 0 && ids[i - 1] == think.begin)
            return true;
        if (ids[i - 1] == think.end)
            return false;
    }
    return false;
}

/* ---- the stream ----------------------------------------------------------------------- */

void answer_init(struct answer *a, const quern_model *model, struct think_tokens think, bool inside,
                 bool (*show)(void *user, bool thinking, const char *text, size_t len),
                 void *user) {
    *a = (struct answer){.model = model,
                         .think = think,
                         .show = show,
                         .user = user,
                         .thinking = inside,
                         .fresh = inside};
    buffer_init(&a->text, SIZE_MAX / 4);
    buffer_init(&a->reasoning, SIZE_MAX / 4);
    buffer_init(&a->content, SIZE_MAX / 4);
}

void answer_release(struct answer *a) {
    if (a->parts)
        answer_parts_release(a->parts);
    free(a->parts);
    free(a->ids);
    buffer_release(&a->text);
    buffer_release(&a->reasoning);
    buffer_release(&a->content);
    json_decref(a->calls);
    *a = (struct answer){0};
}

static bool keep_id(struct answer *a, int32_t id) {
    if (a->n_ids == a->capacity) {
        size_t capacity = a->capacity ? 2 * a->capacity : 256;
        int32_t *ids = realloc(a->ids, capacity * sizeof *ids);
        if (!ids)
            return false;
        a->ids = ids;
        a->capacity = capacity;
    }
    a->ids[a->n_ids++] = id;
    return true;
}

/* Length of the text of the first n tokens. The text at hand may lag behind: bytes of an
 * unfinished character or a possible stop string are held back. */
static bool text_length(struct answer *a, size_t n, size_t *len) {
    char *text = NULL;
    if (quern_detokenize(a->model, a->ids, n, true, &text, len, NULL))
        return false;
    quern_free(text);
    return true;
}

static bool take_marker(struct answer *a, int32_t id) {
    bool opens = id == a->think.begin && a->n_ids == 1 && !a->thinking;
    bool closes = id == a->think.end;
    if (!opens && !closes)
        return true;
    size_t before, after;
    if (!text_length(a, a->n_ids - 1, &before) || !text_length(a, a->n_ids, &after))
        return false;
    if (opens) {
        a->thinking = true;
        a->begin = a->shown = after;
        a->fresh = true;
    } else {
        a->end = before;
        a->resume = after;
        a->ended = true;
    }
    return true;
}

static size_t skip_newlines(const struct answer *a, size_t from, size_t to) {
    while (from < to && a->text.data[from] == '\n')
        from++;
    return from;
}

static size_t drop_newlines(const struct answer *a, size_t from, size_t to) {
    while (to > from && a->text.data[to - 1] == '\n')
        to--;
    return to;
}

static bool show_range(struct answer *a, size_t to) {
    if (a->fresh)
        a->shown = skip_newlines(a, a->shown, to);
    /* The newlines before </think> belong to the marker: shown only once more follows. */
    size_t stop = a->thinking ? drop_newlines(a, a->shown, to) : to;
    if (stop <= a->shown)
        return true;
    size_t from = a->shown;
    a->shown = stop;
    a->fresh = false;
    return a->show(a->user, a->thinking, a->text.data + from, stop - from);
}

static bool show_new_text(struct answer *a) {
    size_t len = a->text.len;
    if (a->thinking && a->ended) {
        if (!show_range(a, len < a->end ? len : a->end))
            return false;
        if (len < a->resume)
            return true;
        a->thinking = false;
        a->shown = a->resume;
        a->fresh = true;
    }
    /* A think marker whose text is still held back lies beyond len. */
    return len <= a->shown || show_range(a, len);
}

/* ---- with tools ------------------------------------------------------------------------- */

static json_t *last_function(const struct answer *a) {
    json_t *call = json_array_get(a->calls, json_array_size(a->calls) - 1);
    return json_object_get(call, "function");
}

static bool add_call(struct answer *a, const struct tool_call *call) {
    json_t *entry = json_pack("{s:s, s:s, s:{s:s%, s:s}}", "id", call->id, "type", "function",
                              "function", "name", call->name.ptr, call->name.len, "arguments", "");
    if (!a->calls)
        a->calls = json_array();
    return json_array_append_new(a->calls, entry) == 0;
}

/* The pieces wait in a->text, which has no other use here. Objects, since some templates look inside. */
static bool end_call(struct answer *a) {
    json_t *arguments = NULL;
    if (json_parse(a->text.data, a->text.len, "arguments", &arguments, NULL))
        arguments = json_stringn(a->text.data ? a->text.data : "", a->text.len);
    buffer_clear(&a->text);
    return json_object_set_new(last_function(a), "arguments", arguments) == 0;
}

static void on_delta(void *user, const struct answer_delta *delta) {
    struct answer *a = user;
    bool ok = true;
    switch (delta->part) {
    case PART_CONTENT:
    case PART_REASONING: {
        const bool thinking = delta->part == PART_REASONING;
        ok = buffer_append_str(thinking ? &a->reasoning : &a->content, delta->text) == QUERN_OK;
        if (ok && !a->stopped)
            a->stopped = !a->show(a->user, thinking, delta->text.ptr, delta->text.len);
        break;
    }
    case PART_TOOL_CALL:
        ok = add_call(a, delta->call);
        break;
    case PART_ARGUMENTS:
        ok = buffer_append_str(&a->text, delta->text) == QUERN_OK;
        break;
    case PART_CALL_END:
        ok = end_call(a);
        break;
    }
    if (!ok)
        a->failed = QUERN_ERR_NOMEM;
}

bool answer_use_tools(struct answer *a, const json_t *tools) {
    const struct tokenizer *t = a->model->tokenizer;
    const struct answer_parts_setup setup = {
        .tokenizer = t,
        .markers = {a->think.begin, a->think.end, tokenizer_added_id(t, STR_LIT("<tool_call>")),
                    tokenizer_added_id(t, STR_LIT("</tool_call>")), -1, -1, -1},
        .thinking = a->thinking,
        .tools = true,
        .tool_list = tools,
        .calls_keep_form = true,
        .max_calls = SIZE_MAX,
        .on_delta = on_delta,
        .user = a,
    };
    a->parts = calloc(1, sizeof *a->parts);
    if (a->parts)
        answer_parts_init(a->parts, &setup);
    return a->parts != NULL;
}

void answer_finish(struct answer *a) {
    if (a->parts && answer_parts_finish(a->parts))
        a->failed = QUERN_ERR_NOMEM;
}

bool answer_push(struct answer *a, const struct quern_event *event) {
    if (a->parts) {
        if (answer_parts_push(a->parts, event))
            a->failed = QUERN_ERR_NOMEM;
        return !a->failed && !a->stopped;
    }
    bool kept = event->token < 0 || (keep_id(a, event->token) && take_marker(a, event->token));
    if (!kept || buffer_append(&a->text, event->text, event->text_len)) {
        a->failed = QUERN_ERR_NOMEM;
        return false;
    }
    return show_new_text(a);
}

/* ---- the parts -------------------------------------------------------------------------- */

static struct str range(const struct answer *a, size_t from, size_t to) {
    return from < to ? (struct str){a->text.data + from, to - from} : STR_LIT("");
}

struct str answer_thinking(const struct answer *a) {
    if (a->parts)
        return buffer_str(&a->reasoning);
    size_t len = a->text.len, end = len;
    if (a->ended)
        end = a->end < len ? a->end : len;
    else if (!a->thinking)
        return STR_LIT("");
    size_t begin = skip_newlines(a, a->begin < end ? a->begin : end, end);
    return range(a, begin, drop_newlines(a, begin, end));
}

struct str answer_content(const struct answer *a) {
    if (a->parts)
        return buffer_str(&a->content);
    size_t len = a->text.len;
    if (!a->ended)
        return a->thinking ? STR_LIT("") : range(a, 0, len);
    size_t begin = skip_newlines(a, a->resume < len ? a->resume : len, len);
    return range(a, begin, len);
}
