/* dtd.c - reading a DTD. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "grammar/xml/xml.h"
#include "text/unicode.h"

enum {
    DTD_BYTES_MAX = 1 << 20,
    EXPANDED_BYTES_MAX = 4 << 20, /* by parameter entities */
    ENTITY_DEPTH_MAX = 16,
    DEPTH_MAX = 100,
    ELEMENTS_MAX = 5000,
    ARENA_BYTES_MAX = 32 << 20,
};

struct attribute {
    struct str name;
    expr_id written; /* gap name="value", or nothing */
    struct attribute *next;
};

struct element {
    struct str name;
    symbol_id rule, content;
    bool declared, may_be_empty, element_content, any;
    size_t line; /* where it was first seen */
    bool used;   /* in a content model, or as the root */
    struct attribute *first, *last;
};

struct frame {
    const char *at, *end;
};

struct reader {
    struct grammar_builder *b;
    const char *name;
    struct frame frames[ENTITY_DEPTH_MAX + 1]; /* the text, then the entities it is in */
    int top;
    size_t line, expanded;
    struct arena arena;
    struct map names, entities; /* -> index in elements, in values */
    struct element *elements;
    size_t n_elements;
    struct str *values; /* of parameter entities; ptr NULL: external */
    size_t n_values;
    struct xml_parts parts;
    struct buffer *report;
    int depth;
};

static bool failed(const struct reader *r) {
    return grammar_builder_failed(r->b);
}

static bool refuse(struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool refuse(struct reader *r, const char *fmt, ...) {
    char message[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    grammar_builder_fail(r->b, QUERN_ERR_FORMAT, "%s: line %zu: %s", r->name, r->line, message);
    return false;
}

static int shown(struct str s) {
    return s.len < 80 ? (int)s.len : 80;
}

/* ---- characters ---------------------------------------------------------------------- */

static char peek(const struct reader *r) {
    const struct frame *f = &r->frames[r->top];
    return f->at < f->end ? *f->at : '\0';
}

static void next(struct reader *r) {
    struct frame *f = &r->frames[r->top];
    if (f->at == f->end)
        return;
    if (*f->at == '\n' && r->top == 0)
        r->line++;
    f->at++;
}

static bool at_text(const struct reader *r, const char *text) {
    const struct frame *f = &r->frames[r->top];
    const size_t n = strlen(text);
    return (size_t)(f->end - f->at) >= n && memcmp(f->at, text, n) == 0;
}

static bool take(struct reader *r, const char *text) {
    if (!at_text(r, text))
        return false;
    r->frames[r->top].at += strlen(text);
    return true;
}

static struct str read_name(struct reader *r) {
    const char *start = r->frames[r->top].at;
    while (xml_name_char(peek(r), r->frames[r->top].at == start))
        next(r);
    return (struct str){start, (size_t)(r->frames[r->top].at - start)};
}

/* %name; here: its text is read next. */
static bool enter_entity(struct reader *r) {
    uint32_t i;
    next(r);
    const struct str name = read_name(r);
    if (name.len == 0 || !take(r, ";"))
        return refuse(r, "expected %%NAME;, a parameter entity");
    if (!map_get(&r->entities, name, &i))
        return refuse(r, "the parameter entity %%%.*s; is not declared", shown(name), name.ptr);
    const struct str value = r->values[i];
    if (!value.ptr)
        return refuse(r, "the parameter entity %%%.*s; is external, which is not supported",
                      shown(name), name.ptr);
    r->expanded += value.len + 1;
    if (r->top == ENTITY_DEPTH_MAX || r->expanded > EXPANDED_BYTES_MAX)
        return refuse(r, "parameter entities are nested too deep or expand to too much");
    r->frames[++r->top] = (struct frame){value.ptr, value.ptr + value.len};
    return true;
}

/* White space and parameter entities, whose ends count as white space. */
static void skip_space(struct reader *r) {
    while (!failed(r)) {
        const struct frame *f = &r->frames[r->top];
        const char c = peek(r);
        if (f->at == f->end && r->top > 0)
            r->top--;
        else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
            next(r);
        else if (c == '%' && f->at + 1 < f->end && xml_name_char(f->at[1], true))
            enter_entity(r);
        else
            return;
    }
}

static bool skip_past(struct reader *r, const char *end, const char *what) {
    while (!at_text(r, end)) {
        if (r->frames[r->top].at == r->frames[r->top].end)
            return refuse(r, "%s is not closed by \"%s\"", what, end);
        next(r);
    }
    return take(r, end);
}

/* "..." or '...' */
static bool read_quoted(struct reader *r, struct str *out) {
    skip_space(r);
    const char quote = peek(r);
    if (quote != '"' && quote != '\'')
        return refuse(r, "expected a text in quotes");
    next(r);
    const char *start = r->frames[r->top].at;
    const char close[] = {quote, '\0'};
    if (!skip_past(r, close, "a text"))
        return false;
    *out = (struct str){start, (size_t)(r->frames[r->top].at - 1 - start)};
    return true;
}

static bool expect(struct reader *r, const char *text, const char *after) {
    skip_space(r);
    return !failed(r) && (take(r, text) || refuse(r, "expected \"%s\" after %s", text, after));
}

/* ---- elements -------------------------------------------------------------------------- */

static struct element *element_of(struct reader *r, struct str name) {
    uint32_t i;
    if (map_get(&r->names, name, &i))
        return &r->elements[i];
    if (r->n_elements == ELEMENTS_MAX) {
        refuse(r, "more than %d elements", ELEMENTS_MAX);
        return NULL;
    }
    if (!map_put(&r->names, name, (uint32_t)r->n_elements, NULL)) {
        grammar_builder_fail(r->b, QUERN_ERR_NOMEM, "out of memory");
        return NULL;
    }
    char label[100];
    snprintf(label, sizeof label, "<%.*s>", shown(name), name.ptr);
    struct element *e = &r->elements[r->n_elements++];
    *e = (struct element){.name = name, .rule = grammar_rule(r->b, label), .line = r->line};
    return e;
}

static symbol_id read_quantifier(struct reader *r, symbol_id x) {
    if (take(r, "?"))
        return grammar_repeat(r->b, x, 0, 1);
    if (take(r, "*"))
        return grammar_repeat(r->b, x, 0, GRAMMAR_INF);
    return take(r, "+") ? grammar_repeat(r->b, x, 1, GRAMMAR_INF) : x;
}

static symbol_id read_group(struct reader *r, bool *empty);

/* A name or a group, with its quantifier. *empty: it may be no element at all. */
static symbol_id read_particle(struct reader *r, bool *empty) {
    symbol_id x;
    skip_space(r);
    *empty = false;
    if (take(r, "(")) {
        x = read_group(r, empty);
    } else {
        const struct str name = read_name(r);
        struct element *e = name.len ? element_of(r, name) : NULL;
        if (!e) {
            refuse(r, "expected the name of an element or '('");
            return GRAMMAR_NONE;
        }
        e->used = true;
        x = grammar_sequence2(r->b, grammar_terminal(r->b, r->parts.gap, "white space"), e->rule);
    }
    *empty = *empty || peek(r) == '?' || peek(r) == '*';
    return failed(r) ? GRAMMAR_NONE : read_quantifier(r, x);
}

/* After '(': particles with ',' or '|' between them, and ')'. */
static symbol_id read_group(struct reader *r, bool *empty) {
    struct grammar_builder *b = r->b;
    symbol_id out = GRAMMAR_NONE;
    char separator = '\0';
    if (++r->depth > DEPTH_MAX)
        refuse(r, "content models are nested more than %d deep", DEPTH_MAX);
    for (bool more = true; more && !failed(r);) {
        bool may;
        const symbol_id x = read_particle(r, &may);
        if (!separator) {
            out = x;
            *empty = may;
        } else if (separator == '|') {
            grammar_produce1(b, out, x);
            *empty = *empty || may;
        } else {
            out = grammar_sequence2(b, out, x);
            *empty = *empty && may;
        }
        skip_space(r);
        const char c = peek(r);
        more = c == ',' || c == '|';
        if (!more && c != ')')
            refuse(r, "expected ',', '|' or ')' in a content model");
        else if (more && separator && c != separator)
            refuse(r, "',' and '|' stand side by side in a content model");
        if (c == '|' && !separator) {
            const symbol_id first = out;
            out = grammar_rule(b, "a choice");
            grammar_produce1(b, out, first);
        }
        separator = more ? c : separator;
        next(r);
    }
    r->depth--;
    return failed(r) ? GRAMMAR_NONE : out;
}

/* After (#PCDATA: | a | b)* */
static symbol_id read_mixed(struct reader *r) {
    symbol_id any = GRAMMAR_NONE;
    for (skip_space(r); take(r, "|") && !failed(r); skip_space(r)) {
        skip_space(r);
        const struct str name = read_name(r);
        struct element *e = name.len ? element_of(r, name) : NULL;
        if (!e) {
            refuse(r, "expected the name of an element after '|'");
            return GRAMMAR_NONE;
        }
        e->used = true;
        if (any == GRAMMAR_NONE)
            any = grammar_rule(r->b, "an element");
        grammar_produce1(r->b, any, e->rule);
    }
    if (!expect(r, ")", "#PCDATA and names") || (!take(r, "*") && any != GRAMMAR_NONE))
        refuse(r, "mixed content is written (#PCDATA | NAME ...)*");
    return failed(r) ? GRAMMAR_NONE : xml_mixed(r->b, &r->parts, &any, any != GRAMMAR_NONE);
}

/* After <!ELEMENT */
static void read_element(struct reader *r) {
    skip_space(r);
    const struct str name = read_name(r);
    struct element *e = name.len ? element_of(r, name) : NULL;
    const size_t index = e ? (size_t)(e - r->elements) : 0;
    symbol_id content = GRAMMAR_NONE;
    bool empty = true, own_space = false;
    if (!e || e->declared) {
        if (e)
            refuse(r, "the element \"%.*s\" is declared twice", shown(name), name.ptr);
        else
            refuse(r, "expected a name after <!ELEMENT");
        return;
    }
    skip_space(r);
    if (take(r, "EMPTY")) {
        content = grammar_empty(r->b);
    } else if (take(r, "ANY")) {
        e->any = true;
    } else if (take(r, "(")) {
        skip_space(r);
        if (take(r, "#PCDATA")) {
            content = read_mixed(r);
        } else {
            own_space = true;
            content = read_group(r, &empty);
            empty = empty || peek(r) == '?' || peek(r) == '*';
            if (!failed(r))
                content = read_quantifier(r, content);
        }
    } else {
        refuse(r, "expected EMPTY, ANY or '(' after <!ELEMENT %.*s", shown(name), name.ptr);
    }
    e = &r->elements[index];
    e->content = content;
    e->declared = true;
    e->may_be_empty = empty;
    e->element_content = own_space;
    expect(r, ">", "a content model");
}

/* ---- attributes ------------------------------------------------------------------------ */

static void note(struct reader *r, struct str element, struct str name, const char *what) {
    if (r->report)
        buffer_printf(r->report, "%s: line %zu: %.*s/%.*s: %s\n", r->name, r->line, shown(element),
                      element.ptr, shown(name), name.ptr, what);
}

/* (a | b | c) */
static expr_id read_enumeration(struct reader *r) {
    expr_id x = expr_nothing(r->b);
    do {
        skip_space(r);
        const char *start = r->frames[r->top].at;
        while (xml_name_char(peek(r), false))
            next(r);
        const struct str word = {start, (size_t)(r->frames[r->top].at - start)};
        if (word.len == 0)
            refuse(r, "expected a word of an enumeration");
        x = expr_or(r->b, x, expr_literal(r->b, word));
        skip_space(r);
    } while (!failed(r) && take(r, "|"));
    expect(r, ")", "an enumeration");
    return x;
}

static expr_id read_type(struct reader *r, struct str element, struct str name) {
    struct grammar_builder *b = r->b;
    const struct {
        const char *word;
        expr_id one;
        bool list;
        const char *loose;
    } types[] = {
        {"CDATA", r->parts.value, false, NULL},
        {"IDREFS", r->parts.name, true, "that each of IDREFS has its ID is not enforced"},
        {"IDREF", r->parts.name, false, "that an IDREF has its ID is not enforced"},
        {"ID", r->parts.name, false, "that an ID is unique is not enforced"},
        {"NMTOKENS", r->parts.nmtoken, true, NULL},
        {"NMTOKEN", r->parts.nmtoken, false, NULL},
    };
    skip_space(r);
    if (take(r, "("))
        return read_enumeration(r);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!take(r, types[i].word))
            continue;
        if (types[i].loose)
            note(r, element, name, types[i].loose);
        if (!types[i].list)
            return types[i].one;
        const expr_id more = expr_concat(b, expr_text(b, " "), types[i].one);
        return expr_concat(b, types[i].one, expr_star(b, more));
    }
    refuse(r,
           "the attribute \"%.*s\": expected a type (CDATA, ID, IDREF, IDREFS, NMTOKEN, NMTOKENS "
           "or an enumeration); ENTITY and NOTATION are not supported",
           shown(name), name.ptr);
    return GRAMMAR_NONE;
}

/* #REQUIRED, #IMPLIED, #FIXED "value" or "default": which values, and whether it may be missing. */
static bool read_default(struct reader *r, expr_id *values) {
    struct str value;
    skip_space(r);
    if (take(r, "#REQUIRED"))
        return false;
    if (take(r, "#IMPLIED"))
        return true;
    const bool fixed = take(r, "#FIXED");
    if (!read_quoted(r, &value))
        return true;
    if (memchr(value.ptr, '&', value.len))
        refuse(r, "references in the default of an attribute are not supported");
    else if (fixed)
        *values = xml_value_literal(r->b, value);
    return true;
}

/* After <!ATTLIST */
static void read_attributes(struct reader *r) {
    struct grammar_builder *b = r->b;
    skip_space(r);
    const struct str element = read_name(r);
    struct element *e = element.len ? element_of(r, element) : NULL;
    if (!e) {
        refuse(r, "expected the name of an element after <!ATTLIST");
        return;
    }
    for (skip_space(r); !failed(r) && !take(r, ">"); skip_space(r)) {
        const struct str name = read_name(r);
        if (name.len == 0) {
            refuse(r, "expected the name of an attribute or '>'");
            return;
        }
        expr_id values = read_type(r, element, name);
        const bool optional = read_default(r, &values);
        bool known = false;
        for (const struct attribute *a = e->first; a; a = a->next)
            known = known || str_eq(a->name, name);
        struct attribute *a = arena_calloc(&r->arena, 1, sizeof *a);
        if (!a)
            grammar_builder_fail_arena(r->b, &r->arena, r->name);
        if (known || failed(r))
            continue; /* the first declaration binds */
        const expr_id parts[] = {r->parts.attribute_gap, expr_literal(b, name), expr_text(b, "=\""),
                                 values, expr_text(b, "\"")};
        const expr_id written = expr_concat_n(b, parts, 5);
        *a = (struct attribute){name, optional ? expr_optional(b, written) : written, NULL};
        *(e->last ? &e->last->next : &e->first) = a;
        e->last = a;
    }
}

/* ---- declarations ----------------------------------------------------------------------- */

/* After <!ENTITY */
static void read_entity(struct reader *r) {
    skip_space(r);
    const bool parameter = take(r, "%");
    skip_space(r);
    const struct str name = read_name(r);
    struct str value = {NULL, 0}, ignored;
    skip_space(r);
    if (name.len == 0) {
        refuse(r, "expected the name of an entity");
        return;
    }
    if (take(r, "SYSTEM")) {
        read_quoted(r, &ignored);
    } else if (take(r, "PUBLIC")) {
        if (read_quoted(r, &ignored))
            read_quoted(r, &ignored);
    } else {
        read_quoted(r, &value);
    }
    skip_space(r);
    if (take(r, "NDATA")) {
        skip_space(r);
        read_name(r);
    }
    if (!expect(r, ">", "an entity") || !parameter || map_get(&r->entities, name, NULL))
        return;
    if (r->n_values == ELEMENTS_MAX || !map_put(&r->entities, name, (uint32_t)r->n_values, NULL))
        refuse(r, "too many parameter entities");
    else
        r->values[r->n_values++] = value;
}

/* One declaration, comment or instruction. */
static void read_declaration(struct reader *r) {
    if (take(r, "<!--"))
        skip_past(r, "-->", "a comment");
    else if (take(r, "<?"))
        skip_past(r, "?>", "a processing instruction");
    else if (take(r, "<!ELEMENT"))
        read_element(r);
    else if (take(r, "<!ATTLIST"))
        read_attributes(r);
    else if (take(r, "<!ENTITY"))
        read_entity(r);
    else if (take(r, "<!NOTATION"))
        skip_past(r, ">", "a notation");
    else if (take(r, "<!["))
        refuse(r, "conditional sections are not supported");
    else
        refuse(r, "expected a declaration (<!ELEMENT, <!ATTLIST, <!ENTITY), found \"%c\"",
               peek(r) ? peek(r) : '?');
}

/* Up to the declarations inside of <!DOCTYPE root [. */
static struct str read_doctype(struct reader *r) {
    struct str root, ignored;
    skip_space(r);
    root = read_name(r);
    skip_space(r);
    if (take(r, "SYSTEM")) {
        read_quoted(r, &ignored);
    } else if (take(r, "PUBLIC") && read_quoted(r, &ignored)) {
        read_quoted(r, &ignored);
    }
    skip_space(r);
    if (root.len == 0 || !take(r, "["))
        refuse(r, "expected a name and '[' after <!DOCTYPE");
    return root;
}

static struct str read_all(struct reader *r) {
    struct str root = {NULL, 0};
    bool within = false, closed = false;
    for (skip_space(r); !failed(r); skip_space(r)) {
        if (r->frames[r->top].at == r->frames[r->top].end)
            break;
        if (!within && take(r, "<!DOCTYPE")) {
            root = read_doctype(r);
            within = true;
        } else if (within && take(r, "]")) {
            closed = expect(r, ">", "]");
            break;
        } else {
            read_declaration(r);
        }
    }
    if (within && !closed)
        refuse(r, "<!DOCTYPE is not closed by \"]>\"");
    for (size_t i = 0; i < r->n_elements && !root.ptr; i++)
        if (r->elements[i].declared)
            root = r->elements[i].name;
    if (!root.ptr && !failed(r))
        refuse(r, "no element is declared");
    return root;
}

static symbol_id build(struct reader *r) {
    struct grammar_builder *b = r->b;
    const struct str root = read_all(r);
    struct element *top = failed(r) ? NULL : element_of(r, root);
    if (!top)
        return GRAMMAR_NONE;
    top->used = true;
    symbol_id *all = arena_calloc(&r->arena, r->n_elements + 1, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; all && i < r->n_elements; i++)
        if (r->elements[i].declared)
            all[n++] = r->elements[i].rule;
    if (!all)
        grammar_builder_fail_arena(r->b, &r->arena, r->name);
    for (size_t i = 0; i < r->n_elements && !failed(r); i++) {
        struct element *e = &r->elements[i];
        expr_id attributes = expr_empty(b);
        r->line = e->line;
        if (!e->declared && e->used)
            refuse(r, "the element \"%.*s\" is not declared", shown(e->name), e->name.ptr);
        if (!e->declared)
            continue;
        for (const struct attribute *a = e->first; a; a = a->next)
            attributes = expr_concat(b, attributes, a->written);
        xml_element(b, &r->parts, e->rule, e->name, attributes,
                    e->any ? xml_mixed(b, &r->parts, all, n) : e->content, e->may_be_empty,
                    e->element_content);
    }
    return failed(r) ? GRAMMAR_NONE : xml_document(b, &r->parts, top->rule);
}

enum quern_status xml_dtd_build(struct grammar_builder *b, struct str dtd, const char *name,
                                symbol_id *out, struct buffer *report, struct quern_error *err) {
    struct reader r = {.b = b, .name = name, .line = 1, .report = report};
    symbol_id document = GRAMMAR_NONE;
    arena_init(&r.arena, ARENA_BYTES_MAX);
    r.frames[0] = (struct frame){dtd.ptr, dtd.ptr + dtd.len};
    r.elements = arena_calloc(&r.arena, ELEMENTS_MAX, sizeof *r.elements);
    r.values = arena_calloc(&r.arena, ELEMENTS_MAX, sizeof *r.values);
    if (!r.elements || !r.values)
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "out of memory");
    else if (dtd.len > DTD_BYTES_MAX)
        grammar_builder_fail(b, QUERN_ERR_LIMIT, "%s: the DTD has %zu bytes, more than %d", name,
                             dtd.len, DTD_BYTES_MAX);
    else if (!utf8_valid(dtd))
        grammar_builder_fail(b, QUERN_ERR_FORMAT, "%s: the DTD is not UTF-8", name);
    xml_parts_make(b, &r.parts);
    if (!failed(&r))
        document = build(&r);
    arena_release(&r.arena);
    map_release(&r.names);
    map_release(&r.entities);
    if (grammar_builder_failed(b))
        return grammar_builder_status(b, err);
    *out = document;
    return QUERN_OK;
}
