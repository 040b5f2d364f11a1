/* loop_mask.h - masks of counted loops: x{min,max}, also spelled as JSON, where x is read like a
 * character (no text of x begins another). Where such a loop stands is told by the number of its
 * rounds, so that one walk over the trie answers for every min and max. The grammars of a token
 * image share them. */
#ifndef QUERN_GRAMMAR_LOOP_MASK_H
#define QUERN_GRAMMAR_LOOP_MASK_H

#include "grammar/grammar_engine.h"
#include "grammar/token_image.h"

/* A node the loop does not reach, though a round is complete before it. */
struct loop_rim {
    uint32_t node;
    uint32_t twin;   /* the first rim with the same tokens below it, perhaps itself */
    uint32_t rounds; /* before it */
};

#define LOOP_DEAD UINT16_MAX

struct loop_mask {
    uint16_t *rounds; /* of each node: rounds begun, times 2, plus 1 when complete; or dead */
    struct loop_rim *rims; /* by byte, then twin, then node */
    size_t n_rims, rims_capacity;
    uint32_t rims_of[257]; /* the first of each byte */
    uint64_t first[4];     /* bytes with which a round begins */
    uint32_t most;         /* rounds of any token */
    uint32_t **within;     /* [most + 1]: the tokens of at most so many rounds */
    size_t n_within;
    size_t references; /* under the lock of the image's loops */
    struct budget budget;
};

/* Such a loop, and what comes after it. */
struct loop_place {
    expr_id body;
    uint32_t json; /* 0: read as it is; otherwise 1 + the state of RE_JSON */
    uint32_t min, max;
    expr_id tail;
};

bool loop_parse(const struct regex_store *s, expr_id x, struct loop_place *out);
expr_id loop_expr(struct regex_store *s, const struct loop_place *p);

/* For the loop of `p` without bounds; `terminal` is any terminal. *out NULL: it is not read like a
 * character. Given back with loop_mask_release. False: g->b.re has failed. */
bool loop_mask_get(struct grammar *g, const struct token_image *m, symbol_id terminal,
                   const struct loop_place *p, struct loop_mask **out);
void loop_mask_release(const struct token_image *m, struct loop_mask *l); /* NULL is fine */

/* What an image holds. */
struct loop_shelf *loop_shelf_create(void);
void loop_shelf_destroy(struct loop_shelf *shelf);

#endif
