#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "support/support.h"

static void blocks_are_aligned_distinct_and_keep_their_bytes(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    unsigned char *blocks[500];
    for (size_t i = 0; i < 500; i++) {
        blocks[i] = arena_alloc(&a, i);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % alignof(max_align_t), 0);
        memset(blocks[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t k = 0; k < i; k++)
            assert_int_equal(blocks[i][k], i & 0xff);
        assert_true(i == 0 || blocks[i] != blocks[i - 1]);
    }
    arena_release(&a);
}

static void the_maximum_holds_to_the_byte(void **state) {
    (void)state;
    struct arena a = ARENA_INIT(64);
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 17));
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 0));
    assert_int_equal(a.used_bytes, 64);
    arena_release(&a);
    assert_non_null(arena_alloc(&a, 64)); /* all of it again */
    arena_release(&a);
    arena_release(NULL);
}

static void impossible_sizes_fail(void **state) {
    (void)state;
    struct arena a = ARENA_INIT(0);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 64));
    assert_null(arena_calloc(&a, SIZE_MAX / 2, 3));
    assert_null(arena_strndup(&a, "x", SIZE_MAX));
    arena_release(&a);
}

static void a_block_larger_than_any_chunk_is_given(void **state) {
    (void)state;
    struct arena a = ARENA_INIT(0);
    unsigned char *small = arena_alloc(&a, 10);
    unsigned char *large = arena_calloc(&a, 3 << 20, 1);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal(large[(3 << 20) - 1], 0);
    assert_non_null(arena_alloc(&a, 10));
    arena_release(&a);
}

static void copies_end_with_a_nul(void **state) {
    (void)state;
    struct arena a = ARENA_INIT(0);
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_string_equal(arena_strdup(&a, "whole"), "whole");
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_distinct_and_keep_their_bytes),
        cmocka_unit_test(the_maximum_holds_to_the_byte),
        cmocka_unit_test(impossible_sizes_fail),
        cmocka_unit_test(a_block_larger_than_any_chunk_is_given),
        cmocka_unit_test(copies_end_with_a_nul),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
