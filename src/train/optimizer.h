/* optimizer.h - gradients to parameters. What an optimizer keeps lies in arrays beside the values. */
#ifndef QUERN_TRAIN_OPTIMIZER_H
#define QUERN_TRAIN_OPTIMIZER_H

#include "train/net.h"

struct optimizer {
    const struct train_options *o; /* borrowed */
    struct net *n;                 /* borrowed */
    const struct compute *c;       /* borrowed */
    uint64_t steps;                /* taken so far */
    float *m, *v;                  /* [n_values] moments; owned; NULL where not kept */
    float *room;                   /* owned; Muon's */
    size_t room_floats;
};

enum quern_status optimizer_init(struct optimizer *p, const struct train_options *o, struct net *n,
                                 const struct compute *c, struct quern_error *err);
void optimizer_release(struct optimizer *p); /* zeroed is fine */
size_t optimizer_bytes(const struct optimizer *p);
/* One step with gradients multiplied by `clip` first, at lr_scale times the rates. */
void optimizer_step(struct optimizer *p, const float *grads, float clip, float lr_scale);

#endif
