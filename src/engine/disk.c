/* disk.c - conversations between their turns, on disk: written once they have been idle for a
 * while, read back when a prompt begins with more of one than memory still has. The store's thread
 * does the work; steps go on meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/os.h"
#include "engine/engine_internal.h"
#include "engine/kv_file.h"
#include "model/fingerprint.h"

_Static_assert((int)KV_FILE_BLOCK_TOKENS == (int)PREFIX_BLOCK_TOKENS, "files hold whole blocks");

/* Shorter ones are computed again sooner than they are worth the room. */
enum { MIN_TOKENS = 64 };
/* A conversation that goes on at once is not written twice while there is room. */
static const uint64_t IDLE_NS = 2000000000u;

/* ---- conversations -------------------------------------------------------------------- */

static void conversation_release(struct conversation *c) {
    free(c->salt);
    free(c->tokens);
    *c = (struct conversation){0};
}

static bool begins_with(const struct conversation *c, const struct conversation *beginning) {
    return beginning->n_tokens <= c->n_tokens && strcmp(c->salt, beginning->salt) == 0 &&
           memcmp(c->tokens, beginning->tokens, beginning->n_tokens * sizeof *c->tokens) == 0;
}

static void drop_unsaved(struct disk *d, size_t i) {
    conversation_release(&d->unsaved[i]);
    d->n_unsaved--;
    memmove(d->unsaved + i, d->unsaved + i + 1, (d->n_unsaved - i) * sizeof d->unsaved[0]);
}

static bool conversation_copy(struct conversation *out, const char *salt, const int32_t *tokens,
                              size_t n_tokens) {
    *out = (struct conversation){.n_tokens = n_tokens};
    out->salt = malloc(strlen(salt) + 1);
    out->tokens = malloc(n_tokens * sizeof *out->tokens);
    if (!out->salt || !out->tokens) {
        conversation_release(out);
        return false;
    }
    memcpy(out->salt, salt, strlen(salt) + 1);
    memcpy(out->tokens, tokens, n_tokens * sizeof *out->tokens);
    return true;
}

void disk_note(struct engine *e, const struct request *r, size_t n_tokens) {
    struct disk *d = &e->disk;
    struct conversation c;
    if (!d->store || r->kind != QUERN_REQUEST_GENERATE || n_tokens < MIN_TOKENS ||
        !conversation_copy(&c, r->salt, r->tokens, n_tokens))
        return;
    c.ended_ns = os_now_ns();
    for (size_t i = d->n_unsaved; i-- > 0;)
        if (begins_with(&c, &d->unsaved[i]))
            drop_unsaved(d, i);
    if (d->n_unsaved == DISK_CONVERSATIONS)
        drop_unsaved(d, 0);
    d->unsaved[d->n_unsaved++] = c;
}

/* ---- what the files belong to ----------------------------------------------------------- */

/* Everything that decides a block's bits. */
static void make_fingerprint(const struct engine *e, uint64_t fingerprint[2]) {
    char text[256];
    size_t len;
    kv_pool_describe(e->pool, text, sizeof text);
    len = strlen(text);
    model_fingerprint(e->model, &e->rope, fingerprint);
    fingerprint[0] = checksum64(fingerprint[0], text, len);
    fingerprint[1] = checksum64(fingerprint[1], quern_version(), strlen(quern_version()));
}

/* ---- jobs --------------------------------------------------------------------------------- */

static void read_block(void *user, int32_t block, void *host) {
    kv_pool_read(((struct engine *)user)->pool, block, host);
}

static void write_block(void *user, int32_t block, const void *host) {
    kv_pool_write(((struct engine *)user)->pool, block, host);
}

static void on_done(void *user) {
    engine_wake(user);
}

/* Gives the store's thread its job: blocks from `first` on. */
static void hand_over(struct disk *d, bool loading, size_t first) {
    const struct kv_job job = {.salt = d->at_work.salt,
                               .tokens = d->at_work.tokens,
                               .n_tokens = d->at_work.n_tokens,
                               .blocks = d->blocks + first,
                               .first_block = first,
                               .n_blocks = d->n_blocks - first};
    d->loading = loading;
    if (loading)
        kv_store_load(d->store, &job);
    else
        kv_store_save(d->store, &job);
}

static void release_job(struct engine *e) {
    struct disk *d = &e->disk;
    for (size_t i = 0; i < d->n_blocks; i++)
        kv_pool_unref(e->pool, d->blocks[i]);
    d->n_blocks = 0;
    d->for_order = 0;
    conversation_release(&d->at_work);
}

static void end_job(struct engine *e) {
    struct disk *d = &e->disk;
    bool ok;
    if (!kv_store_take_result(d->store, &ok))
        return;
    if (ok && d->loading)
        prefix_cache_insert(e->cache, d->at_work.salt, d->at_work.tokens, d->at_work.n_tokens,
                            d->blocks);
    mutex_lock(&e->lock);
    e->stats.disk_loads += ok && d->loading;
    e->stats.disk_stores += ok && !d->loading;
    mutex_unlock(&e->lock);
    release_job(e);
}

/* The longest part of it that is still in memory; false when there is nothing to be written. */
static bool begin_save(struct engine *e, size_t i) {
    struct disk *d = &e->disk;
    struct prefix_match match;
    d->at_work = d->unsaved[i];
    d->unsaved[i] = (struct conversation){0};
    drop_unsaved(d, i);
    struct conversation *c = &d->at_work;
    prefix_cache_match(e->cache, c->salt, c->tokens, c->n_tokens, d->blocks, &match);
    d->n_blocks = match.n_blocks;
    if (match.n_partial)
        d->blocks[d->n_blocks++] = match.partial;
    c->n_tokens = match.n_blocks * PREFIX_BLOCK_TOKENS + match.n_partial;
    if (c->n_tokens < MIN_TOKENS ||
        kv_store_find(d->store, c->salt, c->tokens, c->n_tokens) == c->n_tokens) {
        release_job(e);
        return false;
    }
    hand_over(d, false, 0);
    return true;
}

/* When the oldest of them is written: at once when the next prompt may take its memory. */
static uint64_t save_at_ns(const struct engine *e) {
    const bool tight = e->pool->n_free < e->n_context / PREFIX_BLOCK_TOKENS;
    return e->disk.unsaved[0].ended_ns + (tight ? 0 : IDLE_NS);
}

void disk_tick(struct engine *e, uint64_t now_ns) {
    struct disk *d = &e->disk;
    if (!d->store)
        return;
    end_job(e);
    while (d->n_unsaved > 0 && now_ns >= save_at_ns(e) && !kv_store_is_busy(d->store))
        if (begin_save(e, 0))
            return;
}

uint64_t disk_next_event_ns(const struct engine *e) {
    const struct disk *d = &e->disk;
    if (!d->store || d->n_unsaved == 0 || kv_store_is_busy(d->store))
        return UINT64_MAX; /* a job's end wakes the engine */
    return save_at_ns(e);
}

/* ---- reading back ---------------------------------------------------------------------------- */

/* The blocks of memory that it begins with, and new ones for the rest. */
static bool begin_load(struct engine *e, struct request *r, size_t n_tokens) {
    struct disk *d = &e->disk;
    struct prefix_match match;
    if (!conversation_copy(&d->at_work, r->salt, r->tokens, n_tokens))
        return false;
    prefix_cache_match(e->cache, r->salt, r->tokens, n_tokens, d->blocks, &match);
    if (match.n_partial)
        kv_pool_unref(e->pool, match.partial);
    d->n_blocks = match.n_blocks;
    for (size_t n = kv_file_blocks((uint32_t)n_tokens); d->n_blocks < n;) {
        const int32_t block = schedule_spare_block(e);
        if (block == KV_NO_BLOCK) {
            release_job(e);
            return false;
        }
        d->blocks[d->n_blocks++] = block;
    }
    d->for_order = r->order + 1;
    hand_over(d, true, match.n_blocks);
    return true;
}

bool disk_holds(struct engine *e, struct request *r) {
    struct disk *d = &e->disk;
    const size_t reusable = r->n_tokens - 1;
    if (request_scores(r))
        return false; /* all of it is computed */
    if (!d->store || r->asked_disk)
        return d->store && d->for_order == r->order + 1;
    if (kv_store_is_opening(d->store))
        return true;
    const size_t in_memory = prefix_cache_peek(e->cache, r->salt, r->tokens, reusable, NULL);
    const size_t on_disk = kv_store_find(d->store, r->salt, r->tokens, reusable);
    if (on_disk < in_memory + MIN_TOKENS) {
        r->asked_disk = true;
        return false;
    }
    if (kv_store_is_busy(d->store))
        return true;
    r->asked_disk = true;
    return begin_load(e, r, on_disk);
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

enum quern_status disk_open(struct engine *e, const char *dir, uint64_t max_bytes,
                            struct quern_error *err) {
    struct kv_store_setup setup = {
        .dir = dir,
        .max_bytes = max_bytes,
        .block_bytes = e->pool->layout.block_bytes,
        .read_block = read_block,
        .write_block = write_block,
        .on_done = on_done,
        .user = e,
    };
    e->disk.blocks = calloc(e->n_context / PREFIX_BLOCK_TOKENS + 2, sizeof *e->disk.blocks);
    if (!e->disk.blocks)
        return error_nomem(err);
    make_fingerprint(e, setup.fingerprint);
    const enum quern_status status = kv_store_create(&setup, &e->disk.store, err);
    if (status) {
        free(e->disk.blocks);
        e->disk.blocks = NULL;
    }
    return status;
}

void disk_close(struct engine *e) {
    struct disk *d = &e->disk;
    if (!d->store)
        return;
    do {
        kv_store_wait(d->store);
        end_job(e);
    } while (kv_store_is_busy(d->store));
    while (d->n_unsaved > 0) {
        if (begin_save(e, 0)) {
            kv_store_wait(d->store);
            end_job(e);
        }
    }
    kv_store_destroy(d->store);
    free(d->blocks);
    *d = (struct disk){0};
}
