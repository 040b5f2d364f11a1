/* Calls: arguments, macros, loops. */
#include <string.h>

#include "chat/jinja_interp.h"
#include "chat/jinja_loop.h"
#include "chat/jinja_trace.h"

/* ---- arguments ----------------------------------------------------------------------------------
 */

static bool add_star_args(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jnode *node, struct jlist *positional) {
    struct jvalue value;
    struct jlist *more;
    if (!jinja_eval(run, frame, node, &value) || !jvalue_to_list(run, value, &more))
        return false;
    struct jlist *all = jlist_create(run, positional->n + more->n);
    if (!all)
        return false;
    if (positional->n)
        memcpy(all->items, positional->items, positional->n * sizeof *all->items);
    if (more->n)
        memcpy(all->items + positional->n, more->items, more->n * sizeof *all->items);
    *positional = *all;
    return true;
}

static bool add_star_kwargs(struct jinja_run *run, struct jinja_frame *frame,
                            const struct jnode *node, struct jarguments *out) {
    struct jvalue value;
    if (!jinja_eval(run, frame, node, &value))
        return false;
    if (value.kind != JINJA_DICT)
        return jinja_fail(run, "the argument after ** must be a mapping, not %s",
                          jvalue_type_name(value));
    const struct jdict *dict = value.as.dict;
    struct jkwarg *all = jinja_alloc(run, out->n_keywords + dict->n, sizeof *all);
    if (!all)
        return false;
    if (out->n_keywords)
        memcpy(all, out->keywords, out->n_keywords * sizeof *all);
    for (size_t i = 0; i < dict->n; i++) {
        struct jvalue key = dict->entries[i].key;
        if (key.kind != JINJA_STRING)
            return jinja_fail(run, "keywords must be strings");
        for (size_t k = 0; k < out->n_keywords; k++)
            if (str_eq(out->keywords[k].name, key.as.text))
                return jinja_fail(run, "multiple values for keyword argument '%.*s'",
                                  STR_FMT(key.as.text));
        all[out->n_keywords + i] = (struct jkwarg){key.as.text, dict->entries[i].value};
    }
    out->keywords = all;
    out->n_keywords += dict->n;
    return true;
}

bool jinja_eval_arguments(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jcall *call, struct jarguments *out) {
    struct jlist *positional = jlist_create(run, call->positional.n);
    struct jkwarg *keywords = jinja_alloc(run, call->n_keywords, sizeof *keywords);
    if (!positional || !keywords)
        return false;
    for (size_t i = 0; i < positional->n; i++)
        if (!jinja_eval(run, frame, call->positional.items[i], &positional->items[i]))
            return false;
    for (size_t i = 0; i < call->n_keywords; i++) {
        keywords[i].name = call->keywords[i].name;
        if (!jinja_eval(run, frame, call->keywords[i].value, &keywords[i].value))
            return false;
    }
    if (call->star_args && !add_star_args(run, frame, call->star_args, positional))
        return false;
    *out = (struct jarguments){positional->items, positional->n, keywords, call->n_keywords};
    return !call->star_kwargs || add_star_kwargs(run, frame, call->star_kwargs, out);
}

/* ---- macros
 * -------------------------------------------------------------------------------------- */

bool jinja_make_macro(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    struct jmacro *macro = jinja_alloc(run, 1, sizeof *macro);
    if (!macro)
        return false;
    *macro = (struct jmacro){node, frame};
    for (struct jinja_frame *f = frame; f; f = f->parent)
        f->captured = true;
    *out = (struct jvalue){.kind = JINJA_MACRO, .as.macro = macro};
    return true;
}

/* Which keyword arguments a macro has taken. */
struct taken {
    const struct jarguments *args;
    bool *used;
};

static bool take_keyword(struct taken *t, struct str name, struct jvalue *out) {
    for (size_t i = 0; i < t->args->n_keywords; i++) {
        if (t->used[i] || !str_eq(t->args->keywords[i].name, name))
            continue;
        t->used[i] = true;
        *out = t->args->keywords[i].value;
        return true;
    }
    return false;
}

/* What is left over becomes `kwargs` and `varargs`, or is an error. */
static bool take_rest(struct jinja_run *run, const struct jmacro_node *node, struct taken *t,
                      struct jvalue *slots) {
    struct jdict *rest = jdict_create(run, 0);
    if (!rest)
        return false;
    for (size_t i = 0; i < t->args->n_keywords; i++) {
        if (t->used[i])
            continue;
        if (node->kwargs == JSLOT_NONE)
            return jinja_fail(run, "macro '%.*s' takes no keyword argument '%.*s'",
                              STR_FMT(node->name), STR_FMT(t->args->keywords[i].name));
        if (!jdict_set(run, rest, jvalue_string(t->args->keywords[i].name),
                       t->args->keywords[i].value))
            return false;
    }
    if (node->kwargs != JSLOT_NONE)
        slots[node->kwargs] = jvalue_dict(rest);
    size_t n = node->parameters.n;
    bool extra = t->args->n > n;
    if (node->varargs == JSLOT_NONE)
        return !extra || jinja_fail(run, "macro '%.*s' takes not more than %zu argument(s)",
                                    STR_FMT(node->name), n);
    struct jlist *varargs = jlist_create(run, extra ? t->args->n - n : 0);
    if (!varargs)
        return false;
    if (extra)
        memcpy(varargs->items, t->args->positional + n, varargs->n * sizeof *varargs->items);
    slots[node->varargs] = (struct jvalue){.kind = JINJA_TUPLE, .as.list = varargs};
    return true;
}

/* jinja2.runtime.Macro.__call__ */
static bool bind_parameters(struct jinja_run *run, struct jinja_frame *frame,
                            const struct jmacro_node *node, const struct jarguments *args) {
    struct taken t = {args, jinja_alloc(run, args->n_keywords, sizeof *t.used)};
    if (!t.used)
        return false;
    memset(t.used, 0, args->n_keywords * sizeof *t.used);
    for (size_t i = 0; i < node->parameters.n; i++) {
        const struct jnode *parameter = node->parameters.items[i];
        struct jvalue *slot = &frame->slots[parameter->as.name.binding.slot];
        if (i < args->n)
            *slot = args->positional[i];
        else
            take_keyword(&t, parameter->as.name.name, slot);
    }
    if (node->caller != JSLOT_NONE) {
        struct jvalue *caller = &frame->slots[node->caller];
        if (!take_keyword(&t, STR_LIT("caller"), caller) || caller->kind == JINJA_NONE)
            *caller = jvalue_undefined(JUNDEF_HINT, STR_LIT("No caller defined"));
    }
    return take_rest(run, node, &t, frame->slots);
}

static bool fill_defaults(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jmacro_node *node) {
    size_t first = node->parameters.n - node->defaults.n;
    for (size_t i = 0; i < node->parameters.n; i++) {
        const struct jnode *parameter = node->parameters.items[i];
        struct jvalue *slot = &frame->slots[parameter->as.name.binding.slot];
        if (slot->kind != JINJA_MISSING)
            continue;
        struct jvalue value = jvalue_undefined(JUNDEF_NAME, parameter->as.name.name);
        if (i >= first && !jinja_eval(run, frame, node->defaults.items[i - first], &value))
            return false;
        *slot = value;
    }
    return true;
}

static bool enter_call(struct jinja_run *run) {
    if (run->call_depth >= JINJA_CALL_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "macros call each other more than %d deep",
                               JINJA_CALL_DEPTH_MAX);
    run->call_depth++;
    return true;
}

/* What a call printed becomes its value. */
static bool leave_call(struct jinja_run *run, struct buffer *own, bool ok, struct jvalue *out) {
    run->call_depth--;
    if (ok)
        return jinja_take_buffer(run, own, out);
    buffer_release(own);
    return false;
}

static bool call_macro(struct jinja_run *run, const struct jmacro *macro,
                       const struct jarguments *args, struct jvalue *out) {
    const struct jmacro_node *node = &macro->node->as.macro;
    struct jinja_frame *frame = jinja_frame_create(run, macro->closure, node->n_slots);
    if (!frame || !bind_parameters(run, frame, node, args) || !enter_call(run))
        return false;
    struct buffer own, *outer = run->out;
    buffer_init(&own, JINJA_OUTPUT_BYTES_MAX);
    run->out = &own;
    jinja_enter_scope(run, frame, &node->scope);
    bool ok =
        fill_defaults(run, frame, node) && jinja_execute(run, frame, &node->body) == FLOW_NEXT;
    run->out = outer;
    if (!leave_call(run, &own, ok, out))
        return false;
    jinja_frame_release(run, frame);
    return true;
}

/* ---- loops
 * ---------------------------------------------------------------------------------------- */

static bool accept_item(struct jinja_run *run, struct jloop *loop, struct jvalue item,
                        bool *accepted) {
    const struct jfor_node *node = loop->node->as.loop;
    struct jvalue test;
    int line = run->line;
    jinja_enter_scope(run, loop->frame, &node->test_scope);
    if (!jinja_assign(run, loop->frame, node->test_target, item) ||
        !jinja_eval(run, loop->frame, node->test, &test))
        return false;
    *accepted = jvalue_truth(test);
    run->line = line;
    return true;
}

/* `else` runs when no iteration reached the end of the body: after a break or continue in
 * each of them too, as Jinja's code does. */
static enum jflow run_loop(struct jinja_run *run, struct jinja_frame *frame,
                           const struct jnode *node, struct jvalue iterable, int64_t depth0) {
    const struct jfor_node *loop = node->as.loop;
    struct jloop *state = jinja_alloc(run, 1, sizeof *state);
    if (!state)
        return FLOW_FAIL;
    *state = (struct jloop){.node = node, .frame = frame, .depth0 = depth0};
    state->accept = loop->test ? accept_item : NULL;
    if (!jloop_start(run, state, iterable))
        return FLOW_FAIL;
    bool completed = false, more = true;
    enum jflow flow = FLOW_NEXT;
    while (flow != FLOW_BREAK && flow != FLOW_FAIL) {
        run->line = node->line;
        if (!jloop_next(run, state, &more))
            return FLOW_FAIL;
        if (!more)
            break;
        if (!jinja_assign(run, frame, loop->target, state->current))
            return FLOW_FAIL;
        frame->slots[loop->loop] = (struct jvalue){.kind = JINJA_LOOP, .as.loop = state};
        jinja_enter_scope(run, frame, &loop->scope);
        const size_t begin = run->out->len;
        flow = jinja_execute(run, frame, &loop->body);
        jinja_trace_item(run, state->current, begin);
        completed = completed || flow == FLOW_NEXT;
    }
    if (flow == FLOW_FAIL)
        return FLOW_FAIL;
    jinja_leave_scope(frame, &loop->scope);
    if (completed || !loop->has_else)
        return FLOW_NEXT;
    jinja_enter_scope(run, frame, &loop->else_scope);
    flow = jinja_execute(run, frame, &loop->otherwise);
    jinja_leave_scope(frame, &loop->else_scope);
    return flow;
}

bool jinja_run_recursive(struct jinja_run *run, struct jinja_frame *outer, const struct jnode *node,
                         struct jvalue iterable, int64_t depth0, struct jvalue *out) {
    struct jinja_frame *frame = jinja_frame_create(run, outer, node->as.loop->n_slots);
    if (!frame || !enter_call(run))
        return false;
    frame->captured = true; /* loop values point to it */
    struct buffer own, *previous = run->out;
    buffer_init(&own, JINJA_OUTPUT_BYTES_MAX);
    run->out = &own;
    bool ok = run_loop(run, frame, node, iterable, depth0) == FLOW_NEXT;
    run->out = previous;
    return leave_call(run, &own, ok, out);
}

enum jflow jinja_execute_for(struct jinja_run *run, struct jinja_frame *frame,
                             const struct jnode *node) {
    struct jvalue iterable, text;
    if (!jinja_eval(run, frame, node->as.loop->iterable, &iterable))
        return FLOW_FAIL;
    run->line = node->line;
    if (!node->as.loop->recursive)
        return run_loop(run, frame, node, iterable, 0);
    bool ok = jinja_run_recursive(run, frame, node, iterable, 0, &text) &&
              jvalue_write(run, text, run->out);
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

static bool call_loop(struct jinja_run *run, const struct jloop *loop,
                      const struct jarguments *args, struct jvalue *out) {
    if (!loop->node->as.loop->recursive)
        return jinja_fail(run, "the loop must have the 'recursive' marker to be called");
    if (args->n != 1 || args->n_keywords)
        return jinja_fail(run, "loop() takes one argument");
    return jinja_run_recursive(run, loop->frame->parent, loop->node, args->positional[0],
                               loop->depth0 + 1, out);
}

/* ---- any call
 * --------------------------------------------------------------------------------------- */

bool jinja_call_value(struct jinja_run *run, struct jvalue callee, const struct jarguments *args,
                      struct jvalue *out) {
    int line = run->line;
    bool ok = false;
    if (!jinja_enter(run))
        return false;
    switch ((enum jkind)callee.kind) {
    case JINJA_UNDEFINED:
        ok = jinja_fail_undefined(run, callee);
        break;
    case JINJA_MACRO:
        ok = call_macro(run, callee.as.macro, args, out);
        break;
    case JINJA_LOOP:
        ok = call_loop(run, callee.as.loop, args, out);
        break;
    case JINJA_FUNCTION:
        ok = jnative_call(run, callee.as.function, jvalue_none(), args, out);
        break;
    case JINJA_METHOD:
        ok = jnative_call(run, callee.as.method->native, callee.as.method->self, args, out);
        break;
    default:
        ok = jinja_fail(run, "'%s' object is not callable", jvalue_type_name(callee));
        break;
    }
    jinja_leave(run);
    if (ok)
        run->line = line;
    return ok;
}
