/* os.h - everything that asks the operating system. OS conditionals live in os.c
 * only. */
#ifndef QUERN_BASE_OS_H
#define QUERN_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* A regular file mapped read-only. Whoever shortens the file while it is mapped kills the
 * process with SIGBUS when the lost part is read, as with any mapping. */
struct os_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t size_bytes;
};

enum quern_status os_map_open(struct os_map *map, const char *path, struct quern_error *err);
void os_map_close(struct os_map *map); /* zeroed is fine */

/* Gives the memory of the whole pages in [p, p + bytes) of a mapped file back; only for such, since other
 * memory would lose its contents. */
void os_map_forget(const void *p, size_t bytes);
/* All of a mapped file will be read soon: the system may begin to fetch it. */
void os_map_will_need(const void *p, size_t bytes);

/* What tells a file from what it was before. */
struct os_file_stamp {
    uint64_t size_bytes;
    int64_t changed_ns; /* since 1970 */
};
bool os_file_stamp(const char *path, struct os_file_stamp *out); /* false: there is no such file */
/* `path` without links, dots and the working directory; QUERN_ERR_LIMIT when it does not fit. */
enum quern_status os_real_path(char *dst, size_t dst_size, const char *path, struct quern_error *err);

/* Appends the whole file to *out, for a path a person gave: it may be a pipe. Fails beyond
 * max_bytes, naming path and sizes. */
enum quern_status os_read_file(const char *path, size_t max_bytes, struct buffer *out,
                               struct quern_error *err);
/* The same for a file found in a directory that somebody else may have filled: a pipe, on which
 * opening could wait forever, or a device is refused. */
enum quern_status os_read_regular(const char *path, size_t max_bytes, struct buffer *out,
                                  struct quern_error *err);
/* Reads a stream to its end. `what` names it in errors. */
enum quern_status os_read_fd(int fd, const char *what, size_t max_bytes, struct buffer *out,
                             struct quern_error *err);
/* Writes all of it. `what` names the file in errors. */
enum quern_status os_write_fd(int fd, const char *what, const void *data, size_t size_bytes,
                              struct quern_error *err);
/* Writes beside `path` and renames, so that readers see the old file or the new, and flushes
 * to the disk. A symbolic link is followed, an existing file's mode is kept; a device or pipe
 * is written directly. */
enum quern_status os_write_file(const char *path, const void *data, size_t size_bytes,
                                struct quern_error *err);
/* With its parents; existing is fine. */
enum quern_status os_make_dir(const char *path, struct quern_error *err);
/* The same, but a directory it makes is closed to other users (its parents are not). */
enum quern_status os_make_private_dir(const char *path, struct quern_error *err);

/* Waits until a read from fd would not block. False when a signal came instead, or nothing for a quarter
 * of a second: one that came just before the wait is seen then. */
bool os_wait_readable(int fd);

bool os_file_exists(const char *path);
bool os_is_dir(const char *path);
enum quern_status os_dir_is_empty(const char *path, bool *out, struct quern_error *err);
/* Takes the directory for this open file alone: until it is closed, or the process ends. QUERN_ERR_STATE
 * when another has it, *fd -1 on failure; a file system without locks lets everybody in. */
enum quern_status os_lock_dir(const char *path, int *fd, struct quern_error *err);
void os_unlock_dir(int fd); /* -1 is fine */
/* The directory and the files in it, as far as possible; directories in it stay, and it then. */
void os_remove_dir(const char *path);
bool os_is_tty(int fd);

/* "dir/name" into dst; QUERN_ERR_LIMIT when it does not fit. */
enum quern_status os_path_join(char *dst, size_t dst_size, const char *dir, const char *name,
                               struct quern_error *err);

uint64_t os_now_ns(void); /* monotonic */
uint64_t os_thread_cpu_ns(void); /* what the calling thread has computed so far */
void os_sleep_ns(uint64_t ns);
uint64_t os_random(void); /* from the system's source: for seeds and names, not for sampling */
unsigned long os_hwcap(void); /* the processor's abilities as Linux numbers them; 0 elsewhere */
unsigned long os_hwcap2(void); /* more of them */
/* Asks for the registers of AMX, for this process and its threads. False: they are not to be had. */
bool os_permit_tiles(void);
int os_cpu_count(void);   /* cores this process may use, at least 1 */
int os_memory_nodes(void); /* memories with cores near them (NUMA), at least 1 */
/* Keeps the calling thread on the index-th of the cores it may use, counted round. */
void os_pin_thread(int index);
size_t os_rss_bytes(void);      /* 0 when unknown */
/* Physical memory, or what of it a container leaves to this process; 0 when unknown. */
size_t os_memory_bytes(void);
/* What of it is free or can be freed now, such as cached files; 0 when unknown. */
size_t os_memory_available_bytes(void);
int os_terminal_columns(int fd); /* 80 when unknown */

#endif
