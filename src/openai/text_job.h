/* text_job.h - one request that generates text, from its prompts to its answers: several tickets of
 * the engine, read without waiting, their tokens sorted into thinking, content and calls. Knows
 * neither HTTP nor how an answer is spelled; the writers do (openai_writer.h). One thread at a
 * time. */
#ifndef QUERN_OPENAI_TEXT_JOB_H
#define QUERN_OPENAI_TEXT_JOB_H

#include "openai/answer_parts.h"
#include "openai/chat_request.h"
#include "openai/completion_request.h"
#include "openai/served_model.h"

struct job_tool_call {
    char id[40];
    char *name;      /* own */
    char *arguments; /* own; JSON, or the beginning of one while the call is being written */
    size_t arguments_len, arguments_capacity;
};

struct job_logprob {
    int32_t token;
    float logprob; /* NaN: there is none, the prompt begins here */
    size_t text_offset; /* characters of answer before it */
};

/* A run of one kind in a chat's answer; runs of the others lie between two of the same kind. */
struct choice_segment {
    enum answer_part part; /* PART_REASONING, PART_CONTENT or PART_TOOL_CALL */
    size_t begin;          /* of its bytes in `reasoning` or `content`; or which call it is */
    size_t logprobs_end;   /* of PART_CONTENT, once another segment has begun */
    bool whole;            /* a call that was not cut off */
};

/* One answer as far as it is known. */
struct choice {
    size_t index;  /* of all answers */
    size_t prompt; /* which prompt it continues */
    quern_ticket *ticket;
    struct text_job *job;
    struct answer_parts parts; /* of a chat */
    struct buffer reasoning, content;
    struct job_tool_call *calls; /* [n_begun], of which n_calls are whole: all when it has ended */
    size_t n_calls, n_begun;
    struct choice_segment *segments; /* [n_segments], in the order they came in */
    size_t n_segments;
    struct job_logprob *logprobs;   /* [n_logprobs] of the content's tokens */
    struct quern_top_logprob *tops; /* [n_logprobs, job->n_top]; unused ones have token -1 */
    size_t n_logprobs, logprobs_capacity;
    size_t n_chars; /* of the tokens so far, for text_offset */
    size_t n_echoed; /* tokens of the prompt whose log-probabilities are still to come */
    bool ended;
    struct quern_request_result result; /* once ended */
    /* Where a streaming writer is: how much of the above has been sent. */
    size_t sent_reasoning, sent_content, sent_calls, sent_logprobs;
    size_t sent_arguments; /* bytes of the last of the sent calls */
    bool sent_first, sent_last;
};

enum job_kind { JOB_CHAT, JOB_COMPLETION };

struct text_job {
    enum job_kind kind;
    const struct served_model *model;
    char id[48]; /* "chatcmpl-..." */
    int64_t created;
    bool logprobs, ignore_eos;
    bool prompt_only;       /* the answer's token is made for nobody */
    int32_t n_top;          /* top log-probabilities of each token */
    struct choice *choices; /* [n_choices] */
    size_t n_choices, n_ended;
    struct prompt_tokens {
        int32_t *ids;
        size_t n;
    } * prompts; /* [n_prompts] */
    size_t n_prompts;
    json_t *tools; /* own: the types of calls' parameters; NULL: none */
    bool no_memory;
};

/* How a job is run. */
struct job_options {
    const char *cache_salt; /* or NULL */
    int64_t deadline_ms;    /* 0: none */
    int32_t priority;
    int64_t created;               /* seconds since 1970 */
    void (*on_notify)(void *user); /* as in struct quern_request */
    void *user;
};

/* Renders, encodes and submits. What a request holds is copied as far as it is needed. */
enum quern_status chat_job_start(const struct served_model *m, const struct chat_request *r,
                                 const struct job_options *options, struct text_job **out,
                                 struct api_error *err);
enum quern_status completion_job_start(const struct served_model *m,
                                       const struct completion_request *r,
                                       const struct job_options *options, struct text_job **out,
                                       struct api_error *err);
/* Cancels what still runs. */
void text_job_destroy(struct text_job *job); /* NULL is fine */

/* Takes everything the tickets have. Never waits. An error of the engine's ends the job. */
enum quern_status text_job_poll(struct text_job *job, struct api_error *err);
static inline bool text_job_is_done(const struct text_job *job) {
    return job->n_ended == job->n_choices;
}
/* text_job_poll until text_job_is_done, for callers with nothing else to do. */
enum quern_status text_job_wait(struct text_job *job, struct api_error *err);

/* Sums over the choices: a prompt counts once, whatever n is. */
struct quern_usage text_job_usage(const struct text_job *job);

/* The answer to a request the engine did not take: 429 with a time to come back when its queue is
 * full. */
enum quern_status text_job_submit_failed(const struct served_model *m,
                                         const struct quern_error *cause, struct api_error *err);

/* The bytes of a segment so far: thoughts, content, or a call's arguments. */
struct str choice_segment_text(const struct choice *c, size_t segment);

/* "stop", "length", "tool_calls" */
const char *choice_finish_reason(const struct choice *c);

#endif
