#include "formats/safetensors.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/map.h"
#include "base/os.h"
#include "base/pages.h"
#include "formats/safetensors_header.h"
#include "formats/safetensors_index.h"

enum { PATH_BYTES = 4096, INDEX_FILE_MAX = 100 << 20 };

struct safetensors {
    struct arena arena;
    struct tensor *tensors;
    size_t n, capacity;
    struct map by_name;
    struct os_map *files;
    size_t n_files;
    struct safetensors_meta *meta; /* of the first file that has some */
    size_t total_bytes;
    void *memory; /* instead of files */
    size_t memory_bytes;
};

static struct safetensors *create(size_t max_files) {
    struct safetensors *st = calloc(1, sizeof *st);
    if (!st)
        return NULL;
    arena_init(&st->arena, 0);
    st->files = calloc(max_files ? max_files : 1, sizeof *st->files);
    if (!st->files || !map_init(&st->by_name, 512)) {
        safetensors_close(st);
        return NULL;
    }
    return st;
}

void safetensors_close(struct safetensors *st) {
    if (!st)
        return;
    for (size_t i = 0; i < st->n_files; i++)
        os_map_close(&st->files[i]);
    free(st->files);
    pages_free(st->memory, st->memory_bytes);
    map_release(&st->by_name);
    free(st->tensors);
    arena_release(&st->arena);
    free(st);
}

static bool reserve(struct safetensors *st, size_t more) {
    size_t need;
    if (!checked_add(st->n, more, &need) || need > UINT32_MAX)
        return false;
    if (need <= st->capacity)
        return true;
    size_t capacity = need > st->capacity * 2 ? need : st->capacity * 2;
    struct tensor *grown = realloc(st->tensors, capacity * sizeof *grown);
    if (!grown)
        return false;
    st->tensors = grown;
    st->capacity = capacity;
    return true;
}

/* A shard may hold tensors the index gives to another shard, or to none, as transformers
 * tolerates: the index decides, and of unlisted ones the first is kept. */
static bool wanted(const struct safetensors *st, const struct safetensors_index *index,
                   uint32_t shard, struct str name) {
    uint32_t owner, unused;
    if (!index)
        return true;
    if (map_get(&index->shard_of, name, &owner))
        return owner == shard;
    return !map_get(&st->by_name, name, &unused);
}

/* Parses a file in memory and adds its tensors. */
static enum quern_status add_bytes(struct safetensors *st, const unsigned char *data,
                                   size_t size_bytes, const char *name,
                                   const struct safetensors_index *index, uint32_t shard,
                                   struct quern_error *err) {
    struct safetensors_header header;
    enum quern_status status =
        safetensors_header_parse(data, size_bytes, name, &st->arena, &header, err);
    if (status)
        return status;
    const char *slash = strrchr(name, '/');
    const char *file = arena_strdup(&st->arena, slash ? slash + 1 : name);
    if (!file || !reserve(st, header.n))
        status = error_nomem(err);
    for (size_t i = 0; !status && i < header.n; i++) {
        struct tensor *t = &header.tensors[i];
        struct str key = str_from(t->name);
        if (!wanted(st, index, shard, key))
            continue;
        t->file = file;
        if (!map_put(&st->by_name, key, (uint32_t)st->n, NULL))
            status = error_nomem(err);
        else
            st->tensors[st->n++] = *t;
        st->total_bytes += t->size_bytes;
    }
    if (!st->meta)
        st->meta = header.meta;
    safetensors_header_release(&header);
    return status;
}

static enum quern_status add_file(struct safetensors *st, const char *path,
                                  const struct safetensors_index *index, uint32_t shard,
                                  struct quern_error *err) {
    struct os_map *map = &st->files[st->n_files];
    enum quern_status status = os_map_open(map, path, err);
    if (status)
        return status;
    st->n_files++;
    return add_bytes(st, map->data, map->size_bytes, path, index, shard, err);
}

static enum quern_status open_single(const char *path, struct safetensors **out,
                                     struct quern_error *err) {
    struct safetensors *st = create(1);
    if (!st)
        return error_nomem(err);
    enum quern_status status = add_file(st, path, NULL, 0, err);
    if (status)
        safetensors_close(st);
    else
        *out = st;
    return status;
}

static enum quern_status add_shards(struct safetensors *st, const char *dir, const char *index_path,
                                    const struct safetensors_index *index,
                                    struct quern_error *err) {
    char path[PATH_BYTES];
    for (size_t i = 0; i < index->n_shards; i++) {
        enum quern_status status = os_path_join(path, sizeof path, dir, index->shards[i], err);
        if (status)
            return status;
        if (!os_file_exists(path))
            return error_set(err, QUERN_ERR_IO, "%s: shard %s is missing (%zu of %zu)", index_path,
                             index->shards[i], i + 1, index->n_shards);
        status = add_file(st, path, index, (uint32_t)i, err);
        if (status)
            return status;
    }
    for (size_t i = 0; i < index->n_names; i++) {
        uint32_t at, shard = 0;
        struct str name = str_from(index->names[i]);
        if (map_get(&st->by_name, name, &at))
            continue;
        map_get(&index->shard_of, name, &shard);
        return error_set(err, QUERN_ERR_FORMAT, "%s: %s is not in %s", index_path, index->names[i],
                         index->shards[shard]);
    }
    return QUERN_OK;
}

static enum quern_status open_sharded(const char *dir, const char *index_path,
                                      struct safetensors **out, struct quern_error *err) {
    struct safetensors_index index = {0};
    struct safetensors *st = NULL;
    struct arena arena;
    struct buffer text;
    arena_init(&arena, 0);
    buffer_init(&text, INDEX_FILE_MAX);
    enum quern_status status = os_read_regular(index_path, INDEX_FILE_MAX, &text, err);
    if (!status)
        status = safetensors_index_parse(buffer_str(&text), index_path, &arena, &index, err);
    if (!status && !(st = create(index.n_shards)))
        status = error_nomem(err);
    if (!status)
        status = add_shards(st, dir, index_path, &index, err);
    if (!status)
        *out = st;
    else
        safetensors_close(st);
    safetensors_index_release(&index);
    buffer_release(&text);
    arena_release(&arena);
    return status;
}

/* As transformers looks: the single file first, then the index. */
static enum quern_status open_dir(const char *dir, struct safetensors **out,
                                  struct quern_error *err) {
    char path[PATH_BYTES];
    enum quern_status status = os_path_join(path, sizeof path, dir, "model.safetensors", err);
    if (status)
        return status;
    if (os_file_exists(path))
        return open_single(path, out, err);
    status = os_path_join(path, sizeof path, dir, "model.safetensors.index.json", err);
    if (status)
        return status;
    if (os_file_exists(path))
        return open_sharded(dir, path, out, err);
    static const char *const others[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < 2; i++) {
        if (!os_path_join(path, sizeof path, dir, others[i], NULL) && os_file_exists(path))
            return error_set(err, QUERN_ERR_UNSUPPORTED,
                             "%s: only %s, a pickle, which is not read for safety; convert it to "
                             "safetensors",
                             dir, others[i]);
    }
    return error_set(err, QUERN_ERR_IO,
                     "%s: no weights: neither model.safetensors nor model.safetensors.index.json",
                     dir);
}

enum quern_status safetensors_open(const char *path, struct safetensors **out,
                                   struct quern_error *err) {
    if (os_is_dir(path))
        return open_dir(path, out, err);
    return open_single(path, out, err);
}

enum quern_status safetensors_parse(const unsigned char *data, size_t size_bytes, const char *name,
                                    struct safetensors **out, struct quern_error *err) {
    struct safetensors *st = create(0);
    if (!st)
        return error_nomem(err);
    enum quern_status status = add_bytes(st, data, size_bytes, name, NULL, 0, err);
    if (status) {
        safetensors_close(st);
        return status;
    }
    *out = st;
    return QUERN_OK;
}

static enum quern_status add_tensor(struct safetensors *st, const struct tensor *given,
                                    struct quern_error *err) {
    struct tensor t = *given;
    t.name = arena_strdup(&st->arena, given->name);
    t.file = arena_strdup(&st->arena, given->file);
    if (!t.name || !t.file || !map_put(&st->by_name, str_from(t.name), (uint32_t)st->n, NULL))
        return error_nomem(err);
    st->tensors[st->n++] = t;
    st->total_bytes += t.size_bytes;
    return QUERN_OK;
}

enum quern_status safetensors_from_memory(const struct tensor *tensors, size_t n, void *memory,
                                          size_t memory_bytes, struct safetensors **out,
                                          struct quern_error *err) {
    struct safetensors *st = create(0);
    if (!st) {
        pages_free(memory, memory_bytes);
        return error_nomem(err);
    }
    st->memory = memory;
    st->memory_bytes = memory_bytes;
    enum quern_status status = reserve(st, n) ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; !status && i < n; i++)
        status = add_tensor(st, &tensors[i], err);
    if (status)
        safetensors_close(st);
    else
        *out = st;
    return status;
}

size_t safetensors_count(const struct safetensors *st) {
    return st->n;
}

const struct tensor *safetensors_at(const struct safetensors *st, size_t i) {
    return &st->tensors[i];
}

const struct tensor *safetensors_find(const struct safetensors *st, const char *name) {
    uint32_t i;
    return map_get(&st->by_name, str_from(name), &i) ? &st->tensors[i] : NULL;
}

bool safetensors_is_mapped(const struct safetensors *st) {
    return st->n_files > 0;
}

size_t safetensors_file_count(const struct safetensors *st) {
    return st->n_files ? st->n_files : 1;
}

size_t safetensors_total_bytes(const struct safetensors *st) {
    return st->total_bytes;
}

const char *safetensors_metadata(const struct safetensors *st, const char *key) {
    for (const struct safetensors_meta *m = st->meta; m; m = m->next)
        if (strcmp(m->key, key) == 0)
            return m->value;
    return NULL;
}
