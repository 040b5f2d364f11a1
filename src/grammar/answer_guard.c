/* answer_guard.c - forms, calls and thinking as one constraint. */
#include "grammar/answer_guard.h"

#include <stdio.h>
#include <stdlib.h>

#include "grammar/ending.h"
#include "grammar/grammar_cache.h"
#include "text/json.h"

enum {
    GUARD_BYTES_MAX = 192 << 20,
    GUARD_COMPILE_MS = 3000,
    NAME_BYTES_MAX = 4096,
    KEY_BYTES_MAX = 32 << 20,
    CLOSE_AGAIN = 16,
};

struct answer_guard {
    const struct token_image *image;
    struct shared_grammar *shared;
    struct matcher matcher; /* used under the lock of `shared` */
    struct constraint constraint;
    enum answer_thinking thinking;
    struct answer_markers markers;
    uint32_t n_tokens, close_after;
    struct ending ending; /* while the answer is being closed */
    bool closing;
    bool in_time;
    size_t least_tokens; /* of a whole answer, when in_time */
};

/* ---- markers --------------------------------------------------------------------- */

void answer_markers_find(const struct tokenizer *t, struct answer_markers *out) {
    *out = (struct answer_markers){
        .think_begin = tokenizer_added_id(t, STR_LIT("<think>")),
        .think_end = tokenizer_added_id(t, STR_LIT("</think>")),
        .tool_begin = tokenizer_added_id(t, STR_LIT("<tool_call>")),
        .tool_end = tokenizer_added_id(t, STR_LIT("</tool_call>")),
    };
    if (out->think_begin < 0 || out->think_end < 0)
        out->think_begin = out->think_end = -1;
    if (out->tool_begin < 0 || out->tool_end < 0)
        out->tool_begin = out->tool_end = -1;
}

enum answer_thinking answer_thinking_of(const struct tokenizer *t, const struct answer_markers *m,
                                        const int32_t *ids, size_t n, bool may_think) {
    if (m->think_begin < 0)
        return THINKING_OVER;
    for (size_t i = n; i-- > 0;) {
        if (ids[i] == m->think_begin)
            return THINKING_OPEN;
        if (ids[i] == m->think_end)
            return THINKING_OVER;
        struct str bytes = tokenizer_token_bytes(t, ids[i]);
        for (size_t k = 0; k < bytes.len;
             k++) /* only white space may follow a marker that counts */
            if (bytes.ptr[k] != '\n' && bytes.ptr[k] != ' ')
                return may_think ? THINKING_POSSIBLE : THINKING_OVER;
    }
    return may_think ? THINKING_POSSIBLE : THINKING_OVER;
}

/* ---- the grammar ------------------------------------------------------------------- */

static symbol_id marker(struct grammar_builder *b, int32_t token, const char *spelling) {
    return token >= 0 ? grammar_token(b, token, spelling) : grammar_literal(b, spelling);
}

/* Text without the spelling of a call's beginning: that is a call. */
static symbol_id free_text(struct grammar_builder *b, bool calls) {
    expr_id any = expr_chars_any(b);
    if (calls)
        any = expr_and(b, any, expr_not(b, expr_contains(b, expr_text(b, "<tool_call>"))));
    return grammar_terminal(b, any, "text");
}

static symbol_id form(struct grammar_builder *b, const struct answer_rules *r,
                      const struct tokenizer *tokenizer, struct buffer *report) {
    const struct form_source source = {.form = r->form,
                                       .text = r->text,
                                       .choices = r->choices,
                                       .n_choices = r->n_choices,
                                       .schema = r->schema,
                                       .tokenizer = tokenizer};
    return r->form == ANSWER_FREE ? free_text(b, r->calls != CALLS_NONE)
                                  : answer_form_build(b, &source, report);
}

/* The arguments of a tool, as models write them: on one line. */
static symbol_id parameters(struct grammar_builder *b, const struct answer_rules *r,
                            const struct answer_tool *tool, struct buffer *report) {
    const struct schema_options options = {.spacing = SCHEMA_PYTHON,
                                           .assert_formats = true,
                                           .policy = tool->strict ? SCHEMA_STRICT : SCHEMA_DEFAULT};
    const struct str schema =
        tool->parameters.len ? tool->parameters : STR_LIT("{\"type\": \"object\"}");
    symbol_id out = GRAMMAR_NONE;
    char name[96];
    snprintf(name, sizeof name, "parameters of \"%.*s\"",
             tool->name.len < 64 ? (int)tool->name.len : 64, tool->name.len ? tool->name.ptr : "");
    if (r->style == CALL_CODER)
        json_schema_build_parameters(b, schema, name, &options, &out, report, NULL);
    else
        json_schema_build(b, schema, name, &options, &out, report, NULL);
    return out;
}

/* What stands before a call's arguments. */
static void write_head(const struct answer_rules *r, struct str name, struct buffer *out) {
    buffer_clear(out);
    if (r->style == CALL_CODER) {
        buffer_puts(out, "<function=");
        buffer_append_str(out, name);
        buffer_puts(out, ">\n");
    } else {
        buffer_puts(out, "{\"name\": ");
        json_write_string(name, out);
        buffer_puts(out, ", \"arguments\": ");
    }
}

static void check_tool_name(struct grammar_builder *b, const struct answer_rules *r,
                            struct str name) {
    if (!name.len || name.len > NAME_BYTES_MAX)
        grammar_builder_fail(b, QUERN_ERR_LIMIT,
                             "the name of a tool has %zu bytes, expected 1 to %d", name.len,
                             NAME_BYTES_MAX);
    else if (r->style == CALL_CODER &&
             (memchr(name.ptr, '>', name.len) || memchr(name.ptr, '\n', name.len)))
        grammar_builder_fail(
            b, QUERN_ERR_UNSUPPORTED,
            "the name of a tool has a '>' or a line break, which this model cannot "
            "write");
}

/* Names are told apart byte by byte, so that one may begin another. */
static symbol_id one_call(struct grammar_builder *b, const struct answer_rules *r,
                          struct buffer *report) {
    symbol_id any = grammar_rule(b, "a call");
    symbol_id end = grammar_literal(b, r->style == CALL_CODER ? "</function>" : "}");
    struct buffer head;
    buffer_init(&head, 8 * NAME_BYTES_MAX);
    for (size_t i = 0; i < r->n_tools && !grammar_builder_failed(b); i++) {
        check_tool_name(b, r, r->tools[i].name);
        write_head(r, r->tools[i].name, &head);
        if (head.failed)
            grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
        symbol_id name =
            grammar_terminal(b, expr_literal(b, buffer_str(&head)), "the name of a tool");
        symbol_id arguments = parameters(b, r, &r->tools[i], report);
        grammar_produce3(b, any, name, arguments, end);
    }
    buffer_release(&head);
    return any;
}

static symbol_id calls(struct grammar_builder *b, const struct answer_rules *r,
                       struct buffer *report) {
    symbol_id newline = grammar_literal(b, "\n");
    const symbol_id parts[] = {marker(b, r->markers.tool_begin, "<tool_call>"), newline,
                               one_call(b, r, report), newline,
                               marker(b, r->markers.tool_end, "</tool_call>")};
    symbol_id call = grammar_sequence(b, parts, 5);
    return grammar_separated(b, call, newline, 1, r->parallel ? GRAMMAR_INF : 1);
}

static symbol_id whole(struct grammar_builder *b, const struct answer_rules *r,
                       const struct tokenizer *tokenizer, struct buffer *report) {
    symbol_id out;
    if (r->calls == CALLS_REQUIRED) {
        out = calls(b, r, report);
    } else {
        out = form(b, r, tokenizer, report);
        if (r->calls == CALLS_AUTO) {
            symbol_id called = calls(b, r, report);
            if (r->form == ANSWER_FREE)
                called = grammar_sequence2(b, out, called);
            out = grammar_alternatives2(b, out, called);
        }
    }
    if (r->thinking == THINKING_OVER)
        return out;
    /* What models write between the block and the answer. */
    expr_id gap = expr_repeat(b, expr_text(b, "\n"), 0, 2);
    return grammar_sequence2(b, grammar_terminal(b, gap, "line breaks"), out);
}

/* ---- the constraint ------------------------------------------------------------------ */

static void set_bit(uint32_t *mask, int32_t n_vocab, int32_t token) {
    if (token >= 0 && token < n_vocab)
        mask[token / 32] |= 1u << (token % 32);
}

/* Ordinary tokens, and the end of the block; the answer cannot end here. */
static void thinking_mask(const struct answer_guard *g, uint32_t *mask, int32_t n_vocab) {
    memset(mask, 0, ((size_t)n_vocab + 31) / 32 * sizeof *mask);
    for (size_t i = 0; i < g->image->n_ranked; i++)
        set_bit(mask, n_vocab, g->image->tokens[i]);
    set_bit(mask, n_vocab, g->markers.think_end);
}

/* Past its length the answer goes the shortest way to its end, found once. False: it does not. */
static bool is_closing(struct answer_guard *g) {
    if (g->closing)
        return g->ending.at < g->ending.n;
    if (!g->close_after || g->n_tokens < g->close_after || matcher_can_end(&g->matcher))
        return false;
    g->closing = ending_find(&g->matcher, &g->ending);
    if (!g->closing)
        g->close_after += CLOSE_AGAIN;
    return g->closing;
}

/* Leaves of the mask what goes that way: one token, or where the text may end its end. */
static void close_mask(struct answer_guard *g, uint32_t *mask, int32_t n_vocab) {
    size_t n;
    const size_t words = ((size_t)n_vocab + 31) / 32;
    if (is_closing(g)) {
        const int32_t token = ending_next_token(&g->ending, g->image, &n);
        if (token < 0 || token >= n_vocab || !(mask[token / 32] >> (token % 32) & 1))
            return;
        memset(mask, 0, words * sizeof *mask);
        set_bit(mask, n_vocab, token);
    } else if ((g->closing || (g->close_after && g->n_tokens >= g->close_after)) &&
               matcher_can_end(&g->matcher) && g->matcher.n_end_tokens > 0) {
        memset(mask, 0, words * sizeof *mask);
        for (size_t i = 0; i < g->matcher.n_end_tokens; i++)
            set_bit(mask, n_vocab, g->matcher.end_tokens[i]);
    }
}

/* A token that goes another way ends the closing; the next mask looks for a new way. */
static void follow_ending(struct answer_guard *g, int32_t token) {
    size_t n;
    g->n_tokens++;
    if (!g->closing)
        return;
    if (token == ending_next_token(&g->ending, g->image, &n))
        g->ending.at += n;
    else
        g->closing = false;
}

/* ---- in time ------------------------------------------------------------------------- */

/* At most how many tokens lead from where `m` stands to the end: more than the fewest where that is
 * not above `enough`, which is quicker. False: there is no telling. */
static bool tokens_to_end(const struct answer_guard *g, struct matcher *m, size_t enough,
                          size_t *n) {
    struct ending ending = {0};
    uint32_t n_steps;
    if (!ending_length(m, &n_steps))
        return false;
    *n = n_steps;
    if (n_steps <= enough)
        return true;
    const bool found = ending_find(m, &ending);
    *n = ending_count(&ending, g->image);
    ending_release(&ending);
    return found;
}

/* Whether the answer can still end, end token included, when `token` is one of n_left. */
static bool leaves_time(const struct answer_guard *g, int32_t token, size_t n_left) {
    struct matcher after = g->matcher;
    size_t n;
    return matcher_accept_token(&after, token, NULL) != QUERN_OK || after.state.ended ||
           !tokens_to_end(g, &after, n_left < 2 ? 0 : n_left - 2, &n) || n + 2 <= n_left;
}

static int32_t settle_answer(struct answer_guard *g, int32_t token, size_t n_left) {
    size_t n;
    if (g->closing || leaves_time(g, token, n_left))
        return token;
    if (matcher_can_end(&g->matcher))
        return g->matcher.n_end_tokens ? g->matcher.end_tokens[0] : token;
    g->closing = ending_find(&g->matcher, &g->ending);
    if (!g->closing)
        return token;
    const int32_t first = ending_next_token(&g->ending, g->image, &n);
    return first >= 0 ? first : token;
}

static int32_t guard_settle(void *state, int32_t token, size_t n_left) {
    struct answer_guard *g = state;
    if (!g->in_time)
        return token;
    /* What is needed behind this token: the block's end, the answer, an end token. */
    const bool fits = g->least_tokens + 3 <= n_left;
    if (g->thinking == THINKING_OPEN)
        return fits || token == g->markers.think_end ? token : g->markers.think_end;
    if (g->thinking == THINKING_POSSIBLE && token == g->markers.think_begin && fits)
        return token;
    shared_grammar_lock(g->shared);
    token = settle_answer(g, token, n_left);
    shared_grammar_unlock(g->shared);
    return token;
}

/* The way to the end, or what the grammar leaves no choice about until the answer is to be closed. */
static size_t forced_tokens(struct answer_guard *g, int32_t *tokens, size_t max, size_t n_left) {
    size_t n = 0, n_steps, needed;
    if (is_closing(g)) {
        struct ending rest = g->ending;
        while (n < max && (tokens[n] = ending_next_token(&rest, g->image, &n_steps)) >= 0) {
            rest.at += n_steps;
            n++;
        }
        return n;
    }
    if (g->close_after && g->n_tokens + max > g->close_after)
        max = g->close_after > g->n_tokens ? g->close_after - g->n_tokens : 0;
    n = matcher_forced(&g->matcher, tokens, max);
    if (n == 0 || !g->in_time)
        return n;
    const size_t enough = n_left > n + 1 ? n_left - n - 1 : 0;
    if (!tokens_to_end(g, &g->matcher, enough, &needed) || needed <= enough)
        return n;
    return needed + 1 < n_left ? n_left - needed - 1 : 0;
}

/* ---- what the sampler sees ------------------------------------------------------------------ */

static enum quern_status guard_mask(void *state, uint32_t *mask, int32_t n_vocab,
                                    struct quern_error *err) {
    struct answer_guard *g = state;
    if (g->thinking == THINKING_OPEN) {
        thinking_mask(g, mask, n_vocab);
        return QUERN_OK;
    }
    shared_grammar_lock(g->shared);
    enum quern_status st = matcher_mask(&g->matcher, mask, n_vocab, err);
    if (st == QUERN_OK)
        close_mask(g, mask, n_vocab);
    shared_grammar_unlock(g->shared);
    if (st == QUERN_OK && g->thinking == THINKING_POSSIBLE)
        set_bit(mask, n_vocab, g->markers.think_begin);
    return st;
}

static enum quern_status guard_accept(void *state, int32_t token, struct quern_error *err) {
    struct answer_guard *g = state;
    if (g->thinking == THINKING_OPEN) {
        if (token == g->markers.think_end)
            g->thinking = THINKING_OVER;
        return QUERN_OK;
    }
    if (g->thinking == THINKING_POSSIBLE) {
        const bool begins = token == g->markers.think_begin;
        g->thinking = begins ? THINKING_OPEN : THINKING_OVER;
        if (begins)
            return QUERN_OK;
    }
    shared_grammar_lock(g->shared);
    follow_ending(g, token);
    enum quern_status st = matcher_accept_token(&g->matcher, token, err);
    shared_grammar_unlock(g->shared);
    return st;
}

static size_t guard_forced(void *state, int32_t *tokens, size_t max, size_t n_left) {
    struct answer_guard *g = state;
    if (g->thinking != THINKING_OVER)
        return 0;
    max = max < n_left ? max : n_left;
    shared_grammar_lock(g->shared);
    const size_t n = forced_tokens(g, tokens, max, n_left);
    shared_grammar_unlock(g->shared);
    return n;
}

static const struct constraint_ops guard_ops = {guard_mask, guard_accept, guard_forced,
                                               guard_settle};

struct constraint *answer_guard_constraint(struct answer_guard *g) {
    return &g->constraint;
}

static void key_text(struct buffer *key, struct str text) {
    buffer_printf(key, "%zu:", text.len);
    buffer_append(key, text.ptr, text.len);
}

/* All that the grammar depends on. */
static void write_key(const struct answer_rules *r, struct buffer *key) {
    const struct schema_options none = {0}, *o = r->schema ? r->schema : &none;
    buffer_printf(key, "%d %d %d %d %d %d %d %d %d %d %d %d %d %d ", (int)r->form, (int)r->calls,
                  (int)r->style, r->parallel, r->thinking != THINKING_OVER,
                  (int)r->markers.think_begin, (int)r->markers.think_end,
                  (int)r->markers.tool_begin, (int)r->markers.tool_end, r->schema != NULL,
                  (int)o->policy, (int)o->spacing,
                  o->any_order | o->assert_formats << 1 | o->yaml << 2, o->all_spellings);
    key_text(key, r->text);
    buffer_printf(key, "%zu ", r->n_choices);
    for (size_t i = 0; i < r->n_choices; i++)
        key_text(key, r->choices[i]);
    buffer_printf(key, "%zu ", r->n_tools);
    for (size_t i = 0; i < r->n_tools; i++) {
        key_text(key, r->tools[i].name);
        key_text(key, r->tools[i].parameters);
        buffer_printf(key, "%d ", r->tools[i].strict);
    }
}

static enum quern_status compile(const struct tokenizer *tokenizer,
                                 const struct answer_rules *rules, struct buffer *report,
                                 struct shared_grammar **out, struct quern_error *err) {
    struct grammar_limits limits = grammar_default_limits();
    struct grammar_builder *b;
    struct grammar *g;
    struct buffer said;
    limits.max_bytes = GUARD_BYTES_MAX;
    limits.compile_ms = GUARD_COMPILE_MS;
    enum quern_status st = grammar_builder_create(&limits, &b, err);
    if (st != QUERN_OK)
        return st;
    buffer_init(&said, KEY_BYTES_MAX);
    grammar_start(b, whole(b, rules, tokenizer, &said));
    st = grammar_compile(b, &g, err);
    grammar_builder_destroy(b);
    if (report)
        buffer_append(report, said.data, said.len);
    if (st == QUERN_OK && !(*out = shared_grammar_create(g)))
        st = error_nomem(err);
    if (st == QUERN_OK)
        buffer_append(&(*out)->report, said.data, said.len);
    buffer_release(&said);
    return st;
}

/* Compiled before by another request, or now. Remote documents may change: no sharing then. */
static enum quern_status find_or_compile(const struct token_image *image,
                                         const struct answer_rules *rules, struct buffer *report,
                                         struct shared_grammar **out, struct quern_error *err) {
    struct buffer key;
    buffer_init(&key, KEY_BYTES_MAX);
    write_key(rules, &key);
    const bool named = !key.failed && !(rules->schema && rules->schema->load);
    enum quern_status st = QUERN_OK;
    *out = named ? grammar_cache_take(image->grammars, buffer_str(&key)) : NULL;
    if (*out) {
        if (report)
            buffer_append(report, (*out)->report.data, (*out)->report.len);
    } else {
        st = compile(image->tokenizer, rules, report, out, err);
        if (st == QUERN_OK && named)
            grammar_cache_put(image->grammars, buffer_str(&key), *out);
    }
    buffer_release(&key);
    return st;
}

enum quern_status answer_guard_create(const struct token_image *image, const int32_t *end_tokens,
                                      size_t n_end_tokens, const struct answer_rules *rules,
                                      struct buffer *report, struct answer_guard **out,
                                      struct quern_error *err) {
    struct answer_guard *g = calloc(1, sizeof *g);
    if (!g)
        return error_nomem(err);
    g->image = image;
    g->thinking = rules->thinking;
    g->markers = rules->markers;
    g->close_after = rules->close_after;
    g->constraint = (struct constraint){&guard_ops, g};
    enum quern_status st = find_or_compile(image, rules, report, &g->shared, err);
    if (st == QUERN_OK) {
        shared_grammar_lock(g->shared);
        st = matcher_init(&g->matcher, g->shared->grammar, image, end_tokens, n_end_tokens, err);
        if (st == QUERN_OK && (g->close_after || rules->close_in_time) &&
            !ending_prepare(g->shared->grammar))
            st = error_nomem(err);
        g->in_time = st == QUERN_OK && rules->close_in_time &&
                     tokens_to_end(g, &g->matcher, 0, &g->least_tokens);
        shared_grammar_unlock(g->shared);
    }
    if (st != QUERN_OK) {
        answer_guard_destroy(g);
        return st;
    }
    *out = g;
    return QUERN_OK;
}

void answer_guard_destroy(struct answer_guard *g) {
    if (!g)
        return;
    grammar_cache_drop(g->image->grammars, g->shared);
    ending_release(&g->ending);
    free(g);
}
