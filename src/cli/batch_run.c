#include "cli/batch_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/sync.h"
#include "cli/interrupt.h"
#include "openai/openai_writer.h"
#include "openai/value_job.h"

enum { POLL_MS = 100 /* for signals and the progress bar */ };
static const uint64_t NS_PER_MS = 1000000u;

/* A line in the engine. */
struct slot {
    size_t line;
    struct text_job *job; /* one of the two, or none: the slot is free */
    struct value_job *values;
    struct embedding_request embedding; /* of `values`, with its JSON */
    json_t *root;
};

struct runner {
    const struct batch_setup *setup;
    struct batch_counts *counts;
    struct api_limits limits;
    struct slot *slots; /* [n_parallel] */
    size_t n_active, next_line;
    struct buffer body, line;
    struct mutex lock;
    struct condition changed;
    bool news; /* under the lock */
    uint64_t began_ns, drawn_ns;
    int drawn; /* columns of the progress bar on the screen */
};

/* ---- results -------------------------------------------------------------------------- */

/* Writes the line's result: `body` as the response's. */
static enum quern_status write_result(struct runner *r, size_t line, int http_status,
                                      const char *request_id, struct quern_error *err) {
    struct batch_line *l = &r->setup->input->lines[line];
    struct buffer *out = &r->line;
    buffer_clear(out);
    buffer_printf(
        out, "{\"id\": \"batch_req_%016llx\", \"custom_id\": ", (unsigned long long)os_random());
    if (l->custom_id)
        json_write_string(str_from(l->custom_id), out);
    else
        buffer_printf(out, "null, \"line\": %zu", r->setup->input->numbers[line]);
    buffer_printf(out, ", \"response\": {\"status_code\": %d, \"request_id\": \"%s\", \"body\": ",
                  http_status, request_id);
    buffer_append_str(out, buffer_str(&r->body));
    buffer_puts(out, "}, \"error\": null}\n");
    enum quern_status status = buffer_status(&r->body, "a result", err);
    if (!status)
        status = buffer_status(out, "a result", err);
    if (!status)
        status = batch_output_write(r->setup->output, out, err);
    if (!status)
        l->done = true;
    return status;
}

static enum quern_status write_error(struct runner *r, size_t line, const struct api_error *fault,
                                     struct quern_error *err) {
    r->counts->n_failed++;
    buffer_clear(&r->body);
    api_error_write(fault, &r->body);
    return write_result(r, line, api_error_http_status(fault->kind), "", err);
}

/* ---- from a line to a job --------------------------------------------------------------- */

static void on_notify(void *user) {
    struct runner *r = user;
    mutex_lock(&r->lock);
    r->news = true;
    condition_signal_all(&r->changed);
    mutex_unlock(&r->lock);
}

static struct job_options job_options(struct runner *r) {
    return (struct job_options){.created = (int64_t)time(NULL), .on_notify = on_notify, .user = r};
}

static enum quern_status no_stream(const struct generation_params *p, struct api_error *fault) {
    return p->stream ? api_fail(fault, API_UNSUPPORTED, "stream", "a batch cannot stream")
                     : QUERN_OK;
}

static enum quern_status start_chat(struct runner *r, const json_t *body, struct slot *slot,
                                    struct api_error *fault) {
    struct chat_request request;
    const struct api_context context = served_model_context(r->setup->model, &r->limits);
    const struct job_options options = job_options(r);
    enum quern_status status = chat_request_parse(body, &context, &request, fault);
    if (status)
        return status;
    status = no_stream(&request.generation, fault);
    if (!status)
        status = chat_job_start(r->setup->model, &request, &options, &slot->job, fault);
    chat_request_release(&request);
    return status;
}

static enum quern_status start_completion(struct runner *r, const json_t *body, struct slot *slot,
                                          struct api_error *fault) {
    struct completion_request request;
    const struct api_context context = served_model_context(r->setup->model, &r->limits);
    const struct job_options options = job_options(r);
    enum quern_status status = completion_request_parse(body, &context, &request, fault);
    if (status)
        return status;
    status = no_stream(&request.generation, fault);
    if (!status)
        status = completion_job_start(r->setup->model, &request, &options, &slot->job, fault);
    completion_request_release(&request);
    return status;
}

static enum quern_status start_embedding(struct runner *r, const json_t *body, struct slot *slot,
                                         struct api_error *fault) {
    const struct api_context context = served_model_context(r->setup->model, &r->limits);
    const struct job_options options = job_options(r);
    enum quern_status status = embedding_request_parse(body, &context, &slot->embedding, fault);
    if (status)
        return status;
    status =
        embedding_job_create(r->setup->model, &slot->embedding, &options, &slot->values, fault);
    if (!status)
        status = value_job_poll(slot->values, fault);
    return status;
}

static enum quern_status start_url(struct runner *r, const json_t *root, struct slot *slot,
                                   struct api_error *fault) {
    const char *url = json_string_value(json_object_get(root, "url"));
    const char *method = json_string_value(json_object_get(root, "method"));
    const json_t *body = json_object_get(root, "body");
    if (!json_string_value(json_object_get(root, "custom_id")))
        return api_fail(fault, API_MISSING, "custom_id", "a line needs a \"custom_id\", a string");
    if (method && strcmp(method, "POST") != 0)
        return api_fail(fault, API_VALUE, "method", "the method is \"%.20s\", expected \"POST\"",
                        method);
    if (!json_is_object(body))
        return api_fail(fault, API_MISSING, "body", "a line needs a \"body\", an object");
    if (url && strcmp(url, "/v1/chat/completions") == 0)
        return start_chat(r, body, slot, fault);
    if (url && strcmp(url, "/v1/completions") == 0)
        return start_completion(r, body, slot, fault);
    if (url && strcmp(url, "/v1/embeddings") == 0)
        return start_embedding(r, body, slot, fault);
    return api_fail(fault, API_VALUE, "url",
                    "the url is \"%.100s\", expected \"/v1/chat/completions\", \"/v1/completions\" "
                    "or \"/v1/embeddings\"",
                    url ? url : "");
}

static void slot_release(struct slot *s) {
    text_job_destroy(s->job);
    value_job_destroy(s->values);
    embedding_request_release(&s->embedding);
    json_decref(s->root);
    *s = (struct slot){0};
}

static bool slot_is_free(const struct slot *s) {
    return !s->job && !s->values;
}

/* *busy: the engine's queue is full; the line's turn comes again. */
static enum quern_status start_line(struct runner *r, size_t line, struct slot *slot, bool *busy,
                                    struct quern_error *err) {
    const struct str text = r->setup->input->lines[line].text;
    struct api_error fault = {0};
    struct quern_error cause = {0};
    *slot = (struct slot){.line = line};
    enum quern_status status = json_parse(text.ptr, text.len, "line", &slot->root, &cause);
    if (status)
        api_fail(&fault, API_INVALID_JSON, NULL, "%s", cause.message);
    else
        status = start_url(r, slot->root, slot, &fault);
    if (!status) {
        r->n_active++;
        return QUERN_OK;
    }
    slot_release(slot);
    *busy = fault.kind == API_OVERLOADED;
    return *busy ? QUERN_OK : write_error(r, line, &fault, err);
}

/* ---- from a job to its result -------------------------------------------------------------- */

static enum quern_status end_text(struct runner *r, struct slot *s, struct quern_error *err) {
    const struct quern_usage usage = text_job_usage(s->job);
    r->counts->n_ok++;
    r->counts->prompt_tokens += usage.prompt_tokens;
    r->counts->completion_tokens += usage.completion_tokens;
    openai_write_response(s->job, &r->body);
    return write_result(r, s->line, 200, s->job->id, err);
}

static enum quern_status end_values(struct runner *r, struct slot *s, struct quern_error *err) {
    struct api_error fault = {0};
    if (embedding_write_response(s->values, &s->embedding, &r->body, &fault))
        return write_error(r, s->line, &fault, err);
    r->counts->n_ok++;
    r->counts->prompt_tokens += value_job_prompt_tokens(s->values);
    return write_result(r, s->line, 200, "", err);
}

/* Takes what a slot has; frees it when its line is done. */
static enum quern_status poll_slot(struct runner *r, struct slot *s, struct quern_error *err) {
    struct api_error fault = {0};
    enum quern_status status =
        s->job ? text_job_poll(s->job, &fault) : value_job_poll(s->values, &fault);
    const bool done = s->job ? text_job_is_done(s->job) : value_job_is_done(s->values);
    if (!status && !done)
        return QUERN_OK;
    buffer_clear(&r->body);
    if (status)
        status = write_error(r, s->line, &fault, err);
    else
        status = s->job ? end_text(r, s, err) : end_values(r, s, err);
    slot_release(s);
    r->n_active--;
    return status;
}

/* ---- the progress bar ----------------------------------------------------------------------- */

static void format_time(double seconds, char *out, size_t size) {
    const long s = seconds < 0 || seconds > 1e7 ? 0 : (long)seconds;
    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

/* 120/1000 [#####     ] 812 tok/s, 0:53 left, 2 errors */
static void draw_progress(struct runner *r) {
    const struct batch_input *in = r->setup->input;
    const uint64_t now_ns = os_now_ns(), every_ns = 200 * NS_PER_MS;
    if (r->setup->quiet || !os_is_tty(STDERR_FILENO) || now_ns - r->drawn_ns < every_ns)
        return;
    r->drawn_ns = now_ns;
    struct quern_engine_stats stats;
    quern_engine_get_stats(r->setup->model->engine, &stats);
    const size_t now = r->counts->n_ok + r->counts->n_failed, before = r->setup->output->n_found;
    const double seconds = (double)(now_ns - r->began_ns) * 1e-9;
    const double left = now ? seconds / (double)now * (double)(in->n_lines - before - now) : 0;
    char eta[32], text[256];
    format_time(left, eta, sizeof eta);
    const int width = 20, full = (int)((now + before) * (size_t)width / in->n_lines);
    int n = snprintf(text, sizeof text, "%zu/%zu [", now + before, in->n_lines);
    for (int i = 0; i < width; i++)
        text[n++] = i < full ? '#' : ' ';
    n += snprintf(text + n, sizeof text - (size_t)n, "] %.0f tok/s",
                  (double)stats.completion_tokens / (seconds + 1e-9));
    if (now)
        n += snprintf(text + n, sizeof text - (size_t)n, ", %s left", eta);
    if (r->counts->n_failed)
        n += snprintf(text + n, sizeof text - (size_t)n, ", %zu errors", r->counts->n_failed);
    const int columns = os_terminal_columns(STDERR_FILENO) - 1;
    fprintf(stderr, "\r%-*.*s", r->drawn < columns ? r->drawn : columns, columns, text);
    fflush(stderr);
    r->drawn = n;
}

static void clear_progress(struct runner *r) {
    if (r->drawn > 0)
        fprintf(stderr, "\r%*s\r", os_terminal_columns(STDERR_FILENO) - 1, "");
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

/* Fills free slots with lines to do. */
static enum quern_status start_lines(struct runner *r, struct quern_error *err) {
    const struct batch_input *in = r->setup->input;
    bool busy = false;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < r->setup->n_parallel && !status && !busy;) {
        while (r->next_line < in->n_lines && in->lines[r->next_line].done)
            r->next_line++;
        if (r->next_line >= in->n_lines)
            break;
        if (!slot_is_free(&r->slots[i])) {
            i++;
            continue;
        }
        status = start_line(r, r->next_line, &r->slots[i], &busy, err);
        r->next_line += !busy;
    }
    return status;
}

static void wait_for_news(struct runner *r) {
    const uint64_t until_ns = os_now_ns() + POLL_MS * NS_PER_MS;
    mutex_lock(&r->lock);
    while (!r->news && condition_wait_until(&r->changed, &r->lock, until_ns)) {
    }
    r->news = false;
    mutex_unlock(&r->lock);
}

static enum quern_status run(struct runner *r, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    while (!status && !interrupt_pending()) {
        status = start_lines(r, err);
        if (!status && r->n_active == 0 && r->next_line >= r->setup->input->n_lines)
            break;
        if (!status)
            wait_for_news(r);
        for (size_t i = 0; i < r->setup->n_parallel && !status; i++)
            if (!slot_is_free(&r->slots[i]))
                status = poll_slot(r, &r->slots[i], err);
        if (!status)
            status = batch_output_flush(r->setup->output, false, err);
        draw_progress(r);
    }
    clear_progress(r);
    for (size_t i = 0; i < r->setup->n_parallel; i++)
        slot_release(&r->slots[i]);
    return status;
}

enum quern_status batch_run(const struct batch_setup *setup, struct batch_counts *counts,
                            struct quern_error *err) {
    *counts = (struct batch_counts){0};
    struct runner r = {
        .setup = setup, .counts = counts, .limits = API_LIMITS_DEFAULT, .began_ns = os_now_ns()};
    enum quern_status status = mutex_init(&r.lock, err);
    if (status)
        return status;
    status = condition_init(&r.changed, err);
    if (status) {
        mutex_release(&r.lock);
        return status;
    }
    buffer_init(&r.body, SIZE_MAX / 4);
    buffer_init(&r.line, SIZE_MAX / 4);
    r.slots = calloc(setup->n_parallel, sizeof *r.slots);
    status = r.slots ? run(&r, err) : error_nomem(err);
    /* What was written is kept, whatever happened. */
    const enum quern_status flushed = batch_output_flush(setup->output, true, status ? NULL : err);
    counts->seconds = (double)(os_now_ns() - r.began_ns) * 1e-9;
    free(r.slots);
    buffer_release(&r.body);
    buffer_release(&r.line);
    condition_release(&r.changed);
    mutex_release(&r.lock);
    return status ? status : flushed;
}
