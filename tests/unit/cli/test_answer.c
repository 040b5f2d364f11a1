#include "cli/answer.h"

#include <string.h>

#include "support/support.h"

struct shown {
    char thinking[256], answer[256];
};

static bool show(void *user, bool thinking, const char *text, size_t len) {
    struct shown *shown = user;
    strncat(thinking ? shown->thinking : shown->answer, text, len);
    return true;
}

static quern_model *model;

static int open_tokenizer(void **state) {
    (void)state;
    const struct quern_model_options options = {.tokenizer_only = true};
    return quern_model_open(support_fixture("fixtures/qwen3-tiny"), &options, &model, NULL) != QUERN_OK;
}

static int close_tokenizer(void **state) {
    (void)state;
    quern_model_close(model);
    return 0;
}

static bool push(struct answer *a, int32_t token, const char *text, size_t len) {
    struct quern_event event = {.token = token, .text = text, .text_len = len};
    return answer_push(a, &event);
}

/* Feeds the tokens of `text`, whose bytes come `lag` tokens late, as they do when a stop string
 * might be on its way. */
static void stream(struct answer *a, const char *text, size_t lag) {
    int32_t *ids = NULL;
    size_t n = 0, sent = 0;
    assert_int_equal(quern_tokenize(model, text, strlen(text), false, true, &ids, &n, NULL),
                     QUERN_OK);
    for (size_t i = 0; i < n; i++) {
        char *so_far = NULL;
        size_t len = 0;
        size_t certain = i + 1 > lag ? i + 1 - lag : 0;
        assert_int_equal(quern_detokenize(model, ids, certain, true, &so_far, &len, NULL),
                         QUERN_OK);
        assert_true(push(a, ids[i], so_far + sent, len - sent));
        sent = len;
        quern_free(so_far);
    }
    char *all = NULL;
    size_t len = 0;
    assert_int_equal(quern_detokenize(model, ids, n, true, &all, &len, NULL), QUERN_OK);
    assert_true(push(a, -1, all + sent, len - sent));
    quern_free(all);
    quern_free(ids);
}

static bool str_equals(struct str s, const char *expected) {
    return str_is(s, expected);
}

struct example {
    const char *text;
    bool inside; /* the prompt opened the thinking */
    const char *shown_thinking, *shown_answer, *thinking, *content;
};

static const struct example examples[] = {
    {"Hello", false, "", "Hello", "", "Hello"},
    {"", false, "", "", "", ""},
    {"<think>\nhm, so\n</think>\n\nHello\n", false, "hm, so", "Hello\n", "hm, so", "Hello\n"},
    {"<think>hm</think>Hello", false, "hm", "Hello", "hm", "Hello"},
    {"<think>\n\n</think>\n\nHello", false, "", "Hello", "", "Hello"},
    {"hm\n</think>\n\nHello", true, "hm", "Hello", "hm", "Hello"},
    {"<think>\na\n\nb", false, "a\n\nb", "", "a\n\nb", ""},
    {"hm", true, "hm", "", "hm", ""},
    /* A later <think> is text. */
    {"I say <think>", false, "", "I say <think>", "", "I say <think>"},
    /* The last </think> counts for the conversation; what was shown is shown. */
    {"<think>a</think>b</think>\nc", false, "a", "b</think>\nc", "a</think>b", "c"},
    {"\n\nHello", false, "", "\n\nHello", "", "\n\nHello"},
    /* Spelt out in pieces it is no marker. */
    {"<thi nk>x", false, "", "<thi nk>x", "", "<thi nk>x"},
};

static void thinking_and_answer_are_told_apart_however_late_the_text_comes(void **state) {
    (void)state;
    struct think_tokens think = think_tokens_find(model);
    assert_true(think.begin >= 0 && think.end >= 0);
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *e = &examples[i];
        for (size_t lag = 0; lag < 4; lag++) {
            struct shown shown = {"", ""};
            struct answer a;
            answer_init(&a, model, think, e->inside, show, &shown);
            stream(&a, e->text, lag);
            assert_true(str_equals(answer_thinking(&a), e->thinking));
            assert_true(str_equals(answer_content(&a), e->content));
            /* Text that lags behind a second marker is shown as the markers then are. */
            if (lag == 0 || !strstr(e->thinking, "</think>")) {
                assert_string_equal(shown.thinking, e->shown_thinking);
                assert_string_equal(shown.answer, e->shown_answer);
            }
            answer_release(&a);
        }
    }
}

static void bytes_that_wait_for_their_character_do_not_move_the_split(void **state) {
    (void)state;
    struct think_tokens think = think_tokens_find(model);
    struct shown shown = {"", ""};
    struct answer a;
    answer_init(&a, model, think, true, show, &shown);
    /* The first byte of a character that never comes, then the marker. */
    assert_true(push(&a, 162, "", 0));
    assert_true(push(&a, think.end, "\xEF\xBF\xBD</think>", 11));
    assert_true(push(&a, 72, "i", 1));
    assert_string_equal(shown.thinking, "\xEF\xBF\xBD");
    assert_string_equal(shown.answer, "i");
    answer_release(&a);
}

static void a_stop_string_in_the_middle_of_a_marker_leaves_the_thinking(void **state) {
    (void)state;
    struct think_tokens think = think_tokens_find(model);
    struct shown shown = {"", ""};
    struct answer a;
    answer_init(&a, model, think, true, show, &shown);
    assert_true(push(&a, 72, "i", 1));
    assert_true(push(&a, think.end, "</th", 4)); /* and "ink>" was the stop string */
    assert_true(push(&a, -1, "", 0));
    assert_string_equal(shown.thinking, "i");
    assert_string_equal(shown.answer, "");
    assert_true(str_equals(answer_thinking(&a), "i"));
    assert_true(str_equals(answer_content(&a), ""));
    answer_release(&a);
}

static bool refuse(void *user, bool thinking, const char *text, size_t len) {
    (void)user;
    (void)thinking;
    (void)text;
    (void)len;
    return false;
}

static void a_listener_that_refuses_stops_the_generation(void **state) {
    (void)state;
    struct answer a;
    answer_init(&a, model, think_tokens_find(model), false, refuse, NULL);
    assert_true(push(&a, 72, "", 0));
    assert_false(push(&a, 72, "i", 1));
    assert_int_equal(a.failed, QUERN_OK);
    answer_release(&a);
}

static void a_prompt_that_ends_with_the_marker_has_opened_the_thinking(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool open;
    } cases[] = {
        {"", false},
        {"<|im_start|>assistant\n", false},
        {"<|im_start|>assistant\n<think>", true},
        {"<|im_start|>assistant\n<think>\n", true},
        {"<|im_start|>assistant\n<think>\n\n</think>\n\n", false},
        {"what is <think>? Tell me.<|im_end|>\n<|im_start|>assistant\n", false},
    };
    struct think_tokens think = think_tokens_find(model);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        assert_int_equal(quern_tokenize(model, cases[i].text, strlen(cases[i].text), false, true,
                                        &ids, &n, NULL),
                         QUERN_OK);
        assert_int_equal(think_tokens_left_open(think, ids, n), cases[i].open);
        assert_false(think_tokens_left_open((struct think_tokens){-1, -1}, ids, n));
        quern_free(ids);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thinking_and_answer_are_told_apart_however_late_the_text_comes),
        cmocka_unit_test(bytes_that_wait_for_their_character_do_not_move_the_split),
        cmocka_unit_test(a_stop_string_in_the_middle_of_a_marker_leaves_the_thinking),
        cmocka_unit_test(a_listener_that_refuses_stops_the_generation),
        cmocka_unit_test(a_prompt_that_ends_with_the_marker_has_opened_the_thinking),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
