/* call_util.c - what endpoints share: reading a request, finding its model, waiting. */
#include <stdio.h>
#include <time.h>

#include "server/server_core.h"

enum quern_status call_read_json(struct http_call *call, json_t **root, struct api_error *err) {
    struct quern_error cause = {0};
    json_t *value = NULL;
    enum quern_status status =
        json_parse(call->body.data ? call->body.data : "", call->body.len, "body", &value, &cause);
    if (status)
        return api_fail(err, status == QUERN_ERR_NOMEM ? API_INTERNAL : API_INVALID_JSON, NULL,
                        "We could not parse the JSON body of your request: %.400s", cause.message);
    if (!json_is_object(value)) {
        const char *type = json_type_name(value);
        json_decref(value);
        return api_fail(err, API_TYPE, NULL,
                        "The body of the request must be a JSON object, but it is %s.", type);
    }
    *root = value;
    return QUERN_OK;
}

enum quern_status call_model(struct server *s, struct http_call *call, const json_t *root,
                             struct model_entry **out, struct api_error *err) {
    const json_t *name = json_object_get(root, "model");
    const char *text = NULL;
    if (name && !json_is_null(name)) {
        enum quern_status status = fields_string(name, "model", &text, err);
        if (status)
            return status;
    }
    enum quern_status status = model_registry_acquire(&s->models, text, out, err);
    if (!status)
        snprintf(call->model_name, sizeof call->model_name, "%s", (*out)->name);
    return status;
}

struct api_context call_context(struct server *s, const struct model_entry *entry) {
    return served_model_context(&entry->served, &s->config->limits);
}

void call_answer_json(struct http_call *call, struct buffer *body) {
    http_answer(call, 200, "application/json", body);
}

static void ring(void *user) {
    waker_ring(user);
}

struct job_options call_job_options(struct server *s, struct http_call *call) {
    return (struct job_options){
        .cache_salt = call->salt,
        .deadline_ms = (int64_t)(s->config->request_timeout_s * 1000),
        .created = (int64_t)time(NULL),
        .on_notify = ring,
        .user = call->waker,
    };
}

bool call_wait_for_job(struct http_call *call, struct text_job *job, bool *failed,
                       struct api_error *err) {
    *failed = false;
    for (;;) {
        if (text_job_poll(job, err)) {
            *failed = true;
            return false;
        }
        if (text_job_is_done(job))
            return true;
        if (waker_wait(call->waker, call->peer_fd, -1) == WAKER_PEER_GONE) {
            call->client_left = true;
            return false;
        }
    }
}

bool call_wait_for_ticket(struct http_call *call, quern_ticket *ticket,
                          struct quern_request_result *result, bool *failed,
                          struct api_error *err) {
    struct quern_event event;
    enum quern_next next;
    *failed = false;
    while ((next = quern_ticket_next(ticket, &event)) != QUERN_NEXT_END) {
        if (next == QUERN_NEXT_NOTHING &&
            waker_wait(call->waker, call->peer_fd, -1) == WAKER_PEER_GONE) {
            call->client_left = true;
            return false;
        }
    }
    struct quern_error cause = {0};
    enum quern_status status = quern_ticket_result(ticket, result, &cause);
    *failed = true;
    if (status)
        api_fail_from(err, API_INTERNAL, NULL, &cause);
    else if (result->status)
        api_fail(err, API_INTERNAL, NULL, "The engine failed: %s", result->message);
    else if (result->finish == QUERN_FINISH_DEADLINE)
        api_fail(err, API_TIMEOUT, NULL, "The request's time was over.");
    else if (result->finish == QUERN_FINISH_CANCELLED)
        api_fail(err, API_UNAVAILABLE, NULL, "The request was cancelled.");
    else
        *failed = false;
    return !*failed;
}

void call_job_ended(struct server *s, struct http_call *call, const struct model_entry *entry,
                    const struct text_job *job) {
    struct quern_usage usage = text_job_usage(job);
    call->prompt_tokens = usage.prompt_tokens;
    call->cached_tokens = usage.cached_tokens;
    call->completion_tokens = usage.completion_tokens;
    metrics_count_job(&s->metrics, &s->counted[entry - s->models.entries], job);
}

void call_answer_job(struct server *s, struct http_call *call, const struct model_entry *entry,
                     struct text_job *job,
                     void (*write)(void *state, struct text_job *job, struct buffer *body), void *state) {
    struct api_error err;
    bool failed;
    if (call_wait_for_job(call, job, &failed, &err)) {
        struct buffer body;
        buffer_init(&body, SIZE_MAX / 4);
        call_job_ended(s, call, entry, job);
        write(state, job, &body);
        call_answer_json(call, &body);
    } else if (failed) {
        http_answer_error(call, &err);
    }
    text_job_destroy(job);
}
