/* api_keys.h - who may use the server: keys from a file, compared in constant time. */
#ifndef QUERN_SERVER_API_KEYS_H
#define QUERN_SERVER_API_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

enum { API_KEY_BYTES = 256, API_KEY_NAME_BYTES = 64 };

struct api_key {
    char name[API_KEY_NAME_BYTES]; /* for the log; never the key */
    char key[API_KEY_BYTES];       /* zero-padded */
};

struct api_keys {
    struct api_key *keys; /* [n] */
    size_t n;             /* 0: everybody may */
};

/* A line: KEY, or NAME and KEY with blanks between; "#" begins a comment. */
enum quern_status api_keys_load(struct api_keys *k, const char *path, struct quern_error *err);
enum quern_status api_keys_parse(struct api_keys *k, struct str text, const char *name,
                                 struct quern_error *err);
void api_keys_release(struct api_keys *k); /* zeroed is fine */

/* The key that `given` is, or NULL. Takes the same time for every key of the same length, right or
 * wrong. */
const struct api_key *api_keys_find(const struct api_keys *k, struct str given);

#endif
