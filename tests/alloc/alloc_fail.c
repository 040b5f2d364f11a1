#include "alloc/alloc_fail.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own entry points below malloc and its kin; it exports them without a header. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static atomic_int fail_mode;
static atomic_size_t fail_at, n_requests;
static atomic_bool happened;
static atomic_long n_live;

void alloc_fail_start(enum alloc_fail_mode mode, size_t k) {
    atomic_store(&n_requests, 0);
    atomic_store(&happened, false);
    atomic_store(&fail_at, k);
    atomic_store(&fail_mode, (int)mode);
}

size_t alloc_fail_stop(void) {
    atomic_store(&fail_mode, (int)ALLOC_FAIL_NEVER);
    return atomic_load(&n_requests);
}

size_t alloc_fail_requests(void) {
    return atomic_load(&n_requests);
}

bool alloc_fail_happened(void) {
    return atomic_load(&happened);
}

long alloc_fail_live(void) {
    return atomic_load(&n_live);
}

/* Counts one request; true when it is to fail. */
static bool must_fail(void) {
    size_t request = atomic_fetch_add(&n_requests, 1) + 1;
    int mode = atomic_load(&fail_mode);
    size_t k = atomic_load(&fail_at);
    bool fail = mode == ALLOC_FAIL_ONCE ? request == k : mode == ALLOC_FAIL_ONWARDS && request >= k;
    if (fail) {
        atomic_store(&happened, true);
        errno = ENOMEM;
    }
    return fail;
}

static void *count_live(void *p) {
    if (p)
        atomic_fetch_add(&n_live, 1);
    return p;
}

/* Visible, so that the shared libraries (jansson, PCRE2) use them too; the rest is compiled with
 * hidden symbols. */
#pragma GCC visibility push(default)

void *malloc(size_t size) {
    return must_fail() ? NULL : count_live(__libc_malloc(size));
}

void *calloc(size_t n, size_t size) {
    return must_fail() ? NULL : count_live(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size) {
    if (must_fail())
        return NULL;
    void *moved = __libc_realloc(p, size);
    if (!p)
        return count_live(moved);
    if (!moved && size == 0)
        atomic_fetch_sub(&n_live, 1); /* glibc frees then */
    return moved;
}

void *memalign(size_t alignment, size_t size) {
    return must_fail() ? NULL : count_live(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    int before = errno;
    void *p = memalign(alignment, size);
    errno = before;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p) {
    if (!p)
        return;
    atomic_fetch_sub(&n_live, 1);
    __libc_free(p);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (must_fail())
        return MAP_FAILED;
    long p = syscall(SYS_mmap, address, length, protection, flags, fd, offset);
    if (p == -1)
        return MAP_FAILED;
    atomic_fetch_add(&n_live, 1);
    return (void *)(uintptr_t)p;
}

int munmap(void *address, size_t length) {
    long status = syscall(SYS_munmap, address, length);
    if (status == 0)
        atomic_fetch_sub(&n_live, 1);
    return (int)status;
}

#pragma GCC visibility pop
