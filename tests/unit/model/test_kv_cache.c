#include "model/kv_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/support.h"

enum { B = KV_BLOCK_TOKENS };

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

static struct kv_cache make_cache(struct kv_pool *p, size_t max_tokens) {
    struct kv_cache kv;
    assert_int_equal(kv_cache_init_in(&kv, p, max_tokens, NULL), QUERN_OK);
    return kv;
}

/* Stands for the forward pass: one number a position. */
static void fill(struct kv_cache *kv, const uint32_t *values, size_t n) {
    assert_int_equal(kv_cache_reserve(kv, n, NULL), QUERN_OK);
    for (size_t i = 0; i < n; i++, kv->n_tokens++) {
        uint32_t *block = kv_pool_block(kv->pool, kv->ids[kv->n_tokens / B]);
        assert_int_equal(kv->pool->refs[kv->ids[kv->n_tokens / B]], 1);
        block[kv->n_tokens % B] = values[i];
    }
}

static void fill_count(struct kv_cache *kv, size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t value = (uint32_t)kv->n_tokens;
        fill(kv, &value, 1);
    }
}

static void check_holds(const struct kv_cache *kv, const uint32_t *values, size_t n) {
    assert_int_equal(kv->n_tokens, n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t *block = (const void *)kv->blocks[i / B];
        assert_ptr_equal(block, kv_pool_block(kv->pool, kv->ids[i / B]));
        assert_int_equal(block[i % B], values[i]);
    }
}

static void a_cache_takes_blocks_as_it_grows_and_lets_go_of_them(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 4);
    struct kv_cache kv = make_cache(p, 3 * B);
    fill_count(&kv, 1);
    assert_int_equal(kv.n_blocks, 1);
    fill_count(&kv, B - 1);
    assert_int_equal(kv.n_blocks, 1);
    assert_int_equal(kv_cache_blocks_needed(&kv, 1), 1);
    assert_int_equal(kv_cache_blocks_needed(&kv, 2 * B), 2);
    assert_int_equal(kv_cache_blocks_needed(&kv, 0), 0);
    fill_count(&kv, B + 1);
    assert_int_equal(kv.n_blocks, 3);
    assert_int_equal(p->n_free, 1);
    kv_cache_truncate(&kv, 2 * B);
    assert_int_equal(kv.n_blocks, 2);
    kv_cache_truncate(&kv, 0);
    assert_int_equal(p->n_free, 4);
    fill_count(&kv, 5);
    kv_cache_release(&kv);
    kv_cache_release(&kv);
    kv_cache_release(NULL);
    assert_int_equal(p->n_free, 4);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

static void too_many_positions_or_blocks_change_nothing(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 3);
    struct kv_cache kv = make_cache(p, 5 * B), other = make_cache(p, B);
    struct quern_error err = {0};
    fill_count(&other, 3);
    fill_count(&kv, B + 7);
    assert_int_equal(kv_cache_reserve(&other, B, &err), QUERN_ERR_CONTEXT);
    assert_string_equal(err.message, "the context is full: 3 of 32 tokens held, 32 more do not fit");
    assert_int_equal(kv_cache_reserve(&kv, 2 * B, &err), QUERN_ERR_LIMIT);
    assert_string_equal(err.message,
                        "64 more tokens need 2 blocks of KV memory, 0 of 3 are free");
    assert_int_equal(kv.n_blocks, 2);
    assert_int_equal(kv.n_tokens, B + 7);
    kv_cache_release(&other);
    assert_int_equal(kv_cache_reserve(&kv, B, &err), QUERN_OK);
    assert_int_equal(p->n_free, 0);
    kv_cache_truncate(&kv, kv.n_tokens);
    assert_int_equal(p->n_free, 1);
    kv_cache_release(&kv);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

static void a_shared_part_of_a_block_is_copied_by_the_one_who_writes(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 6);
    struct kv_cache a = make_cache(p, 4 * B), b = make_cache(p, 4 * B);
    uint32_t want[B + 10];
    for (uint32_t i = 0; i < B + 10; i++)
        want[i] = i;
    fill(&a, want, B + 10);
    kv_cache_share(&b, &a, B + 3);
    assert_int_equal(p->n_free, 4);
    assert_int_equal(kv_pool_refs(p, a.ids[0]), 2);
    assert_int_equal(kv_pool_refs(p, a.ids[1]), 2);
    check_holds(&b, want, B + 3);
    assert_int_equal(kv_cache_blocks_needed(&b, 1), 1);
    fill(&b, (const uint32_t[]){77}, 1);
    assert_int_equal(p->n_free, 3);
    assert_int_equal(kv_pool_refs(p, a.ids[1]), 1);
    check_holds(&a, want, B + 10);
    want[B + 3] = 77;
    check_holds(&b, want, B + 4);
    /* Alone again: nothing to copy. */
    assert_int_equal(kv_cache_blocks_needed(&a, 1), 0);
    kv_cache_release(&a);
    check_holds(&b, want, B + 4);
    kv_cache_release(&b);
    assert_int_equal(p->n_free, 6);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

static void a_full_block_of_the_pool_can_be_appended(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_pool *p = make_pool(&m, 3);
    struct kv_cache a = make_cache(p, 2 * B), b = make_cache(p, 2 * B);
    uint32_t want[B];
    for (uint32_t i = 0; i < B; i++)
        want[i] = i;
    fill(&a, want, B);
    int32_t block = a.ids[0];
    kv_pool_ref(p, block); /* as a prefix tree would */
    kv_cache_release(&a);
    assert_int_equal(kv_pool_refs(p, block), 1);
    kv_cache_append_block(&b, block);
    check_holds(&b, want, B);
    assert_int_equal(kv_cache_blocks_needed(&b, 1), 1);
    kv_pool_unref(p, block);
    kv_cache_release(&b);
    assert_int_equal(p->n_free, 3);
    kv_pool_destroy(p);
    device_destroy(m.device);
}

/* ---- random operations against a simple model ------------------------------------- */

enum { CACHES = 5, ROOM = 6 * B, HELD = 8, STEPS = 4000 };

struct world {
    struct kv_pool *pool;
    struct kv_cache kv[CACHES];
    uint32_t values[CACHES][ROOM];
    size_t n[CACHES];
    int32_t held[HELD]; /* references of somebody else's */
    uint64_t drawn;
};

static uint32_t draw(struct world *w) {
    uint32_t bits[4];
    rng_block(20, 0, w->drawn++, bits);
    return bits[0];
}

static size_t below(struct world *w, size_t n) {
    return n ? draw(w) % n : 0;
}

static void grow(struct world *w, size_t c) {
    size_t n = below(w, ROOM - w->n[c] + 1);
    if (kv_cache_blocks_needed(&w->kv[c], n) > w->pool->n_free) {
        assert_int_equal(kv_cache_reserve(&w->kv[c], n, NULL), QUERN_ERR_LIMIT);
        return;
    }
    size_t free_before = w->pool->n_free, need = kv_cache_blocks_needed(&w->kv[c], n);
    for (size_t i = 0; i < n; i++)
        w->values[c][w->n[c] + i] = draw(w);
    fill(&w->kv[c], w->values[c] + w->n[c], n);
    w->n[c] += n;
    assert_int_equal(w->pool->n_free, free_before - need);
}

static void share(struct world *w, size_t c, size_t from) {
    size_t n = below(w, w->n[from] + 1);
    if (c == from)
        return;
    kv_cache_truncate(&w->kv[c], 0);
    kv_cache_share(&w->kv[c], &w->kv[from], n);
    memcpy(w->values[c], w->values[from], n * sizeof w->values[c][0]);
    w->n[c] = n;
}

static void hold_or_let_go(struct world *w, size_t c) {
    size_t h = below(w, HELD);
    if (w->held[h] != KV_NO_BLOCK) {
        kv_pool_unref(w->pool, w->held[h]);
        w->held[h] = KV_NO_BLOCK;
    } else if (w->kv[c].n_blocks > 0) {
        w->held[h] = w->kv[c].ids[below(w, w->kv[c].n_blocks)];
        kv_pool_ref(w->pool, w->held[h]);
    }
}

static void random_step(struct world *w) {
    size_t c = below(w, CACHES);
    switch (below(w, 6)) {
    case 0:
    case 1:
        grow(w, c);
        break;
    case 2:
        w->n[c] = below(w, w->n[c] + 1);
        kv_cache_truncate(&w->kv[c], w->n[c]);
        break;
    case 3:
        share(w, c, below(w, CACHES));
        break;
    case 4:
        hold_or_let_go(w, c);
        break;
    default:
        kv_pool_trim(w->pool, below(w, 4));
    }
}

static void check_world(const struct world *w) {
    uint32_t refs[24] = {0};
    size_t n_free = 0;
    for (size_t c = 0; c < CACHES; c++) {
        check_holds(&w->kv[c], w->values[c], w->n[c]);
        for (size_t i = 0; i < w->kv[c].n_blocks; i++)
            refs[w->kv[c].ids[i]]++;
    }
    for (size_t h = 0; h < HELD; h++)
        if (w->held[h] != KV_NO_BLOCK)
            refs[w->held[h]]++;
    for (size_t b = 0; b < 24; b++) {
        assert_int_equal(w->pool->refs[b], refs[b]);
        n_free += refs[b] == 0;
    }
    assert_int_equal(w->pool->n_free, n_free);
}

static void random_operations_agree_with_a_simple_model(void **state) {
    (void)state;
    struct model m = make_model();
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->pool = make_pool(&m, 24);
    for (size_t c = 0; c < CACHES; c++)
        w->kv[c] = make_cache(w->pool, ROOM);
    for (size_t h = 0; h < HELD; h++)
        w->held[h] = KV_NO_BLOCK;
    for (int i = 0; i < STEPS; i++) {
        random_step(w);
        check_world(w);
    }
    for (size_t c = 0; c < CACHES; c++)
        kv_cache_release(&w->kv[c]);
    for (size_t h = 0; h < HELD; h++)
        if (w->held[h] != KV_NO_BLOCK)
            kv_pool_unref(w->pool, w->held[h]);
    assert_int_equal(w->pool->n_free, 24);
    kv_pool_destroy(w->pool);
    free(w);
    device_destroy(m.device);
}

/* ---- a cache by itself --------------------------------------------------------------- */

static void a_cache_of_its_own_has_room_for_all_positions(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_cache kv;
    size_t bytes;
    assert_int_equal(kv_cache_init(&kv, &m, KV_F32, 2 * B + 1, NULL), QUERN_OK);
    assert_int_equal(kv.max_tokens, 2 * B + 1);
    assert_int_equal(kv.n_tokens, 0);
    assert_int_equal(kv_cache_bytes(&m.config, KV_F32, 2 * B + 1, &bytes, NULL), QUERN_OK);
    assert_int_equal(bytes, 3 * kv.pool->layout.block_bytes);
    fill_count(&kv, 2 * B + 1);
    assert_int_equal(kv.pool->n_free, 0);
    kv_cache_release(&kv);
    kv_cache_release(&kv);
    device_destroy(m.device);
}

static void a_cache_beyond_addresses_is_refused(void **state) {
    (void)state;
    struct model m = make_model();
    struct kv_cache kv = {0};
    struct quern_error err = {0};
    assert_int_equal(kv_cache_init(&kv, &m, KV_F32, SIZE_MAX / 64, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "too large"));
    assert_null(kv.pool);
    device_destroy(m.device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_takes_blocks_as_it_grows_and_lets_go_of_them),
        cmocka_unit_test(too_many_positions_or_blocks_change_nothing),
        cmocka_unit_test(a_shared_part_of_a_block_is_copied_by_the_one_who_writes),
        cmocka_unit_test(a_full_block_of_the_pool_can_be_appended),
        cmocka_unit_test(random_operations_agree_with_a_simple_model),
        cmocka_unit_test(a_cache_of_its_own_has_room_for_all_positions),
        cmocka_unit_test(a_cache_beyond_addresses_is_refused),
    };
    return cmocka_run_group_tests_name("kv_cache", tests, NULL, NULL);
}
