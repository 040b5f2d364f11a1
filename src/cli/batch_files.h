/* batch_files.h - the two files of a batch: requests in, one a line, results out, appended.
 *
 * What is in the output decides what is left to do, so that a job killed at any moment goes on
 * where it was: a result is one write of a whole line, flushed to the disk at most a second later
 * and at the end. A kill loses no line that was written; a power failure at most the last second's,
 * and they are made again. A last line that is not whole is cut off. */
#ifndef QUERN_CLI_BATCH_FILES_H
#define QUERN_CLI_BATCH_FILES_H

#include "base/map.h"
#include "base/os.h"
#include "base/str.h"

struct batch_line {
    struct str text; /* in the mapping; without the newline */
    char *custom_id; /* own; NULL: the line has none that can be used */
    bool done;
};

struct batch_input {
    struct os_map map;
    struct batch_line *lines; /* [n_lines] all but empty ones */
    size_t *numbers;          /* [n_lines] as editors count, from 1 */
    size_t n_lines, capacity;
    struct map by_id; /* custom_id to index */
};

/* Two lines with the same custom_id are an error: results could not be told apart. Lines that are
 * no requests are none: they get an error as their result. */
enum quern_status batch_input_open(struct batch_input *in, const char *path,
                                   struct quern_error *err);
void batch_input_close(struct batch_input *in); /* zeroed is fine */

struct batch_output {
    int fd;
    const char *path;
    uint64_t flushed_ns;
    bool dirty;
    size_t n_found; /* results that were there */
    bool cut;       /* a last line that was not whole is gone */
};

/* Opens or makes the file, takes it for this process alone, marks the lines that have a result. A
 * file that holds anything else is left as it is and refused. */
enum quern_status batch_output_open(struct batch_output *out, const char *path,
                                    struct batch_input *in, struct quern_error *err);
/* Appends a whole line, newline included. */
enum quern_status batch_output_write(struct batch_output *out, const struct buffer *line,
                                     struct quern_error *err);
/* Flushes when the last time is a second ago, or at once when `now`. */
enum quern_status batch_output_flush(struct batch_output *out, bool now, struct quern_error *err);
void batch_output_close(struct batch_output *out); /* zeroed is not fine: fd -1 */

#endif
