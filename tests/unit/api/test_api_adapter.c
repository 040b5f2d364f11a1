/* Adapters through the public interface. */
#include <math.h>
#include <string.h>

#include "api/loaded_model.h"
#include "support/random_adapter.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 97, N_IDS = 6 };
static const int32_t ids[N_IDS] = {1, 2, 3, 4, 5, 6};
static const char *model_dir, *lora_dir, *dora_dir;

static quern_model *open_model(const struct quern_adapter_source *sources, size_t n) {
    const struct quern_model_options options = {
        .n_threads = 1, .weights_only = true, .adapters = sources, .n_adapters = n};
    struct quern_error err;
    quern_model *m = NULL;
    if (quern_model_open(model_dir, &options, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static int write_all(void **state) {
    (void)state;
    const struct tiny_shape shape = TINY_QWEN3;
    model_dir = tiny_model_write(&shape, "model", 7);
    quern_model *m = open_model(NULL, 0);
    lora_dir = random_adapter_write(m->model, "lora", 3, false, 1);
    dora_dir = random_adapter_write(m->model, "dora", 2, true, 2);
    quern_model_close(m);
    return 0;
}

static void logits_of(quern_model *m, const quern_adapter *const *adapters, size_t n, float *out) {
    const struct quern_session_options options = {
        .n_context = 16, .adapters = adapters, .n_adapters = n};
    quern_session *s = NULL;
    struct quern_error err;
    if (quern_session_create(m, &options, &s, &err) ||
        quern_session_feed_logits(s, ids, N_IDS, out, &err))
        fail_msg("%s", err.message);
    quern_session_destroy(s);
}

static void test_adapters_of_a_session_are_those_of_a_model(void **state) {
    (void)state;
    static float plain[N_IDS * VOCAB], one[N_IDS * VOCAB], two[N_IDS * VOCAB], all[N_IDS * VOCAB];
    const struct quern_adapter_source sources[] = {{lora_dir, 0.5f}, {dora_dir, 1}};
    quern_adapter *adapters[2] = {NULL};
    quern_model *m = open_model(NULL, 0), *with_all = open_model(sources, 2),
                *with_one = open_model(sources, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(quern_adapter_open(m, &sources[i], &adapters[i], NULL), QUERN_OK);
    logits_of(m, NULL, 0, plain);
    logits_of(m, (const quern_adapter *const *)adapters, 2, two);
    logits_of(with_all, NULL, 0, all);
    assert_memory_equal(two, all, sizeof all);
    assert_memory_not_equal(two, plain, sizeof plain);
    quern_adapter_close(adapters[1]);
    assert_int_equal(quern_adapter_open(with_one, &sources[1], &adapters[1], NULL), QUERN_OK);
    logits_of(with_one, (const quern_adapter *const[]){adapters[1]}, 1, one);
    assert_memory_equal(one, all, sizeof all);
    for (int i = 0; i < 2; i++)
        quern_adapter_close(adapters[i]);
    quern_model_close(m);
    quern_model_close(with_all);
    quern_model_close(with_one);
}

static void test_what_cannot_be_is_refused(void **state) {
    (void)state;
    const struct quern_adapter_source source = {lora_dir, 1}, none = {"nowhere", 1},
                                      infinite = {lora_dir, (float)HUGE_VAL};
    struct quern_error err;
    quern_adapter *a = NULL;
    quern_session *s = NULL;
    quern_model *m = open_model(NULL, 0), *other = open_model(NULL, 0);
    assert_int_equal(quern_adapter_open(m, NULL, &a, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_adapter_open(m, &none, &a, &err), QUERN_ERR_IO);
    assert_int_equal(quern_adapter_open(m, &infinite, &a, &err), QUERN_ERR_ARG);
    assert_null(a);
    quern_adapter_close(NULL);
    assert_int_equal(quern_adapter_open(other, &source, &a, &err), QUERN_OK);
    const quern_adapter *const list[9] = {a, a, a, a, a, a, a, a, a};
    struct quern_session_options options = {.n_context = 16, .adapters = list, .n_adapters = 1};
    assert_int_equal(quern_session_create(m, &options, &s, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "another model"));
    options.n_adapters = 9;
    assert_int_equal(quern_session_create(other, &options, &s, &err), QUERN_ERR_LIMIT);
    options.adapters = NULL;
    assert_int_equal(quern_session_create(other, &options, &s, &err), QUERN_ERR_LIMIT);
    options.n_adapters = 1;
    assert_int_equal(quern_session_create(other, &options, &s, &err), QUERN_ERR_ARG);
    assert_null(s);
    quern_adapter_close(a);
    quern_model_close(m);
    quern_model_close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_of_a_session_are_those_of_a_model),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, write_all, NULL);
}
