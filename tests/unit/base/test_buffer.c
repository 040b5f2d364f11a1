#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static void appends_follow_each_other_and_end_with_a_nul(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    buffer_append(&b, "a\0b", 3);
    buffer_append_str(&b, STR_LIT("cd"));
    buffer_append_str(&b, (struct str){NULL, 0});
    buffer_puts(&b, "ef");
    buffer_putc(&b, 'g');
    buffer_printf(&b, "%d-%s", 12, "h");
    assert_int_equal(b.failed, QUERN_OK);
    assert_int_equal(b.len, 12);
    assert_memory_equal(b.data, "a\0bcdefg12-h", 13);
    assert_true(str_eq(buffer_str(&b), (struct str){"a\0bcdefg12-h", 12}));
    buffer_release(&b);
    assert_int_equal(b.max, 1000);
    buffer_release(NULL);
}

static void the_maximum_holds_to_the_byte_and_stops_later_appends(void **state) {
    (void)state;
    struct buffer b;
    struct quern_error err = {0};
    buffer_init(&b, 4);
    assert_int_equal(buffer_puts(&b, "abcd"), QUERN_OK);
    assert_int_equal(buffer_status(&b, "text", &err), QUERN_OK);
    assert_int_equal(buffer_putc(&b, 'e'), QUERN_ERR_LIMIT);
    assert_int_equal(buffer_append(&b, "", 0), QUERN_ERR_LIMIT);
    assert_int_equal(buffer_printf(&b, "%s", ""), QUERN_ERR_LIMIT);
    assert_string_equal(b.data, "abcd");
    assert_int_equal(buffer_status(&b, "text", &err), QUERN_ERR_LIMIT);
    assert_string_equal(err.message, "text is longer than 4 bytes");
    assert_null(buffer_detach(&b, NULL));
    buffer_clear(&b);
    assert_int_equal(buffer_puts(&b, "xy"), QUERN_OK);
    assert_string_equal(b.data, "xy");
    buffer_release(&b);
}

static void sizes_near_the_end_of_memory_do_not_wrap(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, SIZE_MAX);
    buffer_putc(&b, 'x');
    assert_int_equal(buffer_reserve(&b, SIZE_MAX), QUERN_ERR_LIMIT);
    buffer_clear(&b);
    assert_int_equal(buffer_reserve(&b, SIZE_MAX - 1), QUERN_ERR_LIMIT);
    buffer_release(&b);
}

static void a_long_formatted_text_is_whole(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 100000);
    buffer_printf(&b, "%05000d", 7);
    assert_int_equal(b.len, 5000);
    assert_int_equal(b.data[4999], '7');
    assert_int_equal(strlen(b.data), 5000);
    buffer_release(&b);
}

static void a_detached_text_belongs_to_the_caller(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 10);
    size_t len = 99;
    char *text = buffer_detach(&b, &len);
    assert_string_equal(text, "");
    assert_int_equal(len, 0);
    free(text);
    buffer_puts(&b, "abc");
    text = buffer_detach(&b, &len);
    assert_string_equal(text, "abc");
    assert_int_equal(len, 3);
    assert_null(b.data);
    free(text);
    buffer_puts(&b, "usable again");
    assert_int_equal(b.failed, QUERN_ERR_LIMIT); /* twelve bytes, ten at most */
    buffer_release(&b);
}

static void a_cleared_buffer_keeps_its_memory(void **state) {
    (void)state;
    struct buffer b;
    buffer_init(&b, 10);
    buffer_clear(&b);
    assert_null(b.data);
    buffer_puts(&b, "abc");
    char *data = b.data;
    buffer_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    buffer_puts(&b, "de");
    assert_ptr_equal(b.data, data);
    buffer_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_follow_each_other_and_end_with_a_nul),
        cmocka_unit_test(the_maximum_holds_to_the_byte_and_stops_later_appends),
        cmocka_unit_test(sizes_near_the_end_of_memory_do_not_wrap),
        cmocka_unit_test(a_long_formatted_text_is_whole),
        cmocka_unit_test(a_detached_text_belongs_to_the_caller),
        cmocka_unit_test(a_cleared_buffer_keeps_its_memory),
    };
    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
