/* messages.h - a conversation as the JSON array of messages that chat templates take. */
#ifndef QUERN_CLI_MESSAGES_H
#define QUERN_CLI_MESSAGES_H

#include "base/error.h"
#include "base/str.h"
#include "text/json.h"

/* Appends {role, reasoning_content, content}; invalid UTF-8 becomes U+FFFD. `reasoning` empty:
 * no such member. False: out of memory. */
bool messages_add(json_t *messages, const char *role, struct str content, struct str reasoning);

/* The role of message i, "" when there is none. */
const char *messages_role(const json_t *messages, size_t i);

/* Index of the last message of this role, or -1. */
long messages_last(const json_t *messages, const char *role);

/* Drops messages from the end so that n remain. */
void messages_truncate(json_t *messages, size_t n);

/* A file of messages, either the array itself or an object with a member "messages". Roles and
 * contents are checked. */
enum quern_status messages_load(const char *path, json_t **out, struct quern_error *err);
enum quern_status messages_save(const json_t *messages, const char *path, struct quern_error *err);

/* Renders with the model's template, generation prompt included, and encodes. `tools_json`: OpenAI's
 * array, or NULL. *ids is freed with quern_free(). */
enum quern_status messages_encode(const quern_model *model, const json_t *messages,
                                  const char *tools_json, int enable_thinking, int32_t **ids, size_t *n_ids,
                                  struct quern_error *err);

#endif
