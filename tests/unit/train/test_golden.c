/* Gradients against torch's autograd, and ten steps' losses against torch, transformers and peft
 * (tests/golden/make_train.py). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"
#include "support/train_rig.h"

static const struct train_label_weights weights = {.prompt = 0.3f, .emphasis = 1};

/* 1e-4 of the tensor's norm: issue and float32, whose own error here is below 1e-5. */
static void check_gradients(const char *name, bool checkpointing) {
    struct train_options o = train_rig_options(name);
    o.checkpointing = checkpointing;
    struct train_rig g = train_rig_open(name, &o);
    struct train_step_result r;
    struct quern_error err = {0};
    assert_int_equal(trainer_gradients(g.trainer, g.rows, g.n_rows, weights, &r, &err), QUERN_OK);
    const struct net *n = &g.trainer->net;
    for (size_t i = 0; i < n->n_params; i++) {
        char key[PARAM_NAME_MAX + 8];
        snprintf(key, sizeof key, "grad.%s", n->params[i].name);
        const struct tensor *t = safetensors_find(g.expected, key);
        if (!t)
            fail_msg("%s is not there", key);
        const double e = train_relative_error(g.trainer->current + n->params[i].offset, t->data, n->params[i].n);
        if (!(e <= 1e-4))
            fail_msg("%s: the relative error of %s is %g", name, key, e);
    }
    train_rig_close(&g);
}

static void check_steps_by(const char *name, const struct train_options *o, const char *key) {
    struct train_rig g = train_rig_open(name, o);
    const double *want = safetensors_find(g.expected, key)->data;
    for (int i = 0; i < 10; i++) {
        struct train_step_result r;
        struct quern_error err = {0};
        if (trainer_step(g.trainer, g.rows, g.n_rows, 1.0f, weights, &r, &err))
            fail_msg("%s", err.message);
        const double got[] = {r.loss, r.prompt_loss};
        for (int j = 0; j < 2; j++)
            if (!(fabs(got[j] - want[3 * i + j]) <= 1e-4 * fabs(want[3 * i + j])))
                fail_msg("%s %s, step %d: loss %d is %.8f, torch's %.8f", name, key, i + 1, j, got[j],
                         want[3 * i + j]);
        /* Norms move with the parameters, which ten steps of Adam push apart. */
        if (!(fabs(r.grad_norm - want[3 * i + 2]) <= 1e-2 * want[3 * i + 2]))
            fail_msg("%s %s, step %d: the norm is %.8f, torch's %.8f", name, key, i + 1, r.grad_norm,
                     want[3 * i + 2]);
    }
    train_rig_close(&g);
}

static void check_steps(const char *name) {
    const struct train_options o = train_rig_options(name);
    check_steps_by(name, &o, "losses");
}

static void ten_steps_of_muon_lose_as_torch_does(void **state) {
    (void)state;
    struct train_options o = train_rig_options("tied");
    o.optimizer = TRAIN_MUON;
    o.muon_learning_rate = 0.02f;
    o.muon_momentum = 0.95f;
    o.muon_weight_decay = 0.01f;
    check_steps_by("tied", &o, "losses.muon");
}

static void ten_steps_of_lion_lose_as_its_paper_says(void **state) {
    (void)state;
    struct train_options o = train_rig_options("tied");
    o.optimizer = TRAIN_LION;
    o.learning_rate = 0.002f;
    check_steps_by("tied", &o, "losses.lion");
}

static void ten_steps_of_adafactor_lose_as_torch_does(void **state) {
    (void)state;
    struct train_options o = train_rig_options("tied");
    o.optimizer = TRAIN_ADAFACTOR;
    check_steps_by("tied", &o, "losses.adafactor");
}

static void ten_steps_of_lora_plus_lose_as_torch_does_by_groups(void **state) {
    (void)state;
    struct train_options o = train_rig_options("lora");
    o.learning_rate = 0.002f;
    o.lora.lr_ratio = 8;
    check_steps_by("lora", &o, "losses.loraplus");
}

#define CASE(name)                                                     \
    static void gradients_of_##name##_are_torchs(void **state) {       \
        (void)state;                                                   \
        check_gradients(#name, false);                                 \
        check_gradients(#name, true);                                  \
    }                                                                  \
    static void ten_steps_of_##name##_lose_as_torch_does(void **state) { \
        (void)state;                                                   \
        check_steps(#name);                                            \
    }
CASE(dense)
CASE(tied)
CASE(qwen2)
CASE(moe)
CASE(lora)
CASE(rslora)
CASE(dora)
CASE(qlora)
CASE(bflora)
CASE(savedlora)
CASE(moelora)

int main(void) {
#define TEST(name)                                             \
    cmocka_unit_test(gradients_of_##name##_are_torchs),        \
        cmocka_unit_test(ten_steps_of_##name##_lose_as_torch_does)
    const struct CMUnitTest tests[] = {TEST(dense), TEST(tied), TEST(qwen2), TEST(moe),
                                       TEST(lora),  TEST(rslora), TEST(dora), TEST(qlora),
                                       TEST(bflora), TEST(savedlora), TEST(moelora),
                                       cmocka_unit_test(ten_steps_of_lora_plus_lose_as_torch_does_by_groups),
                                       cmocka_unit_test(ten_steps_of_muon_lose_as_torch_does),
                                       cmocka_unit_test(ten_steps_of_lion_lose_as_its_paper_says),
                                       cmocka_unit_test(ten_steps_of_adafactor_lose_as_torch_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
