#include "grammar/ending.h"

#include <stdlib.h>

#include "grammar/grammar_engine.h"

enum { STATES_MAX = 4000, WORD_BYTES = 12, SEARCH_FUEL = 20 * 1000 * 1000 };

struct node {
    uint32_t set, parent, step;
};

struct search {
    struct grammar *g;
    struct node *nodes;
    size_t n;
    struct pair_map seen;
    struct budget budget;
    size_t used_before;
};

/* False: the search is over, for want of room. */
static bool visit(struct search *s, uint32_t set, uint32_t parent, uint32_t step) {
    uint32_t known;
    if (set == SET_DEAD || pair_map_get(&s->seen, set, &known))
        return true;
    if (set == GRAMMAR_NONE || s->n == STATES_MAX ||
        pair_map_put(&s->budget, &s->seen, set, 0) != QUERN_OK)
        return false;
    s->nodes[s->n++] = (struct node){set, parent, step};
    return true;
}

/* Tokens that are terminals themselves, then bytes, plain ones first. */
static bool expand(struct search *s, uint32_t i) {
    const uint32_t set = s->nodes[i].set;
    if (s->g->b.re.budget.used - s->used_before > s->g->b.re.budget.max / 8)
        return false; /* the way is not worth the memory */
    for (uint32_t k = 1; k < s->g->sets[set].n; k += 2) {
        const uint32_t lexer = s->g->pool.v[s->g->sets[set].start + k + 1];
        for (uint32_t p = 0; p < s->g->lexers[lexer].pairs.n; p += 2) {
            const struct symbol *x =
                &s->g->b.symbols[s->g->pool.v[s->g->lexers[lexer].pairs.start + p]];
            if (x->kind == SYMBOL_TOKEN &&
                !visit(s, set_token(s->g, set, x->value), i, ENDING_TOKEN + x->value))
                return false;
        }
    }
    /* Of the bytes of words only some: many lead to other words, few to the end. */
    int words = 0;
    for (unsigned c = 0; c < 256; c++) {
        const unsigned byte = (c + '!') & 255;
        const bool word = byte >= 0x80 || (byte >= '0' && byte <= '9') ||
                          ((byte | 32) >= 'a' && (byte | 32) <= 'z');
        const size_t before = s->n;
        if (word && words == WORD_BYTES)
            continue;
        if (!visit(s, set_step(s->g, set, byte), i, byte))
            return false;
        words += word && s->n > before;
    }
    return true;
}

static bool write_way(const struct search *s, uint32_t i, struct ending *out) {
    size_t n = 0;
    for (uint32_t k = i; k != 0; k = s->nodes[k].parent)
        n++;
    if (n > ENDING_MAX)
        return false;
    out->n = n;
    out->at = 0;
    for (uint32_t k = i; k != 0; k = s->nodes[k].parent)
        out->steps[--n] = s->nodes[k].step;
    return true;
}

bool ending_find(struct matcher *m, struct ending *out) {
    struct search s = {
        .g = m->grammar, .budget = {.max = 16 << 20}, .used_before = m->grammar->b.re.budget.used};
    struct regex_store *re = &m->grammar->b.re;
    bool found = false;
    if (m->state.ended)
        return false;
    re->fuel = SEARCH_FUEL;
    re->failed = false;
    re->scratch.n = 0;
    s.nodes = malloc(STATES_MAX * sizeof *s.nodes);
    if (s.nodes && visit(&s, m->state.set, 0, 0))
        for (uint32_t i = 0; i < s.n && !found; i++) {
            found = set_can_end(s.g, s.nodes[i].set) && write_way(&s, i, out);
            if (!found && !expand(&s, i))
                break;
        }
    free(s.nodes);
    pair_map_release(&s.seen);
    return found;
}

int32_t ending_next_token(const struct ending *e, const struct token_image *image,
                          size_t *n_steps) {
    int32_t best = -1;
    *n_steps = 0;
    if (e->at == e->n)
        return -1;
    *n_steps = 1;
    if (e->steps[e->at] >= ENDING_TOKEN)
        return (int32_t)(e->steps[e->at] - ENDING_TOKEN);
    /* Down the trie along the bytes; the deepest node with a token. */
    uint32_t node = 0;
    for (size_t i = e->at; i < e->n && e->steps[i] < ENDING_TOKEN; i++) {
        uint32_t child = node + 1, end = node + trie_skip(image, node);
        while (child < end && trie_byte(image, child) != e->steps[i])
            child += trie_skip(image, child);
        if (child >= end)
            break;
        node = child;
        const uint32_t rank = image->nodes[node].rank;
        if (image->nodes[node + 1].rank > rank) {
            best = image->tokens[rank];
            *n_steps = i - e->at + 1;
        }
    }
    return best;
}
