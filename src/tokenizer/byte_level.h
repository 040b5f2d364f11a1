/* byte_level.h - GPT-2's alphabet: each of the 256 bytes has a printable character, and
 * tokenizer.json spells its tokens with them. */
#ifndef QUERN_TOKENIZER_BYTE_LEVEL_H
#define QUERN_TOKENIZER_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/str.h"

/* Writes the bytes that `spelling` (valid UTF-8) stands for to out[spelling.len] and their
 * number to *len. False when a character is outside the alphabet; out is then undefined. */
bool byte_level_decode(struct str spelling, unsigned char *out, size_t *len);

/* Appends the spelling of `bytes`; a failure is in *out. */
void byte_level_encode(struct str bytes, struct buffer *out);

#endif
