/* 8-bit moments: bitsandbytes' map, and steps beside AdamW's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/support.h"
#include "train/optimizer/optimizer.h"

enum { COUNT = 10000, TINY = 1000 };

struct rig {
    struct compute c;
    struct net net;
    struct param params[2];
    struct train_options o;
    struct optimizer p;
};

static void open_rig(struct rig *r, enum train_optimizer kind, int threads) {
    struct quern_error err;
    *r = (struct rig){.o = {.optimizer = kind, .learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f,
                            .epsilon = 1e-8f}};
    assert_int_equal(compute_init(&r->c, threads, NULL, false, &err), QUERN_OK);
    r->params[0] = (struct param){.kind = PARAM_MATRIX, .rank = 2, .shape = {100, 100}, .n = COUNT};
    r->params[1] = (struct param){.kind = PARAM_NORM, .rank = 1, .shape = {TINY}, .n = TINY, .offset = COUNT};
    r->net = (struct net){.params = r->params, .n_params = 2, .n_values = COUNT + TINY};
    r->net.values = calloc(COUNT + TINY, sizeof(float));
    assert_int_equal(optimizer_init(&r->p, &r->o, &r->net, &r->c, &err), QUERN_OK);
}

static void close_rig(struct rig *r) {
    optimizer_release(&r->p);
    free(r->net.values);
    compute_release(&r->c);
}

static void run_steps(struct rig *r, int n) {
    float *grads = malloc((COUNT + TINY) * sizeof *grads);
    for (int s = 0; s < n; s++) {
        /* Magnitudes over two decades, a bias in their signs. */
        for (size_t i = 0; i < COUNT + TINY; i++)
            grads[i] = (rng_normal(3, (uint64_t)s, i) + 0.5f) * powf(10.0f, -(float)(i % 3));
        optimizer_step(&r->p, grads, 1.0f, 1.0f);
    }
    free(grads);
}

static void the_map_of_one_sign_is_bitsandbytes(void **state) {
    (void)state;
    float map[256];
    unsigned_dynamic_map(map);
    /* create_dynamic_map(signed=False) of bitsandbytes 0.50. */
    static const struct {
        int i;
        float value;
    } known[] = {{0, 0.0f}, {1, 3.25e-07f}, {2, 7.75e-07f}, {3, 2.125e-06f}, {127, 0.103515625f},
                 {128, 0.11054687f}, {254, 0.99648438f}, {255, 1.0f}};
    for (size_t i = 0; i < 255; i++)
        assert_true(map[i] < map[i + 1]);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(fabsf(map[known[i].i] - known[i].value) <= 1e-5f * known[i].value);
}

static void eight_bit_moments_step_as_adamw_does_nearly(void **state) {
    (void)state;
    struct rig a, b;
    double difference = 0, size = 0;
    open_rig(&a, TRAIN_ADAMW, 1);
    open_rig(&b, TRAIN_ADAMW_8BIT, 2);
    run_steps(&a, 20);
    run_steps(&b, 20);
    for (size_t i = 0; i < COUNT; i++) {
        const double d = (double)a.net.values[i] - (double)b.net.values[i];
        difference += d * d;
        size += (double)a.net.values[i] * (double)a.net.values[i];
    }
    /* A code is off by up to 3.5 % of a large moment and 30 % of one far below its block's largest; 4 % here. */
    assert_true(sqrt(difference / size) < 0.1);
    assert_memory_equal(a.net.values + COUNT, b.net.values + COUNT, TINY * sizeof(float));
    close_rig(&a);
    close_rig(&b);
}

static void eight_bit_moments_take_a_quarter_of_the_room(void **state) {
    (void)state;
    struct rig a, b;
    open_rig(&a, TRAIN_ADAMW, 1);
    open_rig(&b, TRAIN_ADAMW_8BIT, 1);
    assert_true(optimizer_bytes(&b.p) < optimizer_bytes(&a.p) / 3);
    close_rig(&a);
    close_rig(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_of_one_sign_is_bitsandbytes),
        cmocka_unit_test(eight_bit_moments_step_as_adamw_does_nearly),
        cmocka_unit_test(eight_bit_moments_take_a_quarter_of_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
