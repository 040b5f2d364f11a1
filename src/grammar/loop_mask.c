#include "grammar/loop_mask.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/loop_shelf.h"

bool loop_parse(const struct regex_store *s, expr_id x, struct loop_place *out) {
    struct re_node n = s->nodes[x];
    if (n.kind != RE_CONCAT)
        return false;
    struct re_node head = s->nodes[n.a];
    out->json = 0;
    out->tail = n.b;
    if (head.kind == RE_JSON && (head.b & ~(uint32_t)RE_JSON_FLAGS) == 0) {
        out->json = 1 + head.b;
        head = s->nodes[head.a];
    }
    if (head.kind != RE_REPEAT)
        return false;
    out->body = head.a;
    out->min = head.b;
    out->max = head.c;
    return true;
}

static expr_id loop_alone(struct regex_store *s, const struct loop_place *p) {
    expr_id x = re_repeat(s, p->body, p->min, p->max);
    return p->json ? re_json(s, x, p->json - 1, 0) : x;
}

expr_id loop_expr(struct regex_store *s, const struct loop_place *p) {
    return re_concat(s, loop_alone(s, p), p->tail);
}

static bool fail(struct grammar *g, enum quern_status st) {
    regex_fail(&g->b.re, st, "masks pass the limit of bytes");
    return false;
}

/* ---- one walk over the trie ------------------------------------------------------------ */

enum { DEPTH_MAX = 512, WITHIN_MAX = 1024 };

/* False with the store sound: not read like a character. */
static bool walk(struct grammar *g, const struct token_image *m, uint32_t start,
                 struct loop_mask *l) {
    uint32_t state[DEPTH_MAX], end[DEPTH_MAX], round[DEPTH_MAX];
    size_t depth = 0;
    state[0] = start;
    end[0] = (uint32_t)m->n_nodes;
    round[0] = l->rounds[0] = 1;
    for (uint32_t x = 1; x < m->n_nodes;) {
        while (x >= end[depth])
            depth--;
        const uint32_t skip = trie_skip(m, x), q = lexer_step(g, state[depth], trie_byte(m, x));
        if (q == GRAMMAR_NONE || (q != start && g->lexers[q].accepts.n))
            return false;
        const uint32_t before = round[depth];
        if (q == LEXER_DEAD) {
            memset(l->rounds + x, 0xff, skip * sizeof *l->rounds);
            if (before & 1) {
                enum quern_status st = budget_grow(&l->budget, &l->rims, &l->rims_capacity,
                                                   l->n_rims + 1, sizeof *l->rims);
                if (st != QUERN_OK)
                    return fail(g, st);
                l->rims[l->n_rims++] = (struct loop_rim){x, x, before / 2};
            }
            x += skip;
            continue;
        }
        const uint32_t now = (before / 2 + (before & 1)) * 2 + (q == start);
        l->rounds[x] = (uint16_t)now;
        l->most = now / 2 > l->most ? now / 2 : l->most;
        if (skip > 1) {
            if (depth + 1 == DEPTH_MAX)
                return fail(g, QUERN_ERR_LIMIT);
            depth++;
            state[depth] = q;
            end[depth] = x + skip;
            round[depth] = now;
        }
        x++;
    }
    return regex_burn(&g->b.re, m->n_nodes / 16);
}

/* ---- rims --------------------------------------------------------------------------------- */

struct rim_key {
    uint64_t hash;
    struct loop_rim rim;
    uint32_t byte;
};

static uint64_t hash_below(const struct token_image *m, uint32_t node) {
    const uint32_t skip = trie_skip(m, node), rank = m->nodes[node].rank;
    uint64_t h = skip;
    for (uint32_t i = 0; i < skip; i++) {
        h = (h ^ m->nodes[node + i].byte_skip) * 0x9e3779b97f4a7c15u;
        h = (h ^ (m->nodes[node + i + 1].rank - rank)) * 0xd6e8feb86659fd93u;
        h ^= h >> 29;
    }
    return h;
}

static bool same_below(const struct token_image *m, uint32_t x, uint32_t y) {
    if (trie_skip(m, x) != trie_skip(m, y))
        return false;
    for (uint32_t i = 0; i < trie_skip(m, x); i++)
        if (m->nodes[x + i].byte_skip != m->nodes[y + i].byte_skip ||
            m->nodes[x + i + 1].rank - m->nodes[x].rank !=
                m->nodes[y + i + 1].rank - m->nodes[y].rank)
            return false;
    return true;
}

static int by_content(const void *a, const void *b) {
    const struct rim_key *x = a, *y = b;
    if (x->byte != y->byte)
        return x->byte < y->byte ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->rim.node < y->rim.node ? -1 : 1;
}

static int by_twin(const void *a, const void *b) {
    const struct rim_key *x = a, *y = b;
    if (x->byte != y->byte)
        return x->byte < y->byte ? -1 : 1;
    if (x->rim.twin != y->rim.twin)
        return x->rim.twin < y->rim.twin ? -1 : 1;
    return x->rim.node < y->rim.node ? -1 : 1;
}

static bool sort_rims(const struct token_image *m, struct loop_mask *l) {
    struct rim_key *k = malloc((l->n_rims + 1) * sizeof *k);
    if (!k)
        return false;
    for (size_t i = 0; i < l->n_rims; i++) {
        const uint32_t node = l->rims[i].node;
        k[i] = (struct rim_key){hash_below(m, node), l->rims[i], trie_byte(m, node)};
    }
    qsort(k, l->n_rims, sizeof *k, by_content);
    for (size_t i = 1; i < l->n_rims; i++) {
        const uint32_t twin = k[i - 1].rim.twin;
        if (k[i].byte == k[i - 1].byte && k[i].hash == k[i - 1].hash &&
            same_below(m, twin, k[i].rim.node))
            k[i].rim.twin = twin;
    }
    qsort(k, l->n_rims, sizeof *k, by_twin);
    size_t at = 0;
    for (unsigned c = 0; c <= 256; c++) {
        while (at < l->n_rims && k[at].byte < c)
            at++;
        l->rims_of[c] = (uint32_t)at;
    }
    for (size_t i = 0; i < l->n_rims; i++)
        l->rims[i] = k[i].rim;
    free(k);
    return true;
}

/* ---- tokens by their rounds ---------------------------------------------------------------- */

static bool sort_tokens(const struct token_image *m, struct loop_mask *l) {
    const size_t words = ((size_t)m->n_tokens + 31) / 32;
    l->n_within = (size_t)l->most + 1;
    l->within = calloc(l->n_within, sizeof *l->within);
    for (size_t i = 0; l->within && i < l->n_within; i++)
        if (!(l->within[i] = calloc(words + 1, sizeof **l->within)))
            return false;
    if (!l->within)
        return false;
    for (size_t x = 1; x < m->n_nodes; x++) {
        if (l->rounds[x] == LOOP_DEAD)
            continue;
        uint32_t *bits = l->within[l->rounds[x] / 2];
        for (uint32_t r = m->nodes[x].rank; r < m->nodes[x + 1].rank; r++)
            bits[m->tokens[r] / 32] |= 1u << (m->tokens[r] % 32);
    }
    for (size_t i = 1; i < l->n_within; i++)
        for (size_t k = 0; k < words; k++)
            l->within[i][k] |= l->within[i - 1][k];
    l->budget.used += l->n_within * words * 4 + m->n_nodes * sizeof *l->rounds;
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------ */

void loop_mask_destroy(struct loop_mask *l) {
    if (!l)
        return;
    for (size_t i = 0; l->within && i < l->n_within; i++)
        free(l->within[i]);
    free(l->within);
    free(l->rounds);
    free(l->rims);
    free(l);
}

/* NULL with the store sound: not read like a character. */
static struct loop_mask *create(struct grammar *g, const struct token_image *m, symbol_id terminal,
                                expr_id loop) {
    struct u32s pairs = {(uint32_t[]){terminal, loop}, 2, 2};
    const uint32_t start = lexer_intern(g, &pairs);
    struct loop_mask *l = calloc(1, sizeof *l);
    if (l)
        l->rounds = malloc((m->n_nodes + 1) * sizeof *l->rounds);
    if (!l || !l->rounds) {
        fail(g, QUERN_ERR_NOMEM);
        goto fail;
    }
    l->budget.max = LOOP_SHELF_BYTES;
    for (unsigned c = 0; c < 256 && start != GRAMMAR_NONE; c++) {
        const uint32_t q = lexer_step(g, start, c);
        if (q == GRAMMAR_NONE)
            goto fail;
        if (q != LEXER_DEAD)
            l->first[c / 64] |= UINT64_C(1) << (c % 64);
    }
    if (start == GRAMMAR_NONE || !walk(g, m, start, l) || l->most > WITHIN_MAX)
        goto fail;
    if (sort_rims(m, l) && sort_tokens(m, l))
        return l;
    fail(g, QUERN_ERR_NOMEM);
fail:
    loop_mask_destroy(l);
    return NULL;
}

bool loop_mask_get(struct grammar *g, const struct token_image *m, symbol_id terminal,
                   const struct loop_place *p, struct loop_mask **out) {
    struct regex_store *s = &g->b.re;
    *out = NULL;
    if (s->nodes[p->body].nullable)
        return true;
    struct loop_place all = *p;
    all.min = 0;
    all.max = GRAMMAR_INF;
    const expr_id loop = loop_alone(s, &all);
    if (loop == GRAMMAR_NONE)
        return false;
    struct loop_key key;
    const bool named = loop_key_write(s, loop, &key);
    if (named && (*out = loop_shelf_take(m->loops, &key)))
        return true;
    *out = create(g, m, terminal, loop);
    if (*out) {
        (*out)->references = 1;
        if (named)
            loop_shelf_put(m->loops, &key, *out);
    }
    return !s->failed;
}

void loop_mask_release(const struct token_image *m, struct loop_mask *l) {
    if (l && loop_shelf_drop(m->loops, l))
        loop_mask_destroy(l);
}
