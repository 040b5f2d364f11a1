/* Binding names to slots, exactly as Jinja's compiler does (jinja2/idtracking.py): a scope
 * is analysed as a whole before its statements are bound, so whether a name is local does
 * not depend on what runs. */
#include <string.h>

#include "chat/jinja_parser.h"

enum { SLOTS_MAX = 4096 };

/* What owns a frame: the template, a macro, a call block, a recursive loop. */
struct function {
    uint32_t n_slots;
};

struct scope_slot {
    struct jslot slot;
    bool stored;
};

struct scope {
    struct scope *parent;
    struct function *function;
    struct scope_slot *slots;
    size_t n, capacity;
};

struct resolver {
    struct arena *arena;
    size_t n_slots; /* of the whole template */
    int conditions; /* if statements around, within the scope being analysed */
    int loops;
    bool soft; /* inside if: unknown filters fail only when they run */
    struct quern_error *err;
};

static bool fail_at(struct resolver *r, int line, const char *what) {
    error_set(r->err, QUERN_ERR_TEMPLATE, "line %d: %s", line, what);
    return false;
}

/* ---- scopes ------------------------------------------------------------------------------------
 */

static struct scope_slot *find_here(const struct scope *scope, struct str name) {
    for (size_t i = 0; i < scope->n; i++)
        if (str_eq(scope->slots[i].slot.name, name))
            return &scope->slots[i];
    return NULL;
}

/* The innermost scope that knows the name, from `scope` outwards. */
static bool find_binding(const struct scope *scope, struct str name, struct jbinding *out) {
    uint16_t hops = 0;
    for (const struct scope *s = scope; s; s = s->parent) {
        const struct scope_slot *slot = find_here(s, name);
        if (slot) {
            *out = (struct jbinding){hops, slot->slot.slot};
            return true;
        }
        hops = (uint16_t)(hops + (s->parent && s->parent->function != s->function));
    }
    return false;
}

static bool define(struct resolver *r, struct scope *scope, struct str name,
                   enum jslot_source source, struct jbinding outer) {
    if (r->n_slots++ >= SLOTS_MAX) {
        error_set(r->err, QUERN_ERR_LIMIT, "the template has more than %d variables", SLOTS_MAX);
        return false;
    }
    if (scope->n == scope->capacity) {
        size_t larger = scope->capacity ? 2 * scope->capacity : 8;
        struct scope_slot *slots = arena_calloc(r->arena, larger, sizeof *slots);
        if (!slots) {
            error_nomem(r->err);
            return false;
        }
        if (scope->n)
            memcpy(slots, scope->slots, scope->n * sizeof *slots);
        scope->slots = slots;
        scope->capacity = larger;
    }
    scope->slots[scope->n++] = (struct scope_slot){
        {name, source, scope->function->n_slots++, outer}, source == SLOT_PARAMETER};
    return true;
}

static bool declare_parameter(struct resolver *r, struct scope *scope, struct str name) {
    struct scope_slot *slot = find_here(scope, name);
    if (!slot)
        return define(r, scope, name, SLOT_PARAMETER, (struct jbinding){0, 0});
    slot->slot.source = SLOT_PARAMETER;
    slot->stored = true;
    return true;
}

static bool load(struct resolver *r, struct scope *scope, struct str name) {
    struct jbinding known;
    return find_binding(scope, name, &known) ||
           define(r, scope, name, SLOT_RESOLVE, (struct jbinding){0, 0});
}

static bool store(struct resolver *r, struct scope *scope, struct str name) {
    struct scope_slot *slot = find_here(scope, name);
    struct jbinding outer = {0, 0};
    if (!slot) {
        enum jslot_source source = SLOT_UNDEFINED;
        /* set only in some branch: the others see what is outside */
        if (find_binding(scope, name, &outer))
            source = SLOT_ALIAS;
        else if (r->conditions)
            source = SLOT_RESOLVE;
        if (!define(r, scope, name, source, outer))
            return false;
        slot = find_here(scope, name);
    }
    slot->stored = true;
    return true;
}

static bool emit_scope(struct resolver *r, const struct scope *scope, struct jscope *out) {
    out->n = scope->n;
    out->slots = arena_calloc(r->arena, scope->n, sizeof *out->slots);
    if (!out->slots) {
        error_nomem(r->err);
        return false;
    }
    for (size_t i = 0; i < scope->n; i++)
        out->slots[i] = scope->slots[i].slot;
    return true;
}

/* ---- walking expressions
 * --------------------------------------------------------------------------- */

typedef bool visitor(struct resolver *r, struct scope *scope, struct jnode *node);

static bool visit_all(struct resolver *r, struct scope *scope, const struct jnodes *list,
                      visitor *visit) {
    for (size_t i = 0; i < list->n; i++)
        if (!visit(r, scope, list->items[i]))
            return false;
    return true;
}

static bool visit_call(struct resolver *r, struct scope *scope, const struct jcall *call,
                       visitor *visit) {
    if (!visit_all(r, scope, &call->positional, visit))
        return false;
    for (size_t i = 0; i < call->n_keywords; i++)
        if (!visit(r, scope, call->keywords[i].value))
            return false;
    return (!call->star_args || visit(r, scope, call->star_args)) &&
           (!call->star_kwargs || visit(r, scope, call->star_kwargs));
}

/* Applies `visit` to each child of an expression. */
static bool visit_children(struct resolver *r, struct scope *scope, struct jnode *node,
                           visitor *visit) {
    switch (node->kind) {
    case NODE_TUPLE:
    case NODE_LIST:
    case NODE_DICT:
    case NODE_CONCAT:
        return visit_all(r, scope, &node->as.list, visit);
    case NODE_BINARY:
    case NODE_AND:
    case NODE_OR:
    case NODE_NOT:
    case NODE_NEGATE:
    case NODE_PLUS:
        return visit(r, scope, node->as.binary.left) &&
               (!node->as.binary.right || visit(r, scope, node->as.binary.right));
    case NODE_COMPARE:
        return visit(r, scope, node->as.compare.first) &&
               visit_all(r, scope, &node->as.compare.operands, visit);
    case NODE_ATTRIBUTE:
    case NODE_ITEM:
        return visit(r, scope, node->as.access.object) &&
               (!node->as.access.index || visit(r, scope, node->as.access.index));
    case NODE_SLICE:
        return (!node->as.slice.start || visit(r, scope, node->as.slice.start)) &&
               (!node->as.slice.stop || visit(r, scope, node->as.slice.stop)) &&
               (!node->as.slice.step || visit(r, scope, node->as.slice.step));
    case NODE_CALL:
    case NODE_FILTER:
    case NODE_TEST:
        return (!node->as.apply.object || visit(r, scope, node->as.apply.object)) &&
               visit_call(r, scope, &node->as.apply.call, visit);
    case NODE_CONDITIONAL:
        return visit(r, scope, node->as.conditional.test) &&
               visit(r, scope, node->as.conditional.then) &&
               (!node->as.conditional.otherwise || visit(r, scope, node->as.conditional.otherwise));
    default:
        return true;
    }
}

/* ---- first pass: which names a scope has
 * --------------------------------------------------------------- */

static bool note_loads(struct resolver *r, struct scope *scope, struct jnode *node) {
    if (node->kind == NODE_NAME)
        return load(r, scope, node->as.name.name);
    if (node->kind == NODE_NAMESPACE_REF)
        return load(r, scope, node->as.namespace_ref.name);
    return visit_children(r, scope, node, note_loads);
}

static bool note_stores(struct resolver *r, struct scope *scope, struct jnode *target) {
    if (target->kind == NODE_TUPLE)
        return visit_all(r, scope, &target->as.list, note_stores);
    if (target->kind == NODE_NAMESPACE_REF)
        return load(r, scope, target->as.namespace_ref.name);
    if (r->loops && str_is(target->as.name.name, "loop"))
        return fail_at(r, target->line, "cannot assign to the special variable 'loop' in a loop");
    return store(r, scope, target->as.name.name);
}

static bool note_parameters(struct resolver *r, struct scope *scope, struct jnode *target) {
    if (target->kind == NODE_TUPLE)
        return visit_all(r, scope, &target->as.list, note_parameters);
    return declare_parameter(r, scope, target->as.name.name);
}

static bool note_statement(struct resolver *r, struct scope *scope, struct jnode *node);

/* The if that an else-body consists of, or NULL. A chain of elifs is walked in a loop: it may be as
 * long as the template, longer than the stack is deep. */
static struct jnode *next_if(const struct jnode *node) {
    const struct jnodes *otherwise = &node->as.cond.otherwise;
    return otherwise->n == 1 && otherwise->items[0]->kind == NODE_IF ? otherwise->items[0] : NULL;
}

static bool note_if(struct resolver *r, struct scope *scope, const struct jnode *node) {
    const int conditions = r->conditions;
    bool ok = true;
    for (const struct jnode *next; ok && node; node = next) {
        ok = note_loads(r, scope, node->as.cond.test);
        r->conditions++;
        ok = ok && visit_all(r, scope, &node->as.cond.then, note_statement);
        next = next_if(node);
        if (ok && !next)
            ok = visit_all(r, scope, &node->as.cond.otherwise, note_statement);
    }
    r->conditions = conditions;
    return ok;
}

static bool note_statement(struct resolver *r, struct scope *scope, struct jnode *node) {
    switch (node->kind) {
    case NODE_OUTPUT:
        return visit_all(r, scope, &node->as.list, note_loads);
    case NODE_IF:
        return note_if(r, scope, node);
    case NODE_FOR:
        return note_loads(r, scope, node->as.loop->iterable);
    case NODE_SET:
        return note_loads(r, scope, node->as.assign.value) &&
               note_stores(r, scope, node->as.assign.target);
    case NODE_SET_BLOCK:
        return note_stores(r, scope, node->as.assign.target);
    case NODE_FILTER_BLOCK:
        return note_loads(r, scope, node->as.assign.filter);
    case NODE_WITH:
        return visit_all(r, scope, &node->as.with.values, note_loads);
    case NODE_MACRO:
        return store(r, scope, node->as.macro.name);
    case NODE_CALL_BLOCK:
        return note_loads(r, scope, node->as.macro.call);
    default:
        return true;
    }
}

static bool note_body(struct resolver *r, struct scope *scope, const struct jnodes *body) {
    int conditions = r->conditions;
    r->conditions = 0;
    bool ok = visit_all(r, scope, body, note_statement);
    r->conditions = conditions;
    return ok;
}

/* ---- second pass: giving every name its slot
 * ------------------------------------------------------------ */

static bool bind_expression(struct resolver *r, struct scope *scope, struct jnode *node) {
    bool soft = r->soft;
    switch (node->kind) {
    case NODE_NAME:
        return find_binding(scope, node->as.name.name, &node->as.name.binding) ||
               fail_at(r, node->line, "internal error: a name has no slot");
    case NODE_NAMESPACE_REF:
        return find_binding(scope, node->as.namespace_ref.name, &node->as.namespace_ref.binding) ||
               fail_at(r, node->line, "internal error: a name has no slot");
    case NODE_FILTER:
    case NODE_TEST:
        node->soft = r->soft;
        if (!node->as.apply.native && !r->soft) {
            error_set(r->err, QUERN_ERR_TEMPLATE, "line %d: unknown %s '%.*s'", node->line,
                      node->kind == NODE_FILTER ? "filter" : "test", STR_FMT(node->as.apply.name));
            return false;
        }
        break;
    case NODE_CONDITIONAL:
        r->soft = true;
        break;
    default:
        break;
    }
    bool ok = visit_children(r, scope, node, bind_expression);
    r->soft = soft;
    return ok;
}

static bool bind_statement(struct resolver *r, struct scope *scope, struct jnode *node);

/* A body whose names are in scope->slots already. */
static bool bind_body(struct resolver *r, struct scope *scope, const struct jnodes *body,
                      struct jscope *out) {
    bool soft = r->soft;
    r->soft = false;
    bool ok = visit_all(r, scope, body, bind_statement) && emit_scope(r, scope, out);
    r->soft = soft;
    return ok;
}

static bool bind_for(struct resolver *r, struct scope *outer, struct jnode *node) {
    struct jfor_node *loop = node->as.loop;
    struct function own = {0};
    struct function *function = loop->recursive ? &own : outer->function;
    struct scope body = {.parent = outer, .function = function};
    struct scope test = body, otherwise = body;
    struct jbinding at;
    if (!bind_expression(r, outer, loop->iterable))
        return false;
    r->loops++;
    bool ok = note_parameters(r, &body, loop->target);
    if (ok && find_here(&body, STR_LIT("loop")))
        ok = fail_at(r, node->line, "cannot assign to the special variable 'loop' in a loop");
    ok = ok && declare_parameter(r, &body, STR_LIT("loop")) && note_body(r, &body, &loop->body) &&
         bind_expression(r, &body, loop->target);
    if (ok && loop->test)
        ok = note_parameters(r, &test, loop->test_target) && note_loads(r, &test, loop->test) &&
             bind_expression(r, &test, loop->test_target) &&
             bind_expression(r, &test, loop->test) && emit_scope(r, &test, &loop->test_scope);
    ok = ok && note_body(r, &otherwise, &loop->otherwise) &&
         bind_body(r, &body, &loop->body, &loop->scope) &&
         bind_body(r, &otherwise, &loop->otherwise, &loop->else_scope);
    r->loops--;
    if (!ok || !find_binding(&body, STR_LIT("loop"), &at))
        return false;
    loop->loop = at.slot;
    loop->n_slots = own.n_slots;
    return true;
}

static uint32_t slot_of(const struct scope *scope, struct str name) {
    const struct scope_slot *slot = find_here(scope, name);
    return slot ? slot->slot.slot : JSLOT_NONE;
}

/* `caller`, `kwargs` and `varargs` exist in macros that mention them. */
static bool declare_special(struct resolver *r, struct scope *scope, struct jnode *node) {
    struct jmacro_node *macro = &node->as.macro;
    static const struct {
        unsigned bit;
        struct str name;
    } specials[] = {{JSPECIAL_CALLER, {"caller", 6}},
                    {JSPECIAL_KWARGS, {"kwargs", 6}},
                    {JSPECIAL_VARARGS, {"varargs", 7}}};
    uint32_t *slots[] = {&macro->caller, &macro->kwargs, &macro->varargs};
    for (size_t i = 0; i < 3; i++) {
        *slots[i] = JSLOT_NONE;
        if (!(macro->specials & specials[i].bit))
            continue;
        bool parameter = false;
        for (size_t k = 0; k < macro->parameters.n; k++) {
            if (!str_eq(macro->parameters.items[k]->as.name.name, specials[i].name))
                continue;
            parameter = true;
            if (i == 0 && k < macro->parameters.n - macro->defaults.n)
                return fail_at(r, node->line, "the parameter 'caller' needs a default");
        }
        if (i == 0)
            macro->caller_is_parameter = parameter;
        if (parameter)
            continue;
        if (!declare_parameter(r, scope, specials[i].name))
            return false;
        *slots[i] = slot_of(scope, specials[i].name);
    }
    return true;
}

static bool bind_macro(struct resolver *r, struct scope *outer, struct jnode *node) {
    struct jmacro_node *macro = &node->as.macro;
    struct function own = {0};
    struct scope scope = {.parent = outer, .function = &own};
    bool soft = r->soft;
    if (node->kind == NODE_MACRO ? !find_binding(outer, macro->name, &macro->self)
                                 : !bind_expression(r, outer, macro->call))
        return false;
    int loops = r->loops;
    r->soft = false;
    bool ok = visit_all(r, &scope, &macro->parameters, note_parameters) &&
              visit_all(r, &scope, &macro->defaults, note_loads) &&
              note_body(r, &scope, &macro->body) && declare_special(r, &scope, node) &&
              visit_all(r, &scope, &macro->parameters, bind_expression) &&
              visit_all(r, &scope, &macro->defaults, bind_expression) &&
              bind_body(r, &scope, &macro->body, &macro->scope);
    r->soft = soft;
    r->loops = loops;
    macro->n_slots = own.n_slots;
    return ok;
}

/* Set blocks, filter blocks and generation blocks: a scope within the same function. */
static bool bind_captured(struct resolver *r, struct scope *outer, struct jnode *node) {
    struct scope scope = {.parent = outer, .function = outer->function};
    struct jnode *filter = node->as.assign.filter, *target = node->as.assign.target;
    return (!target || bind_expression(r, outer, target)) &&
           note_body(r, &scope, &node->as.assign.body) &&
           (!filter || (note_loads(r, &scope, filter) && bind_expression(r, &scope, filter))) &&
           bind_body(r, &scope, &node->as.assign.body, &node->as.assign.scope);
}

static bool bind_with(struct resolver *r, struct scope *outer, struct jnode *node) {
    struct scope scope = {.parent = outer, .function = outer->function};
    return visit_all(r, outer, &node->as.with.values, bind_expression) &&
           visit_all(r, &scope, &node->as.with.targets, note_parameters) &&
           note_body(r, &scope, &node->as.with.body) &&
           visit_all(r, &scope, &node->as.with.targets, bind_expression) &&
           bind_body(r, &scope, &node->as.with.body, &node->as.with.scope);
}

static bool bind_if(struct resolver *r, struct scope *scope, const struct jnode *node) {
    bool soft = r->soft, ok = true;
    r->soft = true;
    for (const struct jnode *next; ok && node; node = next) {
        next = next_if(node);
        ok = bind_expression(r, scope, node->as.cond.test) &&
             visit_all(r, scope, &node->as.cond.then, bind_statement) &&
             (next || visit_all(r, scope, &node->as.cond.otherwise, bind_statement));
    }
    r->soft = soft;
    return ok;
}

static bool bind_statement(struct resolver *r, struct scope *scope, struct jnode *node) {
    switch (node->kind) {
    case NODE_OUTPUT:
        return visit_all(r, scope, &node->as.list, bind_expression);
    case NODE_IF:
        return bind_if(r, scope, node);
    case NODE_FOR:
        return bind_for(r, scope, node);
    case NODE_SET:
        return bind_expression(r, scope, node->as.assign.value) &&
               bind_expression(r, scope, node->as.assign.target);
    case NODE_SET_BLOCK:
    case NODE_FILTER_BLOCK:
    case NODE_GENERATION:
        return bind_captured(r, scope, node);
    case NODE_WITH:
        return bind_with(r, scope, node);
    case NODE_MACRO:
    case NODE_CALL_BLOCK:
        return bind_macro(r, scope, node);
    default:
        return true;
    }
}

enum quern_status jinja_resolve(struct arena *arena, struct jtemplate *t, struct quern_error *err) {
    struct quern_error local = {0};
    struct resolver r = {.arena = arena, .err = &local};
    struct function root = {0};
    struct scope scope = {.function = &root};
    if (!note_body(&r, &scope, &t->body) || !bind_body(&r, &scope, &t->body, &t->scope))
        return error_set(err, local.code ? local.code : QUERN_ERR_TEMPLATE, "%s", local.message);
    t->n_slots = root.n_slots;
    return QUERN_OK;
}
