#include "train/optimizer/optimizer.h"

#include <math.h>

#include "base/pages.h"

struct adamw_call {
    const struct optimizer *p;
    float *value;
    const float *grad;
    float *m, *v;
    struct adamw_rates rates;
};

static void adamw_share(void *ctx, size_t begin, size_t end) {
    const struct adamw_call *c = ctx;
    c->p->c->train->adamw(c->value + begin, c->grad + begin, c->m + begin, c->v + begin, end - begin,
                          &c->rates);
}

/* No decay on norms and biases; LoRA+'s ratio on B. */
static double decay_of(const struct optimizer *p, const struct param *w) {
    const bool decays = w->kind != PARAM_NORM && w->kind != PARAM_BIAS && w->kind != PARAM_MAGNITUDE;
    return decays ? (double)p->o->weight_decay : 0.0;
}

static double rate_of(const struct optimizer *p, const struct param *w, float lr_scale) {
    const double lr = (double)p->o->learning_rate * (double)lr_scale;
    const double ratio = (double)p->o->lora.lr_ratio;
    return w->kind == PARAM_LORA_B && ratio > 0 ? lr * ratio : lr;
}

static struct adamw_rates adamw_rates_of(const struct optimizer *p, const struct param *w, float clip,
                                         float lr_scale) {
    const double t = (double)p->steps, lr = rate_of(p, w, lr_scale);
    return (struct adamw_rates){
        .decay = (float)(1.0 - lr * decay_of(p, w)),
        .beta1 = p->o->beta1,
        .beta2 = p->o->beta2,
        .step = (float)(lr / (1.0 - pow((double)p->o->beta1, t))),
        .root_v = (float)sqrt(1.0 - pow((double)p->o->beta2, t)),
        .epsilon = p->o->epsilon,
        .grad = clip,
    };
}

static void adamw(const struct optimizer *p, const struct param *w, const float *grads,
                  const struct adamw_rates *rates) {
    struct adamw_call c = {.p = p,
                           .value = p->n->values + w->offset,
                           .grad = grads + w->offset,
                           .m = p->m + w->offset,
                           .v = p->v + w->offset,
                           .rates = *rates};
    compute_for(p->c, w->n, 4096, adamw_share, &c);
}

static bool is_muons(const struct optimizer *p, const struct param *w) {
    return p->o->optimizer == TRAIN_MUON && w->kind == PARAM_MATRIX;
}

static void step_one(const struct optimizer *p, size_t index, const float *grads, float clip,
                     float lr_scale) {
    const struct param *w = &p->n->params[index];
    const enum train_optimizer kind = p->o->optimizer;
    const struct adamw_rates rates = adamw_rates_of(p, w, clip, lr_scale);
    if (is_muons(p, w))
        muon_step(p, w, grads, clip, lr_scale);
    else if (kind == TRAIN_LION)
        lion_step(p, w, grads, clip, rate_of(p, w, lr_scale), decay_of(p, w));
    else if (kind == TRAIN_ADAFACTOR)
        adafactor_step(p, w, grads, clip, rate_of(p, w, lr_scale), decay_of(p, w));
    else if (kind == TRAIN_ADAMW_8BIT && w->n >= OPTIMIZER_SMALL)
        adamw_8bit_step(p, w, index, grads, &rates);
    else
        adamw(p, w, grads, &rates);
}

void optimizer_step(struct optimizer *p, const float *grads, float clip, float lr_scale) {
    p->steps++;
    for (size_t i = 0; i < p->n->n_params; i++)
        step_one(p, i, grads, clip, lr_scale);
}

/* Pages cost nothing until they are touched: of m and v only what a kind of optimizer needs is. */
enum quern_status optimizer_init(struct optimizer *p, const struct train_options *o, struct net *n,
                                 const struct compute *c, struct quern_error *err) {
    *p = (struct optimizer){.o = o, .n = n, .c = c};
    for (size_t i = 0; i < n->n_params; i++)
        if (is_muons(p, &n->params[i]) && muon_room_floats(&n->params[i]) > p->room_floats)
            p->room_floats = muon_room_floats(&n->params[i]);
    p->m = pages_alloc(n->n_values * sizeof(float));
    p->v = pages_alloc(n->n_values * sizeof(float));
    p->room = pages_alloc(p->room_floats * sizeof(float));
    bool ok = p->m && p->v && p->room;
    if (o->optimizer == TRAIN_ADAMW_8BIT) {
        p->n_most = 2 * (n->n_values / OPTIMIZER_BLOCK + n->n_params + 1);
        p->m8 = pages_alloc(n->n_values);
        p->v8 = pages_alloc(n->n_values);
        p->most = pages_alloc(p->n_most * sizeof(float));
        ok = ok && p->m8 && p->v8 && p->most;
        unsigned_dynamic_map(p->unsigned_map);
    }
    return ok ? QUERN_OK : error_nomem(err);
}

void optimizer_release(struct optimizer *p) {
    const size_t n = p->n ? p->n->n_values : 0;
    pages_free(p->m, n * sizeof(float));
    pages_free(p->v, n * sizeof(float));
    pages_free(p->m8, n);
    pages_free(p->v8, n);
    pages_free(p->most, p->n_most * sizeof(float));
    pages_free(p->room, p->room_floats * sizeof(float));
    *p = (struct optimizer){0};
}

size_t optimizer_arrays(const struct optimizer *p, struct optimizer_array out[OPTIMIZER_ARRAYS_MAX]) {
    size_t n = 0;
    if (p->m)
        out[n++] = (struct optimizer_array){"m", DTYPE_F32, p->n->n_values, p->m};
    if (p->v)
        out[n++] = (struct optimizer_array){"v", DTYPE_F32, p->n->n_values, p->v};
    if (p->m8) {
        out[n++] = (struct optimizer_array){"m8", DTYPE_U8, p->n->n_values, p->m8};
        out[n++] = (struct optimizer_array){"v8", DTYPE_U8, p->n->n_values, p->v8};
        out[n++] = (struct optimizer_array){"most", DTYPE_F32, p->n_most, p->most};
    }
    return n;
}

/* What is touched: an array of squares is, but for Muon's matrices, Lion and Adafactor; and so on. */
size_t optimizer_bytes(const struct optimizer *p) {
    size_t bytes = p->room_floats * sizeof(float);
    for (size_t i = 0; i < p->n->n_params; i++) {
        const struct param *w = &p->n->params[i];
        if (p->o->optimizer == TRAIN_ADAMW_8BIT && w->n >= OPTIMIZER_SMALL)
            bytes += 2 * w->n + w->n / 32;
        else if (p->o->optimizer == TRAIN_ADAFACTOR)
            bytes += (w->rank == 2 ? w->shape[0] + w->shape[1] : w->n) * sizeof(float);
        else
            bytes += (p->o->optimizer == TRAIN_LION || is_muons(p, w) ? 1 : 2) * w->n * sizeof(float);
    }
    return bytes;
}
