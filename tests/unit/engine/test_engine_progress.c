/* How the engine tells that it stands still: idle_ms, by which /health decides. */
#include <stdatomic.h>

#include "base/os.h"
#include "base/sync.h"
#include "device/device.h"
#include "support/engine_rig.h"

enum { CONTEXT = 256, LONG_MS = 120 };

static struct rig rig;
static int32_t prompt[CONTEXT];

/* The device, but its steps do not end while `held`. */
static struct device_ops held_ops;
static const struct device_ops *real_ops;
static atomic_bool held, inside;

static void embed_when_let(struct device *d, float *out, const struct weight *table,
                           const int32_t *ids, size_t n) {
    atomic_store(&inside, true);
    while (atomic_load(&held))
        os_sleep_ns(1000000);
    atomic_store(&inside, false);
    real_ops->embed(d, out, table, ids, n);
}

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 1);
    rig_prompt(prompt, CONTEXT, 1);
    real_ops = rig.device->ops;
    held_ops = *real_ops;
    held_ops.embed = embed_when_let;
    rig.device->ops = &held_ops;
    return 0;
}

static int close_all(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static double idle_ms(struct engine *e) {
    struct quern_engine_stats stats;
    engine_get_stats(e, &stats);
    return stats.idle_ms;
}

static void await_step(void) {
    while (!atomic_load(&inside))
        os_sleep_ns(1000000);
}

static void test_a_step_that_does_not_end_shows(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    const struct quern_request r = rig_request(prompt, 20, 1, 4);
    atomic_store(&held, true);
    quern_ticket *t = rig_submit(e, &r); /* the engine's first step: none has ended before */
    await_step();
    os_sleep_ns(LONG_MS * 1000000ull);
    assert_true(idle_ms(e) >= LONG_MS);
    quern_ticket_cancel(t); /* nor does that hide it */
    assert_true(idle_ms(e) >= LONG_MS);
    atomic_store(&held, false);
    struct rig_answer a;
    rig_finish(t, &a);
    rig_assert_idle(e);
    assert_true(idle_ms(e) == 0);
    engine_destroy(e);
}

static void test_time_without_work_does_not_count(void **state) {
    (void)state;
    struct engine *e = rig_engine(&rig, NULL);
    const struct quern_request r = rig_request(prompt, 20, 1, 4);
    struct rig_answer a;
    rig_run(e, &r, &a);
    os_sleep_ns(LONG_MS * 1000000ull);
    assert_true(idle_ms(e) == 0);
    atomic_store(&held, true);
    const uint64_t begin_ns = os_now_ns();
    quern_ticket *t = rig_submit(e, &r);
    await_step();
    const double idle = idle_ms(e), since = (double)(os_now_ns() - begin_ns) * 1e-6;
    atomic_store(&held, false);
    assert_true(idle <= since);
    rig_finish(t, &a);
    engine_destroy(e);
}

static bool one_paused(const struct quern_engine_stats *s) {
    return s->n_paused == 1;
}

static void test_waiting_for_a_reader_does_not_count(void **state) {
    (void)state;
    const struct quern_engine_options o = {.queue_events = 64, .max_running = 1};
    struct engine *e = rig_engine(&rig, &o);
    const struct quern_request r = rig_request(prompt, 4, 1, 150);
    quern_ticket *t = rig_submit(e, &r), *behind = rig_submit(e, &r);
    rig_await(e, one_paused);
    os_sleep_ns(LONG_MS * 1000000ull);
    assert_true(idle_ms(e) == 0);
    /* And when it goes on, only what follows counts. */
    atomic_store(&held, true);
    const uint64_t begin_ns = os_now_ns();
    struct rig_answer a = {0};
    assert_false(rig_poll(t, &a));
    await_step();
    const double idle = idle_ms(e), since = (double)(os_now_ns() - begin_ns) * 1e-6;
    atomic_store(&held, false);
    assert_true(idle <= since);
    quern_ticket_destroy(t);
    rig_finish(behind, &a);
    assert_int_equal(a.n, 150);
    engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_that_does_not_end_shows),
        cmocka_unit_test(test_time_without_work_does_not_count),
        cmocka_unit_test(test_waiting_for_a_reader_does_not_count),
    };
    return cmocka_run_group_tests_name("engine_progress", tests, open_all, close_all);
}
