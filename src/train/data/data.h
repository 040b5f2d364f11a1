/* data.h - training data: files of JSONL as examples of token ids, made once and kept in a file. */
#ifndef QUERN_TRAIN_DATA_H
#define QUERN_TRAIN_DATA_H

#include "base/os.h"
#include "base/threads.h"
#include "train/data/example.h"

struct data_example {
    const uint32_t *tokens; /* [n] ids; DATA_TRAINED is set where the model is to say the token */
    size_t n;
};
#define DATA_TRAINED (UINT32_C(1) << 31)

struct train_data {
    uint64_t hash;          /* of the files, the tokenizer, the template and the options */
    size_t n_examples, n_tokens, n_trained, n_cut, n_skipped, longest;
    uint64_t *starts; /* [n_examples + 1] into tokens */
    uint32_t *tokens;       /* own; NULL: in the map */
    struct os_map map;
    const uint32_t *words; /* the tokens, wherever they are */
    bool from_cache;
};

struct train_data_options {
    const char *const *paths;
    size_t n_paths;
    const char *cache_dir; /* NULL: nothing is kept */
    uint64_t hash_seed;    /* of what else an example depends on: tokenizer, template */
    struct thread_pool *pool;
    void (*on_progress)(void *user, double fraction);
    bool (*is_cancelled)(void *user); /* may be NULL */
    void *user;
};

/* Where a record went wrong, so that it can be shown. */
struct data_problem {
    const char *path; /* of the options; NULL: no record's fault */
    size_t line;      /* from 1 */
    bool is_untrained;
};

/* Blank lines are nothing. A line that is no example, or has no trained token, is an error that names
 * file and line. An example that is cut before its first trained token is left out and counted. */
enum quern_status train_data_open(const struct example_maker *maker,
                                  const struct train_data_options *options, struct train_data *out,
                                  struct data_problem *problem, struct quern_error *err);
void train_data_close(struct train_data *d); /* zeroed is fine */

static inline struct data_example train_data_at(const struct train_data *d, size_t i) {
    return (struct data_example){d->words + d->starts[i], (size_t)(d->starts[i + 1] - d->starts[i])};
}

/* The record of one line, for showing it; freed by json_decref. */
enum quern_status train_data_record(const char *path, size_t line, json_t **out,
                                    struct quern_error *err);

/* A number for the files of a model directory that decide about ids: tokenizer and template. */
enum quern_status train_data_hash_model(const char *dir, uint64_t *hash, struct quern_error *err);

#endif
