/* Requests with different adapters in one engine: each gives to the bit what it gives alone. */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "support/engine_rig.h"
#include "support/random_adapter.h"

enum { CONTEXT = 256, N_REQUESTS = 18, N_SETS = 6 };

static struct rig rig;
static struct quern_adapter *lora, *small, *dora;

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 2);
    lora = random_adapter_open(rig.model, "lora", 5, false, 1, 1);
    small = random_adapter_open(rig.model, "small", 1, false, 2, -0.5f);
    dora = random_adapter_open(rig.model, "dora", 3, true, 3, 1);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    adapter_release(lora);
    adapter_release(small);
    adapter_release(dora);
    rig_close(&rig);
    return 0;
}

/* Prompts of which many begin alike, so that a cache that mixed adapters up would be noticed. */
static struct quern_request request(size_t i) {
    static int32_t prompts[N_REQUESTS][CONTEXT];
    static const quern_adapter *sets[N_SETS][2];
    static const size_t sizes[N_SETS] = {0, 1, 1, 1, 2, 2};
    const size_t n_prompt = 40 + i * 11 % 90, s = i % N_SETS;
    sets[1][0] = lora;
    sets[2][0] = small;
    sets[3][0] = dora;
    sets[4][0] = lora;
    sets[4][1] = dora;
    sets[5][0] = dora; /* the other way round is another set */
    sets[5][1] = lora;
    rig_prompt(prompts[i], n_prompt, i / N_SETS % 2);
    struct quern_request r = rig_request(prompts[i], n_prompt, 100 + i, 12 + (int32_t)(i * 5 % 30));
    if (i % 2)
        r.generate.sampling.temperature = 0;
    r.adapters = sets[s];
    r.n_adapters = sizes[s];
    return r;
}

static struct rig_answer alone[N_REQUESTS], answers[N_REQUESTS];

static void make_alone(void) {
    for (size_t i = 0; i < N_REQUESTS && alone[i].n == 0; i++) {
        const struct quern_request r = request(i);
        rig_alone(&rig, &r, &alone[i]);
    }
}

static void run_all(struct engine *e) {
    quern_ticket *tickets[N_REQUESTS];
    make_alone();
    for (size_t i = 0; i < N_REQUESTS; i++) {
        const struct quern_request r = request(i);
        tickets[i] = rig_submit(e, &r);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        rig_finish(tickets[i], &answers[i]);
        rig_assert_same(&answers[i], &alone[i]);
    }
}

static void test_adapters_side_by_side_give_the_bits_they_give_alone(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    run_all(e);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_the_same_again_from_the_cache_and_one_by_one(void **state) {
    (void)state;
    const struct quern_engine_options options = {.kv_bytes = 64 << 20};
    struct engine *e = rig_engine(&rig, &options);
    run_all(e);
    for (size_t i = N_REQUESTS; i-- > 0;) {
        const struct quern_request r = request(i);
        rig_run(e, &r, &answers[i]);
        rig_assert_same(&answers[i], &alone[i]);
        assert_true(answers[i].result.usage.cached_tokens > 0);
    }
    engine_destroy(e);
}

static void test_with_little_memory_few_tokens_a_step_and_guesses(void **state) {
    (void)state;
    const struct quern_engine_options options = {
        .kv_bytes = 1, .max_step_tokens = 24, .speculation = QUERN_SPECULATION_ALWAYS};
    struct engine *e = rig_engine(&rig, &options);
    run_all(e);
    engine_destroy(e);
}

static void test_an_adapter_changes_the_answer_and_its_cache_is_its_own(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request r = request(0);
    r.generate.sampling.temperature = 0;
    struct rig_answer plain, with;
    rig_run(e, &r, &plain);
    r.adapters = (const quern_adapter *const[]){lora};
    r.n_adapters = 1;
    rig_run(e, &r, &with);
    assert_int_equal(with.result.usage.cached_tokens, 0);
    assert_true(plain.n != with.n ||
                memcmp(plain.logprobs, with.logprobs, plain.n * sizeof plain.logprobs[0]) != 0);
    rig_run(e, &r, &plain);
    assert_true(plain.result.usage.cached_tokens > 0);
    rig_assert_same(&plain, &with);
    engine_destroy(e);
}

static void test_a_salt_cannot_spell_another_adapters_mark(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request r = request(0);
    struct rig_answer a;
    uint64_t f[2];
    char salt[64];
    const struct adapter_set set = {.items = {lora}, .n = 1};
    adapter_set_fingerprint(&set, f);
    snprintf(salt, sizeof salt, "\001%016llx%016llx ", (unsigned long long)f[0],
             (unsigned long long)f[1]);
    r.adapters = (const quern_adapter *const[]){lora};
    r.n_adapters = 1;
    rig_run(e, &r, &a);
    r.n_adapters = 0;
    r.cache_salt = salt;
    rig_run(e, &r, &a);
    assert_int_equal(a.result.usage.cached_tokens, 0);
    engine_destroy(e);
}

static void test_an_adapter_may_be_closed_while_a_request_has_it(void **state) {
    (void)state;
    struct quern_adapter *mine = random_adapter_open(rig.model, "mine", 2, false, 9, 1);
    struct engine *e = rig_engine(&rig, NULL);
    struct quern_request r = request(0);
    struct rig_answer a, b;
    r.adapters = (const quern_adapter *const[]){mine};
    r.n_adapters = 1;
    rig_alone(&rig, &r, &b);
    quern_ticket *t = rig_submit(e, &r);
    adapter_release(mine);
    rig_finish(t, &a);
    rig_assert_same(&a, &b);
    engine_destroy(e);
}

static void test_what_cannot_be_is_refused(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    struct rig other;
    rig_open_seed(&other, CONTEXT, 1, 6);
    struct quern_adapter *foreign = random_adapter_open(other.model, "foreign", 2, false, 9, 1);
    struct quern_request r = request(0);
    struct quern_error err;
    quern_ticket *t = NULL;
    const quern_adapter *many[ADAPTERS_MAX + 1];
    for (size_t i = 0; i <= ADAPTERS_MAX; i++)
        many[i] = lora;
    r.adapters = many;
    r.n_adapters = ADAPTERS_MAX + 1;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_LIMIT);
    r.adapters = (const quern_adapter *const[]){foreign};
    r.n_adapters = 1;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "another model"));
    r.adapters = NULL;
    assert_int_equal(engine_submit(e, &r, NULL, &t, &err), QUERN_ERR_ARG);
    adapter_release(foreign);
    engine_destroy(e);
    rig_close(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_side_by_side_give_the_bits_they_give_alone),
        cmocka_unit_test(test_the_same_again_from_the_cache_and_one_by_one),
        cmocka_unit_test(test_with_little_memory_few_tokens_a_step_and_guesses),
        cmocka_unit_test(test_an_adapter_changes_the_answer_and_its_cache_is_its_own),
        cmocka_unit_test(test_a_salt_cannot_spell_another_adapters_mark),
        cmocka_unit_test(test_an_adapter_may_be_closed_while_a_request_has_it),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
