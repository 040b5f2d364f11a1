#include "train/data/data.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "train/data/data_cache.h"

enum { LINES_AT_ONCE = 1024, PATH_BYTES = 4096, MODEL_FILE_MAX_BYTES = 1 << 28 };

/* ---- records in parallel ----------------------------------------------------------------- */

struct slot {
    struct str line;
    size_t number;
    struct example example;
    struct quern_error err;
    enum quern_status status;
    bool is_blank;
};

struct reader {
    const struct example_maker *maker;
    const struct train_data_options *options;
    struct train_data *out;
    struct data_problem *problem;
    struct slot *slots; /* [LINES_AT_ONCE] */
    size_t n_slots;
    atomic_size_t next;
    size_t tokens_capacity, starts_capacity;
    size_t bytes_done, bytes_all;
};

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r\n", line.ptr[i]))
            return false;
    return true;
}

static void make_slot(const struct example_maker *maker, struct slot *s) {
    json_t *record = NULL;
    s->is_blank = is_blank(s->line);
    s->status = QUERN_OK;
    if (s->is_blank)
        return;
    s->status = json_parse(s->line.ptr, s->line.len, "record", &record, &s->err);
    if (!s->status)
        s->status = example_make(maker, record, &s->example, &s->err);
    json_decref(record);
}

static void work(void *ctx, int worker, int n_workers) {
    struct reader *r = ctx;
    (void)worker;
    (void)n_workers;
    for (size_t i; (i = atomic_fetch_add(&r->next, 1)) < r->n_slots;)
        make_slot(r->maker, &r->slots[i]);
}

static bool reserve(void *items, size_t wanted, size_t *capacity, size_t size) {
    void **p = items;
    size_t n = *capacity ? *capacity : 1024, bytes;
    if (wanted <= *capacity)
        return true;
    while (n < wanted)
        if (!checked_mul(n, 2, &n))
            return false;
    void *grown = checked_mul(n, size, &bytes) ? realloc(*p, bytes) : NULL;
    if (!grown)
        return false;
    *p = grown;
    *capacity = n;
    return true;
}

static bool keep(struct reader *r, const struct example *e) {
    struct train_data *d = r->out;
    if (!reserve(&d->tokens, d->n_tokens + e->tokens.n, &r->tokens_capacity, sizeof *d->tokens) ||
        !reserve(&d->starts, d->n_examples + 2, &r->starts_capacity, sizeof *d->starts))
        return false;
    d->starts[d->n_examples++] = d->n_tokens;
    for (size_t i = 0; i < e->tokens.n; i++)
        d->tokens[d->n_tokens++] =
            (uint32_t)e->tokens.ids[i] | (e->trained.data[i] ? DATA_TRAINED : 0);
    d->starts[d->n_examples] = d->n_tokens;
    return true;
}

static enum quern_status take_slot(struct reader *r, const char *path, struct slot *s,
                                   struct quern_error *err) {
    if (s->is_blank)
        return QUERN_OK;
    if (s->status) {
        if (err)
            *err = s->err;
        *r->problem = (struct data_problem){path, s->number, false};
        return error_prefix(err, s->status, "%s:%zu", path, s->number);
    }
    r->out->n_cut += s->example.was_cut;
    if (!s->example.n_trained && s->example.was_cut) {
        r->out->n_skipped++;
        return QUERN_OK;
    }
    if (!s->example.n_trained) {
        *r->problem = (struct data_problem){path, s->number, true};
        return error_set(err, QUERN_ERR_FORMAT, "%s:%zu: no token of this example is trained%s", path,
                         s->number,
                         s->example.n_thoughtless
                             ? ": the template leaves out the thoughts of its answers "
                               "(thinking=drop trains answers without their thoughts)"
                             : "");
    }
    return keep(r, &s->example) ? QUERN_OK : error_nomem(err);
}

static enum quern_status read_file(struct reader *r, const char *path, struct str rest,
                                   struct quern_error *err) {
    const struct train_data_options *o = r->options;
    const size_t size = rest.len;
    enum quern_status status = QUERN_OK;
    for (size_t number = 1; rest.len && !status;) {
        for (r->n_slots = 0; r->n_slots < LINES_AT_ONCE && rest.len; r->n_slots++) {
            const char *end = memchr(rest.ptr, '\n', rest.len);
            const size_t n = end ? (size_t)(end - rest.ptr) + 1 : rest.len;
            r->slots[r->n_slots].line = (struct str){rest.ptr, n};
            r->slots[r->n_slots].number = number++;
            rest = (struct str){rest.ptr + n, rest.len - n};
        }
        atomic_store(&r->next, 0);
        thread_pool_run(o->pool, work, r);
        for (size_t i = 0; i < r->n_slots && !status; i++)
            status = take_slot(r, path, &r->slots[i], err);
        if (o->on_progress)
            o->on_progress(o->user,
                           (double)(r->bytes_done + size - rest.len) / (double)r->bytes_all);
        if (!status && o->is_cancelled && o->is_cancelled(o->user))
            status = error_set(err, QUERN_ERR_CANCELLED, "interrupted");
    }
    r->bytes_done += size;
    return status;
}

static enum quern_status read_all(struct reader *r, const struct os_map *maps,
                                  struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    r->slots = calloc(LINES_AT_ONCE, sizeof *r->slots);
    if (!r->slots)
        return error_nomem(err);
    for (size_t i = 0; i < LINES_AT_ONCE; i++)
        example_init(&r->slots[i].example);
    for (size_t i = 0; i < r->options->n_paths && !status; i++)
        status = read_file(r, r->options->paths[i],
                           (struct str){(const char *)maps[i].data, maps[i].size_bytes}, err);
    for (size_t i = 0; i < LINES_AT_ONCE; i++)
        example_release(&r->slots[i].example);
    free(r->slots);
    r->out->words = r->out->tokens;
    return status;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void count(struct train_data *d) {
    d->n_trained = d->longest = 0;
    for (size_t i = 0; i < d->n_tokens; i++)
        d->n_trained += d->words[i] >> 31;
    for (size_t i = 0; i < d->n_examples; i++) {
        const size_t n = train_data_at(d, i).n;
        d->longest = n > d->longest ? n : d->longest;
    }
}

static uint64_t hash_options(uint64_t seed, const struct example_options *o) {
    const uint64_t words[4] = {(uint64_t)o->thinking, o->last_turns, o->raw, o->max_length};
    return checksum64(seed, words, sizeof words);
}

enum quern_status train_data_open(const struct example_maker *maker,
                                  const struct train_data_options *options, struct train_data *out,
                                  struct data_problem *problem, struct quern_error *err) {
    struct reader r = {.maker = maker, .options = options, .out = out, .problem = problem};
    struct os_map *maps = calloc(options->n_paths + 1, sizeof *maps);
    char path[PATH_BYTES] = "", name[64];
    *out = (struct train_data){.hash = hash_options(options->hash_seed, &maker->options)};
    *problem = (struct data_problem){0};
    enum quern_status status = maps ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; i < options->n_paths && !status; i++) {
        status = os_map_open(&maps[i], options->paths[i], err);
        out->hash = checksum64(out->hash, maps[i].data, maps[i].size_bytes);
        r.bytes_all += maps[i].size_bytes;
    }
    snprintf(name, sizeof name, "data-%016" PRIx64 ".tokens", out->hash);
    if (!status && options->cache_dir)
        status = os_path_join(path, sizeof path, options->cache_dir, name, err);
    if (!status && options->cache_dir)
        out->from_cache = data_cache_read(path, out);
    if (!status && !out->from_cache)
        status = read_all(&r, maps, err);
    if (!status && !out->n_examples)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: there are no examples%s",
                           options->n_paths ? options->paths[0] : "",
                           out->n_skipped ? " short enough" : "");
    if (!status && options->cache_dir && !out->from_cache)
        status = data_cache_write(path, out, err);
    if (!status)
        count(out);
    for (size_t i = 0; maps && i < options->n_paths; i++)
        os_map_close(&maps[i]);
    free(maps);
    if (status)
        train_data_close(out);
    return status;
}

void train_data_close(struct train_data *d) {
    os_map_close(&d->map);
    free(d->starts);
    free(d->tokens);
    *d = (struct train_data){0};
}

/* ---- beside it --------------------------------------------------------------------------------- */

enum quern_status train_data_record(const char *path, size_t line, json_t **out,
                                    struct quern_error *err) {
    struct os_map map;
    enum quern_status status = os_map_open(&map, path, err);
    if (status)
        return status;
    struct str rest = {(const char *)map.data, map.size_bytes};
    for (size_t i = 1; rest.len; i++) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        const size_t n = end ? (size_t)(end - rest.ptr) + 1 : rest.len;
        if (i == line) {
            status = json_parse(rest.ptr, n, path, out, err);
            break;
        }
        rest = (struct str){rest.ptr + n, rest.len - n};
    }
    os_map_close(&map);
    return status;
}

enum quern_status train_data_hash_model(const char *dir, uint64_t *hash, struct quern_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "chat_template.jinja", "chat_template.json"};
    enum quern_status status = QUERN_OK;
    *hash = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++) {
        char path[PATH_BYTES];
        struct buffer text;
        buffer_init(&text, MODEL_FILE_MAX_BYTES);
        status = os_path_join(path, sizeof path, dir, names[i], err);
        if (!status && os_file_exists(path))
            status = os_read_regular(path, MODEL_FILE_MAX_BYTES, &text, err);
        *hash = checksum64(*hash + 1, text.data, text.len);
        buffer_release(&text);
    }
    return status;
}
