/* response_store.h - answers of /v1/responses kept for GET and for previous_response_id: in memory,
 * bounded in number and bytes, the oldest dropped first. Any thread may call.
 *
 * A turn is what one answer adds to its conversation: the items that came in, then those that went
 * out. Turns point to the turn before and are counted, so that a conversation can be continued
 * after the answers farther up were dropped or deleted. */
#ifndef QUERN_OPENAI_RESPONSE_STORE_H
#define QUERN_OPENAI_RESPONSE_STORE_H

#include "base/sync.h"
#include "openai/api_error.h"
#include "text/json.h"

enum { RESPONSE_ID_BYTES = 32, RESPONSE_HEX = 24 };

struct stored_response;

struct stored_turn {
    struct stored_turn *parent; /* NULL: the conversation begins here */
    size_t refs;
    char *items; /* own; JSON values with commas between */
    size_t items_len, input_len; /* the first input_len bytes came in */
    size_t chain_bytes;          /* with all turns above */
};

struct response_store {
    struct mutex lock;
    size_t max_entries, max_bytes;
    size_t n, bytes; /* bytes: of answers and turns, also of turns nobody finds any more */
    struct stored_response *oldest, *newest;
    struct stored_response **buckets; /* [n_buckets], a power of two */
    size_t n_buckets;
};

/* max_entries 0: nothing is kept. */
enum quern_status response_store_init(struct response_store *s, size_t max_entries, size_t max_bytes,
                                      struct quern_error *err);
void response_store_release(struct response_store *s); /* zeroed is fine */

/* What there is to keep; all borrowed, `owner` tells who may see it ("": everybody). */
struct response_to_store {
    const char *id; /* "resp_" and RESPONSE_HEX hexadecimal digits */
    const char *owner;
    struct stored_turn *parent; /* or NULL */
    struct str answer;          /* the JSON of the answer */
    struct str input, output;   /* items with commas between */
};
/* False: there was no memory for it, or no room even when all others were dropped. */
bool response_store_put(struct response_store *s, const struct response_to_store *what);

/* In all of these an id that is unknown, dropped, deleted or another owner's is API_NOT_FOUND; or
 * API_NO_PREVIOUS, where `param` tells who named it. */

/* The turn of an answer, to be released, and its items and those before as an array, the caller's.
 * More than max_bytes of them are refused. */
enum quern_status response_store_context(struct response_store *s, const char *id, const char *owner,
                                         size_t max_bytes, const char *param,
                                         struct stored_turn **turn, json_t **items,
                                         struct api_error *err);
void response_store_drop_turn(struct response_store *s, struct stored_turn *turn); /* NULL is fine */
/* Appends the answer. */
enum quern_status response_store_get(struct response_store *s, const char *id, const char *owner,
                                     struct buffer *out, struct api_error *err);
/* What the answer was made from, as an array, the caller's. */
enum quern_status response_store_input(struct response_store *s, const char *id, const char *owner,
                                       json_t **items, struct api_error *err);
/* The item of this id, by which it names its answer; the caller's. */
enum quern_status response_store_item(struct response_store *s, const char *item_id,
                                      const char *owner, const char *param, json_t **item,
                                      struct api_error *err);
enum quern_status response_store_delete(struct response_store *s, const char *id, const char *owner,
                                        struct api_error *err);

#endif
