#include "chat/jinja_value.h"

#include <math.h>
#include <string.h>

#include "chat/jinja_run.h"
#include "text/unicode.h"

enum { DICT_INDEX_FROM = 8 };

/* ---- lists ------------------------------------------------------------------------ */

struct jlist *jlist_create(struct jinja_run *run, size_t n) {
    struct jlist *list = jinja_alloc(run, 1, sizeof *list);
    if (!list)
        return NULL;
    list->items = jinja_alloc(run, n, sizeof *list->items);
    list->n = n;
    return list->items ? list : NULL;
}

bool jlist_push(struct jinja_run *run, struct jlist *list, size_t *capacity, struct jvalue v) {
    if (list->n == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 8;
        struct jvalue *items = jinja_alloc(run, larger, sizeof *items);
        if (!items)
            return false;
        if (list->n)
            memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        *capacity = larger;
    }
    list->items[list->n++] = v;
    return true;
}

/* ---- hashes ----------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v;
    h *= UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 29);
}

static uint64_t hash_text(struct str s) {
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ s.len;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * UINT64_C(0x100000001b3);
    return mix(h, JINJA_STRING);
}

/* Equal numbers hash equally, whatever their type. */
static uint64_t hash_number(struct jvalue v) {
    if (v.kind == JINJA_BOOL)
        return mix(1, v.as.boolean);
    if (v.kind == JINJA_INT)
        return mix(1, (uint64_t)v.as.integer);
    double d = v.as.number;
    if (d >= -0x1p63 && d < 0x1p63 && d == floor(d))
        return mix(1, (uint64_t)(int64_t)d);
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return mix(2, bits);
}

static bool is_hashable(struct jinja_run *run, struct jvalue v, int depth) {
    if (v.kind == JINJA_TUPLE) {
        /* Tuples that hold one another twice are short to write and take 2^depth visits. */
        if (depth > JINJA_VALUE_DEPTH_MAX || !jinja_charge(run, v.as.list->n))
            return false;
        for (size_t i = 0; i < v.as.list->n; i++)
            if (!is_hashable(run, v.as.list->items[i], depth + 1))
                return false;
        return true;
    }
    return v.kind != JINJA_LIST && v.kind != JINJA_DICT && v.kind != JINJA_VIEW;
}

bool jvalue_is_hashable(struct jinja_run *run, struct jvalue v) {
    return is_hashable(run, v, 0);
}

static bool hash_value(struct jinja_run *run, struct jvalue v, int depth, uint64_t *hash) {
    if (depth > JINJA_VALUE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    switch ((enum jkind)v.kind) {
    case JINJA_STRING:
        *hash = hash_text(v.as.text);
        return jinja_charge_bytes(run, v.as.text.len);
    case JINJA_BOOL:
    case JINJA_INT:
    case JINJA_FLOAT:
        *hash = hash_number(v);
        return true;
    case JINJA_NONE:
    case JINJA_UNDEFINED:
        *hash = mix(3, v.kind);
        return true;
    case JINJA_LIST:
    case JINJA_DICT:
    case JINJA_VIEW:
        return jinja_fail(run, "unhashable type: '%s'", jvalue_type_name(v));
    case JINJA_TUPLE:
        *hash = 4;
        if (!jinja_charge(run, v.as.list->n))
            return false;
        for (size_t i = 0; i < v.as.list->n; i++) {
            uint64_t item;
            if (!hash_value(run, v.as.list->items[i], depth + 1, &item))
                return false;
            *hash = mix(*hash, item);
        }
        return true;
    default:
        *hash = mix(5, (uint64_t)(uintptr_t)v.as.pointer);
        return true;
    }
}

/* ---- dicts ------------------------------------------------------------------------- */

struct jdict *jdict_create(struct jinja_run *run, size_t capacity) {
    struct jdict *dict = jinja_alloc(run, 1, sizeof *dict);
    if (!dict)
        return NULL;
    *dict = (struct jdict){.capacity = capacity};
    dict->entries = jinja_alloc(run, capacity, sizeof *dict->entries);
    return dict->entries ? dict : NULL;
}

static void index_put(struct jdict *dict, size_t entry) {
    size_t mask = dict->index_size - 1;
    size_t at = (size_t)dict->entries[entry].hash & mask;
    while (dict->index[at])
        at = (at + 1) & mask;
    dict->index[at] = (uint32_t)entry + 1;
}

static bool rebuild_index(struct jinja_run *run, struct jdict *dict) {
    size_t size = 32;
    while (size < 4 * dict->n)
        size *= 2;
    dict->index = jinja_alloc(run, size, sizeof *dict->index);
    if (!dict->index)
        return false;
    memset(dict->index, 0, size * sizeof *dict->index);
    dict->index_size = size;
    for (size_t i = 0; i < dict->n; i++)
        index_put(dict, i);
    return true;
}

static bool find_entry(struct jinja_run *run, const struct jdict *dict, struct jvalue key,
                       uint64_t hash, struct jentry **found) {
    *found = NULL;
    size_t mask = dict->index_size - 1;
    size_t at = dict->index_size ? (size_t)hash & mask : 0;
    for (size_t probes = 0;; probes++) {
        size_t entry;
        if (dict->index_size) {
            if (!dict->index[at])
                return true;
            entry = dict->index[at] - 1;
            at = (at + 1) & mask;
        } else if (probes < dict->n) {
            entry = probes;
        } else {
            return true;
        }
        struct jentry *e = &dict->entries[entry];
        bool equal = false;
        if (e->hash == hash && !jvalue_equal(run, e->key, key, &equal))
            return false;
        if (equal) {
            *found = e;
            return true;
        }
        if (probes % 16 == 15 && !jinja_charge(run, 1))
            return false;
    }
}

bool jdict_set(struct jinja_run *run, struct jdict *dict, struct jvalue key, struct jvalue value) {
    uint64_t hash;
    struct jentry *e;
    if (!hash_value(run, key, 0, &hash) || !find_entry(run, dict, key, hash, &e))
        return false;
    if (e) {
        e->value = value;
        return true;
    }
    if (dict->n == dict->capacity) {
        size_t larger = dict->capacity ? 2 * dict->capacity : 4;
        struct jentry *entries = jinja_alloc(run, larger, sizeof *entries);
        if (!entries)
            return false;
        if (dict->n)
            memcpy(entries, dict->entries, dict->n * sizeof *entries);
        dict->entries = entries;
        dict->capacity = larger;
    }
    dict->entries[dict->n++] = (struct jentry){key, value, hash};
    if (dict->n > DICT_INDEX_FROM && 2 * dict->n > dict->index_size)
        return rebuild_index(run, dict);
    if (dict->index_size)
        index_put(dict, dict->n - 1);
    return true;
}

bool jdict_find(struct jinja_run *run, const struct jdict *dict, struct jvalue key,
                struct jvalue **found) {
    uint64_t hash;
    struct jentry *e;
    if (!hash_value(run, key, 0, &hash) || !find_entry(run, dict, key, hash, &e))
        return false;
    *found = e ? &e->value : NULL;
    return true;
}

struct jvalue *jdict_find_text(const struct jdict *dict, struct str key) {
    uint64_t hash = hash_text(key);
    size_t mask = dict->index_size - 1;
    size_t at = dict->index_size ? (size_t)hash & mask : 0;
    for (size_t probes = 0; dict->index_size || probes < dict->n; probes++) {
        size_t entry = probes;
        if (dict->index_size) {
            if (!dict->index[at])
                return NULL;
            entry = dict->index[at] - 1;
            at = (at + 1) & mask;
        }
        struct jentry *e = &dict->entries[entry];
        if (e->hash == hash && e->key.kind == JINJA_STRING && str_eq(e->key.as.text, key))
            return &e->value;
    }
    return NULL;
}

/* ---- from JSON ---------------------------------------------------------------------- */

static bool array_from_json(struct jinja_run *run, const json_t *json, int depth,
                            struct jvalue *out) {
    struct jlist *list = jlist_create(run, json_array_size(json));
    if (!list)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (!jvalue_from_json(run, json_array_get(json, i), depth + 1, &list->items[i]))
            return false;
    *out = jvalue_list(list);
    return true;
}

static bool object_from_json(struct jinja_run *run, const json_t *json, int depth,
                             struct jvalue *out) {
    json_t *walked = (json_t *)(uintptr_t)json; /* jansson's iterators want it writable */
    struct jdict *dict = jdict_create(run, json_object_size(json));
    if (!dict)
        return false;
    for (void *it = json_object_iter(walked); it; it = json_object_iter_next(walked, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        struct jvalue value;
        if (!jvalue_from_json(run, json_object_iter_value(it), depth + 1, &value) ||
            !jdict_set(run, dict, jvalue_string(key), value))
            return false;
    }
    *out = jvalue_dict(dict);
    return true;
}

bool jvalue_from_json(struct jinja_run *run, const json_t *json, int depth, struct jvalue *out) {
    if (depth > JSON_WRITE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return object_from_json(run, json, depth, out);
    case JSON_ARRAY:
        return array_from_json(run, json, depth, out);
    case JSON_STRING:
        *out = jvalue_string((struct str){json_string_value(json), json_string_length(json)});
        break;
    case JSON_INTEGER:
        *out = jvalue_int((int64_t)json_integer_value(json));
        break;
    case JSON_REAL:
        *out = jvalue_float(json_real_value(json));
        break;
    case JSON_TRUE:
        *out = jvalue_bool(true);
        break;
    case JSON_FALSE:
        *out = jvalue_bool(false);
        break;
    case JSON_NULL:
        *out = jvalue_none();
        break;
    }
    return true;
}
