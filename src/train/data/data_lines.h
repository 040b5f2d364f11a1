/* data_lines.h - the lines of a text file, some at a time: of a file larger than memory only what is at
 * hand is held. */
#ifndef QUERN_TRAIN_DATA_LINES_H
#define QUERN_TRAIN_DATA_LINES_H

#include "base/buffer.h"
#include "base/data_file.h"
#include "base/str.h"

enum { DATA_LINE_MAX_BYTES = 256 << 20 };

struct data_lines {
    struct data_file file;
    struct buffer text;
    size_t at;       /* in the text: what was not given yet */
    uint64_t offset; /* in the file, of text's end */
    size_t line;     /* lines given so far */
};

/* From `offset` on, where line number `line` + 1 begins. */
enum quern_status data_lines_open(struct data_lines *l, const char *path, uint64_t offset, size_t line,
                                  struct quern_error *err);
void data_lines_close(struct data_lines *l); /* zeroed is fine */
/* Up to `max` whole lines, the last without a line feed perhaps; good until the next call. *n is 0 at the
 * end of the file. */
enum quern_status data_lines_next(struct data_lines *l, struct str *lines, size_t max, size_t *n,
                                  struct quern_error *err);
/* Where the next line begins. */
uint64_t data_lines_offset(const struct data_lines *l);

#endif
