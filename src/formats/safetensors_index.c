#include "formats/safetensors_index.h"

#include <stdlib.h>

#include "formats/safetensors_header.h"
#include "text/json_reader.h"

struct parser {
    struct json_reader reader;
    struct arena *arena;
    const char *name;
    struct safetensors_index *index;
    struct map shard_ids; /* file name to its number in order of appearance */
    struct quern_error *err;
};

/* An index may not lead out of its directory, nor to anything but a safetensors file. */
static bool shard_name_ok(struct str name) {
    return safetensors_name_ok(name) && name.len <= 255 && name.ptr[0] != '.' &&
           str_ends_with(name, STR_LIT(".safetensors")) && !memchr(name.ptr, '/', name.len) &&
           !memchr(name.ptr, '\\', name.len);
}

static enum quern_status syntax(struct parser *p) {
    return json_reader_error(&p->reader, p->name, p->err);
}

static enum quern_status shard_id(struct parser *p, struct str file, uint32_t *id) {
    struct safetensors_index *x = p->index;
    if (map_get(&p->shard_ids, file, id))
        return QUERN_OK;
    if (x->n_shards == SAFETENSORS_SHARDS_MAX)
        return error_set(p->err, QUERN_ERR_LIMIT, "%s: more than %d shards", p->name,
                         SAFETENSORS_SHARDS_MAX);
    char *copy = arena_strndup(p->arena, file.ptr, file.len);
    if (!copy || !map_put(&p->shard_ids, (struct str){copy, file.len}, (uint32_t)x->n_shards, NULL))
        return error_nomem(p->err);
    *id = (uint32_t)x->n_shards;
    x->shards[x->n_shards++] = copy;
    return QUERN_OK;
}

static enum quern_status add(struct parser *p, struct str tensor, uint32_t shard) {
    struct safetensors_index *x = p->index;
    if (x->n_names == x->names_capacity) {
        if (x->n_names == SAFETENSORS_TENSORS_MAX)
            return error_set(p->err, QUERN_ERR_LIMIT, "%s: more than %d tensors", p->name,
                             SAFETENSORS_TENSORS_MAX);
        size_t capacity = x->names_capacity ? x->names_capacity * 2 : 512;
        const char **grown = realloc(x->names, capacity * sizeof *grown);
        if (!grown)
            return error_nomem(p->err);
        x->names = grown;
        x->names_capacity = capacity;
    }
    bool existed;
    if (!map_put(&x->shard_of, tensor, shard, &existed))
        return error_nomem(p->err);
    if (existed)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: weight_map: %.*s appears twice", p->name,
                         STR_FMT(tensor));
    x->names[x->n_names++] = tensor.ptr;
    return QUERN_OK;
}

static enum quern_status parse_pair(struct parser *p) {
    struct str key = p->reader.value;
    if (!safetensors_name_ok(key))
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: weight_map: a tensor name is empty, longer than %d bytes or has "
                         "control characters",
                         p->name, SAFETENSORS_NAME_MAX);
    struct str tensor = {arena_strndup(p->arena, key.ptr, key.len), key.len};
    if (!tensor.ptr)
        return error_nomem(p->err);
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_STRING || !shard_name_ok(p->reader.value))
        return error_set(p->err, QUERN_ERR_FORMAT,
                         "%s: weight_map: %.*s must name a .safetensors file in the same directory",
                         p->name, STR_FMT(tensor));
    uint32_t shard = 0;
    enum quern_status status = shard_id(p, p->reader.value, &shard);
    return status ? status : add(p, tensor, shard);
}

static enum quern_status parse_weight_map(struct parser *p) {
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_OBJECT)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: weight_map must be an object", p->name);
    while ((token = json_reader_next(&p->reader)) == JSON_TOKEN_KEY) {
        enum quern_status status = parse_pair(p);
        if (status)
            return status;
    }
    return token == JSON_TOKEN_OBJECT_END ? QUERN_OK : syntax(p);
}

static enum quern_status parse_object(struct parser *p) {
    bool found = false;
    enum json_token token = json_reader_next(&p->reader);
    if (token == JSON_TOKEN_ERROR)
        return syntax(p);
    if (token != JSON_TOKEN_OBJECT)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: must be an object", p->name);
    while ((token = json_reader_next(&p->reader)) == JSON_TOKEN_KEY) {
        struct str skipped;
        bool is_map = str_is(p->reader.value, "weight_map");
        if (is_map && found)
            return error_set(p->err, QUERN_ERR_FORMAT, "%s: weight_map appears twice", p->name);
        found |= is_map;
        enum quern_status status = is_map                                   ? parse_weight_map(p)
                                   : json_reader_skip(&p->reader, &skipped) ? QUERN_OK
                                                                            : syntax(p);
        if (status)
            return status;
    }
    if (token != JSON_TOKEN_OBJECT_END || json_reader_next(&p->reader) != JSON_TOKEN_END)
        return syntax(p);
    if (p->index->n_names == 0)
        return error_set(p->err, QUERN_ERR_FORMAT, "%s: weight_map is %s", p->name,
                         found ? "empty" : "missing");
    return QUERN_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Shards in the order of their names, so that tensors come in a stable order. */
static enum quern_status sort_shards(struct parser *p) {
    struct safetensors_index *x = p->index;
    uint32_t *rank = malloc(x->n_shards * sizeof *rank);
    const char **sorted = malloc(x->n_shards * sizeof *sorted);
    bool ok = rank && sorted;
    if (ok) {
        memcpy(sorted, x->shards, x->n_shards * sizeof *sorted);
        qsort(sorted, x->n_shards, sizeof *sorted, by_name);
        for (size_t i = 0; i < x->n_shards; i++) {
            uint32_t id = 0;
            map_get(&p->shard_ids, str_from(sorted[i]), &id);
            rank[id] = (uint32_t)i;
        }
    }
    for (size_t i = 0; ok && i < x->n_names; i++) {
        struct str tensor = str_from(x->names[i]);
        uint32_t id = 0;
        map_get(&x->shard_of, tensor, &id);
        ok = map_put(&x->shard_of, tensor, rank[id], NULL);
    }
    if (ok)
        memcpy(x->shards, sorted, x->n_shards * sizeof *sorted);
    free(rank);
    free(sorted);
    return ok ? QUERN_OK : error_nomem(p->err);
}

enum quern_status safetensors_index_parse(struct str json, const char *name, struct arena *arena,
                                          struct safetensors_index *out, struct quern_error *err) {
    *out = (struct safetensors_index){0};
    struct parser p = {.arena = arena, .name = name, .index = out, .err = err};
    struct arena unescaped;
    arena_init(&unescaped, 0);
    json_reader_init(&p.reader, json, &unescaped);
    out->shards = malloc(SAFETENSORS_SHARDS_MAX * sizeof *out->shards);
    enum quern_status status = QUERN_OK;
    if (!out->shards || !map_init(&out->shard_of, 512) || !map_init(&p.shard_ids, 64))
        status = error_nomem(err);
    if (!status)
        status = parse_object(&p);
    if (!status)
        status = sort_shards(&p);
    if (status)
        safetensors_index_release(out);
    map_release(&p.shard_ids);
    arena_release(&unescaped);
    return status;
}

void safetensors_index_release(struct safetensors_index *index) {
    map_release(&index->shard_of);
    free(index->names);
    free(index->shards);
    *index = (struct safetensors_index){0};
}
