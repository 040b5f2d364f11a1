/* Any settings over any logits: a clear error, or a distribution that sums to 1 and a draw from
 * it. The first bytes are the settings, the rest are logits in float32. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sampler/sampler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_MAX = 512, N_SETTINGS = 10 };

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "fuzz_sampler: %s\n", what);
    abort();
}

static bool contains(const int32_t *ids, size_t n, int32_t id) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void check_row(struct sampler *s, const float *logits, int32_t n_tokens, uint64_t position) {
    int32_t ids[N_MAX], token;
    double probs[N_MAX], sum = 0;
    size_t n;
    enum quern_status status = sampler_distribution(s, logits, NULL, ids, probs, N_MAX, &n, NULL);
    check(sampler_sample(s, logits, position, NULL, &token, NULL) == status,
          "draw and distribution disagree on whether the row is good");
    if (status)
        return;
    check(n >= 1 && n <= (size_t)n_tokens, "number of tokens left");
    for (size_t i = 0; i < n; i++) {
        check(ids[i] >= 0 && ids[i] < n_tokens && !contains(ids, i, ids[i]), "ids");
        check(probs[i] > 0 && isfinite(logits[ids[i]]), "an impossible token is left");
        sum += probs[i];
    }
    check(fabs(sum - 1) < 1e-9, "probabilities do not sum to 1");
    check(contains(ids, n, token), "a token outside the distribution was drawn");
}

static float unit(uint8_t byte) {
    return (float)byte / 255;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < N_SETTINGS + sizeof(float))
        return 0;
    float logits[N_MAX];
    size_t n = (size - N_SETTINGS) / sizeof(float);
    n = n < N_MAX ? n : N_MAX;
    memcpy(logits, data + N_SETTINGS, n * sizeof(float));
    const struct quern_sampling params = {.temperature = (float)(data[0] * data[0]) / 1000,
                                          .top_k = data[1],
                                          .top_p = unit(data[2]),
                                          .min_p = unit(data[3]),
                                          .typical_p = unit(data[4]),
                                          .repetition_penalty = 0.5f + (float)data[5] / 64,
                                          .presence_penalty = (float)data[6] / 64 - 2,
                                          .dry_multiplier = unit(data[7]),
                                          .xtc_probability = unit(data[6]),
                                          .xtc_threshold = unit(data[5]),
                                          .top_n_sigma = (float)data[2] / 32 - 1,
                                          .dry_base = 1 + (float)data[7] / 32,
                                          .dry_allowed_length = 1 + data[7] % 4,
                                          .dry_window = data[8],
                                          .penalty_window = data[8],
                                          .seed = data[9]};
    struct sampler *s;
    if (sampler_create(&params, (int32_t)n, (int32_t)n, &s, NULL))
        return 0;
    /* The logits' own bytes serve as the sequence so far. */
    for (size_t i = N_SETTINGS; i < size && i < 200; i++) {
        int32_t id = data[i] % (int32_t)n;
        check(sampler_accept(s, &id, 1, i & 1, NULL) == QUERN_OK, "accept");
    }
    check_row(s, logits, (int32_t)n, data[9]);
    sampler_destroy(s);
    return 0;
}
