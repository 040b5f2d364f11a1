/* gguf_tokenizer.h - a GGUF file's tokenizer as the text of the tokenizer.json it was made from,
 * and its chat template. The text is written in memory and read like any other: one reader, one
 * set of checks, and what the tests prove of tokenizer.json holds here too. */
#ifndef QUERN_FORMATS_GGUF_TOKENIZER_H
#define QUERN_FORMATS_GGUF_TOKENIZER_H

#include "base/buffer.h"
#include "formats/gguf.h"

/* tokenizer.ggml.model gpt2, with a known tokenizer.ggml.pre: others are refused by name. What the
 * file does not say is as Hugging Face's tokenizers of that kind have it: the normal form (NFC for
 * Qwen), whether whole words skip the merges (Llama 3). Control tokens become special added
 * tokens, user-defined ones plain added tokens; unused ones are left out. */
enum quern_status gguf_tokenizer_json(const struct gguf *g, struct buffer *out,
                                      struct quern_error *err);

/* False: the file has none. */
bool gguf_chat_template(const struct gguf *g, struct str *out);
/* The spelling of the token that the value `key` ("tokenizer.ggml.bos_token_id") names. */
bool gguf_special_token(const struct gguf *g, const char *key, struct str *out);

/* Ids at which generation ends: end of sequence, of turn and of message, and the control tokens
 * that are known to end a turn or a text under their name, as llama.cpp does. Returns how many. */
size_t gguf_end_ids(const struct gguf *g, int32_t *ids, size_t max);

#endif
