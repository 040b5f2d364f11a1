/* Tests: the right side of `is`. */
#include "chat/jinja_interp.h"
#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

static bool answer(struct jnative_call *call, bool yes) {
    call->result = jvalue_bool(yes);
    return true;
}

/* Tests that look at the kind only; data: a set of kinds. */
#define KIND(k) (1 << (k))

static bool is_kind(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, (call->native->data >> call->self.kind) & 1);
}

static bool is_not_kind(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, !((call->native->data >> call->self.kind) & 1));
}

/* true and false */
static bool is_bool(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, call->self.kind == JINJA_BOOL &&
                            call->self.as.boolean == (call->native->data != 0));
}

static bool is_iterable(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, jvalue_is_iterable(call->self));
}

static bool is_escaped(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, call->self.kind == JINJA_STRING && call->self.flag);
}

static bool is_case(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    return jnative_self_text(run, call, &s) &&
           answer(call, jstring_is(s, (enum jclass)call->native->data));
}

/* odd and even: value % 2, whatever % means for the value */
static bool is_parity(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue rest;
    bool equal;
    return jinja_binary(run, BINARY_MOD, call->self, jvalue_int(2), &rest) &&
           jvalue_equal(run, rest, jvalue_int(call->native->data), &equal) && answer(call, equal);
}

static bool is_divisible(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue rest;
    bool equal;
    return jinja_binary(run, BINARY_MOD, call->self, call->arg[0], &rest) &&
           jvalue_equal(run, rest, jvalue_int(0), &equal) && answer(call, equal);
}

static bool is_same(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    return answer(call, jvalue_same(call->self, call->arg[0]));
}

static bool is_in(struct jinja_run *run, struct jnative_call *call) {
    bool contains;
    return jvalue_contains(run, call->arg[0], call->self, &contains) && answer(call, contains);
}

static bool is_equal(struct jinja_run *run, struct jnative_call *call) {
    bool equal;
    return jvalue_equal(run, call->self, call->arg[0], &equal) &&
           answer(call, equal == (call->native->data != 0));
}

/* The order tests; data: which of "less", "equal", "greater" they accept. */
enum { LESS = 1, SAME = 2, MORE = 4 };

static bool is_ordered(struct jinja_run *run, struct jnative_call *call) {
    int order;
    if (!jvalue_compare(run, call->self, call->arg[0], &order))
        return false;
    int met = order == -1 ? LESS : order == 0 ? SAME : order == 1 ? MORE : 0;
    return answer(call, (call->native->data & met) != 0);
}

static bool is_native(struct jinja_run *run, struct jnative_call *call) {
    if (call->self.kind == JINJA_UNDEFINED || call->self.kind == JINJA_NONE ||
        jvalue_is_hashable(run, call->self)) {
        struct str name = call->self.kind == JINJA_STRING ? call->self.as.text : STR_LIT("");
        return answer(
            call, (call->native->data ? jinja_find_filter(name) : jinja_find_test(name)) != NULL);
    }
    return jinja_fail(run, "unhashable type: '%s'", jvalue_type_name(call->self));
}

enum {
    NUMBERS = KIND(JINJA_BOOL) | KIND(JINJA_INT) | KIND(JINJA_FLOAT),
    SEQUENCES = KIND(JINJA_UNDEFINED) | KIND(JINJA_STRING) | KIND(JINJA_LIST) | KIND(JINJA_TUPLE) |
                KIND(JINJA_DICT) | KIND(JINJA_RANGE),
    CALLABLES = KIND(JINJA_UNDEFINED) | KIND(JINJA_MACRO) | KIND(JINJA_FUNCTION) |
                KIND(JINJA_METHOD) | KIND(JINJA_LOOP),
};

const struct jnative jinja_tests[] = {
    {"defined", "", is_not_kind, KIND(JINJA_UNDEFINED)},
    {"undefined", "", is_kind, KIND(JINJA_UNDEFINED)},
    {"none", "", is_kind, KIND(JINJA_NONE)},
    {"string", "", is_kind, KIND(JINJA_STRING)},
    {"mapping", "", is_kind, KIND(JINJA_DICT)},
    {"number", "", is_kind, NUMBERS},
    {"integer", "", is_kind, KIND(JINJA_INT)},
    {"float", "", is_kind, KIND(JINJA_FLOAT)},
    {"boolean", "", is_kind, KIND(JINJA_BOOL)},
    {"sequence", "", is_kind, SEQUENCES},
    {"callable", "", is_kind, CALLABLES},
    {"true", "", is_bool, 1},
    {"false", "", is_bool, 0},
    {"iterable", "", is_iterable, 0},
    {"escaped", "", is_escaped, 0},
    {"lower", "", is_case, JCLASS_LOWER},
    {"upper", "", is_case, JCLASS_UPPER},
    {"odd", "", is_parity, 1},
    {"even", "", is_parity, 0},
    {"divisibleby", "num", is_divisible, 0},
    {"sameas", "other", is_same, 0},
    {"in", "seq", is_in, 0},
    {"filter", "", is_native, 1},
    {"test", "", is_native, 0},
    {"==", "/b", is_equal, 1},
    {"eq", "/b", is_equal, 1},
    {"equalto", "/b", is_equal, 1},
    {"!=", "/b", is_equal, 0},
    {"ne", "/b", is_equal, 0},
    {">", "/b", is_ordered, MORE},
    {"gt", "/b", is_ordered, MORE},
    {"greaterthan", "/b", is_ordered, MORE},
    {">=", "/b", is_ordered, MORE | SAME},
    {"ge", "/b", is_ordered, MORE | SAME},
    {"<", "/b", is_ordered, LESS},
    {"lt", "/b", is_ordered, LESS},
    {"lessthan", "/b", is_ordered, LESS},
    {"<=", "/b", is_ordered, LESS | SAME},
    {"le", "/b", is_ordered, LESS | SAME},
    {NULL, NULL, NULL, 0},
};
