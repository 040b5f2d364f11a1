/* peft_patterns.h - which modules an adapter's configuration speaks of. Names and patterns are
 * those of peft: regular expressions of Python's. */
#ifndef QUERN_FORMATS_PEFT_PATTERNS_H
#define QUERN_FORMATS_PEFT_PATTERNS_H

#include "formats/peft_adapter.h"

/* Everything the config's patterns need, compiled; they are untrusted, so that matching is bounded.
 * The config is borrowed. */
struct peft_patterns;
enum quern_status peft_patterns_create(const struct peft_config *config, struct peft_patterns **out,
                                       struct quern_error *err);
void peft_patterns_destroy(struct peft_patterns *p); /* NULL is fine */

/* Whether the module is a target. QUERN_ERR_LIMIT: a pattern takes too long. */
enum quern_status peft_patterns_is_target(struct peft_patterns *p, const char *module, bool *out,
                                          struct quern_error *err);
/* Rank and alpha of the module. */
enum quern_status peft_patterns_rank(struct peft_patterns *p, const char *module, size_t *out,
                                     struct quern_error *err);
enum quern_status peft_patterns_alpha(struct peft_patterns *p, const char *module, double *out,
                                      struct quern_error *err);

#endif
