#include "grammar/schema/value_types.h"

#include "text/json_reader.h"

enum { DEPTH_MAX = 16 };

/* ---- schemas ------------------------------------------------------------------------- */

static unsigned type_of_word(const char *word) {
    static const struct {
        const char *name;
        unsigned type;
    } words[] = {{"null", VALUE_NULL},     {"boolean", VALUE_BOOLEAN},
                 {"integer", VALUE_INTEGER}, {"number", VALUE_INTEGER | VALUE_NUMBER},
                 {"string", VALUE_STRING}, {"array", VALUE_ARRAY},
                 {"object", VALUE_OBJECT}};
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].name) == 0)
            return words[i].type;
    return VALUE_ANY;
}

static unsigned types_of_word(const json_t *type) {
    unsigned types = 0;
    if (!json_is_array(type))
        return type_of_word(json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++)
        types |= type_of_word(json_string_value(json_array_get(type, i)));
    return types;
}

static unsigned type_of_value(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return VALUE_OBJECT;
    case JSON_ARRAY:
        return VALUE_ARRAY;
    case JSON_STRING:
        return VALUE_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return VALUE_INTEGER | VALUE_NUMBER;
    case JSON_NULL:
        return VALUE_NULL;
    default:
        return VALUE_BOOLEAN;
    }
}

/* "#/$defs/x" within the same document. */
static const json_t *find_ref(const json_t *root, const json_t *ref) {
    const char *p = json_string_value(ref);
    if (!p || *p++ != '#')
        return NULL;
    while (root && *p == '/') {
        char key[256];
        size_t n = strcspn(++p, "/");
        if (n >= sizeof key || memchr(p, '~', n) || memchr(p, '%', n))
            return NULL;
        memcpy(key, p, n);
        key[n] = '\0';
        root = json_object_get(root, key);
        p += n;
    }
    return *p ? NULL : root;
}

static unsigned types_of(const json_t *root, const json_t *schema, int depth);

static unsigned types_of_any(const json_t *root, const json_t *list, int depth) {
    unsigned types = 0;
    if (!json_array_size(list))
        return VALUE_ANY;
    for (size_t i = 0; i < json_array_size(list); i++)
        types |= types_of(root, json_array_get(list, i), depth);
    return types;
}

/* Each keyword that is there can only take types away. */
static unsigned types_of(const json_t *root, const json_t *schema, int depth) {
    unsigned types = VALUE_ANY, listed = 0;
    const json_t *part, *values = json_object_get(schema, "enum");
    if (!json_is_object(schema) || depth == DEPTH_MAX)
        return VALUE_ANY;
    if ((part = json_object_get(schema, "type")) != NULL)
        types &= types_of_word(part);
    if (json_is_true(json_object_get(schema, "nullable")))
        types |= VALUE_NULL;
    for (size_t i = 0; i < json_array_size(values); i++)
        listed |= type_of_value(json_array_get(values, i));
    if (json_is_array(values))
        types &= listed;
    if ((part = json_object_get(schema, "const")) != NULL)
        types &= type_of_value(part);
    if ((part = json_object_get(schema, "anyOf")) != NULL)
        types &= types_of_any(root, part, depth + 1);
    if ((part = json_object_get(schema, "oneOf")) != NULL)
        types &= types_of_any(root, part, depth + 1);
    part = json_object_get(schema, "allOf");
    for (size_t i = 0; i < json_array_size(part); i++)
        types &= types_of(root, json_array_get(part, i), depth + 1);
    if ((part = json_object_get(schema, "$ref")) != NULL) {
        const json_t *target = find_ref(root, part);
        if (target)
            types &= types_of(root, target, depth + 1);
    }
    return types;
}

unsigned value_types_of_parameter(const json_t *parameters, struct str key) {
    const json_t *properties = json_object_get(parameters, "properties");
    const char *name;
    json_t *schema;
    json_object_foreach((json_t *)(uintptr_t)properties, name, schema) {
        if (str_is(key, name))
            return types_of(parameters, schema, 0);
    }
    return VALUE_ANY;
}

/* ---- texts ------------------------------------------------------------------------------ */

static unsigned type_of_number(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("-0123456789", text.ptr[i]))
            return VALUE_NUMBER;
    return VALUE_INTEGER | VALUE_NUMBER;
}

static unsigned type_of_token(enum json_token token, struct str text) {
    switch (token) {
    case JSON_TOKEN_OBJECT:
        return VALUE_OBJECT;
    case JSON_TOKEN_ARRAY:
        return VALUE_ARRAY;
    case JSON_TOKEN_TRUE:
    case JSON_TOKEN_FALSE:
        return VALUE_BOOLEAN;
    case JSON_TOKEN_NULL:
        return VALUE_NULL;
    case JSON_TOKEN_NUMBER:
        return type_of_number(text);
    default:
        return 0;
    }
}

unsigned value_type_of_text(struct str text) {
    struct json_reader r;
    struct arena arena = ARENA_INIT(0); /* with one, escapes are checked */
    json_reader_init(&r, text, &arena);
    unsigned type = type_of_token(json_reader_next(&r), text);
    if (type & (VALUE_OBJECT | VALUE_ARRAY) && !json_reader_skip(&r, NULL))
        type = 0;
    if (type && json_reader_next(&r) != JSON_TOKEN_END)
        type = 0;
    arena_release(&arena);
    return type;
}
