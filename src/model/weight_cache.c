#include "model/weight_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "base/data_file.h"
#include "base/file_writer.h"
#include "base/log.h"
#include "base/os.h"
#include "model/fingerprint.h"
#include "model/weight_cache_file.h"

struct weight_cache {
    char path[CACHE_PATH_BYTES], dir[CACHE_PATH_BYTES];
    struct cache_fingerprint fingerprint;
    struct cache_file file; /* zeroed: none that can be used */
    size_t next;            /* record */
    bool is_stale;          /* the file lacks something */
    bool no_room;           /* `made` could not grow: nothing is written */
    struct weight *made;    /* [n_made] all so far */
    size_t n_made, capacity;
};

/* ---- names ------------------------------------------------------------------------- */

/* The last part of a path. */
static struct str base_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    return (struct str){path + begin, end - begin};
}

static bool name_file(struct weight_cache *c, const char *model_path,
                      const struct model_options *options) {
    char real[CACHE_PATH_BYTES];
    const int forms[] = {(int)options->weights, (int)options->embed_weights};
    if (os_real_path(real, sizeof real, model_path, NULL))
        return false;
    const struct str name = base_name(real);
    const uint64_t key = checksum64(checksum64(1, real, strlen(real)), forms, sizeof forms);
    const int n = snprintf(c->path, sizeof c->path, "%s/%.*s-%016llx.weights", options->cache_dir,
                           name.len < 80 ? (int)name.len : 80, name.ptr, (unsigned long long)key);
    const int d = snprintf(c->dir, sizeof c->dir, "%s", options->cache_dir);
    return n > 0 && (size_t)n < sizeof c->path && d > 0 && (size_t)d < sizeof c->dir;
}

/* ---- fingerprint ------------------------------------------------------------------- */

static void mix_bytes(struct cache_fingerprint *f, const void *data, size_t n) {
    f->word[0] = checksum64(f->word[0], data, n);
    f->word[1] = checksum64(f->word[1] ^ 0x7763, data, n);
}

static bool mix_file(struct cache_fingerprint *f, const char *path) {
    struct os_file_stamp stamp;
    if (!os_file_stamp(path, &stamp))
        return false;
    const uint64_t words[] = {stamp.size_bytes, (uint64_t)stamp.changed_ns};
    mix_bytes(f, words, sizeof words);
    return true;
}

/* The files of the tensors, one after the other as tensors name them. */
static bool mix_files(struct cache_fingerprint *f, const char *dir, const struct checkpoint *c) {
    const char *last = NULL;
    char path[CACHE_PATH_BYTES];
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        const char *file = checkpoint_at(c, i)->file;
        if (last && strcmp(last, file) == 0)
            continue;
        last = file;
        if (os_path_join(path, sizeof path, dir, file, NULL) || !mix_file(f, path))
            return false;
    }
    return true;
}

static bool mix_config(struct cache_fingerprint *f, const char *dir) {
    enum { CONFIG_MAX_BYTES = 1 << 24 };
    char path[CACHE_PATH_BYTES];
    struct buffer text;
    buffer_init(&text, CONFIG_MAX_BYTES);
    const bool ok = !os_path_join(path, sizeof path, dir, "config.json", NULL) &&
                    !os_read_regular(path, CONFIG_MAX_BYTES, &text, NULL);
    if (ok && text.len)
        mix_bytes(f, text.data, text.len);
    buffer_release(&text);
    return ok;
}

static bool take_fingerprint(struct weight_cache *c, const char *path, const struct model *m) {
    struct cache_fingerprint *f = &c->fingerprint;
    const int version = CACHE_VERSION;
    mix_bytes(f, &version, sizeof version);
    fingerprint_checkpoint(m->checkpoint, f->word);
    return os_is_dir(path) ? mix_files(f, path, m->checkpoint) && mix_config(f, path)
                           : mix_file(f, path);
}

/* ---- opening ----------------------------------------------------------------------- */

static void pass_over(struct weight_cache *c, const struct quern_error *why) {
    log_warn("%s; the weights are made anew", why->message);
    c->is_stale = true;
}

struct weight_cache *weight_cache_open(const char *path, const struct model *m,
                                       const struct model_options *options) {
    struct quern_error err = {0};
    if (!options->cache_dir || !m->device->ops->adopt || !checkpoint_is_file(m->checkpoint))
        return NULL;
    struct weight_cache *c = calloc(1, sizeof *c);
    if (!c || !name_file(c, path, options) || !take_fingerprint(c, path, m)) {
        log_warn("%s: its weights cannot be cached", path);
        free(c);
        return NULL;
    }
    if (os_file_exists(c->path) && cache_file_open(&c->file, c->path, &c->fingerprint, &err))
        pass_over(c, &err);
    return c;
}

void weight_cache_close(struct weight_cache *c) {
    if (!c)
        return;
    cache_file_close(&c->file);
    free(c->made);
    free(c);
}

/* ---- taking and adding ------------------------------------------------------------- */

bool weight_cache_take(struct weight_cache *c, struct model *m, size_t rows, size_t cols, bool fast,
                       struct weight *out) {
    struct quern_error err = {0};
    struct packed_matrix *packed = NULL;
    struct weight w;
    if (!c || c->is_stale || c->next >= c->file.n_records) {
        if (c)
            c->is_stale = true;
        return false;
    }
    enum quern_status st = cache_file_weight(&c->file, c->next, rows, cols, &m->arena, &w, &packed, &err);
    if (!st && packed)
        st = m->device->ops->adopt(
            m->device, packed,
            !fast ? MATH_EXACT : packed->kind == QUANT_CODE ? MATH_BF16 : MATH_INT8, &err);
    else if (!st && fast && w.dtype == DTYPE_BF16)
        st = m->device->ops->use_bf16_math(m->device, &w, &err);
    if (st) {
        pass_over(c, &err);
        return false;
    }
    c->next++;
    weight_cache_add(c, &w);
    *out = w;
    return true;
}

void weight_cache_add(struct weight_cache *c, const struct weight *w) {
    if (!c || c->no_room)
        return;
    if (c->n_made == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 256;
        struct weight *grown = realloc(c->made, capacity * sizeof *grown);
        if (!grown) {
            c->no_room = true;
            return;
        }
        c->made = grown;
        c->capacity = capacity;
    }
    c->made[c->n_made++] = *w;
}

/* ---- writing ----------------------------------------------------------------------- */

enum { TEMP_LEFT_S = 6 * 3600 };

struct sweep {
    const struct weight_cache *cache;
    int64_t before_s;
};

/* What a process that was killed while writing has left. */
static bool sweep_one(void *user, const char *name, int64_t changed_s) {
    const struct sweep *s = user;
    char path[CACHE_PATH_BYTES];
    const size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0 && changed_s < s->before_s &&
        !os_path_join(path, sizeof path, s->cache->dir, name, NULL))
        (void)data_file_remove(path, NULL);
    return true;
}

void weight_cache_finish(struct weight_cache *c) {
    struct quern_error err = {0};
    if (!c || c->n_made == 0 || c->no_room || (!c->is_stale && c->next == c->file.n_records))
        return;
    enum quern_status st = os_make_private_dir(c->dir, &err);
    if (!st) {
        struct sweep sweep = {c, (int64_t)time(NULL) - TEMP_LEFT_S};
        (void)data_dir_list(c->dir, sweep_one, &sweep, NULL);
        st = cache_file_write(c->path, &c->fingerprint, c->made, c->n_made, &err);
    }
    if (st)
        log_warn("the weights are not cached: %s", err.message);
    else
        file_writer_flush_dir(c->dir);
}
