#include "train/optimizer.h"

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
static struct adamw_rates rates_of(const struct optimizer *p, const struct param *w, float clip,
                                   float lr_scale) {
    const struct train_options *o = p->o;
    const bool decays = w->kind != PARAM_NORM && w->kind != PARAM_BIAS && w->kind != PARAM_MAGNITUDE;
    const double t = (double)p->steps;
    double lr = (double)o->learning_rate * (double)lr_scale;
    if (w->kind == PARAM_LORA_B && o->lora.lr_ratio > 0)
        lr *= (double)o->lora.lr_ratio;
    return (struct adamw_rates){
        .decay = decays ? (float)(1.0 - lr * (double)o->weight_decay) : 1.0f,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .step = (float)(lr / (1.0 - pow((double)o->beta1, t))),
        .root_v = (float)sqrt(1.0 - pow((double)o->beta2, t)),
        .epsilon = o->epsilon,
        .grad = clip,
    };
}

static void adamw(const struct optimizer *p, const struct param *w, const float *grads, float clip,
                  float lr_scale) {
    struct adamw_call c = {.p = p,
                           .value = p->n->values + w->offset,
                           .grad = grads + w->offset,
                           .m = p->m + w->offset,
                           .v = p->v + w->offset,
                           .rates = rates_of(p, w, clip, lr_scale)};
    compute_for(p->c, w->n, 4096, adamw_share, &c);
}

static bool is_muons(const struct optimizer *p, const struct param *w) {
    return p->o->optimizer == TRAIN_MUON && w->kind == PARAM_MATRIX;
}

void optimizer_step(struct optimizer *p, const float *grads, float clip, float lr_scale) {
    p->steps++;
    for (size_t i = 0; i < p->n->n_params; i++) {
        const struct param *w = &p->n->params[i];
        if (is_muons(p, w))
            muon_step(p, w, grads, clip, lr_scale);
        else
            adamw(p, w, grads, clip, lr_scale);
    }
}

enum quern_status optimizer_init(struct optimizer *p, const struct train_options *o, struct net *n,
                                 const struct compute *c, struct quern_error *err) {
    *p = (struct optimizer){.o = o, .n = n, .c = c};
    if (o->optimizer != TRAIN_ADAMW && o->optimizer != TRAIN_MUON)
        return error_set(err, QUERN_ERR_UNSUPPORTED, "this optimizer is not there yet: AdamW and Muon are");
    for (size_t i = 0; i < n->n_params; i++)
        if (is_muons(p, &n->params[i]) && muon_room_floats(&n->params[i]) > p->room_floats)
            p->room_floats = muon_room_floats(&n->params[i]);
    p->m = pages_alloc(n->n_values * sizeof(float));
    p->v = pages_alloc(n->n_values * sizeof(float));
    p->room = pages_alloc(p->room_floats * sizeof(float));
    return p->m && p->v && p->room ? QUERN_OK : error_nomem(err);
}

void optimizer_release(struct optimizer *p) {
    const size_t bytes = p->n ? p->n->n_values * sizeof(float) : 0;
    if (p->m)
        pages_free(p->m, bytes);
    if (p->v)
        pages_free(p->v, bytes);
    if (p->room)
        pages_free(p->room, p->room_floats * sizeof(float));
    *p = (struct optimizer){0};
}

size_t optimizer_arrays(const struct optimizer *p, struct optimizer_array out[OPTIMIZER_ARRAYS_MAX]) {
    size_t n = 0;
    if (p->m)
        out[n++] = (struct optimizer_array){"m", DTYPE_F32, p->n->n_values, p->m};
    if (p->v)
        out[n++] = (struct optimizer_array){"v", DTYPE_F32, p->n->n_values, p->v};
    return n;
}

size_t optimizer_bytes(const struct optimizer *p) {
    struct optimizer_array all[OPTIMIZER_ARRAYS_MAX];
    size_t bytes = 0;
    for (size_t i = 0, n = optimizer_arrays(p, all); i < n; i++)
        bytes += all[i].n * dtype_size_bytes(all[i].dtype);
    return bytes;
}
