/* endpoints_text.c - /v1/embeddings, /v1/rerank, /tokenize and /detokenize. */
#include <stdlib.h>

#include "api/loaded_model.h"
#include "openai/value_job.h"
#include "server/server_core.h"
#include "text/unicode.h"

/* What a call holds while it is answered. */
struct text_call {
    json_t *root;
    struct model_entry *entry;
    struct value_job *job;
    struct buffer body;
};

static enum quern_status begin(struct server *s, struct http_call *call, struct text_call *t,
                               struct api_error *err) {
    *t = (struct text_call){0};
    buffer_init(&t->body, SIZE_MAX / 4);
    enum quern_status status = call_read_json(call, &t->root, err);
    return status ? status : call_model(s, call, t->root, &t->entry, err);
}

/* Sends the body, or the error; or nothing, when the client has gone. */
static void end(struct server *s, struct http_call *call, struct text_call *t,
                enum quern_status status, const struct api_error *err) {
    if (!call->client_left) {
        if (status)
            http_answer_error(call, err);
        else
            call_answer_json(call, &t->body);
    }
    value_job_destroy(t->job);
    model_registry_release(&s->models, t->entry);
    json_decref(t->root);
    buffer_release(&t->body);
}

static enum quern_status wait_for(struct server *s, struct http_call *call, struct text_call *t,
                                  struct api_error *err) {
    for (;;) {
        enum quern_status status = value_job_poll(t->job, err);
        if (status)
            return status;
        if (value_job_is_done(t->job)) {
            call->prompt_tokens = value_job_prompt_tokens(t->job);
            metrics_count_prompt(&s->metrics, &s->counted[t->entry - s->models.entries],
                                 call->prompt_tokens);
            return QUERN_OK;
        }
        if (waker_wait(call->waker, call->peer_fd, -1) == WAKER_PEER_GONE) {
            call->client_left = true;
            return QUERN_ERR_CANCELLED;
        }
    }
}

/* ---- numbers -------------------------------------------------------------------------- */

static enum quern_status embed(struct server *s, struct http_call *call, struct text_call *t,
                               struct api_error *err) {
    struct embedding_request r;
    const struct api_context context = call_context(s, t->entry);
    const struct job_options options = call_job_options(s, call);
    enum quern_status status = embedding_request_parse(t->root, &context, &r, err);
    if (status)
        return status;
    status = embedding_job_create(&t->entry->served, &r, &options, &t->job, err);
    if (!status)
        status = wait_for(s, call, t, err);
    if (!status)
        status = embedding_write_response(t->job, &r, &t->body, err);
    embedding_request_release(&r);
    return status;
}

void endpoint_embeddings(struct server *s, struct http_call *call) {
    struct text_call t;
    struct api_error err;
    enum quern_status status = begin(s, call, &t, &err);
    if (!status)
        status = embed(s, call, &t, &err);
    end(s, call, &t, status, &err);
}

static enum quern_status rerank(struct server *s, struct http_call *call, struct text_call *t,
                                struct api_error *err) {
    struct rerank_request r;
    const struct api_context context = call_context(s, t->entry);
    const struct job_options options = call_job_options(s, call);
    enum quern_status status = rerank_request_parse(t->root, &context, &r, err);
    if (status)
        return status;
    status = rerank_job_create(&t->entry->served, &r, &options, &t->job, err);
    if (!status)
        status = wait_for(s, call, t, err);
    if (!status)
        status = rerank_write_response(t->job, &r, &t->body, err);
    rerank_request_release(&r);
    return status;
}

void endpoint_rerank(struct server *s, struct http_call *call) {
    struct text_call t;
    struct api_error err;
    enum quern_status status = begin(s, call, &t, &err);
    if (!status)
        status = rerank(s, call, &t, &err);
    end(s, call, &t, status, &err);
}

/* ---- tokens ----------------------------------------------------------------------------- */

static void write_piece(const struct tokenizer *t, int32_t id, struct buffer *out) {
    struct str bytes = tokenizer_token_bytes(t, id);
    buffer_printf(out, "{\"id\":%d,\"piece\":", id);
    if (utf8_valid(bytes)) {
        json_write_string(bytes, out);
    } else {
        buffer_putc(out, '[');
        for (size_t i = 0; i < bytes.len; i++)
            buffer_printf(out, "%s%u", i ? "," : "", (unsigned char)bytes.ptr[i]);
        buffer_putc(out, ']');
    }
    buffer_putc(out, '}');
}

static enum quern_status tokenize(struct server *s, struct text_call *t, struct api_error *err) {
    struct tokenize_request r;
    const struct api_context context = call_context(s, t->entry);
    enum quern_status status = tokenize_request_parse(t->root, &context, &r, err);
    if (status)
        return status;
    const struct tokenizer *tokenizer = t->entry->served.model->tokenizer;
    const struct encode_options options = {r.parse_special, r.add_special};
    struct token_ids ids = {0};
    struct quern_error cause = {0};
    if (tokenizer_encode(tokenizer, r.text, options, &ids, &cause)) {
        token_ids_release(&ids);
        return api_fail_from(err, API_VALUE, "content", &cause);
    }
    buffer_printf(&t->body, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":[", ids.n,
                  t->entry->served.n_context);
    for (size_t i = 0; i < ids.n; i++) {
        buffer_puts(&t->body, i ? "," : "");
        if (r.with_pieces)
            write_piece(tokenizer, ids.ids[i], &t->body);
        else
            buffer_printf(&t->body, "%d", ids.ids[i]);
    }
    buffer_puts(&t->body, "]}");
    token_ids_release(&ids);
    return QUERN_OK;
}

void endpoint_tokenize(struct server *s, struct http_call *call) {
    struct text_call t;
    struct api_error err;
    enum quern_status status = begin(s, call, &t, &err);
    if (!status)
        status = tokenize(s, &t, &err);
    end(s, call, &t, status, &err);
}

static enum quern_status detokenize(struct server *s, struct text_call *t, struct api_error *err) {
    struct detokenize_request r;
    const struct api_context context = call_context(s, t->entry);
    enum quern_status status = detokenize_request_parse(t->root, &context, &r, err);
    if (status)
        return status;
    struct buffer text;
    struct quern_error cause = {0};
    buffer_init(&text, SIZE_MAX / 4);
    status = tokenizer_decode(t->entry->served.model->tokenizer, r.ids, r.n_ids, r.skip_special,
                              &text, &cause);
    if (status) {
        api_fail_from(err, API_VALUE, "tokens", &cause);
    } else {
        buffer_puts(&t->body, "{\"content\":");
        json_write_string(buffer_str(&text), &t->body);
        buffer_puts(&t->body, ",\"prompt\":");
        json_write_string(buffer_str(&text), &t->body);
        buffer_putc(&t->body, '}');
    }
    buffer_release(&text);
    free(r.ids);
    return status;
}

void endpoint_detokenize(struct server *s, struct http_call *call) {
    struct text_call t;
    struct api_error err;
    enum quern_status status = begin(s, call, &t, &err);
    if (!status)
        status = detokenize(s, &t, &err);
    end(s, call, &t, status, &err);
}
