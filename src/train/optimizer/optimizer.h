/* optimizer.h - gradients to parameters. What an optimizer keeps lies in arrays beside the values. */
#ifndef QUERN_TRAIN_OPTIMIZER_H
#define QUERN_TRAIN_OPTIMIZER_H

#include "train/core/network.h"

/* Of 8-bit moments; tensors of fewer elements than SMALL keep theirs in float32. */
enum { OPTIMIZER_BLOCK = 256, OPTIMIZER_SMALL = 4096 };

struct optimizer {
    const struct train_options *o; /* borrowed */
    struct net *n;                 /* borrowed */
    const struct compute *c;       /* borrowed */
    uint64_t steps;                /* taken so far */
    float *m, *v;                  /* [n_values] moments; owned; NULL where not kept */
    uint8_t *m8, *v8;              /* [n_values] the same in 8 bits; owned */
    float *most;                   /* their blocks' largest magnitudes, m's and v's in turn; owned */
    size_t n_most;
    float unsigned_map[256];
    float *room; /* owned; Muon's */
    size_t room_floats;
};

enum quern_status optimizer_init(struct optimizer *p, const struct train_options *o, struct net *n,
                                 const struct compute *c, struct quern_error *err);
void optimizer_release(struct optimizer *p); /* zeroed is fine */
/* What it keeps from step to step, to be saved with `steps`. */
struct optimizer_array {
    const char *name;
    enum dtype dtype;
    size_t n;
    void *data;
};
enum { OPTIMIZER_ARRAYS_MAX = 5 };
size_t optimizer_arrays(const struct optimizer *p, struct optimizer_array out[OPTIMIZER_ARRAYS_MAX]);
size_t optimizer_bytes(const struct optimizer *p);
/* One step with gradients multiplied by `clip` first, at lr_scale times the rates. */
void optimizer_step(struct optimizer *p, const float *grads, float clip, float lr_scale);

/* ---- its parts ---------------------------------------------------------------------------- */

/* One matrix by Muon; floats of room it takes. */
void muon_step(const struct optimizer *p, const struct param *w, const float *grads, float clip,
               float lr_scale);
size_t muon_room_floats(const struct param *w);
void lion_step(const struct optimizer *p, const struct param *w, const float *grads, float clip, double lr,
               double weight_decay);
void adafactor_step(const struct optimizer *p, const struct param *w, const float *grads, float clip,
                    double lr, double weight_decay);
/* `index` of the parameter among all. */
void adamw_8bit_step(const struct optimizer *p, const struct param *w, size_t index, const float *grads,
                     const struct adamw_rates *rates);
void unsigned_dynamic_map(float out[256]);

#endif
