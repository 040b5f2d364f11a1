#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#endif

#include "base/file_writer.h"

/* read() and write() are asked for at most this much: Linux moves no more in one call. */
static const size_t MAX_IO_BYTES = 1 << 30;
enum { READ_STEP_BYTES = 1 << 16 };

static enum quern_status fail_errno(struct quern_error *err, const char *path, const char *doing) {
    int code = errno;
    return error_set(err, code == ENOMEM ? QUERN_ERR_NOMEM : QUERN_ERR_IO, "%s: cannot %s: %s",
                     path, doing, strerror(code));
}

static int open_retry(const char *path, int flags, mode_t mode) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Opens for reading and refuses what has no content of its own; when `regular`, also what is no
 * file on a disk, and without waiting for somebody to write into a pipe. */
static enum quern_status open_to_read(const char *path, bool regular, int *fd, struct stat *st,
                                      struct quern_error *err) {
    *fd = open_retry(path, O_RDONLY | (regular ? O_NONBLOCK : 0), 0);
    if (*fd < 0)
        return fail_errno(err, path, "open");
    enum quern_status status = QUERN_OK;
    if (fstat(*fd, st))
        status = fail_errno(err, path, "read its size");
    else if (S_ISDIR(st->st_mode))
        status = error_set(err, QUERN_ERR_IO, "%s: is a directory, expected a file", path);
    else if (regular && !S_ISREG(st->st_mode))
        status = error_set(err, QUERN_ERR_IO, "%s: is not a regular file", path);
    if (status)
        close(*fd);
    return status;
}

enum quern_status os_map_open(struct os_map *map, const char *path, struct quern_error *err) {
    int fd;
    struct stat st;
    enum quern_status status = open_to_read(path, true, &fd, &st, err);
    if (status)
        return status;
    if ((uintmax_t)st.st_size > SIZE_MAX) {
        status = error_set(err, QUERN_ERR_LIMIT, "%s: too large for the address space", path);
    } else if (st.st_size == 0) {
        *map = (struct os_map){NULL, 0};
    } else {
        size_t size = (size_t)st.st_size;
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = fail_errno(err, path, "map");
        else
            *map = (struct os_map){data, size};
    }
    close(fd);
    return status;
}

void os_map_close(struct os_map *map) {
    if (!map)
        return;
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size_bytes);
    *map = (struct os_map){NULL, 0};
}

void os_map_forget(const void *p, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)p;
    const uintptr_t begin = (at + page - 1) / page * page, end = (at + bytes) / page * page;
    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* only advice */
}

void os_map_will_need(const void *p, size_t bytes) {
    if (p)
        (void)madvise((void *)(uintptr_t)p, bytes, MADV_WILLNEED);
}

bool os_file_stamp(const char *path, struct os_file_stamp *out) {
    struct stat st;
    if (stat(path, &st))
        return false;
#ifdef __APPLE__
    const struct timespec changed = st.st_mtimespec;
#else
    const struct timespec changed = st.st_mtim;
#endif
    *out = (struct os_file_stamp){(uint64_t)st.st_size,
                                  (int64_t)changed.tv_sec * 1000000000 + (int64_t)changed.tv_nsec};
    return true;
}

enum quern_status os_real_path(char *dst, size_t dst_size, const char *path, struct quern_error *err) {
    char resolved[PATH_MAX];
    if (!realpath(path, resolved))
        return fail_errno(err, path, "resolve");
    const size_t len = strlen(resolved);
    if (len >= dst_size)
        return error_set(err, QUERN_ERR_LIMIT, "%s: path longer than %zu bytes", path, dst_size);
    memcpy(dst, resolved, len + 1);
    return QUERN_OK;
}

/* Grows the buffer for the next read; `room` is how many bytes may still come, plus one
 * to notice that there are more. */
static enum quern_status reserve_step(struct buffer *out, const char *what, size_t room,
                                      struct quern_error *err) {
    size_t step = out->len > READ_STEP_BYTES ? out->len : READ_STEP_BYTES;
    if (step > room)
        step = room;
    size_t left = out->max - out->len;
    if (step > left)
        step = left;
    if (buffer_reserve(out, step))
        return buffer_status(out, what, err);
    return QUERN_OK;
}

static ssize_t read_retry(int fd, void *data, size_t n) {
    ssize_t got;
    do
        got = read(fd, data, n < MAX_IO_BYTES ? n : MAX_IO_BYTES);
    while (got < 0 && errno == EINTR);
    return got;
}

static enum quern_status too_long(const char *what, size_t max_bytes, struct quern_error *err) {
    return error_set(err, QUERN_ERR_LIMIT, "%s: longer than the limit of %zu bytes", what,
                     max_bytes);
}

enum quern_status os_read_fd(int fd, const char *what, size_t max_bytes, struct buffer *out,
                             struct quern_error *err) {
    if (max_bytes > out->max - out->len)
        max_bytes = out->max - out->len;
    size_t begin = out->len;
    for (;;) {
        size_t room = max_bytes - (out->len - begin);
        enum quern_status status = reserve_step(out, what, room, err);
        if (status)
            return status;
        /* At the limit one byte more is asked for: the end must be there. */
        char extra;
        size_t have = out->capacity - out->len - 1;
        if (have > room)
            have = room;
        ssize_t got = read_retry(fd, have ? out->data + out->len : &extra, have ? have : 1);
        if (got < 0)
            return fail_errno(err, what, "read");
        if (got == 0)
            break;
        if (!have)
            return too_long(what, max_bytes, err);
        out->len += (size_t)got;
    }
    out->data[out->len] = '\0';
    return QUERN_OK;
}

static enum quern_status read_file(const char *path, bool regular, size_t max_bytes,
                                   struct buffer *out, struct quern_error *err) {
    int fd;
    struct stat st;
    enum quern_status status = open_to_read(path, regular, &fd, &st, err);
    if (status)
        return status;
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        size_t size = (uintmax_t)st.st_size < SIZE_MAX ? (size_t)st.st_size : SIZE_MAX;
        if (size > max_bytes || size > out->max - out->len)
            status = error_set(err, QUERN_ERR_LIMIT, "%s: %ju bytes, the limit is %zu", path,
                               (uintmax_t)st.st_size, max_bytes);
        else if (buffer_reserve(out, size))
            status = buffer_status(out, path, err);
    }
    if (!status)
        status = os_read_fd(fd, path, max_bytes, out, err);
    close(fd);
    return status;
}

enum quern_status os_read_file(const char *path, size_t max_bytes, struct buffer *out,
                               struct quern_error *err) {
    return read_file(path, false, max_bytes, out, err);
}

enum quern_status os_read_regular(const char *path, size_t max_bytes, struct buffer *out,
                                  struct quern_error *err) {
    return read_file(path, true, max_bytes, out, err);
}

enum quern_status os_write_fd(int fd, const char *what, const void *data, size_t size_bytes,
                              struct quern_error *err) {
    const unsigned char *bytes = data;
    while (size_bytes > 0) {
        ssize_t put = write(fd, bytes, size_bytes < MAX_IO_BYTES ? size_bytes : MAX_IO_BYTES);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(err, what, "write");
        bytes += put;
        size_bytes -= (size_t)put;
    }
    return QUERN_OK;
}

static enum quern_status write_directly(const char *path, const void *data, size_t size_bytes,
                                        struct quern_error *err) {
    int fd = open_retry(path, O_WRONLY, 0);
    if (fd < 0)
        return fail_errno(err, path, "open for writing");
    enum quern_status status = os_write_fd(fd, path, data, size_bytes, err);
    if (close(fd) && !status)
        status = fail_errno(err, path, "close");
    return status;
}

/* The name is in the disk's directory only after this. */
static void flush_parent(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len >= sizeof dir)
        return;
    memcpy(dir, path, len);
    dir[len] = '\0';
    file_writer_flush_dir(slash ? (len ? dir : "/") : ".");
}

/* `old`: the file to be replaced, whose mode is kept, or NULL. */
static enum quern_status write_and_rename(const char *path, const struct stat *old,
                                          const void *data, size_t size_bytes,
                                          struct quern_error *err) {
    struct file_writer w;
    enum quern_status status = file_writer_init(&w, path, err);
    if (status)
        return status;
    status = file_writer_write(&w, data, size_bytes, err);
    if (!status && old && fchmod(w.fd, old->st_mode & 07777))
        status = fail_errno(err, path, "set the mode");
    if (!status)
        status = file_writer_close(&w, err);
    if (!status)
        status = file_writer_publish(&w, err);
    file_writer_release(&w);
    if (!status)
        flush_parent(path);
    return status;
}

enum quern_status os_write_file(const char *path, const void *data, size_t size_bytes,
                                struct quern_error *err) {
    struct stat st;
    char resolved[PATH_MAX];
    if (stat(path, &st))
        return write_and_rename(path, NULL, data, size_bytes, err);
    if (S_ISDIR(st.st_mode))
        return error_set(err, QUERN_ERR_IO, "%s: is a directory, expected a file", path);
    if (!S_ISREG(st.st_mode))
        return write_directly(path, data, size_bytes, err);
    if (!realpath(path, resolved))
        return fail_errno(err, path, "resolve");
    return write_and_rename(resolved, &st, data, size_bytes, err);
}

static enum quern_status make_one_dir(const char *path, mode_t mode, struct quern_error *err) {
    if (mkdir(path, mode) == 0)
        return QUERN_OK;
    int code = errno;
    if (os_is_dir(path))
        return QUERN_OK;
    errno = code;
    return fail_errno(err, path, "make the directory");
}

/* `mode` is the last directory's. */
static enum quern_status make_dirs(const char *path, mode_t mode, struct quern_error *err) {
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof part)
        return error_set(err, QUERN_ERR_LIMIT, "%s: path longer than %d bytes", path, PATH_MAX);
    memcpy(part, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        enum quern_status status = make_one_dir(part, 0777, err);
        if (status)
            return status;
        part[i] = '/';
    }
    return make_one_dir(path, mode, err);
}

enum quern_status os_make_dir(const char *path, struct quern_error *err) {
    return make_dirs(path, 0777, err);
}

enum quern_status os_make_private_dir(const char *path, struct quern_error *err) {
    return make_dirs(path, 0700, err);
}

bool os_wait_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    const int n = poll(&p, 1, 250);
    return n > 0 || (n < 0 && errno != EINTR);
}

bool os_file_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool os_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum quern_status os_lock_dir(const char *path, int *fd, struct quern_error *err) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return error_set(err, QUERN_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return QUERN_OK;
    close(*fd);
    *fd = -1;
    return error_set(err, QUERN_ERR_STATE, "%s: another process is writing to it", path);
}

void os_unlock_dir(int fd) {
    if (fd >= 0)
        close(fd);
}

enum quern_status os_dir_is_empty(const char *path, bool *out, struct quern_error *err) {
    DIR *dir = opendir(path);
    if (!dir)
        return fail_errno(err, path, "open the directory");
    bool empty = true;
    for (const struct dirent *e; empty && (e = readdir(dir));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(dir);
    *out = empty;
    return QUERN_OK;
}

void os_remove_dir(const char *path) {
    char file[4096];
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            os_path_join(file, sizeof file, path, e->d_name, NULL) == QUERN_OK)
            (void)unlink(file);
    closedir(dir);
    (void)rmdir(path);
}

bool os_is_tty(int fd) {
    return isatty(fd) == 1;
}

enum quern_status os_path_join(char *dst, size_t dst_size, const char *dir, const char *name,
                               struct quern_error *err) {
    size_t len = strlen(dir);
    const char *slash = len == 0 || dir[len - 1] == '/' ? "" : "/";
    int n = snprintf(dst, dst_size, "%s%s%s", dir, slash, name);
    if (n < 0 || (size_t)n >= dst_size)
        return error_set(err, QUERN_ERR_LIMIT, "%.100s%s%.100s: path longer than %zu bytes", dir,
                         slash, name, dst_size);
    return QUERN_OK;
}

void os_sleep_ns(uint64_t ns) {
    struct timespec left = {.tv_sec = (time_t)(ns / 1000000000u),
                            .tv_nsec = (long)(ns % 1000000000u)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

uint64_t os_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t os_thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t os_random(void) {
    uint64_t value;
#if defined(__linux__)
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) == (ssize_t)sizeof value)
        return value;
#elif defined(__APPLE__)
    arc4random_buf(&value, sizeof value);
    return value;
#endif
    /* Early in the boot: a guessable value, but a different one each time. */
    static _Thread_local uint64_t calls;
    value = os_now_ns() ^ (uint64_t)(uintptr_t)&calls ^ (uint64_t)getpid() << 32;
    return (value + calls++) * 0x9E3779B97F4A7C15u;
}

/* First line of a small system file; false when there is none. */
static bool read_system_line(const char *path, char *line, int size) {
#if defined(__linux__)
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(line, size, f) != NULL;
    fclose(f);
    return ok;
#else
    (void)path, (void)line, (void)size;
    return false;
#endif
}

/* Cores a container's quota amounts to, rounded up; INT_MAX without one. */
static int cgroup_cpu_limit(void) {
    char line[64];
    if (!read_system_line("/sys/fs/cgroup/cpu.max", line, sizeof line))
        return INT_MAX;
    char *end;
    long long quota = strtoll(line, &end, 10); /* "max" when there is no limit */
    if (end == line || quota <= 0)
        return INT_MAX;
    long long period = strtoll(end, NULL, 10);
    if (period <= 0 || quota / period >= INT_MAX)
        return INT_MAX;
    return (int)((quota + period - 1) / period);
}

unsigned long os_hwcap(void) {
#if defined(__linux__)
    return getauxval(AT_HWCAP);
#else
    return 0;
#endif
}

unsigned long os_hwcap2(void) {
#if defined(__linux__)
    return getauxval(AT_HWCAP2);
#else
    return 0;
#endif
}

bool os_permit_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* of asm/prctl.h, Linux 5.16 */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

int os_cpu_count(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    int limit = cgroup_cpu_limit();
    if (n > limit)
        n = limit;
    return n < 1 ? 1 : (int)n;
}

int os_memory_nodes(void) {
    char line[256];
    if (!read_system_line("/sys/devices/system/node/has_cpu", line, sizeof line))
        return 1;
    int n = 0;
    for (char *at = line; *at >= '0' && *at <= '9';) { /* "0-1,4" */
        long first = strtol(at, &at, 10), last = first;
        if (*at == '-')
            last = strtol(at + 1, &at, 10);
        if (first >= 0 && last >= first && last - first < 4096)
            n += (int)(last - first) + 1;
        at += *at == ',';
    }
    return n > 1 ? n : 1;
}

void os_pin_thread(int index) {
#if defined(__linux__)
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) == 0)
        return;
    int left = index % CPU_COUNT(&allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one); /* it is only faster this way */
        return;
    }
#else
    (void)index;
#endif
}

size_t os_rss_bytes(void) {
    char line[128];
    if (!read_system_line("/proc/self/statm", line, sizeof line))
        return 0;
    char *end;
    strtoull(line, &end, 10); /* total pages */
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? (size_t)strtoull(end, NULL, 10) * (size_t)page : 0;
}

/* Bytes a container may use; SIZE_MAX without a limit. */
static size_t cgroup_memory_limit(void) {
    char line[64], *end;
    if (!read_system_line("/sys/fs/cgroup/memory.max", line, sizeof line))
        return SIZE_MAX;
    unsigned long long limit = strtoull(line, &end, 10); /* "max" when there is no limit */
    return end == line || limit == 0 || limit > SIZE_MAX ? SIZE_MAX : (size_t)limit;
}

size_t os_memory_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t physical = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
    size_t limit = cgroup_memory_limit();
    return limit < physical ? limit : physical;
}

size_t os_memory_available_bytes(void) {
    size_t available = 0;
#if defined(__linux__)
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        static const char name[] = "MemAvailable:";
        if (strncmp(line, name, sizeof name - 1) == 0)
            available = (size_t)strtoull(line + sizeof name - 1, NULL, 10) * 1024;
    }
    if (f)
        fclose(f);
#endif
    size_t limit = cgroup_memory_limit();
    return limit < available ? limit : available;
}

int os_terminal_columns(int fd) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}
