/* matcher.h - where a text stands in a grammar. */
#ifndef QUERN_GRAMMAR_MATCHER_H
#define QUERN_GRAMMAR_MATCHER_H

#include "base/buffer.h"
#include "grammar/grammar.h"
#include "grammar/token_image.h"
#include "sampler/constraint.h"

/* All that changes: copying it forks, storing it back rolls back. Valid as long as the
 * grammar. */
struct matcher_state {
    uint32_t set;
    uint32_t ended; /* an end token was accepted */
    uint64_t n_bytes;
};
_Static_assert(sizeof(struct matcher_state) == 16, "small enough to keep one a token");

struct matcher {
    struct grammar *grammar;         /* borrowed */
    const struct token_image *image; /* borrowed; NULL when only bytes are matched */
    const int32_t *end_tokens;       /* borrowed: allowed exactly when the text may end */
    size_t n_end_tokens;
    struct matcher_state state;
};

enum quern_status matcher_init(struct matcher *m, struct grammar *g,
                               const struct token_image *image, const int32_t *end_tokens,
                               size_t n_end_tokens, struct quern_error *err);

/* Refused bytes and tokens are QUERN_ERR_FORMAT, name where, and change nothing. *n_accepted
 * (may be NULL) tells how many bytes would have been fine. */
enum quern_status matcher_accept_bytes(struct matcher *m, struct str bytes, size_t *n_accepted,
                                       struct quern_error *err);
enum quern_status matcher_accept_token(struct matcher *m, int32_t token, struct quern_error *err);
/* The names of some terminals being read or awaited, for messages; size at least 32. */
void matcher_expected(const struct matcher *m, char *out, size_t size);
bool matcher_can_end(const struct matcher *m);

/* mask[(n_vocab + 31) / 32]: bit t for each token that may follow; all others are cleared, those
 * past the tokenizer's vocabulary too. A mask without any token is QUERN_ERR_STATE. */
enum quern_status matcher_mask(struct matcher *m, uint32_t *mask, int32_t n_vocab,
                               struct quern_error *err);

/* Appends the bytes that must follow, at most `max`. The state does not change. Nothing is
 * forced where the text may end or a token terminal may come. */
enum quern_status matcher_forced_bytes(struct matcher *m, size_t max, struct buffer *out,
                                       struct quern_error *err);

/* The tokens that must follow if the text is to be cut as the tokenizer cuts it, which is how models
 * know it (forced.h); at most `max`, how many. Another cut is in the mask as well. The state does not
 * change. */
size_t matcher_forced(struct matcher *m, int32_t *tokens, size_t max);

/* What the sampler sees. The matcher must outlive it. */
struct constraint matcher_constraint(struct matcher *m);

#endif
