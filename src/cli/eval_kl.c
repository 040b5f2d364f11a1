#include "cli/eval_kl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "cli/cli_common.h"

enum {
    DEFAULT_CONTEXT = 2048,
    LOGITS_BYTES = 32 << 20, /* of each model's logits held at a time */
    ROWS_MAX = 256,
};

/* [0] the model, [1] the reference. */
struct kl {
    quern_session *session[2];
    float *logits[2]; /* [rows, n_vocab] */
    int32_t n_vocab;
    size_t rows, context, n_ids;
    const int32_t *ids;
    float *divergence; /* [n_ids] */
    size_t n_scored, n_agree;
    struct cli_progress progress;
};

/* Index of the largest, and log(sum(exp)). */
static int32_t normalize(const float *row, int32_t n, double *log_sum) {
    int32_t best = 0;
    double sum = 0;
    for (int32_t i = 1; i < n; i++)
        if (row[i] > row[best])
            best = i;
    for (int32_t i = 0; i < n; i++)
        sum += exp((double)row[i] - (double)row[best]);
    *log_sum = (double)row[best] + log(sum);
    return best;
}

/* The sum over the vocabulary of p * (log p - log q), p the reference's. */
static enum quern_status score_row(struct kl *k, const float *row, const float *ref,
                                   struct quern_error *err) {
    double log_q, log_p, sum = 0;
    k->n_agree += normalize(row, k->n_vocab, &log_q) == normalize(ref, k->n_vocab, &log_p);
    for (int32_t i = 0; i < k->n_vocab; i++) {
        const double p = exp((double)ref[i] - log_p);
        if (p > 0)
            sum += p * (((double)ref[i] - log_p) - ((double)row[i] - log_q));
    }
    if (!isfinite(sum))
        return error_set(err, QUERN_ERR_STATE,
                         "token %zu of the text: the logits are not finite, or give a token no "
                         "chance that the reference does",
                         k->n_scored);
    k->divergence[k->n_scored++] = sum > 0 ? (float)sum : 0;
    return QUERN_OK;
}

static enum quern_status score_window(struct kl *k, size_t begin, size_t end,
                                      struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    for (int m = 0; m < 2 && !status; m++)
        status = quern_session_truncate(k->session[m], 0, err);
    for (size_t at = begin; at < end && !status;) {
        const size_t n = end - at < k->rows ? end - at : k->rows, V = (size_t)k->n_vocab;
        for (int m = 0; m < 2 && !status; m++)
            status = quern_session_feed_logits(k->session[m], k->ids + at, n, k->logits[m], err);
        for (size_t i = 0; i < n && !status; i++)
            status = score_row(k, k->logits[0] + i * V, k->logits[1] + i * V, err);
        at += n;
        cli_progress_update(&k->progress, (double)at / (double)k->n_ids);
    }
    return status;
}

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void report(struct kl *k, bool json, double seconds) {
    const size_t n = k->n_scored;
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        mean += (double)k->divergence[i] / (double)n;
        squares += (double)k->divergence[i] * (double)k->divergence[i] / (double)n;
    }
    const double variance = squares - mean * mean;
    const double deviation = sqrt((variance > 0 ? variance : 0) / (double)n);
    qsort(k->divergence, n, sizeof *k->divergence, by_size);
    const double median = (double)k->divergence[n / 2];
    const double p99 = (double)k->divergence[(n - 1) * 99 / 100];
    const double most = (double)k->divergence[n - 1], agree = (double)k->n_agree / (double)n;
    if (json) {
        printf("{\"kl_mean\": %.9g, \"kl_stderr\": %.3g, \"kl_median\": %.9g, \"kl_p99\": %.9g, "
               "\"kl_max\": %.9g, \"top1_agreement\": %.9g, \"tokens\": %zu, \"context\": %zu, "
               "\"seconds\": %.3f}\n",
               mean, deviation, median, p99, most, agree, n, k->context, seconds);
        return;
    }
    printf("KL divergence %.6f +- %.6f nats per token\n", mean, deviation);
    printf("              %.6f median, %.6f 99th percentile, %.6f most\n", median, p99, most);
    printf("same best     %.2f %% of %zu tokens, in windows of %zu\n", 100 * agree, n, k->context);
}

/* ---- setting up ------------------------------------------------------------------------ */

/* Both must see the same tokens. */
static enum quern_status tokenize(quern_model *const models[2], struct str text, int32_t **ids,
                                  size_t *n_ids, struct quern_error *err) {
    int32_t *own = NULL;
    size_t n_own = 0;
    const char *t = text.ptr ? text.ptr : "";
    enum quern_status status = quern_tokenize(models[1], t, text.len, true, true, ids, n_ids, err);
    if (!status)
        status = quern_tokenize(models[0], t, text.len, true, true, &own, &n_own, err);
    if (!status && (n_own != *n_ids || memcmp(own, *ids, n_own * sizeof *own) != 0))
        status = error_set(err, QUERN_ERR_ARG, "the two models' tokenizers differ on this text");
    if (!status && *n_ids == 0)
        status = error_set(err, QUERN_ERR_ARG, "the text is empty");
    quern_free(own);
    return status;
}

static enum quern_status start(struct kl *k, quern_model *const models[2], enum quern_kv_type kv_type,
                               struct quern_error *err) {
    const size_t row_bytes = (size_t)k->n_vocab * sizeof(float);
    k->rows = LOGITS_BYTES / row_bytes;
    k->rows = k->rows < 1 ? 1 : k->rows > ROWS_MAX ? ROWS_MAX : k->rows;
    k->divergence = malloc(k->n_ids * sizeof *k->divergence);
    enum quern_status status = k->divergence ? QUERN_OK : error_nomem(err);
    for (int m = 0; m < 2 && !status; m++) {
        const size_t n_context = k->context < k->n_ids ? k->context : k->n_ids;
        const struct quern_session_options options = {.n_context = (int32_t)n_context,
                                                      .yarn_expected_tokens = (int32_t)k->context,
                                                      .kv_type = m == 0 ? kv_type : QUERN_KV_F32};
        k->logits[m] = malloc(k->rows * row_bytes);
        status = k->logits[m] ? quern_session_create(models[m], &options, &k->session[m], err)
                              : error_nomem(err);
    }
    return status;
}

static enum quern_status choose_context(struct kl *k, quern_model *const models[2], int64_t wanted,
                                        struct quern_error *err) {
    struct quern_model_info info[2];
    for (int m = 0; m < 2; m++)
        quern_model_get_info(models[m], &info[m]);
    const int32_t most =
        info[0].max_context < info[1].max_context ? info[0].max_context : info[1].max_context;
    if (info[0].n_vocab != info[1].n_vocab)
        return error_set(err, QUERN_ERR_ARG,
                         "the models have %d and %d logits; expected as many in both",
                         (int)info[0].n_vocab, (int)info[1].n_vocab);
    if (wanted > most)
        return error_set(err, QUERN_ERR_ARG, "--context %lld is more than the models' maximum, %d",
                         (long long)wanted, (int)most);
    k->n_vocab = info[0].n_vocab;
    k->context = wanted ? (size_t)wanted : most < DEFAULT_CONTEXT ? (size_t)most : DEFAULT_CONTEXT;
    return QUERN_OK;
}

int eval_kl(quern_model *model, quern_model *ref, struct str text,
            const struct eval_kl_options *options) {
    quern_model *const models[2] = {model, ref};
    struct kl k = {0};
    struct quern_error err = {0};
    int32_t *ids = NULL;
    enum quern_status status = choose_context(&k, models, options->context, &err);
    if (!status)
        status = tokenize(models, text, &ids, &k.n_ids, &err);
    k.ids = ids;
    if (!status)
        status = start(&k, models, options->kv_type, &err);
    if (!status) {
        const uint64_t begin_ns = os_now_ns();
        cli_progress_start(&k.progress, "Comparing");
        for (size_t at = 0; at < k.n_ids && !status; at += k.context)
            status = score_window(&k, at, k.n_ids - at < k.context ? k.n_ids : at + k.context, &err);
        cli_progress_finish(&k.progress);
        if (!status)
            report(&k, options->json, (double)(os_now_ns() - begin_ns) * 1e-9);
    }
    for (int m = 0; m < 2; m++) {
        quern_session_destroy(k.session[m]);
        free(k.logits[m]);
    }
    free(k.divergence);
    quern_free(ids);
    return status ? cli_fail(&err) : cli_finish_output(CLI_OK);
}
