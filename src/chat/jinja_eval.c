/* Expressions. */
#include <string.h>

#include "chat/jinja_interp.h"

static bool eval_items(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                       struct jvalue *out) {
    struct jlist *list = jlist_create(run, node->as.list.n);
    if (!list)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (!jinja_eval(run, frame, node->as.list.items[i], &list->items[i]))
            return false;
    *out = (struct jvalue){.kind = node->kind == NODE_LIST ? JINJA_LIST : JINJA_TUPLE,
                           .as.list = list};
    return true;
}

static bool eval_dict(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    struct jdict *dict = jdict_create(run, node->as.list.n / 2);
    if (!dict)
        return false;
    for (size_t i = 0; i < node->as.list.n; i += 2) {
        struct jvalue key, value;
        if (!jinja_eval(run, frame, node->as.list.items[i], &key) ||
            !jinja_eval(run, frame, node->as.list.items[i + 1], &value) ||
            !jdict_set(run, dict, key, value))
            return false;
    }
    *out = jvalue_dict(dict);
    return true;
}

static bool eval_name(struct jinja_frame *frame, const struct jnode *node, struct jvalue *out) {
    struct jbinding at = node->as.name.binding;
    for (uint16_t i = 0; i < at.hops; i++)
        frame = frame->parent;
    *out = frame->slots[at.slot];
    if (out->kind == JINJA_MISSING)
        *out = jvalue_undefined(JUNDEF_NAME, node->as.name.name);
    return true;
}

static bool compare(struct jinja_run *run, enum jcompare op, struct jvalue a, struct jvalue b,
                    bool *result) {
    int order;
    if (op == COMPARE_EQ || op == COMPARE_NE) {
        if (!jvalue_equal(run, a, b, result))
            return false;
        *result = *result == (op == COMPARE_EQ);
        return true;
    }
    if (op == COMPARE_IN || op == COMPARE_NOT_IN) {
        if (!jvalue_contains(run, b, a, result))
            return false;
        *result = *result == (op == COMPARE_IN);
        return true;
    }
    if (!jvalue_compare(run, a, b, &order))
        return false;
    *result = (op == COMPARE_LT && order == -1) || (op == COMPARE_GT && order == 1) ||
              (op == COMPARE_LE && order <= 0) || (op == COMPARE_GE && (order == 0 || order == 1));
    return true;
}

/* a < b < c means a < b and b < c. */
static bool eval_compare(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                         struct jvalue *out) {
    struct jvalue left, right;
    bool result = true;
    if (!jinja_eval(run, frame, node->as.compare.first, &left))
        return false;
    for (size_t i = 0; result && i < node->as.compare.operands.n; i++) {
        if (!jinja_eval(run, frame, node->as.compare.operands.items[i], &right) ||
            !compare(run, node->as.compare.ops[i], left, right, &result))
            return false;
        left = right;
    }
    *out = jvalue_bool(result);
    return true;
}

static bool eval_logic(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                       struct jvalue *out) {
    if (!jinja_eval(run, frame, node->as.binary.left, out))
        return false;
    if (node->kind == NODE_NOT) {
        *out = jvalue_bool(!jvalue_truth(*out));
        return true;
    }
    return jvalue_truth(*out) == (node->kind == NODE_OR) ||
           jinja_eval(run, frame, node->as.binary.right, out);
}

static bool eval_binary(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                        struct jvalue *out) {
    struct jvalue a, b;
    if (!jinja_eval(run, frame, node->as.binary.left, &a) ||
        !jinja_eval(run, frame, node->as.binary.right, &b))
        return false;
    run->line = node->line;
    return jinja_binary(run, node->as.binary.op, a, b, out);
}

static bool eval_sign(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    struct jvalue a;
    return jinja_eval(run, frame, node->as.binary.left, &a) &&
           jinja_negate(run, a, node->kind == NODE_NEGATE, out);
}

static bool eval_concat(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                        struct jvalue *out) {
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < node->as.list.n; i++) {
        struct jvalue part;
        if (!jinja_eval(run, frame, node->as.list.items[i], &part) ||
            !jvalue_write(run, part, &text)) {
            buffer_release(&text);
            return false;
        }
    }
    return jinja_take_buffer(run, &text, out);
}

static bool eval_item(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    struct jvalue object, index;
    const struct jnode *at = node->as.access.index;
    if (!jinja_eval(run, frame, node->as.access.object, &object))
        return false;
    if (at->kind != NODE_SLICE)
        return jinja_eval(run, frame, at, &index) && jinja_get_item(run, object, index, out);
    const struct jnode *const parts[] = {at->as.slice.start, at->as.slice.stop, at->as.slice.step};
    struct jvalue bounds[3];
    for (int i = 0; i < 3; i++) {
        bounds[i] = (struct jvalue){.kind = JINJA_MISSING};
        if (parts[i] && !jinja_eval(run, frame, parts[i], &bounds[i]))
            return false;
    }
    return jinja_get_slice(run, object, bounds[0], bounds[1], bounds[2], out);
}

static bool eval_attribute(struct jinja_run *run, struct jinja_frame *frame,
                           const struct jnode *node, struct jvalue *out) {
    struct jvalue object;
    if (!jinja_eval(run, frame, node->as.access.object, &object))
        return false;
    run->line = node->line;
    return jinja_get_attribute(run, object, node->as.access.name, out);
}

static bool eval_call(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    struct jvalue callee;
    struct jarguments args;
    if (!jinja_eval(run, frame, node->as.apply.object, &callee) ||
        !jinja_eval_arguments(run, frame, &node->as.apply.call, &args))
        return false;
    run->line = node->line;
    return jinja_call_value(run, callee, &args, out);
}

static bool eval_native(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                        struct jvalue *out) {
    struct jvalue object;
    struct jarguments args;
    bool is_filter = node->kind == NODE_FILTER, answer;
    if (!jinja_eval(run, frame, node->as.apply.object, &object) ||
        !jinja_eval_arguments(run, frame, &node->as.apply.call, &args))
        return false;
    run->line = node->line;
    if (!node->as.apply.native)
        return jinja_fail(run, "unknown %s '%.*s'", is_filter ? "filter" : "test",
                          STR_FMT(node->as.apply.name));
    if (is_filter)
        return jnative_call(run, node->as.apply.native, object, &args, out);
    if (!jnative_test(run, node->as.apply.native, object, &args, &answer))
        return false;
    *out = jvalue_bool(answer);
    return true;
}

static bool eval_conditional(struct jinja_run *run, struct jinja_frame *frame,
                             const struct jnode *node, struct jvalue *out) {
    struct jvalue test;
    if (!jinja_eval(run, frame, node->as.conditional.test, &test))
        return false;
    const struct jnode *chosen =
        jvalue_truth(test) ? node->as.conditional.then : node->as.conditional.otherwise;
    if (chosen)
        return jinja_eval(run, frame, chosen, out);
    *out = jvalue_undefined(JUNDEF_HINT, STR_LIT("the inline if-expression evaluated to false and "
                                                 "no else section was defined."));
    return true;
}

static bool eval_node(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                      struct jvalue *out) {
    switch (node->kind) {
    case NODE_CONST:
        *out = node->as.constant;
        return true;
    case NODE_NAME:
        return eval_name(frame, node, out);
    case NODE_TUPLE:
    case NODE_LIST:
        return eval_items(run, frame, node, out);
    case NODE_DICT:
        return eval_dict(run, frame, node, out);
    case NODE_BINARY:
        return eval_binary(run, frame, node, out);
    case NODE_AND:
    case NODE_OR:
    case NODE_NOT:
        return eval_logic(run, frame, node, out);
    case NODE_NEGATE:
    case NODE_PLUS:
        return eval_sign(run, frame, node, out);
    case NODE_COMPARE:
        return eval_compare(run, frame, node, out);
    case NODE_CONCAT:
        return eval_concat(run, frame, node, out);
    case NODE_ATTRIBUTE:
        return eval_attribute(run, frame, node, out);
    case NODE_ITEM:
        return eval_item(run, frame, node, out);
    case NODE_CALL:
        return eval_call(run, frame, node, out);
    case NODE_FILTER:
    case NODE_TEST:
        return eval_native(run, frame, node, out);
    case NODE_CONDITIONAL:
        return eval_conditional(run, frame, node, out);
    default:
        return jinja_fail(run, "internal error: not an expression");
    }
}

bool jinja_eval(struct jinja_run *run, struct jinja_frame *frame, const struct jnode *node,
                struct jvalue *out) {
    run->line = node->line;
    bool ok = jinja_enter(run) && jinja_charge(run, 1) && eval_node(run, frame, node, out);
    jinja_leave(run);
    return ok;
}
