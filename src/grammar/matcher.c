#include "grammar/matcher.h"

#include <stdio.h>
#include <string.h>

#include "grammar/forced.h"
#include "grammar/mask.h"

/* Fuel is a call's own, and running out of it does not outlive the call; so does every other
 * failure: what was cached before it is whole. */
static void begin(struct matcher *m) {
    struct regex_store *re = &m->grammar->b.re;
    re->fuel = m->grammar->b.limits.step_fuel;
    re->failed = false;
    re->scratch.n = 0;
}

static enum quern_status failed(struct matcher *m, struct quern_error *err) {
    return grammar_builder_status(&m->grammar->b, err);
}

enum quern_status matcher_init(struct matcher *m, struct grammar *g,
                               const struct token_image *image, const int32_t *end_tokens,
                               size_t n_end_tokens, struct quern_error *err) {
    if (image && !g->masks && !(g->masks = mask_cache_create(image)))
        return error_nomem(err);
    *m = (struct matcher){g, image, end_tokens, n_end_tokens, {g->start_set, 0, 0}};
    return QUERN_OK;
}

void matcher_expected(const struct matcher *m, char *out, size_t size) {
    const struct grammar *g = m->grammar;
    struct span set = g->sets[m->state.set];
    symbol_id shown[6];
    size_t n = 0, used = 0;
    out[0] = 0;
    for (uint32_t i = 1; i < set.n && n < 6; i += 2) {
        struct span s = g->lexers[g->pool.v[set.start + i + 1]].pairs;
        for (uint32_t k = 0; k < s.n && n < 6; k += 2) {
            symbol_id x = g->pool.v[s.start + k];
            bool seen = false;
            for (size_t j = 0; j < n; j++)
                seen = seen || shown[j] == x;
            struct str name = symbol_name(&g->b, x);
            if (seen || used + name.len + 8 > size)
                continue;
            shown[n] = x;
            int wrote = snprintf(out + used, size - used, "%s%.*s", n ? ", " : "", STR_FMT(name));
            used += wrote > 0 ? (size_t)wrote : 0;
            n++;
        }
    }
    if (matcher_can_end(m) && used + 20 < size)
        snprintf(out + used, size - used, "%sthe end", n ? " or " : "");
}

enum quern_status matcher_accept_bytes(struct matcher *m, struct str bytes, size_t *n_accepted,
                                       struct quern_error *err) {
    begin(m);
    uint32_t set = m->state.set;
    size_t i = 0;
    for (; i < bytes.len && !m->state.ended; i++) {
        uint32_t next = set_step(m->grammar, set, (unsigned char)bytes.ptr[i]);
        if (next == GRAMMAR_NONE || !regex_burn(&m->grammar->b.re, 1))
            return failed(m, err);
        if (next == SET_DEAD)
            break;
        set = next;
    }
    if (n_accepted)
        *n_accepted = i;
    if (i < bytes.len) {
        struct matcher there = *m;
        there.state.set = set;
        char expected[240];
        matcher_expected(&there, expected, sizeof expected);
        return error_set(err, QUERN_ERR_FORMAT,
                         "grammar: byte %llu of the text (0x%02x) is not allowed, expected: %s",
                         (unsigned long long)(m->state.n_bytes + i), (unsigned char)bytes.ptr[i],
                         m->state.ended ? "nothing, the text has ended" : expected);
    }
    m->state.set = set;
    m->state.n_bytes += bytes.len;
    return QUERN_OK;
}

static bool is_end_token(const struct matcher *m, int32_t token) {
    for (size_t i = 0; i < m->n_end_tokens; i++)
        if (m->end_tokens[i] == token)
            return true;
    return false;
}

enum quern_status matcher_accept_token(struct matcher *m, int32_t token, struct quern_error *err) {
    if (!m->image || token < 0 || token >= m->image->n_tokens || m->state.ended)
        return error_set(err, QUERN_ERR_FORMAT, "grammar: token %d %s", (int)token,
                         m->state.ended ? "comes after the end" : "is not in the vocabulary");
    struct str s = tokenizer_token_bytes(m->image->tokenizer, token);
    begin(m);
    uint32_t set = set_token(m->grammar, m->state.set, (uint32_t)token);
    if (set == GRAMMAR_NONE)
        return failed(m, err);
    if (set != SET_DEAD) {
        m->state.set = set;
        m->state.n_bytes += s.len;
        return QUERN_OK;
    }
    if (is_end_token(m, token) && matcher_can_end(m)) {
        m->state.ended = 1;
        return QUERN_OK;
    }
    if (!tokenizer_is_added(m->image->tokenizer, token) && s.len)
        return matcher_accept_bytes(m, s, NULL, err);
    return error_set(err, QUERN_ERR_FORMAT, "grammar: token %d is not allowed at byte %llu",
                     (int)token, (unsigned long long)m->state.n_bytes);
}

bool matcher_can_end(const struct matcher *m) {
    return !m->state.ended && set_can_end(m->grammar, m->state.set);
}

static void set_bit(uint32_t *mask, int32_t n_vocab, int32_t token) {
    if (token >= 0 && token < n_vocab)
        mask[token / 32] |= 1u << (token % 32);
}

enum quern_status matcher_mask(struct matcher *m, uint32_t *mask, int32_t n_vocab,
                               struct quern_error *err) {
    if (!m->image || n_vocab < m->image->n_tokens)
        return error_set(err, QUERN_ERR_ARG, "grammar: a mask of %d tokens for a vocabulary of %d",
                         (int)n_vocab, m->image ? (int)m->image->n_tokens : 0);
    size_t words = ((size_t)n_vocab + 31) / 32;
    memset(mask, 0, words * sizeof *mask);
    if (m->state.ended)
        return error_set(err, QUERN_ERR_STATE, "grammar: the text has ended, nothing may follow");
    begin(m);
    if (!mask_of_set(m->grammar, m->image, m->state.set, mask)) {
        memset(mask, 0, words * sizeof *mask);
        return failed(m, err);
    }
    for (size_t i = 0; i < m->n_end_tokens && matcher_can_end(m); i++)
        set_bit(mask, n_vocab, m->end_tokens[i]);
    for (size_t i = 0; i < words; i++)
        if (mask[i])
            return QUERN_OK;
    return error_set(err, QUERN_ERR_STATE,
                     "grammar: no token of the vocabulary may follow byte %llu of the text",
                     (unsigned long long)m->state.n_bytes);
}

enum quern_status matcher_forced_bytes(struct matcher *m, size_t max, struct buffer *out,
                                       struct quern_error *err) {
    begin(m);
    uint32_t set = m->state.set;
    for (size_t i = 0; i < max && !m->state.ended; i++) {
        int c = forced_byte(m->grammar, set);
        if (c == FORCED_NONE)
            return QUERN_OK;
        if (c == FORCED_FAILED || (set = set_step(m->grammar, set, (unsigned)c)) == GRAMMAR_NONE)
            return failed(m, err);
        if (buffer_putc(out, (char)c) != QUERN_OK)
            return buffer_status(out, "the forced text", err);
    }
    return QUERN_OK;
}

static enum quern_status constraint_mask(void *state, uint32_t *mask, int32_t n_vocab,
                                         struct quern_error *err) {
    return matcher_mask(state, mask, n_vocab, err);
}

static enum quern_status constraint_accept(void *state, int32_t token, struct quern_error *err) {
    return matcher_accept_token(state, token, err);
}

size_t matcher_forced(struct matcher *m, int32_t *tokens, size_t max) {
    uint32_t set = m->state.set;
    size_t n = 0;
    begin(m);
    if (!m->image || m->state.ended)
        return 0;
    while (n < max && (tokens[n] = forced_token(m->grammar, m->image, set, &set)) >= 0)
        n++;
    return n;
}

static size_t constraint_forced(void *state, int32_t *tokens, size_t max, size_t n_left) {
    return matcher_forced(state, tokens, max < n_left ? max : n_left);
}

struct constraint matcher_constraint(struct matcher *m) {
    static const struct constraint_ops ops = {constraint_mask, constraint_accept,
                                              constraint_forced, NULL};
    return (struct constraint){&ops, m};
}
