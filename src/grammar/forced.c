#include "grammar/forced.h"

#include <string.h>

#include "base/buffer.h"

/* Far more than a word: a token of what is cut here is safe unless it is within the last one. */
enum { LOOK_AHEAD = 96 };

/* The token terminals that may come next. */
struct awaited {
    int32_t token; /* FORCED_NONE: there is none */
    bool several;
};

static struct awaited awaited(const struct grammar *g, uint32_t set) {
    struct awaited out = {.token = FORCED_NONE};
    for (uint32_t i = 1; i < g->sets[set].n; i += 2) {
        const struct span s = g->lexers[g->pool.v[g->sets[set].start + i + 1]].pairs;
        for (uint32_t k = 0; k < s.n; k += 2) {
            const struct symbol *x = &g->b.symbols[g->pool.v[s.start + k]];
            if (x->kind != SYMBOL_TOKEN)
                continue;
            out.several |= out.token != FORCED_NONE && out.token != (int32_t)x->value;
            out.token = (int32_t)x->value;
        }
    }
    return out;
}

int forced_byte(struct grammar *g, uint32_t set) {
    int only = FORCED_NONE;
    if (set_can_end(g, set) || awaited(g, set).token != FORCED_NONE)
        return FORCED_NONE;
    for (unsigned c = 0; c < 256; c++) {
        const uint32_t next = set_step(g, set, c);
        if (next == GRAMMAR_NONE)
            return FORCED_FAILED;
        if (next == SET_DEAD)
            continue;
        if (only >= 0)
            return FORCED_NONE;
        only = (int)c;
    }
    return only;
}

/* ---- where a cut is sure -------------------------------------------------------------- */

struct text {
    unsigned char bytes[LOOK_AHEAD];
    size_t n;
    bool closed; /* no byte can follow */
};

/* No bytes lead on: the text ends here, or a token terminal comes. FORCED_FAILED when unknown. */
static int no_byte_follows(struct grammar *g, uint32_t set) {
    for (unsigned c = 0; c < 256; c++) {
        const uint32_t next = set_step(g, set, c);
        if (next == GRAMMAR_NONE)
            return FORCED_FAILED;
        if (next != SET_DEAD)
            return 0;
    }
    return 1;
}

static bool read_text(struct grammar *g, uint32_t set, struct text *out) {
    int c = FORCED_NONE;
    out->n = 0;
    while (out->n < LOOK_AHEAD && (c = forced_byte(g, set)) >= 0) {
        out->bytes[out->n++] = (unsigned char)c;
        if ((set = set_step(g, set, (unsigned)c)) == GRAMMAR_NONE)
            return false;
    }
    if (c == FORCED_FAILED)
        return false;
    const int none = out->n && out->n < LOOK_AHEAD ? no_byte_follows(g, set) : 0;
    out->closed = none == 1;
    return none != FORCED_FAILED;
}

enum byte_kind { KIND_LETTER, KIND_DIGIT, KIND_BLANK, KIND_SIGN, KIND_ANY };

static enum byte_kind kind_of(unsigned char c) {
    if (c >= 0x80)
        return KIND_ANY; /* half a character: a letter or a sign */
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        return KIND_LETTER;
    if (c >= '0' && c <= '9')
        return KIND_DIGIT;
    return c == ' ' || (c >= '\t' && c <= '\r') ? KIND_BLANK : KIND_SIGN;
}

/* Tokenizers cut a text into words first, by patterns like those of GPT-2 and Qwen2: letters with a
 * blank or a sign before them, digits, signs with a blank before and line breaks behind, blanks.
 * What follows may still belong to the last of them: the answer is where that one begins. */
static size_t last_word(const struct text *t) {
    size_t i = t->n;
    enum byte_kind kind = KIND_ANY;
    for (; i > 0; i--) {
        const enum byte_kind k = kind_of(t->bytes[i - 1]);
        if (k != KIND_ANY && kind != KIND_ANY && k != kind)
            break;
        kind = kind == KIND_ANY ? k : kind;
    }
    if (kind == KIND_BLANK) {
        const bool lines = i < t->n && (t->bytes[i] == '\n' || t->bytes[i] == '\r');
        while (lines && i > 0 && kind_of(t->bytes[i - 1]) >= KIND_SIGN)
            i--;
        return i;
    }
    const enum byte_kind before = i > 0 ? kind_of(t->bytes[i - 1]) : KIND_DIGIT;
    const bool signs_too = kind == KIND_LETTER || kind == KIND_ANY;
    return before == KIND_BLANK || (signs_too && before >= KIND_SIGN) ? i - 1 : i;
}

/* The first token of a text as it is cut by itself; FORCED_NONE when there is none, or when it spells
 * something else, as with a tokenizer that normalizes. */
static int32_t cut(const struct token_image *image, struct str text) {
    const struct encode_options options = {0};
    struct token_ids ids = {0};
    int32_t token = FORCED_NONE;
    if (tokenizer_encode(image->tokenizer, text, options, &ids, NULL) == QUERN_OK && ids.n) {
        const struct str bytes = tokenizer_token_bytes(image->tokenizer, ids.ids[0]);
        if (bytes.len && str_starts_with(text, bytes) &&
            !tokenizer_is_added(image->tokenizer, ids.ids[0]))
            token = ids.ids[0];
    }
    token_ids_release(&ids);
    return token;
}

/* A sign before letters is cut with them, but belongs to the signs before it where there are any. */
static bool depends_on_before(const struct text *t) {
    return t->n > 1 && kind_of(t->bytes[0]) >= KIND_SIGN &&
           (kind_of(t->bytes[1]) == KIND_LETTER || kind_of(t->bytes[1]) == KIND_ANY);
}

/* The first token of the forced text; FORCED_NONE: it is not sure. */
static int32_t first_token(const struct token_image *image, const struct text *t) {
    const struct str text = {(const char *)t->bytes, t->n};
    const size_t sure = t->closed ? t->n : last_word(t);
    const int32_t token = sure ? cut(image, text) : FORCED_NONE;
    if (token == FORCED_NONE || tokenizer_token_bytes(image->tokenizer, token).len > sure ||
        (depends_on_before(t) && cut(image, (struct str){text.ptr, 1}) != token))
        return FORCED_NONE;
    return token;
}

static uint32_t step_bytes(struct grammar *g, uint32_t set, struct str bytes) {
    for (size_t i = 0; i < bytes.len && set != GRAMMAR_NONE; i++)
        set = set_step(g, set, (unsigned char)bytes.ptr[i]);
    return set;
}

/* FORCED_FAILED is not remembered. */
static int32_t work_out(struct grammar *g, const struct token_image *image, uint32_t set) {
    struct text text;
    const struct awaited next = awaited(g, set);
    if (set_can_end(g, set) || next.several)
        return FORCED_NONE;
    if (next.token != FORCED_NONE) {
        const int none = no_byte_follows(g, set);
        return none == 1 ? next.token : none == 0 ? FORCED_NONE : FORCED_FAILED;
    }
    return read_text(g, set, &text) ? first_token(image, &text) : FORCED_FAILED;
}

int32_t forced_token(struct grammar *g, const struct token_image *image, uint32_t set,
                     uint32_t *next) {
    uint32_t known;
    int32_t token;
    if (pair_map_get(&g->forced_map, set, &known)) {
        token = (int32_t)known - 1;
    } else {
        token = work_out(g, image, set);
        if (token == FORCED_FAILED ||
            pair_map_put(&g->b.re.budget, &g->forced_map, set, (uint32_t)(token + 1)) != QUERN_OK)
            return FORCED_NONE;
    }
    if (token == FORCED_NONE)
        return FORCED_NONE;
    *next = awaited(g, set).token == token
                ? set_token(g, set, (uint32_t)token)
                : step_bytes(g, set, tokenizer_token_bytes(image->tokenizer, token));
    return *next == GRAMMAR_NONE || *next == SET_DEAD ? FORCED_NONE : token;
}
