#include "model/kv_pool.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static struct model make_model(void) {
    struct model m = {.config = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 16}};
    assert_int_equal(device_cpu_create(1, NULL, &m.device, NULL), QUERN_OK);
    return m;
}

static struct kv_pool *make_pool(const struct model *m, size_t n_blocks) {
    struct kv_pool *p = NULL;
    assert_int_equal(kv_pool_create(m, KV_F32, n_blocks, &p, NULL), QUERN_OK);
    return p;
}

static void every_block_is_given_once_until_none_is_left(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 5);
    bool seen[5] = {false};
    for (int i = 0; i < 5; i++) {
        int32_t b = kv_pool_take(p);
        assert_in_range(b, 0, 4);
        assert_false(seen[b]);
        seen[b] = true;
        assert_int_equal(kv_pool_refs(p, b), 1);
    }
    assert_int_equal(kv_pool_take(p), KV_NO_BLOCK);
    assert_int_equal(p->n_free, 0);
    kv_pool_ref(p, 3);
    kv_pool_unref(p, 3);
    assert_int_equal(kv_pool_take(p), KV_NO_BLOCK);
    kv_pool_unref(p, 3);
    assert_int_equal(kv_pool_take(p), 3);
    kv_pool_destroy(p);
    kv_pool_destroy(NULL);
    device_destroy(m.device);
}

static void blocks_do_not_overlap_and_hold_all_layers(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 3);
    assert_int_equal(p->layout.block_bytes, 3 * 2 * 2 * KV_BLOCK_TOKENS * 16 * sizeof(float));
    for (int32_t i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)kv_pool_block(p, i) % 4096, 0);
        memset(kv_pool_block(p, i), i + 1, p->layout.block_bytes);
    }
    for (int32_t i = 0; i < 3; i++) {
        const unsigned char *bytes = kv_pool_block(p, i);
        for (size_t k = 0; k < p->layout.block_bytes; k++)
            assert_int_equal(bytes[k], i + 1);
    }
    kv_pool_copy(p, 2, 0);
    assert_memory_equal(kv_pool_block(p, 2), kv_pool_block(p, 0), p->layout.block_bytes);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

static void trimming_gives_free_memory_back(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 6);
    assert_int_equal(kv_pool_bytes(p), 0);
    int32_t b[4];
    for (int i = 0; i < 4; i++) {
        b[i] = kv_pool_take(p);
        memset(kv_pool_block(p, b[i]), 0xEE, p->layout.block_bytes);
    }
    for (int i = 0; i < 3; i++)
        kv_pool_unref(p, b[i]);
    assert_int_equal(kv_pool_bytes(p), 4 * p->stride);
    assert_int_equal(kv_pool_trim(p, 1), 2 * p->stride);
    assert_int_equal(kv_pool_bytes(p), 2 * p->stride);
    assert_int_equal(p->n_free, 5);
    /* Nothing was read back but zeros and the block still in use. */
    size_t zeros = 0;
    for (int i = 0; i < 4; i++)
        zeros += *(const unsigned char *)kv_pool_block(p, b[i]) == 0;
    assert_int_equal(zeros, 2);
    assert_int_equal(*(const unsigned char *)kv_pool_block(p, b[3]), 0xEE);
    for (int i = 0; i < 5; i++)
        assert_int_not_equal(kv_pool_take(p), KV_NO_BLOCK);
    assert_int_equal(kv_pool_take(p), KV_NO_BLOCK);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

static void blocks_can_be_kept_elsewhere(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 2), *q = make_pool(&m, 2);
    char text[128], other[128];
    kv_pool_describe(p, text, sizeof text);
    kv_pool_describe(q, other, sizeof other);
    assert_string_equal(text, other);
    assert_string_equal(text, "kv1 f32 layers 3 heads 2 dim 16 block 32 bytes 24576");
    int32_t from = kv_pool_take(p), to = kv_pool_take(q);
    memset(kv_pool_block(p, from), 0x5A, p->layout.block_bytes);
    void *host = malloc(p->layout.block_bytes);
    assert_non_null(host);
    kv_pool_read(p, from, host);
    kv_pool_write(q, to, host);
    assert_memory_equal(kv_pool_block(q, to), kv_pool_block(p, from), p->layout.block_bytes);
    free(host);
    kv_pool_destroy(p);
    kv_pool_destroy(q);
    device_destroy(m.device);
}

static void a_pool_beyond_addresses_or_memory_is_refused(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = NULL;
    struct quern_error err = {0};
    assert_int_equal(kv_pool_create(&m, KV_F32, SIZE_MAX / 64, &p, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "cannot be addressed"));
    m.config.n_layers = 1 << 20;
    m.config.n_kv_heads = 1 << 20;
    assert_int_equal(kv_pool_create(&m, KV_F32, 1 << 20, &p, &err), QUERN_ERR_LIMIT);
    m.config.n_kv_heads = 1 << 10;
    assert_int_equal(kv_pool_create(&m, KV_F32, 1 << 12, &p, &err), QUERN_ERR_NOMEM);
    assert_null(p);
    device_destroy(m.device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_given_once_until_none_is_left),
        cmocka_unit_test(blocks_do_not_overlap_and_hold_all_layers),
        cmocka_unit_test(trimming_gives_free_memory_back),
        cmocka_unit_test(blocks_can_be_kept_elsewhere),
        cmocka_unit_test(a_pool_beyond_addresses_or_memory_is_refused),
    };
    return cmocka_run_group_tests_name("kv_pool", tests, NULL, NULL);
}
