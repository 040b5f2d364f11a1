#include "base/file_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"

static enum quern_status failed(const struct file_writer *w, const char *doing,
                                struct quern_error *err) {
    return error_set(err, QUERN_ERR_IO, "%s: cannot %s: %s", w->path, doing, strerror(errno));
}

/* From here on release removes no file. */
static void forget_temp(struct file_writer *w) {
    free(w->temp_path);
    w->temp_path = NULL;
}

enum quern_status file_writer_init(struct file_writer *w, const char *path,
                                   struct quern_error *err) {
    size_t len = strlen(path), temp_size = len + 16;
    *w = (struct file_writer){.fd = -1, .path = malloc(len + 1), .temp_path = malloc(temp_size)};
    if (!w->path || !w->temp_path) {
        forget_temp(w);
        file_writer_release(w);
        return error_nomem(err);
    }
    memcpy(w->path, path, len + 1);
    snprintf(w->temp_path, temp_size, "%s.%08x.tmp", path, (unsigned)os_random());
    do
        w->fd = open(w->temp_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    while (w->fd < 0 && errno == EINTR);
    if (w->fd >= 0)
        return QUERN_OK;
    enum quern_status status = failed(w, "create", err);
    forget_temp(w);
    file_writer_release(w);
    return status;
}

enum quern_status file_writer_write(struct file_writer *w, const void *data, size_t size_bytes,
                                    struct quern_error *err) {
    return os_write_fd(w->fd, w->path, data, size_bytes, err);
}

enum quern_status file_writer_close(struct file_writer *w, struct quern_error *err) {
    /* One try only: after a failed fsync the pages count as clean, and a second would succeed. */
    enum quern_status status = fsync(w->fd) ? failed(w, "flush", err) : QUERN_OK;
    if (close(w->fd) && !status)
        status = failed(w, "close", err);
    w->fd = -1;
    return status;
}

enum quern_status file_writer_publish(struct file_writer *w, struct quern_error *err) {
    if (rename(w->temp_path, w->path))
        return failed(w, "rename the new file", err);
    forget_temp(w);
    return QUERN_OK;
}

void file_writer_release(struct file_writer *w) {
    if (!w)
        return;
    if (w->temp_path) {
        if (w->fd >= 0)
            close(w->fd);
        unlink(w->temp_path);
    }
    free(w->path);
    free(w->temp_path);
    *w = (struct file_writer){.fd = -1};
}

void file_writer_flush_dir(const char *dir) {
    /* Some file systems refuse; the files themselves are safe by then. */
    int fd = open(dir, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    close(fd);
}

enum quern_status file_writer_flush_file(const char *path, struct quern_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, QUERN_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
    enum quern_status status = QUERN_OK;
    if (fsync(fd))
        status = error_set(err, QUERN_ERR_IO, "%s: cannot flush: %s", path, strerror(errno));
    close(fd);
    return status;
}

enum quern_status file_writer_rename(const char *from, const char *to, struct quern_error *err) {
    if (rename(from, to))
        return error_set(err, QUERN_ERR_IO, "%s: cannot rename to %s: %s", from, to,
                         strerror(errno));
    return QUERN_OK;
}
