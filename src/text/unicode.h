/* unicode.h - UTF-8, character properties and normal forms, as Hugging Face's `tokenizers`
 * sees them (see scripts/make_unicode_tables.py), whatever libraries a system has. */
#ifndef QUERN_TEXT_UNICODE_H
#define QUERN_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

/* Decodes the character at p (p < end). Returns its length in bytes and stores the code
 * point; at an invalid sequence stores -1 and returns the length of the maximal
 * invalid prefix (Unicode 3.9, "substitution of maximal subparts"), at least 1. */
int utf8_decode(const unsigned char *p, const unsigned char *end, int32_t *code_point);
/* Writes 1 to 4 bytes, returns how many; surrogates and values > 10FFFF become U+FFFD. */
int utf8_encode(int32_t code_point, char out[4]);
bool utf8_valid(struct str s);
size_t utf8_length(struct str s); /* code points; s must be valid */
/* Bytes at the end of `s` that may be the beginning of a character: 0 to 3. */
size_t utf8_incomplete_tail(struct str s);
/* Appends s with every invalid sequence replaced by U+FFFD. */
enum quern_status utf8_sanitize(struct str s, struct buffer *out);

/* General categories as the regular expressions \p{L}, \p{N}, \s of Rust's regex
 * and Oniguruma see them. Constant time. */
bool unicode_is_letter(int32_t code_point);
bool unicode_is_number(int32_t code_point);
bool unicode_is_space(int32_t code_point);
bool unicode_is_word(int32_t code_point); /* \w of Rust's regex */

enum unicode_form { UNICODE_NFC, UNICODE_NFKC, UNICODE_NFD, UNICODE_NFKD };
/* True when s is certainly unchanged by the form (a quick check; ASCII always). */
bool unicode_is_normalized_fast(struct str s, enum unicode_form form);
/* How many bytes at the start of valid UTF-8 the form leaves alone, whatever stands before
 * them: a whole number of characters. */
size_t unicode_stable_prefix(struct str s, enum unicode_form form);
/* Appends the normal form of valid UTF-8. */
enum quern_status unicode_normalize(struct str s, enum unicode_form form, struct buffer *out);

#endif
