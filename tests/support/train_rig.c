#include "support/train_rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

struct train_options train_rig_options(const char *name) {
    struct train_options o = {.learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                              .weight_decay = 0.1f, .max_grad_norm = 1.0f, .max_row = 32, .threads = 2,
                              .seed = 1};
    static const char *const excluded[] = {"o_proj"}, *const saved[] = {"embed_tokens", "lm_head"};
    static const struct peft_pattern ranks[] = {{"q_proj", 6}, {"1\\..*v_proj", 3}};
    static const struct peft_pattern alphas[] = {{"layers.0.mlp.down_proj", 5}};
    if (strstr(name, "ora"))
        o.method = strcmp(name, "qlora") == 0 ? TRAIN_QLORA : TRAIN_LORA;
    o.lora = (struct train_lora_options){.rank = 4, .alpha = 8, .lr_ratio = 1,
                                         .use_rslora = strcmp(name, "rslora") == 0,
                                         .use_dora = strcmp(name, "dora") == 0};
    if (strcmp(name, "savedlora") == 0) {
        o.lora.target_pattern = ".*\\.(q|k|v|o|gate|down)_proj";
        o.lora.excluded = excluded;
        o.lora.saved = saved;
        o.lora.ranks = ranks;
        o.lora.alphas = alphas;
        o.lora.n_excluded = o.lora.n_alphas = 1;
        o.lora.n_saved = o.lora.n_ranks = 2;
    }
    if (strcmp(name, "moelora") == 0) {
        o.lora.rank = 3;
        o.lora.alpha = 6;
        o.lora.target_pattern = ".*\\.experts\\..*";
    }
    return o;
}

static const void *data_of(const struct train_rig *g, const char *fmt, size_t i, size_t *n) {
    char name[64];
    snprintf(name, sizeof name, fmt, i);
    const struct tensor *t = safetensors_find(g->expected, name);
    if (t && n)
        *n = t->shape[0];
    return t ? t->data : NULL;
}

static void load_values(struct train_rig *g) {
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

struct train_rig train_rig_open(const char *name, const struct train_options *o) {
    char path[128];
    struct train_rig g = {0};
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
        r->kinds = data_of(&g, "row.%zu.is_prompt", i, NULL);
        r->starts = data_of(&g, "row.%zu.starts", i, &n);
        r->segments = n - 1;
    }
    return g;
}

void train_rig_close(struct train_rig *g) {
    trainer_destroy(g->trainer);
    safetensors_close(g->expected);
}

double train_relative_error(const float *got, const float *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)got[i] - (double)want[i];
        difference += d * d;
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(difference) / (sqrt(size) + 1e-12);
}
