/* Forms through the public functions: what is forced, and what must end in time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "quern.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"
#include "text/json.h"

enum { VOCAB = 512, N_SCHEMAS = 60, TOKENS_MAX = 400, TEXT_MAX = 8192 };

static quern_model *model;
static quern_engine *one_a_step, *automatic, *always;

static quern_engine *open_engine(enum quern_speculation speculation) {
    const struct quern_engine_options o = {.n_context = 1024, .speculation = speculation};
    quern_engine *e = NULL;
    struct quern_error err;
    if (quern_engine_create(model, &o, &e, &err))
        fail_msg("%s", err.message);
    return e;
}

static int set_up(void **state) {
    (void)state;
    struct tiny_shape s = TINY_QWEN3;
    char path[4096];
    size_t size = 0;
    s.vocab = VOCAB;
    s.extra_config = "\"eos_token_id\": 488,";
    const char *dir = tiny_model_write(&s, "forms", 3);
    char *json = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    assert_int_equal(os_path_join(path, sizeof path, dir, "tokenizer.json", NULL), QUERN_OK);
    support_write_file(path, json, size);
    free(json);
    const struct quern_model_options options = {.n_threads = 1};
    struct quern_error err;
    if (quern_model_open(dir, &options, &model, &err))
        fail_msg("%s", err.message);
    one_a_step = open_engine(QUERN_SPECULATION_OFF);
    automatic = open_engine(QUERN_SPECULATION_AUTO);
    always = open_engine(QUERN_SPECULATION_ALWAYS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    quern_engine_destroy(one_a_step);
    quern_engine_destroy(automatic);
    quern_engine_destroy(always);
    quern_model_close(model);
    return 0;
}

/* ---- random schemas ------------------------------------------------------------------- */

static uint64_t chance;

static unsigned draw(unsigned n) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(chance >> 33) % n;
}

static void add(char *to, const char *text) {
    const size_t n = strlen(to);
    assert_true(n + strlen(text) < TEXT_MAX);
    memcpy(to + n, text, strlen(text) + 1);
}

static void write_schema(char *to, int depth) {
    static const char *const keys[] = {"temperature_celsius", "name", "is_open", "a", "a b", "$ref",
                                       "straße", "numbers", "the last of them"};
    static const char *const scalars[] = {
        "{\"type\": \"integer\", \"minimum\": -20, \"maximum\": 120}",
        "{\"type\": \"boolean\"}",
        "{\"enum\": [\"north\", \"north-east\", \"south\", null]}",
        "{\"const\": \"a fixed text of some length, \\\"quoted\\\"\"}",
        "{\"type\": \"string\", \"maxLength\": 5}",
        "{\"type\": \"string\", \"pattern\": \"^[A-F]{2}-(alpha|beta)$\"}",
    };
    const unsigned kind = draw(depth > 0 ? 4 : 2), n = 1 + draw(4), first = draw(9);
    if (kind < 2) {
        add(to, scalars[draw(6)]);
    } else if (kind == 2) {
        add(to, "{\"type\": \"array\", \"minItems\": 1, \"maxItems\": 3, \"items\": ");
        write_schema(to, depth - 1);
        add(to, "}");
    } else {
        add(to, "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
        for (unsigned i = 0; i < n; i++) {
            add(to, i ? ", \"" : "\"");
            add(to, keys[(first + i) % 9]);
            add(to, "\": ");
            write_schema(to, depth - 1);
        }
        add(to, "}, \"required\": [");
        for (unsigned i = 0; i < n; i += 1 + draw(2)) {
            add(to, i ? ", \"" : "\"");
            add(to, keys[(first + i) % 9]);
            add(to, "\"");
        }
        add(to, "]}");
    }
}

/* ---- answers ---------------------------------------------------------------------------- */

struct answer {
    int32_t tokens[TOKENS_MAX];
    char text[TEXT_MAX];
    size_t n, len, n_at_once;
    enum quern_finish finish;
};

static bool take(void *user, const struct quern_event *event) {
    struct answer *a = user;
    assert_true(a->n < TOKENS_MAX && a->len + event->text_len < TEXT_MAX);
    if (event->token >= 0)
        a->tokens[a->n++] = event->token;
    memcpy(a->text + a->len, event->text, event->text_len);
    a->len += event->text_len;
    a->text[a->len] = 0;
    return true;
}

static const int32_t prompt[] = {5, 6, 7, 8};

static struct quern_generate_options options_of(const struct quern_form *form, uint64_t seed,
                                                int32_t max_tokens) {
    return (struct quern_generate_options){.sampling = {.temperature = seed ? 1.3f : 0,
                                                        .top_p = 1,
                                                        .typical_p = 1,
                                                        .repetition_penalty = 1,
                                                        .seed = seed},
                                           .max_tokens = max_tokens,
                                           .n_top_logprobs = -1,
                                           .form = form};
}

static void in_session(struct quern_generate_options o, struct answer *out) {
    const struct quern_session_options so = {.n_context = 1024};
    quern_session *s = NULL;
    struct quern_error err = {0};
    struct quern_generate_result result;
    *out = (struct answer){0};
    o.on_event = take;
    o.user = out;
    if (quern_session_create(model, &so, &s, &err) || quern_session_feed(s, prompt, 4, &err) ||
        quern_generate(s, &o, &result, &err))
        fail_msg("%s", err.message);
    size_t n_held;
    const int32_t *held = quern_session_tokens(s, &n_held);
    assert_int_equal(n_held, 4 + out->n);
    assert_memory_equal(held + 4, out->tokens, out->n * sizeof *held);
    out->finish = result.finish;
    quern_session_destroy(s);
}

static void in_engine(quern_engine *e, struct quern_generate_options o, struct answer *out) {
    const struct quern_request r = {.prompt = prompt, .n_prompt = 4, .generate = o};
    quern_ticket *t = NULL;
    struct quern_error err = {0};
    struct quern_event event;
    struct quern_request_result result;
    *out = (struct answer){0};
    if (quern_engine_submit(e, &r, &t, &err))
        fail_msg("%s", err.message);
    for (enum quern_next next; (next = quern_ticket_next(t, &event)) != QUERN_NEXT_END;) {
        if (next == QUERN_NEXT_NOTHING)
            quern_ticket_wait(t, -1);
        else
            take(out, &event);
    }
    assert_int_equal(quern_ticket_result(t, &result, NULL), QUERN_OK);
    if (result.status)
        fail_msg("%s", result.message);
    out->n_at_once = result.usage.accepted_tokens;
    out->finish = result.finish;
    quern_ticket_destroy(t);
}

static void assert_same(const struct answer *a, const struct answer *b, const char *schema,
                        const char *how) {
    if (a->n != b->n || memcmp(a->tokens, b->tokens, a->n * sizeof *a->tokens) != 0 ||
        strcmp(a->text, b->text) != 0 || a->finish != b->finish)
        fail_msg("%s, %s: \"%s\" beside \"%s\"", schema, how, b->text, a->text);
}

static void test_forced_text_taken_at_once_gives_the_tokens_of_single_steps(void **state) {
    (void)state;
    static struct answer alone, other;
    size_t n_tokens = 0, n_at_once = 0;
    for (unsigned i = 0; i < N_SCHEMAS; i++) {
        char schema[TEXT_MAX] = "";
        chance = i;
        write_schema(schema, 2);
        const struct quern_form form = {.json_schema = schema};
        for (uint64_t seed = 0; seed < 4; seed++) {
            struct quern_generate_options o = options_of(&form, seed, 150);
            in_engine(one_a_step, o, &alone);
            assert_int_equal(alone.n_at_once, 0);
            n_tokens += alone.n;
            in_session(o, &other);
            assert_same(&alone, &other, schema, "a session");
            in_engine(automatic, o, &other);
            assert_same(&alone, &other, schema, "an engine");
            n_at_once += other.n_at_once;
            in_engine(always, o, &other);
            assert_same(&alone, &other, schema, "an engine that always guesses");
            o.n_top_logprobs = 2; /* with logits for forced tokens too */
            in_engine(automatic, o, &other);
            assert_same(&alone, &other, schema, "an engine with log-probabilities");
            in_session(o, &other);
            assert_same(&alone, &other, schema, "a session with log-probabilities");
        }
    }
    printf("%zu tokens, %zu of them taken at once\n", n_tokens, n_at_once);
    assert_true(n_at_once * 5 > n_tokens);
}

/* ---- in time ------------------------------------------------------------------------------ */

static bool is_whole(const struct answer *a) {
    json_t *value = NULL;
    const bool ok = json_parse(a->text, a->len, "answer", &value, NULL) == QUERN_OK;
    json_decref(value);
    return ok;
}

static bool whole_within(const struct quern_form *form, uint64_t seed, quern_engine *e, int32_t limit,
                         struct answer *a) {
    in_engine(e, options_of(form, seed, limit), a);
    assert_true(a->n <= (size_t)limit);
    return is_whole(a);
}

/* From the least number of tokens that a whole text takes, every limit gives one. */
static void check_limits(const char *schema, uint64_t seed, quern_engine *e, struct answer *a) {
    const struct quern_form form = {.json_schema = schema, .close_in_time = true};
    int32_t too_few = 0, least = TOKENS_MAX - 1;
    assert_true(whole_within(&form, seed, e, least, a));
    while (least - too_few > 1) {
        const int32_t limit = (least + too_few) / 2;
        *(whole_within(&form, seed, e, limit, a) ? &least : &too_few) = limit;
    }
    for (int32_t limit = least; limit < least + 30 && limit < TOKENS_MAX; limit++) {
        if (!whole_within(&form, seed, e, limit, a))
            fail_msg("%s: at most %d tokens: %s", schema, (int)limit, a->text);
        /* But for the first there is room for the end token. */
        assert_true(limit == least || a->finish == QUERN_FINISH_STOP);
    }
}

static void test_an_answer_closed_in_time_is_whole_at_every_limit(void **state) {
    (void)state;
    static struct answer a, b;
    for (unsigned i = 0; i < N_SCHEMAS; i++) {
        char schema[TEXT_MAX] = "";
        chance = i;
        write_schema(schema, 2);
        check_limits(schema, i % 3, i % 2 ? automatic : one_a_step, &a);
    }
    /* It takes no part in an answer that ends by itself, and needs no engine. */
    const char *schema = "{\"type\": \"array\", \"minItems\": 2, \"maxItems\": 3, \"items\": {\"type\": \"boolean\"}}";
    struct quern_form form = {.json_schema = schema, .close_in_time = true};
    in_session(options_of(&form, 7, 100), &a);
    form.close_in_time = false;
    in_session(options_of(&form, 7, 100), &b);
    assert_same(&a, &b, schema, "closed in time");
    assert_true(is_whole(&a));
}

static void test_text_without_end_closes_right_before_the_limit(void **state) {
    (void)state;
    static struct answer a;
    static const char *const schemas[] = {
        "{\"type\": \"string\"}", "{\"type\": \"array\", \"minItems\": 3, \"items\": {\"type\": \"string\"}}",
        ("{\"type\": \"object\", \"properties\": {\"text\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"}, "
         "\"ok\": {\"type\": \"boolean\"}}, \"required\": [\"text\", \"n\", \"ok\"]}")};
    for (size_t i = 0; i < 3; i++)
        for (int32_t limit = 40; limit < 60; limit++) {
            const struct quern_form form = {.json_schema = schemas[i], .close_in_time = true};
            in_session(options_of(&form, 1, limit), &a);
            assert_true(is_whole(&a));
            in_engine(automatic, options_of(&form, 2, limit), &a);
            assert_true(is_whole(&a));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forced_text_taken_at_once_gives_the_tokens_of_single_steps),
        cmocka_unit_test(test_an_answer_closed_in_time_is_whole_at_every_limit),
        cmocka_unit_test(test_text_without_end_closes_right_before_the_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
