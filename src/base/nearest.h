/* nearest.h - what a misspelt word was meant to be, for "did you mean". */
#ifndef QUERN_BASE_NEAREST_H
#define QUERN_BASE_NEAREST_H

#include <stddef.h>

#include "base/str.h"

enum { NEAREST_WORD_MAX = 63 };

/* Insertions, deletions, substitutions and swaps of neighbours that lead from a to b. SIZE_MAX
 * when one is longer than NEAREST_WORD_MAX. */
size_t nearest_distance(struct str a, struct str b);

/* The name nearest to `word`, or NULL when none is near enough to be meant. An unfinished name
 * ("temper") counts as near. `name_at` gives NULL after the last. */
const char *nearest_name(struct str word, const char *(*name_at)(const void *names, size_t i),
                         const void *names);

#endif
