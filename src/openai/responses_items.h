/* responses_items.h - the items of /v1/responses: checked, brought to the form in which they are
 * kept and listed, and made messages of a chat. Thoughts, text and calls that follow one another are
 * one message of the assistant's. */
#ifndef QUERN_OPENAI_RESPONSES_ITEMS_H
#define QUERN_OPENAI_RESPONSES_ITEMS_H

#include "openai/response_store.h"

struct items_reader {
    struct response_store *store; /* for references to items; NULL: there are none */
    const char *owner;
    const char *hex;  /* what ids of items that have none are made of */
    json_t *messages; /* own array */
    json_t *kept;     /* own array: the items as they are listed */
    json_t *call_ids; /* own object, of the calls so far */
    json_t *open;     /* borrowed from messages: the assistant's message being put together */
    int open_stage;
};

enum quern_status items_reader_init(struct items_reader *r, struct response_store *store,
                                    const char *owner, const char *hex, struct api_error *err);
void items_reader_release(struct items_reader *r); /* zeroed is fine */

/* The messages alone, of items that are kept already. */
enum quern_status items_read_kept(struct items_reader *r, const json_t *items, struct api_error *err);
/* `input` as it stands in a request: a text, or an array of items. */
enum quern_status items_read_input(struct items_reader *r, const json_t *input,
                                   struct api_error *err);
/* A message in front of what is read next; it is not kept. */
enum quern_status items_add_instructions(struct items_reader *r, const char *text,
                                         struct api_error *err);

#endif
