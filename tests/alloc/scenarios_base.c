#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/scenarios.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/map.h"
#include "base/os.h"
#include "base/threads.h"

static enum quern_status grow_an_arena(struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    struct arena a = ARENA_INIT(0);
    for (size_t i = 0; i < 300 && !status; i++) {
        char *text = i % 3 ? arena_calloc(&a, i, 100) : arena_strdup(&a, "some text");
        if (!text)
            status = error_nomem(err);
    }
    arena_release(&a);
    return status;
}

static enum quern_status build_a_text(struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    struct buffer b;
    buffer_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buffer_printf(&b, "%d,", i);
    size_t len;
    char *text = buffer_status(&b, "text", err) ? NULL : buffer_detach(&b, &len);
    if (!text)
        status = b.failed ? b.failed : QUERN_ERR_NOMEM;
    else if (len != 3890 || strcmp(text + 3885, ",999,") != 0)
        status = error_set(err, QUERN_ERR_STATE, "wrong text");
    free(text);
    buffer_release(&b);
    return status;
}

static enum quern_status fill_a_map(struct quern_error *err) {
    enum { N = 500 };
    static char keys[N][8];
    enum quern_status status = QUERN_OK;
    struct map m = {0};
    for (uint32_t i = 0; i < N && !status; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        if (!map_put(&m, str_from(keys[i]), i, NULL))
            status = error_nomem(err);
        /* A failed growth must have left what was there. */
        for (uint32_t k = 0; k < m.count; k++) {
            uint32_t value = N;
            if (!map_get(&m, str_from(keys[k]), &value) || value != k)
                status = error_set(err, QUERN_ERR_STATE, "lost key %u", k);
        }
    }
    map_release(&m);
    return status;
}

static enum quern_status write_and_read_a_file(struct quern_error *err) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/quern-alloc-%ld", (long)getpid());
    struct buffer b;
    struct os_map map = {0};
    buffer_init(&b, 1 << 20);
    static const char data[100000] = "data";
    enum quern_status status = os_write_file(path, data, sizeof data, err);
    if (!status)
        status = os_read_file(path, sizeof data, &b, err);
    if (!status)
        status = os_map_open(&map, path, err);
    if (!status && (b.len != sizeof data || memcmp(map.data, b.data, b.len) != 0))
        status = error_set(err, QUERN_ERR_STATE, "the file came back different");
    os_map_close(&map);
    buffer_release(&b);
    unlink(path);
    return status;
}

static void mark_worker(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    ((char *)ctx)[worker] = 1;
}

static enum quern_status run_a_thread_pool(struct quern_error *err) {
    struct thread_pool *pool = NULL;
    char marks[3] = {0};
    enum quern_status status = thread_pool_create(3, &pool, err);
    if (!status) {
        thread_pool_run(pool, mark_worker, marks);
        if (!marks[0] || !marks[1] || !marks[2])
            status = error_set(err, QUERN_ERR_STATE, "a worker did not run");
    }
    thread_pool_destroy(pool);
    return status;
}

const struct scenario base_scenarios[] = {
    {"grow_an_arena", grow_an_arena},
    {"build_a_text", build_a_text},
    {"fill_a_map", fill_a_map},
    {"write_and_read_a_file", write_and_read_a_file},
    {"run_a_thread_pool", run_a_thread_pool},
    {NULL, NULL},
};
