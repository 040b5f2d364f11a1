#include "tokenizer/word_count.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/os.h"
#include "text/unicode.h"
#include "tokenizer/hash.h"
#include "tokenizer/qwen_scanner.h"

enum { FIRST_SLOTS = 1 << 12, QWEN_DIGITS = 1, RECORDS_AT_ONCE = 16 };

/* One thread's words. A slot is free while its count is 0. */
struct word_table {
    struct word_count *slots; /* [mask + 1] */
    size_t mask, n;
    struct arena arena; /* the words' bytes */
    struct buffer clean, normal;
    enum quern_status failed;
    size_t failed_at; /* the record */
    struct quern_error err;
};

struct word_sink {
    struct word_table *table;
    uint64_t seed;
};

struct word_counter {
    struct thread_pool *pool;
    struct word_table *tables;
    size_t n_tables;
    uint64_t seed;
    struct word_count *words; /* [n_words] after finishing */
    /* The records being counted. */
    word_texts_fn *texts;
    void *user;
    size_t n_records;
    atomic_size_t next;
};

enum quern_status word_counter_create(struct thread_pool *pool, struct word_counter **out,
                                      struct quern_error *err) {
    struct word_counter *c = calloc(1, sizeof *c);
    if (!c)
        return error_nomem(err);
    c->pool = pool;
    c->seed = os_random();
    c->tables = calloc((size_t)thread_pool_size(pool), sizeof *c->tables);
    if (!c->tables)
        goto fail;
    c->n_tables = (size_t)thread_pool_size(pool);
    for (size_t i = 0; i < c->n_tables; i++) {
        struct word_table *t = &c->tables[i];
        buffer_init(&t->clean, SIZE_MAX / 4);
        buffer_init(&t->normal, SIZE_MAX / 4);
        t->slots = calloc(FIRST_SLOTS, sizeof *t->slots);
        if (!t->slots)
            goto fail;
        t->mask = FIRST_SLOTS - 1;
    }
    *out = c;
    return QUERN_OK;
fail:
    word_counter_destroy(c);
    return error_nomem(err);
}

void word_counter_destroy(struct word_counter *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->n_tables; i++) {
        free(c->tables[i].slots);
        arena_release(&c->tables[i].arena);
        buffer_release(&c->tables[i].clean);
        buffer_release(&c->tables[i].normal);
    }
    free(c->tables);
    free(c->words);
    free(c);
}

/* ---- a table --------------------------------------------------------------------- */

static bool grow(struct word_table *t, uint64_t seed) {
    size_t n_slots;
    if (!checked_mul(t->mask + 1, 2, &n_slots))
        return false;
    struct word_count *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i <= t->mask; i++) {
        if (!t->slots[i].count)
            continue;
        size_t at = hash_bytes(t->slots[i].bytes, t->slots[i].len, seed) & (n_slots - 1);
        while (slots[at].count)
            at = (at + 1) & (n_slots - 1);
        slots[at] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->mask = n_slots - 1;
    return true;
}

/* `keep`: the bytes stay where they are. */
static enum quern_status count_word(struct word_table *t, uint64_t seed, const unsigned char *bytes,
                                    size_t len, uint64_t count, bool keep) {
    const uint64_t hash = hash_bytes(bytes, len, seed);
    size_t at = hash & t->mask;
    if (len > UINT32_MAX)
        return QUERN_ERR_LIMIT;
    for (; t->slots[at].count; at = (at + 1) & t->mask) {
        struct word_count *s = &t->slots[at];
        if (s->tag == (uint32_t)(hash >> 32) && s->len == len && memcmp(s->bytes, bytes, len) == 0) {
            s->count += count;
            return QUERN_OK;
        }
    }
    if (!keep)
        bytes = (const unsigned char *)arena_strndup(&t->arena, (const char *)bytes, len);
    if (!bytes)
        return QUERN_ERR_NOMEM;
    t->slots[at] = (struct word_count){bytes, (uint32_t)len, (uint32_t)(hash >> 32), count};
    t->n++;
    if (4 * t->n > 3 * t->mask && !grow(t, seed))
        return QUERN_ERR_NOMEM;
    return QUERN_OK;
}

static enum quern_status report(enum quern_status status, struct quern_error *err) {
    if (status == QUERN_ERR_LIMIT)
        return error_set(err, status, "a word of the text is too long");
    return status ? error_nomem(err) : QUERN_OK;
}

enum quern_status word_sink_add(struct word_sink *s, struct str text, struct quern_error *err) {
    struct word_table *t = s->table;
    if (!utf8_valid(text)) {
        buffer_clear(&t->clean);
        if (utf8_sanitize(text, &t->clean))
            return error_nomem(err);
        text = buffer_str(&t->clean);
    }
    if (!unicode_is_normalized_fast(text, UNICODE_NFC)) {
        buffer_clear(&t->normal);
        if (unicode_normalize(text, UNICODE_NFC, &t->normal))
            return error_nomem(err);
        text = buffer_str(&t->normal);
    }
    for (size_t at = 0; at < text.len;) {
        size_t end = qwen_scanner_next(text, at, QWEN_DIGITS);
        enum quern_status status =
            count_word(t, s->seed, (const unsigned char *)text.ptr + at, end - at, 1, false);
        if (status)
            return report(status, err);
        at = end;
    }
    return QUERN_OK;
}

/* ---- all of them ----------------------------------------------------------------- */

static void work(void *ctx, int worker, int n_workers) {
    struct word_counter *c = ctx;
    struct word_table *t = &c->tables[worker];
    struct word_sink sink = {t, c->seed};
    (void)n_workers;
    while (!t->failed) {
        size_t first = atomic_fetch_add(&c->next, RECORDS_AT_ONCE);
        if (first >= c->n_records)
            return;
        size_t end = c->n_records - first > RECORDS_AT_ONCE ? first + RECORDS_AT_ONCE
                                                            : c->n_records;
        for (size_t i = first; i < end && !t->failed; i++) {
            t->failed_at = i;
            t->failed = c->texts(c->user, i, &sink, &t->err);
        }
    }
}

/* Records are handed out in order, so the first that fails is always met. */
enum quern_status word_counter_add(struct word_counter *c, size_t n, word_texts_fn *texts,
                                   void *user, struct quern_error *err) {
    const struct word_table *failed = NULL;
    c->texts = texts;
    c->user = user;
    c->n_records = n;
    atomic_store(&c->next, 0);
    thread_pool_run(c->pool, work, c);
    for (size_t i = 0; i < c->n_tables; i++)
        if (c->tables[i].failed && (!failed || c->tables[i].failed_at < failed->failed_at))
            failed = &c->tables[i];
    if (failed && err)
        *err = failed->err;
    return failed ? failed->failed : QUERN_OK;
}

enum quern_status word_counter_finish(struct word_counter *c, const struct word_count **words,
                                      size_t *n, struct quern_error *err) {
    struct word_table *all = &c->tables[0];
    enum quern_status status = QUERN_OK;
    for (size_t i = 1; i < c->n_tables && !status; i++)
        for (size_t j = 0; j <= c->tables[i].mask && !status; j++)
            if (c->tables[i].slots[j].count)
                status = count_word(all, c->seed, c->tables[i].slots[j].bytes,
                                    c->tables[i].slots[j].len, c->tables[i].slots[j].count, true);
    if (status)
        return report(status, err);
    c->words = malloc((all->n + 1) * sizeof *c->words);
    if (!c->words)
        return error_nomem(err);
    *n = 0;
    for (size_t j = 0; j <= all->mask; j++)
        if (all->slots[j].count)
            c->words[(*n)++] = all->slots[j];
    *words = c->words;
    return QUERN_OK;
}
