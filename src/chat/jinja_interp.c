/* Statements, scopes and frames. */
#include "chat/jinja_interp.h"

#include <string.h>

#include "chat/jinja_trace.h"

bool jinja_enter(struct jinja_run *run) {
    if (++run->eval_depth <= JINJA_EVAL_DEPTH_MAX)
        return true;
    return jinja_fail_with(run, QUERN_ERR_LIMIT, "the template recurses too deeply");
}

/* ---- frames and scopes ------------------------------------------------------------------------
 */

struct jinja_frame *jinja_frame_create(struct jinja_run *run, struct jinja_frame *parent,
                                       uint32_t n_slots) {
    struct jinja_frame *frame = run->free_frames;
    if (frame && frame->n_slots >= n_slots) {
        run->free_frames = frame->parent;
    } else {
        frame = jinja_alloc(run, 1, sizeof *frame);
        struct jvalue *slots = jinja_alloc(run, n_slots, sizeof *slots);
        if (!frame || !slots)
            return NULL;
        *frame = (struct jinja_frame){.slots = slots, .n_slots = n_slots};
    }
    frame->parent = parent;
    frame->captured = false;
    for (size_t i = 0; i < frame->n_slots; i++)
        frame->slots[i] = (struct jvalue){.kind = JINJA_MISSING};
    return frame;
}

void jinja_frame_release(struct jinja_run *run, struct jinja_frame *frame) {
    if (frame->captured)
        return;
    frame->parent = run->free_frames;
    run->free_frames = frame;
}

static struct jvalue *slot_at(struct jinja_frame *frame, struct jbinding at) {
    for (uint16_t i = 0; i < at.hops; i++)
        frame = frame->parent;
    return &frame->slots[at.slot];
}

static struct jvalue resolve_name(struct jinja_run *run, struct str name) {
    const struct jvalue *given = jdict_find_text(run->variables, name);
    if (given)
        return *given;
    const struct jnative *global = jinja_find_global(name);
    if (global)
        return (struct jvalue){.kind = JINJA_FUNCTION, .as.function = global};
    return (struct jvalue){.kind = JINJA_MISSING};
}

void jinja_enter_scope(struct jinja_run *run, struct jinja_frame *frame,
                       const struct jscope *scope) {
    for (size_t i = 0; i < scope->n; i++) {
        const struct jslot *slot = &scope->slots[i];
        struct jvalue *value = &frame->slots[slot->slot];
        switch (slot->source) {
        case SLOT_PARAMETER:
            break;
        case SLOT_UNDEFINED:
            value->kind = JINJA_MISSING;
            break;
        case SLOT_RESOLVE:
            *value = resolve_name(run, slot->name);
            break;
        case SLOT_ALIAS:
            *value = *slot_at(frame, slot->outer);
            break;
        }
    }
}

void jinja_leave_scope(struct jinja_frame *frame, const struct jscope *scope) {
    for (size_t i = 0; i < scope->n; i++)
        frame->slots[scope->slots[i].slot].kind = JINJA_MISSING;
}

/* ---- assignment -------------------------------------------------------------------------------
 */

static bool set_namespace(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jnode *target, struct jvalue value) {
    struct jvalue *object = slot_at(frame, target->as.namespace_ref.binding);
    struct str name = target->as.namespace_ref.attribute;
    if (object->kind != JINJA_NAMESPACE)
        return jinja_fail(run, "cannot assign attribute on non-namespace object");
    if (name.len && name.ptr[0] == '_')
        return jinja_fail(run, "namespace attributes may not start with an underscore: '%.*s'",
                          STR_FMT(name));
    return jdict_set(run, object->as.dict, jvalue_string(name), value);
}

static bool unpack(struct jinja_run *run, struct jinja_frame *frame, const struct jnodes *targets,
                   struct jvalue value) {
    struct jlist *items;
    if (value.kind == JINJA_UNDEFINED && targets->n)
        return jinja_fail(run, "not enough values to unpack (expected %zu, got 0)", targets->n);
    if (!jvalue_is_iterable(value))
        return jinja_fail(run, "cannot unpack non-iterable %s object", jvalue_type_name(value));
    if (!jvalue_to_list(run, value, &items))
        return false;
    if (items->n != targets->n)
        return jinja_fail(run, "%s values to unpack (expected %zu)",
                          items->n < targets->n ? "not enough" : "too many", targets->n);
    for (size_t i = 0; i < targets->n; i++)
        if (!jinja_assign(run, frame, targets->items[i], items->items[i]))
            return false;
    return true;
}

bool jinja_assign(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *target,
                  struct jvalue value) {
    if (target->kind == NODE_NAME) {
        *slot_at(frame, target->as.name.binding) = value;
        return true;
    }
    if (target->kind == NODE_NAMESPACE_REF)
        return set_namespace(run, frame, target, value);
    return unpack(run, frame, &target->as.list, value);
}

/* ---- statements ---------------------------------------------------------------------------------
 */

static bool output(struct jinja_run *run, struct jinja_frame *frame, const struct jnodes *list) {
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue value;
        if (!jinja_eval(run, frame, list->items[i], &value) || !jvalue_write(run, value, run->out))
            return false;
    }
    return true;
}

static enum jflow execute_if(struct jinja_run *run, struct jinja_frame *frame,
                             const struct jnode *node) {
    for (;;) {
        struct jvalue test;
        run->line = node->line;
        if (!jinja_eval(run, frame, node->as.cond.test, &test))
            return FLOW_FAIL;
        if (jvalue_truth(test))
            return jinja_execute(run, frame, &node->as.cond.then);
        const struct jnodes *otherwise = &node->as.cond.otherwise;
        if (otherwise->n != 1 || otherwise->items[0]->kind != NODE_IF)
            return jinja_execute(run, frame, otherwise);
        node = otherwise->items[0];
    }
}

/* Runs a body with its output going to `text`. */
static enum jflow capture(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jnodes *body, struct jvalue *text) {
    struct buffer *outer = run->out, own;
    buffer_init(&own, JINJA_OUTPUT_BYTES_MAX);
    run->out = &own;
    enum jflow flow = jinja_execute(run, frame, body);
    run->out = outer;
    if (flow != FLOW_NEXT) {
        buffer_release(&own);
        return flow;
    }
    return jinja_take_buffer(run, &own, text) ? FLOW_NEXT : FLOW_FAIL;
}

/* A filter without an object works on the captured text. */
static bool apply_filters(struct jinja_run *run, struct jinja_frame *frame,
                          const struct jnode *filter, struct jvalue *text) {
    struct jarguments args;
    if (!jinja_enter(run))
        return false;
    bool ok = !filter->as.apply.object || apply_filters(run, frame, filter->as.apply.object, text);
    run->line = filter->line;
    if (ok && !filter->as.apply.native)
        ok = jinja_fail(run, "unknown filter '%.*s'", STR_FMT(filter->as.apply.name));
    struct jvalue result = *text;
    ok = ok && jinja_eval_arguments(run, frame, &filter->as.apply.call, &args) &&
         jnative_call(run, filter->as.apply.native, *text, &args, &result);
    *text = result;
    jinja_leave(run);
    return ok;
}

static enum jflow execute_captured(struct jinja_run *run, struct jinja_frame *frame,
                                   const struct jnode *node) {
    const struct jscope *scope = &node->as.assign.scope;
    struct jvalue text;
    jinja_enter_scope(run, frame, scope);
    enum jflow flow = capture(run, frame, &node->as.assign.body, &text);
    if (flow != FLOW_NEXT)
        return flow;
    run->line = node->line;
    if (node->as.assign.filter && !apply_filters(run, frame, node->as.assign.filter, &text))
        return FLOW_FAIL;
    bool ok;
    const size_t begin = run->out->len;
    if (node->kind == NODE_SET_BLOCK)
        ok = jinja_assign(run, frame, node->as.assign.target, text);
    else if (text.kind != JINJA_STRING)
        ok = jinja_fail(run, "a filter block needs a string, not %s", jvalue_type_name(text));
    else
        ok = jvalue_write(run, text, run->out) &&
             (node->kind != NODE_GENERATION || jinja_trace_generation(run, begin));
    jinja_leave_scope(frame, scope);
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

static enum jflow execute_with(struct jinja_run *run, struct jinja_frame *frame,
                               const struct jnode *node) {
    const struct jscope *scope = &node->as.with.scope;
    jinja_enter_scope(run, frame, scope);
    for (size_t i = 0; i < node->as.with.targets.n; i++) {
        struct jvalue value;
        if (!jinja_eval(run, frame, node->as.with.values.items[i], &value) ||
            !jinja_assign(run, frame, node->as.with.targets.items[i], value))
            return FLOW_FAIL;
    }
    enum jflow flow = jinja_execute(run, frame, &node->as.with.body);
    if (flow == FLOW_NEXT)
        jinja_leave_scope(frame, scope);
    return flow;
}

static bool execute_set(struct jinja_run *run, struct jinja_frame *frame,
                        const struct jnode *node) {
    struct jvalue value;
    return jinja_eval(run, frame, node->as.assign.value, &value) &&
           jinja_assign(run, frame, node->as.assign.target, value);
}

static bool define_macro(struct jinja_run *run, struct jinja_frame *frame,
                         const struct jnode *node) {
    struct jvalue macro;
    if (!jinja_make_macro(run, frame, node, &macro))
        return false;
    *slot_at(frame, node->as.macro.self) = macro;
    return true;
}

/* {% call(x) f(y) %}: f(y, caller=the body as a macro) */
static bool execute_call_block(struct jinja_run *run, struct jinja_frame *frame,
                               const struct jnode *node) {
    const struct jnode *call = node->as.macro.call;
    struct jvalue caller, callee, result;
    struct jarguments args;
    if (!jinja_make_macro(run, frame, node, &caller) ||
        !jinja_eval(run, frame, call->as.apply.object, &callee) ||
        !jinja_eval_arguments(run, frame, &call->as.apply.call, &args))
        return false;
    struct jkwarg *keywords = jinja_alloc(run, args.n_keywords + 1, sizeof *keywords);
    if (!keywords)
        return false;
    if (args.n_keywords)
        memcpy(keywords, args.keywords, args.n_keywords * sizeof *keywords);
    keywords[args.n_keywords++] = (struct jkwarg){STR_LIT("caller"), caller};
    args.keywords = keywords;
    return jinja_call_value(run, callee, &args, &result) && jvalue_write(run, result, run->out);
}

static enum jflow execute_one(struct jinja_run *run, struct jinja_frame *frame,
                              const struct jnode *node) {
    bool ok;
    run->line = node->line;
    if (!jinja_charge(run, 1))
        return FLOW_FAIL;
    switch (node->kind) {
    case NODE_DATA:
        buffer_append_str(run->out, node->as.text);
        ok = jinja_charge_bytes(run, node->as.text.len) && jinja_check_buffer(run, run->out);
        break;
    case NODE_OUTPUT:
        ok = output(run, frame, &node->as.list);
        break;
    case NODE_IF:
        return execute_if(run, frame, node);
    case NODE_FOR:
        return jinja_execute_for(run, frame, node);
    case NODE_SET:
        ok = execute_set(run, frame, node);
        break;
    case NODE_SET_BLOCK:
    case NODE_FILTER_BLOCK:
    case NODE_GENERATION:
        return execute_captured(run, frame, node);
    case NODE_WITH:
        return execute_with(run, frame, node);
    case NODE_MACRO:
        ok = define_macro(run, frame, node);
        break;
    case NODE_CALL_BLOCK:
        ok = execute_call_block(run, frame, node);
        break;
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        ok = jinja_fail(run, "internal error: not a statement");
    }
    return ok ? FLOW_NEXT : FLOW_FAIL;
}

enum jflow jinja_execute(struct jinja_run *run, struct jinja_frame *frame,
                         const struct jnodes *body) {
    enum jflow flow = jinja_enter(run) ? FLOW_NEXT : FLOW_FAIL;
    for (size_t i = 0; flow == FLOW_NEXT && i < body->n; i++)
        flow = execute_one(run, frame, body->items[i]);
    jinja_leave(run);
    return flow;
}

bool jinja_render(struct jinja_run *run, const struct jtemplate *t) {
    struct jinja_frame *frame = jinja_frame_create(run, NULL, t->n_slots);
    if (!frame)
        return false;
    jinja_enter_scope(run, frame, &t->scope);
    return jinja_execute(run, frame, &t->body) == FLOW_NEXT;
}
