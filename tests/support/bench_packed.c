#include "support/bench_packed.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/pages.h"
#include "kernels/packed_kernels.h"
#include "kernels/peaks.h"

enum { WEIGHT_BYTES = 256 << 20, INPUT_BYTES = 64 << 20, TOKENS_MAX = 480 };

static struct {
    unsigned char *weights;
    float *x, *y;
    void *input, *scratch;
    double peak_ops, peak_bf16, peak_bytes;
    const char *wanted; /* part of the names of the formats to print, or NULL */
} bench;

/* This thread's time on a core: what other programs take does not count. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- peaks --------------------------------------------------------------------------------- */

static double peak_of(double (*compute)(size_t rounds)) {
    const uint64_t start = cpu_ns();
    return compute ? compute(200000) / (double)(cpu_ns() - start) * 1e9 : 0;
}

static double most(double a, double b) {
    return a > b ? a : b;
}

static void measure_peaks(void) {
    const struct peaks peaks = peaks_of_cpu();
    for (int i = 0; peaks.read && i < 20; i++) {
        bench.peak_ops = most(bench.peak_ops, peak_of(peaks.compute[PEAK_INT8]));
        bench.peak_bf16 = most(bench.peak_bf16, peak_of(peaks.compute[PEAK_BF16]));
        const uint64_t start = cpu_ns();
        peaks.read(bench.weights, WEIGHT_BYTES);
        bench.peak_bytes = most(bench.peak_bytes, WEIGHT_BYTES / (double)(cpu_ns() - start) * 1e9);
    }
    printf("peaks of this machine, one thread: %.0f GOP/s int8, %.0f GFLOP/s bf16, %.1f GB/s read\n",
           bench.peak_ops / 1e9, bench.peak_bf16 / 1e9, bench.peak_bytes / 1e9);
}

/* ---- one product ---------------------------------------------------------------------------- */

struct format {
    const char *name;
    enum quant_kind kind;
    int bits;
    size_t group;
    enum packed_math math;
    bool zeros_differ;
};

static float code[256];

/* Data are whatever lies there: only the size and the form matter here. */
static void no_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                    float *zero) {
    (void)s, (void)first, (void)n, (void)q, (void)scale, (void)zero;
}

static double fastest(const struct kernels *k, const struct packed_matrix *m, size_t bytes, size_t n) {
    struct packed_matrix w = *m;
    const struct packed_input in = packed_input_place(m, n, bench.input);
    const struct packed_prepare_args prepare = {
        .out = &in, .x = bench.x, .x_stride = m->cols, .cols = m->cols, .token_end = n};
    const uint64_t begin = cpu_ns();
    double best = 1e9;
    size_t offset = 0;
    do {
        /* Decode reads other weights every time, as a model's layers do. */
        offset = n > 32 || offset + 2 * bytes > WEIGHT_BYTES ? 0 : offset + bytes;
        w.data = bench.weights + offset;
        const struct packed_args args = {.y = bench.y, .w = &w, .x = &in, .y_stride = w.rows,
                                         .panel_end = packed_n_panels(&w), .token_end = n,
                                         .scratch = bench.scratch};
        const uint64_t start = cpu_ns();
        k->packed->prepare[m->math](&prepare);
        k->packed->matmul[m->math](&args);
        const double seconds = (double)(cpu_ns() - start) * 1e-9;
        best = seconds < best ? seconds : best;
    } while (cpu_ns() - begin < 200000000u);
    return best;
}

static void bench_line(const struct kernels *const *tables, size_t n_tables, const struct format *f, size_t n,
                       size_t rows, size_t cols) {
    const struct quant_source s = {
        .spec = {.kind = f->kind, .bits = f->bits, .group = f->group, .code = code},
        .rows = rows, .cols = cols, .read_rows = no_rows};
    const struct packed_survey survey = {.seen = true, .zero = 8, .zeros_differ = f->zeros_differ};
    struct packed_matrix m;
    size_t bytes;
    if (bench.wanted && !strstr(f->name, bench.wanted))
        return;
    if (packed_plan(&m, &s, &survey, f->math, &bytes, NULL))
        return;
    m.is_e4m3 = f->kind == QUANT_CODE && f->bits == 8;
    printf("%-12s %3zu x %5zu x %5zu %5.2f bits", f->name, n, rows, cols,
           8.0 * (double)bytes / (double)(rows * cols));
    const double ops = 2.0 * (double)n * (double)rows * (double)cols;
    for (size_t t = 0; t < n_tables; t++) {
        /* The reference would take seconds. */
        if (!tables[t]->packed->matmul[f->math] || (t == 0 && n_tables > 1))
            continue;
        const double seconds = fastest(tables[t], &m, bytes, n);
        printf("  %s %9.1f us %6.1f GOP/s %5.1f GB/s", tables[t]->name, seconds * 1e6, ops / seconds / 1e9,
               (double)bytes / seconds / 1e9);
        const double peak = f->math == MATH_BF16 ? bench.peak_bf16 : bench.peak_ops;
        if (t + 1 == n_tables && peak > 0)
            printf(" | %3.0f %% %3.0f %%", 100 * ops / seconds / peak,
                   100 * (double)bytes / seconds / bench.peak_bytes);
    }
    printf("\n");
    fflush(stdout);
}

int bench_packed(const struct kernels *const *tables, size_t n_tables, const char *wanted) {
    bench.wanted = wanted;
    static const struct format formats[] = {
        {"int8", QUANT_INT, 8, 128, MATH_INT8, false},
        {"int4", QUANT_INT, 4, 64, MATH_INT8, true},
        {"int4 of 128", QUANT_INT, 4, 128, MATH_INT8, false},
        {"q4_k", QUANT_AFFINE, 4, 32, MATH_INT8, true},
        {"int8 exact", QUANT_INT, 8, 128, MATH_EXACT, false},
        {"awq exact", QUANT_INT, 4, 128, MATH_EXACT, true},
        {"nf4 exact", QUANT_CODE, 4, 64, MATH_EXACT, false},
        {"fp8 exact", QUANT_CODE, 8, 128, MATH_EXACT, false},
        {"nf4", QUANT_CODE, 4, 64, MATH_BF16, false},
        {"fp8", QUANT_CODE, 8, 128, MATH_BF16, false},
    };
    static const struct {
        size_t n, rows, cols;
    } shapes[] = {{1, 3072, 1024},  {1, 4096, 4096},   {2, 4096, 4096},   {4, 4096, 4096},
                  {6, 4096, 4096}, {8, 4096, 4096},  {16, 4096, 4096},  {480, 3072, 1024}, {480, 4096, 4096}};
    bench.weights = pages_alloc(WEIGHT_BYTES);
    bench.x = pages_alloc(INPUT_BYTES);
    bench.y = pages_alloc(INPUT_BYTES);
    bench.input = pages_alloc(INPUT_BYTES);
    bench.scratch = pages_alloc(PACKED_KERNEL_SCRATCH);
    const int failed = !bench.weights || !bench.x || !bench.y || !bench.input || !bench.scratch;
    if (!failed) {
        memset(bench.weights, 0x11, WEIGHT_BYTES);
        for (size_t i = 0; i < INPUT_BYTES / sizeof *bench.x; i++)
            bench.x[i] = (float)(int32_t)((uint32_t)i * 2654435761u) * 0x1p-31f;
        for (size_t i = 0; i < 128; i++)
            code[i] = (float)i / 128, code[128 + i] = -code[i];
        measure_peaks();
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                bench_line(tables, n_tables, &formats[f], shapes[i].n,
                           shapes[i].rows, shapes[i].cols);
    }
    pages_free(bench.weights, WEIGHT_BYTES);
    pages_free(bench.x, INPUT_BYTES);
    pages_free(bench.y, INPUT_BYTES);
    pages_free(bench.input, INPUT_BYTES);
    pages_free(bench.scratch, PACKED_KERNEL_SCRATCH);
    return failed;
}
