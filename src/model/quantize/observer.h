/* observer.h - sees what goes into the matrices of a model while it computes: the device's table is
 * replaced by a copy whose products report before they compute. */
#ifndef QUERN_MODEL_QUANTIZE_OBSERVER_H
#define QUERN_MODEL_QUANTIZE_OBSERVER_H

#include "device/device.h"

struct linear_observer {
    struct device_ops ops; /* the first member: found again by a device's table */
    const struct device_ops *inner;
    struct device *device;
    /* x[n, w.cols] as the product gets it, device memory */
    void (*on_linear)(void *user, const struct weight *w, const float *x, size_t n);
    void *user;
};

/* From here until detach, no other thread may use the device. */
void linear_observer_attach(struct linear_observer *o, struct device *d,
                            void (*on_linear)(void *user, const struct weight *w, const float *x,
                                              size_t n),
                            void *user);
void linear_observer_detach(struct linear_observer *o);

#endif
