#include "train/data/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/sync.h"

enum { PATH_BYTES = 4096, MODEL_FILE_MAX_BYTES = 1 << 28 };

/* Makes blocks until there are enough. */
struct data_stream {
    struct train_data_options options;
    struct train_data *data;
    struct data_source source;
    struct data_block block;
    struct thread thread;
    struct mutex lock; /* for all below and the counts of data */
    struct condition changed;
    bool has_lock, has_condition, stop, done;
    size_t wanted; /* examples asked for, with those ahead of them */
    enum quern_status status;
    struct quern_error err;
};

static void count_block(void *ctx, const struct data_block *b) {
    struct train_data *d = ctx;
    d->n_examples += b->n_examples;
    d->n_tokens += b->n_words;
    d->n_cut += b->n_cut;
    d->n_skipped += b->n_skipped;
    for (size_t i = 0; i < b->n_words; i++)
        d->n_trained += b->words[i] >> 31;
    for (size_t i = 0; i < b->n_examples; i++)
        d->longest = b->lengths[i] > d->longest ? b->lengths[i] : d->longest;
}

/* ---- blocks --------------------------------------------------------------------------------- */

static bool is_through(const struct data_source *s) {
    return s->place.file >= s->n_paths;
}

static enum quern_status make_all(struct data_stream *s, struct quern_error *err) {
    const struct train_data_options *o = &s->options;
    enum quern_status status = QUERN_OK;
    while (!status && !is_through(&s->source) && !(o->ahead && s->data->n_examples >= o->ahead)) {
        status = data_source_next(&s->source, &s->block, err);
        if (!status)
            status = data_store_add(&s->data->store, &s->block, err);
        if (!status)
            count_block(s->data, &s->block);
        if (o->on_progress)
            o->on_progress(o->user, data_source_fraction(&s->source));
        if (!status && o->is_cancelled && o->is_cancelled(o->user))
            status = error_set(err, QUERN_ERR_CANCELLED, "interrupted");
    }
    return status;
}

/* ---- the thread -------------------------------------------------------------------------------- */

static bool may_go_on(struct data_stream *s) {
    mutex_lock(&s->lock);
    while (!s->stop && s->data->n_examples >= s->wanted)
        condition_wait(&s->changed, &s->lock);
    const bool go_on = !s->stop;
    mutex_unlock(&s->lock);
    return go_on;
}

static void stream_run(void *arg) {
    struct data_stream *s = arg;
    struct quern_error err = {0};
    enum quern_status status = QUERN_OK;
    while (!status && !is_through(&s->source) && may_go_on(s)) {
        status = data_source_next(&s->source, &s->block, &err);
        if (!status)
            status = data_store_add(&s->data->store, &s->block, &err);
        mutex_lock(&s->lock);
        if (!status)
            count_block(s->data, &s->block);
        condition_signal_all(&s->changed);
        mutex_unlock(&s->lock);
    }
    mutex_lock(&s->lock);
    s->done = true;
    s->status = status;
    s->err = err;
    condition_signal_all(&s->changed);
    mutex_unlock(&s->lock);
}

static enum quern_status start(struct data_stream *s, struct quern_error *err) {
    s->source.pool = NULL; /* the cores are for training */
    s->wanted = s->options.ahead;
    enum quern_status status = mutex_init(&s->lock, err);
    s->has_lock = !status;
    if (!status)
        status = condition_init(&s->changed, err);
    s->has_condition = s->has_lock && !status;
    return status ? status : thread_start(&s->thread, "examples", stream_run, s, err);
}

static void stream_destroy(struct data_stream *s) {
    if (!s)
        return;
    if (s->thread.started) {
        mutex_lock(&s->lock);
        s->stop = true;
        condition_signal_all(&s->changed);
        mutex_unlock(&s->lock);
        thread_join(&s->thread);
    }
    if (s->has_condition)
        condition_release(&s->changed);
    if (s->has_lock)
        mutex_release(&s->lock);
    data_block_release(&s->block);
    data_source_close(&s->source);
    free(s);
}

enum quern_status train_data_wait(struct train_data *d, size_t n, size_t *available,
                                  struct data_problem *problem, struct quern_error *err) {
    const uint64_t look_ns = 100000000;
    struct data_stream *s = d->stream;
    enum quern_status status = QUERN_OK;
    if (s) {
        const struct train_data_options *o = &s->options;
        mutex_lock(&s->lock);
        s->wanted = n + o->ahead > s->wanted ? n + o->ahead : s->wanted;
        condition_signal_all(&s->changed);
        while (!status && !s->done && d->n_examples < n) {
            (void)condition_wait_until(&s->changed, &s->lock, os_now_ns() + look_ns);
            if (o->is_cancelled && o->is_cancelled(o->user))
                status = error_set(err, QUERN_ERR_CANCELLED, "interrupted");
        }
        if (!status && s->done && s->status && d->n_examples < n) {
            status = s->status;
            *problem = s->source.problem;
            if (err)
                *err = s->err;
        }
        *available = d->n_examples < n ? d->n_examples : n;
        mutex_unlock(&s->lock);
        return status;
    }
    *available = d->n_examples < n ? d->n_examples : n;
    return QUERN_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t hash_options(uint64_t seed, const struct example_options *o) {
    const uint64_t words[4] = {(uint64_t)o->thinking, o->last_turns, o->raw, o->max_length};
    return checksum64(seed, words, sizeof words);
}

static void count_stored(void *ctx, const struct data_block *b) {
    struct data_stream *s = ctx;
    count_block(s->data, b);
    s->source.place = b->end;
}

static enum quern_status open_store(struct data_stream *s, struct quern_error *err) {
    const struct train_data_options *o = &s->options;
    char path[PATH_BYTES], name[64];
    enum quern_status status = QUERN_OK;
    snprintf(name, sizeof name, "data-%016" PRIx64 ".tokens", s->data->hash);
    if (o->cache_dir)
        status = os_path_join(path, sizeof path, o->cache_dir, name, err);
    if (!status)
        status = data_store_open(&s->data->store, o->cache_dir ? path : NULL, s->data->hash, count_stored,
                                 s, err);
    s->data->from_cache = is_through(&s->source);
    return status;
}

enum quern_status train_data_open(const struct example_maker *maker,
                                  const struct train_data_options *options, struct train_data *out,
                                  struct data_problem *problem, struct quern_error *err) {
    *out = (struct train_data){.hash = hash_options(options->hash_seed, &maker->options),
                               .store = {.file = {.fd = -1}}};
    *problem = (struct data_problem){0};
    struct data_stream *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    *s = (struct data_stream){.options = *options, .data = out};
    out->stream = s;
    enum quern_status status = data_source_open(&s->source, maker, options->paths, options->n_paths,
                                                options->pool, &out->hash, err);
    if (!status)
        status = open_store(s, err);
    if (!status && options->ahead && options->cache_dir && !out->from_cache)
        return start(s, err);
    if (!status)
        status = make_all(s, err);
    *problem = s->source.problem;
    if (!status && !out->n_examples)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: there are no examples%s",
                           options->n_paths ? options->paths[0] : "",
                           out->n_skipped ? " short enough" : "");
    stream_destroy(s);
    out->stream = NULL;
    if (status)
        train_data_close(out);
    return status;
}

void train_data_close(struct train_data *d) {
    stream_destroy(d->stream);
    data_store_close(&d->store);
    *d = (struct train_data){.store = {.file = {.fd = -1}}};
}

static void count_nothing(void *ctx, const struct data_block *b) {
    (void)ctx, (void)b;
}

enum quern_status train_data_from_words(struct train_data *out, const uint32_t *words,
                                        const uint64_t *starts, size_t n_examples,
                                        struct quern_error *err) {
    struct data_block b = {0};
    *out = (struct train_data){.n_cut = 0};
    enum quern_status status = data_store_open(&out->store, NULL, 0, count_nothing, NULL, err);
    for (size_t i = 0; i < n_examples && !status; i++) {
        const size_t n = (size_t)(starts[i + 1] - starts[i]);
        uint32_t *to = data_block_add(&b, n);
        if (to)
            memcpy(to, words + starts[i], n * sizeof *to);
        else
            status = error_nomem(err);
    }
    if (!status)
        status = data_store_add(&out->store, &b, err);
    if (!status)
        count_block(out, &b);
    data_block_release(&b);
    if (status)
        train_data_close(out);
    return status;
}

/* ---- beside it --------------------------------------------------------------------------------- */

enum quern_status train_data_record(const char *path, size_t line, json_t **out,
                                    struct quern_error *err) {
    enum { SOME = 256 };
    struct data_lines lines;
    struct str some[SOME];
    size_t first = 1, n = 1;
    enum quern_status status = data_lines_open(&lines, path, 0, 0, err);
    for (*out = NULL; !status && n; first += n) {
        status = data_lines_next(&lines, some, SOME, &n, err);
        if (status || line < first || line - first >= n)
            continue;
        status = json_parse(some[line - first].ptr, some[line - first].len, path, out, err);
        break;
    }
    data_lines_close(&lines);
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
