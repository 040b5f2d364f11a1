#include "openai/answer_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"

void answer_parts_init(struct answer_parts *a, const struct answer_parts_setup *setup) {
    *a = (struct answer_parts){.setup = *setup};
    token_stream_init(&a->stream, setup->tokenizer, true);
    buffer_init(&a->scratch, SIZE_MAX / 4);
    buffer_init(&a->call, SIZE_MAX / 4);
    call_splitter_init(&a->splitter, setup->tool_list);
    a->now = setup->thinking ? PART_REASONING : PART_CONTENT;
    a->fresh = setup->thinking;
}

void answer_parts_release(struct answer_parts *a) {
    buffer_release(&a->scratch);
    buffer_release(&a->call);
    call_splitter_release(&a->splitter);
    free(a->marks);
    a->marks = NULL;
}

bool answer_parts_token_is_content(const struct answer_parts *a) {
    return a->now == PART_CONTENT && !a->marker && !(a->fresh && a->only_newlines);
}

/* ---- tokens ------------------------------------------------------------------- */

static bool add_mark(struct answer_parts *a, size_t begin, size_t end, int32_t token) {
    if (a->n_marks == a->marks_capacity) {
        size_t capacity = a->marks_capacity ? 2 * a->marks_capacity : 8;
        struct answer_mark *marks = realloc(a->marks, capacity * sizeof *marks);
        if (!marks)
            return false;
        a->marks = marks;
        a->marks_capacity = capacity;
    }
    a->marks[a->n_marks++] = (struct answer_mark){begin, end, token};
    return true;
}

/* Counts the text that `token` will give, and marks it when it may be a marker. */
static void take_token(struct answer_parts *a, int32_t token) {
    const struct marker_tokens *k = &a->setup.markers;
    buffer_clear(&a->scratch);
    if (token_stream_push(&a->stream, token, &a->scratch))
        a->no_memory = true;
    a->n_stream += a->scratch.len;
    struct str bytes = tokenizer_token_bytes(a->setup.tokenizer, token);
    a->only_newlines = true;
    for (size_t i = 0; i < bytes.len; i++)
        a->only_newlines = a->only_newlines && bytes.ptr[i] == '\n';
    a->marker = token == k->think_begin || token == k->think_end ||
                (a->setup.tools && (token == k->tool_begin || token == k->tool_end));
    if (!a->marker)
        return;
    size_t begin = a->n_stream > bytes.len ? a->n_stream - bytes.len : 0;
    if (!add_mark(a, begin, a->n_stream, token))
        a->no_memory = true;
}

/* ---- text --------------------------------------------------------------------- */

static void emit(struct answer_parts *a, struct str text) {
    if (!text.len)
        return;
    struct answer_delta delta = {.part = a->now, .text = text};
    a->setup.on_delta(a->setup.user, &delta);
}

static void emit_held(struct answer_parts *a) {
    static const char newlines[] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
    while (a->held_newlines) {
        size_t n = a->held_newlines < sizeof newlines - 1 ? a->held_newlines : sizeof newlines - 1;
        emit(a, (struct str){newlines, n});
        a->held_newlines -= n;
    }
}

/* ---- calls ------------------------------------------------------------------------ */

static void new_call_id(char id[40]) {
    snprintf(id, 40, "call_%016" PRIx64 "%08" PRIx32, os_random(), (uint32_t)os_random());
}

/* False: there are enough of them. */
static bool tell_call(struct answer_parts *a, struct str name) {
    struct tool_call call = {.name = name};
    if (a->n_calls >= a->setup.max_calls)
        return false;
    new_call_id(call.id);
    struct answer_delta delta = {.part = PART_TOOL_CALL, .call = &call, .call_index = a->n_calls++};
    a->setup.on_delta(a->setup.user, &delta);
    return true;
}

static void tell_arguments(struct answer_parts *a, struct str text) {
    struct answer_delta delta = {
        .part = PART_ARGUMENTS, .text = text, .call_index = a->n_calls - 1};
    if (text.len)
        a->setup.on_delta(a->setup.user, &delta);
}

static void tell_call_end(struct answer_parts *a) {
    struct answer_delta delta = {.part = PART_CALL_END, .call_index = a->n_calls - 1};
    a->setup.on_delta(a->setup.user, &delta);
}

/* Once its name is known, a call that keeps its form is told of as it comes; until then, and when
 * nobody sees to the form, its text is kept: it may turn out to be no call. */
static void take_call_text(struct answer_parts *a, struct str text) {
    struct call_splitter *c = &a->splitter;
    call_splitter_push(c, text);
    if (a->setup.calls_keep_form && c->has_name && !a->call_began &&
        tell_call(a, buffer_str(&c->name))) {
        a->call_began = true;
        buffer_clear(&a->call);
    }
    if (a->call_began)
        tell_arguments(a, buffer_str(&c->arguments));
    else
        buffer_append_str(&a->call, text);
    a->no_memory = a->no_memory || call_splitter_failed(c);
    buffer_clear(&c->arguments);
}

/* ---- the text around them ----------------------------------------------------------- */

/* Newlines next to markers belong to the markers: those after one are dropped, those that may stand
 * before one wait. */
static void take_plain(struct answer_parts *a, struct str text) {
    if (a->now == PART_TOOL_CALL) {
        take_call_text(a, text);
        return;
    }
    while (a->fresh && text.len && *text.ptr == '\n')
        text.ptr++, text.len--;
    if (!text.len)
        return;
    a->fresh = false;
    a->began = true;
    size_t len = text.len;
    if (a->now == PART_REASONING || a->setup.tools)
        while (len && text.ptr[len - 1] == '\n')
            len--;
    if (len) {
        emit_held(a);
        emit(a, (struct str){text.ptr, len});
    }
    a->held_newlines += text.len - len;
}

/* The block was no call after all: nothing of what the model said is lost. */
static void emit_raw_block(struct answer_parts *a, bool closed) {
    enum answer_part now = a->now;
    a->now = PART_CONTENT;
    emit(a, STR_LIT("<tool_call>"));
    emit(a, buffer_str(&a->call));
    if (closed)
        emit(a, STR_LIT("</tool_call>"));
    a->now = now;
}

static void end_call(struct answer_parts *a, bool closed) {
    struct tool_call call = {0};
    struct buffer storage;
    buffer_init(&storage, SIZE_MAX / 4);
    if (a->call_began)
        tell_call_end(a);
    else if (!tool_call_parse(buffer_str(&a->call), a->setup.tool_list, &storage, &call))
        emit_raw_block(a, closed);
    else if (tell_call(a, call.name)) {
        tell_arguments(a, call.arguments);
        tell_call_end(a);
    }
    a->no_memory = a->no_memory || storage.failed || a->call.failed ||
                   call_splitter_failed(&a->splitter);
    a->call_began = false;
    buffer_release(&storage);
    buffer_clear(&a->call);
    call_splitter_restart(&a->splitter);
}

static void enter(struct answer_parts *a, enum answer_part part) {
    a->held_newlines = 0;
    a->now = part;
    a->fresh = true;
}

/* What a marker means depends on where it stands: inside a string of a call's arguments, or in the
 * thinking, it is text like any other. */
static void reach_mark(struct answer_parts *a, int32_t token) {
    const struct marker_tokens *k = &a->setup.markers;
    if (a->now == PART_TOOL_CALL && token == k->tool_end &&
        !a->splitter.inside_string) {
        end_call(a, true);
        enter(a, PART_CONTENT);
    } else if (a->now != PART_TOOL_CALL && token == k->think_end) {
        enter(a, PART_CONTENT);
    } else if (a->now == PART_CONTENT && token == k->think_begin && !a->began) {
        enter(a, PART_REASONING);
    } else if (a->now == PART_CONTENT && token == k->tool_begin) {
        enter(a, PART_TOOL_CALL);
    } else {
        take_plain(a, tokenizer_token_bytes(a->setup.tokenizer, token));
    }
}

static void take_text(struct answer_parts *a, struct str text) {
    size_t done = 0; /* marks */
    while (text.len) {
        size_t n = text.len;
        bool skip = false;
        if (done < a->n_marks) {
            struct answer_mark *m = &a->marks[done];
            skip = a->at >= m->begin;
            size_t border = skip ? m->end : m->begin;
            if (border - a->at < n)
                n = border - a->at;
        }
        if (!skip)
            take_plain(a, (struct str){text.ptr, n});
        a->at += n;
        text.ptr += n;
        text.len -= n;
        if (skip && a->at >= a->marks[done].end)
            reach_mark(a, a->marks[done++].token);
    }
    for (size_t i = done; i < a->n_marks; i++)
        a->marks[i - done] = a->marks[i];
    a->n_marks -= done;
}

enum quern_status answer_parts_push(struct answer_parts *a, const struct quern_event *event) {
    if (event->token >= 0)
        take_token(a, event->token);
    take_text(a, (struct str){event->text, event->text_len});
    return a->no_memory ? QUERN_ERR_NOMEM : QUERN_OK;
}

enum quern_status answer_parts_finish(struct answer_parts *a) {
    if (a->now == PART_TOOL_CALL && (a->call.len || a->call_began))
        end_call(a, false);
    else if (a->now == PART_CONTENT)
        emit_held(a);
    a->held_newlines = 0;
    return a->no_memory ? QUERN_ERR_NOMEM : QUERN_OK;
}
