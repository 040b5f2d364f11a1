/* The arithmetic of training in every instruction set this CPU has: the same bits as plain C. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "quant/quantizer.h"
#include "support/support.h"
#include "train/core/panels.h"

enum { N = 1000 };

static void fill(float *x, size_t n, uint64_t stream) {
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(7, stream, i);
}

static const struct train_kernels *table(size_t i, const char **name) {
    size_t n;
    const struct kernels *const *all = kernels_available(&n);
    if (i >= n)
        return NULL;
    *name = all[i]->name;
    return all[i]->train;
}

static void loops_give_the_same_bits_in_every_table(void **state) {
    (void)state;
    static float x[N], y[N], w[N], want[8][N], got[8][N];
    const struct adamw_rates rates = {.decay = 0.99f, .beta1 = 0.9f, .beta2 = 0.95f, .step = 0.01f,
                                      .root_v = 0.3f, .epsilon = 1e-8f, .grad = 0.5f};
    const char *name;
    fill(x, N, 1);
    fill(y, N, 2);
    fill(w, N, 3);
    for (size_t i = 0; table(i, &name); i++) {
        const struct train_kernels *k = table(i, &name);
        float (*to)[N] = i == 0 ? want : got;
        memset(to, 0, sizeof want);
        const float r = k->norm(to[0], x, w, N, 1e-6f);
        k->norm_back(to[1], y, x, w, N, r);
        k->norm_weight(to[2], y, x, N, r);
        k->silu(to[3], x, y, N);
        memcpy(to[4], x, sizeof x);
        memcpy(to[5], y, sizeof y);
        k->silu_back(to[4], to[5], w, N);
        memcpy(to[6], x, sizeof x);
        to[6][0] = k->exp_sum(to[6] + 1, N - 1, 0.5f, 1.0f);
        memcpy(to[7], w, sizeof w);
        k->adamw(to[7], y, to[2], to[3], N, &rates);
        k->softmax_back(to[1], x, N, 0.1f, 0.2f);
        k->mul_add(to[7], x, y, N);
        to[7][0] += k->dot(x, y, N) + k->largest(w, N);
        if (i > 0 && memcmp(want, got, sizeof want) != 0)
            fail_msg("%s computes other bits", name);
    }
}

/* Every form, with sizes that leave edges, against sums in double. */
static void check_gemm(const struct compute *c, size_t m, size_t n, size_t k, bool a_across, bool b_across,
                       bool add, float *out) {
    float *a = malloc(m * k * 4), *b = malloc(n * k * 4);
    fill(a, m * k, 4);
    fill(b, n * k, 5);
    fill(out, m * n, 6);
    const struct gemm g = {.c = out, .ldc = n, .m = m, .n = n, .k = k, .add = add,
                           .a = a, .lda = a_across ? m : k, .a_across = a_across,
                           .b = b, .ldb = b_across ? n : k, .b_across = b_across};
    gemm_run(c, &g);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = add ? (double)rng_normal(7, 6, i * n + j) : 0, size = fabs(sum);
            for (size_t t = 0; t < k; t++) {
                float x = a_across ? a[t * m + i] : a[i * k + t], y = b_across ? b[t * n + j] : b[j * k + t];
                if (c->bf16) {
                    x = bf16_to_f32(f32_to_bf16(x));
                    y = bf16_to_f32(f32_to_bf16(y));
                }
                sum += (double)x * (double)y;
                size += fabs((double)x * (double)y);
            }
            /* A chain of k roundings, each half an ulp of a partial sum. */
            if (!(fabs(sum - (double)out[i * n + j]) <= (double)(k + 1) * 0x1p-24 * size))
                fail_msg("%zu x %zu x %zu, %d %d: [%zu][%zu] is %g, not %g", m, n, k, a_across, b_across, i, j,
                         (double)out[i * n + j], sum);
        }
    free(a);
    free(b);
}

static const size_t shapes[][3] = {{1, 1, 1}, {13, 33, 17}, {24, 64, 300}, {7, 100, 515}, {530, 40, 9}};

static void products_are_right_and_the_same_in_every_table(void **state) {
    (void)state;
    size_t n_tables;
    const struct kernels *const *all = kernels_available(&n_tables);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        float *want = malloc(m * n * 4), *got = malloc(m * n * 4);
        for (int form = 0; form < 8; form++)
            for (size_t t = 0; t < n_tables; t++) {
                struct compute c;
                struct quern_error err;
                assert_int_equal(compute_init(&c, 1 + (int)t % 3, all[t]->name, false, &err), QUERN_OK);
                check_gemm(&c, m, n, k, form & 1, form & 2, form & 4, t ? got : want);
                if (t && memcmp(want, got, m * n * 4) != 0)
                    fail_msg("%s computes other bits", all[t]->name);
                compute_release(&c);
            }
        free(want);
        free(got);
    }
}

static void products_of_bfloat16_are_right(void **state) {
    (void)state;
    struct compute c;
    struct quern_error err;
    assert_int_equal(compute_init(&c, 2, NULL, true, &err), QUERN_OK);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int form = 0; form < 8; form++) {
            float *out = malloc(shapes[s][0] * shapes[s][1] * 4);
            check_gemm(&c, shapes[s][0], shapes[s][1], shapes[s][2], form & 1, form & 2, form & 4, out);
            free(out);
        }
    compute_release(&c);
}

/* ---- panels --------------------------------------------------------------------------------------------- */

enum { PANEL_K = 1701, PANEL_R = 16 };

/* x [m][K], w [n][K] (w_across: [K][n]), xa [m][R], b [n][R]; out = x w^T + xa b^T, one product after the other, or in
 * one sum, w packed before or on the way. */
static void sum_of_panels(const struct compute *c, const struct gemm *base, const struct gemm *more, bool whole) {
    const struct gemm_tiles *t = panel_tiles(c, false);
    const struct panel_source x = {base->a, DTYPE_F32, base->lda, base->m, base->k, false};
    const struct panel_source w = {base->b, base->b_type, base->ldb, base->n, base->k, base->b_across};
    const struct panel_source xa = {more->a, DTYPE_F32, more->lda, more->m, more->k, false};
    const struct panel_source b = {more->b, DTYPE_F32, more->ldb, more->n, more->k, false};
    void *room[] = {aligned_alloc(64, (panel_bytes(t, t->mr, base->m, base->k) + 63) / 64 * 64),
                    aligned_alloc(64, (panel_bytes(t, t->nr, base->n, base->k) + 63) / 64 * 64),
                    aligned_alloc(64, (panel_bytes(t, t->mr, base->m, more->k) + 63) / 64 * 64),
                    aligned_alloc(64, (panel_bytes(t, t->nr, base->n, more->k) + 63) / 64 * 64)};
    panel_pack(c, t, room[0], t->mr, &x);
    panel_pack(c, t, room[1], t->nr, &w);
    panel_pack(c, t, room[2], t->mr, &xa);
    panel_pack(c, t, room[3], t->nr, &b);
    const struct panel_sum s = {.c = base->c, .ldc = base->ldc, .m = base->m, .n = base->n, .raw = w,
                                .terms = {{room[0], whole ? room[1] : NULL, base->k}, {room[2], room[3], more->k}}};
    panel_sum_run(c, t, &s);
    for (size_t i = 0; i < 4; i++)
        free(room[i]);
}

static void sums_of_panels_are_products_one_after_the_other(void **state) {
    (void)state;
    enum { M = 45, COLS = 300 };
    static float x[M * PANEL_K], w[COLS * PANEL_K], xa[M * PANEL_R], b[COLS * PANEL_R];
    static float want[M * COLS], got[M * COLS];
    static uint16_t half[COLS * PANEL_K];
    fill(x, M * PANEL_K, 1);
    fill(w, COLS * PANEL_K, 2);
    fill(xa, M * PANEL_R, 3);
    fill(b, COLS * PANEL_R, 4);
    for (size_t i = 0; i < COLS * PANEL_K; i++)
        half[i] = f32_to_bf16(w[i]);
    for (unsigned form = 0; form < 16; form++) {
        const bool across = form & 1, bf16_source = form & 2, bf16 = form & 4, whole = form & 8;
        struct compute c;
        struct quern_error err;
        assert_int_equal(compute_init(&c, 1 + (int)form % 3, NULL, bf16, &err), QUERN_OK);
        struct gemm base = {.c = want, .ldc = COLS, .m = M, .n = COLS, .k = PANEL_K, .a = x, .lda = PANEL_K,
                            .b = bf16_source ? (const void *)half : w, .b_across = across,
                            .b_type = bf16_source ? DTYPE_BF16 : DTYPE_F32, .ldb = across ? COLS : PANEL_K};
        struct gemm more = {.c = want, .ldc = COLS, .m = M, .n = COLS, .k = PANEL_R, .a = xa, .lda = PANEL_R,
                            .b = b, .ldb = PANEL_R, .add = true};
        gemm_run(&c, &base);
        gemm_run(&c, &more);
        base.c = got;
        memset(got, 0xff, sizeof got);
        sum_of_panels(&c, &base, &more, whole);
        if (memcmp(want, got, sizeof want) != 0)
            fail_msg("form %u: other bits", form);
        compute_release(&c);
    }
}

/* ---- coded weights ----------------------------------------------------------------------------------- */

static struct packed_matrix pack(const struct quant_source *s, unsigned char **memory) {
    struct packed_survey survey = {0};
    struct packed_matrix m;
    struct quern_error err;
    size_t bytes;
    void *scratch = malloc(packed_scratch_bytes(s, s->rows));
    packed_survey_rows(&survey, s, 0, s->rows, scratch);
    assert_int_equal(packed_plan(&m, s, &survey, MATH_EXACT, &bytes, &err), QUERN_OK);
    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(*memory, 0, bytes);
    m.data = *memory;
    m.code = s->spec.code;
    m.is_e4m3 = packed_write_rows(&m, *memory, s, 0, s->rows, scratch);
    free(scratch);
    return m;
}

/* A part of a strip as decode_strip gives it. */
static void same_in_a_strip(const struct train_kernels *k, const struct packed_matrix *m, size_t row,
                            const uint16_t *rows) {
    const size_t nr = k->bf16.nr;
    uint16_t *strip = calloc(m->cols * nr, sizeof *strip);
    k->decode_strip(m, row, strip);
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < m->cols; j++)
            if (strip[(j / 2 * nr + i) * 2 + j % 2] != rows[i * m->cols + j])
                fail_msg("row %zu, column %zu of the strip differs", row + i, j);
    free(strip);
}

static void decoded_rows_are_the_exact_values_rounded(void **state) {
    (void)state;
    enum { ROWS = 96, COLS = 320 };
    static const enum quantizer_form forms[] = {QUANTIZER_INT8, QUANTIZER_INT4, QUANTIZER_NF4, QUANTIZER_FP8};
    static float x[ROWS * COLS], row[COLS];
    static uint16_t got[16 * COLS];
    const char *name;
    fill(x, ROWS * COLS, 9);
    for (size_t t = 0; table(t, &name); t++)
        for (size_t f = 0; f < 4 && table(t, &name)->decode; f++) {
            struct quantizer q;
            struct quern_error err;
            unsigned char *memory;
            assert_int_equal(quantizer_init(&q, forms[f], DTYPE_F32, x, ROWS, COLS, &err), QUERN_OK);
            const struct packed_matrix m = pack(&q.source, &memory);
            assert_true(decodes_by_16(&m));
            for (size_t r = 0; r < ROWS; r += 16) {
                table(t, &name)->decode(&m, r, got);
                same_in_a_strip(table(t, &name), &m, r, got);
                for (size_t i = 0; i < 16; i++) {
                    packed_row(&m, r + i, row);
                    for (size_t j = 0; j < COLS; j++)
                        if (got[i * COLS + j] != f32_to_bf16(row[j]))
                            fail_msg("form %zu: [%zu][%zu] is %x, not %x", f, r + i, j, got[i * COLS + j],
                                     f32_to_bf16(row[j]));
                }
            }
            quantizer_release(&q);
            free(memory);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_give_the_same_bits_in_every_table),
        cmocka_unit_test(products_are_right_and_the_same_in_every_table),
        cmocka_unit_test(products_of_bfloat16_are_right),
        cmocka_unit_test(sums_of_panels_are_products_one_after_the_other),
        cmocka_unit_test(decoded_rows_are_the_exact_values_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
