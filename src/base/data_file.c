#include "base/data_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"

enum { PATH_BYTES = 4096 };

static enum quern_status fail_errno(struct quern_error *err, const char *path, const char *doing) {
    const int code = errno;
    return error_set(err, code == ENOMEM ? QUERN_ERR_NOMEM : QUERN_ERR_IO, "%s: cannot %s: %s",
                     path, doing, strerror(code));
}

static enum quern_status open_as(struct data_file *f, const char *path, int flags,
                                 struct quern_error *err) {
    struct stat st;
    int fd;
    /* Without waiting for somebody to write into a pipe. */
    do
        fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    *f = (struct data_file){.fd = -1, .path = path};
    if (fd < 0)
        return fail_errno(err, path, "open");
    enum quern_status status = QUERN_OK;
    if (fstat(fd, &st))
        status = fail_errno(err, path, "read its size");
    else if (!S_ISREG(st.st_mode))
        status = error_set(err, QUERN_ERR_IO, "%s: is not a regular file", path);
    if (status) {
        close(fd);
        return status;
    }
    f->fd = fd;
    f->size_bytes = (uint64_t)st.st_size;
    return QUERN_OK;
}

enum quern_status data_file_open(struct data_file *f, const char *path, struct quern_error *err) {
    return open_as(f, path, O_RDONLY, err);
}

enum quern_status data_file_open_to_write(struct data_file *f, const char *path,
                                          struct quern_error *err) {
    return open_as(f, path, O_RDWR | O_CREAT, err);
}

void data_file_close(struct data_file *f) {
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

enum quern_status data_file_read(const struct data_file *f, uint64_t offset, void *out, size_t n,
                                 struct quern_error *err) {
    unsigned char *at = out;
    while (n > 0) {
        const ssize_t got = pread(f->fd, at, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(err, f->path, "read");
        if (got == 0)
            return error_set(err, QUERN_ERR_FORMAT, "%s: ends at byte %llu, %zu more were expected",
                             f->path, (unsigned long long)offset, n);
        at += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return QUERN_OK;
}

enum quern_status data_file_write(struct data_file *f, uint64_t offset, const void *data, size_t n,
                                  struct quern_error *err) {
    const unsigned char *at = data;
    while (n > 0) {
        const ssize_t put = pwrite(f->fd, at, n, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_errno(err, f->path, "write");
        at += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    f->size_bytes = offset > f->size_bytes ? offset : f->size_bytes;
    return QUERN_OK;
}

enum quern_status data_file_truncate(struct data_file *f, uint64_t size_bytes,
                                     struct quern_error *err) {
    if (ftruncate(f->fd, (off_t)size_bytes))
        return fail_errno(err, f->path, "shorten");
    f->size_bytes = size_bytes;
    return QUERN_OK;
}

enum quern_status data_dir_list(const char *dir,
                                bool (*fn)(void *user, const char *name, int64_t changed_s),
                                void *user, struct quern_error *err) {
    DIR *d = opendir(dir);
    if (!d)
        return fail_errno(err, dir, "list the directory");
    bool wanted = true;
    for (struct dirent *entry; wanted && (entry = readdir(d)) != NULL;) {
        char path[PATH_BYTES];
        struct stat st;
        if (entry->d_name[0] == '.' || os_path_join(path, sizeof path, dir, entry->d_name, NULL) ||
            lstat(path, &st))
            continue;
        wanted = fn(user, entry->d_name, (int64_t)st.st_mtime);
    }
    closedir(d);
    return QUERN_OK;
}

enum quern_status data_file_remove(const char *path, struct quern_error *err) {
    return unlink(path) && errno != ENOENT ? fail_errno(err, path, "remove") : QUERN_OK;
}

void data_file_touch(const char *path) {
    (void)utimensat(AT_FDCWD, path, NULL, 0);
}
