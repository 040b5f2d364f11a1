/* ids_json.h - token ids as one JSON array: [9707, 11, 1879]. */
#ifndef QUERN_CLI_IDS_JSON_H
#define QUERN_CLI_IDS_JSON_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/* Ids are integers from 0 to INT32_MAX; anything else is an error that names `name` and the
 * place in the array. *ids is freed with free(), NULL when the array is empty. */
enum quern_status ids_json_parse(struct str json, const char *name, int32_t **ids, size_t *n_ids,
                                 struct quern_error *err);

/* Appends the array and a newline. */
enum quern_status ids_json_write(const int32_t *ids, size_t n_ids, struct buffer *out);

#endif
