/* fields.h - the members of a request as a table: name, type, range, place in a struct. One table
 * is what a request may hold: whatever is not in it is refused, as OpenAI does, or passed over. */
#ifndef QUERN_OPENAI_FIELDS_H
#define QUERN_OPENAI_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "openai/api_error.h"
#include "text/json.h"

enum field_kind {
    FIELD_END,
    FIELD_FLOAT,  /* float */
    FIELD_INT,    /* int32_t */
    FIELD_INT64,  /* int64_t */
    FIELD_BOOL,   /* bool */
    FIELD_STRING, /* const char *, borrowed from the JSON value; no U+0000 inside */
    FIELD_ARRAY,  /* const json_t *, borrowed */
    FIELD_OBJECT, /* const json_t *, borrowed */
    FIELD_ANY,    /* const json_t *, borrowed */
    FIELD_IGNORE, /* OpenAI has it, it changes nothing here */
};

struct field_spec {
    enum field_kind kind;
    const char *name;
    size_t offset;
    double min, max; /* of numbers, inclusive */
};

#define FIELD_NUMBER(kind, name, type, member, lo, hi) \
    { kind, name, offsetof(type, member), lo, hi }
#define FIELD_OF(kind, name, type, member) \
    { kind, name, offsetof(type, member), 0, 0 }
#define FIELD_IGNORED(name) \
    { FIELD_IGNORE, name, 0, 0, 0 }
#define FIELD_LAST \
    { FIELD_END, NULL, 0, 0, 0 }

/* Stores the members of `object` in *out; absent ones and nulls leave it as it is. `path` stands
 * before the names in errors ("messages[2]."; "" at the top). NaN cannot come: JSON has none. */
enum quern_status fields_read(const json_t *object, const char *path,
                              const struct field_spec *specs, bool ignore_unknown, void *out,
                              struct api_error *err);

/* Text without U+0000, which C strings cannot hold. */
enum quern_status fields_string(const json_t *value, const char *param, const char **out,
                                struct api_error *err);

#endif
