/* server_core.h - what the endpoints share. An endpoint is a function of a call, entered in the
 * table of routes.c; those of one group stand in one file. */
#ifndef QUERN_SERVER_SERVER_CORE_H
#define QUERN_SERVER_SERVER_CORE_H

#include <stdatomic.h>

#include "openai/response_store.h"
#include "server/api_keys.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/model_registry.h"
#include "server/server.h"
#include "server/server_log.h"
#include "server/tool_gate.h"

struct server {
    const struct server_config *config;
    struct net_listener listener;
    struct http_server *http;
    struct model_registry models;
    struct model_metrics counted[REGISTRY_MODELS_MAX];
    struct metrics metrics;
    struct api_keys keys;
    struct server_log log;
    struct response_store responses;
    struct tool_gate gate;
    atomic_bool draining;
    uint64_t started_ns;
};

enum route_flags {
    ROUTE_PUBLIC = 1, /* needs no key */
    ROUTE_WORK = 2,   /* refused while the server drains */
    ROUTE_OWN_PAGE = 4, /* of pages only the server's own may, whatever --cors-origin says */
};

struct route {
    const char *method, *path;
    void (*handle)(struct server *s, struct http_call *call);
    unsigned flags;
};

/* The route of a request; NULL: *known_path tells whether the path has one with another method. */
const struct route *route_find(const char *method, const char *path, bool *known_path);

/* ---- for endpoints ------------------------------------------------------------- */

/* The body as a JSON object. */
enum quern_status call_read_json(struct http_call *call, json_t **root, struct api_error *err);
/* The model that `root` names, kept until model_registry_release. */
enum quern_status call_model(struct server *s, struct http_call *call, const json_t *root,
                             struct model_entry **out, struct api_error *err);
struct api_context call_context(struct server *s, const struct model_entry *entry);
void call_answer_json(struct http_call *call, struct buffer *body);
struct job_options call_job_options(struct server *s, struct http_call *call);

/* Waits until the job is done. False: the client has gone, or `err` is filled (then *failed). */
bool call_wait_for_job(struct http_call *call, struct text_job *job, bool *failed,
                       struct api_error *err);
/* Waits, then answers with what `write` makes of the job, or with an error. Takes over `job`. */
void call_answer_job(struct server *s, struct http_call *call, const struct model_entry *entry,
                     struct text_job *job,
                     void (*write)(void *state, struct text_job *job, struct buffer *body), void *state);
/* Waits for one ticket the same way and gives its result. */
bool call_wait_for_ticket(struct http_call *call, quern_ticket *ticket,
                          struct quern_request_result *result, bool *failed, struct api_error *err);
/* Counts and notes what a job used. */
void call_job_ended(struct server *s, struct http_call *call, const struct model_entry *entry,
                    const struct text_job *job);

/* generation_stream.c: a job answered by server-sent events, in one of the dialects. Takes over
 * `job` and the use of `entry`. */
struct stream_dialect {
    /* Appends the events for what is new. */
    void (*write_news)(void *state, struct text_job *job, struct buffer *out);
    /* The job is done. */
    void (*write_end)(void *state, struct text_job *job, struct buffer *out);
    void (*write_error)(void *state, const struct api_error *err, struct buffer *out);
    void (*destroy)(void *state);
};
void call_answer_job_stream(struct server *s, struct http_call *call, struct model_entry *entry,
                            struct text_job *job, const struct stream_dialect *dialect,
                            void *state);

/* ---- the endpoints ---------------------------------------------------------------- */

void endpoint_chat_completions(struct server *s, struct http_call *call);
void endpoint_apply_template(struct server *s, struct http_call *call);
void endpoint_completions(struct server *s, struct http_call *call);
void endpoint_infill(struct server *s, struct http_call *call);
void endpoint_embeddings(struct server *s, struct http_call *call);
void endpoint_rerank(struct server *s, struct http_call *call);
void endpoint_models(struct server *s, struct http_call *call);
void endpoint_model(struct server *s, struct http_call *call);
void endpoint_tokenize(struct server *s, struct http_call *call);
void endpoint_detokenize(struct server *s, struct http_call *call);
void endpoint_messages(struct server *s, struct http_call *call);
void endpoint_count_tokens(struct server *s, struct http_call *call);
void endpoint_responses(struct server *s, struct http_call *call);
void endpoint_response_get(struct server *s, struct http_call *call);
void endpoint_response_post(struct server *s, struct http_call *call);
void endpoint_response_delete(struct server *s, struct http_call *call);
void endpoint_input_tokens(struct server *s, struct http_call *call);
void endpoint_health(struct server *s, struct http_call *call);
void endpoint_ready(struct server *s, struct http_call *call);
void endpoint_metrics(struct server *s, struct http_call *call);
void endpoint_docs(struct server *s, struct http_call *call);
void endpoint_openapi(struct server *s, struct http_call *call);
void endpoint_tools(struct server *s, struct http_call *call);
void endpoint_tool_call(struct server *s, struct http_call *call);
void endpoint_preflight(struct server *s, struct http_call *call);
void endpoint_page(struct server *s, struct http_call *call);
void endpoint_page_file(struct server *s, struct http_call *call);

#endif
