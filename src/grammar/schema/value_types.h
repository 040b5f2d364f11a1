/* value_types.h - which types of value a schema may mean, as far as its words tell: for calls whose
 * parameters are written as bare text (Qwen3-Coder), where 3 is a number or a text by the schema
 * only. The grammar of such a call and its reader use the same answer. */
#ifndef QUERN_GRAMMAR_VALUE_TYPES_H
#define QUERN_GRAMMAR_VALUE_TYPES_H

#include "base/str.h"
#include "text/json.h"

enum value_type {
    VALUE_NULL = 1,
    VALUE_BOOLEAN = 2,
    VALUE_INTEGER = 4, /* written without fraction and exponent */
    VALUE_NUMBER = 8,  /* any number, integers too */
    VALUE_STRING = 16,
    VALUE_ARRAY = 32,
    VALUE_OBJECT = 64,
    VALUE_ANY = 127,
};

/* Types of the parameter `key` of a function whose "parameters" are this schema (NULL: unknown).
 * Never too few. */
unsigned value_types_of_parameter(const json_t *parameters, struct str key);

/* What a text is when it is read as JSON: one type (an integer is a number too), or 0 for what is
 * no JSON and for strings. */
unsigned value_type_of_text(struct str text);

#endif
