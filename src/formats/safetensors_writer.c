#include "formats/safetensors_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/file_writer.h"
#include "base/map.h"
#include "base/os.h"
#include "formats/safetensors_header.h"
#include "formats/safetensors_index.h"
#include "text/json.h"

enum { PATH_BYTES = 4096, FILE_NAME_BYTES = 128, INDEX_BYTES_MAX = 100 << 20 };

struct shard {
    size_t first, end; /* its tensors in decls */
    size_t data_bytes;
    struct file_writer file;
};

struct safetensors_writer {
    char *dir;
    const char *stem; /* "model" */
    const struct tensor_decl *decls;
    size_t n;
    struct shard *shards;
    size_t n_shards, current; /* the shard being written */
    size_t total_bytes;
    size_t written; /* of the current shard's data */
};

static bool decl_bytes(const struct tensor_decl *d, size_t *out) {
    size_t bytes = dtype_size_bytes(d->dtype);
    if (bytes == 0 || d->rank < 0 || d->rank > SAFETENSORS_RANK_MAX)
        return false;
    for (int i = 0; i < d->rank; i++)
        if (!checked_mul(bytes, d->shape[i], &bytes))
            return false;
    *out = bytes;
    return true;
}

static enum quern_status check_decls(struct safetensors_writer *w, struct quern_error *err) {
    struct map names;
    enum quern_status status = map_init(&names, w->n) ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; !status && i < w->n; i++) {
        const struct tensor_decl *d = &w->decls[i];
        struct str name = str_from(d->name);
        size_t bytes;
        bool existed = false;
        if (!safetensors_name_ok(name) || str_is(name, "__metadata__"))
            status = error_set(err, QUERN_ERR_ARG, "tensor %zu has no usable name", i);
        else if (!decl_bytes(d, &bytes) || !checked_add(w->total_bytes, bytes, &w->total_bytes))
            status = error_set(err, QUERN_ERR_ARG, "tensor %s: impossible type or shape", d->name);
        else if (!map_put(&names, name, 0, &existed))
            status = error_nomem(err);
        else if (existed)
            status = error_set(err, QUERN_ERR_ARG, "tensor %s is declared twice", d->name);
    }
    map_release(&names);
    return status;
}

/* Fills shards in order; the last one may be empty only when there are no tensors at all. */
static enum quern_status plan_shards(struct safetensors_writer *w, size_t max_bytes,
                                     struct quern_error *err) {
    w->shards = calloc(w->n ? w->n : 1, sizeof *w->shards);
    if (!w->shards)
        return error_nomem(err);
    struct shard *s = w->shards;
    for (size_t i = 0; i < w->n; i++) {
        size_t bytes = 0;
        (void)decl_bytes(&w->decls[i], &bytes);
        bool full = max_bytes && bytes && (bytes > max_bytes || s->data_bytes > max_bytes - bytes);
        if (full && s->end > s->first) {
            s++;
            s->first = s->end = i;
        }
        s->end = i + 1;
        s->data_bytes += bytes;
    }
    w->n_shards = (size_t)(s - w->shards) + 1;
    if (w->n_shards > SAFETENSORS_SHARDS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu shards of at most %zu bytes are too many (%d)",
                         w->n_shards, max_bytes, SAFETENSORS_SHARDS_MAX);
    return QUERN_OK;
}

static void shard_name(const struct safetensors_writer *w, size_t i, char out[FILE_NAME_BYTES]) {
    if (w->n_shards == 1)
        snprintf(out, FILE_NAME_BYTES, "%s.safetensors", w->stem);
    else
        snprintf(out, FILE_NAME_BYTES, "%s-%05zu-of-%05zu.safetensors", w->stem, i + 1,
                 w->n_shards);
}

static void index_name(const struct safetensors_writer *w, char out[FILE_NAME_BYTES]) {
    snprintf(out, FILE_NAME_BYTES, "%s.safetensors.index.json", w->stem);
}

static void put_header(struct buffer *b, const struct safetensors_writer *w,
                       const struct shard *s) {
    size_t at = 0;
    buffer_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = s->first; i < s->end; i++) {
        const struct tensor_decl *d = &w->decls[i];
        size_t bytes = 0;
        (void)decl_bytes(d, &bytes);
        buffer_putc(b, ',');
        json_write_string(str_from(d->name), b);
        buffer_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(d->dtype));
        for (int k = 0; k < d->rank; k++)
            buffer_printf(b, "%s%zu", k ? "," : "", d->shape[k]);
        buffer_printf(b, "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
        at += bytes;
    }
    buffer_putc(b, '}');
    while (b->len % 8 && !b->failed) /* as the reference does: the data begins aligned */
        buffer_putc(b, ' ');
}

static enum quern_status open_shard(struct safetensors_writer *w, struct quern_error *err) {
    struct shard *s = &w->shards[w->current];
    char name[FILE_NAME_BYTES], path[PATH_BYTES];
    struct buffer header;
    buffer_init(&header, SAFETENSORS_HEADER_MAX);
    shard_name(w, w->current, name);
    put_header(&header, w, s);
    enum quern_status status = buffer_status(&header, "the header", err);
    if (!status)
        status = os_path_join(path, sizeof path, w->dir, name, err);
    if (!status)
        status = file_writer_init(&s->file, path, err);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.len >> (8 * i));
    if (!status)
        status = file_writer_write(&s->file, length, sizeof length, err);
    if (!status)
        status = file_writer_write(&s->file, header.data, header.len, err);
    buffer_release(&header);
    w->written = 0;
    return status;
}

/* Closes full shards and opens the next until one has room for data, or all are done. */
static enum quern_status advance(struct safetensors_writer *w, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    while (!status && w->current < w->n_shards && w->written == w->shards[w->current].data_bytes) {
        status = file_writer_close(&w->shards[w->current].file, err);
        if (!status && ++w->current < w->n_shards)
            status = open_shard(w, err);
    }
    return status;
}

enum quern_status safetensors_writer_create(const char *dir, const struct tensor_decl *decls,
                                            size_t n, size_t max_shard_bytes,
                                            struct safetensors_writer **out,
                                            struct quern_error *err) {
    return safetensors_writer_create_as(dir, "model", decls, n, max_shard_bytes, out, err);
}

enum quern_status safetensors_writer_create_as(const char *dir, const char *stem,
                                               const struct tensor_decl *decls, size_t n,
                                               size_t max_shard_bytes,
                                               struct safetensors_writer **out,
                                               struct quern_error *err) {
    struct safetensors_writer *w = calloc(1, sizeof *w);
    if (!w)
        return error_nomem(err);
    w->stem = stem;
    w->decls = decls;
    w->n = n;
    size_t dir_size = strlen(dir) + 1;
    w->dir = malloc(dir_size);
    enum quern_status status = w->dir ? QUERN_OK : error_nomem(err);
    if (!status) {
        memcpy(w->dir, dir, dir_size);
        status = check_decls(w, err);
    }
    if (!status)
        status = plan_shards(w, max_shard_bytes, err);
    if (!status)
        status = open_shard(w, err);
    if (!status)
        status = advance(w, err);
    if (status)
        safetensors_writer_destroy(w);
    else
        *out = w;
    return status;
}

enum quern_status safetensors_writer_write(struct safetensors_writer *w, const void *data,
                                           size_t size_bytes, struct quern_error *err) {
    const unsigned char *bytes = data;
    enum quern_status status = QUERN_OK;
    while (!status && size_bytes > 0) {
        if (w->current == w->n_shards)
            return error_set(err, QUERN_ERR_STATE, "%s: %zu bytes more than the tensors hold",
                             w->dir, size_bytes);
        struct shard *s = &w->shards[w->current];
        size_t room = s->data_bytes - w->written, n = size_bytes < room ? size_bytes : room;
        status = file_writer_write(&s->file, bytes, n, err);
        w->written += n;
        bytes += n;
        size_bytes -= n;
        if (!status)
            status = advance(w, err);
    }
    return status;
}

static enum quern_status write_index(const struct safetensors_writer *w, struct quern_error *err) {
    char name[FILE_NAME_BYTES], index[FILE_NAME_BYTES], path[PATH_BYTES];
    struct buffer b;
    buffer_init(&b, INDEX_BYTES_MAX);
    index_name(w, index);
    buffer_printf(&b, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n  \"weight_map\": {",
                  w->total_bytes);
    const char *separator = "\n    ";
    for (size_t s = 0; s < w->n_shards; s++) {
        shard_name(w, s, name);
        for (size_t i = w->shards[s].first; i < w->shards[s].end; i++) {
            buffer_puts(&b, separator);
            json_write_string(str_from(w->decls[i].name), &b);
            buffer_printf(&b, ": \"%s\"", name);
            separator = ",\n    ";
        }
    }
    buffer_puts(&b, "\n  }\n}\n");
    enum quern_status status = buffer_status(&b, "the index", err);
    if (!status)
        status = os_path_join(path, sizeof path, w->dir, index, err);
    if (!status)
        status = os_write_file(path, b.data, b.len, err);
    buffer_release(&b);
    return status;
}

static enum quern_status remove_stale(const struct safetensors_writer *w, const char *name,
                                      struct quern_error *err) {
    char path[PATH_BYTES];
    enum quern_status status = os_path_join(path, sizeof path, w->dir, name, err);
    if (!status && remove(path) && errno != ENOENT)
        status = error_set(err, QUERN_ERR_IO, "%s: cannot remove: %s", path, strerror(errno));
    return status;
}

enum quern_status safetensors_writer_finish(struct safetensors_writer *w, struct quern_error *err) {
    if (w->current < w->n_shards)
        return error_set(err, QUERN_ERR_STATE, "%s: data of the last tensors is missing", w->dir);
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < w->n_shards; i++)
        status = file_writer_publish(&w->shards[i].file, err);
    if (!status && w->n_shards > 1)
        status = write_index(w, err);
    char stale[FILE_NAME_BYTES];
    if (w->n_shards > 1)
        snprintf(stale, sizeof stale, "%s.safetensors", w->stem);
    else
        index_name(w, stale);
    if (!status)
        status = remove_stale(w, stale, err);
    if (!status)
        file_writer_flush_dir(w->dir);
    return status;
}

void safetensors_writer_destroy(struct safetensors_writer *w) {
    if (!w)
        return;
    for (size_t i = 0; w->shards && i < w->n_shards; i++)
        file_writer_release(&w->shards[i].file);
    free(w->shards);
    free(w->dir);
    free(w);
}

size_t safetensors_writer_total_bytes(const struct safetensors_writer *w) {
    return w->total_bytes;
}
