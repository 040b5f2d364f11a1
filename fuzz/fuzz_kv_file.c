/* A file of keys and values, in a file of memory. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/kv_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCK_BYTES_MAX = 1 << 20 };

static void read_blocks(const struct data_file *f, const struct kv_file_header *h) {
    struct quern_error err;
    if (h->block_bytes > BLOCK_BYTES_MAX)
        return;
    void *block = malloc((size_t)h->block_bytes + 1);
    for (size_t i = 0; block && i < kv_file_blocks(h->n_tokens); i++)
        if (kv_file_read_block(f, h, i, block, &err))
            break;
    free(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    struct data_file f;
    struct kv_file_header h;
    struct quern_error err;
    if (fd < 0) {
        fd = memfd_create("kv", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    if (kv_file_open(path, &f, &h, &err) == QUERN_OK) {
        if (h.n_tokens == 0 || h.total_bytes != size)
            abort();
        read_blocks(&f, &h);
        data_file_close(&f);
        kv_file_header_release(&h);
    }
    return 0;
}
