/* value_job.h - requests answered with numbers: embeddings of texts, scores of documents. Many
 * inputs are given to the engine a few at a time. Neither HTTP nor JSON; one thread at a time. */
#ifndef QUERN_OPENAI_VALUE_JOB_H
#define QUERN_OPENAI_VALUE_JOB_H

#include "openai/served_model.h"
#include "openai/text_job.h"
#include "openai/text_requests.h"

struct value_item {
    int32_t *ids; /* own; freed once submitted */
    size_t n_ids, n_prompt;
    quern_ticket *ticket; /* until it ended */
    float *values;        /* [n_values] own */
    size_t n_values;
};

struct value_job {
    enum quern_request_kind kind;
    const struct served_model *model;
    struct job_options options;
    char salt[32];
    int32_t score_tokens[2];
    struct value_item *items; /* [n_items] */
    size_t n_items, n_submitted, n_ended;
};

/* Encodes every input; nothing is submitted yet. */
enum quern_status embedding_job_create(const struct served_model *m,
                                       const struct embedding_request *r,
                                       const struct job_options *options, struct value_job **out,
                                       struct api_error *err);
/* Each document in Qwen3-Reranker's form; the values are the logits of "yes" and "no". */
enum quern_status rerank_job_create(const struct served_model *m, const struct rerank_request *r,
                                    const struct job_options *options, struct value_job **out,
                                    struct api_error *err);
void value_job_destroy(struct value_job *job); /* NULL is fine; cancels what runs */

/* Submits what there is room for, takes what has ended. Never waits. */
enum quern_status value_job_poll(struct value_job *job, struct api_error *err);
static inline bool value_job_is_done(const struct value_job *job) {
    return job->n_ended == job->n_items;
}
size_t value_job_prompt_tokens(const struct value_job *job);

/* value_writer.c: the answers, of jobs that are done. */
enum quern_status embedding_write_response(const struct value_job *job,
                                           const struct embedding_request *r, struct buffer *out,
                                           struct api_error *err);
enum quern_status rerank_write_response(const struct value_job *job, const struct rerank_request *r,
                                        struct buffer *out, struct api_error *err);

#endif
