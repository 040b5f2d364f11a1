#include "engine/speed.h"

/* A step counts half after about 35 others. */
static const double FADE = 0.98;
/* Until steps of different sizes were seen, another row is taken to add this share of a step. */
static const double UNKNOWN_SLOPE = 0.15;
/* What is gained must be more than the error of the estimate. */
static const double WORTH = 1.05;

static void average(double *mean, double value) {
    const double weight = 0.1;
    *mean = *mean > 0 ? *mean + weight * (value - *mean) : value;
}

/* Cost of a step without rows and what a row adds. */
static void fit(const struct speed *s, double *base, double *slope) {
    const double mean_x = s->x / s->n, mean_y = s->y / s->n;
    const double spread = s->xx / s->n - mean_x * mean_x;
    const double enough = 0.05;
    *slope = spread > enough ? (s->xy / s->n - mean_x * mean_y) / spread
                             : UNKNOWN_SLOPE * mean_y / (1 + UNKNOWN_SLOPE * mean_x);
    if (*slope < 0)
        *slope = 0;
    *base = mean_y - *slope * mean_x;
    if (*base < 0) {
        *base = 0;
        *slope = mean_y / mean_x;
    }
}

double speed_step_ns(const struct speed *s, size_t n_rows) {
    if (s->n <= 0 || n_rows == 0)
        return 0;
    double base, slope;
    fit(s, &base, &slope);
    return base + slope * (double)n_rows;
}

void speed_observe(struct speed *s, size_t n_rows, size_t n_prompt, uint64_t ns) {
    const double t = (double)ns, rows = (double)n_rows;
    if (n_prompt > 0) {
        const double own = t - speed_step_ns(s, n_rows);
        average(&s->prompt_ns, (own > t * 0.05 ? own : t * 0.05) / (double)n_prompt);
        average(&s->prompt_per_s, (double)n_prompt * 1e9 / (t + 1));
        return;
    }
    s->n = s->n * FADE + 1;
    s->x = s->x * FADE + rows;
    s->y = s->y * FADE + t;
    s->xx = s->xx * FADE + rows * rows;
    s->xy = s->xy * FADE + rows * t;
    average(&s->decode_per_s, rows * 1e9 / (t + 1));
}

size_t speed_prompt_tokens(const struct speed *s, size_t n_rows, double max_ns, size_t least,
                           size_t most) {
    if (s->prompt_ns <= 0)
        return least < most ? least : most;
    const double left = max_ns - speed_step_ns(s, n_rows);
    const double n = left > 0 ? left / s->prompt_ns : 0;
    if (n >= (double)most)
        return most;
    const size_t whole = (size_t)n;
    return whole > least ? whole : least < most ? least : most;
}

size_t speed_best_drafts(const struct speed *s, size_t n_rows, double accept, double guess_ns,
                         size_t most) {
    const double alone = speed_step_ns(s, n_rows);
    if (alone <= 0)
        return 0;
    double made = (double)n_rows, chain = 1, best_rate = WORTH * made / alone;
    size_t best = 0;
    for (size_t k = 1; k <= most; k++) {
        chain *= accept;
        made += chain;
        const double rate = made / (speed_step_ns(s, n_rows + k) + guess_ns * (double)k);
        if (rate > best_rate) {
            best_rate = rate;
            best = k;
        }
    }
    return best;
}
