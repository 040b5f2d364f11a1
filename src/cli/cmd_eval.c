/* quern eval - perplexity of a text; the divergence of two models on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/eval_kl.h"
#include "sampler/sampler.h"

struct eval_args {
    struct cli_model_args model;
    const char *text, *ref;
    int64_t context, stride;
    const char *kv_type;
    bool json;
};

static const struct option_spec eval_specs[] = {
    CLI_MODEL_OPTIONS(struct eval_args, model),
    OPT_STRING('f', "text", "FILE", struct eval_args, text,
               "UTF-8 text to read (default: standard input)"),
    OPT_STRING(0, "ref", "DIR", struct eval_args, ref, "kl: the model to compare with"),
    CLI_KV_OPTION(struct eval_args, kv_type),
    OPT_INT('c', "context", "N", struct eval_args, context, 2, INT32_MAX,
            "tokens in a window (default: 2048, or the model's maximum if that is less)"),
    OPT_INT(0, "stride", "N", struct eval_args, stride, 1, INT32_MAX,
            "ppl: tokens from one window's end to the next one's (default: half the context)"),
    OPT_FLAG(0, "json", struct eval_args, json, "print one JSON object"),
    OPT_END};

static const struct cli_command eval_command = {
    "eval", "ppl|kl [-m DIR] [--ref DIR] [--text FILE] [options]",
    "ppl: prints the perplexity of a text: e to the mean of -log p(token | tokens before it), as in "
    "transformers' guide \"Perplexity of fixed-length models\". Windows of --context tokens move "
    "over the text by --stride. Each token is scored once, in the first window that "
    "reaches it, so that all but those of the first window have at least context - stride tokens "
    "before them; the very first token has none and is not scored. A smaller stride gives "
    "better numbers and takes longer.\n\n"
    "The file is tokenized as a whole, spellings of special tokens included. Probabilities are "
    "over the "
    "model's whole row of logits. Numbers compare only between runs with the same tokenizer, "
    "context and stride; bits per byte compare between tokenizers.\n\n"
    "kl: prints how far the model's predictions are from those of the model --ref, the same one "
    "before it was quantized, say: for each token of the text the sum over the vocabulary of "
    "p * (log p - log q), p the reference's probability, in nats; its mean, median, 99th percentile "
    "and maximum, and how often both find the same token likeliest. The text is read in windows of "
    "--context tokens that do not overlap. --weights, --math and --kv-type are the model's; the "
    "reference is computed as it is stored, with keys and values in float32.",
    "quern eval ppl -m models/Qwen3-0.6B --text wiki.txt\n"
    "quern eval ppl -m models/Qwen3-0.6B --text wiki.txt -c 1024 --stride 512 --json\n"
    "quern eval kl -m Qwen3-0.6B-int4 --ref models/Qwen3-0.6B --text wiki.txt\n",
    eval_specs};

enum {
    DEFAULT_CONTEXT = 2048,
    LOGITS_BYTES = 64 << 20, /* of logits held at a time */
    ROWS_MAX = 512,
};

struct eval {
    quern_session *session;
    int32_t n_vocab;
    const int32_t *ids; /* [n_ids] the text */
    size_t n_ids;
    size_t text_bytes;
    size_t context, stride;
    enum quern_kv_type kv_type;
    float *logits; /* [rows, n_vocab] */
    size_t rows;
    struct cli_progress progress;
    size_t n_windows, n_scored, n_fed;
    double nll, nll_squares;
};

/* ---- scoring ---------------------------------------------------------------------- */

static enum quern_status score_row(struct eval *e, const float *row, size_t target,
                                   struct quern_error *err) {
    double nll = -sampler_logprob(row, e->n_vocab, e->ids[target]);
    if (!isfinite(nll))
        return error_set(err, QUERN_ERR_STATE, "token %zu of the text (id %d) has probability %s",
                         target, (int)e->ids[target], isnan(nll) ? "NaN" : "0");
    e->nll += nll;
    e->nll_squares += nll * nll;
    e->n_scored++;
    return QUERN_OK;
}

/* Scores ids[first..end) in the window that begins at `begin` < first. */
static enum quern_status score_window(struct eval *e, size_t begin, size_t first, size_t end,
                                      struct quern_error *err) {
    enum quern_status status = quern_session_truncate(e->session, 0, err);
    if (!status && first - 1 > begin)
        status = quern_session_feed(e->session, e->ids + begin, first - 1 - begin, err);
    /* Logits after token i tell of token i + 1. */
    for (size_t at = first - 1; !status && at < end - 1;) {
        size_t n = end - 1 - at < e->rows ? end - 1 - at : e->rows;
        status = quern_session_feed_logits(e->session, e->ids + at, n, e->logits, err);
        for (size_t i = 0; !status && i < n; i++)
            status = score_row(e, e->logits + i * (size_t)e->n_vocab, at + i + 1, err);
        at += n;
        cli_progress_update(&e->progress, (double)at / (double)e->n_ids);
    }
    e->n_windows++;
    e->n_fed += end - 1 - begin;
    return status;
}

static enum quern_status score_text(struct eval *e, struct quern_error *err) {
    size_t scored_to = 0;
    for (size_t begin = 0; scored_to < e->n_ids; begin += e->stride) {
        size_t end = e->n_ids - begin < e->context ? e->n_ids : begin + e->context;
        size_t first = scored_to > begin ? scored_to : begin + 1;
        if (first < end) {
            enum quern_status status = score_window(e, begin, first, end, err);
            if (status)
                return status;
        }
        scored_to = end;
    }
    if (e->nll / (double)e->n_scored > log(1e300))
        return error_set(err, QUERN_ERR_STATE, "the perplexity is above 1e300");
    return QUERN_OK;
}

/* ---- setting up and reporting --------------------------------------------------------- */

static int choose_windows(struct eval *e, const struct eval_args *args, int32_t max_context) {
    e->kv_type = cli_kv_type(args->kv_type);
    e->context = args->context                   ? (size_t)args->context
                 : max_context < DEFAULT_CONTEXT ? (size_t)max_context
                                                 : DEFAULT_CONTEXT;
    e->stride = args->stride ? (size_t)args->stride : (e->context + 1) / 2;
    if (e->context > (size_t)max_context)
        return cli_usage_error(&eval_command, "--context %zu is more than the model's maximum, %d",
                               e->context, (int)max_context);
    if (e->stride > e->context)
        return cli_usage_error(&eval_command, "--stride %zu is more than the context, %zu",
                               e->stride, e->context);
    return CLI_GO_ON;
}

static enum quern_status start(struct eval *e, quern_model *model, struct quern_error *err) {
    size_t row_bytes = (size_t)e->n_vocab * sizeof *e->logits;
    e->rows = LOGITS_BYTES / row_bytes;
    e->rows = e->rows < 1 ? 1 : e->rows > ROWS_MAX ? ROWS_MAX : e->rows;
    e->logits = malloc(e->rows * row_bytes);
    if (!e->logits)
        return error_nomem(err);
    if (e->n_ids < 2)
        return error_set(err, QUERN_ERR_ARG, "the text has %zu tokens, expected at least 2",
                         e->n_ids);
    /* A short text needs no long session. */
    size_t n_context = e->context < e->n_ids ? e->context : e->n_ids;
    const struct quern_session_options options = {.n_context = (int32_t)n_context,
                                                  .yarn_expected_tokens = (int32_t)e->context,
                                                  .kv_type = e->kv_type};
    return quern_session_create(model, &options, &e->session, err);
}

static void report(const struct eval *e, bool json, double seconds) {
    const double n = (double)e->n_scored, mean = e->nll / n, ppl = exp(mean);
    const double variance = n > 1 ? (e->nll_squares - n * mean * mean) / (n - 1) : 0;
    const double deviation = ppl * sqrt((variance > 0 ? variance : 0) / n);
    const double bits_per_byte = e->nll / log(2) / (double)e->text_bytes;
    const double speed = (double)e->n_fed / seconds;
    if (json) {
        printf("{\"perplexity\": %.17g, \"perplexity_stderr\": %.6g, \"nll_per_token\": %.17g, "
               "\"bits_per_byte\": %.17g, \"tokens_scored\": %zu, \"tokens\": %zu, \"bytes\": %zu, "
               "\"windows\": %zu, \"context\": %zu, \"stride\": %zu, \"seconds\": %.3f, "
               "\"tokens_per_second\": %.1f}\n",
               ppl, deviation, mean, bits_per_byte, e->n_scored, e->n_ids, e->text_bytes,
               e->n_windows, e->context, e->stride, seconds, speed);
        return;
    }
    printf("perplexity %.4f +- %.4f\n", ppl, deviation);
    printf("nll        %.6f per token, %.4f bits per byte\n", mean, bits_per_byte);
    printf("scored     %zu of %zu tokens in %zu windows of %zu, stride %zu\n", e->n_scored,
           e->n_ids, e->n_windows, e->context, e->stride);
    printf("speed      %.1f tokens/s, %.1f s\n", speed, seconds);
}

static int eval_text(quern_model *model, const struct eval_args *args, const struct buffer *text) {
    struct quern_model_info info;
    quern_model_get_info(model, &info);
    struct eval e = {.n_vocab = info.n_vocab, .text_bytes = text->len};
    int code = choose_windows(&e, args, info.max_context);
    if (code != CLI_GO_ON)
        return code;
    struct quern_error err;
    int32_t *ids = NULL;
    enum quern_status status = quern_tokenize(model, text->data ? text->data : "", text->len, true,
                                              true, &ids, &e.n_ids, &err);
    e.ids = ids;
    if (!status)
        status = start(&e, model, &err);
    if (!status) {
        uint64_t begin_ns = os_now_ns();
        cli_progress_start(&e.progress, "Scoring");
        status = score_text(&e, &err);
        cli_progress_finish(&e.progress);
        if (!status)
            report(&e, args->json, (double)(os_now_ns() - begin_ns) * 1e-9);
    }
    code = status ? cli_fail(&err) : cli_finish_output(CLI_OK);
    quern_session_destroy(e.session);
    free(e.logits);
    quern_free(ids);
    return code;
}

static int compare(quern_model *model, const struct eval_args *args, const struct buffer *text) {
    const struct eval_kl_options options = {.context = args->context,
                                            .kv_type = cli_kv_type(args->kv_type),
                                            .json = args->json};
    struct cli_model_args other = args->model;
    quern_model *ref = NULL;
    other.dir = args->ref;
    other.weights = other.embed_weights = other.math = NULL;
    int code = cli_open_model(&other, CLI_WHOLE_MODEL, &ref);
    if (code == CLI_GO_ON)
        code = eval_kl(model, ref, buffer_str(text), &options);
    quern_model_close(ref);
    return code;
}

int cmd_eval(int argc, char **argv) {
    struct eval_args args = {0};
    int n_words = 0;
    int code = cli_parse(&eval_command, argc, argv, &args, &n_words);
    if (code != CLI_GO_ON)
        return code;
    const bool kl = n_words == 1 && strcmp(argv[1], "kl") == 0;
    if (!kl && (n_words != 1 || strcmp(argv[1], "ppl") != 0))
        return cli_usage_error(&eval_command, "expected what to evaluate: ppl or kl");
    if (kl != (args.ref != NULL) || (kl && args.stride))
        return cli_usage_error(&eval_command, "--ref goes with kl, --stride with ppl");
    struct buffer text;
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    quern_model *model = NULL;
    code = cli_read_input(args.text, &text);
    if (code == CLI_GO_ON)
        code = cli_open_model(&args.model, CLI_WHOLE_MODEL, &model);
    if (code == CLI_GO_ON)
        code = kl ? compare(model, &args, &text) : eval_text(model, &args, &text);
    quern_model_close(model);
    buffer_release(&text);
    return code;
}
