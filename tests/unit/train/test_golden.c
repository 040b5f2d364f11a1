/* Gradients against torch's autograd, and ten steps' losses against torch, transformers and peft
 * (tests/golden/make_train.py). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "support/support.h"
#include "train/trainer_internal.h"

enum { ROWS_MAX = 8 };

struct golden {
    struct trainer *trainer;
    struct safetensors *expected;
    struct train_row rows[ROWS_MAX];
    size_t n_rows;
};

/* What make_train.py uses. */
static struct train_options options_of(const char *name) {
    struct train_options o = {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                              .weight_decay = 0.1f, .max_grad_norm = 1.0f, .max_row = 32, .threads = 2,
                              .seed = 1};
    if (strstr(name, "ora"))
        o.method = strcmp(name, "qlora") == 0 ? TRAIN_QLORA : TRAIN_LORA;
    o.lora = (struct train_lora_options){.rank = 4, .alpha = 8, .lr_ratio = 1,
                                         .use_rslora = strcmp(name, "rslora") == 0,
                                         .use_dora = strcmp(name, "dora") == 0};
    return o;
}

static const void *data_of(const struct golden *g, const char *fmt, size_t i, size_t *n) {
    char name[64];
    snprintf(name, sizeof name, fmt, i);
    const struct tensor *t = safetensors_find(g->expected, name);
    if (t && n)
        *n = t->shape[0];
    return t ? t->data : NULL;
}

static void load_values(struct golden *g) {
    struct net *n = &g->trainer->net;
    for (size_t i = 0; i < n->n_params; i++) {
        char name[PARAM_NAME_MAX + 8];
        snprintf(name, sizeof name, "value.%s", n->params[i].name);
        const struct tensor *t = safetensors_find(g->expected, name);
        if (t)
            memcpy(n->values + n->params[i].offset, t->data, t->size_bytes);
        else if (g->trainer->options.method != TRAIN_FULL)
            fail_msg("%s is not there", name);
    }
}

static struct golden open_with(const char *name, const struct train_options *o) {
    char path[128];
    struct golden g = {0};
    struct quern_error err = {0};
    snprintf(path, sizeof path, "golden/train/%s/expected.safetensors", name);
    if (safetensors_open(support_fixture(path), &g.expected, &err))
        fail_msg("%s", err.message);
    snprintf(path, sizeof path, "golden/train/%s", name);
    if (trainer_create(support_fixture(path), o, &g.trainer, &err))
        fail_msg("%s", err.message);
    load_values(&g);
    for (size_t i = 0; data_of(&g, "row.%zu.tokens", i, NULL); i++) {
        struct train_row *r = &g.rows[g.n_rows++];
        size_t n = 0;
        r->tokens = data_of(&g, "row.%zu.tokens", i, &r->count);
        r->labels = data_of(&g, "row.%zu.labels", i, NULL);
        r->is_prompt = data_of(&g, "row.%zu.is_prompt", i, NULL);
        r->starts = data_of(&g, "row.%zu.starts", i, &n);
        r->segments = n - 1;
    }
    return g;
}

static struct golden open_golden(const char *name) {
    const struct train_options o = options_of(name);
    return open_with(name, &o);
}

static void close_golden(struct golden *g) {
    trainer_destroy(g->trainer);
    safetensors_close(g->expected);
}

static double relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(difference) / (sqrt(size) + 1e-12);
}

/* 1e-4 of the tensor's norm: issue and float32, whose own error here is below 1e-5. */
static void check_gradients(const char *name, bool checkpointing) {
    struct train_options o = options_of(name);
    o.checkpointing = checkpointing;
    struct golden g = open_with(name, &o);
    struct train_step_result r;
    struct quern_error err = {0};
    assert_int_equal(trainer_gradients(g.trainer, g.rows, g.n_rows, 0.3f, &r, &err), QUERN_OK);
    const struct net *n = &g.trainer->net;
    for (size_t i = 0; i < n->n_params; i++) {
        char key[PARAM_NAME_MAX + 8];
        snprintf(key, sizeof key, "grad.%s", n->params[i].name);
        const struct tensor *t = safetensors_find(g.expected, key);
        if (!t)
            fail_msg("%s is not there", key);
        const double e = relative_error(g.trainer->current + n->params[i].offset, t->data, n->params[i].n);
        if (!(e <= 1e-4))
            fail_msg("%s: the relative error of %s is %g", name, key, e);
    }
    close_golden(&g);
}

static void check_steps(const char *name) {
    struct golden g = open_golden(name);
    const double *want = safetensors_find(g.expected, "losses")->data;
    for (int i = 0; i < 10; i++) {
        struct train_step_result r;
        struct quern_error err = {0};
        if (trainer_step(g.trainer, g.rows, g.n_rows, 1.0f, 0.3f, &r, &err))
            fail_msg("%s", err.message);
        const double got[] = {r.loss, r.prompt_loss};
        for (int j = 0; j < 2; j++)
            if (!(fabs(got[j] - want[3 * i + j]) <= 1e-4 * fabs(want[3 * i + j])))
                fail_msg("%s, step %d: loss %d is %.8f, torch's %.8f", name, i + 1, j, got[j],
                         want[3 * i + j]);
        /* Norms move with the parameters, which ten steps of Adam push apart. */
        if (!(fabs(r.grad_norm - want[3 * i + 2]) <= 1e-2 * want[3 * i + 2]))
            fail_msg("%s, step %d: the norm is %.8f, torch's %.8f", name, i + 1, r.grad_norm,
                     want[3 * i + 2]);
    }
    close_golden(&g);
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

int main(void) {
#define TEST(name)                                             \
    cmocka_unit_test(gradients_of_##name##_are_torchs),        \
        cmocka_unit_test(ten_steps_of_##name##_lose_as_torch_does)
    const struct CMUnitTest tests[] = {TEST(dense), TEST(tied), TEST(qwen2), TEST(moe),
                                       TEST(lora),  TEST(rslora), TEST(dora), TEST(qlora)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
