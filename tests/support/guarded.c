#include "support/guarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void require(bool ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static size_t page_bytes(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

void guarded_init(struct guarded *g, size_t size_bytes) {
    size_t page = page_bytes();
    g->size_bytes = (size_bytes + page - 1) / page * page;
    unsigned char *p = mmap(NULL, g->size_bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(p != MAP_FAILED, "guarded_init");
    g->data = p + page;
    guarded_protect(g, false);
}

void guarded_release(struct guarded *g) {
    size_t page = page_bytes();
    if (g->data)
        munmap(g->data - page, g->size_bytes + 2 * page);
    g->data = NULL;
}

void *guarded_place(const struct guarded *g, size_t bytes, bool at_end, size_t slack) {
    if (bytes + slack > g->size_bytes) {
        fprintf(stderr, "guarded_place: %zu + %zu bytes into %zu\n", bytes, slack, g->size_bytes);
        exit(1);
    }
    return at_end ? g->data + g->size_bytes - bytes - slack : g->data + slack;
}

void guarded_protect(const struct guarded *g, bool read_only) {
    require(mprotect(g->data, g->size_bytes, read_only ? PROT_READ : PROT_READ | PROT_WRITE) == 0,
            "guarded_protect");
}
