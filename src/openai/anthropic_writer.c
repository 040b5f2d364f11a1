#include "openai/anthropic_writer.h"

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
                  "\"cache_read_input_tokens\":%zu,\"output_tokens\":%zu}",
                  u->prompt_tokens - u->cached_tokens, u->cached_tokens, u->completion_tokens);
}

static void write_head(const struct text_job *job, struct buffer *out) {
    /* "chatcmpl-..." is the same number in another dialect. */
    buffer_printf(out, "\"id\":\"msg_%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
                  job->id + strlen("chatcmpl-"));
    json_write_string(str_from(job->model->name), out);
}

static void write_input(const char *arguments, struct buffer *out) {
    json_t *value = NULL;
    bool is_object = json_parse(arguments, strlen(arguments), "arguments", &value, NULL) == 0 &&
                     json_is_object(value);
    if (is_object) {
        buffer_puts(out, arguments);
    } else {
        buffer_puts(out, "{\"_raw\":");
        json_write_string(str_from(arguments), out);
        buffer_putc(out, '}');
    }
    json_decref(value);
}

static void write_call_head(const struct job_tool_call *call, struct buffer *out) {
    buffer_printf(out, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", call->id);
    json_write_string(str_from(call->name), out);
    buffer_puts(out, ",\"input\":");
}

/* ---- the whole answer ------------------------------------------------------------------ */

static void write_content(const struct choice *c, struct buffer *out) {
    bool any = false;
    buffer_puts(out, ",\"content\":[");
    if (c->reasoning.len) {
        buffer_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        json_write_string(buffer_str(&c->reasoning), out);
        buffer_puts(out, ",\"signature\":\"\"}");
        any = true;
    }
    if (c->content.len || !c->n_calls) {
        buffer_puts(out, any ? ",{\"type\":\"text\",\"text\":" : "{\"type\":\"text\",\"text\":");
        json_write_string(buffer_str(&c->content), out);
        buffer_putc(out, '}');
        any = true;
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        buffer_puts(out, any || i ? "," : "");
        write_call_head(&c->calls[i], out);
        write_input(c->calls[i].arguments, out);
        buffer_putc(out, '}');
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
    if (st->open == BLOCK_NONE)
        return;
    buffer_printf(out,
                  "event: content_block_stop\ndata: {\"type\":\"content_block_stop\","
                  "\"index\":%zu}\n\n",
                  st->n_blocks - 1);
    st->open = BLOCK_NONE;
}

static void begin_block(struct anthropic_stream *st, struct buffer *out) {
    buffer_printf(out,
                  "event: content_block_start\ndata: {\"type\":\"content_block_start\","
                  "\"index\":%zu,\"content_block\":",
                  st->n_blocks++);
}

static void open_block(struct anthropic_stream *st, enum anthropic_block kind, struct buffer *out) {
    if (st->open == kind)
        return;
    close_block(st, out);
    begin_block(st, out);
    buffer_puts(out, kind == BLOCK_THINKING
                         ? "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"
                         : "{\"type\":\"text\",\"text\":\"\"}}\n\n");
    st->open = kind;
}

static void write_delta(const struct anthropic_stream *st, const char *type, const char *key,
                        struct str text, struct buffer *out) {
    buffer_printf(out,
                  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                  "\"index\":%zu,\"delta\":{\"type\":\"%s\",\"%s\":",
                  st->n_blocks - 1, type, key);
    json_write_string(text, out);
    buffer_puts(out, "}}\n\n");
}

static struct str rest_of(const struct buffer *b, size_t sent) {
    return (struct str){b->data ? b->data + sent : "", b->len - sent};
}

/* A call that came whole may have arguments that are no object; one that is told of as it comes
 * has not. */
static void open_call(struct anthropic_stream *st, const struct job_tool_call *call, bool whole,
                      struct buffer *out) {
    close_block(st, out);
    begin_block(st, out);
    write_call_head(call, out);
    buffer_puts(out, "{}}}\n\n");
    st->open = BLOCK_TOOL_USE;
    if (!whole)
        return;
    struct buffer input;
    buffer_init(&input, SIZE_MAX / 4);
    write_input(call->arguments, &input);
    write_delta(st, "input_json_delta", "partial_json", buffer_str(&input), out);
    if (input.failed)
        out->failed = input.failed;
    buffer_release(&input);
}

static void write_arguments(const struct anthropic_stream *st, struct choice *c,
                            struct buffer *out) {
    const struct job_tool_call *call = &c->calls[c->sent_calls - 1];
    if (c->sent_arguments == call->arguments_len)
        return;
    const struct str rest = {call->arguments + c->sent_arguments,
                             call->arguments_len - c->sent_arguments};
    write_delta(st, "input_json_delta", "partial_json", rest, out);
    c->sent_arguments = call->arguments_len;
}

static void write_calls(struct anthropic_stream *st, struct choice *c, struct buffer *out) {
    if (c->sent_calls)
        write_arguments(st, c, out);
    while (c->sent_calls < c->n_begun) {
        const struct job_tool_call *call = &c->calls[c->sent_calls];
        const bool whole = c->sent_calls < c->n_calls;
        open_call(st, call, whole, out);
        c->sent_calls++;
        c->sent_arguments = whole ? call->arguments_len : 0;
        write_arguments(st, c, out);
    }
}

void anthropic_write_events(struct anthropic_stream *st, struct text_job *job, struct buffer *out) {
    struct choice *c = &job->choices[0];
    if (!st->started)
        write_start(st, job, out);
    if (c->sent_reasoning < c->reasoning.len) {
        open_block(st, BLOCK_THINKING, out);
        write_delta(st, "thinking_delta", "thinking", rest_of(&c->reasoning, c->sent_reasoning),
                    out);
        c->sent_reasoning = c->reasoning.len;
    }
    if (c->sent_content < c->content.len) {
        open_block(st, BLOCK_TEXT, out);
        write_delta(st, "text_delta", "text", rest_of(&c->content, c->sent_content), out);
        c->sent_content = c->content.len;
    }
    write_calls(st, c, out);
}

void anthropic_write_stream_end(struct anthropic_stream *st, struct text_job *job,
                                struct buffer *out) {
    const struct choice *c = &job->choices[0];
    struct quern_usage usage = text_job_usage(job);
    if (!st->n_blocks)
        open_block(st, BLOCK_TEXT, out);
    close_block(st, out);
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
                  "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", error_type(err));
    json_write_string(str_from(err->message), out);
    buffer_puts(out, "},\"request_id\":");
    json_write_string(str_from(request_id), out);
    buffer_putc(out, '}');
}
