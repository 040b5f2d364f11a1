#include "engine/thinking.h"

#include <stdlib.h>

/* Word for word as in Qwen's own description of thinking budgets. */
static const char CLOSING[] = "\n\nConsidering the limited time by the user, I have to give the "
                              "solution based on the thinking directly now.\n</think>\n\n";

static bool prompt_ends_inside(const struct thinking *t, int32_t turn, const int32_t *prompt,
                               size_t n_prompt) {
    for (size_t i = n_prompt; i-- > 0;) {
        if (prompt[i] == t->open)
            return true;
        if (prompt[i] == t->close || (turn != TOKENIZER_NONE && prompt[i] == turn))
            return false;
    }
    return false;
}

enum quern_status thinking_init(struct thinking *t, const struct tokenizer *tokenizer,
                                const int32_t *prompt, size_t n_prompt, int32_t budget,
                                struct quern_error *err) {
    *t = (struct thinking){
        .open = tokenizer_added_id(tokenizer, str_from("<think>")),
        .close = tokenizer_added_id(tokenizer, str_from("</think>")),
    };
    if (t->open == TOKENIZER_NONE || t->close == TOKENIZER_NONE) {
        t->open = t->close = TOKENIZER_NONE;
        return QUERN_OK;
    }
    t->inside = prompt_ends_inside(t, tokenizer_added_id(tokenizer, str_from("<|im_start|>")),
                                   prompt, n_prompt);
    if (budget <= 0)
        return QUERN_OK;
    t->budget = (size_t)budget;
    return tokenizer_encode(tokenizer, str_from(CLOSING),
                            (struct encode_options){.parse_special = true}, &t->closing, err);
}

void thinking_release(struct thinking *t) {
    token_ids_release(&t->closing);
}

const int32_t *thinking_forced(struct thinking *t, bool mid_character, size_t *n) {
    if (!t->forcing && t->inside && t->budget && t->n_thought >= t->budget && !mid_character) {
        t->forcing = true;
        t->n_forced = 0;
    }
    *n = t->forcing ? t->closing.n - t->n_forced : 0;
    return *n ? t->closing.ids + t->n_forced : NULL;
}

void thinking_push(struct thinking *t, int32_t token) {
    /* Another one came where the answer would not end in time with all of the sentence. */
    if (t->forcing && (token != t->closing.ids[t->n_forced] || ++t->n_forced >= t->closing.n))
        t->forcing = false;
    if (token == TOKENIZER_NONE)
        return;
    if (token == t->open)
        t->inside = true;
    if (t->inside)
        t->n_thought++;
    if (token == t->close)
        t->inside = false;
}
