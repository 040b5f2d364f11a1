/* endpoints_responses.c - POST /v1/responses and /v1/responses/input_tokens. */
#include <stdlib.h>

#include "openai/prompt_build.h"
#include "openai/responses_writer.h"
#include "server/server_core.h"

/* A request on its way; of a stream, until its end. */
struct responses_call {
    struct responses_request request;
    struct responses_stream stream;
    struct server *server;
    struct model_entry *entry; /* a stream has its own use of it */
    struct chat_request chat;
    bool is_chat; /* errors from here on are in a chat's words */
};

static void responses_call_destroy(void *state) {
    struct responses_call *r = state;
    if (r)
        responses_request_release(&r->request);
    free(r);
}

/* For GET and previous_response_id; an answer that finds no room is merely not found later. */
static void keep_answer(struct server *s, const struct responses_request *r,
                        const struct text_job *job, struct str answer) {
    struct buffer input, output;
    if (!r->keep)
        return;
    buffer_init(&input, SIZE_MAX / 4);
    buffer_init(&output, SIZE_MAX / 4);
    for (size_t i = 0; i < json_array_size(r->items); i++) {
        buffer_puts(&input, i ? "," : "");
        json_write_python(json_array_get(r->items, i), -1, &input);
    }
    responses_write_output(r, job, &output);
    const struct response_to_store what = {.id = r->id,
                                           .owner = r->owner,
                                           .parent = r->previous,
                                           .answer = answer,
                                           .input = buffer_str(&input),
                                           .output = buffer_str(&output)};
    if (!input.failed && !output.failed)
        response_store_put(&s->responses, &what);
    buffer_release(&input);
    buffer_release(&output);
}

static void write_whole(void *state, struct text_job *job, struct buffer *body) {
    struct responses_call *r = state;
    responses_write_answer(&r->request, job, body);
    if (!body->failed)
        keep_answer(r->server, &r->request, job, buffer_str(body));
}

/* ---- streams -------------------------------------------------------------------------- */

static void write_news(void *state, struct text_job *job, struct buffer *out) {
    struct responses_call *r = state;
    responses_write_events(&r->stream, job, out);
}

static void write_end(void *state, struct text_job *job, struct buffer *out) {
    struct responses_call *r = state;
    struct buffer answer;
    buffer_init(&answer, SIZE_MAX / 4);
    /* Kept before its last event: whoever has read that may ask for it. */
    write_whole(r, job, &answer);
    if (answer.failed)
        out->failed = answer.failed;
    responses_write_stream_end(&r->stream, job, buffer_str(&answer), out);
    buffer_release(&answer);
}

static void write_error(void *state, const struct api_error *err, struct buffer *out) {
    struct responses_call *r = state;
    responses_write_stream_error(&r->stream, err, out);
}

static const struct stream_dialect dialect = {write_news, write_end, write_error,
                                              responses_call_destroy};

/* ---- requests --------------------------------------------------------------------------- */

static void answer_error(struct http_call *call, const struct responses_call *r,
                         struct api_error *err) {
    if (r && r->is_chat)
        responses_rename_error(err);
    http_answer_error(call, err);
}

/* The request as a chat in r->chat, to be released by the caller. */
static enum quern_status begin(struct server *s, struct http_call *call, bool counting,
                               struct responses_call *r, struct api_error *err) {
    json_t *root = NULL;
    const struct responses_source source = {
        .store = &s->responses, .owner = call->salt, .max_bytes = (size_t)s->config->body_bytes};
    enum quern_status status = call_read_json(call, &root, err);
    if (!status)
        status = call_model(s, call, root, &r->entry, err);
    if (!status) {
        const struct api_context context = call_context(s, r->entry);
        status = responses_request_parse(root, &source, &context, counting, &r->request, err);
        r->is_chat = !status;
        if (!status)
            status = chat_request_parse(r->request.chat, &context, &r->chat, err);
    }
    json_decref(root);
    return status;
}

static struct responses_call *responses_call_create(struct server *s) {
    struct responses_call *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->server = s;
    r->stream.request = &r->request;
    return r;
}

void endpoint_responses(struct server *s, struct http_call *call) {
    struct api_error err;
    struct text_job *job = NULL;
    const struct job_options options = call_job_options(s, call);
    struct responses_call *r = responses_call_create(s);
    enum quern_status status = r ? begin(s, call, false, r, &err) : api_nomem(&err);
    if (!status)
        status = chat_job_start(&r->entry->served, &r->chat, &options, &job, &err);
    if (r)
        chat_request_release(&r->chat);
    if (status) {
        answer_error(call, r, &err);
    } else if (r->request.stream) {
        json_decref(r->request.chat); /* the job has what it needs */
        r->request.chat = NULL;
        call_answer_job_stream(s, call, r->entry, job, &dialect, r);
        return; /* all is the stream's now */
    } else {
        call_answer_job(s, call, r->entry, job, write_whole, r);
    }
    model_registry_release(&s->models, r ? r->entry : NULL);
    responses_call_destroy(r);
}

void endpoint_input_tokens(struct server *s, struct http_call *call) {
    struct api_error err;
    int32_t *ids = NULL;
    size_t n = 0;
    struct responses_call *r = responses_call_create(s);
    enum quern_status status = r ? begin(s, call, true, r, &err) : api_nomem(&err);
    if (!status)
        status = prompt_build_chat(&r->entry->served, &r->chat, &ids, &n, &err);
    if (status) {
        answer_error(call, r, &err);
    } else {
        struct buffer body;
        buffer_init(&body, 128);
        buffer_printf(&body, "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}", n);
        call_answer_json(call, &body);
    }
    free(ids);
    if (r)
        chat_request_release(&r->chat);
    model_registry_release(&s->models, r ? r->entry : NULL);
    responses_call_destroy(r);
}
