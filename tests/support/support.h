/* support.h - what many unit tests need: files to write to, files to read from. Tests run
 * with the repository root as working directory (QUERN_ROOT names another). Paths returned
 * stay valid until the program ends. A helper that cannot do its work fails the test. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

/* cmocka.h wants these before it; the blank line keeps clang-format from sorting it among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A directory of this program's own, removed with its content when the program ends. */
const char *support_temp_dir(void);
/* "TEMP_DIR/name" */
const char *support_temp_path(const char *name);

/* A committed file under tests/, for instance "golden/tokenizer/qwen3.json". */
const char *support_fixture(const char *name);

/* A file of the shared data (../shared, or the directory QUERN_SHARED names), or NULL when it
 * is not there; then one line says so. Use SHARED_OR_SKIP in a test. */
const char *support_shared(const char *name);
#define SHARED_OR_SKIP(path, name)                                                             \
    do {                                                                                       \
        (path) = support_shared(name);                                                         \
        if (!(path))                                                                           \
            skip();                                                                            \
    } while (0)

void support_write_file(const char *path, const void *data, size_t size_bytes);
/* Whole file, NUL-terminated, freed by the caller. `size_bytes` may be NULL. */
char *support_read_file(const char *path, size_t *size_bytes);

/* Switches the whole process to a locale in which the decimal point is not "." but a character of
 * two bytes, U+066B, or says in one line that there is none and returns false. setlocale(LC_ALL,
 * "C") goes back. */
bool support_use_foreign_point(void);

#endif
