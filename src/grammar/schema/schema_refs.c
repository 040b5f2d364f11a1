/* schema_refs.c - documents, $id, anchors and what $ref means (JSON Schema core, sections 8, 9). */
#include <stdlib.h>

#include "grammar/schema/schema.h"

/* ---- URIs (RFC 3986, 5.2, as far as schemas go) ---- */

static size_t scheme_length(struct str u) {
    size_t i = 0;
    while (i < u.len && ((u.ptr[i] | 32) >= 'a' ? (u.ptr[i] | 32) <= 'z'
                                                : i && strchr("0123456789+-.", u.ptr[i])))
        i++;
    return i > 0 && i < u.len && u.ptr[i] == ':' ? i + 1 : 0;
}

static struct str until(struct str u, char c) {
    const char *at = u.len ? memchr(u.ptr, c, u.len) : NULL;
    return (struct str){u.ptr, at ? (size_t)(at - u.ptr) : u.len};
}

/* Where the path of an absolute URI begins. */
static size_t path_start(struct str u) {
    size_t i = scheme_length(u);
    if (i + 1 < u.len && u.ptr[i] == '/' && u.ptr[i + 1] == '/') {
        i += 2;
        while (i < u.len && u.ptr[i] != '/')
            i++;
    }
    return i;
}

/* Takes "./" and "../" out of the path, in place. */
static size_t remove_dots(char *u, size_t start, size_t len) {
    size_t out = start;
    for (size_t i = start; i < len;) {
        size_t end = i;
        while (end < len && u[end] != '/')
            end++;
        const bool slash = end < len;
        const size_t n = end - i;
        if (n == 2 && u[i] == '.' && u[i + 1] == '.') {
            if (out > start + 1) {
                out--;
                while (out > start && u[out - 1] != '/')
                    out--;
            }
        } else if (!(n == 1 && u[i] == '.')) {
            memmove(u + out, u + i, n + slash);
            out += n + slash;
        }
        i = end + slash;
    }
    return out;
}

static struct str resolve_uri(struct schema *s, struct str base, struct str ref) {
    base = until(base, '#');
    size_t keep = base.len;
    if (scheme_length(ref))
        keep = 0;
    else if (ref.len >= 2 && ref.ptr[0] == '/' && ref.ptr[1] == '/')
        keep = scheme_length(base);
    else if (ref.len && ref.ptr[0] == '/')
        keep = path_start(base);
    else if (ref.len && ref.ptr[0] != '#' && ref.ptr[0] != '?')
        while (keep > path_start(base) && base.ptr[keep - 1] != '/')
            keep--;
    char *text = schema_alloc(s, keep + ref.len + 1, 1);
    if (!text)
        return (struct str){"", 0};
    if (keep)
        memcpy(text, base.ptr, keep);
    if (ref.len)
        memcpy(text + keep, ref.ptr, ref.len);
    struct str whole = {text, keep + ref.len}, plain = until(whole, '#');
    if (ref.len == 0 || ref.ptr[0] == '#' || scheme_length(ref))
        return whole;
    size_t start = path_start(whole), n = remove_dots(text, start, plain.len);
    memmove(text + n, text + plain.len, whole.len - plain.len);
    return (struct str){text, n + whole.len - plain.len};
}

/* ---- the index ---- */

static uint32_t add_resource(struct schema *s, struct str uri, const struct sj_node *root,
                             enum schema_draft draft) {
    if (s->n_resources == s->resources_capacity) {
        size_t capacity = s->resources_capacity ? 2 * s->resources_capacity : 8;
        struct resource *grown = realloc(s->resources, capacity * sizeof *grown);
        if (!grown) {
            schema_fail(s, QUERN_ERR_NOMEM, "out of memory");
            return 0;
        }
        s->resources = grown;
        s->resources_capacity = capacity;
    }
    s->resources[s->n_resources] = (struct resource){until(uri, '#'), root, draft};
    return (uint32_t)s->n_resources++;
}

static void add_anchor(struct schema *s, struct anchor a) {
    if (s->n_anchors == s->anchors_capacity) {
        size_t capacity = s->anchors_capacity ? 2 * s->anchors_capacity : 8;
        struct anchor *grown = realloc(s->anchors, capacity * sizeof *grown);
        if (!grown) {
            schema_fail(s, QUERN_ERR_NOMEM, "out of memory");
            return;
        }
        s->anchors = grown;
        s->anchors_capacity = capacity;
    }
    s->anchors[s->n_anchors++] = a;
}

static bool contains(struct str text, const char *what) {
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= text.len; i++)
        if (memcmp(text.ptr + i, what, n) == 0)
            return true;
    return false;
}

static enum schema_draft draft_of(struct schema *s, const struct sj_node *root,
                                  enum schema_draft draft) {
    static const struct {
        const char *part;
        enum schema_draft draft;
    } known[] = {{"draft-03", DRAFT_4}, {"draft-04", DRAFT_4},   {"draft-06", DRAFT_6},
                 {"draft-07", DRAFT_7}, {"2019-09", DRAFT_2019}, {"2020-12", DRAFT_2020}};
    const struct sj_node *k = sj_get(root, "$schema");
    const bool official = sj_is(k, SJ_STRING) && contains(k->text, "json-schema.org/");
    for (size_t i = 0; official && i < sizeof known / sizeof *known; i++)
        if (contains(k->text, known[i].part))
            return known[i].draft;
    if (sj_is(k, SJ_STRING) && !official)
        schema_report(s, root, "$schema", "an unknown dialect is read as draft 2020-12");
    return draft;
}

enum place { PLACE_NONE, PLACE_SCHEMA, PLACE_LIST, PLACE_MAP, PLACE_VALUE };

/* What stands behind a keyword. */
static enum place place_of(struct str keyword) {
    static const char *const schemas[] = {"additionalItems",
                                          "additionalProperties",
                                          "contains",
                                          "else",
                                          "if",
                                          "items",
                                          "not",
                                          "propertyNames",
                                          "then",
                                          "unevaluatedItems",
                                          "unevaluatedProperties",
                                          "contentSchema"};
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "prefixItems", "type"};
    static const char *const maps[] = {
        "$defs",       "definitions", "properties", "patternProperties", "dependentSchemas",
        "dependencies"};
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
        if (str_is(keyword, schemas[i]))
            return PLACE_SCHEMA;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (str_is(keyword, lists[i]))
            return PLACE_LIST;
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        if (str_is(keyword, maps[i]))
            return PLACE_MAP;
    return PLACE_VALUE;
}

/* Identifiers of a schema object; which resource it belongs to. */
static uint32_t identify(struct schema *s, const struct sj_node *node, uint32_t resource) {
    const enum schema_draft draft = s->resources[resource].draft;
    const struct sj_node *id = sj_get(node, draft == DRAFT_4 ? "id" : "$id");
    const struct sj_node *anchor = sj_get(node, "$anchor"),
                         *dynamic = sj_get(node, "$dynamicAnchor");
    const bool hidden = draft <= DRAFT_7 && sj_get(node, "$ref"); /* its neighbours are ignored */
    if (sj_is(id, SJ_STRING) && !hidden) {
        if (draft <= DRAFT_7 && id->text.len > 1 && id->text.ptr[0] == '#') {
            add_anchor(
                s, (struct anchor){resource, {id->text.ptr + 1, id->text.len - 1}, node, false});
        } else if (node != s->resources[resource].root || s->resources[resource].uri.len == 0 ||
                   !scheme_length(id->text)) {
            struct str uri = resolve_uri(s, s->resources[resource].uri, id->text);
            if (node == s->resources[resource].root)
                s->resources[resource].uri = until(uri, '#');
            else
                resource = add_resource(s, uri, node, draft_of(s, node, draft));
        } else {
            add_resource(s, id->text, node, draft); /* a loaded document has two names */
            s->resources[resource].uri = until(id->text, '#');
        }
    }
    if (sj_is(anchor, SJ_STRING))
        add_anchor(s, (struct anchor){resource, anchor->text, node, false});
    if (sj_is(dynamic, SJ_STRING))
        add_anchor(s, (struct anchor){resource, dynamic->text, node, true});
    if (sj_get(node, "unevaluatedItems") || sj_get(node, "unevaluatedProperties"))
        s->has_unevaluated = true;
    return resource;
}

/* Recursion is bounded by the depth of what was parsed. */
static void index_node(struct schema *s, struct sj_node *node, uint32_t resource,
                       enum place place) {
    if (schema_failed(s))
        return;
    if (place == PLACE_SCHEMA && node->kind == SJ_OBJECT)
        resource = identify(s, node, resource);
    node->resource = resource;
    for (size_t i = 0; i < node->n; i++) {
        enum place below = PLACE_VALUE;
        if (place == PLACE_SCHEMA && node->kind == SJ_OBJECT)
            below = place_of(node->items[i]->key);
        else if (place == PLACE_LIST || place == PLACE_MAP || place == PLACE_SCHEMA)
            below = PLACE_SCHEMA; /* a list under "items" too */
        index_node(s, node->items[i], resource, below);
    }
}

void schema_index(struct schema *s, struct sj_node *root, struct str uri, enum schema_draft draft) {
    uint32_t resource = add_resource(s, uri, root, draft_of(s, root, draft));
    if (!schema_failed(s))
        index_node(s, root, resource, PLACE_SCHEMA);
}

/* ---- looking up ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One reference token: %XX of the URI, then ~1 and ~0 of the pointer. */
static struct str decode_token(struct schema *s, struct str t) {
    char *out = schema_alloc(s, t.len + 1, 1);
    size_t n = 0, m = 0;
    if (!out)
        return (struct str){"", 0};
    for (size_t i = 0; i < t.len; i++) {
        char c = t.ptr[i];
        if (c == '%' && i + 2 < t.len && hex_digit(t.ptr[i + 1]) >= 0 &&
            hex_digit(t.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(t.ptr[i + 1]) * 16 + hex_digit(t.ptr[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    for (size_t i = 0; i < n; i++) {
        const bool escape = out[i] == '~' && i + 1 < n && (out[i + 1] == '0' || out[i + 1] == '1');
        out[m++] = escape ? (out[++i] == '0' ? '~' : '/') : out[i];
    }
    return (struct str){out, m};
}

static const struct sj_node *child(const struct sj_node *node, struct str token) {
    if (node->kind == SJ_OBJECT)
        return sj_get_str(node, token);
    size_t index = 0;
    if (node->kind != SJ_ARRAY || token.len == 0 || token.len > 7)
        return NULL;
    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] < '0' || token.ptr[i] > '9')
            return NULL;
        index = index * 10 + (size_t)(token.ptr[i] - '0');
    }
    return index < node->n ? node->items[index] : NULL;
}

static const struct sj_node *follow_pointer(struct schema *s, const struct sj_node *node,
                                            struct str pointer) {
    while (node && pointer.len) {
        pointer = (struct str){pointer.ptr + 1, pointer.len - 1};
        struct str token = until(pointer, '/');
        node = child(node, decode_token(s, token));
        pointer = (struct str){pointer.ptr + token.len, pointer.len - token.len};
    }
    return node;
}

static const struct resource *find_resource(const struct schema *s, struct str uri) {
    for (size_t i = 0; i < s->n_resources; i++)
        if (str_eq(s->resources[i].uri, uri))
            return &s->resources[i];
    return NULL;
}

static const struct resource *load(struct schema *s, struct str uri, enum schema_draft draft) {
    struct str text;
    struct sj_node *root;
    if (!s->options->load || !s->options->load(s->options->user, uri, &text))
        return NULL;
    struct quern_error why;
    if (sj_parse(&s->pool, text, "a referenced schema", &root, &why) != QUERN_OK)
        return schema_fail(s, why.code, "%s", why.message);
    schema_index(s, root, uri, draft);
    return find_resource(s, uri) ? find_resource(s, uri) : &s->resources[root->resource];
}

static const struct anchor *find_anchor(const struct schema *s, const struct resource *r,
                                        struct str name) {
    for (size_t i = 0; i < s->n_anchors; i++) {
        const struct anchor *a = &s->anchors[i];
        if (str_eq(a->name, name) &&
            (s->resources[a->resource].root == r->root || &s->resources[a->resource] == r))
            return a;
    }
    return NULL;
}

static const struct sj_node *look_up(struct schema *s, const struct sj_node *node, struct str ref,
                                     const struct anchor **anchor) {
    const enum schema_draft draft = schema_draft(s, node);
    struct str uri = resolve_uri(s, s->resources[node->resource].uri, ref), plain = until(uri, '#');
    const struct resource *r = find_resource(s, plain);
    *anchor = NULL;
    if (schema_failed(s))
        return NULL;
    if (!r)
        r = load(s, plain, draft);
    struct str fragment = {uri.ptr + plain.len, uri.len - plain.len};
    if (!r || fragment.len <= 1)
        return r ? r->root : NULL;
    fragment = (struct str){fragment.ptr + 1, fragment.len - 1};
    if (fragment.ptr[0] == '/')
        return follow_pointer(s, r->root, fragment);
    *anchor = find_anchor(s, r, decode_token(s, fragment));
    return *anchor ? (*anchor)->node : NULL;
}

const struct sj_node *schema_resolve(struct schema *s, const struct sj_node *node, struct str ref) {
    const struct anchor *anchor;
    const struct sj_node *target = look_up(s, node, ref, &anchor);
    if (!target)
        schema_fail(s, QUERN_ERR_FORMAT, "\"$ref\": \"%.*s\" refers to nothing", STR_FMT(ref));
    return target;
}

const struct sj_node *schema_resolve_dynamic(struct schema *s, const struct sj_node *node,
                                             struct str ref) {
    const struct anchor *anchor;
    const struct sj_node *target = look_up(s, node, ref, &anchor);
    if (!target)
        return schema_fail(s, QUERN_ERR_FORMAT, "\"$dynamicRef\": \"%.*s\" refers to nothing",
                           STR_FMT(ref));
    if (!anchor || !anchor->dynamic)
        return target;
    size_t same = 0; /* with one such anchor in all documents the way does not matter */
    for (size_t i = 0; i < s->n_anchors; i++)
        same += s->anchors[i].dynamic && str_eq(s->anchors[i].name, anchor->name);
    return same == 1 ? target : NULL;
}
