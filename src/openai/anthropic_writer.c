#include "openai/anthropic_writer.h"

#include "text/json_reader.h"

/* ---- pieces -------------------------------------------------------------------------- */

static const char *stop_reason(const struct choice *c) {
    if (c->result.finish != QUERN_FINISH_STOP)
        return "max_tokens";
    if (c->n_calls)
        return "tool_use";
    return c->result.stop_string >= 0 ? "stop_sequence" : "end_turn";
}

static void write_stop(const struct choice *c, const json_t *stop_sequences, struct buffer *out) {
    const json_t *hit = c->result.finish == QUERN_FINISH_STOP && c->result.stop_string >= 0
                            ? json_array_get(stop_sequences, (size_t)c->result.stop_string)
                            : NULL;
    buffer_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(c));
    if (json_is_string(hit))
        json_write_string(str_from(json_string_value(hit)), out);
    else
        buffer_puts(out, "null");
}

/* Anthropic counts what came from the cache apart. */
static void write_usage(const struct quern_usage *u, struct buffer *out) {
    buffer_printf(out,
                  "\"usage\":{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,"
                  "\"cache_read_input_tokens\":%zu,\"output_tokens\":%zu,"
                  "\"output_tokens_details\":{\"thinking_tokens\":%zu}}",
                  u->prompt_tokens - u->cached_tokens, u->cached_tokens, u->completion_tokens,
                  u->thinking_tokens);
}

static void write_head(const struct text_job *job, struct buffer *out) {
    /* "chatcmpl-..." is the same number in another dialect. */
    buffer_printf(out, "\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
                  job->id + strlen("chatcmpl-"));
    json_write_string(str_from(job->model->name), out);
}

/* By its form alone: two members of one name, or half a surrogate pair, are the model's business. */
static bool is_object(struct str text) {
    struct json_reader r;
    json_reader_init(&r, text, NULL);
    return json_reader_next(&r) == JSON_TOKEN_OBJECT && json_reader_skip(&r, NULL) &&
           json_reader_next(&r) == JSON_TOKEN_END;
}

static void write_input(const struct job_tool_call *call, struct buffer *out) {
    const struct str arguments = {call->arguments, call->arguments_len};
    if (is_object(arguments)) {
        buffer_append_str(out, arguments);
    } else {
        buffer_puts(out, "{\"_raw\":");
        json_write_string(arguments, out);
        buffer_putc(out, '}');
    }
}

static void write_call_head(const struct job_tool_call *call, struct buffer *out) {
    buffer_printf(out, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", call->id);
    json_write_string(str_from(call->name), out);
    buffer_puts(out, ",\"input\":");
}

/* ---- the whole answer ------------------------------------------------------------------ */

/* What is neither thought nor said nor called is an empty text. */
static bool lacks_text(const struct choice *c) {
    return !c->content.len && !c->n_begun;
}

static void write_block(const struct choice *c, size_t i, struct buffer *out) {
    switch (c->segments[i].part) {
    case PART_REASONING:
        buffer_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        json_write_string(choice_segment_text(c, i), out);
        buffer_puts(out, ",\"signature\":\"\"}");
        break;
    case PART_CONTENT:
        buffer_puts(out, "{\"type\":\"text\",\"text\":");
        json_write_string(choice_segment_text(c, i), out);
        buffer_putc(out, '}');
        break;
    default:
        write_call_head(&c->calls[c->segments[i].begin], out);
        write_input(&c->calls[c->segments[i].begin], out);
        buffer_putc(out, '}');
    }
}

static void write_content(const struct choice *c, struct buffer *out) {
    buffer_puts(out, ",\"content\":[");
    for (size_t i = 0; i < c->n_segments; i++) {
        buffer_puts(out, i ? "," : "");
        write_block(c, i, out);
    }
    if (lacks_text(c)) {
        buffer_puts(out, c->n_segments ? "," : "");
        buffer_puts(out, "{\"type\":\"text\",\"text\":\"\"}");
    }
    buffer_putc(out, ']');
}

void anthropic_write_response(const struct text_job *job, const json_t *stop_sequences,
                              struct buffer *out) {
    const struct choice *c = &job->choices[0];
    struct quern_usage usage = text_job_usage(job);
    buffer_putc(out, '{');
    write_head(job, out);
    write_content(c, out);
    buffer_putc(out, ',');
    write_stop(c, stop_sequences, out);
    buffer_putc(out, ',');
    write_usage(&usage, out);
    buffer_putc(out, '}');
}

/* ---- a stream --------------------------------------------------------------------------- */

static void write_start(struct anthropic_stream *st, const struct text_job *job,
                        struct buffer *out) {
    /* What came from the cache is not known before the end; the last event corrects this one. */
    const struct quern_usage usage = {.prompt_tokens = job->prompts[0].n};
    buffer_puts(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{");
    write_head(job, out);
    buffer_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
    write_usage(&usage, out);
    buffer_puts(out, "}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n");
    st->started = true;
}

static void close_block(struct anthropic_stream *st, struct buffer *out) {
    buffer_printf(out,
                  "event: content_block_stop\ndata: {\"type\":\"content_block_stop\","
                  "\"index\":%zu}\n\n",
                  st->at++);
    st->open = false;
}

static void begin_block(struct anthropic_stream *st, struct buffer *out) {
    buffer_printf(out,
                  "event: content_block_start\ndata: {\"type\":\"content_block_start\","
                  "\"index\":%zu,\"content_block\":",
                  st->at);
    st->open = true;
    st->sent = 0;
}

static void begin_text(struct anthropic_stream *st, struct buffer *out) {
    begin_block(st, out);
    buffer_puts(out, "{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

static void write_delta(const struct anthropic_stream *st, enum answer_part part, struct str text,
                        struct buffer *out) {
    const char *type = part == PART_REASONING ? "thinking_delta"
                       : part == PART_CONTENT ? "text_delta"
                                              : "input_json_delta";
    const char *key = part == PART_REASONING ? "thinking"
                      : part == PART_CONTENT ? "text"
                                             : "partial_json";
    buffer_printf(out,
                  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                  "\"index\":%zu,\"delta\":{\"type\":\"%s\",\"%s\":",
                  st->at, type, key);
    json_write_string(text, out);
    buffer_puts(out, "}}\n\n");
}

/* A call that came whole may have arguments that are no object; one that is told of as it comes
 * has not. */
static void open_call(struct anthropic_stream *st, const struct choice *c, size_t index,
                      struct buffer *out) {
    const struct job_tool_call *call = &c->calls[index];
    begin_block(st, out);
    write_call_head(call, out);
    buffer_puts(out, "{}}}\n\n");
    if (index >= c->n_calls)
        return;
    struct buffer input;
    buffer_init(&input, SIZE_MAX / 4);
    write_input(call, &input);
    write_delta(st, PART_TOOL_CALL, buffer_str(&input), out);
    st->sent = call->arguments_len;
    if (input.failed)
        out->failed = input.failed;
    buffer_release(&input);
}

static void open_block(struct anthropic_stream *st, const struct choice *c, struct buffer *out) {
    const struct choice_segment *s = &c->segments[st->at];
    if (s->part == PART_TOOL_CALL) {
        open_call(st, c, s->begin, out);
    } else if (s->part == PART_CONTENT) {
        begin_text(st, out);
    } else {
        begin_block(st, out);
        buffer_puts(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n");
    }
}

void anthropic_write_events(struct anthropic_stream *st, struct text_job *job, struct buffer *out) {
    const struct choice *c = &job->choices[0];
    if (!st->started)
        write_start(st, job, out);
    while (st->at < c->n_segments) {
        const struct choice_segment *s = &c->segments[st->at];
        if (!st->open)
            open_block(st, c, out);
        const struct str text = choice_segment_text(c, st->at);
        if (st->sent < text.len)
            write_delta(st, s->part, (struct str){text.ptr + st->sent, text.len - st->sent}, out);
        st->sent = text.len;
        if (st->at + 1 == c->n_segments && !c->ended && !s->whole)
            return;
        close_block(st, out);
    }
}

void anthropic_write_stream_end(struct anthropic_stream *st, struct text_job *job,
                                struct buffer *out) {
    const struct choice *c = &job->choices[0];
    struct quern_usage usage = text_job_usage(job);
    if (lacks_text(c)) {
        begin_text(st, out);
        close_block(st, out);
    }
    buffer_puts(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    write_stop(c, st->stop_sequences, out);
    buffer_puts(out, "},");
    write_usage(&usage, out);
    buffer_puts(out, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- errors ------------------------------------------------------------------------------- */

static const char *error_type(const struct api_error *err) {
    switch (api_error_http_status(err->kind)) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
        return "overloaded_error";
    case 504:
        return "timeout_error";
    default:
        return api_error_http_status(err->kind) < 500 ? "invalid_request_error" : "api_error";
    }
}

void anthropic_write_error(const struct api_error *err, const char *request_id,
                           struct buffer *out) {
    buffer_printf(out,
                  "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"", error_type(err));
    /* There is no other place for the parameter's name. */
    if (err->param[0] && !strstr(err->message, err->param)) {
        json_write_escaped(str_from(err->param), out);
        buffer_puts(out, ": ");
    }
    json_write_escaped(str_from(err->message), out);
    buffer_putc(out, '"');
    buffer_puts(out, "},\"request_id\":");
    json_write_string(str_from(request_id), out);
    buffer_putc(out, '}');
}
