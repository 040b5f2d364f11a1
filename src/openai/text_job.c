#include "openai/text_job.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/loaded_model.h"
#include "base/os.h"
#include "engine/engine.h"
#include "openai/chat_constraint.h"
#include "openai/prompt_build.h"
#include "text/unicode.h"

/* ---- what comes in -------------------------------------------------------------- */

static char *copy_text(struct str s) {
    char *copy = malloc(s.len + 1);
    if (!copy)
        return NULL;
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

static bool keep_call(struct choice *c, const struct tool_call *call) {
    struct job_tool_call *calls = realloc(c->calls, (c->n_begun + 1) * sizeof *calls);
    if (!calls)
        return false;
    c->calls = calls;
    struct job_tool_call *k = &calls[c->n_begun];
    *k = (struct job_tool_call){.name = copy_text(call->name),
                                .arguments = copy_text(STR_LIT("")),
                                .arguments_capacity = 1};
    memcpy(k->id, call->id, sizeof k->id);
    c->n_begun++; /* also when a copy failed: text_job_destroy frees both */
    return k->name && k->arguments;
}

static bool keep_arguments(struct job_tool_call *k, struct str text) {
    const size_t need = k->arguments_len + text.len + 1;
    if (need > k->arguments_capacity) {
        char *arguments = realloc(k->arguments, 2 * need);
        if (!arguments)
            return false;
        k->arguments = arguments;
        k->arguments_capacity = 2 * need;
    }
    memcpy(k->arguments + k->arguments_len, text.ptr, text.len);
    k->arguments_len += text.len;
    k->arguments[k->arguments_len] = '\0';
    return true;
}

static bool keep_segment(struct choice *c, enum answer_part part) {
    struct choice_segment *last = c->n_segments ? &c->segments[c->n_segments - 1] : NULL;
    if (part == PART_ARGUMENTS || part == PART_CALL_END ||
        (last && last->part == part && part != PART_TOOL_CALL))
        return true;
    if (last)
        last->logprobs_end = c->n_logprobs;
    struct choice_segment *segments = realloc(c->segments, (c->n_segments + 1) * sizeof *segments);
    if (!segments)
        return false;
    c->segments = segments;
    segments[c->n_segments++] = (struct choice_segment){
        .part = part,
        .begin = part == PART_REASONING ? c->reasoning.len
                 : part == PART_CONTENT ? c->content.len
                                        : c->n_begun,
    };
    return true;
}

static void on_delta(void *user, const struct answer_delta *delta) {
    struct choice *c = user;
    bool ok = !c->job->no_memory;
    if (!ok)
        return; /* a call that has no place has no arguments */
    if (!keep_segment(c, delta->part)) {
        c->job->no_memory = true;
        return;
    }
    switch (delta->part) {
    case PART_CONTENT:
        ok = buffer_append_str(&c->content, delta->text) == QUERN_OK;
        break;
    case PART_REASONING:
        ok = buffer_append_str(&c->reasoning, delta->text) == QUERN_OK;
        break;
    case PART_TOOL_CALL:
        ok = keep_call(c, delta->call);
        break;
    case PART_ARGUMENTS:
        ok = keep_arguments(&c->calls[delta->call_index], delta->text);
        break;
    case PART_CALL_END:
        c->n_calls = c->n_begun;
        c->segments[c->n_segments - 1].whole = !c->ended;
        break;
    }
    c->job->no_memory = !ok;
}

static bool grow_logprobs(struct choice *c, size_t n_top) {
    if (c->n_logprobs < c->logprobs_capacity)
        return true;
    size_t capacity = c->logprobs_capacity ? 2 * c->logprobs_capacity : 32;
    struct job_logprob *logprobs = realloc(c->logprobs, capacity * sizeof *logprobs);
    if (!logprobs)
        return false;
    c->logprobs = logprobs;
    if (n_top) {
        struct quern_top_logprob *tops = realloc(c->tops, capacity * n_top * sizeof *tops);
        if (!tops)
            return false;
        c->tops = tops;
    }
    c->logprobs_capacity = capacity;
    return true;
}

static bool keep_logprob(struct choice *c, const struct quern_event *event) {
    const size_t n_top = (size_t)c->job->n_top;
    struct str bytes = tokenizer_token_bytes(c->job->model->model->tokenizer, event->token);
    size_t offset = c->n_chars;
    for (size_t i = 0; i < bytes.len; i++)
        c->n_chars += ((unsigned char)bytes.ptr[i] & 0xC0) != 0x80;
    if (!grow_logprobs(c, n_top))
        return false;
    struct quern_top_logprob *tops = c->tops + c->n_logprobs * n_top;
    for (size_t i = 0; i < n_top; i++)
        tops[i] = i < event->n_top ? event->top[i] : (struct quern_top_logprob){.token = -1};
    c->logprobs[c->n_logprobs++] = (struct job_logprob){event->token, event->logprob, offset};
    return true;
}

/* An end token is no part of the answer. */
static bool is_end_token(const struct choice *c, int32_t token) {
    const struct generation_config *g = &c->job->model->model->generation;
    for (int32_t i = 0; !c->job->ignore_eos && i < g->n_eos; i++)
        if (g->eos_token_ids[i] == token)
            return true;
    return false;
}

static void take_event(struct choice *c, const struct quern_event *event) {
    struct text_job *job = c->job;
    bool ok = true;
    bool counts = true;
    const bool echoed = c->n_echoed > 0;
    c->n_echoed -= echoed;
    if (!echoed && job->prompt_only) {
        return;
    } else if (job->kind == JOB_CHAT) {
        ok = answer_parts_push(&c->parts, event) == QUERN_OK;
        counts = answer_parts_token_is_content(&c->parts);
    } else {
        ok = buffer_append(&c->content, event->text, event->text_len) == QUERN_OK;
    }
    if (job->logprobs && event->token >= 0 && counts && (echoed || !is_end_token(c, event->token)))
        ok = keep_logprob(c, event) && ok;
    job->no_memory = job->no_memory || !ok;
}

static enum quern_status take_end(struct choice *c, struct api_error *err) {
    struct quern_error cause = {0};
    c->ended = true;
    c->job->n_ended++;
    if (c->job->kind == JOB_CHAT && answer_parts_finish(&c->parts))
        c->job->no_memory = true;
    if (quern_ticket_result(c->ticket, &c->result, &cause))
        return api_fail_from(err, API_INTERNAL, NULL, &cause);
    if (c->result.status)
        return api_fail(err, API_INTERNAL, NULL, "The engine failed: %s", c->result.message);
    if (c->result.finish == QUERN_FINISH_DEADLINE && !c->result.usage.completion_tokens)
        return api_fail(err, API_TIMEOUT, NULL,
                        "The request's time was over before its first token.");
    if (c->result.finish == QUERN_FINISH_STALLED)
        return api_fail(err, API_TIMEOUT, NULL,
                        "The answer was ended because nobody read it for too long.");
    if (c->result.finish == QUERN_FINISH_CANCELLED)
        return api_fail(err, API_UNAVAILABLE, NULL, "The request was cancelled.");
    return QUERN_OK;
}

static enum quern_status poll_choice(struct choice *c, struct api_error *err) {
    struct quern_event event;
    while (!c->ended) {
        switch (quern_ticket_next(c->ticket, &event)) {
        case QUERN_NEXT_NOTHING:
            return QUERN_OK;
        case QUERN_NEXT_EVENT:
            take_event(c, &event);
            break;
        case QUERN_NEXT_END: {
            enum quern_status status = take_end(c, err);
            if (status)
                return status;
            break;
        }
        }
    }
    return QUERN_OK;
}

enum quern_status text_job_poll(struct text_job *job, struct api_error *err) {
    for (size_t i = 0; i < job->n_choices; i++) {
        enum quern_status status = poll_choice(&job->choices[i], err);
        if (status)
            return status;
    }
    return job->no_memory ? api_nomem(err) : QUERN_OK;
}

enum quern_status text_job_wait(struct text_job *job, struct api_error *err) {
    for (;;) {
        enum quern_status status = text_job_poll(job, err);
        if (status || text_job_is_done(job))
            return status;
        for (size_t i = 0; i < job->n_choices; i++)
            if (!job->choices[i].ended) {
                quern_ticket_wait(job->choices[i].ticket, -1);
                break;
            }
    }
}

/* ---- what is known at the end --------------------------------------------------- */

struct quern_usage text_job_usage(const struct text_job *job) {
    struct quern_usage sum = {0};
    for (size_t i = 0; i < job->n_choices; i++) {
        const struct quern_usage *u = &job->choices[i].result.usage;
        bool first = i == 0 || job->choices[i - 1].prompt != job->choices[i].prompt;
        if (first) {
            sum.prompt_tokens += job->prompts[job->choices[i].prompt].n;
            sum.cached_tokens += u->cached_tokens;
        }
        sum.completion_tokens += job->prompt_only ? 0 : u->completion_tokens;
        sum.thinking_tokens += u->thinking_tokens;
        sum.drafted_tokens += u->drafted_tokens;
        sum.accepted_tokens += u->accepted_tokens;
        if (u->queue_ms > sum.queue_ms)
            sum.queue_ms = u->queue_ms;
        if (u->prefill_ms > sum.prefill_ms)
            sum.prefill_ms = u->prefill_ms;
        if (u->decode_ms > sum.decode_ms)
            sum.decode_ms = u->decode_ms;
        if (u->total_ms > sum.total_ms)
            sum.total_ms = u->total_ms;
    }
    return sum;
}

struct str choice_segment_text(const struct choice *c, size_t segment) {
    const struct choice_segment *s = &c->segments[segment];
    if (s->part == PART_TOOL_CALL)
        return (struct str){c->calls[s->begin].arguments, c->calls[s->begin].arguments_len};
    const struct buffer *text = s->part == PART_REASONING ? &c->reasoning : &c->content;
    size_t end = text->len;
    for (size_t i = segment + 1; i < c->n_segments; i++)
        if (c->segments[i].part == s->part) {
            end = c->segments[i].begin;
            break;
        }
    return (struct str){text->data ? text->data + s->begin : "", end - s->begin};
}

const char *choice_finish_reason(const struct choice *c) {
    if (c->result.finish == QUERN_FINISH_STOP && !c->job->prompt_only)
        return c->n_calls ? "tool_calls" : "stop";
    return "length";
}

/* ---- a job's life ------------------------------------------------------------------ */

static void choice_release(struct choice *c) {
    quern_ticket_destroy(c->ticket);
    answer_parts_release(&c->parts);
    buffer_release(&c->reasoning);
    buffer_release(&c->content);
    for (size_t i = 0; i < c->n_begun; i++) {
        free(c->calls[i].name);
        free(c->calls[i].arguments);
    }
    free(c->calls);
    free(c->segments);
    free(c->logprobs);
    free(c->tops);
}

void text_job_destroy(struct text_job *job) {
    if (!job)
        return;
    for (size_t i = 0; job->choices && i < job->n_choices; i++)
        choice_release(&job->choices[i]);
    for (size_t i = 0; job->prompts && i < job->n_prompts; i++)
        free(job->prompts[i].ids);
    free(job->choices);
    free(job->prompts);
    json_decref(job->tools);
    free(job);
}

static struct text_job *job_create(const struct served_model *m, enum job_kind kind,
                                   const struct generation_params *g, size_t n_prompts,
                                   const struct job_options *options) {
    struct text_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    const size_t n = (size_t)g->n;
    job->kind = kind;
    job->model = m;
    job->created = options->created;
    job->n_top = g->top_logprobs;
    job->ignore_eos = g->ignore_eos;
    snprintf(job->id, sizeof job->id, "%s-%016" PRIx64 "%08" PRIx32,
             kind == JOB_CHAT ? "chatcmpl" : "cmpl", os_random(), (uint32_t)os_random());
    job->prompts = calloc(n_prompts, sizeof *job->prompts);
    job->choices = calloc(n_prompts * n, sizeof *job->choices);
    if (!job->prompts || !job->choices) {
        text_job_destroy(job);
        return NULL;
    }
    job->n_prompts = n_prompts;
    job->n_choices = n_prompts * n;
    for (size_t i = 0; i < job->n_choices; i++) {
        struct choice *c = &job->choices[i];
        c->index = i;
        c->prompt = i / n;
        c->job = job;
        buffer_init(&c->reasoning, SIZE_MAX / 4);
        buffer_init(&c->content, SIZE_MAX / 4);
    }
    return job;
}

static void release_constraint(const struct answer_constraint *constraint) {
    if (constraint && constraint->release)
        constraint->release(constraint->user);
}

enum quern_status text_job_submit_failed(const struct served_model *m,
                                         const struct quern_error *cause, struct api_error *err) {
    if (cause->code == QUERN_ERR_LIMIT) {
        struct quern_engine_stats stats;
        quern_engine_get_stats(m->engine, &stats);
        api_fail(err, API_OVERLOADED, NULL, "The server is busy: %s", cause->message);
        err->retry_after_s = (int)((stats.retry_after_ms + 999) / 1000);
        if (err->retry_after_s < 1)
            err->retry_after_s = 1;
        return QUERN_ERR_LIMIT;
    }
    if (cause->code == QUERN_ERR_STATE)
        return api_fail(err, API_UNAVAILABLE, NULL, "The server takes no new requests: %s",
                        cause->message);
    return api_fail_from(err, API_VALUE, NULL, cause);
}

static enum quern_status submit(struct choice *c, const struct generation_params *g,
                                const struct job_options *options, int32_t thinking_budget,
                                const struct answer_constraint *constraint, struct api_error *err) {
    struct text_job *job = c->job;
    const struct prompt_tokens *prompt = &job->prompts[c->prompt];
    struct quern_request request = {
        .kind = QUERN_REQUEST_GENERATE,
        .prompt = prompt->ids,
        .n_prompt = prompt->n,
        .generate = generation_params_options(g, (int32_t)(c->index % (size_t)g->n)),
        .priority = options->priority,
        .deadline_ms = options->deadline_ms,
        .cache_salt = options->cache_salt,
        .adapters = job->model->adapters,
        .n_adapters = job->model->n_adapters,
        .on_notify = options->on_notify,
        .user = options->user,
    };
    request.generate.n_top_logprobs = job->logprobs ? job->n_top : -1;
    request.prompt_logprobs = c->n_echoed > 0;
    request.generate.thinking_budget = thinking_budget > 0 ? thinking_budget : 0;
    struct quern_error cause = {0};
    struct engine_extras extras = {0};
    if (constraint && constraint->constraint)
        extras =
            (struct engine_extras){constraint->constraint, constraint->release, constraint->user};
    if (engine_submit(job->model->engine->engine, &request, &extras, &c->ticket, &cause)) {
        release_constraint(constraint);
        return text_job_submit_failed(job->model, &cause, err);
    }
    return QUERN_OK;
}

/* ---- chat ------------------------------------------------------------------------- */

static enum quern_status start_chat_choice(struct choice *c, const struct chat_request *r,
                                           const struct job_options *options,
                                           struct api_error *err) {
    const struct served_model *m = c->job->model;
    const struct prompt_tokens *prompt = &c->job->prompts[0];
    struct answer_parts_setup setup = {
        .tokenizer = m->model->tokenizer,
        .markers = m->markers,
        .thinking = prompt_opens_thinking(&m->markers, prompt->ids, prompt->n),
        .tools = r->tools != NULL,
        .tool_list = c->job->tools,
        .calls_keep_form = chat_constraint_covers_calls(m, r),
        .max_calls = r->parallel_tool_calls ? SIZE_MAX : 1,
        .on_delta = on_delta,
        .user = c,
    };
    answer_parts_init(&c->parts, &setup);
    struct answer_constraint constraint = {0};
    enum quern_status status =
        chat_constraint_create(m, r, prompt->ids, prompt->n, &constraint, err);
    if (status)
        return status;
    return submit(c, &r->generation, options, r->thinking.budget, &constraint, err);
}

enum quern_status chat_job_start(const struct served_model *m, const struct chat_request *r,
                                 const struct job_options *options, struct text_job **out,
                                 struct api_error *err) {
    struct text_job *job = job_create(m, JOB_CHAT, &r->generation, 1, options);
    if (!job)
        return api_nomem(err);
    job->logprobs = r->logprobs;
    job->tools = json_incref((json_t *)(uintptr_t)r->tools);
    enum quern_status status =
        prompt_build_chat(m, r, &job->prompts[0].ids, &job->prompts[0].n, err);
    for (size_t i = 0; !status && i < job->n_choices; i++)
        status = start_chat_choice(&job->choices[i], r, options, err);
    if (status)
        text_job_destroy(job);
    else
        *out = job;
    return status;
}

/* ---- completions -------------------------------------------------------------------- */

static enum quern_status echo_prompt(struct choice *c, const struct prompt_input *input,
                                     struct api_error *err) {
    if (input->text.ptr)
        return buffer_append_str(&c->content, input->text) ? api_nomem(err) : QUERN_OK;
    struct quern_error cause = {0};
    const struct prompt_tokens *prompt = &c->job->prompts[c->prompt];
    if (tokenizer_decode(c->job->model->model->tokenizer, prompt->ids, prompt->n, false,
                         &c->content, &cause))
        return api_fail_from(err, API_VALUE, "prompt", &cause);
    return QUERN_OK;
}

/* The first token follows nothing; the engine tells of the others. */
static enum quern_status echo_logprobs(struct choice *c, struct api_error *err) {
    const struct prompt_tokens *prompt = &c->job->prompts[c->prompt];
    const struct quern_event first = {.token = prompt->ids[0], .logprob = NAN};
    c->n_echoed = prompt->n - 1;
    return keep_logprob(c, &first) ? QUERN_OK : api_nomem(err);
}

enum quern_status completion_job_start(const struct served_model *m,
                                       const struct completion_request *r,
                                       const struct job_options *options, struct text_job **out,
                                       struct api_error *err) {
    struct text_job *job = job_create(m, JOB_COMPLETION, &r->generation, r->n_prompts, options);
    if (!job)
        return api_nomem(err);
    job->logprobs = r->logprobs;
    job->prompt_only = r->prompt_only;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < r->n_prompts; i++)
        status = prompt_build_text(m, &r->prompts[i], r->suffix, &job->prompts[i].ids,
                                   &job->prompts[i].n, err);
    for (size_t i = 0; !status && i < job->n_choices; i++) {
        struct choice *c = &job->choices[i];
        if (r->echo)
            status = echo_prompt(c, &r->prompts[c->prompt], err);
        if (!status && r->echo && r->logprobs)
            status = echo_logprobs(c, err);
        if (!status)
            status = submit(c, &r->generation, options, 0, NULL, err);
    }
    if (status)
        text_job_destroy(job);
    else
        *out = job;
    return status;
}
