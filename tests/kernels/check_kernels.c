/* check_kernels.c - every kernel table against the generic reference, bit for bit.
 *
 *     check_kernels [SEED [CASES]]     checks; exit code 1 on the first difference
 *     check_kernels --bench [LINE [TABLE]]   speed of every function and table (bench_kernels.c), or of
 *                                            those whose names contain LINE, or of one table
 *
 * Inputs are random and adversarial: denormals, huge values, zeros of both signs, infinities, NaN, odd
 * sizes, strides, unaligned weights. Every buffer touches an unreadable page, inputs are read-only
 * during the call, and the whole output area is compared, so a byte read or written beyond the
 * contract fails. The one freedom: a NaN may be any NaN (which operand's payload survives differs
 * between instructions). */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/generic/generic.h"
#include "kernels/tables.h"
#include "support/amx_emulator.h"
#include "support/bench_kernels.h"
#include "support/guarded.h"

static const struct kernels *reference, *candidate;
static uint64_t case_seed, rng_state;
static int failures;

/* ---- random input ---------------------------------------------------------------- */

static uint64_t next_u64(void) {
    uint64_t z = rng_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t pick(size_t low, size_t high) {
    return low + (size_t)(next_u64() % (high - low + 1));
}

static bool coin(void) {
    return next_u64() >> 63;
}

static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

enum flavour { SMALL, WHOLE, WIDE, TINY, SPECIAL, ANY_BITS, FLAVOURS };

static float random_float(enum flavour flavour) {
    static const float specials[] = {0.0f,     -0.0f,   1e-45f,     -1e-45f, 1.1754942e-38f, -1e-38f,
                                     3e38f,    -3e38f,  INFINITY,   -INFINITY, 1e19f,        -1e19f,
                                     1e-20f,   -1e-20f, 88.7f,      -103.9f, 1.0f,           0x1.fffffep0f};
    float unit = (float)(int32_t)next_u64() * 0x1p-31f;
    switch (flavour) {
    case WHOLE:
        return (float)((int)pick(0, 8) - 4);
    case WIDE:
        return ldexpf(unit, (int)pick(0, 90) - 60);
    case TINY:
        return fabsf(unit) * 1e-25f;
    case SPECIAL:
        return pick(0, 3) ? unit : specials[pick(0, sizeof specials / sizeof specials[0] - 1)];
    case ANY_BITS:
        return pick(0, 5) ? float_of_bits((uint32_t)next_u64()) : NAN;
    default:
        return unit * 4.0f;
    }
}

static void fill(float *x, size_t n, enum flavour flavour) {
    /* Of one sign, so that products vanish into zeros of one sign: a sum of -0 must stay -0. */
    float sign = flavour == TINY && coin() ? -1.0f : 1.0f;
    for (size_t i = 0; i < n; i++)
        x[i] = sign * random_float(flavour);
}

/* ---- comparing --------------------------------------------------------------------- */

static bool same_floats(const struct guarded *a, const struct guarded *b, size_t *at) {
    const float *x = (const void *)a->data, *y = (const void *)b->data;
    if (memcmp(x, y, a->size_bytes) == 0)
        return true;
    for (size_t i = 0; i < a->size_bytes / sizeof *x; i++) {
        if (memcmp(&x[i], &y[i], sizeof *x) != 0 && !(isnan(x[i]) && isnan(y[i]))) {
            *at = i;
            return false;
        }
    }
    return true;
}

/* Two areas of output, one for each table, alike before the call. */
static struct guarded out_ref, out_new;
static struct guarded in_a, in_b, in_w, scratch_area;

static void outputs_reset(void) {
    memset(out_ref.data, 0x5A, out_ref.size_bytes);
    memset(out_new.data, 0x5A, out_new.size_bytes);
}

/* Of what the reference computed, with one NaN for all: the same number on every machine whose pages
 * have the same size. */
static uint64_t digest = 0xCBF29CE484222325u;

static void add_to_digest(void) {
    const float *x = (const void *)out_ref.data;
    for (size_t i = 0; i < out_ref.size_bytes / sizeof *x; i++) {
        uint32_t bits = 0x7FC00000u;
        if (!isnan(x[i]))
            memcpy(&bits, &x[i], sizeof bits);
        digest = (digest ^ bits) * 0x100000001B3u;
    }
}

static void expect_same(const char *what) {
    size_t at;
    add_to_digest();
    if (same_floats(&out_ref, &out_new, &at))
        return;
    float x, y;
    memcpy(&x, out_ref.data + at * sizeof x, sizeof x);
    memcpy(&y, out_new.data + at * sizeof y, sizeof y);
    printf("FAIL %s %s, seed %llu: float %zu of the output area is %a, expected %a\n", candidate->name,
           what, (unsigned long long)case_seed, at, (double)y, (double)x);
    failures++;
}

/* n floats in `area`, filled, flush with one of the guard pages. */
static float *input(struct guarded *area, size_t n, enum flavour flavour) {
    guarded_protect(area, false);
    float *p = guarded_place(area, n * sizeof *p, coin(), 0);
    fill(p, n, flavour);
    guarded_protect(area, true);
    return p;
}

/* The same place in both output areas, filled alike. */
static void output_pair(size_t n, enum flavour flavour, float **ref, float **new) {
    bool at_end = coin();
    outputs_reset();
    *ref = guarded_place(&out_ref, n * sizeof **ref, at_end, 0);
    *new = guarded_place(&out_new, n * sizeof **new, at_end, 0);
    fill(*ref, n, flavour);
    memcpy(*new, *ref, n * sizeof **ref);
}

/* n weights at any byte address. */
static void *weights(enum dtype type, size_t n, enum flavour flavour) {
    size_t bytes = n * dtype_size_bytes(type);
    guarded_protect(&in_w, false);
    const bool at_end = coin(); /* arguments are evaluated in another order on another machine */
    unsigned char *p = guarded_place(&in_w, bytes, at_end, pick(0, 3));
    for (size_t i = 0; i < n; i++) {
        float f = random_float(flavour);
        dtype_from_f32(type, &f, p + i * dtype_size_bytes(type), 1);
    }
    guarded_protect(&in_w, true);
    return p;
}

static enum flavour any_flavour(void) {
    return (enum flavour)pick(0, FLAVOURS - 1);
}

static size_t any_size(void) {
    return pick(0, 15) ? pick(1, 70) : pick(1, 1500);
}

static const enum dtype weight_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};

/* ---- one check for each function ------------------------------------------------------ */

static void check_matmul(size_t max_tokens, size_t max_rows, size_t n_cols) {
    enum dtype type = weight_types[pick(0, 2)];
    size_t row_begin = pick(0, 9), rows = pick(0, max_rows), row_end = row_begin + rows;
    struct matmul_args a = {.n_tokens = pick(0, max_tokens), .n_cols = n_cols, .row_begin = row_begin,
                            .row_end = row_end};
    a.x_stride = n_cols + pick(0, 5);
    a.y_stride = row_end + pick(0, 5);
    enum flavour flavour = any_flavour();
    size_t last = a.n_tokens ? a.n_tokens - 1 : 0;
    a.x = input(&in_a, last * a.x_stride + n_cols, flavour);
    a.w = weights(type, row_end * n_cols, coin() ? flavour : SMALL);
    a.bias = coin() ? input(&in_b, row_end, flavour) : NULL;
    struct matmul_args b = a;
    output_pair(last * a.y_stride + row_end, SMALL, &a.y, &b.y);
    reference->matmul[type](&a);
    candidate->matmul[type](&b);
    expect_same("matmul");
}

static uint32_t random_sign(void) {
    return coin() ? 0x8000 : 0;
}

/* `edge`: such that sums come near 2^-126 from either side, where flushing begins. */
static uint16_t random_bf16(enum flavour flavour, bool edge) {
    if (!edge)
        return f32_to_bf16(random_float(flavour));
    uint32_t exponent = coin() ? (uint32_t)pick(0, 8) : (uint32_t)pick(40, 130);
    uint32_t mantissa = coin() ? 0 : (uint32_t)pick(0, 127);
    return (uint16_t)(random_sign() | exponent << 7 | mantissa);
}

static void fill_bf16(void *to, size_t n, enum flavour flavour, bool edge) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h = random_bf16(flavour, edge);
        memcpy((unsigned char *)to + 2 * i, &h, sizeof h);
    }
}

static void check_matmul_bf16(size_t max_tokens, size_t min_rows, size_t max_rows, size_t n_cols) {
    size_t row_begin = pick(0, 9), row_end = row_begin + pick(min_rows, max_rows);
    struct matmul_bf16_args a = {.n_tokens = pick(0, max_tokens), .n_cols = n_cols,
                                 .row_begin = row_begin, .row_end = row_end};
    size_t padded = (n_cols + 1) / 2 * 2, last = a.n_tokens ? a.n_tokens - 1 : 0;
    a.x_stride = padded + 2 * pick(0, 3);
    a.y_stride = row_end + pick(0, 5);
    enum flavour flavour = any_flavour();
    bool edge = pick(0, 3) == 0;
    guarded_protect(&in_a, false);
    uint16_t *x = guarded_place(&in_a, (last * a.x_stride + padded) * sizeof *x, coin(), 0);
    fill_bf16(x, last * a.x_stride + padded, flavour, edge);
    for (size_t t = 0; n_cols % 2 && t <= last; t++)
        x[t * a.x_stride + n_cols] = 0;
    guarded_protect(&in_a, true);
    guarded_protect(&in_w, false);
    const bool at_end = coin();
    void *w = guarded_place(&in_w, row_end * n_cols * 2, at_end, coin() ? 0 : pick(0, 63));
    fill_bf16(w, row_end * n_cols, coin() ? flavour : SMALL, edge);
    guarded_protect(&in_w, true);
    a.x = x;
    a.w = w;
    a.bias = coin() ? input(&in_b, row_end, flavour) : NULL;
    a.scratch = guarded_place(&scratch_area, MATMUL_BF16_SCRATCH_BYTES, coin(), 0);
    memset(a.scratch, 0xFF, MATMUL_BF16_SCRATCH_BYTES);
    struct matmul_bf16_args b = a;
    output_pair(last * a.y_stride + row_end, SMALL, &a.y, &b.y);
    (candidate->bf16_by_tiles ? generic_matmul_bf16_tiles : reference->matmul_bf16)(&a);
    candidate->matmul_bf16(&b);
    expect_same("matmul_bf16");
}

/* Sums of +-2^-126 and something 2^-20 to 2^-28 as large, where it is decided whether a result counts as
 * subnormal and becomes zero. */
static void check_flush_edge(void) {
    enum { ROWS = 64, COLS = 4, LEAST = 1 << 7 }; /* LEAST: 2^-126 in bfloat16 */
    guarded_protect(&in_a, false);
    guarded_protect(&in_w, false);
    uint16_t *x = guarded_place(&in_a, COLS * sizeof *x, coin(), 0);
    uint16_t *w = guarded_place(&in_w, ROWS * COLS * sizeof *w, coin(), 0);
    x[0] = f32_to_bf16(1.0f);
    x[1] = 0;
    x[2] = f32_to_bf16(ldexpf(1.0f, -56 - (int)pick(20, 28)));
    x[3] = f32_to_bf16(ldexpf(1.0f, -56 - (int)pick(20, 28)));
    for (size_t r = 0; r < ROWS; r++) {
        const uint32_t sign = random_sign();
        w[COLS * r] = (uint16_t)(sign | (LEAST + pick(0, 1)));
        w[COLS * r + 1] = 0;
        for (size_t i = 2; i < COLS; i++) { /* +-2^-70, often exactly, or nothing */
            const uint32_t other = random_sign();
            w[COLS * r + i] = (uint16_t)(other | (pick(0, 2) ? 57u << 7 | (coin() ? pick(0, 3) : 0) : 0));
        }
    }
    guarded_protect(&in_a, true);
    guarded_protect(&in_w, true);
    struct matmul_bf16_args a = {.x = x, .w = w, .y_stride = ROWS, .x_stride = COLS, .n_tokens = 1,
                                 .n_cols = COLS, .row_end = ROWS};
    a.scratch = guarded_place(&scratch_area, MATMUL_BF16_SCRATCH_BYTES, false, 0);
    struct matmul_bf16_args b = a;
    output_pair(ROWS, SMALL, &a.y, &b.y);
    (candidate->bf16_by_tiles ? generic_matmul_bf16_tiles : reference->matmul_bf16)(&a);
    candidate->matmul_bf16(&b);
    expect_same("matmul_bf16 at 2^-126");
}

static void check_to_bf16(void) {
    size_t n = any_size();
    const float *x = input(&in_a, n, coin() ? ANY_BITS : any_flavour());
    outputs_reset();
    bool at_end = coin();
    uint16_t *r = guarded_place(&out_ref, n * sizeof *r, at_end, 0);
    uint16_t *c = guarded_place(&out_new, n * sizeof *c, at_end, 0);
    reference->to_bf16(r, x, n);
    candidate->to_bf16(c, x, n);
    if (memcmp(out_ref.data, out_new.data, out_ref.size_bytes) != 0) {
        printf("FAIL %s to_bf16, seed %llu\n", candidate->name, (unsigned long long)case_seed);
        failures++;
    }
}

static void check_rms_norm(void) {
    size_t n = any_size();
    enum flavour flavour = any_flavour();
    const float *w = input(&in_b, n, flavour), *x = input(&in_a, n, flavour);
    float *r, *c, eps = coin() ? 1e-6f : 0.0f;
    output_pair(n, flavour, &r, &c);
    bool in_place = coin();
    reference->rms_norm(r, in_place ? r : x, w, n, eps);
    candidate->rms_norm(c, in_place ? c : x, w, n, eps);
    expect_same("rms_norm");
}

static void check_rope(void) {
    size_t d = 2 * pick(1, 140);
    enum flavour flavour = any_flavour();
    const float *cos = input(&in_a, d / 2, flavour), *sin = input(&in_b, d / 2, flavour);
    float *r, *c;
    output_pair(d, flavour, &r, &c);
    reference->rope(r, cos, sin, d);
    candidate->rope(c, cos, sin, d);
    expect_same("rope");
}

static void check_silu_mul(void) {
    size_t n = any_size(), alias = pick(0, 2);
    enum flavour flavour = any_flavour();
    const float *g = input(&in_a, n, flavour), *u = input(&in_b, n, flavour);
    float *r, *c;
    output_pair(n, flavour, &r, &c);
    reference->silu_mul(r, alias == 1 ? r : g, alias == 2 ? r : u, n);
    candidate->silu_mul(c, alias == 1 ? c : g, alias == 2 ? c : u, n);
    expect_same("silu_mul");
}

static void check_add_and_axpy(void) {
    size_t n = any_size();
    enum flavour flavour = any_flavour();
    const float *x = input(&in_a, n, flavour);
    float *r, *c, a = random_float(flavour);
    output_pair(n, flavour, &r, &c);
    reference->add(r, x, n);
    candidate->add(c, x, n);
    expect_same("add");
    output_pair(n, flavour, &r, &c);
    reference->axpy(r, a, x, n);
    candidate->axpy(c, a, x, n);
    expect_same("axpy");
}

static void check_softmax(void) {
    size_t n = any_size();
    enum flavour flavour = any_flavour();
    float *r, *c;
    output_pair(n, flavour, &r, &c);
    if (coin())
        for (size_t i = 0; i < n; i++)
            r[i] = c[i] = r[i] * 30.0f;
    reference->softmax(r, n);
    candidate->softmax(c, n);
    expect_same("softmax");
}

/* exp over its whole range, by way of softmax of pairs (0, x). */
static void check_exp(void) {
    float x = -110.0f * (float)(next_u64() >> 40) * 0x1p-24f;
    float *r, *c;
    output_pair(2, SMALL, &r, &c);
    r[0] = c[0] = 0.0f;
    r[1] = c[1] = x;
    reference->softmax(r, 2);
    candidate->softmax(c, 2);
    expect_same("exp");
}

static void check_to_f32(void) {
    enum dtype type = weight_types[pick(0, 2)];
    size_t n = any_size();
    const void *x = weights(type, n, any_flavour());
    float *r, *c;
    output_pair(n, SMALL, &r, &c);
    reference->to_f32[type](r, x, n);
    candidate->to_f32[type](c, x, n);
    expect_same("to_f32");
}

/* ---- driver -------------------------------------------------------------------------- */

static void check_case(uint64_t seed) {
    case_seed = rng_state = seed;
    check_matmul(14, 40, any_size());
    check_rms_norm();
    check_rope();
    check_silu_mul();
    check_add_and_axpy();
    check_softmax();
    check_exp();
    check_to_f32();
    const size_t max_tokens = pick(0, 3) ? 9 : 30;
    check_matmul_bf16(max_tokens, 0, 90, any_size());
    check_flush_edge();
    check_to_bf16();
    /* Now and then wide enough for several cache blocks of weights. */
    if (seed % 64 == 0)
        check_matmul(15, 90, pick(4000, 4100));
    /* One token over rows that are long in every type. */
    if (seed % 16 == 4)
        check_matmul(1, 30, pick(1500, 9500));
    if (seed % 32 == 8)
        check_matmul_bf16(3, 440, 480, pick(1000, 1100));
    if (seed % 16 == 0) {
        const size_t wide = 64 * pick(1, 40);
        check_matmul_bf16(seed % 64 ? 3 : 40, 0, 140, wide + pick(0, 2));
    }
}

static void areas_init(void) {
    guarded_init(&out_ref, 512 * 1024);
    guarded_init(&out_new, 512 * 1024);
    guarded_init(&in_a, 512 * 1024);
    guarded_init(&in_b, 512 * 1024);
    guarded_init(&in_w, 2 * 1024 * 1024);
    guarded_init(&scratch_area, 512 * 1024);
}

static void areas_release(void) {
    struct guarded *all[] = {&out_ref, &out_new, &in_a, &in_b, &in_w, &scratch_area};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        guarded_release(all[i]);
}

static int bench(const struct kernels *const *tables, size_t n_tables, const char *line, const char *name) {
    for (size_t t = 0; name && t < n_tables; t++)
        if (strcmp(tables[t]->name, name) == 0)
            return bench_kernels(tables + t, 1, line);
    return bench_kernels(tables, n_tables, line);
}

static void check_table(uint64_t seed, uint64_t cases, const struct kernels *table) {
    const int before = failures;
    candidate = table;
    digest = 0xCBF29CE484222325u;
    for (uint64_t i = 0; i < cases && failures - before < 10; i++)
        check_case(seed + i);
    printf("%s: %llu cases, %s\n", candidate->name, (unsigned long long)cases,
           failures == before ? "bit-equal to generic" : "DIFFERS");
}

/* Where the CPU has all that the table needs but the tiles themselves. */
static void check_amx_by_emulation(uint64_t seed, uint64_t cases, const struct kernels *best) {
#if defined(__x86_64__)
    if (best != &kernels_avx512bf16 || !amx_emulator_install())
        return;
    check_table(seed, cases, &kernels_avx512amxbf16);
    if (amx_emulator_count() == 0 && cases > 1) {
        printf("FAIL avx512amxbf16: no case came to its tiles\n");
        failures++;
    }
    printf("avx512amxbf16: %lu of its instructions emulated\n", amx_emulator_count());
    amx_emulator_remove();
#else
    (void)seed, (void)cases, (void)best;
#endif
}

int main(int argc, char **argv) {
    size_t n_tables;
    const struct kernels *const *tables = kernels_available(&n_tables);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(tables, n_tables, argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t cases = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 300;
    areas_init();
    reference = tables[0];
    for (size_t t = 1; t < n_tables; t++) {
        check_table(seed, cases, tables[t]);
        if (t == 1)
            printf("digest %016llx\n", (unsigned long long)digest);
    }
    check_amx_by_emulation(seed, cases, tables[n_tables - 1]);
    if (n_tables == 1)
        printf("generic is the only table here: nothing to compare\n");
    areas_release();
    return failures != 0;
}
