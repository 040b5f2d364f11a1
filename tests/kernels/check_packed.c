/* check_packed.c - products with packed matrices: every table against the generic reference, byte by byte.
 *
 *     check_packed [SEED [CASES]]     checks; exit code 1 on the first difference
 *     check_packed --bench [FORMAT [TABLE]]   speed of every table (bench_packed.c), or of one, in all
 *                                             formats or those whose names contain FORMAT
 *
 * As in check_kernels.c: random and adversarial input, every buffer flush with an unreadable page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/packed_kernels.h"
#include "quant/quantizer.h"
#include "kernels/tables.h"
#include "support/amx_emulator.h"
#include "support/bench_packed.h"
#include "support/guarded.h"

static uint64_t rng_state;
static int failures;
static bool long_rows; /* more columns than kernels keep of a panel at once */
static bool wide_shapes; /* groups and rows of whole 64 columns, 16 tokens and more: what AMX takes */

static uint64_t next_u64(void) {
    uint64_t z = rng_state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t pick(size_t low, size_t high) {
    return low + (size_t)(next_u64() % (high - low + 1));
}

static float unit(void) {
    return (float)(int32_t)next_u64() * 0x1p-31f;
}

/* ---- a source of random codes ---------------------------------------------------------- */

enum { ROWS_MAX = 200, COLS_MAX = 700, LONG_COLS = 4400, TOKENS_MAX = 110 };

struct random_source {
    struct quant_source source;
    float code[256];
    uint32_t order[LONG_COLS];
    uint64_t seed;
    int number_form; /* 0: f16, 1: bf16, 2: f32 */
    bool same_zeros, extreme, fp8;
};

static float exact_in(int form, float x) {
    return form == 0 ? f16_to_f32(f32_to_f16(x)) : form == 1 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

/* Of FP8's codes not the NaNs. */
static uint8_t random_code(const struct random_source *r, unsigned levels) {
    if (r->fp8)
        return (uint8_t)(next_u64() % 127 | (next_u64() & 0x80));
    return (uint8_t)(r->extreme ? levels - 1 : next_u64() % levels);
}

/* Every row by its own seed, so that blocks of rows agree however they are cut. */
static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                      float *zero) {
    const struct random_source *r = s->ctx[0];
    const size_t groups = quant_n_groups(&s->spec, s->cols);
    const uint64_t saved = rng_state;
    const unsigned levels = 1u << s->spec.bits;
    for (size_t i = 0; i < n; i++) {
        rng_state = r->seed + (first + i) * 7919;
        for (size_t g = 0; g < groups; g++) {
            scale[i * groups + g] = exact_in(r->number_form, unit() * 0.01f);
            if (s->spec.kind == QUANT_INT)
                zero[i * groups + g] = r->same_zeros ? (float)(levels / 2) : (float)pick(0, levels);
            if (s->spec.kind == QUANT_AFFINE)
                zero[i * groups + g] = exact_in(r->number_form, unit());
        }
        for (size_t c = 0; c < s->cols; c++)
            q[i * s->cols + c] = random_code(r, levels);
    }
    rng_state = saved;
}

static void source_init(struct random_source *r) {
    static const size_t groups[] = {16, 32, 64, 128, 256, 384, 1024, 48, 100, 8};
    memset(r, 0, sizeof *r);
    r->seed = next_u64();
    r->number_form = (int)pick(0, 2);
    r->same_zeros = pick(0, 1);
    r->extreme = pick(0, 7) == 0;
    r->source.spec.kind = (enum quant_kind)pick(0, 2);
    r->source.spec.bits = pick(0, 1) ? 8 : 4;
    r->source.spec.group = groups[pick(0, sizeof groups / sizeof *groups - 1)];
    r->source.rows = pick(0, 3) ? pick(1, 70) : pick(1, ROWS_MAX);
    r->source.cols = pick(0, 3) ? pick(1, 300) : pick(1, COLS_MAX);
    if (wide_shapes) {
        r->source.spec.kind = (enum quant_kind)pick(0, 1);
        r->source.spec.group = (size_t)64 << pick(0, 2);
        r->source.cols = 64 * pick(1, COLS_MAX / 64);
    }
    /* Wider than what kernels take at once of a row. */
    if (long_rows) {
        r->source.spec.kind = QUANT_INT;
        r->source.rows = pick(1, 70);
        r->source.cols = pick(4000, LONG_COLS);
    }
    r->fp8 = r->source.spec.bits == 8 && pick(0, 1);
    for (size_t i = 0; i < 256; i++)
        r->code[i] = r->fp8 ? e4m3_to_f32((uint8_t)i) : unit();
    r->source.spec.code = r->source.spec.kind == QUANT_CODE ? r->code : NULL;
    for (size_t i = 0; i < r->source.cols; i++)
        r->order[i] = (uint32_t)i;
    for (size_t i = r->source.cols; i > 1; i--) {
        const size_t j = pick(0, i - 1);
        const uint32_t swapped = r->order[i - 1];
        r->order[i - 1] = r->order[j];
        r->order[j] = swapped;
    }
    r->source.col_order = pick(0, 3) ? NULL : r->order;
    r->source.read_rows = read_rows;
    r->source.ctx[0] = r;
}

/* ---- one product on two tables --------------------------------------------------------- */

static struct guarded data_area, x_area, bias_area, input_area[2], y_area[2], scratch_area;

static void *scratch_of(size_t bytes) {
    void *p = malloc(bytes + 1);
    if (!p)
        abort();
    return p;
}

static struct packed_matrix pack(const struct random_source *r, enum packed_math math) {
    struct packed_survey survey = {0};
    struct packed_matrix m = {0};
    size_t bytes = 0;
    void *scratch = scratch_of(packed_scratch_bytes(&r->source, r->source.rows));
    packed_survey_rows(&survey, &r->source, 0, r->source.rows, scratch);
    struct quern_error err = {0};
    if (packed_plan(&m, &r->source, &survey, math, &bytes, &err)) {
        printf("FAIL packed_plan: %s\n", err.message);
        failures++;
    } else {
        guarded_protect(&data_area, false);
        unsigned char *data = guarded_place(&data_area, bytes, true, 0);
        memset(data, 0, bytes);
        const bool nan_code = packed_write_rows(&m, data, &r->source, 0, r->source.rows, scratch);
        m.is_e4m3 = m.kind == QUANT_CODE && m.bits == 8 && !nan_code && packed_code_is_e4m3(m.code);
        guarded_protect(&data_area, true);
        m.data = data;
    }
    free(scratch);
    return m;
}

static float activation(int flavour) {
    static const float specials[] = {INFINITY, -INFINITY, 0.0f, -0.0f, 1e-45f, 1e38f, -1e38f, 1e-38f};
    if (flavour == 1 && pick(0, 40) == 0)
        return specials[pick(0, 7)];
    if (flavour == 1 && pick(0, 400) == 0)
        return NAN;
    return flavour == 2 ? unit() * 1e-33f : flavour == 3 ? (pick(0, 1) ? 3.0f : -3.0f) : unit() * 4.0f;
}

struct product {
    struct packed_matrix m;
    const float *x, *bias;
    size_t n_tokens, x_stride, y_stride;
};

static size_t y_floats(const struct product *p) {
    return (p->n_tokens - 1) * p->y_stride + p->m.rows;
}

/* By tokens and panels in pieces: what comes out may not depend on them. */
static float *compute(const struct product *p, const struct packed_kernels *k, int slot) {
    const size_t bytes = packed_input_bytes(&p->m, p->n_tokens);
    unsigned char *memory = guarded_place(&input_area[slot], bytes, true, 0);
    memset(memory, 0x77, bytes);
    const struct packed_input in = packed_input_place(&p->m, p->n_tokens, memory);
    for (size_t t = 0, end; t < p->n_tokens; t = end) {
        end = pick(t + 1, p->n_tokens);
        const struct packed_prepare_args args = {.out = &in, .x = p->x, .x_stride = p->x_stride,
                                                 .cols = p->m.cols, .col_order = p->m.col_order,
                                                 .token_begin = t, .token_end = end};
        k->prepare[p->m.math](&args);
    }
    float *y = guarded_place(&y_area[slot], y_floats(p) * sizeof *y, pick(0, 1), 0);
    memset(y_area[slot].data, 0x5A, y_area[slot].size_bytes);
    const size_t panels = packed_n_panels(&p->m);
    const size_t token_cut = pick(0, p->n_tokens), panel_cut = pick(0, panels);
    const size_t cuts[][4] = {{0, panel_cut, 0, token_cut}, {panel_cut, panels, 0, token_cut},
                              {0, panel_cut, token_cut, p->n_tokens},
                              {panel_cut, panels, token_cut, p->n_tokens}};
    for (size_t i = 0; i < 4; i++) {
        const struct packed_args args = {
            .y = y, .w = &p->m, .x = &in, .bias = p->bias, .y_stride = p->y_stride,
            .panel_begin = cuts[i][0], .panel_end = cuts[i][1], .token_begin = cuts[i][2],
            .token_end = cuts[i][3],
            .scratch = guarded_place(&scratch_area, PACKED_KERNEL_SCRATCH, true, 0)};
        memset(args.scratch, 0xFF, PACKED_KERNEL_SCRATCH);
        k->matmul[p->m.math](&args);
    }
    return y;
}

static bool same(const float *a, const float *b, size_t n, size_t *at) {
    for (*at = 0; *at < n; ++*at)
        if (memcmp(a + *at, b + *at, sizeof *a) != 0 && !(isnan(a[*at]) && isnan(b[*at])))
            return false;
    return true;
}

static void check_case(uint64_t seed, const struct kernels *reference, const struct kernels *candidate) {
    static struct random_source r;
    rng_state = seed * 0x9E3779B97F4A7C15u + 1;
    source_init(&r);
    enum packed_math math = (enum packed_math)pick(0, MATH_COUNT - 1);
    if ((r.source.spec.kind == QUANT_CODE) != (math == MATH_BF16))
        math = MATH_EXACT;
    if (!reference->packed->matmul[math] || !candidate->packed->matmul[math])
        math = MATH_EXACT;
    struct product p = {.m = pack(&r, math), .n_tokens = pick(0, 3) ? pick(1, 14) : pick(1, TOKENS_MAX)};
    if (!p.m.data)
        return;
    if (wide_shapes)
        p.n_tokens = pick(16, TOKENS_MAX);
    if (long_rows)
        p.n_tokens = pick(12, 40);
    const int flavour = (int)pick(0, 3);
    p.x_stride = p.m.cols + pick(0, 5);
    p.y_stride = p.m.rows + pick(0, 5);
    const size_t n_x = (p.n_tokens - 1) * p.x_stride + p.m.cols;
    float *x = guarded_place(&x_area, n_x * sizeof *x, pick(0, 1), 0);
    for (size_t i = 0; i < n_x; i++)
        x[i] = activation(flavour);
    float *bias = guarded_place(&bias_area, p.m.rows * sizeof *bias, true, 0);
    for (size_t i = 0; i < p.m.rows; i++)
        bias[i] = unit();
    p.x = x;
    p.bias = pick(0, 1) ? bias : NULL;
    const float *expected = compute(&p, reference->packed, 0), *found = compute(&p, candidate->packed, 1);
    size_t at;
    if (!same(expected, found, y_floats(&p), &at)) {
        printf("FAIL %s, seed %llu: kind %d, %d bits, math %d, %zu x %zu, group %zu, %zu tokens: float %zu "
               "is %a, expected %a\n", candidate->name, (unsigned long long)seed, (int)p.m.kind, p.m.bits,
               (int)math, p.m.rows, p.m.cols, p.m.group, p.n_tokens, at, (double)found[at],
               (double)expected[at]);
        failures++;
    }
}

/* ---- main ------------------------------------------------------------------------------- */

static struct guarded *const areas[] = {&data_area,     &x_area,    &bias_area, &input_area[0],
                                        &input_area[1], &y_area[0], &y_area[1], &scratch_area};

static int bench(const struct kernels *const *tables, size_t n_tables, const char *format, const char *name) {
    for (size_t t = 0; name && t < n_tables; t++)
        if (strcmp(tables[t]->name, name) == 0)
            return bench_packed(tables + t, 1, format);
    return bench_packed(tables, n_tables, format);
}

static void check_table(uint64_t seed, uint64_t cases, const struct kernels *reference,
                        const struct kernels *candidate) {
    const int before = failures;
    for (uint64_t i = 0; i < cases && failures - before < 10; i++)
        check_case(seed + i, reference, candidate);
    printf("%s: %llu cases, %s\n", candidate->name, (unsigned long long)cases,
           failures == before ? "bit-equal to generic" : "DIFFERS");
}

/* Where the CPU has all that the table needs but the tiles themselves. */
static void check_amx_by_emulation(uint64_t seed, uint64_t cases, const struct kernels *const *tables,
                                   size_t n_tables) {
#if defined(__x86_64__)
    if (tables[n_tables - 1] != &kernels_avx512bf16 || !amx_emulator_install())
        return;
    check_table(seed, cases, tables[0], &kernels_avx512amx);
    wide_shapes = true;
    check_table(seed, cases, tables[0], &kernels_avx512amx);
    wide_shapes = false;
    if (amx_emulator_count() == 0 && cases > 1) {
        printf("FAIL avx512amx: no case came to its tiles\n");
        failures++;
    }
    printf("avx512amx: %lu of its instructions emulated\n", amx_emulator_count());
    amx_emulator_remove();
#else
    (void)seed, (void)cases, (void)tables, (void)n_tables;
#endif
}

int main(int argc, char **argv) {
    size_t n_tables;
    const struct kernels *const *tables = kernels_available(&n_tables);
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(tables, n_tables, argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const uint64_t cases = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 600;
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        guarded_init(areas[i], 4 * 1024 * 1024);
    for (size_t t = 1; t < n_tables; t++)
        check_table(seed, cases, tables[0], tables[t]);
    long_rows = true;
    for (size_t t = 1; t < n_tables && cases > 1; t++)
        check_table(seed, cases / 20, tables[0], tables[t]);
    long_rows = false;
    check_amx_by_emulation(seed, cases, tables, n_tables);
    if (n_tables == 1)
        printf("generic is the only table here: nothing to compare\n");
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        guarded_release(areas[i]);
    return failures != 0;
}
