/* data_source.h - records of files as blocks of examples. */
#ifndef QUERN_TRAIN_DATA_SOURCE_H
#define QUERN_TRAIN_DATA_SOURCE_H

#include "base/os.h"
#include "base/threads.h"
#include "train/data/data_lines.h"
#include "train/data/data_store.h"
#include "train/data/example.h"

#define DATA_TRAINED (UINT32_C(1) << 31)

/* Where a record went wrong, so that it can be shown. */
struct data_problem {
    const char *path; /* of the options; NULL: no record's fault */
    size_t line;      /* from 1 */
    bool is_untrained;
};

struct data_slot;

struct data_source {
    const struct example_maker *maker;
    const char *const *paths;
    size_t n_paths;
    struct thread_pool *pool; /* NULL: the calling thread alone */
    struct data_lines lines;
    struct os_file_stamp *stamps; /* [n_paths] as they were when the hash was taken */
    struct data_place place;      /* of what comes next; file n_paths: nothing does */
    struct data_slot *slots;
    size_t n_slots;
    struct data_problem problem;
    uint64_t bytes_all;
};

/* The files' checksum is chained onto *hash. */
enum quern_status data_source_open(struct data_source *s, const struct example_maker *maker,
                                   const char *const *paths, size_t n_paths, struct thread_pool *pool,
                                   uint64_t *hash, struct quern_error *err);
void data_source_close(struct data_source *s); /* zeroed is fine */

/* The next block, an empty one perhaps. Blank lines are nothing. A line that is no example, or has no trained
 * token, is an error that names file and line. An example that is cut before its first trained token is
 * left out and counted. */
enum quern_status data_source_next(struct data_source *s, struct data_block *out, struct quern_error *err);

/* How much of the text is before `place`. */
double data_source_fraction(const struct data_source *s);

#endif
