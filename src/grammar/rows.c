/* Earley rows and sets of positions. */
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar_engine.h"

static int compare_pairs(const void *a, const void *b) {
    uint32_t x[2], y[2];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

/* Sorts the pairs of s from `base` on and drops doubles. */
static void sort_pairs(struct u32s *s, size_t base) {
    size_t n = (s->n - base) / 2, k = 0;
    if (!n)
        return;
    uint32_t *v = s->v + base;
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++)
        sorted = compare_pairs(v + 2 * i - 2, v + 2 * i) <= 0;
    if (!sorted)
        qsort(v, n, 2 * sizeof *v, compare_pairs);
    for (size_t i = 0; i < n; i++) {
        if (k && v[2 * k - 2] == v[2 * i] && v[2 * k - 1] == v[2 * i + 1])
            continue;
        v[2 * k] = v[2 * i];
        v[2 * k + 1] = v[2 * i + 1];
        k++;
    }
    s->n = base + 2 * k;
}

static bool push_pair(struct grammar *g, struct u32s *s, uint32_t x, uint32_t y) {
    enum quern_status st = u32s_push(&g->b.re.budget, s, x);
    if (st == QUERN_OK)
        st = u32s_push(&g->b.re.budget, s, y);
    if (st != QUERN_OK)
        grammar_fail(g, st);
    return st == QUERN_OK && regex_burn(&g->b.re, 1);
}

static bool push_work(struct grammar *g, uint32_t row, uint32_t symbol) {
    for (size_t i = 0; i < g->work.n; i += 2)
        if (g->work.v[i] == row && g->work.v[i + 1] == symbol)
            return true;
    return regex_burn(&g->b.re, g->work.n / 8) && push_pair(g, &g->work, row, symbol);
}

/* An item whose dot has moved: kept while something follows, also past what may be empty;
 * complete, it asks its origin. */
static bool moved_item(struct grammar *g, uint32_t item, uint32_t origin, bool *accepts) {
    for (;; item++) {
        uint32_t symbol = g->dots[item];
        if (symbol == DOT_END) {
            if (item == 1) {
                *accepts = true;
                return true;
            }
            return push_work(g, origin, g->item_rules[item]);
        }
        if (!push_pair(g, &g->list, item, origin))
            return false;
        if (!g->nullable[symbol])
            return true;
    }
}

static bool advance_one(struct grammar *g, uint32_t row, uint32_t symbol, bool *accepts) {
    uint32_t known;
    if (pair_map_get(&g->advance_map, (uint64_t)row << 32 | symbol, &known)) {
        struct span s = g->advances[known];
        *accepts = *accepts || g->pool.v[s.start];
        for (uint32_t i = 1; i < s.n; i += 2)
            if (!push_pair(g, &g->list, g->pool.v[s.start + i], g->pool.v[s.start + i + 1]))
                return false;
        return true;
    }
    struct span s = g->rows[row].items;
    uint32_t lo = 0, hi = s.n / 2; /* the first item whose symbol is not below */
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (g->dots[g->pool.v[s.start + 2 * mid]] < symbol)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < s.n / 2; lo++) {
        uint32_t item = g->pool.v[s.start + 2 * lo], origin = g->pool.v[s.start + 2 * lo + 1];
        if (g->dots[item] != symbol)
            break;
        if (!moved_item(g, item + 1, origin, accepts))
            return false;
    }
    return true;
}

static uint32_t advance(struct grammar *g, uint32_t row, uint32_t symbol);

static void drop(struct grammar *g, struct u32s *s) {
    g->b.re.budget.used -= s->capacity * sizeof *s->v;
    u32s_release(s);
}

/* Remembers what the rules that end together with a terminal lead to, so that each link of a
 * chain of right recursion finds the rest of the chain already walked. */
static bool advance_rules(struct grammar *g, uint32_t row, uint32_t terminal) {
    bool accepts = false;
    struct u32s ends = {0};
    g->work.n = g->list.n = 0;
    bool ok = push_work(g, row, terminal) && advance_one(g, row, terminal, &accepts);
    for (size_t i = 2; i < g->work.n && ok; i += 2)
        ok = push_pair(g, &ends, g->work.v[i], g->work.v[i + 1]);
    for (size_t i = 0; i < ends.n && ok; i += 2)
        ok = advance(g, ends.v[i], ends.v[i + 1]) != GRAMMAR_NONE;
    drop(g, &ends);
    return ok;
}

/* The items after `symbol` ended, which began at `row`; completions followed to the end.
 * Remembered for each (row, symbol). */
static uint32_t advance(struct grammar *g, uint32_t row, uint32_t symbol) {
    uint64_t key = (uint64_t)row << 32 | symbol;
    uint32_t known;
    if (pair_map_get(&g->advance_map, key, &known))
        return known;
    bool accepts = false;
    if (g->b.symbols[symbol].kind != SYMBOL_RULE && !advance_rules(g, row, symbol))
        return GRAMMAR_NONE;
    g->work.n = g->list.n = 0;
    if (!push_work(g, row, symbol))
        return GRAMMAR_NONE;
    for (size_t i = 0; i < g->work.n; i += 2)
        if (!advance_one(g, g->work.v[i], g->work.v[i + 1], &accepts))
            return GRAMMAR_NONE;
    sort_pairs(&g->list, 0);
    struct budget *m = &g->b.re.budget;
    struct span s = {(uint32_t)g->pool.n, (uint32_t)g->list.n + 1};
    enum quern_status st = u32s_push(m, &g->pool, accepts);
    for (size_t i = 0; i < g->list.n && st == QUERN_OK; i++)
        st = u32s_push(m, &g->pool, g->list.v[i]);
    if (st == QUERN_OK)
        st = budget_grow(m, &g->advances, &g->advances_capacity, g->n_advances + 1, sizeof s);
    if (st == QUERN_OK)
        st = pair_map_put(m, &g->advance_map, key, (uint32_t)g->n_advances);
    if (st == QUERN_OK && g->pool.n >= UINT32_MAX)
        st = QUERN_ERR_LIMIT;
    if (st != QUERN_OK)
        return grammar_fail(g, st);
    g->advances[g->n_advances] = s;
    return (uint32_t)g->n_advances++;
}

/* Adds to g->list (dot symbol, item) sorted later; predicted items have this row as origin. */
static bool predict(struct grammar *g, uint32_t rule, uint32_t row) {
    struct span s = g->productions[rule];
    for (uint32_t i = 0; i < s.n; i++) {
        for (uint32_t item = g->rule_items[s.start + i]; g->dots[item] != DOT_END; item++) {
            if (g->stamps[item] != g->stamp) {
                g->stamps[item] = g->stamp;
                if (!push_pair(g, &g->list, item, row))
                    return false;
            }
            if (!g->nullable[g->dots[item]])
                break;
        }
    }
    return true;
}

static enum quern_status store_items(struct grammar *g, struct row *r) {
    /* Sorted by the symbol after the dot: (symbol, index) pairs, then copied in that order. */
    struct budget *m = &g->b.re.budget;
    size_t n = g->list.n / 2;
    g->work.n = 0;
    for (size_t i = 0; i < n; i++)
        if (!push_pair(g, &g->work, g->dots[g->list.v[2 * i]], (uint32_t)i))
            return g->b.re.error.code;
    sort_pairs(&g->work, 0);
    r->items = (struct span){(uint32_t)g->pool.n, (uint32_t)(2 * n)};
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < n && st == QUERN_OK; i++) {
        const uint32_t *p = g->list.v + 2 * (size_t)g->work.v[2 * i + 1];
        st = u32s_push(m, &g->pool, p[0]);
        if (st == QUERN_OK)
            st = u32s_push(m, &g->pool, p[1]);
    }
    return st;
}

/* g->work holds (symbol, ...) ascending: the terminals among them start the lexer. */
static uint32_t start_lexer(struct grammar *g) {
    g->list.n = 0;
    for (size_t i = 0; i < g->work.n; i += 2) {
        uint32_t x = g->work.v[i];
        if (g->b.symbols[x].kind == SYMBOL_RULE || (i && g->work.v[i - 2] == x))
            continue;
        bool token = g->b.symbols[x].kind == SYMBOL_TOKEN;
        if (!token && g->b.symbols[x].value == RE_ID_NOTHING)
            continue;
        if (!push_pair(g, &g->list, x, token ? RE_ID_EMPTY : g->b.symbols[x].value))
            return GRAMMAR_NONE;
    }
    return lexer_intern(g, &g->list);
}

/* The row whose kernel is g->list, sorted. */
static uint32_t row_intern(struct grammar *g, bool accepts) {
    uint32_t h = intern_hash(g->list.v, g->list.n * 4, accepts);
    size_t cursor = SIZE_MAX;
    for (uint32_t id; (id = id_table_next(&g->row_table, h, &cursor)) != GRAMMAR_NONE;) {
        struct row *o = &g->rows[id];
        if (o->accepts == accepts && o->kernel.n == g->list.n &&
            (!g->list.n || memcmp(g->pool.v + o->kernel.start, g->list.v, g->list.n * 4) == 0))
            return id;
    }
    struct budget *m = &g->b.re.budget;
    uint32_t id = (uint32_t)g->n_rows;
    struct row r = {.accepts = accepts};
    r.kernel = (struct span){(uint32_t)g->pool.n, (uint32_t)g->list.n};
    enum quern_status st = budget_grow(m, &g->rows, &g->rows_capacity, g->n_rows + 1, sizeof r);
    for (size_t i = 0; i < g->list.n && st == QUERN_OK; i++)
        st = u32s_push(m, &g->pool, g->list.v[i]);
    if (st != QUERN_OK)
        return grammar_fail(g, st);
    g->stamp++;
    for (size_t i = 0; i < g->list.n; i += 2) {
        uint32_t x = g->dots[g->list.v[i]];
        if (g->b.symbols[x].kind == SYMBOL_RULE && !predict(g, x, id))
            return GRAMMAR_NONE;
    }
    st = store_items(g, &r);
    if (st == QUERN_OK && (r.lexer = start_lexer(g)) == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    if (st == QUERN_OK)
        st = id_table_add(m, &g->row_table, h, id);
    if (st != QUERN_OK)
        return grammar_fail(g, st);
    g->rows[g->n_rows++] = r;
    return id;
}

uint32_t row_start(struct grammar *g) {
    g->list.n = 0;
    uint32_t start = g->dots[0];
    if (!push_pair(g, &g->list, 0, 0))
        return GRAMMAR_NONE;
    return row_intern(g, g->nullable[start]);
}

/* `pairs`: (row, lexer), any order. */
static uint32_t set_intern(struct grammar *g, struct u32s *pairs, bool can_end) {
    sort_pairs(pairs, 0);
    if (!pairs->n && !can_end)
        return SET_DEAD;
    uint32_t h = intern_hash(pairs->v, pairs->n * 4, 2 + can_end);
    size_t cursor = SIZE_MAX;
    for (uint32_t id; (id = id_table_next(&g->set_table, h, &cursor)) != GRAMMAR_NONE;) {
        struct span s = g->sets[id];
        if (s.n == pairs->n + 1 && g->pool.v[s.start] == can_end &&
            (!pairs->n || memcmp(g->pool.v + s.start + 1, pairs->v, pairs->n * 4) == 0))
            return id;
    }
    struct budget *m = &g->b.re.budget;
    struct span s = {(uint32_t)g->pool.n, (uint32_t)pairs->n + 1};
    enum quern_status st = budget_grow(m, &g->sets, &g->sets_capacity, g->n_sets + 1, sizeof s);
    if (st == QUERN_OK)
        st = u32s_push(m, &g->pool, can_end);
    for (size_t i = 0; i < pairs->n && st == QUERN_OK; i++)
        st = u32s_push(m, &g->pool, pairs->v[i]);
    if (st == QUERN_OK)
        st = id_table_add(m, &g->set_table, h, (uint32_t)g->n_sets);
    if (st != QUERN_OK)
        return grammar_fail(g, st);
    g->sets[g->n_sets] = s;
    return (uint32_t)g->n_sets++;
}

uint32_t set_of_row(struct grammar *g, uint32_t row) {
    struct u32s pairs = {0};
    if (row == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    uint32_t v[2] = {row, g->rows[row].lexer};
    if (v[1] != LEXER_DEAD)
        pairs = (struct u32s){v, 2, 2};
    return set_intern(g, &pairs, g->rows[row].accepts);
}

/* Adds what advance(row, symbol) gives to `kernel`. */
static bool collect(struct grammar *g, struct u32s *kernel, bool *accepts, uint32_t row,
                    uint32_t symbol) {
    uint32_t a = advance(g, row, symbol);
    if (a == GRAMMAR_NONE)
        return false;
    struct span s = g->advances[a];
    *accepts = *accepts || g->pool.v[s.start];
    for (uint32_t i = 1; i < s.n; i += 2)
        if (!push_pair(g, kernel, g->pool.v[s.start + i], g->pool.v[s.start + i + 1]))
            return false;
    return true;
}

static uint32_t row_of_kernel(struct grammar *g, struct u32s *kernel, bool accepts) {
    g->list.n = 0;
    for (size_t i = 0; i < kernel->n; i += 2)
        if (!push_pair(g, &g->list, kernel->v[i], kernel->v[i + 1]))
            return GRAMMAR_NONE;
    sort_pairs(&g->list, 0);
    return row_intern(g, accepts);
}

/* Ends a step: the row of `kernel` joins `pairs`. */
static uint32_t finish_set(struct grammar *g, struct u32s *pairs, struct u32s *kernel,
                           bool accepts) {
    if (kernel->n || accepts) {
        uint32_t row = row_of_kernel(g, kernel, accepts);
        if (row == GRAMMAR_NONE)
            return GRAMMAR_NONE;
        if (g->rows[row].lexer != LEXER_DEAD && !push_pair(g, pairs, row, g->rows[row].lexer))
            return GRAMMAR_NONE;
    }
    return set_intern(g, pairs, accepts);
}

static bool step_pair(struct grammar *g, uint32_t row, uint32_t lexer, struct u32s *pairs,
                      struct u32s *kernel, bool *accepts) {
    struct span a = g->lexers[lexer].accepts;
    for (uint32_t k = 0; k < a.n; k++)
        if (!collect(g, kernel, accepts, row, g->pool.v[a.start + k]))
            return false;
    return lexer == LEXER_DEAD || push_pair(g, pairs, row, lexer);
}

uint32_t set_step(struct grammar *g, uint32_t set, unsigned byte) {
    uint64_t key = (uint64_t)set << 8 | g->b.re.class_of[byte];
    uint32_t out;
    if (pair_map_get(&g->step_map, key, &out))
        return out;
    out = GRAMMAR_NONE;
    struct u32s pairs = {0}, kernel = {0};
    bool accepts = false;
    struct span s = g->sets[set];
    for (uint32_t i = 1; i < s.n; i += 2) {
        uint32_t row = g->pool.v[s.start + i];
        uint32_t lexer = lexer_step(g, g->pool.v[s.start + i + 1], byte);
        if (lexer == GRAMMAR_NONE || !step_pair(g, row, lexer, &pairs, &kernel, &accepts))
            goto done;
    }
    out = finish_set(g, &pairs, &kernel, accepts);
    if (out != GRAMMAR_NONE) {
        enum quern_status st = pair_map_put(&g->b.re.budget, &g->step_map, key, out);
        if (st != QUERN_OK)
            out = grammar_fail(g, st);
    }
done:
    drop(g, &pairs);
    drop(g, &kernel);
    return out;
}

uint32_t set_token(struct grammar *g, uint32_t set, uint32_t token) {
    struct u32s pairs = {0}, kernel = {0};
    bool accepts = false;
    uint32_t out = GRAMMAR_NONE;
    for (uint32_t i = 1; i < g->sets[set].n; i += 2) {
        const uint32_t *p = g->pool.v + g->sets[set].start + i;
        uint32_t row = p[0];
        struct span s = g->lexers[p[1]].pairs;
        for (uint32_t k = 0; k < s.n; k += 2) {
            uint32_t x = g->pool.v[s.start + k];
            if (g->b.symbols[x].kind != SYMBOL_TOKEN || g->b.symbols[x].value != token)
                continue;
            if (!collect(g, &kernel, &accepts, row, x))
                goto done;
        }
    }
    out = finish_set(g, &pairs, &kernel, accepts);
done:
    drop(g, &pairs);
    drop(g, &kernel);
    return out;
}

uint32_t row_exit(struct grammar *g, uint32_t row, uint32_t lexer) {
    uint64_t key = (uint64_t)row << 32 | lexer;
    uint32_t out = GRAMMAR_NONE;
    if (pair_map_get(&g->exit_map, key, &out))
        return out;
    struct u32s pairs = {0}, kernel = {0};
    bool accepts = false;
    if (step_pair(g, row, lexer, &pairs, &kernel, &accepts))
        out = row_of_kernel(g, &kernel, accepts);
    if (out != GRAMMAR_NONE) {
        enum quern_status st = pair_map_put(&g->b.re.budget, &g->exit_map, key, out);
        if (st != QUERN_OK)
            out = grammar_fail(g, st);
    }
    drop(g, &pairs);
    drop(g, &kernel);
    return out;
}
