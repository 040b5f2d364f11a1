#include "train/run/run_checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/data_file.h"
#include "base/file_writer.h"
#include "base/os.h"

enum { STATE_MAX_BYTES = 16 << 20, COPY_MAX_BYTES = 1 << 28, NAMES_MAX = 256 };

#define MANIFEST "manifest.json"

/* ---- names in a directory ----------------------------------------------------------------- */

struct names {
    char *items[NAMES_MAX];
    size_t n;
    bool failed;
};

static void names_release(struct names *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i]);
}

static bool add_name(void *user, const char *name, int64_t changed_s) {
    struct names *l = user;
    (void)changed_s;
    char *copy = l->n < NAMES_MAX ? strdup(name) : NULL;
    l->failed = !copy;
    if (copy)
        l->items[l->n++] = copy;
    return copy != NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum quern_status list_names(const char *dir, struct names *out, struct quern_error *err) {
    *out = (struct names){.n = 0};
    enum quern_status status = data_dir_list(dir, add_name, out, err);
    if (!status && out->failed)
        status = error_set(err, QUERN_ERR_LIMIT, "%s: too many files", dir);
    qsort(out->items, out->n, sizeof *out->items, by_name);
    return status;
}

/* ---- a manifest ------------------------------------------------------------------------------ */

static enum quern_status hash_file(const char *path, uint64_t *hash, size_t *size,
                                   struct quern_error *err) {
    struct os_map map;
    enum quern_status status = os_map_open(&map, path, err);
    if (status)
        return status;
    *hash = checksum64(1, map.data, map.size_bytes);
    *size = map.size_bytes;
    os_map_close(&map);
    return QUERN_OK;
}

static enum quern_status write_json(const char *dir, const char *name, const json_t *value,
                                    struct quern_error *err) {
    char path[RUN_PATH_BYTES];
    struct buffer text;
    buffer_init(&text, STATE_MAX_BYTES);
    json_write_python(value, 2, &text);
    buffer_putc(&text, '\n');
    enum quern_status status = buffer_status(&text, name, err);
    if (!status)
        status = os_path_join(path, sizeof path, dir, name, err);
    if (!status)
        status = os_write_file(path, text.data, text.len, err);
    buffer_release(&text);
    return status;
}

static enum quern_status write_manifest(const char *dir, struct quern_error *err) {
    struct names names;
    json_t *files = json_array(), *manifest = json_pack("{s:O}", "files", files);
    enum quern_status status = list_names(dir, &names, err);
    for (size_t i = 0; i < names.n && !status; i++) {
        char path[RUN_PATH_BYTES], text[32];
        uint64_t hash = 0;
        size_t size = 0;
        status = os_path_join(path, sizeof path, dir, names.items[i], err);
        if (!status)
            status = file_writer_flush_file(path, err);
        if (!status)
            status = hash_file(path, &hash, &size, err);
        snprintf(text, sizeof text, "%016" PRIx64, hash);
        if (!status && json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name",
                                                              names.items[i], "bytes",
                                                              (json_int_t)size, "checksum", text)))
            status = error_nomem(err);
    }
    if (!status)
        status = manifest ? write_json(dir, MANIFEST, manifest, err) : error_nomem(err);
    file_writer_flush_dir(dir);
    json_decref(files);
    json_decref(manifest);
    names_release(&names);
    return status;
}

static bool file_is_whole(const char *dir, const json_t *entry) {
    char path[RUN_PATH_BYTES], text[32];
    struct quern_error ignored;
    uint64_t hash;
    size_t size;
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *checksum = json_string_value(json_object_get(entry, "checksum"));
    if (!name || !checksum || strchr(name, '/') || name[0] == '.' ||
        os_path_join(path, sizeof path, dir, name, &ignored) ||
        hash_file(path, &hash, &size, &ignored))
        return false;
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_integer_value(json_object_get(entry, "bytes")) == (json_int_t)size &&
           strcmp(text, checksum) == 0;
}

static bool is_whole(const char *dir) {
    char path[RUN_PATH_BYTES];
    struct quern_error ignored;
    json_t *manifest = NULL;
    if (os_path_join(path, sizeof path, dir, MANIFEST, &ignored) ||
        json_load_regular(path, STATE_MAX_BYTES, &manifest, &ignored))
        return false;
    const json_t *files = json_object_get(manifest, "files");
    bool ok = json_array_size(files) > 0;
    for (size_t i = 0; ok && i < json_array_size(files); i++)
        ok = file_is_whole(dir, json_array_get(files, i));
    json_decref(manifest);
    return ok;
}

/* ---- checkpoints ------------------------------------------------------------------------------- */

static bool is_checkpoint(const char *name) {
    return strncmp(name, "step-", 5) == 0 && !strstr(name, ".tmp");
}

/* The oldest of too many, and what a broken-off save left. */
static void remove_old(const char *dir, size_t keep) {
    struct names names;
    char path[RUN_PATH_BYTES];
    size_t n = 0;
    if (list_names(dir, &names, NULL) == QUERN_OK) {
        for (size_t i = 0; i < names.n; i++)
            n += is_checkpoint(names.items[i]);
        for (size_t i = 0; i < names.n; i++) {
            const bool whole = is_checkpoint(names.items[i]);
            if (strncmp(names.items[i], "step-", 5) != 0 || (whole && n <= keep) ||
                os_path_join(path, sizeof path, dir, names.items[i], NULL))
                continue;
            n -= whole;
            os_remove_dir(path);
        }
    }
    names_release(&names);
}

enum quern_status run_checkpoint_save(const char *dir, size_t step, const struct trainer_ops *ops,
                                      const struct trainer *trainer, const json_t *state,
                                      size_t keep, struct quern_error *err) {
    char name[64], path[RUN_PATH_BYTES], temp[RUN_PATH_BYTES];
    snprintf(name, sizeof name, "step-%09zu", step);
    enum quern_status status = os_path_join(path, sizeof path, dir, name, err);
    snprintf(name, sizeof name, "step-%09zu.tmp", step);
    if (!status)
        status = os_path_join(temp, sizeof temp, dir, name, err);
    if (status)
        return status;
    os_remove_dir(temp);
    status = os_make_dir(temp, err);
    if (!status)
        status = ops->save_state(trainer, temp, err);
    if (!status)
        status = write_json(temp, "run.json", state, err);
    if (!status)
        status = write_manifest(temp, err);
    if (!status)
        os_remove_dir(path);
    if (!status)
        status = file_writer_rename(temp, path, err);
    if (status) {
        os_remove_dir(temp);
        return status;
    }
    file_writer_flush_dir(dir);
    remove_old(dir, keep);
    return QUERN_OK;
}

enum quern_status run_checkpoint_find(const char *dir, char path[RUN_PATH_BYTES],
                                      char bad[RUN_PATH_BYTES], struct quern_error *err) {
    struct names names;
    path[0] = bad[0] = '\0';
    if (!os_is_dir(dir))
        return QUERN_OK;
    enum quern_status status = list_names(dir, &names, err);
    for (size_t i = names.n; i-- > 0 && !status;) {
        char candidate[RUN_PATH_BYTES];
        if (!is_checkpoint(names.items[i]))
            continue;
        status = os_path_join(candidate, sizeof candidate, dir, names.items[i], err);
        if (!status && is_whole(candidate)) {
            memcpy(path, candidate, sizeof candidate);
            break;
        }
        if (!status && !bad[0])
            memcpy(bad, candidate, sizeof candidate);
    }
    names_release(&names);
    return status;
}

enum quern_status run_checkpoint_state(const char *path, json_t **out, struct quern_error *err) {
    char file[RUN_PATH_BYTES];
    enum quern_status status = os_path_join(file, sizeof file, path, "run.json", err);
    return status ? status : json_load_regular(file, STATE_MAX_BYTES, out, err);
}

/* ---- outputs ------------------------------------------------------------------------------------ */

enum quern_status run_output_save(const char *path, const struct trainer_ops *ops,
                                  const struct trainer *trainer, struct quern_error *err) {
    char temp[RUN_PATH_BYTES];
    struct names names = {.n = 0};
    const int n = snprintf(temp, sizeof temp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof temp)
        return error_set(err, QUERN_ERR_LIMIT, "%.200s...: the path is too long", path);
    os_remove_dir(temp);
    enum quern_status status = os_make_dir(temp, err);
    if (!status)
        status = ops->save_output(trainer, temp, err);
    if (!status)
        status = list_names(temp, &names, err);
    for (size_t i = 0; i < names.n && !status; i++) {
        char file[RUN_PATH_BYTES];
        status = os_path_join(file, sizeof file, temp, names.items[i], err);
        if (!status)
            status = file_writer_flush_file(file, err);
    }
    names_release(&names);
    if (!status) {
        os_remove_dir(path);
        status = file_writer_rename(temp, path, err);
    }
    if (status)
        os_remove_dir(temp);
    return status;
}

static enum quern_status copy_missing(const char *from_dir, const char *name, const char *to_dir,
                                      struct quern_error *err) {
    char from[RUN_PATH_BYTES], to[RUN_PATH_BYTES];
    struct buffer text;
    enum quern_status status = os_path_join(from, sizeof from, from_dir, name, err);
    if (!status)
        status = os_path_join(to, sizeof to, to_dir, name, err);
    if (status || os_file_exists(to) || !os_file_exists(from))
        return status;
    buffer_init(&text, COPY_MAX_BYTES);
    status = os_read_regular(from, COPY_MAX_BYTES, &text, err);
    if (!status)
        status = os_write_file(to, text.data ? text.data : "", text.len, err);
    buffer_release(&text);
    return status;
}

static enum quern_status copy_config(const char *from_dir, const char *to_dir,
                                     struct quern_error *err) {
    char path[RUN_PATH_BYTES];
    json_t *config = NULL;
    enum quern_status status = os_path_join(path, sizeof path, to_dir, "config.json", err);
    if (status || os_file_exists(path))
        return status;
    status = os_path_join(path, sizeof path, from_dir, "config.json", err);
    if (!status)
        status = json_load_regular(path, STATE_MAX_BYTES, &config, err);
    if (status)
        return status;
    json_object_del(config, "quantization_config");
    if (json_object_set_new(config, json_object_get(config, "dtype") ? "dtype" : "torch_dtype",
                            json_string("bfloat16")))
        status = error_nomem(err);
    if (!status)
        status = write_json(to_dir, "config.json", config, err);
    json_decref(config);
    return status;
}

enum quern_status run_output_complete(const char *path, const char *model,
                                      struct quern_error *err) {
    static const char *const names[] = {"generation_config.json",  "tokenizer.json",
                                        "tokenizer_config.json",   "chat_template.jinja",
                                        "chat_template.json",      "vocab.json",
                                        "merges.txt",              "added_tokens.json",
                                        "special_tokens_map.json"};
    enum quern_status status = copy_config(model, path, err);
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++)
        status = copy_missing(model, names[i], path, err);
    return status;
}

enum quern_status run_output_move(const char *from, const char *to, struct quern_error *err) {
    struct names names;
    enum quern_status status = list_names(from, &names, err);
    for (size_t i = 0; i < names.n && !status; i++) {
        char a[RUN_PATH_BYTES], b[RUN_PATH_BYTES];
        status = os_path_join(a, sizeof a, from, names.items[i], err);
        if (!status)
            status = os_path_join(b, sizeof b, to, names.items[i], err);
        if (!status)
            status = file_writer_rename(a, b, err);
    }
    names_release(&names);
    if (!status) {
        file_writer_flush_dir(to);
        os_remove_dir(from);
    }
    return status;
}
