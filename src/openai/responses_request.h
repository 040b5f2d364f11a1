/* responses_request.h - /v1/responses: the request, turned into one for /v1/chat/completions, and
 * what of it is kept and repeated in the answer. */
#ifndef QUERN_OPENAI_RESPONSES_REQUEST_H
#define QUERN_OPENAI_RESPONSES_REQUEST_H

#include "openai/generation_params.h"
#include "openai/response_store.h"

/* What a request may refer to. */
struct responses_source {
    struct response_store *store; /* NULL: nothing is kept */
    const char *owner;            /* whose answers it may continue */
    size_t max_bytes;             /* of a conversation */
};

struct responses_request {
    char id[RESPONSE_ID_BYTES]; /* "resp_..." */
    json_t *chat;               /* own: what chat_request_parse takes */
    json_t *items;              /* own: what came in, as it is kept and listed */
    json_t *echo;               /* own: the members that the answer repeats */
    struct stored_turn *previous; /* to be given back to the store, or NULL */
    struct response_store *store;
    char owner[RESPONSE_ID_BYTES];
    bool keep, stream;
};

/* Nothing is borrowed from `root`. `counting`: only the prompt matters. On failure nothing is
 * held. */
enum quern_status responses_request_parse(const json_t *root, const struct responses_source *source,
                                          const struct api_context *context, bool counting,
                                          struct responses_request *out, struct api_error *err);
void responses_request_release(struct responses_request *r); /* zeroed is fine */

/* An error about the chat it was made into, in the words of this interface. */
void responses_rename_error(struct api_error *err);

#endif
