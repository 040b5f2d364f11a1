/* logprobs_writer.c - log-probabilities in OpenAI's two forms. */
#include <math.h>

#include "api/loaded_model.h"
#include "openai/openai_writer.h"
#include "text/unicode.h"

static struct str bytes_of(const struct choice *c, int32_t token) {
    return tokenizer_token_bytes(c->job->model->model->tokenizer, token);
}

/* Part of a character is no text: U+FFFD stands for it, and "bytes" tells what it was. */
static void write_piece(const struct choice *c, int32_t token, struct buffer *out) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    if (utf8_sanitize(bytes_of(c, token), &text))
        out->failed = QUERN_ERR_NOMEM;
    json_write_string(buffer_str(&text), out);
    buffer_release(&text);
}

/* OpenAI's own stand-in for a token outside the top: JSON has no infinity. */
static const double LOWEST = -9999;

static void write_number(float logprob, struct buffer *out) {
    char text[40];
    if (isnan(logprob)) {
        buffer_puts(out, "null");
        return;
    }
    json_format_float(isfinite(logprob) ? (double)logprob : LOWEST, text);
    buffer_puts(out, text);
}

static void write_bytes(struct str bytes, struct buffer *out) {
    buffer_putc(out, '[');
    for (size_t i = 0; i < bytes.len; i++)
        buffer_printf(out, "%s%u", i ? "," : "", (unsigned char)bytes.ptr[i]);
    buffer_putc(out, ']');
}

static void write_token(const struct choice *c, int32_t token, float logprob, struct buffer *out) {
    buffer_puts(out, "\"token\":");
    write_piece(c, token, out);
    buffer_puts(out, ",\"logprob\":");
    write_number(logprob, out);
    buffer_puts(out, ",\"bytes\":");
    write_bytes(bytes_of(c, token), out);
}

void logprobs_write_list(const struct choice *c, size_t from, size_t to, struct buffer *out) {
    const size_t n_top = (size_t)c->job->n_top;
    buffer_putc(out, '[');
    for (size_t i = from; i < to; i++) {
        buffer_puts(out, i > from ? ",{" : "{");
        write_token(c, c->logprobs[i].token, c->logprobs[i].logprob, out);
        buffer_puts(out, ",\"top_logprobs\":[");
        for (size_t k = 0; k < n_top; k++) {
            const struct quern_top_logprob *t = &c->tops[i * n_top + k];
            if (t->token < 0)
                break;
            buffer_puts(out, k ? ",{" : "{");
            write_token(c, t->token, t->logprob, out);
            buffer_putc(out, '}');
        }
        buffer_puts(out, "]}");
    }
    buffer_putc(out, ']');
}

void logprobs_write_chat(const struct choice *c, size_t from, size_t to, struct buffer *out) {
    buffer_puts(out, "{\"content\":");
    logprobs_write_list(c, from, to, out);
    buffer_puts(out, ",\"refusal\":null}");
}

static void write_top_object(const struct choice *c, size_t i, struct buffer *out) {
    const size_t n_top = (size_t)c->job->n_top;
    bool first = true;
    if (isnan(c->logprobs[i].logprob)) {
        buffer_puts(out, "null");
        return;
    }
    buffer_putc(out, '{');
    for (size_t k = 0; k < n_top && c->tops[i * n_top + k].token >= 0; k++) {
        buffer_puts(out, first ? "" : ",");
        first = false;
        write_piece(c, c->tops[i * n_top + k].token, out);
        buffer_putc(out, ':');
        write_number(c->tops[i * n_top + k].logprob, out);
    }
    buffer_putc(out, '}');
}

void logprobs_write_completion(const struct choice *c, size_t from, size_t to, struct buffer *out) {
    buffer_puts(out, "{\"tokens\":[");
    for (size_t i = from; i < to; i++) {
        buffer_puts(out, i > from ? "," : "");
        write_piece(c, c->logprobs[i].token, out);
    }
    buffer_puts(out, "],\"token_logprobs\":[");
    for (size_t i = from; i < to; i++) {
        buffer_puts(out, i > from ? "," : "");
        write_number(c->logprobs[i].logprob, out);
    }
    buffer_puts(out, "],\"top_logprobs\":[");
    for (size_t i = from; i < to; i++) {
        buffer_puts(out, i > from ? "," : "");
        write_top_object(c, i, out);
    }
    buffer_puts(out, "],\"text_offset\":[");
    for (size_t i = from; i < to; i++)
        buffer_printf(out, "%s%zu", i > from ? "," : "", c->logprobs[i].text_offset);
    buffer_puts(out, "]}");
}
