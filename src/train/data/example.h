/* example.h - a record of training data as token ids, and which of them are trained. */
#ifndef QUERN_TRAIN_EXAMPLE_H
#define QUERN_TRAIN_EXAMPLE_H

#include "chat/chat_template.h"
#include "tokenizer/tokenizer.h"

/* What becomes of a turn's thinking. */
enum example_thinking {
    EXAMPLE_THINK_MASK_EMPTY, /* an empty block is prompt, thoughts are trained */
    EXAMPLE_THINK_KEEP,       /* as the template writes it, all trained */
    EXAMPLE_THINK_DROP,       /* thoughts are taken out of the record; an empty block is prompt */
};

struct example_options {
    enum example_thinking thinking;
    bool last_turns; /* train the answers after the last user's message alone */
    bool raw;        /* see example_form_read */
    size_t max_length; /* longer examples lose their end; 0: no limit */
};

/* How records become examples; any number of threads may use one. */
struct example_maker {
    const struct tokenizer *tokenizer; /* borrowed, as is chat */
    const struct chat_template *chat;  /* NULL: texts only */
    struct example_options options;
    int32_t end_of_text; /* ends a plain text; TOKENIZER_NONE: nothing does */
    struct buffer headers[3]; /* what opens an answer: thinking undefined, off, on */
};

struct example {
    struct token_ids tokens;
    struct buffer trained; /* [tokens.n] 1 where the model is to say this token */
    size_t n_trained;
    size_t n_thoughtless; /* answers not trained, as the template leaves their thoughts out */
    bool was_cut;         /* to max_length */
};

enum quern_status example_maker_init(struct example_maker *m, const struct tokenizer *tokenizer,
                                     const struct chat_template *chat,
                                     const struct example_options *options,
                                     struct quern_error *err);
void example_maker_release(struct example_maker *m); /* zeroed is fine */

void example_init(struct example *e);
void example_release(struct example *e);
/* Overwrites *out. What follows the last trained token is left out, unless none is: then n_trained is
 * 0, and the example whole. */
enum quern_status example_make(const struct example_maker *m, const json_t *record,
                               struct example *out, struct quern_error *err);
/* The text of an example, for a terminal: trained tokens stand out, by colour or within "[[" "]]". */
enum quern_status example_show(const struct example *e, const struct tokenizer *tokenizer,
                               bool colour, size_t max_tokens, struct buffer *out,
                               struct quern_error *err);

#endif
