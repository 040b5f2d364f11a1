/* endpoints_chat.c - /v1/chat/completions, /v1/completions, /infill and /apply-template. */
#include <stdlib.h>

#include "openai/openai_writer.h"
#include "openai/prompt_build.h"
#include "server/server_core.h"

/* ---- OpenAI's streams ------------------------------------------------------------- */

static void write_news(void *state, struct text_job *job, struct buffer *out) {
    openai_write_chunks(job, state, out);
}

static void write_end(void *state, struct text_job *job, struct buffer *out) {
    openai_write_stream_end(job, state, out);
}

static void write_error(void *state, const struct api_error *err, struct buffer *out) {
    (void)state;
    buffer_puts(out, "data: ");
    api_error_write(err, out);
    buffer_puts(out, "\n\ndata: [DONE]\n\n");
}

static const struct stream_dialect openai_dialect = {write_news, write_end, write_error, free};

static void answer_stream(struct server *s, struct http_call *call, struct model_entry *entry,
                          struct text_job *job, bool include_usage) {
    struct openai_stream *stream = malloc(sizeof *stream);
    if (stream) {
        *stream = (struct openai_stream){include_usage};
        call_answer_job_stream(s, call, entry, job, &openai_dialect, stream);
        return;
    }
    struct api_error err;
    text_job_destroy(job);
    model_registry_release(&s->models, entry);
    api_nomem(&err);
    http_answer_error(call, &err);
}

static void write_whole(void *state, struct text_job *job, struct buffer *body) {
    (void)state;
    openai_write_response(job, body);
}

/* ---- a request's way to a job --------------------------------------------------------- */

/* Parses `root`, starts a job; tells how the answer is to be sent. */
typedef enum quern_status start_fn(struct server *s, struct http_call *call,
                                   const struct model_entry *entry, const json_t *root,
                                   struct text_job **job, struct generation_params *params,
                                   struct api_error *err);

static void run(struct server *s, struct http_call *call, start_fn *start) {
    struct api_error err;
    json_t *root = NULL;
    struct model_entry *entry = NULL;
    struct text_job *job = NULL;
    struct generation_params params = {0};
    enum quern_status status = call_read_json(call, &root, &err);
    if (!status)
        status = call_model(s, call, root, &entry, &err);
    if (!status)
        status = start(s, call, entry, root, &job, &params, &err);
    json_decref(root);
    if (status) {
        model_registry_release(&s->models, entry);
        http_answer_error(call, &err);
    } else if (params.stream) {
        answer_stream(s, call, entry, job, params.include_usage);
    } else {
        call_answer_job(s, call, entry, job, write_whole, NULL);
        model_registry_release(&s->models, entry);
    }
}

/* What of the parameters is needed once the request is gone. */
static void keep_params(struct generation_params *to, const struct generation_params *from) {
    to->stream = from->stream;
    to->include_usage = from->include_usage;
}

static enum quern_status start_chat(struct server *s, struct http_call *call,
                                    const struct model_entry *entry, const json_t *root,
                                    struct text_job **job, struct generation_params *params,
                                    struct api_error *err) {
    struct chat_request r;
    struct api_context context = call_context(s, entry);
    struct job_options options = call_job_options(s, call);
    enum quern_status status = chat_request_parse(root, &context, &r, err);
    if (status)
        return status;
    keep_params(params, &r.generation);
    status = chat_job_start(&entry->served, &r, &options, job, err);
    chat_request_release(&r);
    return status;
}

static enum quern_status start_parsed(struct server *s, struct http_call *call,
                                      const struct model_entry *entry, struct completion_request *r,
                                      struct text_job **job, struct generation_params *params,
                                      struct api_error *err) {
    struct job_options options = call_job_options(s, call);
    keep_params(params, &r->generation);
    enum quern_status status = completion_job_start(&entry->served, r, &options, job, err);
    completion_request_release(r);
    return status;
}

static enum quern_status start_completion(struct server *s, struct http_call *call,
                                          const struct model_entry *entry, const json_t *root,
                                          struct text_job **job, struct generation_params *params,
                                          struct api_error *err) {
    struct completion_request r;
    struct api_context context = call_context(s, entry);
    enum quern_status status = completion_request_parse(root, &context, &r, err);
    return status ? status : start_parsed(s, call, entry, &r, job, params, err);
}

static enum quern_status start_infill(struct server *s, struct http_call *call,
                                      const struct model_entry *entry, const json_t *root,
                                      struct text_job **job, struct generation_params *params,
                                      struct api_error *err) {
    struct completion_request r;
    struct api_context context = call_context(s, entry);
    enum quern_status status = infill_request_parse(root, &context, &r, err);
    return status ? status : start_parsed(s, call, entry, &r, job, params, err);
}

void endpoint_chat_completions(struct server *s, struct http_call *call) {
    run(s, call, start_chat);
}

void endpoint_completions(struct server *s, struct http_call *call) {
    run(s, call, start_completion);
}

void endpoint_infill(struct server *s, struct http_call *call) {
    run(s, call, start_infill);
}

/* ---- templates ---------------------------------------------------------------------------- */

static enum quern_status apply_template(struct server *s, const struct model_entry *entry,
                                        const json_t *root, struct buffer *text,
                                        struct api_error *err) {
    struct chat_request r;
    struct api_context context = call_context(s, entry);
    enum quern_status status = chat_request_parse(root, &context, &r, err);
    if (status)
        return status;
    status = prompt_render_chat(&entry->served, &r, text, err);
    chat_request_release(&r);
    return status;
}

void endpoint_apply_template(struct server *s, struct http_call *call) {
    struct api_error err;
    json_t *root = NULL;
    struct model_entry *entry = NULL;
    struct buffer text, body;
    buffer_init(&text, SIZE_MAX / 4);
    buffer_init(&body, SIZE_MAX / 4);
    enum quern_status status = call_read_json(call, &root, &err);
    if (!status)
        status = call_model(s, call, root, &entry, &err);
    if (!status)
        status = apply_template(s, entry, root, &text, &err);
    if (status) {
        http_answer_error(call, &err);
    } else {
        buffer_puts(&body, "{\"prompt\":");
        json_write_string(buffer_str(&text), &body);
        buffer_puts(&body, "}");
        call_answer_json(call, &body);
    }
    model_registry_release(&s->models, entry);
    json_decref(root);
    buffer_release(&text);
    buffer_release(&body);
}
