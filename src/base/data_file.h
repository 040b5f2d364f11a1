/* data_file.h - a file read in pieces by position, and the files of a directory: for data too large
 * to map or to hold. */
#ifndef QUERN_BASE_DATA_FILE_H
#define QUERN_BASE_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct data_file {
    int fd; /* -1: closed */
    uint64_t size_bytes;
    const char *path; /* borrowed, for messages */
};

/* A regular file, for reading. */
enum quern_status data_file_open(struct data_file *f, const char *path, struct quern_error *err);
/* The same for reading and writing; made when it is missing. */
enum quern_status data_file_open_to_write(struct data_file *f, const char *path,
                                          struct quern_error *err);
void data_file_close(struct data_file *f);
/* All n bytes; QUERN_ERR_FORMAT when the file ends before. */
enum quern_status data_file_read(const struct data_file *f, uint64_t offset, void *out, size_t n,
                                 struct quern_error *err);
/* All n bytes, at `offset`, beyond the end too. */
enum quern_status data_file_write(struct data_file *f, uint64_t offset, const void *data, size_t n,
                                  struct quern_error *err);
enum quern_status data_file_truncate(struct data_file *f, uint64_t size_bytes,
                                     struct quern_error *err);

/* Calls fn for every name in `dir` that does not begin with a dot, in no order, with the time of
 * its last change in seconds since 1970. fn may remove the file; false ends the listing. */
enum quern_status data_dir_list(const char *dir,
                                bool (*fn)(void *user, const char *name, int64_t changed_s),
                                void *user, struct quern_error *err);
/* A missing file is fine. */
enum quern_status data_file_remove(const char *path, struct quern_error *err);
/* Sets the time of the last change to now; failures do not matter. */
void data_file_touch(const char *path);

#endif
