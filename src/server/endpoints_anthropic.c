/* endpoints_anthropic.c - Anthropic's /v1/messages and /v1/messages/count_tokens. */
#include <stdlib.h>

#include "openai/anthropic_request.h"
#include "openai/anthropic_writer.h"
#include "openai/prompt_build.h"
#include "server/server_core.h"

/* ---- streams ------------------------------------------------------------------------- */

struct messages_stream {
    struct anthropic_stream stream;
    json_t *root; /* own: the stop sequences are read from it */
};

static void write_news(void *state, struct text_job *job, struct buffer *out) {
    struct messages_stream *m = state;
    anthropic_write_events(&m->stream, job, out);
}

static void write_end(void *state, struct text_job *job, struct buffer *out) {
    struct messages_stream *m = state;
    anthropic_write_stream_end(&m->stream, job, out);
}

static void write_error(void *state, const struct api_error *err, struct buffer *out) {
    (void)state;
    buffer_puts(out, "event: error\ndata: ");
    anthropic_write_error(err, "", out);
    buffer_puts(out, "\n\n");
}

static void destroy(void *state) {
    struct messages_stream *m = state;
    json_decref(m->root);
    free(m);
}

static const struct stream_dialect dialect = {write_news, write_end, write_error, destroy};

/* ---- requests --------------------------------------------------------------------------- */

/* A request on its way. */
struct messages_call {
    json_t *root, *converted;
    struct model_entry *entry;
    struct chat_request request;
    bool has_request;
};

static enum quern_status begin(struct server *s, struct http_call *call, bool counting,
                               struct messages_call *m, struct api_error *err) {
    *m = (struct messages_call){0};
    enum quern_status status = call_read_json(call, &m->root, err);
    if (!status)
        status = call_model(s, call, m->root, &m->entry, err);
    if (!status)
        status = anthropic_to_openai(m->root, counting, &s->config->limits, &m->converted, err);
    if (status)
        return status;
    const struct api_context context = call_context(s, m->entry);
    status = chat_request_parse(m->converted, &context, &m->request, err);
    m->has_request = status == QUERN_OK;
    return status;
}

/* What went wrong after the conversion is told in the words of a chat. */
static void answer_error(struct http_call *call, const struct messages_call *m,
                         struct api_error *err) {
    if (m->converted) {
        api_error_rename(err, "response_format.json_schema", "output_config.format");
        api_error_rename(err, "response_format", "output_config.format");
        api_error_rename(err, "reasoning_effort", "output_config.effort");
    }
    http_answer_error(call, err);
}

static void release(struct server *s, struct messages_call *m) {
    if (m->has_request)
        chat_request_release(&m->request);
    model_registry_release(&s->models, m->entry);
    json_decref(m->root);
    json_decref(m->converted);
}

static void write_whole(void *state, struct text_job *job, struct buffer *body) {
    const struct messages_call *m = state;
    anthropic_write_response(job, json_object_get(m->root, "stop_sequences"), body);
}

static void answer_stream(struct server *s, struct http_call *call, struct messages_call *m,
                          struct text_job *job) {
    struct messages_stream *state = calloc(1, sizeof *state);
    if (!state) {
        struct api_error err;
        text_job_destroy(job);
        api_nomem(&err);
        http_answer_error(call, &err);
        return;
    }
    state->root = json_incref(m->root);
    state->stream.stop_sequences = json_object_get(m->root, "stop_sequences");
    struct model_entry *entry = m->entry;
    m->entry = NULL; /* the stream's now */
    call_answer_job_stream(s, call, entry, job, &dialect, state);
}

void endpoint_messages(struct server *s, struct http_call *call) {
    struct messages_call m;
    struct api_error err;
    struct text_job *job = NULL;
    const struct job_options options = call_job_options(s, call);
    enum quern_status status = begin(s, call, false, &m, &err);
    if (!status)
        status = chat_job_start(&m.entry->served, &m.request, &options, &job, &err);
    if (status)
        answer_error(call, &m, &err);
    else if (m.request.generation.stream)
        answer_stream(s, call, &m, job);
    else
        call_answer_job(s, call, m.entry, job, write_whole, &m);
    release(s, &m);
}

void endpoint_count_tokens(struct server *s, struct http_call *call) {
    struct messages_call m;
    struct api_error err;
    int32_t *ids = NULL;
    size_t n = 0;
    enum quern_status status = begin(s, call, true, &m, &err);
    if (!status)
        status = prompt_build_chat(&m.entry->served, &m.request, &ids, &n, &err);
    if (status) {
        answer_error(call, &m, &err);
    } else {
        struct buffer body;
        buffer_init(&body, 64);
        buffer_printf(&body, "{\"input_tokens\":%zu}", n);
        call_answer_json(call, &body);
    }
    free(ids);
    release(s, &m);
}
