/* The constructors. They keep a normal form in which nothing and anything are absorbed, or
 * and and are flat and sorted, and concatenations lean right: so that derivatives, of which
 * there are finitely many up to these laws, meet again in the table. */
#include "grammar/regex.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "text/unicode.h"

static expr_id re_intern(struct regex_store *s, struct re_node node, const void *content,
                         size_t bytes);

enum quern_status regex_store_init(struct regex_store *s, const struct grammar_limits *limits) {
    memset(s, 0, sizeof *s);
    s->budget.max = limits->max_bytes;
    s->max_exprs = limits->max_exprs;
    s->fuel = limits->compile_fuel;
    if (limits->compile_ms)
        s->deadline_ns = os_now_ns() + limits->compile_ms * UINT64_C(1000000);
    s->n_classes = 1;
    s->class_size[0] = 256;
    struct re_node node = {.kind = RE_NOTHING, .emptiness = 2};
    re_intern(s, node, NULL, 0);
    node = (struct re_node){.kind = RE_EMPTY, .nullable = true, .text = RE_TEXT};
    re_intern(s, node, NULL, 0);
    node = (struct re_node){.kind = RE_ANYTHING, .nullable = true};
    re_intern(s, node, NULL, 0);
    return s->failed ? s->error.code : QUERN_OK;
}

void regex_store_release(struct regex_store *s) {
    free(s->nodes);
    free(s->content);
    id_table_release(&s->table);
    pair_map_release(&s->derivatives);
    free(s->partitions);
    id_table_release(&s->partition_table);
    pair_map_release(&s->meets);
    u32s_release(&s->scratch);
    memset(s, 0, sizeof *s);
}

expr_id regex_fail(struct regex_store *s, enum quern_status code, const char *what) {
    if (!s->failed) {
        s->failed = true;
        if (code == QUERN_ERR_NOMEM)
            error_nomem(&s->error);
        else
            error_set(&s->error, code, "grammar: %s", what);
    }
    return GRAMMAR_NONE;
}

/* The clock is looked at every some thousand steps. */
static bool in_time(struct regex_store *s, uint64_t n) {
    s->asked += n;
    if (s->asked < 4096)
        return true;
    s->asked = 0;
    if (os_now_ns() < s->deadline_ns)
        return true;
    regex_fail(s, QUERN_ERR_LIMIT, "too complex: compiling it takes longer than is allowed");
    return false;
}

bool regex_burn(struct regex_store *s, uint64_t n) {
    if (s->failed)
        return false;
    if (s->fuel < n) {
        s->fuel = 0;
        regex_fail(s, QUERN_ERR_LIMIT, "too complex: the limit of steps is used up");
        return false;
    }
    s->fuel -= n;
    return !s->deadline_ns || in_time(s, n);
}

/* Splits the classes that `set` cuts through. The smallest byte of a class represents it, so
 * an old representative keeps its class and cached derivatives stay true. */
static void refine_classes(struct regex_store *s, const uint64_t set[4]) {
    int moved[256];
    if (s->n_classes == 256)
        return;
    for (unsigned i = 0; i < s->n_classes; i++)
        moved[i] = -1;
    unsigned n_old = s->n_classes;
    for (unsigned c = 0; c < 256; c++) {
        unsigned k = s->class_of[c], r = s->representative[k];
        bool in = set[c / 64] >> (c % 64) & 1, as_first = set[r / 64] >> (r % 64) & 1;
        if (k >= n_old || in == as_first)
            continue;
        if (moved[k] < 0) {
            moved[k] = (int)s->n_classes++;
            s->representative[moved[k]] = (uint8_t)c;
        }
        s->class_of[c] = (uint8_t)moved[k];
        s->class_size[k]--;
        s->class_size[moved[k]]++;
    }
}

static void refine_byte(struct regex_store *s, unsigned c) {
    uint64_t set[4] = {0};
    if (s->class_size[s->class_of[c]] == 1)
        return;
    set[c / 64] |= UINT64_C(1) << (c % 64);
    refine_classes(s, set);
}

static bool same(const struct regex_store *s, expr_id id, const struct re_node *node,
                 const void *content, size_t bytes) {
    const struct re_node *o = &s->nodes[id];
    if (o->kind != node->kind)
        return false;
    if (content)
        return o->b == bytes && memcmp(s->content + o->a, content, bytes) == 0;
    return o->a == node->a && o->b == node->b && o->c == node->c;
}

static uint32_t plus(uint32_t a, uint32_t b) {
    return a < GRAMMAR_INF - b ? a + b : GRAMMAR_INF;
}

static uint32_t way_of_parts(const struct regex_store *s, const struct re_node *node,
                             const uint32_t *parts, size_t n) {
    uint32_t out = node->kind == RE_OR ? GRAMMAR_INF : 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t way = s->nodes[parts[i]].way;
        if (node->kind == RE_AND)
            out = plus(out, way);
        else
            out = way < out ? way : out;
    }
    return out;
}

static uint32_t way_of(const struct regex_store *s, const struct re_node *node, const void *content,
                       size_t bytes) {
    switch (node->kind) {
    case RE_BYTES:
        return 1;
    case RE_LITERAL:
        return (uint32_t)bytes;
    case RE_CONCAT:
        return plus(s->nodes[node->a].way, s->nodes[node->b].way);
    case RE_OR:
    case RE_AND:
        return way_of_parts(s, node, content, bytes / sizeof(uint32_t));
    case RE_REPEAT: {
        const uint64_t way = (uint64_t)s->nodes[node->a].way * node->b;
        return way < GRAMMAR_INF ? (uint32_t)way : GRAMMAR_INF;
    }
    case RE_JSON:
        return plus(s->nodes[node->a].way, node->b & ~(uint32_t)RE_JSON_FLAGS ? 1 : 0);
    default:
        return !node->nullable;
    }
}

/* `content` may lie in s->scratch, not in s->content. */
static expr_id re_intern(struct regex_store *s, struct re_node node, const void *content,
                         size_t bytes) {
    uint32_t key[4] = {node.kind, node.a, node.b, node.c};
    uint32_t h = content ? intern_hash(content, bytes, node.kind) : intern_hash(key, sizeof key, 0);
    size_t cursor = SIZE_MAX;
    for (expr_id id; (id = id_table_next(&s->table, h, &cursor)) != GRAMMAR_NONE;)
        if (same(s, id, &node, content, bytes))
            return id;
    if (s->n >= s->max_exprs)
        return regex_fail(s, QUERN_ERR_LIMIT, "too many expressions");
    if (node.depth > RE_MAX_DEPTH)
        return regex_fail(s, QUERN_ERR_LIMIT, "an expression is nested too deep");
    if (!regex_burn(s, 1 + bytes / 8))
        return GRAMMAR_NONE;
    size_t words = (bytes + 7) / 8;
    enum quern_status st =
        budget_grow(&s->budget, &s->nodes, &s->capacity, s->n + 1, sizeof *s->nodes);
    if (st == QUERN_OK && content)
        st = budget_grow(&s->budget, &s->content, &s->content_capacity, s->n_content + words,
                         sizeof *s->content);
    if (st == QUERN_OK && s->n_content + words > UINT32_MAX)
        st = QUERN_ERR_LIMIT;
    if (st == QUERN_OK)
        st = id_table_add(&s->budget, &s->table, h, (uint32_t)s->n);
    if (st != QUERN_OK)
        return regex_fail(s, st, "out of its limit of bytes");
    node.way = way_of(s, &node, content, bytes);
    if (content) {
        memcpy(s->content + s->n_content, content, bytes);
        node.a = (uint32_t)s->n_content;
        node.b = (uint32_t)bytes;
        s->n_content += words;
    }
    s->nodes[s->n] = node;
    return (expr_id)s->n++;
}

expr_id re_bytes(struct regex_store *s, const uint64_t set[4]) {
    if (!(set[0] | set[1] | set[2] | set[3]))
        return RE_ID_NOTHING;
    refine_classes(s, set);
    const uint8_t text = set[2] | set[3] ? RE_BYTES_ONLY : RE_CHARACTER;
    return re_intern(s, (struct re_node){.kind = RE_BYTES, .text = text}, set, 4 * sizeof *set);
}

expr_id re_range(struct regex_store *s, unsigned lo, unsigned hi) {
    uint64_t set[4] = {0};
    for (unsigned c = lo; c <= hi && c < 256; c++)
        set[c / 64] |= UINT64_C(1) << (c % 64);
    return re_bytes(s, set);
}

expr_id re_literal(struct regex_store *s, struct str text) {
    expr_id tail = RE_ID_EMPTY;
    if (!text.len)
        return tail;
    for (size_t i = 0; i < text.len; i++)
        refine_byte(s, (unsigned char)text.ptr[i]);
    size_t start = (text.len - 1) / RE_LITERAL_MAX * RE_LITERAL_MAX;
    for (size_t end = text.len;; end = start, start -= RE_LITERAL_MAX) {
        char piece[RE_LITERAL_MAX]; /* text may lie in s->content, which moves */
        memcpy(piece, text.ptr + start, end - start);
        const uint8_t known = utf8_valid((struct str){piece, end - start}) ? RE_TEXT : RE_BYTES_ONLY;
        expr_id x = re_intern(s, (struct re_node){.kind = RE_LITERAL, .text = known}, piece,
                              end - start);
        tail = re_concat(s, x, tail);
        if (start == 0 || s->failed)
            return tail;
    }
}

static uint16_t max_depth(uint16_t a, uint16_t b) {
    return a > b ? a : b;
}

static expr_id concat_two(struct regex_store *s, expr_id x, expr_id y) {
    struct re_node p = s->nodes[x], q = s->nodes[y];
    struct re_node node = {.kind = RE_CONCAT, .a = x, .b = y};
    node.nullable = p.nullable && q.nullable;
    node.searchy = p.searchy || q.searchy;
    node.text = p.text && q.text ? RE_TEXT : RE_BYTES_ONLY;
    /* Deriving enters y only when x is nullable: a long chain is not deep. */
    node.depth = (uint16_t)(1 + max_depth(p.depth, p.nullable ? q.depth : 0));
    return re_intern(s, node, NULL, 0);
}

expr_id re_concat(struct regex_store *s, expr_id x, expr_id y) {
    if (s->failed || x == GRAMMAR_NONE || y == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    if (x == RE_ID_NOTHING || y == RE_ID_NOTHING)
        return RE_ID_NOTHING;
    if (x == RE_ID_EMPTY || y == RE_ID_EMPTY)
        return x == RE_ID_EMPTY ? y : x;
    if (x == RE_ID_ANYTHING && y == RE_ID_ANYTHING)
        return x;
    size_t base = s->scratch.n;
    enum quern_status st = QUERN_OK;
    for (; st == QUERN_OK && s->nodes[x].kind == RE_CONCAT; x = s->nodes[x].b)
        st = u32s_push(&s->budget, &s->scratch, s->nodes[x].a);
    if (st != QUERN_OK || !regex_burn(s, s->scratch.n - base)) {
        s->scratch.n = base;
        return regex_fail(s, st, "out of its limit of bytes");
    }
    y = concat_two(s, x, y);
    while (s->scratch.n > base && y != GRAMMAR_NONE)
        y = concat_two(s, s->scratch.v[--s->scratch.n], y);
    s->scratch.n = base;
    return y;
}

static int compare_ids(const void *a, const void *b) {
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Pushes the operands of a flat or/and on the scratch stack; byte sets go into `set`. */
static enum quern_status flatten(struct regex_store *s, enum re_kind kind, expr_id x,
                                 uint64_t set[4], bool *has_set) {
    struct re_node n = s->nodes[x];
    if (n.kind == RE_BYTES) {
        for (int i = 0; i < 4; i++) {
            uint64_t w = s->content[n.a + (size_t)i];
            set[i] = kind == RE_OR ? set[i] | w : set[i] & w;
        }
        *has_set = true;
        return QUERN_OK;
    }
    if (n.kind != kind)
        return u32s_push(&s->budget, &s->scratch, x);
    for (size_t i = 0; i < n.b / sizeof(uint32_t); i++) {
        uint32_t child;
        memcpy(&child, (const char *)(s->content + n.a) + i * sizeof child, sizeof child);
        enum quern_status st = flatten(s, kind, child, set, has_set); /* one level: flat */
        if (st != QUERN_OK)
            return st;
    }
    return QUERN_OK;
}

/* The sorted operands at scratch[base..]: drops doubles and what the others absorb. Returns
 * true when the whole is decided, in *out. */
static bool simplify(struct regex_store *s, enum re_kind kind, size_t base, expr_id *out) {
    uint32_t *v = s->scratch.v + base;
    size_t n = 0, n_all = s->scratch.n - base;
    uint32_t absorbing = kind == RE_OR ? RE_ID_ANYTHING : RE_ID_NOTHING;
    uint32_t neutral = kind == RE_OR ? RE_ID_NOTHING : RE_ID_ANYTHING;
    bool has_empty = false, nullable = kind == RE_AND;
    for (size_t i = 0; i < n_all; i++) {
        if (v[i] == absorbing) {
            *out = absorbing;
            return true;
        }
        if (v[i] == neutral || (n && v[n - 1] == v[i]))
            continue;
        if (v[i] == RE_ID_EMPTY)
            has_empty = true;
        else if (kind == RE_OR)
            nullable = nullable || s->nodes[v[i]].nullable;
        else
            nullable = nullable && s->nodes[v[i]].nullable;
        v[n++] = v[i];
    }
    s->scratch.n = base + n;
    if (kind == RE_AND && has_empty) {
        *out = nullable ? RE_ID_EMPTY : RE_ID_NOTHING;
        return true;
    }
    if (kind == RE_OR && has_empty && nullable) { /* empty is the smallest id here */
        memmove(v, v + 1, (n - 1) * sizeof *v);
        s->scratch.n = base + --n;
    }
    *out = n == 0 ? neutral : n == 1 ? v[0] : GRAMMAR_NONE;
    return n < 2;
}

static bool has_complement(const struct regex_store *s, const uint32_t *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s->nodes[v[i]].kind != RE_NOT)
            continue;
        uint32_t x = s->nodes[v[i]].a;
        if (bsearch(&x, v, n, sizeof *v, compare_ids))
            return true;
    }
    return false;
}

/* Counts of the same character, and texts among texts. */
static bool narrow(struct regex_store *s, size_t base) {
    uint32_t *v = s->scratch.v + base;
    size_t n = s->scratch.n - base, last = SIZE_MAX;
    bool text = false, changed = false;
    for (size_t i = 0; i < n; i++) {
        struct re_node c = s->nodes[v[i]];
        text = text || (c.text && v[i] != s->any_text);
        if (c.kind != RE_REPEAT || s->nodes[c.a].text != RE_CHARACTER)
            continue;
        struct re_node o = last == SIZE_MAX ? c : s->nodes[v[last]];
        if (last != SIZE_MAX && o.a == c.a) {
            const uint32_t min = o.b > c.b ? o.b : c.b, max = o.c < c.c ? o.c : c.c;
            expr_id both = min > max ? RE_ID_NOTHING : re_repeat(s, c.a, min, max);
            v = s->scratch.v + base;
            v[i] = both;
            v[last] = RE_ID_ANYTHING;
            changed = true;
        }
        last = i;
    }
    for (size_t i = 0; i < n && text; i++)
        if (v[i] == s->any_text && s->any_text) {
            v[i] = RE_ID_ANYTHING;
            changed = true;
        }
    return changed;
}

/* Of counted loops, seen by their form alone: false may be wrong. */
static bool is_within(struct regex_store *s, expr_id x, expr_id y, unsigned depth) {
    if (x == y)
        return true;
    const struct re_node p = s->nodes[x], q = s->nodes[y];
    if (depth == 0 || !regex_burn(s, 1))
        return false;
    if (p.kind == RE_REPEAT && q.kind == RE_REPEAT)
        return p.a == q.a && q.b <= p.b && p.c <= q.c;
    if (p.kind == RE_CONCAT && q.kind == RE_CONCAT && is_within(s, p.a, q.a, depth - 1) &&
        is_within(s, p.b, q.b, depth - 1))
        return true;
    return q.kind == RE_CONCAT && s->nodes[q.a].nullable && is_within(s, x, q.b, depth - 1);
}

enum { WITHIN_DEPTH = 8 };

static bool begins_with_loop(const struct regex_store *s, expr_id x) {
    const struct re_node n = s->nodes[x];
    return n.kind == RE_REPEAT || (n.kind == RE_CONCAT && s->nodes[n.a].kind == RE_REPEAT);
}

/* Loops within loops can be cut in many ways: x{0,5}y{1,9} makes x{0,3}y{2,9} needless, and without
 * such ways what is left of `(.{1,63}\.){1,127}` stays small. */
static void drop_within(struct regex_store *s, size_t base) {
    uint32_t *v = s->scratch.v + base;
    size_t n = s->scratch.n - base, kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool needless = false;
        for (size_t k = 0; k < n && begins_with_loop(s, v[i]) && !needless; k++)
            needless = k != i && v[k] != RE_ID_NOTHING && begins_with_loop(s, v[k]) &&
                       is_within(s, v[i], v[k], WITHIN_DEPTH);
        if (needless)
            v[i] = RE_ID_NOTHING;
    }
    for (size_t i = 0; i < n; i++)
        if (v[i] != RE_ID_NOTHING)
            v[kept++] = v[i];
    s->scratch.n = base + kept;
}

static bool has_operand(const struct regex_store *s, expr_id x, expr_id wanted) {
    const struct re_node n = s->nodes[x];
    uint32_t child;
    for (size_t i = 0; n.kind == RE_OR && i < n.b / sizeof child; i++) {
        memcpy(&child, (const char *)(s->content + n.a) + i * sizeof child, sizeof child);
        if (child == wanted)
            return true;
    }
    return x == wanted;
}

/* A text, and no text: what is left of `^(?!.*x)` behind an x. */
static bool excludes_all_text(const struct regex_store *s, const uint32_t *v, size_t n) {
    bool text = false, none = false;
    for (size_t i = 0; i < n && s->any_text; i++) {
        const struct re_node c = s->nodes[v[i]];
        text = text || c.text;
        none = none || (c.kind == RE_NOT && has_operand(s, c.a, s->any_text));
    }
    return text && none;
}

static expr_id finish_nary(struct regex_store *s, enum re_kind kind, size_t base) {
    expr_id out = GRAMMAR_NONE;
    if (simplify(s, kind, base, &out))
        return out;
    while (kind == RE_AND && narrow(s, base)) {
        if (s->failed)
            return GRAMMAR_NONE;
        sort_ids(s->scratch.v + base, s->scratch.n - base);
        if (simplify(s, kind, base, &out))
            return out;
    }
    if (kind == RE_OR)
        drop_within(s, base);
    const uint32_t *v = s->scratch.v + base;
    size_t k = s->scratch.n - base;
    if (k == 1)
        return v[0];
    if (kind == RE_AND && excludes_all_text(s, v, k))
        return RE_ID_NOTHING;
    if (has_complement(s, v, k))
        return kind == RE_OR ? RE_ID_ANYTHING : RE_ID_NOTHING;
    struct re_node node = {
        .kind = (uint8_t)kind, .nullable = kind == RE_AND, .searchy = kind == RE_AND};
    node.text = kind == RE_OR ? RE_CHARACTER : RE_BYTES_ONLY;
    for (size_t i = 0; i < k; i++) {
        struct re_node c = s->nodes[v[i]];
        node.nullable = kind == RE_OR ? node.nullable || c.nullable : node.nullable && c.nullable;
        node.searchy = node.searchy || c.searchy;
        if (kind == RE_OR ? c.text < node.text : c.text > node.text)
            node.text = c.text;
        node.depth = max_depth(node.depth, c.depth);
    }
    node.depth++;
    return re_intern(s, node, v, k * sizeof *v);
}

expr_id re_nary_scratch(struct regex_store *s, enum re_kind kind, size_t base) {
    size_t from = base, end = s->scratch.n;
    uint64_t set[4];
    memset(set, kind == RE_OR ? 0 : 0xff, sizeof set);
    bool has_set = false;
    enum quern_status st = QUERN_OK;
    for (base = end; from < end && st == QUERN_OK; from++) {
        expr_id x = s->scratch.v[from];
        st = x == GRAMMAR_NONE ? QUERN_ERR_ARG : flatten(s, kind, x, set, &has_set);
    }
    if (st == QUERN_OK && has_set) {
        expr_id merged = re_bytes(s, set);
        st = merged == GRAMMAR_NONE ? s->error.code : u32s_push(&s->budget, &s->scratch, merged);
    }
    expr_id out = GRAMMAR_NONE;
    if (st != QUERN_OK) {
        regex_fail(s, st, st == QUERN_ERR_ARG ? "invalid operand" : "out of its limit of bytes");
    } else if (regex_burn(s, s->scratch.n - base)) {
        if (s->scratch.n > base)
            sort_ids(s->scratch.v + base, s->scratch.n - base);
        out = finish_nary(s, kind, base);
    }
    s->scratch.n = end;
    return out;
}

expr_id re_nary(struct regex_store *s, enum re_kind kind, const expr_id *x, size_t n) {
    size_t base = s->scratch.n;
    enum quern_status st = s->failed ? s->error.code : QUERN_OK;
    for (size_t i = 0; i < n && st == QUERN_OK; i++)
        st = u32s_push(&s->budget, &s->scratch, x[i]);
    expr_id out = st == QUERN_OK ? re_nary_scratch(s, kind, base)
                                 : regex_fail(s, st, "out of its limit of bytes");
    s->scratch.n = base;
    return out;
}

expr_id re_pair(struct regex_store *s, enum re_kind kind, expr_id x, expr_id y) {
    if (x == GRAMMAR_NONE || y == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    if (x == y)
        return x;
    expr_id v[2] = {x, y};
    return re_nary(s, kind, v, 2);
}

expr_id re_not(struct regex_store *s, expr_id x) {
    if (s->failed || x == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    if (x == RE_ID_NOTHING)
        return RE_ID_ANYTHING;
    if (x == RE_ID_ANYTHING)
        return RE_ID_NOTHING;
    struct re_node c = s->nodes[x];
    if (c.kind == RE_NOT)
        return c.a;
    struct re_node node = {.kind = RE_NOT, .a = x, .nullable = !c.nullable, .searchy = true};
    node.depth = (uint16_t)(c.depth + 1);
    return re_intern(s, node, NULL, 0);
}

expr_id re_repeat(struct regex_store *s, expr_id x, uint32_t min, uint32_t max) {
    if (s->failed || x == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    struct re_node c = s->nodes[x];
    if (min > max || min == GRAMMAR_INF)
        return regex_fail(s, QUERN_ERR_ARG, "a repetition has a minimum above its maximum");
    if (c.nullable)
        min = 0;
    if (max == 0 || x == RE_ID_EMPTY)
        return RE_ID_EMPTY;
    if (x == RE_ID_NOTHING)
        return min == 0 ? RE_ID_EMPTY : RE_ID_NOTHING;
    bool star = c.kind == RE_REPEAT && c.b == 0 && c.c == GRAMMAR_INF;
    if (x == RE_ID_ANYTHING || star || (min == 1 && max == 1) || (c.nullable && max == 1))
        return x;
    struct re_node node = {.kind = RE_REPEAT, .a = x, .b = min, .c = max};
    node.nullable = min == 0;
    node.text = c.text ? RE_TEXT : RE_BYTES_ONLY;
    node.searchy = c.searchy && min > 0;
    node.depth = (uint16_t)(c.depth + 1);
    return re_intern(s, node, NULL, 0);
}

expr_id re_remainder(struct regex_store *s, uint32_t div, uint32_t rem, uint32_t wanted) {
    if (s->failed)
        return GRAMMAR_NONE;
    if (div == 0 || div > INT32_MAX || rem >= div || wanted >= div)
        return regex_fail(s, QUERN_ERR_ARG, "a divisor is out of range");
    for (unsigned c = '0'; c <= '9'; c++)
        refine_byte(s, c);
    struct re_node node = {
        .kind = RE_MULTIPLE, .a = div, .b = rem, .c = wanted, .nullable = rem == wanted};
    node.text = RE_TEXT;
    return re_intern(s, node, NULL, 0);
}

expr_id re_json(struct regex_store *s, expr_id x, uint32_t state, uint32_t value) {
    if (s->failed || x == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    const bool between = (state & ~(uint32_t)RE_JSON_FLAGS) == 0; /* two characters */
    if (x == RE_ID_NOTHING || (x == RE_ID_EMPTY && between))
        return x;
    /* Escapes name any character, and json_rest asks for ranges of them: no two bytes may
     * share a class, because the automata's tables are as wide as the classes were. */
    for (unsigned c = 0; c < 256 && s->n_classes < 256; c++)
        refine_byte(s, c);
    struct re_node c = s->nodes[x];
    struct re_node node = {.kind = RE_JSON, .a = x, .b = state, .c = value};
    node.nullable = between && c.nullable;
    node.searchy = !between || c.searchy;
    node.depth = (uint16_t)(c.depth + 1);
    return re_intern(s, node, NULL, 0);
}
