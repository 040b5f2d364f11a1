/* ending.c - how soon a text can end is a question of shortest ways twice: within the rules, where
 * each has a shortest text (worked out once), and up the stack of what the text has begun, which
 * is the graph of rows and the rules they wait for. Neither walks through texts. */
#include "grammar/ending.h"

#include <stdlib.h>

#include "grammar/grammar_engine.h"
#include "grammar/heap.h"
#include "grammar/shortest.h"

enum { SEARCH_FUEL = 20 * 1000 * 1000, PASSES_MAX = 1000 };

/* Of a grammar. */
struct distances {
    struct shortest shortest;
    uint32_t *cost;   /* of each symbol: the bytes and tokens of its shortest text */
    uint32_t *best;   /* of each rule: the first item of the production that gives it */
    uint32_t *suffix; /* of each item: from the dot to the production's end */
};

void distances_destroy(struct distances *d) {
    if (!d)
        return;
    shortest_release(&d->shortest);
    free(d->cost);
    free(d->best);
    free(d->suffix);
    free(d);
}

static void begin(struct grammar *g) {
    g->b.re.fuel = SEARCH_FUEL;
    g->b.re.failed = false;
    g->b.re.scratch.n = 0;
}

static void measure_symbols(struct grammar *g, struct distances *d) {
    for (size_t i = 0; i < g->b.n_symbols; i++) {
        const struct symbol *x = &g->b.symbols[i];
        d->cost[i] = g->nullable[i] ? 0 : SHORTEST_NONE;
        if (g->nullable[i] || x->kind == SYMBOL_RULE)
            continue;
        d->cost[i] = 1;
        if (x->kind == SYMBOL_TERMINAL) {
            begin(g);
            d->cost[i] = shortest_length(&d->shortest, &g->b.re, x->value);
        }
    }
}

static bool improve_rule(const struct grammar *g, struct distances *d, size_t rule) {
    const struct span s = g->productions[rule];
    bool better = false;
    for (uint32_t i = 0; i < s.n; i++) {
        uint32_t sum = 0;
        for (uint32_t item = g->rule_items[s.start + i]; g->dots[item] != DOT_END; item++)
            sum = shortest_add(sum, d->cost[g->dots[item]]);
        if (sum < d->cost[rule]) {
            d->cost[rule] = sum;
            d->best[rule] = g->rule_items[s.start + i];
            better = true;
        }
    }
    return better;
}

/* To the least fixed point, forwards and backwards in turn: rules stand before or behind what they
 * are made of. A best production never leads back to its rule, since it would have to be shorter
 * than itself. */
static void measure_rules(const struct grammar *g, struct distances *d) {
    const size_t n = g->b.n_symbols;
    bool changed = true;
    for (int pass = 0; changed && pass < PASSES_MAX; pass++) {
        changed = false;
        for (size_t i = 0; i < n; i++) {
            const size_t x = pass & 1 ? i : n - 1 - i;
            if (g->b.symbols[x].kind == SYMBOL_RULE && !g->nullable[x])
                changed |= improve_rule(g, d, x);
        }
    }
    for (size_t i = g->n_items; i-- > 0;)
        d->suffix[i] =
            g->dots[i] == DOT_END ? 0 : shortest_add(d->cost[g->dots[i]], d->suffix[i + 1]);
}

bool ending_prepare(struct grammar *g) {
    if (g->distances)
        return true;
    struct distances *d = calloc(1, sizeof *d);
    if (!d)
        return false;
    d->cost = calloc(g->b.n_symbols, sizeof *d->cost);
    d->best = calloc(g->b.n_symbols, sizeof *d->best);
    d->suffix = calloc(g->n_items, sizeof *d->suffix);
    if (!d->cost || !d->best || !d->suffix) {
        distances_destroy(d);
        return false;
    }
    measure_symbols(g, d);
    measure_rules(g, d);
    g->b.re.budget.used += (2 * g->b.n_symbols + g->n_items) * sizeof *d->cost;
    g->distances = d;
    return true;
}

/* ---- up the stack ---------------------------------------------------------------- */

/* `symbol`, which began at `row`, is to end. */
struct node {
    uint32_t row, symbol, cost;
    uint32_t parent, item; /* the dot moved over the parent's symbol to behind `item` */
    expr_id left;          /* what is being read; GRAMMAR_NONE: nothing, the parent has it */
    bool measured;
};
#define GOAL GRAMMAR_NONE

struct climb {
    struct grammar *g;
    struct distances *d;
    struct budget budget;
    struct node *nodes;
    size_t n, capacity;
    struct heap heap;
    struct pair_map closed;
    struct u32s stack, out;
};

static bool push_node(struct climb *c, struct node node) {
    if (node.cost == SHORTEST_NONE)
        return true;
    if (budget_grow(&c->budget, &c->nodes, &c->capacity, c->n + 1, sizeof node) != QUERN_OK ||
        heap_push(&c->budget, &c->heap, node.cost, (uint32_t)c->n) != QUERN_OK)
        return false;
    c->nodes[c->n++] = node;
    return true;
}

/* What is being read, by a bound first: which of it needs a search shows later. */
static bool push_reading(struct climb *c, uint32_t set) {
    struct grammar *g = c->g;
    for (uint32_t i = 1; i < g->sets[set].n; i += 2) {
        const uint32_t row = g->pool.v[g->sets[set].start + i];
        const struct span s = g->lexers[g->pool.v[g->sets[set].start + i + 1]].pairs;
        for (uint32_t k = 0; k < s.n; k += 2) {
            struct node node = {.row = row,
                                .symbol = g->pool.v[s.start + k],
                                .cost = 1,
                                .parent = GOAL,
                                .left = g->pool.v[s.start + k + 1],
                                .measured = true};
            if (g->b.symbols[node.symbol].kind == SYMBOL_TERMINAL) {
                node.cost = shortest_low(&c->d->shortest, &g->b.re, node.left);
                node.measured = false;
            }
            if (!push_node(c, node))
                return false;
        }
    }
    return true;
}

static bool climb_from(struct climb *c, uint32_t i) {
    struct grammar *g = c->g;
    const struct node node = c->nodes[i];
    const struct span s = g->rows[node.row].items;
    uint32_t lo = 0, hi = s.n / 2; /* the first item whose symbol is not below */
    while (lo < hi) {
        const uint32_t mid = (lo + hi) / 2;
        if (g->dots[g->pool.v[s.start + 2 * mid]] < node.symbol)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < s.n / 2; lo++) {
        const uint32_t item = g->pool.v[s.start + 2 * lo];
        if (g->dots[item] != node.symbol)
            break;
        if (!push_node(c, (struct node){.row = g->pool.v[s.start + 2 * lo + 1],
                                        .symbol = item ? g->item_rules[item] : GOAL,
                                        .cost = shortest_add(node.cost, c->d->suffix[item + 1]),
                                        .parent = i,
                                        .item = item + 1,
                                        .left = GRAMMAR_NONE,
                                        .measured = true}))
            return false;
    }
    return true;
}

/* The node of the whole text's end, GOAL when there is none. */
static uint32_t climb(struct climb *c, uint32_t set) {
    uint32_t known;
    if (!push_reading(c, set))
        return GOAL;
    while (c->heap.n) {
        const uint32_t i = heap_pop(&c->heap).value;
        const struct node node = c->nodes[i];
        if (node.symbol == GOAL)
            return i;
        const uint64_t key = (uint64_t)node.row << 32 | node.symbol;
        if (pair_map_get(&c->closed, key, &known))
            continue;
        if (!node.measured) {
            struct node exact = node;
            exact.measured = true;
            exact.cost = shortest_length(&c->d->shortest, &c->g->b.re, node.left);
            if (!push_node(c, exact))
                return GOAL;
            continue;
        }
        if (pair_map_put(&c->budget, &c->closed, key, 0) != QUERN_OK || !climb_from(c, i))
            return GOAL;
    }
    return GOAL;
}

/* ---- writing it down ----------------------------------------------------------------- */

static bool write_symbol(struct climb *c, uint32_t symbol) {
    struct grammar *g = c->g;
    const struct symbol *x = &g->b.symbols[symbol];
    if (g->nullable[symbol])
        return true;
    if (x->kind == SYMBOL_RULE)
        return u32s_push(&c->budget, &c->stack, c->d->best[symbol]) == QUERN_OK;
    if (x->kind == SYMBOL_TOKEN)
        return c->out.n < ENDING_MAX &&
               u32s_push(&c->budget, &c->out, ENDING_TOKEN + x->value) == QUERN_OK;
    return shortest_write(&c->d->shortest, &g->b.re, x->value, ENDING_MAX, &c->budget, &c->out);
}

/* What follows the dot of an item, its rules down to the bytes. */
static bool write_rest(struct climb *c, uint32_t item) {
    c->stack.n = 0;
    if (u32s_push(&c->budget, &c->stack, item) != QUERN_OK)
        return false;
    while (c->stack.n) {
        const uint32_t symbol = c->g->dots[c->stack.v[c->stack.n - 1]++];
        if (symbol == DOT_END)
            c->stack.n--;
        else if (!write_symbol(c, symbol))
            return false;
    }
    return true;
}

static bool write_way(struct climb *c, uint32_t goal) {
    struct u32s way = {0};
    bool ok = true;
    for (uint32_t i = goal; i != GOAL && ok; i = c->nodes[i].parent)
        ok = u32s_push(&c->budget, &way, i) == QUERN_OK;
    while (ok && way.n) {
        const struct node *node = &c->nodes[way.v[--way.n]];
        if (node->left == GRAMMAR_NONE)
            ok = write_rest(c, node->item);
        else if (c->g->b.symbols[node->symbol].kind == SYMBOL_TOKEN)
            ok = u32s_push(&c->budget, &c->out,
                           ENDING_TOKEN + c->g->b.symbols[node->symbol].value) == QUERN_OK;
        else
            ok = shortest_write(&c->d->shortest, &c->g->b.re, node->left, ENDING_MAX, &c->budget,
                                &c->out);
    }
    u32s_release(&way);
    return ok;
}

static void climb_release(struct climb *c) {
    free(c->nodes);
    heap_release(&c->heap);
    pair_map_release(&c->closed);
    u32s_release(&c->stack);
}

bool ending_length(struct matcher *m, uint32_t *n_steps) {
    if (m->state.ended || !ending_prepare(m->grammar))
        return false;
    struct climb c = {.g = m->grammar, .d = m->grammar->distances, .budget = {.max = 64 << 20}};
    begin(m->grammar);
    bool ok = set_can_end(c.g, m->state.set);
    *n_steps = 0;
    if (!ok) {
        const uint32_t goal = climb(&c, m->state.set);
        ok = goal != GOAL;
        *n_steps = ok ? c.nodes[goal].cost : 0;
    }
    climb_release(&c);
    return ok;
}

bool ending_find(struct matcher *m, struct ending *out) {
    if (m->state.ended || !ending_prepare(m->grammar))
        return false;
    struct climb c = {.g = m->grammar, .d = m->grammar->distances, .budget = {.max = 64 << 20}};
    uint32_t goal = GOAL;
    begin(m->grammar);
    bool ok = set_can_end(c.g, m->state.set);
    if (!ok && (goal = climb(&c, m->state.set)) != GOAL)
        ok = write_way(&c, goal);
    climb_release(&c);
    if (!ok)
        u32s_release(&c.out);
    ending_release(out);
    *out = (struct ending){c.out.v, c.out.n, 0};
    return ok;
}

void ending_release(struct ending *e) {
    free(e->steps);
    *e = (struct ending){0};
}

size_t ending_count(const struct ending *e, const struct token_image *image) {
    struct ending rest = *e;
    size_t n = 0, n_steps;
    for (; ending_next_token(&rest, image, &n_steps) >= 0; n++)
        rest.at += n_steps;
    return n;
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
