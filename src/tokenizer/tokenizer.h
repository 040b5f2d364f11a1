/* tokenizer.h - byte-level BPE as in Hugging Face's tokenizer.json: Qwen2/2.5/3, GPT-2,
 * Llama 3. Immutable after loading: any number of threads may use one tokenizer. */
#ifndef QUERN_TOKENIZER_TOKENIZER_H
#define QUERN_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

struct tokenizer;

enum { TOKENIZER_NONE = -1 };

struct token_ids {
    int32_t *ids; /* malloc'ed */
    size_t n, capacity;
};
void token_ids_release(struct token_ids *t); /* zeroed is fine */

/* Reads dir/tokenizer.json. */
enum quern_status tokenizer_open(const char *dir, struct tokenizer **out, struct quern_error *err);
enum quern_status tokenizer_parse(struct str json, const char *name, struct tokenizer **out,
                                  struct quern_error *err);
void tokenizer_close(struct tokenizer *t); /* NULL is fine */

int32_t tokenizer_n_tokens(const struct tokenizer *t); /* largest id + 1 */
/* The bytes a token stands for (an added token: its spelling); len 0 for an unused id. */
struct str tokenizer_token_bytes(const struct tokenizer *t, int32_t id);
/* The ids below tokenizer_n_tokens that no token has, rising; malloc'ed, NULL when there are none. */
enum quern_status tokenizer_gaps(const struct tokenizer *t, int32_t **ids, size_t *n,
                                 struct quern_error *err);
/* The id of an added token by its spelling, or TOKENIZER_NONE. */
int32_t tokenizer_added_id(const struct tokenizer *t, struct str spelling);
bool tokenizer_is_added(const struct tokenizer *t, int32_t id);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

struct encode_options {
    bool parse_special; /* spellings of added tokens become their ids */
    bool add_special;   /* the post-processor's additions, e.g. BOS */
};

/* Appends the ids of `text` to *out. Time is linear in len (n log n at worst). Invalid
 * UTF-8 becomes U+FFFD first. */
enum quern_status tokenizer_encode(const struct tokenizer *t, struct str text,
                                   struct encode_options options, struct token_ids *out,
                                   struct quern_error *err);

/* Appends the text of `ids`, invalid UTF-8 replaced by U+FFFD. An id out of range is an error. */
enum quern_status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n,
                                   bool skip_special, struct buffer *out, struct quern_error *err);

/* Decoding a token at a time: bytes are held back until they are a whole character. */
struct token_stream {
    const struct tokenizer *tokenizer;
    bool skip_special;
    unsigned char pending[4];
    size_t n_pending;
};
void token_stream_init(struct token_stream *s, const struct tokenizer *t, bool skip_special);
/* Appends the text that became certain with `id`. */
enum quern_status token_stream_push(struct token_stream *s, int32_t id, struct buffer *out);
/* Appends U+FFFD for what is still pending. */
enum quern_status token_stream_finish(struct token_stream *s, struct buffer *out);

#endif
