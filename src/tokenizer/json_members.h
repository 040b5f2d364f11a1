/* json_members.h - looking into small JSON values known to be valid, member by member. */
#ifndef QUERN_TOKENIZER_JSON_MEMBERS_H
#define QUERN_TOKENIZER_JSON_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

/* The kind of a value: '{', '[', '"', '0' (number), 't', 'f' or 'n'. */
char json_kind(struct str value);
const char *json_kind_name(char kind);

/* The text of the last member of that name. False: no object, or none. */
bool json_member(struct str object, const char *key, struct str *value);

/* Walks over an array's elements: *at starts at 0. False at the end. */
bool json_element(struct str array, size_t *at, struct str *value);

/* These fail, naming `where` and `key`, when the member is missing or of another kind. */
enum quern_status json_member_string(struct arena *arena, struct str object, const char *where,
                                     const char *key, struct str *out, struct quern_error *err);
enum quern_status json_member_bool(struct str object, const char *where, const char *key, bool *out,
                                   struct quern_error *err);
enum quern_status json_member_id(struct str object, const char *where, const char *key,
                                 uint32_t *out, struct quern_error *err);

/* A string's value; false when memory runs out or it is none. */
bool json_text_value(struct arena *arena, struct str value, struct str *out);
/* An unsigned number without fraction or exponent, at most INT32_MAX. */
bool json_id_value(struct str value, uint32_t *out);

#endif
