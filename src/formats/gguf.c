#include "formats/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "formats/gguf_header.h"

enum {
    PATH_BYTES = 4096,
    FILES_MAX = 10000,
    PART_DIGITS = 5,
    PART_SUFFIX = 20, /* "-00001-of-00003.gguf" */
};

struct gguf {
    struct arena arena;
    char *name;
    struct gguf_header head; /* of the first file; the tensors are those of all */
    struct gguf_tensor **tensors;
    size_t n_tensors, data_bytes;
    struct map by_name;
    struct os_map *files;
    size_t n_files;
};

static struct gguf *create(const char *name) {
    struct gguf *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    arena_init(&g->arena, 0);
    g->name = arena_strdup(&g->arena, name);
    if (!g->name || !map_init(&g->by_name, 512)) {
        gguf_close(g);
        return NULL;
    }
    return g;
}

void gguf_close(struct gguf *g) {
    if (!g)
        return;
    for (size_t i = 0; i < g->n_files; i++)
        os_map_close(&g->files[i]);
    free(g->files);
    free(g->tensors);
    map_release(&g->by_name);
    gguf_header_release(&g->head);
    arena_release(&g->arena);
    free(g);
}

/* ---- files --------------------------------------------------------------------------------- */

static enum quern_status add_tensors(struct gguf *g, const struct gguf_header *h, const char *name,
                                     struct quern_error *err) {
    struct gguf_tensor **grown =
        realloc(g->tensors, (g->n_tensors + h->n_tensors + 1) * sizeof *grown);
    if (!grown)
        return error_nomem(err);
    g->tensors = grown;
    for (size_t i = 0; i < h->n_tensors; i++) {
        bool existed;
        const char *tensor = h->tensors[i].tensor.name;
        if (!map_put(&g->by_name, str_from(tensor), (uint32_t)g->n_tensors, &existed))
            return error_nomem(err);
        if (existed)
            return error_set(err, QUERN_ERR_FORMAT, "%s: tensor \"%s\" is there twice", name,
                             tensor);
        g->tensors[g->n_tensors++] = &h->tensors[i];
    }
    g->data_bytes += h->data_bytes;
    return QUERN_OK;
}

static enum quern_status add_bytes(struct gguf *g, const unsigned char *data, size_t size_bytes,
                                   const char *name, struct gguf_header *h,
                                   struct quern_error *err) {
    enum quern_status status = gguf_header_parse(data, size_bytes, name, &g->arena, h, err);
    return status ? status : add_tensors(g, h, name, err);
}

static enum quern_status add_file(struct gguf *g, const char *path, struct gguf_header *h,
                                  struct quern_error *err) {
    struct os_map *files = realloc(g->files, (g->n_files + 1) * sizeof *files);
    if (!files)
        return error_nomem(err);
    g->files = files;
    enum quern_status status = os_map_open(&g->files[g->n_files], path, err);
    if (status)
        return status;
    struct os_map *map = &g->files[g->n_files++];
    return add_bytes(g, map->data, map->size_bytes, path, h, err);
}

static int64_t split_value(const struct gguf_header *h, const char *key, int64_t fallback) {
    uint32_t i;
    int64_t value = fallback;
    if (map_get(&h->by_key, str_from(key), &i) && !gguf_integer(&h->values[i], &value))
        value = -1;
    return value;
}

static bool digits(const char *s) {
    for (int i = 0; i < PART_DIGITS; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

/* Whether `path` ends as the parts of a split file do. Then *stem is the length before that. */
static bool is_part(const char *path, size_t *stem) {
    size_t n = strlen(path);
    if (n <= PART_SUFFIX)
        return false;
    const char *s = path + n - PART_SUFFIX;
    *stem = n - PART_SUFFIX;
    return s[0] == '-' && digits(s + 1) && memcmp(s + 6, "-of-", 4) == 0 && digits(s + 10) &&
           strcmp(s + 15, ".gguf") == 0;
}

static enum quern_status part_path(const char *path, size_t stem, size_t no, size_t count,
                                   char out[PATH_BYTES], struct quern_error *err) {
    int n = snprintf(out, PATH_BYTES, "%.*s-%05zu-of-%05zu.gguf", (int)stem, path, no, count);
    if (n < 0 || n >= PATH_BYTES)
        return error_set(err, QUERN_ERR_LIMIT, "%s: the path is too long", path);
    return QUERN_OK;
}

static enum quern_status add_part(struct gguf *g, const char *path, size_t no, size_t count,
                                  struct quern_error *err) {
    struct gguf_header h = {0};
    enum quern_status status = add_file(g, path, &h, err);
    if (!status && split_value(&h, "split.no", -1) != (int64_t)no)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: split.no is %lld, expected %zu", path,
                           (long long)split_value(&h, "split.no", -1), no);
    if (!status && split_value(&h, "split.count", -1) != (int64_t)count)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: split.count is %lld, expected %zu", path,
                           (long long)split_value(&h, "split.count", -1), count);
    gguf_header_release(&h);
    return status;
}

/* The parts after the first. */
static enum quern_status add_parts(struct gguf *g, const char *path, struct quern_error *err) {
    size_t stem = 0;
    char part[PATH_BYTES];
    const int64_t count = split_value(&g->head, "split.count", 1);
    if (count == 0 || count == 1)
        return QUERN_OK;
    if (count < 0 || count > FILES_MAX)
        return error_set(err, QUERN_ERR_FORMAT, "%s: split.count is no number up to %d", path,
                         FILES_MAX);
    if (split_value(&g->head, "split.no", -1) != 0 || !is_part(path, &stem))
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s is one of %lld parts of a model, but not the first by its split.no "
                         "and a name like NAME-00001-of-%05lld.gguf",
                         path, (long long)count, (long long)count);
    for (size_t no = 1; no < (size_t)count; no++) {
        enum quern_status status = part_path(path, stem, no + 1, (size_t)count, part, err);
        if (!status && !os_file_exists(part))
            status = error_set(err, QUERN_ERR_IO, "%s is missing (part %zu of %lld)", part, no + 1,
                               (long long)count);
        if (!status)
            status = add_part(g, part, no, (size_t)count, err);
        if (status)
            return status;
    }
    const int64_t total = split_value(&g->head, "split.tensors.count", (int64_t)g->n_tensors);
    if (total != (int64_t)g->n_tensors)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: split.tensors.count is %lld, but the parts hold %zu tensors", path,
                         (long long)total, g->n_tensors);
    return QUERN_OK;
}

bool gguf_is_file(const char *path) {
    struct os_map map = {0};
    if (os_is_dir(path))
        return false;
    if (str_ends_with(str_from(path), STR_LIT(".gguf")))
        return true;
    if (!os_file_exists(path) || os_map_open(&map, path, NULL))
        return false;
    bool is = map.size_bytes >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    os_map_close(&map);
    return is;
}

enum quern_status gguf_open(const char *path, struct gguf **out, struct quern_error *err) {
    char first[PATH_BYTES];
    size_t stem;
    if (is_part(path, &stem)) {
        const size_t count = strtoul(path + stem + 10, NULL, 10);
        enum quern_status status = part_path(path, stem, 1, count, first, err);
        if (status)
            return status;
        if (os_file_exists(first))
            path = first;
    }
    struct gguf *g = create(path);
    if (!g)
        return error_nomem(err);
    enum quern_status status = add_file(g, path, &g->head, err);
    if (!status)
        status = add_parts(g, path, err);
    if (status)
        gguf_close(g);
    else
        *out = g;
    return status;
}

enum quern_status gguf_parse(const unsigned char *data, size_t size_bytes, const char *name,
                             struct gguf **out, struct quern_error *err) {
    struct gguf *g = create(name);
    if (!g)
        return error_nomem(err);
    enum quern_status status = add_bytes(g, data, size_bytes, name, &g->head, err);
    if (status)
        gguf_close(g);
    else
        *out = g;
    return status;
}

/* ---- looking up ------------------------------------------------------------------------------ */

const char *gguf_name(const struct gguf *g) {
    return g->name;
}

size_t gguf_file_count(const struct gguf *g) {
    return g->n_files ? g->n_files : 1;
}

size_t gguf_data_bytes(const struct gguf *g) {
    return g->data_bytes;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key) {
    uint32_t i;
    return map_get(&g->head.by_key, str_from(key), &i) ? &g->head.values[i] : NULL;
}

size_t gguf_tensor_count(const struct gguf *g) {
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i) {
    return g->tensors[i];
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name) {
    uint32_t i;
    return map_get(&g->by_name, str_from(name), &i) ? g->tensors[i] : NULL;
}
