#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

static void a_zeroed_map_is_empty_and_grows(void **state) {
    (void)state;
    struct map m = {0};
    uint32_t value = 42;
    assert_false(map_get(&m, STR_LIT("a"), &value));
    assert_int_equal(value, 42);
    bool existed = true;
    assert_true(map_put(&m, STR_LIT("a"), 1, &existed));
    assert_false(existed);
    assert_true(map_get(&m, STR_LIT("a"), &value));
    assert_int_equal(value, 1);
    map_release(&m);
    map_release(&m);
    map_release(NULL);
}

static void putting_a_key_again_overwrites_and_says_so(void **state) {
    (void)state;
    struct map m;
    bool existed;
    uint32_t value;
    assert_true(map_init(&m, 3));
    assert_true(map_put(&m, STR_LIT("key"), 1, NULL));
    assert_true(map_put(&m, STR_LIT("key"), 2, &existed));
    assert_true(existed);
    assert_int_equal(m.count, 1);
    assert_true(map_get(&m, STR_LIT("key"), &value));
    assert_int_equal(value, 2);
    assert_true(map_get(&m, STR_LIT("key"), NULL));
    map_release(&m);
}

static void many_keys_of_every_length_are_kept_apart(void **state) {
    (void)state;
    enum { N = 20000, KEY = 24 };
    char(*keys)[KEY] = malloc(sizeof *keys * N);
    assert_non_null(keys);
    struct map m = {0};
    for (uint32_t i = 0; i < N; i++) {
        snprintf(keys[i], KEY, "%.*s%u", (int)(i % 13), "aaaaaaaaaaaa", i);
        assert_true(map_put(&m, str_from(keys[i]), i, NULL));
    }
    assert_int_equal(m.count, N);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t value = 0;
        assert_true(map_get(&m, str_from(keys[i]), &value));
        assert_int_equal(value, i);
    }
    assert_false(map_get(&m, STR_LIT("aaaa"), NULL));
    map_release(&m);
    free(keys);
}

static void keys_may_hold_nul_bytes_and_be_empty(void **state) {
    (void)state;
    struct map m = {0};
    uint32_t value;
    assert_true(map_put(&m, (struct str){NULL, 0}, 1, NULL));
    assert_true(map_put(&m, (struct str){"\0", 1}, 2, NULL));
    assert_true(map_put(&m, (struct str){"\0\0", 2}, 3, NULL));
    assert_int_equal(m.count, 3);
    assert_true(map_get(&m, STR_LIT(""), &value));
    assert_int_equal(value, 1);
    assert_true(map_get(&m, (struct str){"\0\0", 2}, &value));
    assert_int_equal(value, 3);
    map_release(&m);
}

static void an_impossible_size_fails(void **state) {
    (void)state;
    struct map m;
    assert_false(map_init(&m, SIZE_MAX / 2 + 1));
    map_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_map_is_empty_and_grows),
        cmocka_unit_test(putting_a_key_again_overwrites_and_says_so),
        cmocka_unit_test(many_keys_of_every_length_are_kept_apart),
        cmocka_unit_test(keys_may_hold_nul_bytes_and_be_empty),
        cmocka_unit_test(an_impossible_size_fails),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
