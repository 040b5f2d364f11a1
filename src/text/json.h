/* json.h - JSON values (jansson's json_t) with our limits and our error messages.
 * For files of many megabytes that are read once, see json_reader.h. */
#ifndef QUERN_TEXT_JSON_H
#define QUERN_TEXT_JSON_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

enum {
    JSON_DEPTH_MAX = 64,        /* of parsed texts */
    JSON_WRITE_DEPTH_MAX = 256, /* of values made by the program */
};

/* Parses a whole text. Duplicate keys, nesting beyond JSON_DEPTH_MAX, bytes after
 * the value, invalid UTF-8, NaN and Infinity are errors. `name` (a file, "messages", ...)
 * starts the message, which gives line and column. *out is freed by json_decref. */
enum quern_status json_parse(const char *text, size_t len, const char *name, json_t **out,
                             struct quern_error *err);
/* A whole file, read as os_read_file and os_read_regular do. */
enum quern_status json_load_path(const char *path, size_t max_bytes, json_t **out,
                                 struct quern_error *err);
enum quern_status json_load_regular(const char *path, size_t max_bytes, json_t **out,
                                    struct quern_error *err);

/* Typed members. A missing or null member gives the default; a wrong type or a
 * number out of [min, max] is an error that names `name`, the key, what was found
 * and what was expected. An integer may be written 1.0. */
enum quern_status json_get_int(const json_t *object, const char *name, const char *key, int64_t min,
                               int64_t max, int64_t default_value, int64_t *out,
                               struct quern_error *err);
enum quern_status json_get_float(const json_t *object, const char *name, const char *key, double min,
                                 double max, double default_value, double *out,
                                 struct quern_error *err);
enum quern_status json_get_bool(const json_t *object, const char *name, const char *key,
                                bool default_value, bool *out, struct quern_error *err);
/* *out is borrowed from the object; NULL default allowed. */
enum quern_status json_get_string(const json_t *object, const char *name, const char *key,
                                  const char *default_value, const char **out,
                                  struct quern_error *err);
/* *out is borrowed; NULL when missing or null. `type` is JSON_ARRAY or JSON_OBJECT. */
enum quern_status json_get_container(const json_t *object, const char *name, const char *key,
                                     json_type type, json_t **out, struct quern_error *err);
/* An error when `key` is missing or null; for required members. */
enum quern_status json_require(const json_t *object, const char *name, const char *key,
                               struct quern_error *err);

/* Writes `value` as Python's json.dumps(value, ensure_ascii=False) does: ", " and ": ",
 * key order kept, floats as repr() writes them. `indent` < 0: one line. Values nested beyond
 * JSON_WRITE_DEPTH_MAX fail the buffer with QUERN_ERR_LIMIT. */
enum quern_status json_write_python(const json_t *value, int indent, struct buffer *out);
/* One string with its quotes and escapes; non-ASCII characters as they are. */
void json_write_string(struct str s, struct buffer *out);
void json_write_escaped(struct str s, struct buffer *out); /* the same without the quotes */
/* The shortest text that reads back as `value`, in Python's spelling ("1e-05", "0.1", "1e+16", "inf",
 * "nan"). */
void json_format_float(double value, char out[40]);

const char *json_type_name(const json_t *value); /* "string", "integer", ... */

#endif
