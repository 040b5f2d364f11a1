/* regex_parser.h - shared by regex_parse.c and regex_class.c. */
#ifndef QUERN_GRAMMAR_REGEX_PARSER_H
#define QUERN_GRAMMAR_REGEX_PARSER_H

#include "grammar/regex/regex_syntax.h"

enum { REGEX_PROPERTIES_MAX = 16 }; /* different ones: each costs a walk over all of Unicode */

struct regex_parser {
    struct rx_pool *pool;
    const unsigned char *text, *at, *end;
    unsigned flags;
    int nesting;
    struct {
        struct str name;
        struct cp_set set;
    } properties[REGEX_PROPERTIES_MAX];
    size_t n_properties;
    struct cp_folds folds; /* made when case is first ignored */
    struct quern_error *err;
};

/* Fills err with "regex: character N: " and the message. */
enum quern_status regex_refuse(struct regex_parser *p, const unsigned char *at,
                               enum quern_status code, const char *fmt, ...) PRINTF_LIKE(4, 5);
static inline bool regex_at(const struct regex_parser *p, const char *text) {
    size_t n = strlen(text);
    return (size_t)(p->end - p->at) >= n && memcmp(p->at, text, n) == 0;
}
static inline bool regex_take(struct regex_parser *p, const char *text) {
    if (!regex_at(p, text))
        return false;
    p->at += strlen(text);
    return true;
}
/* The next code point; the pattern was checked to be UTF-8. */
int32_t regex_next(struct regex_parser *p);

/* After a backslash: \d and its kind, \p{...}. *is_class is false and nothing is read when it
 * is another escape. */
enum quern_status regex_class_escape(struct regex_parser *p, struct cp_set *set, bool *is_class);
/* After a backslash: one character. `in_class`: \b is a backspace. */
enum quern_status regex_char_escape(struct regex_parser *p, bool in_class, int32_t *out);
/* After '['. */
enum quern_status regex_class(struct regex_parser *p, const struct rx_node **out);
/* Adds the other cases when case is ignored. */
void regex_fold(struct regex_parser *p, struct cp_set *set);

#endif
