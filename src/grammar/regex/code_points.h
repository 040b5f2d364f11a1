/* code_points.h - sets of Unicode code points as sorted ranges: the character classes of the
 * grammar dialects. Surrogates are never members. */
#ifndef QUERN_GRAMMAR_CODE_POINTS_H
#define QUERN_GRAMMAR_CODE_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { CODE_POINT_MAX = 0x10FFFF };

struct cp_range {
    int32_t lo, hi; /* both inclusive */
};

/* A zeroed set is empty. Adding leaves it unsorted: cp_set_normalize before it is read. */
struct cp_set {
    struct cp_range *ranges;
    size_t n, capacity;
    bool failed; /* out of memory: the set is not what it should be */
};

void cp_set_release(struct cp_set *s);
void cp_set_add(struct cp_set *s, int32_t lo, int32_t hi); /* nothing when lo > hi */
void cp_set_add_set(struct cp_set *s, const struct cp_set *other);
/* Sorted, merged, without surrogates. */
void cp_set_normalize(struct cp_set *s);
/* Everything else (of a normalized set; the result is normalized). */
void cp_set_complement(struct cp_set *s);
bool cp_set_has(const struct cp_set *s, int32_t code_point); /* of a normalized set */

/* The general categories, Alphabetic-like classes and a few scripts by the names \p{...}
 * takes: L, Lu, letter, Nd, White_Space, ASCII, Any, Han, Script=Greek ... False: no such
 * name. */
bool cp_set_add_property(struct cp_set *s, struct str name);

/* Which characters differ only in case (simple, one to one; ASCII letters have only each other:
 * neither the Kelvin sign nor the long s). Made once, used for many sets. */
struct cp_pair {
    int32_t key, value;
};
struct cp_folds {
    struct cp_pair *to, *from; /* character -> its fold; fold -> the characters */
    size_t n;
};
bool cp_folds_init(struct cp_folds *f); /* false: out of memory */
void cp_folds_release(struct cp_folds *f);
/* Adds what differs from a member only in case; the result is normalized. */
void cp_set_fold_case(struct cp_set *s, const struct cp_folds *f);

#endif
