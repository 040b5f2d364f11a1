/* bench_train.c - steps of training on a checkpoint, with their share of the arithmetic's peak.
 *
 *     bench_train [DIR [full|lora|qlora [TOKENS [STEPS [bf16|f32 [keep|checkpointing [THREADS]]]]]]]
 *
 * Without DIR: products alone, at the shapes of Qwen3-0.6B, each way. LoRA has rank 16 on all seven linear
 * layers; every token is trained. With UNPACKED in the environment LoRA's base is not kept packed. The peak is
 * that of loops of multiply-adds in the same type, measured before and after. bench/peers/train_torch.py does
 * the same with torch, transformers and peft. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/pages.h"
#include "base/rng.h"
#include "kernels/peaks.h"
#include "train/core/compute.h"
#include "train/trainer.h"

struct peak_run {
    double (*loop)(size_t rounds);
    double ops[64];
};

static void peak_share(void *ctx, int worker, int n_workers) {
    struct peak_run *p = ctx;
    (void)n_workers;
    p->ops[worker % 64] = p->loop(20000000);
}

/* Operations a second of all threads together. */
static double measure_peak(const struct compute *c) {
    const struct peaks peaks = peaks_of_cpu();
    struct peak_run p = {.loop = peaks.compute[c->bf16 ? PEAK_BF16 : PEAK_F32]};
    if (!p.loop)
        return 0;
    const uint64_t start = os_now_ns();
    thread_pool_run(c->pool, peak_share, &p);
    const double seconds = (double)(os_now_ns() - start) * 1e-9;
    double ops = 0;
    for (int i = 0; i < c->n_workers && i < 64; i++)
        ops += p.ops[i];
    return ops / seconds;
}

/* ---- products ------------------------------------------------------------------------------------- */

static void time_gemm(const struct compute *c, const char *what, size_t m, size_t n, size_t k, bool a_across,
                      bool b_across, enum dtype b_type, double peak) {
    float *a = pages_alloc(m * k * 4), *b = pages_alloc(n * k * 4), *y = pages_alloc(m * n * 4);
    const struct gemm g = {.c = y, .ldc = n, .m = m, .n = n, .k = k,
                           .a = a, .lda = a_across ? m : k, .a_across = a_across,
                           .b = b, .ldb = b_across ? n : k, .b_across = b_across, .b_type = b_type};
    double best = 1e9;
    if (!a || !b || !y)
        return;
    memset(a, 1, m * k * 4);
    memset(b, 1, n * k * 4);
    for (int i = 0; i < 8; i++) {
        const uint64_t start = os_now_ns();
        gemm_run(c, &g);
        const double s = (double)(os_now_ns() - start) * 1e-9;
        best = s < best ? s : best;
    }
    const double rate = 2.0 * (double)m * (double)n * (double)k / best;
    printf("%-34s %5zu x %6zu x %6zu  %7.1f GFLOP/s  %3.0f %%\n", what, m, n, k, rate * 1e-9,
           100 * rate / peak);
    pages_free(a, m * k * 4);
    pages_free(b, n * k * 4);
    pages_free(y, m * n * 4);
}

static int products(bool bf16) {
    struct compute c;
    struct quern_error err;
    if (compute_init(&c, 0, NULL, bf16, &err))
        return 1;
    const enum dtype t = bf16 ? DTYPE_BF16 : DTYPE_F32;
    const double peak = measure_peak(&c);
    printf("%s, %d threads, peak %.0f GFLOP/s\n", dtype_name(t), c.n_workers, peak * 1e-9);
    time_gemm(&c, "y = x W^T", 512, 3072, 1024, false, false, t, peak);
    time_gemm(&c, "dx = dy W", 512, 1024, 3072, false, true, t, peak);
    time_gemm(&c, "dW = dy^T x", 3072, 1024, 512, true, true, DTYPE_F32, peak);
    time_gemm(&c, "down: y = x W^T", 512, 1024, 3072, false, false, t, peak);
    time_gemm(&c, "LoRA: xa = x A^T", 512, 16, 1024, false, false, DTYPE_F32, peak);
    time_gemm(&c, "LoRA: y += xa B^T", 512, 3072, 16, false, false, DTYPE_F32, peak);
    time_gemm(&c, "head: z = h W^T", 128, 151936, 1024, false, false, t, peak);
    time_gemm(&c, "head: dh = dz W", 128, 1024, 151936, false, true, t, peak);
    compute_release(&c);
    return 0;
}

/* ---- steps ------------------------------------------------------------------------------------------ */

struct setup {
    const char *dir;
    size_t tokens, steps;
    struct train_options o;
};

static int steps(const struct setup *s) {
    struct trainer *t = NULL;
    struct compute c = {0};
    struct quern_error err;
    struct train_step_result r;
    int32_t *tokens = malloc(2 * s->tokens * sizeof *tokens), *labels = tokens + s->tokens;
    uint32_t starts[] = {0, (uint32_t)s->tokens};
    double best = 1e9;
    if (!tokens || compute_init(&c, s->o.threads, NULL, s->o.bf16, &err) ||
        trainer_create(s->dir, &s->o, &t, &err)) {
        fprintf(stderr, "%s\n", tokens ? err.message : "out of memory");
        return 1;
    }
    for (size_t i = 0; i < s->tokens; i++)
        tokens[i] = (int32_t)(rng_uniform(1, 1, i) * 50000);
    for (size_t i = 0; i < s->tokens; i++)
        labels[i] = i + 1 < s->tokens ? tokens[i + 1] : 0;
    const struct train_row row = {.count = s->tokens, .tokens = tokens, .labels = labels, .starts = starts,
                                  .segments = 1};
    const double before = measure_peak(&c);
    for (size_t i = 0; i < s->steps; i++) {
        const uint64_t start = os_now_ns();
        if (trainer_step(t, &row, 1, 1, (struct train_label_weights){0, 1}, &r, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        const double seconds = (double)(os_now_ns() - start) * 1e-9;
        printf("step %zu: loss %.4f, %.3f s, %.1f tokens/s\n", i + 1, r.loss, seconds,
               (double)s->tokens / seconds);
        best = seconds < best ? seconds : best;
    }
    const double after = measure_peak(&c), peak = before > after ? before : after;
    const double rate = trainer_flops_per_token(t) * (double)s->tokens / best;
    printf("best %.1f tokens/s, %.2f GFLOP/token, %.1f GFLOP/s, peak %.1f: %.1f %%; RSS %.2f GB\n",
           (double)s->tokens / best, trainer_flops_per_token(t) * 1e-9, rate * 1e-9, peak * 1e-9,
           100 * rate / peak, (double)os_rss_bytes() * 1e-9);
    trainer_destroy(t);
    compute_release(&c);
    free(tokens);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return products(true) + products(false);
    const char *method = argc > 2 ? argv[2] : "lora";
    struct setup s = {.dir = argv[1],
                      .tokens = argc > 3 ? strtoul(argv[3], NULL, 10) : 512,
                      .steps = argc > 4 ? strtoul(argv[4], NULL, 10) : 3};
    s.o = (struct train_options){
        .method = strcmp(method, "full") == 0   ? TRAIN_FULL
                  : strcmp(method, "lora") == 0 ? TRAIN_LORA
                                                : TRAIN_QLORA,
        .lora = {.rank = 16, .alpha = 32, .lr_ratio = 1},
        .learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .max_grad_norm = 1,
        .bf16 = argc <= 5 || strcmp(argv[5], "bf16") == 0,
        .checkpointing = argc > 6 && strcmp(argv[6], "checkpointing") == 0,
        .pack_weights = !getenv("UNPACKED"),
        .max_row = s.tokens,
        .threads = argc > 7 ? (int)strtol(argv[7], NULL, 10) : 0};
    return steps(&s);
}
