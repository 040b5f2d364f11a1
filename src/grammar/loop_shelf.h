/* loop_shelf.h - the loop masks that the grammars of a token image share, the least used ones
 * dropped. Any number of threads. */
#ifndef QUERN_GRAMMAR_LOOP_SHELF_H
#define QUERN_GRAMMAR_LOOP_SHELF_H

#include "grammar/loop_mask.h"

enum { LOOP_SHELF_BYTES = 48 << 20, LOOP_SHELF_ENTRIES = 64, LOOP_KEY_WORDS = 1024 };

/* An expression written out: equal keys are equal expressions, in whichever store. */
struct loop_key {
    uint32_t words[LOOP_KEY_WORDS];
    size_t n;
};

/* False: too large for a key. */
bool loop_key_write(const struct regex_store *s, expr_id x, struct loop_key *out);

/* A reference more, or NULL. */
struct loop_mask *loop_shelf_take(struct loop_shelf *shelf, const struct loop_key *key);
/* Remembers `l`, unless there is no memory. */
void loop_shelf_put(struct loop_shelf *shelf, const struct loop_key *key, struct loop_mask *l);
/* A reference less; true when it was the last one. */
bool loop_shelf_drop(struct loop_shelf *shelf, struct loop_mask *l);
void loop_mask_destroy(struct loop_mask *l);

#endif
