#include "formats/npy.h"

#include <errno.h>
#include <string.h>

static enum quern_status write_failed(const char *path, struct quern_error *err) {
    return error_set(err, QUERN_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* Magic, version, u16 length, then a Python dict padded with spaces and ended by a newline so
 * that the data begins at a multiple of 64 bytes. */
enum quern_status npy_write_header(FILE *file, const char *path, size_t rows, size_t cols,
                                   struct quern_error *err) {
    char header[192];
    const size_t fixed = 10; /* bytes before the dict */
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    int n = snprintf(header + fixed, sizeof header - fixed,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, cols);
    if (n < 0 || (size_t)n >= 128 - fixed)
        return error_set(err, QUERN_ERR_ARG, "%s: cannot describe shape (%zu, %zu)", path, rows,
                         cols);
    size_t used = fixed + (size_t)n, total = (used + 1 + 63) / 64 * 64;
    memset(header + used, ' ', total - used);
    header[total - 1] = '\n';
    header[8] = (char)((total - fixed) & 0xff);
    header[9] = (char)((total - fixed) >> 8);
    return fwrite(header, 1, total, file) == total ? QUERN_OK : write_failed(path, err);
}

enum quern_status npy_write_rows(FILE *file, const char *path, const float *values, size_t n,
                                 struct quern_error *err) {
    if (n && fwrite(values, sizeof *values, n, file) != n)
        return write_failed(path, err);
    return QUERN_OK;
}
