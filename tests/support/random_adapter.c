#include "support/random_adapter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/support.h"

enum { MODULES_MAX = 128 };

struct maker {
    struct peft_matrices modules[MODULES_MAX];
    char names[MODULES_MAX][96];
    size_t n, rank;
    bool dora;
    uint64_t seed;
};

/* Even numbers in [-size, size) around `middle`. */
static float *numbers(const struct maker *k, size_t what, size_t n, float middle, float size) {
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        uint32_t r[4];
        rng_block(k->seed, k->n * 4 + what, i, r);
        x[i] = middle + size * ((float)(r[0] >> 8) / 8388608.0f - 1);
    }
    return x;
}

static void add(struct maker *k, const struct weight *w) {
    assert_true(k->n < MODULES_MAX);
    const float a_size = 1.5f / (float)w->cols;
    k->modules[k->n] =
        (struct peft_matrices){.module = k->names[k->n],
                               .dtype = DTYPE_F32,
                               .rank = k->rank,
                               .in = w->cols,
                               .out = w->rows,
                               .a = numbers(k, 0, k->rank * w->cols, 0, a_size * 4),
                               .b = numbers(k, 1, k->rank * w->rows, 0, 0.5f),
                               .magnitude = k->dora ? numbers(k, 2, w->rows, 1, 0.4f) : NULL};
    k->n++;
}

static void add_layer(struct maker *k, const struct model *m, size_t i) {
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                        "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                        "mlp.down_proj"};
    const struct layer_weights *w = &m->layers[i];
    const struct weight *all[] = {&w->q, &w->k, &w->v, &w->o, &w->gate, &w->up, &w->down};
    for (size_t s = 0; s < (w->experts ? 4 : 7); s++) {
        snprintf(k->names[k->n], sizeof k->names[0], "model.layers.%zu.%s", i, names[s]);
        add(k, all[s]);
    }
    for (size_t e = 0; w->experts && e < (size_t)m->config.n_experts; e++) {
        const struct weight *own[] = {&w->experts[e].gate, &w->experts[e].up, &w->experts[e].down};
        for (size_t s = 0; s < 3; s++) {
            snprintf(k->names[k->n], sizeof k->names[0], "model.layers.%zu.mlp.experts.%zu.%s", i,
                     e, names[4 + s] + 4);
            add(k, own[s]);
        }
    }
}

const char *random_adapter_write(const struct model *m, const char *name, size_t rank, bool dora,
                                 uint64_t seed) {
    static const char *const targets[] = {"q_proj",    "k_proj",  "v_proj",    "o_proj",
                                          "gate_proj", "up_proj", "down_proj", "lm_head"};
    struct maker *k = calloc(1, sizeof *k);
    assert_non_null(k);
    k->rank = rank;
    k->dora = dora;
    k->seed = seed;
    for (size_t i = 0; i < (size_t)m->config.n_layers; i++)
        add_layer(k, m, i);
    snprintf(k->names[k->n], sizeof k->names[0], "lm_head");
    add(k, &m->lm_head);
    const struct peft_config config = {.rank = rank,
                                       .alpha = 2 * (double)rank,
                                       .use_dora = dora,
                                       .base_model = "tiny",
                                       .targets = targets,
                                       .n_targets = sizeof targets / sizeof *targets};
    const char *dir = support_temp_path(name);
    struct quern_error err;
    if (peft_adapter_write(dir, &config, k->modules, k->n, NULL, 0, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < k->n; i++) {
        free((void *)(uintptr_t)k->modules[i].a);
        free((void *)(uintptr_t)k->modules[i].b);
        free((void *)(uintptr_t)k->modules[i].magnitude);
    }
    free(k);
    return dir;
}

struct quern_adapter *random_adapter_open(const struct model *m, const char *name, size_t rank,
                                          bool dora, uint64_t seed, float scale) {
    struct quern_adapter *a = NULL;
    struct quern_error err;
    if (adapter_open(m, random_adapter_write(m, name, rank, dora, seed), scale, &a, &err))
        fail_msg("%s", err.message);
    return a;
}
