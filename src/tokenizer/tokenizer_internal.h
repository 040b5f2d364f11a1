/* tokenizer_internal.h - what a tokenizer is made of; for the files of this folder. */
#ifndef QUERN_TOKENIZER_TOKENIZER_INTERNAL_H
#define QUERN_TOKENIZER_TOKENIZER_INTERNAL_H

#include "base/arena.h"
#include "text/json_reader.h"
#include "text/unicode.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

enum { NORMALIZERS_MAX = 8 };

enum id_flag {
    ID_ADDED = 1,
    ID_SPECIAL = 2,
    ID_SKIPPED = 4, /* left out when special tokens are */
};

/* Text goes: added tokens out of the raw text; the normal forms; normalized added tokens out of
 * that; words; byte pairs; the post-processor's ids around it all. */
struct tokenizer {
    struct arena arena;
    struct added_token *added; /* [n_added] by ascending id */
    size_t n_added;
    const struct added_token **by_spelling; /* [n_added] */
    struct added_set raw_set, normalized_set;
    enum unicode_form forms[NORMALIZERS_MAX];
    int n_forms;
    struct pretokenizer pretokenizer;
    struct vocab vocab;
    struct bpe bpe;
    struct token_ids before, after; /* the post-processor's additions */
    uint8_t *id_flags;              /* [n_ids] */
    int32_t n_ids;
    bool has_decoder;
};

/* NULL when the id is no added token's. */
const struct added_token *tokenizer_added(const struct tokenizer *t, int32_t id);
/* Writes the normal form to *out unless the text has it already; *text becomes the result. */
enum quern_status tokenizer_normalize(const struct tokenizer *t, struct str *text,
                                      struct buffer out[2], struct quern_error *err);

/* ---- parts of tokenizer.json, each the text of a valid JSON value ------------------ */

enum quern_status load_normalizer(struct tokenizer *t, struct str json, struct quern_error *err);
enum quern_status load_pretokenizer(struct tokenizer *t, struct str json, struct quern_error *err);
enum quern_status load_post_processor(struct tokenizer *t, struct str json,
                                      struct quern_error *err);
enum quern_status load_decoder(struct tokenizer *t, struct str json, struct quern_error *err);
/* After the vocabulary and the normalizer. */
enum quern_status load_added_tokens(struct tokenizer *t, struct str json, struct quern_error *err);
/* Reads the object which the reader has just entered. Errors of syntax are left in the reader:
 * then *syntax is set and *err untouched. */
enum quern_status load_model(struct tokenizer *t, struct json_reader *r, bool *syntax,
                             struct quern_error *err);

#endif
