/* bench_sampler - microseconds for one draw over Qwen3's vocabulary, by setting and by the form
 * of the logits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "base/rng.h"
#include "sampler/sampler.h"

enum { N_VOCAB = 151936, N_TOKENS = 151669, N_ROWS = 4, N_DRAWS = 40 };

struct setting {
    const char *name;
    float temperature, top_p, min_p, typical_p;
    int32_t top_k;
};

static const struct setting settings[] = {
    {"greedy", 0, 1, 0, 1, 0},
    {"temperature 1", 1, 1, 0, 1, 0},
    {"0.6, top_k 20, top_p 0.95", 0.6f, 0.95f, 0, 1, 20},
    {"top_k 1000", 1, 1, 0, 1, 1000},
    {"top_k 50000", 1, 1, 0, 1, 50000},
    {"top_p 0.95", 1, 0.95f, 0, 1, 0},
    {"0.6, top_p 0.95", 0.6f, 0.95f, 0, 1, 0},
    {"min_p 0.05", 1, 1, 0.05f, 1, 0},
    {"typical_p 0.9", 1, 1, 0, 0.9f, 0},
};

static double logit(int form, int row, int i) {
    double normal = (double)rng_normal(1, (uint64_t)row, (uint64_t)i);
    switch (form) {
    case 0:
        return 3 * normal; /* broad: no token stands out */
    case 1:
        return 2.5 * normal + (i % 5000 == 7 ? 18 : 0); /* peaked, as a trained model's */
    case 2:
        return 1; /* all equal */
    default:
        return 1e-4 * i; /* ascending: worst for top_k */
    }
}

static double bench(const struct setting *s, const float *logits) {
    struct quern_sampling p = {.temperature = s->temperature,
                               .top_k = s->top_k,
                               .top_p = s->top_p,
                               .min_p = s->min_p,
                               .typical_p = s->typical_p,
                               .repetition_penalty = 1,
                               .seed = 1};
    struct sampler *sampler;
    struct quern_error err;
    if (sampler_create(&p, N_VOCAB, N_TOKENS, &sampler, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < N_DRAWS; i++) {
        int32_t token;
        uint64_t start = os_now_ns();
        if (sampler_sample(sampler, logits + (size_t)(i % N_ROWS) * N_VOCAB, (uint64_t)i, NULL,
                           &token, &err))
            exit(1);
        uint64_t t = os_now_ns() - start;
        best = t < best ? t : best;
    }
    sampler_destroy(sampler);
    return (double)best / 1e3;
}

int main(void) {
    static const char *const forms[] = {"broad", "peaked", "equal", "ascending"};
    float *logits = malloc(sizeof *logits * N_ROWS * N_VOCAB);
    if (!logits)
        return 1;
    printf("microseconds per draw, V=%d (best of %d)\n%-28s", N_VOCAB, N_DRAWS, "");
    for (int f = 0; f < 4; f++)
        printf("%11s", forms[f]);
    double us[sizeof settings / sizeof settings[0]][4];
    for (int f = 0; f < 4; f++) {
        for (int r = 0; r < N_ROWS; r++)
            for (int i = 0; i < N_VOCAB; i++)
                logits[(size_t)r * N_VOCAB + (size_t)i] = (float)logit(f, r, i);
        for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++)
            us[s][f] = bench(&settings[s], logits);
    }
    for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
        printf("\n%-28s", settings[s].name);
        for (int f = 0; f < 4; f++)
            printf("%11.0f", us[s][f]);
    }
    printf("\n");
    free(logits);
    return 0;
}
