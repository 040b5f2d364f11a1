/* pcre_splitter.h - the patterns of pre-tokenizers, run by PCRE2 as Oniguruma would run them. */
#ifndef QUERN_TOKENIZER_PCRE_SPLITTER_H
#define QUERN_TOKENIZER_PCRE_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/str.h"

struct pcre_splitter; /* immutable */

enum { PCRE_PATTERN_MAX = 1 << 16 };

/* Compiles `pattern` (Oniguruma's Ruby syntax, `literal`: to be found as it stands). Constructs
 * which the two engines read differently are refused. */
enum quern_status pcre_splitter_create(struct str pattern, bool literal, struct pcre_splitter **out,
                                       struct quern_error *err);
void pcre_splitter_destroy(struct pcre_splitter *s); /* NULL is fine */

/* What matching needs, for one thread. A zeroed one is ready. */
struct pcre_scratch {
    void *match_data, *match_context, *jit_stack;
};
void pcre_scratch_release(struct pcre_scratch *s);

struct pcre_match {
    size_t begin, end;
    bool found;
};

/* The first match in text[from..]. An error: the pattern gave up (match limit) or memory ran out.
 */
enum quern_status pcre_splitter_find(const struct pcre_splitter *s, struct pcre_scratch *scratch,
                                     struct str text, size_t from, struct pcre_match *out,
                                     struct quern_error *err);

/* Translates Oniguruma's syntax to PCRE2's; exposed for tests. */
enum quern_status pcre_translate(struct str pattern, struct buffer *out, struct quern_error *err);

#endif
