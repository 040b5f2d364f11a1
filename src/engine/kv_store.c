#include "engine/kv_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/os.h"
#include "base/sync.h"
#include "engine/kv_file.h"

enum { PATH_BYTES = 4096, NAME_BYTES = 40, MAX_ENTRIES = 1 << 16 };
static const char SUFFIX[] = ".qkv";

/* A file. */
struct entry {
    char name[NAME_BYTES];
    bool usable;     /* of this model and these settings */
    char *salt;      /* own; NULL when not usable, as tokens */
    int32_t *tokens; /* [n_tokens] */
    uint32_t n_tokens;
    uint64_t bytes;
    int64_t used; /* larger is later */
};

enum job_kind { JOB_NONE, JOB_SCAN, JOB_SAVE, JOB_LOAD };

struct kv_store {
    struct kv_store_setup setup;
    char dir[PATH_BYTES];
    struct thread thread;
    struct mutex lock;
    struct condition changed;
    /* under the lock */
    enum job_kind kind; /* JOB_NONE: nothing to do */
    struct kv_job job;
    bool done, ok, stop, scanned;
    struct entry *entries; /* [n_entries] */
    size_t n_entries, capacity;
    uint64_t total_bytes;
    int64_t clock; /* larger than any entry's `used` */
    void *staging; /* [block_bytes], the thread's */
};

/* ---- the list of files (with the lock) ------------------------------------------------ */

static void entry_release(struct entry *e) {
    free(e->salt);
    free(e->tokens);
}

static void drop_entry(struct kv_store *s, size_t i) {
    s->total_bytes -= s->entries[i].bytes;
    entry_release(&s->entries[i]);
    s->entries[i] = s->entries[--s->n_entries];
}

/* Takes over what `e` holds. */
static bool add_entry(struct kv_store *s, const struct entry *e) {
    if (s->n_entries == s->capacity) {
        const size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct entry *list = realloc(s->entries, capacity * sizeof *list);
        if (!list)
            return false;
        s->entries = list;
        s->capacity = capacity;
    }
    s->entries[s->n_entries++] = *e;
    s->total_bytes += e->bytes;
    return true;
}

static size_t common(const struct entry *e, const int32_t *tokens, size_t n) {
    size_t same = 0;
    while (same < n && same < e->n_tokens && e->tokens[same] == tokens[same])
        same++;
    return same;
}

static struct entry *best_entry(struct kv_store *s, const char *salt, const int32_t *tokens,
                                size_t n, size_t *n_same) {
    struct entry *best = NULL;
    *n_same = 0;
    for (size_t i = 0; i < s->n_entries; i++) {
        struct entry *e = &s->entries[i];
        if (!e->usable || strcmp(e->salt, salt) != 0)
            continue;
        const size_t same = common(e, tokens, n);
        if (same > *n_same) {
            *n_same = same;
            best = e;
        }
    }
    return best;
}

static void make_path(const struct kv_store *s, const char *name, char path[PATH_BYTES]) {
    if (os_path_join(path, PATH_BYTES, s->dir, name, NULL))
        path[0] = '\0';
}

static void remove_file(struct kv_store *s, size_t i) {
    char path[PATH_BYTES];
    make_path(s, s->entries[i].name, path);
    data_file_remove(path, NULL);
    drop_entry(s, i);
}

/* Room for a file of so many bytes. False: it is larger than all there may be. */
static bool make_room(struct kv_store *s, uint64_t bytes) {
    if (bytes > s->setup.max_bytes)
        return false;
    while (s->n_entries > 0 &&
           (s->total_bytes > s->setup.max_bytes - bytes || s->n_entries >= MAX_ENTRIES)) {
        size_t oldest = 0;
        for (size_t i = 1; i < s->n_entries; i++)
            if (s->entries[i].used < s->entries[oldest].used)
                oldest = i;
        remove_file(s, oldest);
    }
    return true;
}

/* ---- jobs (without the lock, but where the list changes) -------------------------------- */

static bool is_ours(const char *name) {
    const size_t len = strlen(name), suffix = sizeof SUFFIX - 1;
    return len < NAME_BYTES && len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

/* What a process that was killed left behind; a younger one may be another process at work. */
static bool is_old_leftover(const char *name, int64_t changed_s) {
    const size_t len = strlen(name), suffix = 4;
    const int64_t hour_s = 3600;
    return strstr(name, ".qkv.") && strcmp(name + len - suffix, ".tmp") == 0 &&
           (int64_t)time(NULL) - changed_s > hour_s;
}

/* A file that another model made is counted and removed in its turn, a broken one at once. */
static bool scan_file(void *user, const char *name, int64_t changed_s) {
    struct kv_store *s = user;
    char path[PATH_BYTES];
    struct data_file f;
    struct kv_file_header h;
    struct quern_error err = {0};
    make_path(s, name, path);
    if (is_old_leftover(name, changed_s))
        data_file_remove(path, NULL);
    if (!is_ours(name))
        return true;
    if (kv_file_open(path, &f, &h, &err)) {
        if (err.code == QUERN_ERR_FORMAT) {
            log_write(LOG_WARN, "%s; it is removed", err.message);
            data_file_remove(path, NULL);
        }
        return true;
    }
    data_file_close(&f);
    struct entry e = {.n_tokens = h.n_tokens, .bytes = h.total_bytes, .used = changed_s};
    memcpy(e.name, name, strlen(name) + 1);
    e.usable = h.fingerprint[0] == s->setup.fingerprint[0] &&
               h.fingerprint[1] == s->setup.fingerprint[1] && h.block_bytes == s->setup.block_bytes;
    if (e.usable) {
        e.salt = h.salt;
        e.tokens = h.tokens;
    } else {
        kv_file_header_release(&h);
    }
    mutex_lock(&s->lock);
    if (changed_s >= s->clock)
        s->clock = changed_s + 1;
    const bool added = add_entry(s, &e);
    mutex_unlock(&s->lock);
    if (!added)
        entry_release(&e);
    return added;
}

static bool scan(struct kv_store *s) {
    struct quern_error err;
    const bool ok = data_dir_list(s->dir, scan_file, s, &err) == QUERN_OK;
    mutex_lock(&s->lock);
    make_room(s, 0);
    s->scanned = true;
    mutex_unlock(&s->lock);
    return ok;
}

static void read_block(void *user, size_t i, void *data) {
    struct kv_store *s = user;
    s->setup.read_block(s->setup.user, s->job.blocks[i], data);
}

static char *copy_text(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    if (copy)
        memcpy(copy, text, strlen(text) + 1);
    return copy;
}

/* Lists the new file in place of those of its beginnings. */
static bool list_saved(struct kv_store *s, struct entry *e) {
    mutex_lock(&s->lock);
    for (size_t i = s->n_entries; i-- > 0;) {
        const struct entry *old = &s->entries[i];
        if (old->usable && old->n_tokens <= e->n_tokens && strcmp(old->salt, e->salt) == 0 &&
            common(old, e->tokens, e->n_tokens) == old->n_tokens)
            remove_file(s, i);
    }
    e->used = s->clock++;
    const bool added = add_entry(s, e);
    mutex_unlock(&s->lock);
    return added;
}

static bool save(struct kv_store *s) {
    const struct kv_job *job = &s->job;
    struct quern_error err = {0};
    char path[PATH_BYTES];
    struct entry e = {.usable = true, .n_tokens = (uint32_t)job->n_tokens};
    e.bytes = (uint64_t)job->n_blocks * (s->setup.block_bytes + 8) + 4 * (uint64_t)job->n_tokens +
              strlen(job->salt) + 48;
    snprintf(e.name, sizeof e.name, "%016llx%s", (unsigned long long)os_random(), SUFFIX);
    make_path(s, e.name, path);
    e.salt = copy_text(job->salt);
    e.tokens = malloc(job->n_tokens * sizeof *e.tokens);
    mutex_lock(&s->lock);
    bool ok = e.salt && e.tokens && path[0] && make_room(s, e.bytes);
    mutex_unlock(&s->lock);
    if (ok) {
        memcpy(e.tokens, job->tokens, job->n_tokens * sizeof *e.tokens);
        const struct kv_file_header h = {
            .fingerprint = {s->setup.fingerprint[0], s->setup.fingerprint[1]},
            .block_bytes = s->setup.block_bytes,
            .n_tokens = e.n_tokens,
            .salt = e.salt,
            .tokens = e.tokens};
        ok = kv_file_write(path, &h, read_block, s, &err) == QUERN_OK;
        if (!ok)
            log_write(LOG_WARN, "a conversation is not kept on disk: %s", err.message);
        else if (!list_saved(s, &e))
            ok = false;
    }
    if (!ok)
        entry_release(&e);
    return ok;
}

static bool load_blocks(struct kv_store *s, const char *path, struct quern_error *err) {
    const struct kv_job *job = &s->job;
    struct data_file f;
    struct kv_file_header h;
    if (kv_file_open(path, &f, &h, err))
        return false;
    bool ok = h.fingerprint[0] == s->setup.fingerprint[0] &&
              h.fingerprint[1] == s->setup.fingerprint[1] &&
              h.block_bytes == s->setup.block_bytes && h.n_tokens >= job->n_tokens &&
              strcmp(h.salt, job->salt) == 0 &&
              memcmp(h.tokens, job->tokens, job->n_tokens * sizeof *h.tokens) == 0;
    if (!ok)
        error_set(err, QUERN_ERR_FORMAT, "%s: holds something else than before", path);
    for (size_t i = 0; ok && i < job->n_blocks; i++) {
        ok = !kv_file_read_block(&f, &h, job->first_block + i, s->staging, err);
        if (ok)
            s->setup.write_block(s->setup.user, job->blocks[i], s->staging);
    }
    data_file_close(&f);
    kv_file_header_release(&h);
    return ok;
}

static bool load(struct kv_store *s) {
    char path[PATH_BYTES] = "", name[NAME_BYTES] = "";
    struct quern_error err = {0};
    size_t n_same;
    mutex_lock(&s->lock);
    struct entry *e = best_entry(s, s->job.salt, s->job.tokens, s->job.n_tokens, &n_same);
    if (e && n_same == s->job.n_tokens) {
        memcpy(name, e->name, sizeof name);
        e->used = s->clock++;
    }
    mutex_unlock(&s->lock);
    if (!name[0])
        return false;
    make_path(s, name, path);
    const bool ok = load_blocks(s, path, &err);
    if (ok) {
        data_file_touch(path);
        return true;
    }
    log_write(LOG_WARN, "a conversation kept on disk cannot be used: %s", err.message);
    mutex_lock(&s->lock);
    for (size_t i = s->n_entries; i-- > 0;)
        if (strcmp(s->entries[i].name, name) == 0)
            remove_file(s, i);
    mutex_unlock(&s->lock);
    return false;
}

static void run_thread(void *arg) {
    struct kv_store *s = arg;
    mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && (s->kind == JOB_NONE || s->done))
            condition_wait(&s->changed, &s->lock);
        if (s->kind == JOB_NONE || s->done)
            break; /* told to stop, and nothing is left to do */
        const enum job_kind kind = s->kind;
        mutex_unlock(&s->lock);
        const bool ok = kind == JOB_SCAN ? scan(s) : kind == JOB_SAVE ? save(s) : load(s);
        mutex_lock(&s->lock);
        s->ok = ok;
        if (kind == JOB_SCAN)
            s->kind = JOB_NONE;
        else
            s->done = true;
        condition_signal_all(&s->changed);
        mutex_unlock(&s->lock);
        s->setup.on_done(s->setup.user);
        mutex_lock(&s->lock);
    }
    mutex_unlock(&s->lock);
}

/* ---- the engine's side -------------------------------------------------------------------- */

enum quern_status kv_store_create(const struct kv_store_setup *setup, struct kv_store **out,
                                  struct quern_error *err) {
    enum quern_status status = os_make_private_dir(setup->dir, err);
    if (status)
        return status;
    struct kv_store *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    s->setup = *setup;
    s->kind = JOB_SCAN;
    s->staging = malloc(setup->block_bytes);
    status =
        s->staging ? os_path_join(s->dir, sizeof s->dir, setup->dir, "", err) : error_nomem(err);
    if (status)
        goto fail;
    status = mutex_init(&s->lock, err);
    if (status)
        goto fail;
    status = condition_init(&s->changed, err);
    if (status)
        goto fail_lock;
    status = thread_start(&s->thread, "quern-kv-disk", run_thread, s, err);
    if (status)
        goto fail_condition;
    *out = s;
    return QUERN_OK;
fail_condition:
    condition_release(&s->changed);
fail_lock:
    mutex_release(&s->lock);
fail:
    free(s->staging);
    free(s);
    return status;
}

void kv_store_destroy(struct kv_store *s) {
    if (!s)
        return;
    mutex_lock(&s->lock);
    s->stop = true;
    condition_signal_all(&s->changed);
    mutex_unlock(&s->lock);
    thread_join(&s->thread);
    for (size_t i = 0; i < s->n_entries; i++)
        entry_release(&s->entries[i]);
    condition_release(&s->changed);
    mutex_release(&s->lock);
    free(s->entries);
    free(s->staging);
    free(s);
}

bool kv_store_is_opening(struct kv_store *s) {
    mutex_lock(&s->lock);
    const bool opening = !s->scanned;
    mutex_unlock(&s->lock);
    return opening;
}

bool kv_store_is_busy(struct kv_store *s) {
    mutex_lock(&s->lock);
    const bool busy = s->kind != JOB_NONE;
    mutex_unlock(&s->lock);
    return busy;
}

size_t kv_store_find(struct kv_store *s, const char *salt, const int32_t *tokens, size_t n) {
    size_t n_same;
    mutex_lock(&s->lock);
    best_entry(s, salt, tokens, n, &n_same);
    mutex_unlock(&s->lock);
    return n_same;
}

static void begin(struct kv_store *s, enum job_kind kind, const struct kv_job *job) {
    mutex_lock(&s->lock);
    s->kind = kind;
    s->job = *job;
    s->done = false;
    condition_signal_all(&s->changed);
    mutex_unlock(&s->lock);
}

void kv_store_save(struct kv_store *s, const struct kv_job *job) {
    begin(s, JOB_SAVE, job);
}

void kv_store_load(struct kv_store *s, const struct kv_job *job) {
    begin(s, JOB_LOAD, job);
}

bool kv_store_take_result(struct kv_store *s, bool *ok) {
    mutex_lock(&s->lock);
    const bool done = s->done;
    if (done) {
        *ok = s->ok;
        s->done = false;
        s->kind = JOB_NONE;
    }
    mutex_unlock(&s->lock);
    return done;
}

void kv_store_wait(struct kv_store *s) {
    mutex_lock(&s->lock);
    while (s->kind != JOB_NONE && !s->done)
        condition_wait(&s->changed, &s->lock);
    mutex_unlock(&s->lock);
}
