/* jinja_string.h - Python's str methods on valid UTF-8. Offsets are bytes, lengths
 * and widths are characters. */
#ifndef QUERN_CHAT_JINJA_STRING_H
#define QUERN_CHAT_JINJA_STRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/str.h"

#define JSTRING_NONE SIZE_MAX

size_t jstring_char_bytes(char lead); /* 1 to 4, from a character's first byte */
size_t jstring_length(struct str s);
/* Byte offset of character `index`; the length of s beyond its end. */
size_t jstring_offset(struct str s, size_t index);
struct str jstring_slice(struct str s, size_t from, size_t to); /* bytes, from <= to <= len */

size_t jstring_find(struct str s, struct str sub, size_t from);
size_t jstring_rfind(struct str s, struct str sub);
size_t jstring_count(struct str s, struct str sub); /* without overlaps */

int32_t jstring_decode(struct str s, size_t *at);        /* moves *at past the character */
int32_t jstring_decode_before(struct str s, size_t *at); /* moves *at to its first byte */

bool jstring_is_space(int32_t code_point);     /* str.isspace() */
bool jstring_is_printable(int32_t code_point); /* str.isprintable() */
bool jstring_is_word(int32_t code_point);      /* the regular expression \w */
/* Strips whitespace, or any of the characters in *chars when chars is not NULL. */
struct str jstring_strip(struct str s, const struct str *chars, bool left, bool right);
/* The next line from *at, without its end; *end is set to where the line's text ends. */
struct str jstring_next_line(struct str s, size_t *at, size_t *end);

enum jcase { JCASE_UPPER, JCASE_LOWER, JCASE_TITLE, JCASE_CAPITALIZE, JCASE_SWAP, JCASE_FOLD };
void jstring_change_case(struct str s, enum jcase how, struct buffer *out);

enum jclass {
    JCLASS_ALPHA,
    JCLASS_DECIMAL,
    JCLASS_DIGIT,
    JCLASS_NUMERIC,
    JCLASS_ALNUM,
    JCLASS_SPACE,
    JCLASS_PRINTABLE,
    JCLASS_ASCII,
    JCLASS_UPPER,
    JCLASS_LOWER,
    JCLASS_TITLE,
    JCLASS_IDENTIFIER,
};
bool jstring_is(struct str s, enum jclass which); /* s.isalpha() and so on */

#endif
