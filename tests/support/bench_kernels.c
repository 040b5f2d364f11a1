#include "support/bench_kernels.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/pages.h"

enum { BIG_BYTES = 256 << 20, SMALL_BYTES = 16 << 20 };

static struct {
    unsigned char *weights; /* BIG_BYTES: four times the last-level cache and more */
    float *x, *y, *scratch; /* SMALL_BYTES each */
    double peak_flops, peak_bytes;
    double peak_bf16; /* of vdpbf16ps; 0: no such instruction */
    const char *wanted; /* part of the names of the lines to print, or NULL */
} bench;

/* This thread's time on a core: what other programs take does not count. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- peaks ------------------------------------------------------------------------ */

#if defined(__x86_64__)
/* Twelve independent chains of multiply-adds; enough for two units of latency 4 or 5. */
#define FMA_ROUND(r)                                                                          \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "1\n vfmadd231ps %%" r "0,%%" r "0,%%" r "2\n"       \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "3\n vfmadd231ps %%" r "0,%%" r "0,%%" r "4\n"       \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "5\n vfmadd231ps %%" r "0,%%" r "0,%%" r "6\n"       \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "7\n vfmadd231ps %%" r "0,%%" r "0,%%" r "8\n"       \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "9\n vfmadd231ps %%" r "0,%%" r "0,%%" r "10\n"      \
    "vfmadd231ps %%" r "0,%%" r "0,%%" r "11\n vfmadd231ps %%" r "0,%%" r "0,%%" r "12\n"
#define FMA_CLOBBERS                                                                     \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12"

static double fma_flops(bool wide) {
    const size_t rounds = 400000;
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < rounds; i++) {
        if (wide)
            __asm__ volatile(FMA_ROUND("zmm") ::: FMA_CLOBBERS);
        else
            __asm__ volatile(FMA_ROUND("ymm") ::: FMA_CLOBBERS);
    }
    return (double)rounds * 12 * (wide ? 32 : 16) / (double)(cpu_ns() - start) * 1e9;
}

#define BF16_4(a, b, c, d)                                                                    \
    "vdpbf16ps %%zmm0,%%zmm0,%%zmm" a "\n vdpbf16ps %%zmm0,%%zmm0,%%zmm" b "\n"               \
    "vdpbf16ps %%zmm0,%%zmm0,%%zmm" c "\n vdpbf16ps %%zmm0,%%zmm0,%%zmm" d "\n"

static double bf16_flops(void) {
    const size_t rounds = 400000;
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < rounds; i++)
        __asm__ volatile(BF16_4("1", "2", "3", "4") BF16_4("5", "6", "7", "8")
                         BF16_4("9", "10", "11", "12")::: FMA_CLOBBERS);
    return (double)rounds * 12 * 64 / (double)(cpu_ns() - start) * 1e9;
}

static void read_all(bool wide) {
    for (const unsigned char *p = bench.weights; p < bench.weights + BIG_BYTES; p += 256) {
        if (wide)
            __asm__ volatile("vmovups (%0),%%zmm0\n vmovups 64(%0),%%zmm1\n"
                             "vmovups 128(%0),%%zmm2\n vmovups 192(%0),%%zmm3" ::"r"(p)
                             : "xmm0", "xmm1", "xmm2", "xmm3");
        else
            __asm__ volatile("vmovups (%0),%%ymm0\n vmovups 64(%0),%%ymm1\n"
                             "vmovups 128(%0),%%ymm2\n vmovups 192(%0),%%ymm3" ::"r"(p)
                             : "xmm0", "xmm1", "xmm2", "xmm3");
    }
}

static void measure_peaks(const struct kernels *best) {
    bool wide = strncmp(best->name, "avx512", 6) == 0;
    if (strcmp(best->name, "generic") == 0)
        return;
    for (int i = 0; i < 20; i++) {
        double bf16 = best->bf16_is_fast ? bf16_flops() : 0;
        bench.peak_bf16 = bf16 > bench.peak_bf16 ? bf16 : bench.peak_bf16;
        double flops = fma_flops(wide);
        uint64_t start = cpu_ns();
        read_all(wide);
        double bytes = BIG_BYTES / (double)(cpu_ns() - start) * 1e9;
        bench.peak_flops = flops > bench.peak_flops ? flops : bench.peak_flops;
        bench.peak_bytes = bytes > bench.peak_bytes ? bytes : bench.peak_bytes;
    }
    printf("peaks of this machine, one thread: %.0f GFLOP/s (fp32 multiply-add), %.1f GB/s read\n",
           bench.peak_flops / 1e9, bench.peak_bytes / 1e9);
    if (bench.peak_bf16 > 0)
        printf("%.0f GFLOP/s (vdpbf16ps), of which the lines \"fast\" give the share\n", bench.peak_bf16 / 1e9);
}
#else
static void measure_peaks(const struct kernels *best) {
    (void)best;
}
#endif

/* ---- one line each -------------------------------------------------------------------- */

struct shape {
    const char *name;
    enum dtype type;
    size_t n_tokens, rows, cols;
};

/* Calls fn until a quarter of a second has passed; the fastest call, in seconds. */
static double fastest(void (*fn)(const struct kernels *, const struct shape *), const struct kernels *k,
                      const struct shape *s) {
    double best = 1e9;
    uint64_t begin = cpu_ns(), calls = 1;
    do {
        uint64_t start = cpu_ns();
        for (uint64_t i = 0; i < calls; i++)
            fn(k, s);
        uint64_t ns = cpu_ns() - start;
        double seconds = (double)ns / 1e9 / (double)calls;
        best = seconds < best ? seconds : best;
        if (ns < 20000) { /* reading the clock takes 0.1 us */
            calls *= 2;
            best = 1e9;
        }
    } while (cpu_ns() - begin < 250000000u);
    return best;
}

/* Matrices begin 8 bytes into a cache line, as they may in a file. */
static void call_matmul_bf16(const struct kernels *k, const struct shape *s) {
    static size_t offset;
    size_t bytes = s->rows * s->cols * 2;
    offset = s->n_tokens > 32 || offset + 2 * bytes > BIG_BYTES - SMALL_BYTES - 8 ? 0 : offset + bytes;
    struct matmul_bf16_args a = {.y = bench.y, .x = (const void *)(bench.weights + BIG_BYTES - SMALL_BYTES),
                                 .w = bench.weights + 8 + offset,
                                 .y_stride = s->rows, .x_stride = s->cols, .n_tokens = s->n_tokens,
                                 .n_cols = s->cols, .row_begin = 0, .row_end = s->rows,
                                 .scratch = bench.scratch};
    k->matmul_bf16(&a);
}

static void print_line(const struct kernels *const *tables, size_t n_tables, const struct shape *s,
                       void (*fn)(const struct kernels *, const struct shape *), double flops, double bytes) {
    if (bench.wanted && !strstr(s->name, bench.wanted))
        return;
    printf("%-34s", s->name);
    for (size_t t = 0; t < n_tables; t++) {
        /* The reference would take seconds. */
        if (t == 0 && n_tables > 1 && flops > 5e8) {
            printf(" %8s %47s", tables[t]->name, "");
            continue;
        }
        double seconds = fastest(fn, tables[t], s);
        printf(" %8s %8.2f us %7.1f GFLOP/s %5.1f GB/s", tables[t]->name, seconds * 1e6,
               flops / seconds / 1e9, bytes / seconds / 1e9);
        double peak = fn == call_matmul_bf16 && bench.peak_bf16 > 0 ? bench.peak_bf16 : bench.peak_flops;
        if (t + 1 == n_tables && peak > 0)
            printf(" | %3.0f %% %3.0f %%", 100 * flops / seconds / peak,
                   100 * bytes / seconds / bench.peak_bytes);
    }
    printf("\n");
    fflush(stdout);
}

static void call_matmul(const struct kernels *k, const struct shape *s) {
    /* Decode reads other weights every time, as a model's layers do. */
    static size_t offset;
    size_t bytes = s->rows * s->cols * dtype_size_bytes(s->type);
    offset = s->n_tokens > 32 || offset + 2 * bytes > BIG_BYTES ? 0 : offset + bytes;
    struct matmul_args a = {.y = bench.y, .x = bench.x, .w = bench.weights + offset, .y_stride = s->rows,
                            .x_stride = s->cols, .n_tokens = s->n_tokens, .n_cols = s->cols,
                            .row_begin = 0, .row_end = s->rows};
    k->matmul[s->type](&a);
}

static void bench_matmul(const struct kernels *const *tables, size_t n_tables) {
    static const struct shape shapes[] = {
        {"matmul bf16 1 x 3072 x 1024", DTYPE_BF16, 1, 3072, 1024},
        {"matmul bf16 1 x 1024 x 3072", DTYPE_BF16, 1, 1024, 3072},
        {"matmul bf16 1 x 4096 x 4096", DTYPE_BF16, 1, 4096, 4096},
        {"matmul bf16 1 x 4096 x 12288", DTYPE_BF16, 1, 4096, 12288},
        {"matmul f16 1 x 3072 x 1024", DTYPE_F16, 1, 3072, 1024},
        {"matmul f32 1 x 3072 x 1024", DTYPE_F32, 1, 3072, 1024},
        {"matmul bf16 2 x 3072 x 1024", DTYPE_BF16, 2, 3072, 1024},
        {"matmul bf16 4 x 3072 x 1024", DTYPE_BF16, 4, 3072, 1024},
        {"matmul bf16 6 x 3072 x 1024", DTYPE_BF16, 6, 3072, 1024},
        {"matmul bf16 16 x 3072 x 1024", DTYPE_BF16, 16, 3072, 1024},
        {"matmul bf16 512 x 3072 x 1024", DTYPE_BF16, 512, 3072, 1024},
        {"matmul bf16 512 x 1024 x 3072", DTYPE_BF16, 512, 1024, 3072},
        {"matmul bf16 512 x 4096 x 4096", DTYPE_BF16, 512, 4096, 4096},
        {"matmul f16 512 x 3072 x 1024", DTYPE_F16, 512, 3072, 1024},
        {"matmul f32 512 x 3072 x 1024", DTYPE_F32, 512, 3072, 1024},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        double products = (double)s->n_tokens * (double)s->rows * (double)s->cols;
        double bytes = (double)s->rows * (double)s->cols * (double)dtype_size_bytes(s->type);
        print_line(tables, n_tables, s, call_matmul, 2 * products, bytes);
    }
}

static void bench_matmul_bf16(const struct kernels *const *tables, size_t n_tables) {
    static const struct shape shapes[] = {
        {"fast bf16 1 x 3072 x 1024", DTYPE_BF16, 1, 3072, 1024},
        {"fast bf16 1 x 1024 x 3072", DTYPE_BF16, 1, 1024, 3072},
        {"fast bf16 1 x 4096 x 4096", DTYPE_BF16, 1, 4096, 4096},
        {"fast bf16 1 x 4096 x 12288", DTYPE_BF16, 1, 4096, 12288},
        {"fast bf16 2 x 4096 x 4096", DTYPE_BF16, 2, 4096, 4096},
        {"fast bf16 4 x 4096 x 4096", DTYPE_BF16, 4, 4096, 4096},
        {"fast bf16 8 x 4096 x 4096", DTYPE_BF16, 8, 4096, 4096},
        {"fast bf16 16 x 4096 x 4096", DTYPE_BF16, 16, 4096, 4096},
        {"fast bf16 16 x 3072 x 1024", DTYPE_BF16, 16, 3072, 1024},
        {"fast bf16 32 x 4096 x 4096", DTYPE_BF16, 32, 4096, 4096},
        {"fast bf16 64 x 4096 x 4096", DTYPE_BF16, 64, 4096, 4096},
        {"fast bf16 512 x 3072 x 1024", DTYPE_BF16, 512, 3072, 1024},
        {"fast bf16 512 x 1024 x 3072", DTYPE_BF16, 512, 1024, 3072},
        {"fast bf16 512 x 4096 x 4096", DTYPE_BF16, 512, 4096, 4096},
        {"fast bf16 512 x 4096 x 12288", DTYPE_BF16, 512, 4096, 12288},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        double products = (double)s->n_tokens * (double)s->rows * (double)s->cols;
        print_line(tables, n_tables, s, call_matmul_bf16, 2 * products, 2 * (double)s->rows * (double)s->cols);
    }
}

static void call_rms_norm(const struct kernels *k, const struct shape *s) {
    k->rms_norm(bench.y, bench.x, bench.x + s->cols, s->cols, 1e-6f);
}
static void call_rope(const struct kernels *k, const struct shape *s) {
    k->rope(bench.y, bench.x, bench.x + s->cols / 2, s->cols);
}
static void call_silu_mul(const struct kernels *k, const struct shape *s) {
    k->silu_mul(bench.y, bench.x, bench.x + s->cols, s->cols);
}
static void call_add(const struct kernels *k, const struct shape *s) {
    k->add(bench.y, bench.x, s->cols);
}
static void call_axpy(const struct kernels *k, const struct shape *s) {
    k->axpy(bench.y, 0.5f, bench.x, s->cols);
}
static void call_softmax(const struct kernels *k, const struct shape *s) {
    k->softmax(bench.y, s->cols);
}
static void call_to_f32(const struct kernels *k, const struct shape *s) {
    k->to_f32[s->type](bench.y, bench.weights, s->cols);
}

static void bench_rows(const struct kernels *const *tables, size_t n_tables) {
    static const struct {
        struct shape shape;
        void (*fn)(const struct kernels *, const struct shape *);
        double floats_moved, flops;
    } lines[] = {
        {{"rms_norm 1024", DTYPE_F32, 1, 1, 1024}, call_rms_norm, 4, 4},
        {{"rope 128", DTYPE_F32, 1, 1, 128}, call_rope, 3, 3},
        {{"silu_mul 3072", DTYPE_F32, 1, 1, 3072}, call_silu_mul, 3, 25},
        {{"add 1024", DTYPE_F32, 1, 1, 1024}, call_add, 3, 1},
        {{"axpy 1024", DTYPE_F32, 1, 1, 1024}, call_axpy, 3, 2},
        {{"softmax 4096", DTYPE_F32, 1, 1, 4096}, call_softmax, 5, 25},
        {{"to_f32 bf16 1024", DTYPE_BF16, 1, 1, 1024}, call_to_f32, 1.5, 0},
        {{"to_f32 f16 1024", DTYPE_F16, 1, 1, 1024}, call_to_f32, 1.5, 0},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        double n = (double)lines[i].shape.cols;
        print_line(tables, n_tables, &lines[i].shape, lines[i].fn, n * lines[i].flops,
                   n * 4 * lines[i].floats_moved);
    }
}

/* Small values of both signs, so that nothing overflows or becomes denormal. */
static void fill_inputs(void) {
    uint32_t state = 1;
    for (size_t i = 0; i < BIG_BYTES / 2; i++) {
        state = state * 1664525u + 1013904223u;
        uint16_t bf16 = (uint16_t)((state >> 31) << 15 | (0x3C00 + ((state >> 16) & 0x3FF)));
        memcpy(bench.weights + 2 * i, &bf16, sizeof bf16);
    }
    for (size_t i = 0; i < SMALL_BYTES / 4; i++) {
        state = state * 1664525u + 1013904223u;
        bench.x[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

int bench_kernels(const struct kernels *const *tables, size_t n_tables, const char *wanted) {
    bench.wanted = wanted;
    bench.weights = pages_alloc(BIG_BYTES);
    bench.x = pages_alloc(SMALL_BYTES);
    bench.y = pages_alloc(SMALL_BYTES);
    bench.scratch = pages_alloc(SMALL_BYTES);
    int failed = !bench.weights || !bench.x || !bench.y || !bench.scratch;
    if (failed) {
        printf("out of memory\n");
    } else {
        fill_inputs();
        measure_peaks(tables[n_tables - 1]);
        bench_matmul_bf16(tables, n_tables);
        bench_matmul(tables, n_tables);
        bench_rows(tables, n_tables);
    }
    pages_free(bench.weights, BIG_BYTES);
    pages_free(bench.x, SMALL_BYTES);
    pages_free(bench.y, SMALL_BYTES);
    pages_free(bench.scratch, SMALL_BYTES);
    return failed;
}
