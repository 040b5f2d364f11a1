/* file_writer.h - a file written piece by piece under a temporary name beside its own, flushed to
 * the disk, and only then renamed: readers see the old file or the whole new one. For content
 * held in memory, see os_write_file. */
#ifndef QUERN_BASE_FILE_WRITER_H
#define QUERN_BASE_FILE_WRITER_H

#include <stddef.h>

#include "base/error.h"

struct file_writer {
    int fd;                 /* -1: closed */
    char *path, *temp_path; /* NULL: nothing to publish or remove */
};

enum quern_status file_writer_init(struct file_writer *w, const char *path,
                                   struct quern_error *err);
/* Unbuffered: give it pieces of many kilobytes. */
enum quern_status file_writer_write(struct file_writer *w, const void *data, size_t size_bytes,
                                    struct quern_error *err);
/* Flushes to the disk and closes; the file still has its temporary name. */
enum quern_status file_writer_close(struct file_writer *w, struct quern_error *err);
/* Gives a closed file its name. The directory is not flushed: see file_writer_flush_dir. */
enum quern_status file_writer_publish(struct file_writer *w, struct quern_error *err);
/* Removes what was not published. Zeroed is fine. */
void file_writer_release(struct file_writer *w);

/* Makes renames and removals in `dir` durable, where the file system knows how. */
void file_writer_flush_dir(const char *dir);
/* Flushes a file that somebody else has written and closed. */
enum quern_status file_writer_flush_file(const char *path, struct quern_error *err);
/* Renames, over an existing file too. */
enum quern_status file_writer_rename(const char *from, const char *to, struct quern_error *err);

#endif
