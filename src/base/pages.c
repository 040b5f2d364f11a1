#include "base/pages.h"

#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* From here on, 2 MB pages: fewer misses of the TLB while a cache or workspace streams by. Smaller
 * requests would waste most of such a page. */
static const size_t huge_page_min_bytes = (size_t)16 << 20;

void *pages_alloc(size_t bytes) {
    /* Not counted against the commit limit: a cache is sized for the longest context and mostly
     * stays empty. */
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= huge_page_min_bytes)
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* only advice: without it things still work */
#endif
    return p;
}

void pages_free(void *p, size_t bytes) {
    if (p)
        (void)munmap(p, bytes ? bytes : 1);
}

void pages_discard(void *p, size_t bytes) {
#ifdef MADV_DONTNEED
    (void)madvise(p, bytes, MADV_DONTNEED);
#else
    (void)p;
    (void)bytes;
#endif
}
