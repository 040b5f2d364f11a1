#include "model/kv_cache.h"

#include <string.h>

#include "kernels/kernels.h"
#include "support/support.h"

static struct device *open_device(void) {
    struct device *d = NULL;
    assert_int_equal(device_cpu_create(1, NULL, &d, NULL), QUERN_OK);
    return d;
}

static void blocks_hold_all_layers_and_do_not_overlap(void **state) {
    (void)state;
    struct model m = {.device = open_device(),
                      .config = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 16}};
    struct kv_cache kv;
    assert_int_equal(kv_cache_init(&kv, &m, 2 * KV_BLOCK_TOKENS + 1, NULL), QUERN_OK);
    assert_int_equal(kv.n_blocks, 3);
    assert_int_equal(kv.n_tokens, 0);
    assert_int_equal(kv.max_tokens, 2 * KV_BLOCK_TOKENS + 1);
    assert_int_equal(kv.v_floats, 2 * KV_BLOCK_TOKENS * 16);
    assert_int_equal(kv.layer_floats, 2 * kv.v_floats);
    assert_int_equal(kv.blocks[1] - kv.blocks[0], 3 * kv.layer_floats);
    assert_int_equal(kv.storage_bytes, 3 * 3 * kv.layer_floats * sizeof(float));
    assert_int_equal((uintptr_t)kv.blocks[2] % 64, 0);
    kv_cache_release(&kv);
    kv_cache_release(&kv);
    kv_cache_release(NULL);
    device_destroy(m.device);
}

static void a_cache_beyond_addresses_is_refused(void **state) {
    (void)state;
    struct model m = {.device = open_device(),
                      .config = {.n_layers = 64, .n_kv_heads = 64, .head_dim = 256}};
    struct kv_cache kv = {0};
    struct quern_error err = {0};
    assert_int_equal(kv_cache_init(&kv, &m, SIZE_MAX / 64, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too large"));
    assert_null(kv.storage);
    device_destroy(m.device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_hold_all_layers_and_do_not_overlap),
        cmocka_unit_test(a_cache_beyond_addresses_is_refused),
    };
    return cmocka_run_group_tests_name("kv_cache", tests, NULL, NULL);
}
