#include "support/bench_packed.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/pages.h"
#include "kernels/packed_kernels.h"

enum { WEIGHT_BYTES = 256 << 20, INPUT_BYTES = 64 << 20, TOKENS_MAX = 480 };

static struct {
    unsigned char *weights;
    float *x, *y;
    void *input, *scratch;
    double peak_ops, peak_bytes;
} bench;

/* This thread's time on a core: what other programs take does not count. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- peaks --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define DOT(n) "vpdpbusd %%zmm0,%%zmm0,%%zmm" #n "\n"

static double vnni_ops(void) {
    const size_t rounds = 400000;
    const uint64_t start = cpu_ns();
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9) DOT(10) DOT(11)
                             DOT(12)::
                                 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                                   "xmm9", "xmm10", "xmm11", "xmm12");
    return (double)rounds * 12 * 128 / (double)(cpu_ns() - start) * 1e9;
}

static void read_all(void) {
    for (const unsigned char *p = bench.weights; p < bench.weights + WEIGHT_BYTES; p += 256)
        __asm__ volatile("vmovups (%0),%%zmm0\n vmovups 64(%0),%%zmm1\n vmovups 128(%0),%%zmm2\n"
                         "vmovups 192(%0),%%zmm3\n prefetcht0 4096(%0)\n prefetcht0 4160(%0)\n"
                         "prefetcht0 4224(%0)\n prefetcht0 4288(%0)" ::"r"(p)
                         : "xmm0", "xmm1", "xmm2", "xmm3");
}

static void measure_peaks(const char *best_table) {
    if (strcmp(best_table, "avx512vnni") != 0 && strcmp(best_table, "avx512bf16") != 0)
        return;
    for (int i = 0; i < 20; i++) {
        const double ops = vnni_ops();
        const uint64_t start = cpu_ns();
        read_all();
        const double bytes = WEIGHT_BYTES / (double)(cpu_ns() - start) * 1e9;
        bench.peak_ops = ops > bench.peak_ops ? ops : bench.peak_ops;
        bench.peak_bytes = bytes > bench.peak_bytes ? bytes : bench.peak_bytes;
    }
    printf("peaks of this machine, one thread: %.0f GOP/s (vpdpbusd), %.1f GB/s read\n",
           bench.peak_ops / 1e9, bench.peak_bytes / 1e9);
}
#else
static void measure_peaks(const char *best_table) {
    (void)best_table;
}
#endif

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
    if (packed_plan(&m, &s, &survey, f->math, &bytes, NULL))
        return;
    m.is_e4m3 = f->kind == QUANT_CODE && f->bits == 8;
    printf("%-12s %3zu x %5zu x %5zu %5.2f bits", f->name, n, rows, cols,
           8.0 * (double)bytes / (double)(rows * cols));
    const double ops = 2.0 * (double)n * (double)rows * (double)cols;
    for (size_t t = 0; t < n_tables; t++) {
        if (!tables[t]->packed->matmul[f->math])
            continue;
        const double seconds = fastest(tables[t], &m, bytes, n);
        printf("  %s %9.1f us %6.1f GOP/s %5.1f GB/s", tables[t]->name, seconds * 1e6, ops / seconds / 1e9,
               (double)bytes / seconds / 1e9);
        if (t + 1 == n_tables && bench.peak_ops > 0)
            printf(" | %3.0f %% %3.0f %%", 100 * ops / seconds / bench.peak_ops,
                   100 * (double)bytes / seconds / bench.peak_bytes);
    }
    printf("\n");
    fflush(stdout);
}

int bench_packed(const struct kernels *const *tables, size_t n_tables) {
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
                  {8, 4096, 4096},  {16, 4096, 4096},  {480, 3072, 1024}, {480, 4096, 4096}};
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
        measure_peaks(tables[n_tables - 1]->name);
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                bench_line(tables + (n_tables > 1), n_tables - (n_tables > 1), &formats[f], shapes[i].n,
                           shapes[i].rows, shapes[i].cols);
    }
    pages_free(bench.weights, WEIGHT_BYTES);
    pages_free(bench.x, INPUT_BYTES);
    pages_free(bench.y, INPUT_BYTES);
    pages_free(bench.input, INPUT_BYTES);
    pages_free(bench.scratch, PACKED_KERNEL_SCRATCH);
    return failed;
}
