#include "openai/responses_writer.h"

#include <inttypes.h>
#include <time.h>

#include "openai/openai_writer.h"

/* ---- items ------------------------------------------------------------------------------ */

static const char *hex_of(const struct responses_request *r) {
    return r->id + strlen("resp_");
}

static void write_id(const struct responses_request *r, enum answer_part part, size_t item,
                     struct buffer *out) {
    const char *prefix = part == PART_REASONING ? "rs" : part == PART_CONTENT ? "msg" : "fc";
    buffer_printf(out, "\"%s_%s_%zu\"", prefix, hex_of(r), item);
}

static bool is_complete(const struct choice *c) {
    return c->ended && c->result.finish == QUERN_FINISH_STOP;
}

/* Only the last item can have been cut. */
static const char *status_of(const struct choice *c, size_t item) {
    const bool cut = item + 1 == c->n_segments && !is_complete(c) && !c->segments[item].whole;
    return cut ? "incomplete" : "completed";
}

static void write_logprobs(const struct choice *c, size_t from, size_t to, struct buffer *out) {
    buffer_puts(out, ",\"logprobs\":");
    logprobs_write_list(c, from, c->job->logprobs ? to : from, out);
}

static size_t logprobs_begin(const struct choice *c, size_t item) {
    for (size_t i = item; i > 0; i--)
        if (c->segments[i - 1].part == PART_CONTENT)
            return c->segments[i - 1].logprobs_end;
    return 0;
}

static size_t logprobs_end(const struct choice *c, size_t item) {
    return item + 1 < c->n_segments ? c->segments[item].logprobs_end : c->n_logprobs;
}

static void write_part(enum answer_part part, struct str text, struct buffer *out) {
    buffer_puts(out, part == PART_REASONING ? "{\"type\":\"reasoning_text\",\"text\":"
                                            : "{\"type\":\"output_text\",\"text\":");
    json_write_string(text, out);
    if (part == PART_CONTENT)
        buffer_puts(out, ",\"annotations\":[]");
}

static void write_whole_part(const struct choice *c, size_t item, struct buffer *out) {
    const enum answer_part part = c->segments[item].part;
    write_part(part, choice_segment_text(c, item), out);
    if (part == PART_CONTENT)
        write_logprobs(c, logprobs_begin(c, item), logprobs_end(c, item), out);
    buffer_putc(out, '}');
}

/* `whole` false: as it is announced, with nothing in it. */
static void write_item(const struct responses_request *r, const struct choice *c, size_t item,
                       bool whole, struct buffer *out) {
    const struct choice_segment *s = &c->segments[item];
    const char *status = whole ? status_of(c, item) : "in_progress";
    buffer_puts(out, "{\"id\":");
    write_id(r, s->part, item, out);
    if (s->part == PART_TOOL_CALL) {
        const struct job_tool_call *call = &c->calls[s->begin];
        buffer_printf(out, ",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":\"%s\",\"name\":",
                      status, call->id);
        json_write_string(str_from(call->name), out);
        buffer_puts(out, ",\"arguments\":");
        json_write_string(whole ? choice_segment_text(c, item) : STR_LIT(""), out);
    } else {
        buffer_printf(out, s->part == PART_REASONING
                               ? ",\"type\":\"reasoning\",\"status\":\"%s\",\"summary\":[],\"content\":["
                               : ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
                                 "\"content\":[",
                      status);
        if (whole)
            write_whole_part(c, item, out);
        buffer_putc(out, ']');
    }
    buffer_putc(out, '}');
}

/* An answer of nothing at all is an empty message. */
static void write_empty_message(const struct responses_request *r, const char *status, bool part,
                                struct buffer *out) {
    buffer_puts(out, "{\"id\":");
    write_id(r, PART_CONTENT, 0, out);
    buffer_printf(out, ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[",
                  status);
    if (part) {
        write_part(PART_CONTENT, STR_LIT(""), out);
        buffer_puts(out, ",\"logprobs\":[]}");
    }
    buffer_puts(out, "]}");
}

void responses_write_output(const struct responses_request *r, const struct text_job *job,
                            struct buffer *out) {
    const struct choice *c = &job->choices[0];
    if (!c->n_segments)
        write_empty_message(r, is_complete(c) ? "completed" : "incomplete", true, out);
    for (size_t i = 0; i < c->n_segments; i++) {
        if (i)
            buffer_putc(out, ',');
        write_item(r, c, i, true, out);
    }
}

/* ---- the answer --------------------------------------------------------------------------- */

static void write_usage(const struct text_job *job, struct buffer *out) {
    const struct quern_usage u = text_job_usage(job);
    buffer_printf(out,
                  ",\"usage\":{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":%zu,"
                  "\"cache_write_tokens\":0},\"output_tokens\":%zu,\"output_tokens_details\":"
                  "{\"reasoning_tokens\":%zu},\"total_tokens\":%zu},\"timings\":",
                  u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.thinking_tokens,
                  u.prompt_tokens + u.completion_tokens);
    openai_write_timings(&u, out);
}

static void write_head(const struct responses_request *r, const struct text_job *job,
                       const char *status, struct buffer *out) {
    buffer_printf(out, "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64
                       ",\"status\":\"%s\",\"model\":",
                  r->id, job ? job->created : (int64_t)time(NULL), status);
    json_write_string(str_from(job ? job->model->name : ""), out);
    if (strcmp(status, "completed") == 0)
        buffer_printf(out, ",\"completed_at\":%" PRId64, (int64_t)time(NULL));
    else
        buffer_puts(out, ",\"completed_at\":null");
}

/* The members of the request that are repeated. */
static void write_echo(const struct responses_request *r, struct buffer *out) {
    const char *key;
    json_t *value;
    json_object_foreach(r->echo, key, value) {
        buffer_putc(out, ',');
        json_write_string(str_from(key), out);
        buffer_putc(out, ':');
        json_write_python(value, -1, out);
    }
    buffer_putc(out, '}');
}

void responses_write_answer(const struct responses_request *r, const struct text_job *job,
                            struct buffer *out) {
    const bool complete = is_complete(&job->choices[0]);
    write_head(r, job, complete ? "completed" : "incomplete", out);
    buffer_puts(out, complete ? ",\"error\":null,\"incomplete_details\":null"
                              : ",\"error\":null,\"incomplete_details\":{\"reason\":"
                                "\"max_output_tokens\"}");
    buffer_puts(out, ",\"output\":[");
    responses_write_output(r, job, out);
    buffer_putc(out, ']');
    write_usage(job, out);
    write_echo(r, out);
}

/* An answer that has just begun, or has failed with `err`. */
static void write_unfinished(const struct responses_request *r, const struct text_job *job,
                             const struct api_error *err, struct buffer *out) {
    write_head(r, job, err ? "failed" : "in_progress", out);
    if (err) {
        const bool busy = api_error_http_status(err->kind) == 429;
        buffer_printf(out, ",\"error\":{\"code\":\"%s\",\"message\":",
                      busy ? "rate_limit_exceeded" : "server_error");
        json_write_string(str_from(err->message), out);
        buffer_putc(out, '}');
    } else {
        buffer_puts(out, ",\"error\":null");
    }
    buffer_puts(out, ",\"incomplete_details\":null,\"output\":[");
    const struct choice *c = err && job ? &job->choices[0] : NULL;
    for (size_t i = 0; c && i < c->n_segments; i++) {
        buffer_puts(out, i ? "," : "");
        write_item(r, c, i, true, out);
    }
    buffer_puts(out, "],\"usage\":null");
    write_echo(r, out);
}

/* ---- a stream ------------------------------------------------------------------------------- */

static void begin_event(struct responses_stream *st, const char *type, struct buffer *out) {
    buffer_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%zu", type, type,
                  st->sequence_number++);
}

static void end_event(struct buffer *out) {
    buffer_puts(out, "}\n\n");
}

/* An event about the item at `at`; `member` is "item" or "part", which the caller writes. */
static void begin_item_event(struct responses_stream *st, const char *type, const char *member,
                             struct buffer *out) {
    begin_event(st, type, out);
    buffer_printf(out, ",\"output_index\":%zu,\"%s\":", st->at, member);
}

static void begin_part_event(struct responses_stream *st, enum answer_part part, const char *type,
                             const char *member, struct buffer *out) {
    begin_event(st, type, out);
    buffer_puts(out, ",\"item_id\":");
    write_id(st->request, part, st->at, out);
    buffer_printf(out, ",\"output_index\":%zu", st->at);
    if (part != PART_TOOL_CALL)
        buffer_puts(out, ",\"content_index\":0");
    buffer_printf(out, ",\"%s\":", member);
}

static void open_item(struct responses_stream *st, const struct choice *c, struct buffer *out) {
    const enum answer_part part = c->segments[st->at].part;
    begin_item_event(st, "response.output_item.added", "item", out);
    write_item(st->request, c, st->at, false, out);
    end_event(out);
    if (part != PART_TOOL_CALL) {
        begin_part_event(st, part, "response.content_part.added", "part", out);
        write_part(part, STR_LIT(""), out);
        buffer_puts(out, part == PART_CONTENT ? ",\"logprobs\":[]}" : "}");
        end_event(out);
    }
    st->open = true;
    st->sent = 0;
    st->sent_logprobs = logprobs_begin(c, st->at);
}

static const char *event_type(enum answer_part part, bool done) {
    switch (part) {
    case PART_REASONING:
        return done ? "response.reasoning_text.done" : "response.reasoning_text.delta";
    case PART_CONTENT:
        return done ? "response.output_text.done" : "response.output_text.delta";
    default:
        return done ? "response.function_call_arguments.done"
                    : "response.function_call_arguments.delta";
    }
}

static void write_delta(struct responses_stream *st, const struct choice *c, struct buffer *out) {
    const enum answer_part part = c->segments[st->at].part;
    const struct str text = choice_segment_text(c, st->at);
    if (st->sent == text.len)
        return;
    begin_part_event(st, part, event_type(part, false), "delta", out);
    json_write_string((struct str){text.ptr + st->sent, text.len - st->sent}, out);
    if (part == PART_CONTENT) {
        const size_t end = logprobs_end(c, st->at);
        write_logprobs(c, st->sent_logprobs, end, out);
        st->sent_logprobs = end;
    }
    end_event(out);
    st->sent = text.len;
}

static void close_item(struct responses_stream *st, const struct choice *c, struct buffer *out) {
    const enum answer_part part = c->segments[st->at].part;
    begin_part_event(st, part, event_type(part, true), part == PART_TOOL_CALL ? "arguments" : "text",
                     out);
    json_write_string(choice_segment_text(c, st->at), out);
    if (part == PART_TOOL_CALL) {
        buffer_puts(out, ",\"name\":");
        json_write_string(str_from(c->calls[c->segments[st->at].begin].name), out);
    } else if (part == PART_CONTENT) {
        write_logprobs(c, logprobs_begin(c, st->at), logprobs_end(c, st->at), out);
    }
    end_event(out);
    if (part != PART_TOOL_CALL) {
        begin_part_event(st, part, "response.content_part.done", "part", out);
        write_whole_part(c, st->at, out);
        end_event(out);
    }
    begin_item_event(st, "response.output_item.done", "item", out);
    write_item(st->request, c, st->at, true, out);
    end_event(out);
    st->open = false;
    st->at++;
}

static void write_start(struct responses_stream *st, struct buffer *out) {
    static const char *const types[] = {"response.created", "response.in_progress"};
    for (size_t i = 0; !st->started && i < 2; i++) {
        begin_event(st, types[i], out);
        buffer_puts(out, ",\"response\":");
        write_unfinished(st->request, st->job, NULL, out);
        end_event(out);
    }
    st->started = true;
}

static void write_empty_item(struct responses_stream *st, const struct choice *c,
                             struct buffer *out) {
    const char *status = is_complete(c) ? "completed" : "incomplete";
    begin_item_event(st, "response.output_item.added", "item", out);
    write_empty_message(st->request, "in_progress", false, out);
    end_event(out);
    for (int i = 0; i < 3; i++) {
        static const char *const types[] = {"response.content_part.added", "response.output_text.done",
                                            "response.content_part.done"};
        begin_part_event(st, PART_CONTENT, types[i], i == 1 ? "text" : "part", out);
        if (i != 1)
            write_part(PART_CONTENT, STR_LIT(""), out);
        buffer_puts(out, i == 1 ? "\"\",\"logprobs\":[]" : ",\"logprobs\":[]}");
        end_event(out);
    }
    begin_item_event(st, "response.output_item.done", "item", out);
    write_empty_message(st->request, status, true, out);
    end_event(out);
    st->at++;
}

/* The last item is over when the answer is; a call, when it is whole. */
static bool is_over(const struct responses_stream *st, const struct choice *c) {
    return st->at + 1 < c->n_segments || c->ended || c->segments[st->at].whole;
}

void responses_write_events(struct responses_stream *st, struct text_job *job, struct buffer *out) {
    const struct choice *c = &job->choices[0];
    st->job = job;
    write_start(st, out);
    while (st->at < c->n_segments) {
        if (!st->open)
            open_item(st, c, out);
        write_delta(st, c, out);
        if (!is_over(st, c))
            return;
        close_item(st, c, out);
    }
}

void responses_write_stream_end(struct responses_stream *st, struct text_job *job,
                                struct str answer, struct buffer *out) {
    const struct choice *c = &job->choices[0];
    if (!c->n_segments)
        write_empty_item(st, c, out);
    begin_event(st, is_complete(c) ? "response.completed" : "response.incomplete", out);
    buffer_puts(out, ",\"response\":");
    buffer_append_str(out, answer);
    end_event(out);
}

void responses_write_stream_error(struct responses_stream *st, const struct api_error *err,
                                  struct buffer *out) {
    write_start(st, out);
    begin_event(st, "response.failed", out);
    buffer_puts(out, ",\"response\":");
    write_unfinished(st->request, st->job, err, out);
    end_event(out);
}
