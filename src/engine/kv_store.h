/* kv_store.h - a directory of conversations' keys and values (kv_file.h), with a bound on its size:
 * the ones used least recently go first. A thread of the store's own reads and writes; the engine
 * gives it one job at a time and hears when it is done.
 *
 * Functions are called by one thread (the engine's); blocks of a job belong to the store until it
 * is done. */
#ifndef QUERN_ENGINE_KV_STORE_H
#define QUERN_ENGINE_KV_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct kv_store;

struct kv_store_setup {
    const char *dir; /* made when missing, closed to other users */
    uint64_t max_bytes;
    uint64_t fingerprint[2];
    size_t block_bytes;
    /* Called from the store's thread, for blocks that nobody else writes to. */
    void (*read_block)(void *user, int32_t block, void *host);
    void (*write_block)(void *user, int32_t block, const void *host);
    void (*on_done)(void *user); /* a job has ended */
    void *user;
};

/* What a job is about; borrowed until it is done. */
struct kv_job {
    const char *salt;
    const int32_t *tokens; /* [n_tokens] */
    size_t n_tokens;
    const int32_t *blocks; /* of the pool: of tokens 32 * first_block and on */
    size_t first_block, n_blocks;
};

/* Looks through the directory on its thread. */
enum quern_status kv_store_create(const struct kv_store_setup *setup, struct kv_store **out,
                                  struct quern_error *err);
/* Ends a running job first. */
void kv_store_destroy(struct kv_store *s); /* NULL is fine */

/* Still looking through the directory: kv_store_find knows nothing yet. */
bool kv_store_is_opening(struct kv_store *s);
bool kv_store_is_busy(struct kv_store *s);

/* How many of tokens[n] the best file begins with; 0: none. */
size_t kv_store_find(struct kv_store *s, const char *salt, const int32_t *tokens, size_t n);

/* Not while it is busy. A save begins at block 0; files of beginnings of the same conversation
 * are removed after it. A load takes the best file for tokens[n_tokens], which must hold them. */
void kv_store_save(struct kv_store *s, const struct kv_job *job);
void kv_store_load(struct kv_store *s, const struct kv_job *job);
/* True once, when the job has ended; *ok: it succeeded. */
bool kv_store_take_result(struct kv_store *s, bool *ok);
void kv_store_wait(struct kv_store *s); /* until it is not busy */

#endif
