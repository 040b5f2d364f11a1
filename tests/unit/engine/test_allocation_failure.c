/* Every allocation on the way from a directory to logits fails once: each time there must be one
 * clean error and nothing left behind. */
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)

/* glibc lets a program put its own malloc in front. */
static size_t countdown; /* the allocation that fails; 0: none */
static long n_live;
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

static bool fails(void) {
    return countdown > 0 && --countdown == 0;
}
void *malloc(size_t size) {
    void *p = fails() ? NULL : __libc_malloc(size);
    n_live += p != NULL;
    return p;
}
void *calloc(size_t n, size_t size) {
    void *p = fails() ? NULL : __libc_calloc(n, size);
    n_live += p != NULL;
    return p;
}
void *realloc(void *old, size_t size) {
    void *p = fails() ? NULL : __libc_realloc(old, size);
    n_live += !old && p;
    return p;
}
void free(void *p) {
    n_live -= p != NULL;
    __libc_free(p);
}

/* Memory of the device (pages, not malloc's) fails in the same count. */
static const struct device_ops *true_ops;
static void *device_alloc(struct device *d, size_t bytes) {
    void *p = fails() ? NULL : true_ops->alloc(d, bytes);
    n_live += p != NULL;
    return p;
}
static void device_release(struct device *d, void *p, size_t bytes) {
    n_live -= p != NULL;
    true_ops->release(d, p, bytes);
}

static enum quern_status load_and_feed(const char *dir, struct device *device, float *logits,
                                       struct quern_error *err) {
    struct model *model = NULL;
    struct session *session = NULL;
    const struct session_options o = {.n_context = 8, .prefill_chunk = 3, .n_tokens_known = 97};
    enum quern_status st = model_open(dir, device, NULL, NULL, &model, err);
    if (st == QUERN_OK)
        st = session_create(model, &o, &session, err);
    if (st == QUERN_OK)
        st = session_feed(session, (const int32_t[]){1, 2, 3, 4, 5}, 5, NULL, err);
    if (st == QUERN_OK)
        memcpy(logits, session->logits, 97 * sizeof *logits);
    session_destroy(session);
    model_close(model);
    return st;
}

static void check(const struct tiny_shape *shape, const char *name) {
    const char *dir = tiny_model_write(shape, name, 3);
    struct device *device = NULL;
    assert_int_equal(device_cpu_create(1, NULL, &device, NULL), QUERN_OK);
    true_ops = device->ops;
    struct device_ops ops = *true_ops;
    ops.alloc = device_alloc;
    ops.release = device_release;
    device->ops = &ops;
    float expected[97], found[97];
    struct quern_error err = {0};
    assert_int_equal(load_and_feed(dir, device, expected, &err), QUERN_OK);
    const long live = n_live;
    size_t k = 0;
    enum quern_status st;
    do {
        err = (struct quern_error){0};
        countdown = ++k;
        st = load_and_feed(dir, device, found, &err);
        const bool failed = countdown == 0;
        countdown = 0;
        if (failed && st != QUERN_ERR_NOMEM)
            fail_msg("allocation %zu failed: found %s \"%s\", expected a lack of memory", k,
                     quern_status_name(st), err.message);
        assert_int_equal(n_live, live);
        assert_true(!failed || strstr(err.message, "memory"));
    } while (st != QUERN_OK);
    assert_memory_equal(found, expected, sizeof found);
    assert_true(k > 20); /* or the count does not see what it should */
    print_message("%s: %zu allocations failed in turn\n", name, k - 1);
    device->ops = true_ops;
    device_destroy(device);
}

static void a_dense_model(void **state) {
    (void)state;
    const struct tiny_shape s = TINY_QWEN3;
    check(&s, "dense");
}

static void a_model_of_experts(void **state) {
    (void)state;
    struct tiny_shape s = TINY_QWEN3;
    s.architecture = "Qwen3MoeForCausalLM";
    s.model_type = "qwen3_moe";
    s.experts = 4;
    s.experts_per_token = 2;
    s.moe_inter = 24;
    check(&s, "moe");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_model),
        cmocka_unit_test(a_model_of_experts),
    };
    return cmocka_run_group_tests_name("allocation_failure", tests, NULL, NULL);
}

#else

int main(void) {
    print_message("skipped: allocations cannot be made to fail in this build\n");
    return 0;
}

#endif
