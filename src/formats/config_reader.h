/* config_reader.h - members of a JSON object read one after another, with one check at the
 * end: after the first failure every read does nothing and gives the default. Internal to formats.
 */
#ifndef QUERN_FORMATS_CONFIG_READER_H
#define QUERN_FORMATS_CONFIG_READER_H

#include "text/json.h"

struct config_reader {
    const json_t *object;
    const char *name; /* starts messages */
    struct quern_error *err;
    enum quern_status status;
};

/* Missing and null members give the default; see json.h for the errors. */
int32_t config_int(struct config_reader *r, const char *key, int32_t min, int32_t max,
                   int32_t default_value);
double config_float(struct config_reader *r, const char *key, double min, double max,
                    double default_value);
bool config_bool(struct config_reader *r, const char *key, bool default_value);
/* Borrowed from the object; may be NULL when the default is. */
const char *config_string(struct config_reader *r, const char *key, const char *default_value);
json_t *config_container(struct config_reader *r, const char *key, json_type type);
/* Present and not null. */
bool config_has(const struct config_reader *r, const char *key);

/* Token ids: an integer, a list of them, or nothing. Ids outside [0, vocab_size) are dropped,
 * since they never occur; a list that is too long is an error. *n is untouched when the
 * member is absent. */
void config_token_ids(struct config_reader *r, const char *key, int32_t vocab_size, int32_t *ids,
                      int32_t max, int32_t *n);
/* A single id, or -1 when absent or outside the vocabulary. */
int32_t config_token_id(struct config_reader *r, const char *key, int32_t vocab_size,
                        int32_t default_value);

/* Records a failure ("NAME: ..."), unless there is one already. */
void config_fail(struct config_reader *r, enum quern_status code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* `text` for a message: cut to fit, only characters that print. Returns out. */
const char *config_printable(const char *text, char out[64]);

#endif
