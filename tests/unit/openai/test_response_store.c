#include "openai/response_store.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { ROOM = 1 << 20 };

static const char *id_of(int i) {
    static char id[RESPONSE_ID_BYTES];
    snprintf(id, sizeof id, "resp_%024d", i);
    return id;
}

static bool put(struct response_store *s, int i, struct stored_turn *parent, const char *input,
                const char *output) {
    const struct response_to_store what = {.id = id_of(i),
                                           .owner = "me",
                                           .parent = parent,
                                           .answer = STR_LIT("{\"answer\":1}"),
                                           .input = str_from(input),
                                           .output = str_from(output)};
    return response_store_put(s, &what);
}

static size_t context(struct response_store *s, int i, struct stored_turn **turn, char *text,
                      size_t size) {
    json_t *items = NULL;
    struct api_error err;
    assert_int_equal(response_store_context(s, id_of(i), "me", ROOM, "p", turn, &items, &err),
                     QUERN_OK);
    const size_t n = json_array_size(items);
    *text = '\0';
    for (size_t k = 0; k < n; k++) {
        const size_t len = strlen(text);
        snprintf(text + len, size - len, "%s", json_string_value(json_array_get(items, k)));
    }
    json_decref(items);
    return n;
}

static void what_is_kept_is_found_by_its_owner_only(void **state) {
    (void)state;
    struct response_store s;
    struct buffer out;
    struct api_error err;
    json_t *items = NULL;
    assert_int_equal(response_store_init(&s, 10, ROOM, NULL), QUERN_OK);
    buffer_init(&out, ROOM);
    assert_true(put(&s, 1, NULL, "\"a\"", "\"b\""));
    assert_int_equal(response_store_get(&s, id_of(1), "me", &out, &err), QUERN_OK);
    assert_string_equal(out.data, "{\"answer\":1}");
    assert_int_not_equal(response_store_get(&s, id_of(1), "you", &out, &err), QUERN_OK);
    assert_int_equal(api_error_http_status(err.kind), 404);
    assert_int_not_equal(response_store_input(&s, id_of(1), "", &items, &err), QUERN_OK);
    assert_int_not_equal(response_store_delete(&s, id_of(1), "you", &err), QUERN_OK);
    assert_int_equal(response_store_delete(&s, id_of(1), "me", &err), QUERN_OK);
    assert_int_not_equal(response_store_get(&s, id_of(1), "me", &out, &err), QUERN_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.bytes, 0);
    buffer_release(&out);
    response_store_release(&s);
}

static void a_conversation_outlives_the_answers_it_was_made_of(void **state) {
    (void)state;
    struct response_store s;
    struct stored_turn *first, *second, *third;
    struct api_error err;
    char text[64];
    json_t *items = NULL;
    assert_int_equal(response_store_init(&s, 10, ROOM, NULL), QUERN_OK);
    put(&s, 1, NULL, "\"a\",\"b\"", "\"c\"");
    assert_int_equal(context(&s, 1, &first, text, sizeof text), 3);
    put(&s, 2, first, "", "\"d\"");
    response_store_drop_turn(&s, first);
    assert_int_equal(context(&s, 2, &second, text, sizeof text), 4);
    put(&s, 3, second, "\"e\"", "\"f\"");
    response_store_drop_turn(&s, second);
    response_store_delete(&s, id_of(1), "me", &err);
    response_store_delete(&s, id_of(2), "me", &err);
    assert_int_equal(context(&s, 3, &third, text, sizeof text), 6);
    assert_string_equal(text, "abcdef");
    response_store_drop_turn(&s, third);
    assert_int_equal(response_store_input(&s, id_of(3), "me", &items, &err), QUERN_OK);
    assert_int_equal(json_array_size(items), 5); /* without what went out */
    json_decref(items);
    response_store_delete(&s, id_of(3), "me", &err);
    assert_int_equal(s.bytes, 0);
    response_store_release(&s);
}

static void a_conversation_beyond_its_bytes_is_refused(void **state) {
    (void)state;
    struct response_store s;
    struct stored_turn *turn = NULL;
    struct api_error err;
    json_t *items = NULL;
    assert_int_equal(response_store_init(&s, 10, ROOM, NULL), QUERN_OK);
    put(&s, 1, NULL, "\"aaaaaaaaaaaaaaaa\"", "\"c\"");
    assert_int_not_equal(response_store_context(&s, id_of(1), "me", 10, "p", &turn, &items, &err),
                         QUERN_OK);
    assert_null(turn);
    assert_int_equal(api_error_http_status(err.kind), 400);
    assert_int_not_equal(response_store_context(&s, id_of(2), "me", ROOM, "p", &turn, &items, &err),
                         QUERN_OK);
    assert_string_equal(api_error_code(err.kind), "previous_response_not_found");
    response_store_release(&s);
}

static void the_oldest_go_when_there_is_no_room(void **state) {
    (void)state;
    struct response_store s;
    struct buffer out;
    struct api_error err;
    assert_int_equal(response_store_init(&s, 3, ROOM, NULL), QUERN_OK);
    buffer_init(&out, ROOM);
    for (int i = 0; i < 5; i++)
        assert_true(put(&s, i, NULL, "\"a\"", "\"b\""));
    assert_int_equal(s.n, 3);
    for (int i = 0; i < 5; i++)
        assert_int_equal(response_store_get(&s, id_of(i), "me", &out, &err) == QUERN_OK, i >= 2);
    const size_t one = s.bytes / 3;
    response_store_release(&s);
    assert_int_equal(response_store_init(&s, 100, 2 * one, NULL), QUERN_OK);
    for (int i = 0; i < 5; i++)
        assert_true(put(&s, i, NULL, "\"a\"", "\"b\""));
    assert_int_equal(s.n, 2);
    response_store_release(&s);
    assert_int_equal(response_store_init(&s, 100, one - 1, NULL), QUERN_OK);
    assert_false(put(&s, 1, NULL, "\"a\"", "\"b\"")); /* does not fit alone */
    assert_int_equal(s.bytes, 0);
    response_store_release(&s);
    assert_int_equal(response_store_init(&s, 0, ROOM, NULL), QUERN_OK);
    assert_false(put(&s, 1, NULL, "\"a\"", "\"b\""));
    response_store_release(&s);
    buffer_release(&out);
}

static void a_long_conversation_is_dropped_without_recursion(void **state) {
    (void)state;
    enum { TURNS = 3000 };
    struct response_store s;
    struct stored_turn *turn = NULL, *next;
    struct api_error err;
    json_t *items = NULL;
    assert_int_equal(response_store_init(&s, 1, ROOM, NULL), QUERN_OK);
    for (int i = 0; i < TURNS; i++) {
        assert_true(put(&s, i, turn, "\"a\"", "\"b\""));
        response_store_drop_turn(&s, turn);
        assert_int_equal(response_store_context(&s, id_of(i), "me", ROOM, "p", &next, &items, &err),
                         QUERN_OK);
        assert_int_equal(json_array_size(items), 2 * (i + 1));
        json_decref(items);
        turn = next;
    }
    response_store_drop_turn(&s, turn);
    response_store_delete(&s, id_of(TURNS - 1), "me", &err);
    assert_int_equal(s.bytes, 0);
    response_store_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_found_by_its_owner_only),
        cmocka_unit_test(a_conversation_outlives_the_answers_it_was_made_of),
        cmocka_unit_test(a_conversation_beyond_its_bytes_is_refused),
        cmocka_unit_test(the_oldest_go_when_there_is_no_room),
        cmocka_unit_test(a_long_conversation_is_dropped_without_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
