#include "support/support.h"

#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Paths live until the end; tests ask for few. */
enum { MAX_PATHS = 4096 };
static char *paths[MAX_PATHS];
static size_t n_paths;
static char temp_dir[PATH_MAX];
static pid_t temp_owner;

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void clean_up(void) {
    /* A forked child that ends must not take the parent's files along. */
    if (temp_dir[0] && temp_owner == getpid())
        nftw(temp_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    while (n_paths > 0)
        free(paths[--n_paths]);
}

static const char *keep_path(const char *dir, const char *name) {
    static bool registered;
    if (!registered)
        atexit(clean_up);
    registered = true;
    assert_true(n_paths < MAX_PATHS);
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = malloc(size);
    assert_non_null(path);
    snprintf(path, size, "%s/%s", dir, name);
    paths[n_paths++] = path;
    return path;
}

const char *support_temp_dir(void) {
    if (!temp_dir[0]) {
        const char *base = getenv("TMPDIR");
        char pattern[sizeof temp_dir];
        snprintf(pattern, sizeof pattern, "%s/quern-test-XXXXXX", base && *base ? base : "/tmp");
        assert_non_null(mkdtemp(pattern));
        memcpy(temp_dir, pattern, sizeof temp_dir);
        temp_owner = getpid();
    }
    return temp_dir;
}

const char *support_temp_path(const char *name) {
    return keep_path(support_temp_dir(), name);
}

static const char *root(void) {
    const char *dir = getenv("QUERN_ROOT");
    return dir && *dir ? dir : ".";
}

const char *support_fixture(const char *name) {
    return keep_path(keep_path(root(), "tests"), name);
}

const char *support_shared(const char *name) {
    const char *dir = getenv("QUERN_SHARED");
    if (!dir || !*dir)
        dir = keep_path(root(), "../shared");
    const char *path = keep_path(dir, name);
    if (access(path, R_OK) == 0)
        return path;
    print_message("skipped: %s is not there (set QUERN_SHARED to the shared data)\n", path);
    return NULL;
}

void support_write_file(const char *path, const void *data, size_t size_bytes) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    size_t put = size_bytes ? fwrite(data, 1, size_bytes, f) : 0;
    assert_int_equal(fclose(f), 0);
    assert_int_equal(put, size_bytes);
}

char *support_read_file(const char *path, size_t *size_bytes) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, f), size);
    data[size] = '\0';
    fclose(f);
    if (size_bytes)
        *size_bytes = (size_t)size;
    return data;
}
