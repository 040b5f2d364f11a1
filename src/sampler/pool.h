/* pool.h - the tokens still in the draw, with their softmax weights as integers, and the
 * cuts that narrow them.
 *
 * A weight is floor(2^44 * exp((score - max)/temperature)). Sums of integers are exact
 * whatever their order, so what survives a cut and which token a random number falls on
 * are defined by the sorted order of the tokens, though nothing is sorted. A token
 * 2^44 times less likely than the best one has weight 0: it is never drawn.
 *
 * All cuts but typical and XTC keep a prefix of the ranked tokens, described by its total weight. */
#ifndef QUERN_SAMPLER_POOL_H
#define QUERN_SAMPLER_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/sampling_kernels.h"
#include "sampler/rank.h"

#define POOL_WEIGHT_ONE SAMPLING_WEIGHT_ONE

enum {
    POOL_TOKENS_MAX = 1 << 19, /* times the largest weight: 2^63 */
    POOL_BINS = 192,           /* four to a halving of the weight, 44 halvings, and some */
};

struct pool {
    /* The tokens, by ascending id. */
    const float *scores; /* [n]; `own_scores` once tokens were taken out */
    const int32_t *ids;  /* [n]; NULL: 0..n-1 */
    size_t n;
    float max_score;
    /* Filled by pool_weigh. */
    double scale;      /* log weight = (score - max_score) * scale, in 1/256 of a halving */
    uint64_t *weights; /* [n] */
    uint8_t *bins;     /* [n] a coarse rank: a smaller bin has the larger scores */
    uint64_t bin_weight[POOL_BINS];
    size_t n_binned; /* bins below are filled in; tokens of others have some larger number */
    uint64_t kept; /* the best tokens of this total weight are in the draw; > 0 after pool_weigh */

    float *own_scores;   /* [capacity] */
    int32_t *own_ids;    /* [capacity] */
    struct ranked *work; /* [capacity] */
    size_t capacity;
};

enum quern_status pool_init(struct pool *p, size_t capacity, struct quern_error *err);
void pool_release(struct pool *p); /* zeroed is fine */

/* Puts the k best of scores[n] into the pool, all of them with k 0. `scores` is borrowed and may be
 * own_scores. -infinity is never in the draw; NaN and +infinity are QUERN_ERR_STATE, as is a row
 * with nothing but -infinity. n <= capacity. */
enum quern_status pool_fill(struct pool *p, const float *scores, size_t n, size_t k,
                            struct quern_error *err);

void pool_weigh(struct pool *p, float temperature); /* temperature > 0 */

void pool_cut_top_p(struct pool *p, float top_p);
void pool_cut_min_p(struct pool *p, float min_p);
void pool_cut_typical(struct pool *p, float typical_p);
/* Takes out the tokens at least so likely, but for the last of them. */
void pool_cut_xtc(struct pool *p, float threshold);

/* The token on which `target` < kept falls when the weights lie end to end by rank. */
struct ranked pool_find(struct pool *p, uint64_t target, uint64_t *before);

/* The tokens in the draw, best first, and their number; valid until the pool is used again. */
const struct ranked *pool_survivors(struct pool *p, size_t *n);

/* What is wrong with a score, as QUERN_ERR_STATE. */
enum quern_status pool_bad_score(float score, size_t id, struct quern_error *err);

#endif
