#include "openai/value_job.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/loaded_model.h"
#include "openai/prompt_build.h"

/* Enough to keep the engine busy; the rest waits here and does not fill its queue. */
enum { IN_FLIGHT_MAX = 16 };

/* ---- life ----------------------------------------------------------------------- */

static struct value_job *job_create(const struct served_model *m, enum quern_request_kind kind,
                                    size_t n, const struct job_options *options) {
    struct value_job *job = calloc(1, sizeof *job);
    struct value_item *items = calloc(n, sizeof *items);
    if (!job || !items) {
        free(job);
        free(items);
        return NULL;
    }
    *job = (struct value_job){
        .kind = kind, .model = m, .options = *options, .items = items, .n_items = n};
    snprintf(job->salt, sizeof job->salt, "%s", options->cache_salt ? options->cache_salt : "");
    job->options.cache_salt = job->salt;
    return job;
}

void value_job_destroy(struct value_job *job) {
    if (!job)
        return;
    for (size_t i = 0; i < job->n_items; i++) {
        quern_ticket_destroy(job->items[i].ticket);
        free(job->items[i].ids);
        free(job->items[i].values);
    }
    free(job->items);
    free(job);
}

enum quern_status embedding_job_create(const struct served_model *m,
                                       const struct embedding_request *r,
                                       const struct job_options *options, struct value_job **out,
                                       struct api_error *err) {
    if (r->dimensions > m->info.hidden_size)
        return api_fail(err, API_VALUE, "dimensions",
                        "Invalid value for 'dimensions': %d is more than the model's %d.",
                        r->dimensions, m->info.hidden_size);
    struct value_job *job = job_create(m, QUERN_REQUEST_EMBED, r->n_inputs, options);
    if (!job)
        return api_nomem(err);
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < r->n_inputs; i++)
        status = prompt_build_text(m, &r->inputs[i], NULL, &job->items[i].ids, &job->items[i].n_ids,
                                   err);
    if (status)
        value_job_destroy(job);
    else
        *out = job;
    return status;
}

/* ---- Qwen3-Reranker's form ------------------------------------------------------ */

static const char rerank_begin[] =
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    "the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n"
    "<|im_start|>user\n";
static const char rerank_end[] = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
static const char rerank_instruction[] =
    "Given a web search query, retrieve relevant passages that answer the query";

/* The frame's markers are tokens; what a client sends is text, whatever it spells. */
static enum quern_status encode_document(const struct tokenizer *t, const struct rerank_request *r,
                                         const char *document, struct token_ids *ids,
                                         struct quern_error *err) {
    const struct encode_options frame = {.parse_special = true}, plain = {0};
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    buffer_printf(&body, "<Instruct>: %s\n<Query>: %s\n<Document>: %s",
                  r->instruction ? r->instruction : rerank_instruction, r->query, document);
    enum quern_status status = buffer_status(&body, "the document", err);
    if (!status)
        status = tokenizer_encode(t, str_from(rerank_begin), frame, ids, err);
    if (!status)
        status = tokenizer_encode(t, buffer_str(&body), plain, ids, err);
    if (!status)
        status = tokenizer_encode(t, str_from(rerank_end), frame, ids, err);
    buffer_release(&body);
    return status;
}

static int32_t single_token(const struct tokenizer *t, const char *word) {
    struct token_ids ids = {0};
    int32_t id = TOKENIZER_NONE;
    const struct encode_options plain = {0};
    if (tokenizer_encode(t, str_from(word), plain, &ids, NULL) == QUERN_OK && ids.n == 1)
        id = ids.ids[0];
    token_ids_release(&ids);
    return id;
}

static enum quern_status build_documents(struct value_job *job, const struct rerank_request *r,
                                         struct api_error *err) {
    const struct tokenizer *t = job->model->model->tokenizer;
    for (size_t i = 0; i < r->n_documents; i++) {
        struct token_ids ids = {0};
        struct quern_error cause = {0};
        enum quern_status status = encode_document(t, r, r->documents[i], &ids, &cause);
        job->items[i].ids = ids.ids;
        job->items[i].n_ids = ids.n;
        if (status)
            return api_fail_from(err, API_VALUE, "documents", &cause);
        status = prompt_check_room(job->model, ids.n, "documents", err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

enum quern_status rerank_job_create(const struct served_model *m, const struct rerank_request *r,
                                    const struct job_options *options, struct value_job **out,
                                    struct api_error *err) {
    int32_t yes = single_token(m->model->tokenizer, "yes");
    int32_t no = single_token(m->model->tokenizer, "no");
    if (yes < 0 || no < 0)
        return api_fail(err, API_UNSUPPORTED, "model",
                        "The model '%s' cannot rank: \"yes\" and \"no\" are not single tokens of "
                        "its vocabulary, as Qwen3-Reranker's form needs.",
                        m->name);
    struct value_job *job = job_create(m, QUERN_REQUEST_SCORE, r->n_documents, options);
    if (!job)
        return api_nomem(err);
    job->score_tokens[0] = yes;
    job->score_tokens[1] = no;
    enum quern_status status = build_documents(job, r, err);
    if (status)
        value_job_destroy(job);
    else
        *out = job;
    return status;
}

/* ---- running ----------------------------------------------------------------------- */

/* A full queue is an error only when nothing of this job is in it: else there will be room. */
static enum quern_status submit_next(struct value_job *job, bool *full, struct api_error *err) {
    struct value_item *item = &job->items[job->n_submitted];
    const bool is_score = job->kind == QUERN_REQUEST_SCORE;
    const struct quern_request request = {
        .kind = job->kind,
        .prompt = item->ids,
        .n_prompt = item->n_ids,
        .priority = job->options.priority,
        .deadline_ms = job->options.deadline_ms,
        .cache_salt = job->options.cache_salt,
        .adapters = job->model->adapters,
        .n_adapters = job->model->n_adapters,
        .score_tokens = is_score ? job->score_tokens : NULL,
        .n_score_tokens = is_score ? 2 : 0,
        .on_notify = job->options.on_notify,
        .user = job->options.user,
    };
    struct quern_error cause = {0};
    enum quern_status status =
        quern_engine_submit(job->model->engine, &request, &item->ticket, &cause);
    *full = status == QUERN_ERR_LIMIT && job->n_submitted > job->n_ended;
    if (*full)
        return QUERN_OK;
    if (status)
        return text_job_submit_failed(job->model, &cause, err);
    item->n_prompt = item->n_ids;
    free(item->ids);
    item->ids = NULL;
    job->n_submitted++;
    return QUERN_OK;
}

static enum quern_status take_result(struct value_job *job, struct value_item *item,
                                     struct api_error *err) {
    struct quern_request_result result;
    struct quern_error cause = {0};
    if (quern_ticket_result(item->ticket, &result, &cause))
        return api_fail_from(err, API_INTERNAL, NULL, &cause);
    if (result.status)
        return api_fail(err, API_INTERNAL, NULL, "The engine failed: %s", result.message);
    if (result.finish == QUERN_FINISH_DEADLINE)
        return api_fail(err, API_TIMEOUT, NULL, "The request's time was over.");
    if (!result.n_values)
        return api_fail(err, API_UNAVAILABLE, NULL, "The request was cancelled.");
    item->values = malloc(result.n_values * sizeof *item->values);
    if (!item->values)
        return api_nomem(err);
    memcpy(item->values, result.values, result.n_values * sizeof *item->values);
    item->n_values = result.n_values;
    quern_ticket_destroy(item->ticket);
    item->ticket = NULL;
    job->n_ended++;
    return QUERN_OK;
}

enum quern_status value_job_poll(struct value_job *job, struct api_error *err) {
    struct quern_event event;
    for (size_t i = 0; i < job->n_submitted; i++) {
        struct value_item *item = &job->items[i];
        if (!item->ticket || quern_ticket_next(item->ticket, &event) != QUERN_NEXT_END)
            continue;
        enum quern_status status = take_result(job, item, err);
        if (status)
            return status;
    }
    bool full = false;
    while (!full && job->n_submitted < job->n_items &&
           job->n_submitted - job->n_ended < IN_FLIGHT_MAX) {
        enum quern_status status = submit_next(job, &full, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

size_t value_job_prompt_tokens(const struct value_job *job) {
    size_t sum = 0;
    for (size_t i = 0; i < job->n_items; i++)
        sum += job->items[i].n_prompt;
    return sum;
}
