#include "model/quantize/feedback.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 16, RANGES = 16, CENTRE = 8 };

/* Codes less the centre. */
static const float LOW = -8, HIGH = 7;

/* Share of the mean diagonal that is added to it: so that columns the text hardly uses do not take up
 * errors without limit. GPTQ's usual value. */
static const double DAMPING = 0.01;

static float clamp(float x, float low, float high) {
    return x > low ? (x < high ? x : high) : low;
}

/* ---- ranges ---------------------------------------------------------------------------- */

/* The nearest integer, ties to even, of |x| < 2^22. */
static inline float nearest(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

struct range {
    float scale, gain; /* the weighted squared error is a constant less the gain */
};

/* The best scale for the codes that a scale gives. Sixteen sums side by side, so that a compiler
 * makes vectors of them. */
static struct range fitted(const float *x, const float *weight, size_t n, float scale) {
    enum { LANES = 16 };
    const float inverse = 1 / scale;
    float dx[LANES] = {0}, dd[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            const float d = clamp(nearest(x[i + l] * inverse), LOW, HIGH);
            dx[l] += weight[i + l] * d * x[i + l];
            dd[l] += weight[i + l] * d * d;
        }
    for (size_t l = 0; i < n; i++, l++) {
        const float d = clamp(nearest(x[i] * inverse), LOW, HIGH);
        dx[l] += weight[i] * d * x[i];
        dd[l] += weight[i] * d * d;
    }
    for (size_t l = 1; l < LANES; l++) {
        dx[0] += dx[l];
        dd[0] += dd[l];
    }
    struct range r = {0, 0};
    if (dd[0] > 0 && dx[0] > 0) {
        r.scale = bf16_to_f32(f32_to_bf16(dx[0] / dd[0]));
        r.gain = r.scale * (2 * dx[0] - r.scale * dd[0]);
    }
    return r;
}

float feedback_scale(const float *x, const float *weight, size_t n) {
    float most = 0;
    struct range best = {0, 0};
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    for (int k = 0; k < RANGES; k++) {
        const float s = most * (1 - 0.03f * (float)k) / HIGH;
        if (!(s >= 0x1p-126f))
            break;
        const struct range r = fitted(x, weight, n, s);
        if (r.gain > best.gain)
            best = r;
    }
    return best.scale;
}

/* ---- preparing ------------------------------------------------------------------------- */

struct ranked {
    float value;
    uint32_t column;
};

static int by_value(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

/* a becomes M with a = M M^T, M upper triangular; a is symmetric and its upper triangle is read. In
 * place. False: not positive definite. */
static bool factor_upper(double *a, size_t n) {
    for (size_t j = n; j-- > 0;) {
        double *aj = a + j * n;
        double sum = aj[j];
        for (size_t k = j + 1; k < n; k++)
            sum -= aj[k] * aj[k];
        if (!(sum > 0))
            return false;
        aj[j] = sqrt(sum);
        for (size_t i = 0; i < j; i++) {
            double *ai = a + i * n, dot[4] = {0, 0, 0, 0};
            size_t k = j + 1;
            for (; k + 4 <= n; k += 4)
                for (size_t l = 0; l < 4; l++)
                    dot[l] += ai[k + l] * aj[k + l];
            for (; k < n; k++)
                dot[0] += ai[k] * aj[k];
            ai[j] = (ai[j] - (dot[0] + dot[1] + dot[2] + dot[3])) / aj[j];
        }
    }
    return true;
}

/* The inverse of an upper triangular matrix, in place, rows from the last to the first. */
static void invert_upper(double *m, size_t n, double *row) {
    for (size_t i = n; i-- > 0;) {
        double *mi = m + i * n;
        const double diagonal = 1 / mi[i];
        memcpy(row, mi, n * sizeof *row);
        for (size_t j = i + 1; j < n; j++)
            mi[j] = 0;
        for (size_t k = i + 1; k < n; k++) {
            const double f = -row[k] * diagonal, *mk = m + k * n;
            for (size_t j = k; j < n; j++)
                mi[j] += f * mk[j];
        }
        mi[i] = diagonal;
    }
}

/* One block of n columns; sums becomes U with columns in order. */
static bool prepare_block(float *sums, size_t n, float *importance, uint32_t *order) {
    double *a = malloc(n * n * sizeof *a), *row = malloc(n * sizeof *row), mean = 0;
    struct ranked *ranked = malloc(n * sizeof *ranked);
    bool ok = a && row && ranked;
    for (size_t i = 0; ok && i < n; i++)
        mean += (double)sums[i * n + i] / (double)n;
    ok = ok && isfinite(mean);
    for (size_t i = 0; ok && i < n; i++) {
        /* What the text never uses counts, for its own rounding, as a little. */
        const float d = mean > 0 ? (float)((double)sums[i * n + i] / mean + DAMPING) : 1;
        importance[i] = d;
        ranked[i] = (struct ranked){d, (uint32_t)i};
    }
    if (ok) {
        qsort(ranked, n, sizeof *ranked, by_value);
        for (size_t i = 0; i < n; i++) {
            order[i] = ranked[i].column;
            for (size_t j = 0; j < n; j++)
                a[i * n + j] = mean > 0 ? (double)sums[ranked[i].column * n + ranked[j].column] / mean
                                        : 0;
            a[i * n + i] += mean > 0 ? DAMPING : 1;
        }
        /* Positive definite but for rounding, against which the damping stands. */
        ok = factor_upper(a, n);
    }
    if (ok) {
        invert_upper(a, n, row);
        for (size_t i = 0; i < n * n; i++)
            sums[i] = (float)a[i];
    }
    free(a);
    free(row);
    free(ranked);
    return ok;
}

struct prepare_job {
    struct calibration_input *in;
    bool failed[64]; /* by worker */
};

static size_t block_cols(size_t cols, size_t block) {
    const size_t at = block * CALIBRATION_BLOCK;
    return cols - at < CALIBRATION_BLOCK ? cols - at : CALIBRATION_BLOCK;
}

static void prepare_share(void *ctx, int worker, int n_workers) {
    struct prepare_job *job = ctx;
    struct calibration_input *in = job->in;
    const size_t full = (size_t)CALIBRATION_BLOCK * CALIBRATION_BLOCK;
    for (size_t b = (size_t)worker; b * CALIBRATION_BLOCK < in->cols; b += (size_t)n_workers) {
        const size_t at = b * CALIBRATION_BLOCK;
        if (!prepare_block(in->sums + b * full, block_cols(in->cols, b), in->importance + at,
                           in->order + at))
            job->failed[worker % 64] = true;
    }
}

enum quern_status feedback_prepare(struct calibration_input *in, struct thread_pool *pool,
                                   struct quern_error *err) {
    struct prepare_job job = {.in = in};
    if (in->is_prepared)
        return QUERN_OK;
    if (pool)
        thread_pool_run(pool, prepare_share, &job);
    else
        prepare_share(&job, 0, 1);
    for (size_t i = 0; i < 64; i++)
        if (job.failed[i])
            return error_set(err, QUERN_ERR_NOMEM,
                             "out of memory, or the calibration text gives values that are not "
                             "finite");
    in->is_prepared = true;
    return QUERN_OK;
}

/* ---- coding ---------------------------------------------------------------------------- */

struct tile {
    const struct feedback_job *job;
    size_t first, n; /* rows */
    float *w;        /* [n][block], columns in order */
    double loss, carried;
};

static void choose_scales(const struct tile *t) {
    const struct feedback_job *job = t->job;
    const size_t cols = job->in->cols, groups = (cols + job->group - 1) / job->group;
    for (size_t r = 0; r < t->n; r++)
        for (size_t g = 0; g < groups; g++) {
            const size_t at = g * job->group, i = (t->first + r) * groups + g;
            job->scale[i] =
                feedback_scale(job->w + (t->first + r) * cols + at, job->in->importance + at,
                               cols - at < job->group ? cols - at : job->group);
        }
}

/* Column j of a block of n columns that begins at `at`, in all rows of the tile. */
static void code_column(struct tile *t, const float *u, size_t at, size_t n, size_t j) {
    const struct feedback_job *job = t->job;
    const size_t cols = job->in->cols, groups = (cols + job->group - 1) / job->group;
    const size_t c = at + job->in->order[at + j];
    const float *uj = u + j * n;
    for (size_t r = 0; r < t->n; r++) {
        const size_t i = (t->first + r) * groups + c / job->group;
        const float scale = job->scale[i];
        float *w = t->w + r * n;
        const float code = scale > 0 ? clamp(nearest(w[j] / scale), LOW, HIGH) : 0;
        const float error = (w[j] - scale * code) / uj[j];
        job->q[(t->first + r) * cols + c] = (uint8_t)(code + (float)CENTRE);
        t->loss += (double)error * (double)error;
        job->kernels->axpy(w + j + 1, -error, uj + j + 1, n - j - 1);
    }
}

static void code_tile(struct tile *t) {
    const struct feedback_job *job = t->job;
    const size_t cols = job->in->cols;
    const float *u = job->in->sums;
    choose_scales(t);
    for (size_t at = 0; at < cols; at += CALIBRATION_BLOCK) {
        const size_t n = block_cols(cols, at / CALIBRATION_BLOCK);
        for (size_t r = 0; r < t->n; r++)
            for (size_t j = 0; j < n; j++) {
                const size_t c = at + job->in->order[at + j];
                const float w = job->w[(t->first + r) * cols + c];
                t->w[r * n + j] = w;
                t->carried += (double)(job->in->importance[c] * w) * (double)w;
            }
        for (size_t j = 0; j < n; j++)
            code_column(t, u, at, n, j);
        u += n * n;
    }
}

struct code_work {
    struct feedback_job *job;
    float *tiles; /* [n_workers][TILE_ROWS][block] */
    double *loss, *carried; /* [tiles] */
};

static void code_share(void *ctx, int worker, int n_workers) {
    struct code_work *k = ctx;
    const size_t n_tiles = (k->job->rows + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t i = (size_t)worker; i < n_tiles; i += (size_t)n_workers) {
        const size_t first = i * TILE_ROWS, left = k->job->rows - first;
        struct tile t = {.job = k->job, .first = first, .n = left < TILE_ROWS ? left : TILE_ROWS};
        t.w = k->tiles + (size_t)worker * TILE_ROWS * CALIBRATION_BLOCK;
        code_tile(&t);
        k->loss[i] = t.loss;
        k->carried[i] = t.carried;
    }
}

enum quern_status feedback_code(struct feedback_job *job, struct thread_pool *pool,
                                struct quern_error *err) {
    const size_t n_workers = pool ? (size_t)thread_pool_size(pool) : 1;
    const size_t n_tiles = (job->rows + TILE_ROWS - 1) / TILE_ROWS;
    struct code_work k = {.job = job};
    k.tiles = calloc(n_workers, sizeof *k.tiles * TILE_ROWS * CALIBRATION_BLOCK);
    k.loss = calloc(n_tiles, sizeof *k.loss);
    k.carried = calloc(n_tiles, sizeof *k.carried);
    enum quern_status st = k.tiles && k.loss && k.carried ? QUERN_OK : error_nomem(err);
    if (st == QUERN_OK) {
        if (pool)
            thread_pool_run(pool, code_share, &k);
        else
            code_share(&k, 0, 1);
        job->loss = job->carried = 0;
        for (size_t i = 0; i < n_tiles; i++) { /* in order: the same sum for any number of threads */
            job->loss += k.loss[i];
            job->carried += k.carried[i];
        }
    }
    free(k.tiles);
    free(k.loss);
    free(k.carried);
    return st;
}
