#include "openai/openai_writer.h"

#include <inttypes.h>

#include "base/number.h"

/* ---- pieces ----------------------------------------------------------------------- */

static void write_head(const struct text_job *job, bool chunk, struct buffer *out) {
    const char *object = job->kind == JOB_COMPLETION ? "text_completion"
                         : chunk                     ? "chat.completion.chunk"
                                                     : "chat.completion";
    buffer_printf(out,
                  "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", job->id,
                  object, job->created);
    json_write_string(str_from(job->model->name), out);
    buffer_printf(out, ",\"system_fingerprint\":\"quern-%s\"", quern_version());
}

void openai_write_usage(const struct quern_usage *u, struct buffer *out) {
    buffer_printf(out,
                  "{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":%zu},"
                  "\"completion_tokens_details\":{\"reasoning_tokens\":%zu,"
                  "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
                  u->prompt_tokens, u->completion_tokens, u->prompt_tokens + u->completion_tokens,
                  u->cached_tokens, u->thinking_tokens);
}

static void write_ms(const char *name, double ms, struct buffer *out) {
    char text[40];
    number_print(text, sizeof text, "%.3f", ms);
    buffer_printf(out, "\"%s\":%s,", name, text);
}

void openai_write_timings(const struct quern_usage *u, struct buffer *out) {
    size_t computed = u->prompt_tokens - u->cached_tokens;
    buffer_putc(out, '{');
    write_ms("queue_ms", u->queue_ms, out);
    write_ms("prompt_ms", u->prefill_ms, out);
    write_ms("predicted_ms", u->decode_ms, out);
    write_ms("total_ms", u->total_ms, out);
    write_ms("prompt_per_second", u->prefill_ms > 0 ? 1000.0 * (double)computed / u->prefill_ms : 0,
             out);
    write_ms("predicted_per_second",
             u->decode_ms > 0 ? 1000.0 * (double)u->completion_tokens / u->decode_ms : 0, out);
    buffer_printf(out,
                  "\"prompt_n\":%zu,\"cache_n\":%zu,\"predicted_n\":%zu,\"draft_n\":%zu,"
                  "\"draft_n_accepted\":%zu}",
                  computed, u->cached_tokens, u->completion_tokens, u->drafted_tokens,
                  u->accepted_tokens);
}

static void write_usage_and_timings(const struct text_job *job, struct buffer *out) {
    struct quern_usage usage = text_job_usage(job);
    buffer_puts(out, ",\"usage\":");
    openai_write_usage(&usage, out);
    buffer_puts(out, ",\"timings\":");
    openai_write_timings(&usage, out);
}

static void write_call(const struct job_tool_call *call, struct buffer *out) {
    buffer_printf(out, "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", call->id);
    json_write_string(str_from(call->name), out);
    buffer_puts(out, ",\"arguments\":");
    json_write_string((struct str){call->arguments, call->arguments_len}, out);
    buffer_putc(out, '}');
}

static void write_logprobs(const struct choice *c, size_t from, size_t to, struct buffer *out) {
    buffer_puts(out, ",\"logprobs\":");
    if (!c->job->logprobs || (from == to && from > 0))
        buffer_puts(out, "null");
    else if (c->job->kind == JOB_CHAT)
        logprobs_write_chat(c, from, to, out);
    else
        logprobs_write_completion(c, from, to, out);
}

static void write_finish(const struct choice *c, struct buffer *out) {
    buffer_printf(out, ",\"finish_reason\":\"%s\"", choice_finish_reason(c));
}

/* ---- the whole answer -------------------------------------------------------------- */

static void write_message(const struct choice *c, struct buffer *out) {
    buffer_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (c->n_calls && !c->content.len)
        buffer_puts(out, "null");
    else
        json_write_string(buffer_str(&c->content), out);
    buffer_puts(out, ",\"refusal\":null");
    if (c->reasoning.len) {
        buffer_puts(out, ",\"reasoning_content\":");
        json_write_string(buffer_str(&c->reasoning), out);
    }
    for (size_t i = 0; i < c->n_calls; i++) {
        buffer_puts(out, i ? ",{" : ",\"tool_calls\":[{");
        write_call(&c->calls[i], out);
        buffer_putc(out, '}');
    }
    buffer_puts(out, c->n_calls ? "]}" : "}");
}

void openai_write_response(const struct text_job *job, struct buffer *out) {
    write_head(job, false, out);
    buffer_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < job->n_choices; i++) {
        const struct choice *c = &job->choices[i];
        buffer_printf(out, "%s{\"index\":%zu,", i ? "," : "", c->index);
        if (job->kind == JOB_CHAT) {
            write_message(c, out);
        } else {
            buffer_puts(out, "\"text\":");
            json_write_string(buffer_str(&c->content), out);
        }
        write_logprobs(c, 0, c->n_logprobs, out);
        write_finish(c, out);
        buffer_putc(out, '}');
    }
    buffer_putc(out, ']');
    write_usage_and_timings(job, out);
    buffer_putc(out, '}');
}

/* ---- chunks --------------------------------------------------------------------------- */

/* Arguments of the last call a chunk spoke of that none has brought yet. */
static struct str open_arguments(const struct choice *c) {
    if (!c->sent_calls)
        return (struct str){"", 0};
    const struct job_tool_call *call = &c->calls[c->sent_calls - 1];
    return (struct str){call->arguments + c->sent_arguments,
                        call->arguments_len - c->sent_arguments};
}

static bool has_news(const struct choice *c) {
    return !c->sent_first || c->sent_content < c->content.len ||
           c->sent_reasoning < c->reasoning.len || c->sent_calls < c->n_begun ||
           open_arguments(c).len || c->sent_logprobs < c->n_logprobs || (c->ended && !c->sent_last);
}

/* A call's first delta has its id, its name and what is there of the arguments, the others further
 * pieces. An index appears once a chunk: clients add them up entry by entry. */
static void write_calls(const struct choice *c, struct buffer *out) {
    const struct str rest = open_arguments(c);
    const char *before = ",\"tool_calls\":[";
    if (rest.len) {
        buffer_printf(out, "%s{\"index\":%zu,\"function\":{\"arguments\":", before,
                      c->sent_calls - 1);
        json_write_string(rest, out);
        buffer_puts(out, "}}");
        before = ",";
    }
    for (size_t i = c->sent_calls; i < c->n_begun; i++, before = ",") {
        buffer_printf(out, "%s{\"index\":%zu,", before, i);
        write_call(&c->calls[i], out);
        buffer_putc(out, '}');
    }
    if (rest.len || c->sent_calls < c->n_begun)
        buffer_putc(out, ']');
}

static void write_rest(const char *key, const struct buffer *text, size_t sent,
                       struct buffer *out) {
    buffer_printf(out, ",\"%s\":", key);
    json_write_string((struct str){text->data ? text->data + sent : "", text->len - sent}, out);
}

static void write_delta(const struct choice *c, struct buffer *out) {
    struct buffer members;
    buffer_init(&members, SIZE_MAX / 4);
    if (!c->sent_first)
        buffer_puts(&members, ",\"role\":\"assistant\"");
    if (c->sent_reasoning < c->reasoning.len)
        write_rest("reasoning_content", &c->reasoning, c->sent_reasoning, &members);
    if (c->sent_content < c->content.len || !c->sent_first)
        write_rest("content", &c->content, c->sent_content, &members);
    write_calls(c, &members);
    buffer_puts(out, "\"delta\":{");
    if (members.len)
        buffer_append(out, members.data + 1, members.len - 1);
    buffer_putc(out, '}');
    if (members.failed)
        out->failed = members.failed;
    buffer_release(&members);
}

static void write_chunk(struct choice *c, const struct openai_stream *stream, struct buffer *out) {
    buffer_puts(out, "data: ");
    write_head(c->job, true, out);
    buffer_printf(out, ",\"choices\":[{\"index\":%zu,", c->index);
    if (c->job->kind == JOB_CHAT) {
        write_delta(c, out);
    } else {
        buffer_puts(out, "\"text\":");
        json_write_string((struct str){c->content.data ? c->content.data + c->sent_content : "",
                                       c->content.len - c->sent_content},
                          out);
    }
    if (c->job->logprobs && c->sent_logprobs < c->n_logprobs)
        write_logprobs(c, c->sent_logprobs, c->n_logprobs, out);
    else
        buffer_puts(out, ",\"logprobs\":null");
    c->sent_first = true;
    c->sent_content = c->content.len;
    c->sent_reasoning = c->reasoning.len;
    c->sent_calls = c->n_begun;
    c->sent_arguments = c->n_begun ? c->calls[c->n_begun - 1].arguments_len : 0;
    c->sent_logprobs = c->n_logprobs;
    if (c->ended) {
        write_finish(c, out);
        c->sent_last = true;
    } else {
        buffer_puts(out, ",\"finish_reason\":null");
    }
    buffer_puts(out, stream->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

void openai_write_chunks(struct text_job *job, const struct openai_stream *stream,
                         struct buffer *out) {
    for (size_t i = 0; i < job->n_choices; i++)
        if (has_news(&job->choices[i]))
            write_chunk(&job->choices[i], stream, out);
}

void openai_write_stream_end(const struct text_job *job, const struct openai_stream *stream,
                             struct buffer *out) {
    if (stream->include_usage) {
        buffer_puts(out, "data: ");
        write_head(job, true, out);
        buffer_puts(out, ",\"choices\":[]");
        write_usage_and_timings(job, out);
        buffer_puts(out, "}\n\n");
    }
    buffer_puts(out, "data: [DONE]\n\n");
}
