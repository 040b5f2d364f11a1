#include "model/quantize/observer.h"

static struct linear_observer *observer_of(struct device *d) {
    return (struct linear_observer *)(uintptr_t)d->ops;
}

static void observed_linear(struct device *d, float *y, const float *x, const struct weight *w,
                            const float *bias, size_t n) {
    struct linear_observer *o = observer_of(d);
    o->on_linear(o->user, w, x, n);
    o->inner->linear(d, y, x, w, bias, n);
}

static void observed_linears(struct device *d, const float *x, const struct linear_out *outs,
                             size_t n_outs, size_t n) {
    struct linear_observer *o = observer_of(d);
    for (size_t i = 0; i < n_outs; i++)
        o->on_linear(o->user, outs[i].w, x, n);
    o->inner->linears(d, x, outs, n_outs, n);
}

void linear_observer_attach(struct linear_observer *o, struct device *d,
                            void (*on_linear)(void *user, const struct weight *w, const float *x,
                                              size_t n),
                            void *user) {
    *o = (struct linear_observer){
        .ops = *d->ops, .inner = d->ops, .device = d, .on_linear = on_linear, .user = user};
    o->ops.linear = observed_linear;
    o->ops.linears = observed_linears;
    d->ops = &o->ops;
}

void linear_observer_detach(struct linear_observer *o) {
    o->device->ops = o->inner;
}
