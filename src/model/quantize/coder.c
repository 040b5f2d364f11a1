#include "model/quantize/coder.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "quant/quantizer.h"

void coder_release(struct coder *c) {
    free(c->w);
    free(c->q);
    free(c->scale);
    free(c->absmax);
    free(c->nested);
    c->w = c->scale = c->nested = NULL;
    c->q = c->absmax = NULL;
    c->w_room = c->q_room = c->scale_room = 0;
}

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

static bool make_room(struct coder *c, size_t rows, size_t cols) {
    const size_t scales = rows * ceil_div(cols, c->group);
    size_t n, bytes;
    if (!checked_mul(rows, cols, &n) || !checked_mul(n, sizeof *c->w, &bytes))
        return false;
    if (n > c->w_room) {
        coder_release(c);
        c->w = malloc(bytes);
        c->q = malloc(n);
        c->absmax = malloc(ceil_div(n, LAYOUT_NF4_BLOCK));
        c->nested = malloc((n / (LAYOUT_NF4_BLOCK * 256) + 1) * sizeof *c->nested);
        c->w_room = c->w && c->q && c->absmax && c->nested ? n : 0;
    }
    /* NF4's blocks of 64 elements have their absmax here before it is coded. */
    const size_t most = scales > ceil_div(n, LAYOUT_NF4_BLOCK) ? scales : ceil_div(n, LAYOUT_NF4_BLOCK);
    if (most > c->scale_room) {
        free(c->scale);
            c->scale = calloc(most, sizeof *c->scale);
        c->scale_room = c->scale ? most : 0;
    }
    return n <= c->w_room && most <= c->scale_room;
}

/* ---- by group, block, tile ----------------------------------------------------------- */

struct code_job {
    struct coder *c;
    size_t rows, cols;
    double *error; /* [rows] squared, where rows are coded */
    double *size;
};

enum { GROUP_MOST = 128 };
static const float equal_weights[GROUP_MOST] = {
#define EIGHT 1, 1, 1, 1, 1, 1, 1, 1
    EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT,
    EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT,
#undef EIGHT
};

static void code_int_row(struct code_job *job, size_t r) {
    struct coder *c = job->c;
    const size_t groups = ceil_div(job->cols, c->group);
    for (size_t g = 0; g < groups; g++) {
        const size_t at = r * job->cols + g * c->group, i = r * groups + g;
        const size_t left = job->cols - g * c->group, n = left < c->group ? left : c->group;
        if (c->layout == LAYOUT_INT8) {
            quantize_int8_group(c->w + at, n, c->q + at, &c->scale[i]);
        } else {
            c->scale[i] = feedback_scale(c->w + at, equal_weights, n);
            for (size_t k = 0; k < n; k++) {
                const float d = c->scale[i] > 0 ? rintf(c->w[at + k] / c->scale[i]) : 0;
                c->q[at + k] = (uint8_t)((d > -8 ? (d < 7 ? d : 7) : -8) + 8);
            }
        }
    }
}

static float value_at(const struct code_job *job, size_t r, size_t k) {
    const struct coder *c = job->c;
    const size_t at = r * job->cols + k;
    switch (c->layout) {
    case LAYOUT_INT8:
    case LAYOUT_INT4: {
        const size_t i = r * ceil_div(job->cols, c->group) + k / c->group;
        return c->scale[i] * ((float)c->q[at] - (c->layout == LAYOUT_INT8 ? 128.0f : 8.0f));
    }
    case LAYOUT_NF4:
        return c->scale[at / LAYOUT_NF4_BLOCK] * nf4_code[c->q[at]];
    case LAYOUT_FP8:
        break;
    }
    return c->scale[r / LAYOUT_FP8_BLOCK * ceil_div(job->cols, LAYOUT_FP8_BLOCK) + k / LAYOUT_FP8_BLOCK] *
           e4m3_to_f32(c->q[at]);
}

static void measure_row(struct code_job *job, size_t r) {
    double error = 0, size = 0;
    for (size_t k = 0; k < job->cols; k++) {
        const double w = (double)job->c->w[r * job->cols + k];
        const double e = (double)value_at(job, r, k) - w;
        error += e * e;
        size += w * w;
    }
    job->error[r] = error;
    job->size[r] = size;
}

static void code_int(void *ctx, int worker, int n_workers) {
    struct code_job *job = ctx;
    size_t begin, end;
    thread_share(job->rows, 1, worker, n_workers, &begin, &end);
    for (size_t r = begin; r < end; r++)
        code_int_row(job, r);
}

static void code_nf4(void *ctx, int worker, int n_workers) {
    struct code_job *job = ctx;
    const size_t n = job->rows * job->cols;
    size_t begin, end;
    thread_share(n, LAYOUT_NF4_BLOCK, worker, n_workers, &begin, &end);
    for (size_t at = begin; at < end; at += LAYOUT_NF4_BLOCK)
        quantize_nf4_block(job->c->w + at, n - at < LAYOUT_NF4_BLOCK ? n - at : LAYOUT_NF4_BLOCK,
                           job->c->q + at, &job->c->scale[at / LAYOUT_NF4_BLOCK]);
}

/* The scale is rounded up to BF16, so that no code saturates. */
static float fp8_scale(float most) {
    const float exact = most / 448.0f;
    uint16_t h = f32_to_bf16(exact);
    if (bf16_to_f32(h) < exact)
        h++;
    return most > 0 ? bf16_to_f32(h) : 1.0f;
}

static void code_fp8(void *ctx, int worker, int n_workers) {
    struct code_job *job = ctx;
    struct coder *c = job->c;
    const size_t B = LAYOUT_FP8_BLOCK, across = ceil_div(job->cols, B);
    size_t begin, end;
    thread_share(job->rows, B, worker, n_workers, &begin, &end);
    for (size_t r0 = begin; r0 < end; r0 += B) {
        for (size_t k0 = 0; k0 < job->cols; k0 += B) {
            const size_t r1 = r0 + B < end ? r0 + B : end;
            const size_t k1 = k0 + B < job->cols ? k0 + B : job->cols;
            float most = 0;
            for (size_t r = r0; r < r1; r++)
                for (size_t k = k0; k < k1; k++)
                    most = fmaxf(most, fabsf(c->w[r * job->cols + k]));
            const float scale = fp8_scale(most);
            c->scale[r0 / B * across + k0 / B] = scale;
            for (size_t r = r0; r < r1; r++)
                for (size_t k = k0; k < k1; k++)
                    c->q[r * job->cols + k] = f32_to_e4m3(c->w[r * job->cols + k] / scale);
        }
    }
}

static void measure(void *ctx, int worker, int n_workers) {
    struct code_job *job = ctx;
    size_t begin, end;
    thread_share(job->rows, 1, worker, n_workers, &begin, &end);
    for (size_t r = begin; r < end; r++)
        measure_row(job, r);
}

static void run(const struct coder *c, void (*fn)(void *ctx, int worker, int n_workers), void *ctx) {
    if (c->pool)
        thread_pool_run(c->pool, fn, ctx);
    else
        fn(ctx, 0, 1);
}

/* Codes absmax too; `scale` then holds what the codes say. */
static void nest(struct coder *c, size_t n, struct coded_matrix *out) {
    const size_t blocks = ceil_div(n, LAYOUT_NF4_BLOCK);
    out->offset = absmax_offset(c->scale, blocks);
    quantize_absmax(c->scale, blocks, out->offset, c->absmax, c->nested);
    for (size_t i = 0; i < blocks; i++)
        c->scale[i] = dynamic_map[c->absmax[i]] * c->nested[i / 256] + out->offset;
}

static bool is_finite(const float *w, size_t n) {
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += w[i] * 0; /* NaN for infinities and NaN, else 0 */
    return sum == 0;
}

enum quern_status coder_code(struct coder *c, const struct matrix_source *s,
                             const struct calibration_input *in, struct coded_matrix *out,
                             double *weight_error, double *output_error, struct quern_error *err) {
    if (!make_room(c, s->rows, s->cols))
        return error_nomem(err);
    enum quern_status st = matrix_source_read(s, c->w, c->pool, err);
    if (st == QUERN_OK && !is_finite(c->w, s->rows * s->cols))
        st = error_set(err, QUERN_ERR_FORMAT, "holds numbers that are not finite");
    if (st != QUERN_OK)
        return st;
    *out = (struct coded_matrix){.rows = s->rows, .cols = s->cols, .group = c->group, .q = c->q,
                                 .scale = c->scale, .absmax = c->absmax,
                                 .nested_absmax = c->nested};
    struct code_job job = {.c = c, .rows = s->rows, .cols = s->cols};
    if (in) {
        struct feedback_job f = {.in = in, .kernels = c->kernels, .w = c->w, .rows = s->rows,
                                 .group = c->group, .q = c->q, .scale = c->scale};
        st = feedback_code(&f, c->pool, err);
        *output_error = f.carried > 0 ? sqrt(f.loss / f.carried) : 0;
    } else if (c->layout == LAYOUT_NF4) {
        run(c, code_nf4, &job);
        nest(c, s->rows * s->cols, out);
    } else {
        run(c, c->layout == LAYOUT_FP8 ? code_fp8 : code_int, &job);
    }
    job.error = calloc(s->rows, sizeof *job.error);
    job.size = calloc(s->rows, sizeof *job.size);
    if (st == QUERN_OK && job.error && job.size) {
        double error = 0, size = 0;
        run(c, measure, &job);
        for (size_t r = 0; r < s->rows; r++) {
            error += job.error[r];
            size += job.size[r];
        }
        *weight_error = size > 0 ? sqrt(error / size) : 0;
    } else if (st == QUERN_OK) {
        st = error_nomem(err);
    }
    free(job.error);
    free(job.size);
    return st;
}
