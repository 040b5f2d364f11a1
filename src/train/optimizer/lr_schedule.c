#include "train/optimizer/lr_schedule.h"

#include <math.h>

static double at_least(double x, double least) {
    return x > least ? x : least;
}

double schedule_at(const struct schedule *s, size_t step, size_t n_steps) {
    const double pi = 3.14159265358979323846;
    const size_t warmup = s->warmup_steps ? s->warmup_steps
                                          : (size_t)ceil(s->warmup_ratio * (double)n_steps);
    if (step < warmup)
        return s->scale * (double)(step + 1) / (double)warmup;
    const double length = n_steps > warmup ? (double)(n_steps - warmup) : 1;
    const double done = (double)(step - warmup) / length;
    double share = 1;
    switch (s->kind) {
    case SCHEDULE_CONSTANT:
        break;
    case SCHEDULE_LINEAR:
        share = at_least(1 - done, s->min_ratio);
        break;
    case SCHEDULE_COSINE:
        share = s->min_ratio + (1 - s->min_ratio) * 0.5 * (1 + cos(pi * (done < 1 ? done : 1)));
        break;
    case SCHEDULE_WSD: {
        const double left = n_steps > step ? (double)(n_steps - step) : 0;
        const double decay = s->decay_ratio * (double)n_steps;
        share = decay > left ? at_least(left / decay, s->min_ratio) : 1;
        break;
    }
    }
    return s->scale * share;
}
