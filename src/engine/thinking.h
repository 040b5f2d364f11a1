/* thinking.h - follows an answer in and out of its <think> block, by ids, and ends a block that
 * exceeds its budget the way Qwen does: with a sentence put in the model's mouth. */
#ifndef QUERN_ENGINE_THINKING_H
#define QUERN_ENGINE_THINKING_H

#include "tokenizer/tokenizer.h"

struct thinking {
    int32_t open, close; /* <think>, </think>; TOKENIZER_NONE: the tokenizer has none */
    bool inside;
    size_t n_thought;         /* tokens of the answer up to and with </think>, <think> included */
    size_t budget;            /* of n_thought before the sentence; 0: none */
    struct token_ids closing; /* the sentence, </think> and an empty line */
    size_t n_forced;          /* of closing, so far */
    bool forcing;
};

/* Whether the answer begins inside a block is read off the prompt: the last of <think> and
 * </think> after the last <|im_start|>. */
enum quern_status thinking_init(struct thinking *t, const struct tokenizer *tokenizer,
                                const int32_t *prompt, size_t n_prompt, int32_t budget,
                                struct quern_error *err);
void thinking_release(struct thinking *t); /* zeroed is fine */

/* The tokens that must come next, whatever the model thinks; *n is 0 when it is free.
 * `mid_character`: the text so far ends inside a character, which may still be completed. */
const int32_t *thinking_forced(struct thinking *t, bool mid_character, size_t *n);

/* The token that came. */
void thinking_push(struct thinking *t, int32_t token);

#endif
