#include "sampler/pool.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"

enum {
    BIN_SHIFT = 6, /* 64/256 of a halving */
    /* exp_256 of it, times POOL_WEIGHT_ONE, is below 1; its bin is the last. */
    Z_MIN = -(POOL_BINS - 1) * 64,
    BEST_BINS = 48, /* twelve halvings */
    BEST_BINS_MIN_TOKENS = 4096,
    NO_BIN = 255,
    STRETCH = 16,
};
_Static_assert((int)POOL_BINS <= (int)NO_BIN,
               "a bin's number fits in a byte, and another one does");
_Static_assert(Z_MIN < -45 * 256, "the last bin must hold nothing but weight 0");

enum quern_status pool_init(struct pool *p, size_t capacity, struct quern_error *err) {
    *p = (struct pool){.capacity = capacity};
    p->weights = malloc(capacity * sizeof *p->weights);
    p->bins = malloc(capacity * sizeof *p->bins);
    p->own_scores = malloc(capacity * sizeof *p->own_scores);
    p->own_ids = malloc(capacity * sizeof *p->own_ids);
    p->work = malloc(capacity * sizeof *p->work);
    if (p->weights && p->bins && p->own_scores && p->own_ids && p->work)
        return QUERN_OK;
    pool_release(p);
    return error_nomem(err);
}

void pool_release(struct pool *p) {
    free(p->weights);
    free(p->bins);
    free(p->own_scores);
    free(p->own_ids);
    free(p->work);
    *p = (struct pool){0};
}

enum quern_status pool_bad_score(float score, size_t id, struct quern_error *err) {
    return error_set(err, QUERN_ERR_STATE,
                     "sampler: the logit of token %zu is %s, expected a number below infinity", id,
                     isnan(score) ? "NaN" : "+infinity");
}

static enum quern_status nothing_allowed(struct quern_error *err) {
    return error_set(err, QUERN_ERR_STATE,
                     "sampler: every token is forbidden (all logits are -infinity)");
}

/* ---- filling ------------------------------------------------------------------ */

/* The first score that is no number below infinity; there is one. */
static enum quern_status bad_score_in(const float *scores, size_t n, struct quern_error *err) {
    size_t i = 0;
    while (i + 1 < n && scores[i] < INFINITY)
        i++;
    return pool_bad_score(scores[i], i, err);
}

static enum quern_status fill_all(struct pool *p, const float *scores, size_t n,
                                  struct quern_error *err) {
    const float max = sampling_kernels()->max(scores, n);
    if (!(max < INFINITY)) /* NaN too */
        return bad_score_in(scores, n, err);
    if (!(max > -INFINITY))
        return nothing_allowed(err);
    p->scores = scores;
    p->ids = NULL;
    p->n = n;
    p->max_score = max;
    return QUERN_OK;
}

/* The best one alone: of equal ones the first. */
static enum quern_status fill_best(struct pool *p, const float *scores, size_t n,
                                   struct quern_error *err) {
    enum quern_status status = fill_all(p, scores, n, err);
    if (status)
        return status;
    const float below = nextafterf(p->max_score, -INFINITY);
    p->own_ids[0] = (int32_t)sampling_kernels()->first_above(scores, n, below);
    p->own_scores[0] = p->max_score; /* `scores` may be own_scores */
    p->scores = p->own_scores;
    p->ids = p->own_ids;
    p->n = 1;
    return QUERN_OK;
}

/* Keeps the k best of the n > k tokens gathered in own_scores and own_ids, ids still
 * ascending, and returns the smallest score kept. */
static float keep_best(struct pool *p, size_t n, size_t k) {
    for (size_t i = 0; i < n; i++)
        p->work[i] = (struct ranked){rank_key(p->own_scores[i], p->own_ids[i]), 1};
    uint64_t before;
    uint64_t last = rank_select(p->work, n, k - 1, &before).key;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (rank_key(p->own_scores[i], p->own_ids[i]) > last)
            continue;
        p->own_scores[kept] = p->own_scores[i];
        p->own_ids[kept++] = p->own_ids[i];
    }
    return rank_score(last);
}

/* Moves *i on to the next score above the threshold (or NaN): it and the next few are to be looked
 * at, up to *end. False when there is none. (A call for each would be dear where they are dense.)
 */
static bool next_stretch(const float *scores, size_t n, float threshold, size_t *i, size_t *end) {
    *i += sampling_kernels()->first_above(scores + *i, n - *i, threshold);
    *end = n - *i < STRETCH ? n : *i + STRETCH;
    return *i < n;
}

/* Gathers every token above the k-th best so far, and thins the gathered ones to k each
 * time there is no more room. A later token that equals the k-th best has the larger
 * id and ranks behind it. */
static enum quern_status fill_top_k(struct pool *p, const float *scores, size_t n, size_t k,
                                    struct quern_error *err) {
    const size_t room = 4 * k + 256; /* never reached when it is more than n */
    size_t gathered = 0;
    float threshold = -INFINITY;
    for (size_t i = 0, end; next_stretch(scores, n, threshold, &i, &end);) {
        for (; i < end; i++) {
            const float x = scores[i];
            if (x <= threshold)
                continue;
            if (!(x < INFINITY))
                return pool_bad_score(x, i, err);
            if (gathered == room) {
                threshold = keep_best(p, gathered, k);
                gathered = k;
                if (x <= threshold)
                    continue;
            }
            p->own_scores[gathered] = x; /* gathered <= i: `scores` may be own_scores */
            p->own_ids[gathered++] = (int32_t)i;
        }
    }
    if (gathered == 0)
        return nothing_allowed(err);
    if (gathered > k) {
        keep_best(p, gathered, k);
        gathered = k;
    }
    p->scores = p->own_scores;
    p->ids = p->own_ids;
    p->n = gathered;
    p->max_score = p->own_scores[0];
    for (size_t i = 1; i < gathered; i++)
        p->max_score = p->own_scores[i] > p->max_score ? p->own_scores[i] : p->max_score;
    return QUERN_OK;
}

enum quern_status pool_fill(struct pool *p, const float *scores, size_t n, size_t k,
                            struct quern_error *err) {
    if (k == 1)
        return fill_best(p, scores, n, err);
    return k && k < n ? fill_top_k(p, scores, n, k, err) : fill_all(p, scores, n, err);
}

/* ---- weights ------------------------------------------------------------------- */

/* Minus the log of a token's weight relative to the best, as weighed: z <= 0. */
static double token_z(const struct pool *p, size_t i) {
    double z = ((double)p->scores[i] - (double)p->max_score) * p->scale;
    return z > Z_MIN ? z : Z_MIN;
}

static unsigned token_bin(const struct pool *p, size_t i) {
    return (unsigned)(int)-token_z(p, i) >> BIN_SHIFT;
}

static void fill_all_bins(struct pool *p) {
    /* Neighbours often fall into one bin; two rows of sums let both additions run at once. */
    uint64_t sums[2][POOL_BINS] = {{0}};
    for (size_t i = 0; i < p->n; i++) {
        const unsigned bin = token_bin(p, i);
        p->bins[i] = (uint8_t)bin;
        sums[i & 1][bin] += p->weights[i];
    }
    for (size_t b = 0; b < POOL_BINS; b++)
        p->bin_weight[b] = sums[0][b] + sums[1][b];
    p->n_binned = POOL_BINS;
}

/* Draws and cuts mostly end among the best, so that the bins of all others need not be known. */
static void fill_best_bins(struct pool *p) {
    const double reach = (double)((int)BEST_BINS << BIN_SHIFT) / p->scale;
    const double max = (double)p->max_score;
    /* Somewhat below where the bins end, whatever was rounded. */
    const float below = (float)(max - reach - (fabs(max) + reach) * 1e-6);
    memset(p->bins, NO_BIN, p->n);
    memset(p->bin_weight, 0, sizeof p->bin_weight);
    for (size_t i = 0, end; next_stretch(p->scores, p->n, below, &i, &end);) {
        for (; i < end; i++) {
            const unsigned bin = p->scores[i] > below ? token_bin(p, i) : BEST_BINS;
            if (bin >= BEST_BINS)
                continue;
            p->bins[i] = (uint8_t)bin;
            p->bin_weight[bin] += p->weights[i];
        }
    }
    p->n_binned = BEST_BINS;
}

void pool_weigh(struct pool *p, float temperature) {
    p->scale = EXP_256_PER_UNIT / (double)temperature;
    p->kept = sampling_kernels()->weigh(p->weights, p->scores, p->n, (double)p->max_score, p->scale,
                                        Z_MIN);
    if (p->n < BEST_BINS_MIN_TOKENS)
        fill_all_bins(p);
    else
        fill_best_bins(p);
}

static uint64_t key_at(const struct pool *p, size_t i) {
    return rank_key(p->scores[i], p->ids ? p->ids[i] : (int32_t)i);
}

/* Puts the tokens of one bin that have weight into `work`. */
static size_t gather_bin(struct pool *p, uint8_t bin) {
    size_t n = 0;
    const uint8_t *at = p->bins, *end = p->bins + p->n;
    while (at < end && (at = memchr(at, bin, (size_t)(end - at)))) {
        size_t i = (size_t)(at++ - p->bins);
        if (p->weights[i])
            p->work[n++] = (struct ranked){key_at(p, i), p->weights[i]};
    }
    return n;
}

struct ranked pool_find(struct pool *p, uint64_t target, uint64_t *before) {
    uint64_t skipped = 0;
    size_t bin = 0;
    while (bin < POOL_BINS - 1 && (bin == p->n_binned || target - skipped >= p->bin_weight[bin])) {
        if (bin == p->n_binned)
            fill_all_bins(p);
        else
            skipped += p->bin_weight[bin++];
    }
    size_t n = gather_bin(p, (uint8_t)bin);
    struct ranked found = rank_select(p->work, n, target - skipped, before);
    *before += skipped;
    return found;
}

/* ---- cuts ------------------------------------------------------------------------ */

void pool_cut_top_p(struct pool *p, float top_p) {
    double wanted = ceil((double)top_p * (double)p->kept);
    if (wanted >= (double)p->kept)
        return;
    uint64_t before;
    struct ranked last = pool_find(p, wanted < 1 ? 0 : (uint64_t)wanted - 1, &before);
    p->kept = before + last.weight;
}

void pool_cut_min_p(struct pool *p, float min_p) {
    uint64_t smallest = (uint64_t)ceil((double)min_p * (double)POOL_WEIGHT_ONE);
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum += p->weights[i] >= smallest ? p->weights[i] : 0;
    p->kept = sum < p->kept ? sum : p->kept;
}

/* The key of the last token in the draw. */
static uint64_t last_kept(struct pool *p) {
    uint64_t before;
    return pool_find(p, p->kept - 1, &before).key;
}

static bool is_kept(const struct pool *p, size_t i, uint64_t last) {
    return p->weights[i] != 0 && key_at(p, i) <= last;
}

/* A pool of some of its tokens: begun, each taken in the order of ids, ended with their number.
 * Where is_kept is asked meanwhile, it is about tokens not yet taken. */
static void rebuild_begin(struct pool *p) {
    fill_all_bins(p);
    memset(p->bin_weight, 0, sizeof p->bin_weight);
    p->kept = 0;
}

static void rebuild_take(struct pool *p, size_t i, size_t n) {
    p->own_ids[n] = p->ids ? p->ids[i] : (int32_t)i;
    p->own_scores[n] = p->scores[i];
    p->weights[n] = p->weights[i];
    p->bins[n] = p->bins[i];
    p->bin_weight[p->bins[n]] += p->weights[n];
    p->kept += p->weights[n];
}

static void rebuild_end(struct pool *p, size_t n) {
    p->scores = p->own_scores;
    p->ids = p->own_ids;
    p->n = n;
}

/* Ranks tokens by how far their surprise -log p is from the mean surprise, the entropy:
 * log p = z - log(sum), and the sum cancels. Compared in float32; ties go to the smaller id. */
static uint64_t typical_key(const struct pool *p, size_t i, double mean_z) {
    double distance = token_z(p, i) - mean_z;
    return rank_key((float)(distance < 0 ? distance : -distance), p->ids ? p->ids[i] : (int32_t)i);
}

static double mean_z(const struct pool *p, uint64_t last) {
    double sum = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, i, last))
            sum += (double)p->weights[i] * token_z(p, i);
    return sum / (double)p->kept;
}

void pool_cut_typical(struct pool *p, float typical_p) {
    double wanted = ceil((double)typical_p * (double)p->kept);
    if (wanted >= (double)p->kept)
        return;
    uint64_t last = last_kept(p), before;
    double mean = mean_z(p, last);
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, i, last))
            p->work[n++] = (struct ranked){typical_key(p, i, mean), p->weights[i]};
    uint64_t cut = rank_select(p->work, n, wanted < 1 ? 0 : (uint64_t)wanted - 1, &before).key;
    rebuild_begin(p);
    n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, i, last) && typical_key(p, i, mean) <= cut)
            rebuild_take(p, i, n++);
    rebuild_end(p, n);
}

void pool_cut_xtc(struct pool *p, float threshold) {
    const uint64_t smallest = (uint64_t)ceil((double)threshold * (double)p->kept);
    const uint64_t last = last_kept(p);
    uint64_t likely = 0; /* the largest key, that is the last, of those at least so likely */
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->weights[i] < smallest || !is_kept(p, i, last))
            continue;
        const uint64_t key = key_at(p, i);
        likely = key > likely ? key : likely;
        n++;
    }
    if (n < 2)
        return;
    rebuild_begin(p);
    n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, i, last) && key_at(p, i) >= likely)
            rebuild_take(p, i, n++);
    rebuild_end(p, n);
}

const struct ranked *pool_survivors(struct pool *p, size_t *n) {
    uint64_t last = last_kept(p);
    *n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (is_kept(p, i, last))
            p->work[(*n)++] = (struct ranked){key_at(p, i), p->weights[i]};
    rank_sort(p->work, *n);
    return p->work;
}
