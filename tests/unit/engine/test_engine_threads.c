/* Many threads on one engine: clients that read at once, slowly, a byte of patience at a time, or
 * leave; small memory, so that requests are put aside; statistics read meanwhile. Every answer that
 * is complete is the one the request gives alone. Also run under ThreadSanitizer. */
#include <stdatomic.h>
#include <string.h>

#include "base/os.h"
#include "base/rng.h"
#include "base/sync.h"
#include "engine/engine.h"
#include "support/engine_rig.h"

enum { CONTEXT = 160, N_CLIENTS = 8, N_ROUNDS = 25, N_KINDS = 12 };

static struct rig rig;
static int32_t prompts[N_KINDS][CONTEXT];
static struct rig_answer alone[N_KINDS];

static struct quern_request request_of(size_t kind) {
    const size_t n = 3 + kind * 9;
    struct quern_request r = rig_request(prompts[kind], n, kind, 8 + (int32_t)(kind * 5 % 40));
    if (kind % 3 == 1)
        r.generate.sampling.temperature = 0;
    r.priority = kind % 5 == 4;
    return r;
}

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 2);
    for (size_t k = 0; k < N_KINDS; k++) {
        rig_prompt(prompts[k], CONTEXT, k % 3);
        const struct quern_request r = request_of(k);
        rig_alone(&rig, &r, &alone[k]);
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

struct client {
    struct engine *engine;
    size_t index;
    struct thread thread;
    size_t n_complete, n_refused, n_wrong, n_cancelled;
    atomic_int n_notified;
};

static void on_notify(void *user) {
    atomic_fetch_add((atomic_int *)user, 1);
}

static bool differs(const struct rig_answer *a, const struct rig_answer *b) {
    return a->n != b->n || memcmp(a->tokens, b->tokens, a->n * sizeof a->tokens[0]) != 0 ||
           memcmp(a->logprobs, b->logprobs, a->n * sizeof a->logprobs[0]) != 0 ||
           a->text_len != b->text_len || memcmp(a->text, b->text, a->text_len) != 0;
}

static void pause_ms(uint32_t ms) {
    const uint64_t until = os_now_ns() + ms * (uint64_t)1000000u;
    while (os_now_ns() < until) {
    }
}

/* Reads to the end, or leaves after some events. */
static void read_answer(struct client *c, quern_ticket *t, size_t kind, const uint32_t *dice) {
    struct rig_answer a = {0};
    struct quern_event event;
    const size_t leave_after = dice[1] % 4 == 0 ? dice[2] % 20 : SIZE_MAX;
    const bool slow = dice[3] % 4 == 0;
    for (size_t n = 0;; n++) {
        if (n == leave_after) {
            c->n_cancelled++;
            return;
        }
        enum quern_next next;
        while ((next = quern_ticket_next(t, &event)) == QUERN_NEXT_NOTHING)
            if (!quern_ticket_wait(t, 60000)) {
                c->n_wrong++;
                return;
            }
        if (next == QUERN_NEXT_END)
            break;
        if (slow)
            pause_ms(1);
        memcpy(a.text + a.text_len, event.text, event.text_len);
        a.text_len += event.text_len;
        if (event.token >= 0) {
            a.tokens[a.n] = event.token;
            a.logprobs[a.n++] = event.logprob;
        }
    }
    if (quern_ticket_result(t, &a.result, NULL) || a.result.status || differs(&a, &alone[kind]))
        c->n_wrong++;
    c->n_complete++;
}

static void run_client(void *arg) {
    struct client *c = arg;
    for (size_t i = 0; i < N_ROUNDS; i++) {
        uint32_t dice[4];
        rng_block(3, c->index, i, dice);
        const size_t kind = dice[0] % N_KINDS;
        struct quern_request r = request_of(kind);
        r.on_notify = on_notify;
        r.user = &c->n_notified;
        quern_ticket *t = NULL;
        const enum quern_status status = engine_submit(c->engine, &r, NULL, &t, NULL);
        if (status == QUERN_ERR_LIMIT) {
            c->n_refused++;
            pause_ms(2);
            continue;
        }
        if (status) {
            c->n_wrong++;
            continue;
        }
        read_answer(c, t, kind, dice);
        quern_ticket_destroy(t);
    }
}

static void run_clients(const struct quern_engine_options *o) {
    static struct client clients[N_CLIENTS];
    struct engine *e = rig_engine(&rig, o);
    struct quern_engine_stats stats;
    size_t n_complete = 0;
    for (size_t i = 0; i < N_CLIENTS; i++) {
        clients[i] = (struct client){.engine = e, .index = i};
        assert_int_equal(thread_start(&clients[i].thread, "client", run_client, &clients[i], NULL),
                         QUERN_OK);
    }
    for (int i = 0; i < 200; i++) {
        engine_get_stats(e, &stats);
        assert_true(stats.kv_blocks_free <= stats.kv_blocks);
        pause_ms(1);
    }
    for (size_t i = 0; i < N_CLIENTS; i++) {
        thread_join(&clients[i].thread);
        assert_int_equal(clients[i].n_wrong, 0);
        n_complete += clients[i].n_complete;
    }
    assert_true(n_complete > 0);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_clients_of_every_kind_get_the_answers_they_get_alone(void **state) {
    (void)state;
    run_clients(&(struct quern_engine_options){.queue_events = 64});
}

static void test_and_so_they_do_with_little_memory_and_a_short_queue(void **state) {
    (void)state;
    run_clients(&(struct quern_engine_options){.queue_events = 64,
                                               .kv_bytes = 1,
                                               .max_waiting = 4,
                                               .max_running = 6,
                                               .max_step_tokens = 24,
                                               .speculation = QUERN_SPECULATION_ALWAYS});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_of_every_kind_get_the_answers_they_get_alone),
        cmocka_unit_test(test_and_so_they_do_with_little_memory_and_a_short_queue),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
