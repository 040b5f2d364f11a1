/* jinja_ast.h - the parsed template: immutable once jinja_resolve has bound its names. */
#ifndef QUERN_CHAT_JINJA_AST_H
#define QUERN_CHAT_JINJA_AST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chat/jinja_value.h"

enum jnode_kind {
    /* statements */
    NODE_DATA,   /* text */
    NODE_OUTPUT, /* list: expressions printed one after the other */
    NODE_IF,     /* cond: test, then-body; otherwise the else-body */
    NODE_FOR,
    NODE_SET,          /* assign */
    NODE_SET_BLOCK,    /* assign: target, filter (may be NULL), body */
    NODE_FILTER_BLOCK, /* assign: filter, body */
    NODE_WITH,         /* with */
    NODE_GENERATION,   /* assign: body */
    NODE_MACRO,
    NODE_CALL_BLOCK,
    NODE_BREAK,
    NODE_CONTINUE,
    /* expressions */
    NODE_CONST,
    NODE_NAME,
    NODE_NAMESPACE_REF, /* ns.x as a target */
    NODE_TUPLE,
    NODE_LIST,
    NODE_DICT, /* list: key, value, key, value */
    NODE_BINARY,
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_NEGATE,
    NODE_PLUS,
    NODE_COMPARE,
    NODE_CONCAT, /* list */
    NODE_ATTRIBUTE,
    NODE_ITEM,
    NODE_SLICE,
    NODE_CALL,
    NODE_FILTER,
    NODE_TEST,
    NODE_CONDITIONAL,
};

enum jbinary {
    BINARY_ADD,
    BINARY_SUB,
    BINARY_MUL,
    BINARY_DIV,
    BINARY_FLOORDIV,
    BINARY_MOD,
    BINARY_POW
};

enum jcompare {
    COMPARE_EQ,
    COMPARE_NE,
    COMPARE_LT,
    COMPARE_LE,
    COMPARE_GT,
    COMPARE_GE,
    COMPARE_IN,
    COMPARE_NOT_IN
};

struct jnodes {
    struct jnode **items;
    size_t n;
};

/* A variable: `hops` frames outwards, then the slot. */
struct jbinding {
    uint16_t hops;
    uint32_t slot;
};

/* What a scope does to its slots on entry, as Jinja's compiler decides it. */
enum jslot_source {
    SLOT_PARAMETER, /* nothing: whoever enters fills it */
    SLOT_UNDEFINED,
    SLOT_RESOLVE, /* from the render's variables and the environment */
    SLOT_ALIAS,   /* the value an outer scope has now */
};

struct jslot {
    struct str name;
    enum jslot_source source;
    uint32_t slot;
    struct jbinding outer; /* SLOT_ALIAS */
};

struct jscope {
    struct jslot *slots;
    size_t n;
};

struct jkeyword {
    struct str name;
    struct jnode *value;
};

struct jcall {
    struct jnodes positional;
    struct jkeyword *keywords;
    size_t n_keywords;
    struct jnode *star_args, *star_kwargs; /* may be NULL */
};

enum jspecial { JSPECIAL_CALLER = 1, JSPECIAL_KWARGS = 2, JSPECIAL_VARARGS = 4 };

/* Parameters and body of a macro or a call block. */
struct jmacro_node {
    struct str name;          /* empty: call block */
    struct jnodes parameters; /* NODE_NAME, bound in the macro's scope */
    struct jnodes defaults;   /* of the last parameters */
    struct jnodes body;
    struct jnode *call;   /* call block: the NODE_CALL that gets the caller */
    unsigned specials;    /* enum jspecial: the special names the body mentions */
    struct jbinding self; /* macro: where its value goes */
    struct jscope scope;
    uint32_t n_slots;                 /* of a call's frame */
    uint32_t caller, kwargs, varargs; /* slots of the special names, or JSLOT_NONE */
    bool caller_is_parameter;
};

#define JSLOT_NONE UINT32_MAX

struct jfor_node {
    struct jnode *target, *test_target; /* the second in the scope of `test` */
    struct jnode *iterable, *test;      /* test may be NULL */
    struct jnodes body, otherwise;
    bool recursive; /* the loop is a function of its own */
    bool has_else;
    uint32_t n_slots; /* when recursive */
    uint32_t loop;    /* slot of `loop` */
    struct jscope scope, test_scope, else_scope;
};

struct jnode {
    enum jnode_kind kind;
    uint16_t depth; /* 1 + the deepest child's */
    bool soft;      /* filter, test: inside if, so an unknown name is a run-time error */
    int line;
    union {
        struct str text; /* NODE_DATA */
        struct jvalue constant;
        struct jnodes list;
        struct {
            struct str name;
            struct jbinding binding;
        } name;
        struct {
            struct str name, attribute;
            struct jbinding binding;
        } namespace_ref;
        struct {
            struct jnode *test;
            struct jnodes then, otherwise;
        } cond;
        struct jfor_node *loop;
        struct {
            struct jnode *target, *value, *filter;
            struct jnodes body;
            struct jscope scope;
        } assign;
        struct {
            struct jnodes targets, values, body;
            struct jscope scope;
        } with;
        struct jmacro_node macro;
        struct {
            enum jbinary op;
            struct jnode *left, *right; /* NODE_AND, NODE_OR too; unary: left */
        } binary;
        struct {
            struct jnode *first;
            struct jnodes operands;
            enum jcompare *ops;
        } compare;
        struct {
            struct jnode *object, *index; /* NODE_ITEM */
            struct str name;              /* NODE_ATTRIBUTE */
        } access;
        struct {
            struct jnode *start, *stop, *step; /* each may be NULL */
        } slice;
        struct {
            struct jnode *object;         /* NODE_FILTER: NULL means the captured block */
            const struct jnative *native; /* filters and tests; NULL: unknown */
            struct str name;
            struct jcall call;
        } apply; /* NODE_CALL, NODE_FILTER, NODE_TEST */
        struct {
            struct jnode *test, *then, *otherwise; /* otherwise may be NULL */
        } conditional;
    } as;
};

struct jtemplate {
    struct jnodes body;
    struct jscope scope;
    uint32_t n_slots;
};

#endif
