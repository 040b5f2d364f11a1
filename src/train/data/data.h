/* data.h - training data: files of JSONL as examples of token ids, made once and kept in a file.
 *
 * Either all is made at opening, or a thread makes it while the rest goes on: some examples ahead of the
 * last that was asked for, never more. What is read does not depend on how fast it was. */
#ifndef QUERN_TRAIN_DATA_H
#define QUERN_TRAIN_DATA_H

#include "train/data/data_source.h"

struct train_data {
    uint64_t hash; /* of the files, the tokenizer, the template and the options */
    /* While a thread makes them: so far. */
    size_t n_examples, n_tokens, n_trained, n_cut, n_skipped, longest;
    bool from_cache; /* nothing had to be made */
    struct data_store store;
    struct data_stream *stream; /* NULL: all is there */
};

struct train_data_options {
    const char *const *paths;
    size_t n_paths;
    const char *cache_dir; /* NULL: nothing is kept, and all is held in memory */
    uint64_t hash_seed;    /* of what else an example depends on: tokenizer, template */
    struct thread_pool *pool;
    /* Examples to be made ahead by a thread; 0: all at opening. Without cache_dir as many are made, and no
     * more than these are ever there. */
    size_t ahead;
    void (*on_progress)(void *user, double fraction);
    bool (*is_cancelled)(void *user); /* may be NULL */
    void *user;
};

/* See data_source_next for what is an error. Paths and maker must outlive the data; *out stays where it is. */
enum quern_status train_data_open(const struct example_maker *maker,
                                  const struct train_data_options *options, struct train_data *out,
                                  struct data_problem *problem, struct quern_error *err);
void train_data_close(struct train_data *d); /* zeroed is fine */

/* Waits until n examples are there, or all that there are: *available. A record that is none is an error
 * when an example behind it is asked for. */
enum quern_status train_data_wait(struct train_data *d, size_t n, size_t *available,
                                  struct data_problem *problem, struct quern_error *err);

/* Examples [starts[i], starts[i + 1]) of words, held in memory. */
enum quern_status train_data_from_words(struct train_data *out, const uint32_t *words,
                                        const uint64_t *starts, size_t n_examples,
                                        struct quern_error *err);

static inline size_t train_data_length(const struct train_data *d, size_t i) {
    return data_store_length(&d->store, i);
}

/* Token ids; DATA_TRAINED is set where the model is to say the token. */
static inline enum quern_status train_data_read(const struct train_data *d, size_t i, uint32_t *out,
                                                struct quern_error *err) {
    return data_store_read(&d->store, i, out, err);
}

/* The record of one line, for showing it; freed by json_decref. NULL: there is no such line. */
enum quern_status train_data_record(const char *path, size_t line, json_t **out,
                                    struct quern_error *err);

/* A number for the files of a model directory that decide about ids: tokenizer and template. */
enum quern_status train_data_hash_model(const char *dir, uint64_t *hash, struct quern_error *err);

#endif
