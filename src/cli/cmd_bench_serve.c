/* cmd_bench_serve.c - quern bench serve: requests to a running server, timed. */
#include <string.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/load_report.h"

struct bench_serve_args {
    const char *url, *model, *key_file, *prompt, *output, *svg;
    int64_t n_requests, concurrency, shared_prefix, n_prefixes, n_vocab, seed;
    double rate, temperature, timeout_s;
    bool json;
};

static const struct option_spec bench_serve_specs[] = {
    OPT_STRING('u', "url", "URL", struct bench_serve_args, url,
               "the server (default: http://127.0.0.1:8080)"),
    OPT_STRING('m', "model", "NAME", struct bench_serve_args, model,
               "model to ask (default: the server's first)"),
    OPT_STRING(0, "api-key-file", "FILE", struct bench_serve_args, key_file,
               "file with the key to send"),
    OPT_INT('n', "requests", "N", struct bench_serve_args, n_requests, 1, 10000000,
            "requests in all (default: 64)"),
    OPT_INT(
        'c', "concurrency", "N", struct bench_serve_args, concurrency, 1, 4096,
        "requests under way at once; with --rate the most of them (default: 8; 256 with --rate)"),
    OPT_FLOAT(
        'r', "rate", "X", struct bench_serve_args, rate, 0, 1e6,
        "arrivals a second, at random (Poisson); 0: the next when one has ended (default: 0)"),
    OPT_STRING('p', "prompt", "TOKENS", struct bench_serve_args, prompt,
               "length of prompts: N, MIN-MAX, or MEAN~DEVIATION (default: 256)"),
    OPT_STRING('o', "output", "TOKENS", struct bench_serve_args, output,
               "length of answers, in the same forms (default: 64)"),
    OPT_INT(0, "shared-prefix", "N", struct bench_serve_args, shared_prefix, 0, 10000000,
            "tokens with which prompts begin alike (default: 0)"),
    OPT_INT(0, "prefixes", "N", struct bench_serve_args, n_prefixes, 1, 1000000,
            "how many such beginnings there are (default: 1)"),
    OPT_INT(0, "vocabulary", "N", struct bench_serve_args, n_vocab, 1, 10000000,
            "ids of prompts are below N (default: nine tenths of the model's)"),
    OPT_FLOAT(0, "temp", "X", struct bench_serve_args, temperature, 0, 2,
              "temperature of the answers (default: 0)"),
    OPT_INT(0, "seed", "N", struct bench_serve_args, seed, 0, INT32_MAX,
            "of lengths, prompts and arrivals (default: 1)"),
    OPT_FLOAT(0, "timeout", "S", struct bench_serve_args, timeout_s, 0.1, 86400,
              "longest silence of the server (default: 120)"),
    OPT_FLAG(0, "json", struct bench_serve_args, json, "print JSON instead of the table"),
    OPT_STRING(0, "svg", "FILE", struct bench_serve_args, svg, "write the curves to FILE"),
    OPT_END,
};

static const struct cli_command bench_serve_command = {
    "bench serve",
    "[--url URL] [options]",
    "Measures a running server: quern serve, or another one with OpenAI's /v1/completions. Prompts "
    "are random token ids, answers have exactly the length asked for. Prints percentiles of the "
    "time to the first token, between tokens, and of whole requests, and the throughput.\n\n"
    "Without --rate, --concurrency clients send one request after the other (closed loop). With "
    "it, "
    "requests come at random times whatever the server does (open loop), as many users do.",
    "quern bench serve -n 200 -c 16 -p 128-1024 -o 64\n"
    "quern bench serve --rate 5 -n 300 --shared-prefix 1024 -p 1200 --svg load.svg\n",
    bench_serve_specs,
};

/* ---- the plan -------------------------------------------------------------------------- */

/* Special tokens stand at the end of the vocabulary: the first nine tenths are text. */
static enum quern_status ask_vocabulary(struct load_plan *plan, struct quern_error *err) {
    struct buffer body;
    int http_status = 0;
    json_t *root = NULL;
    buffer_init(&body, 1 << 24);
    enum quern_status status = load_get(&plan->target, "/v1/models", &http_status, &body, err);
    if (!status && http_status != 200)
        status = error_set(err, QUERN_ERR_IO, "/v1/models answers with HTTP %d", http_status);
    if (!status)
        status = json_parse(body.data ? body.data : "", body.len, "/v1/models", &root, err);
    const json_t *models = json_object_get(root, "data");
    const json_t *found = json_array_get(models, 0);
    for (size_t i = 0; plan->target.model && i < json_array_size(models); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(models, i), "id"));
        if (id && strcmp(id, plan->target.model) == 0)
            found = json_array_get(models, i);
    }
    json_int_t n = json_integer_value(json_object_get(json_object_get(found, "meta"), "n_vocab"));
    if (!status && n < 10)
        status =
            error_set(err, QUERN_ERR_IO,
                      "/v1/models does not tell the size of the vocabulary: give --vocabulary");
    if (!status)
        plan->n_vocab = n / 10 * 9;
    json_decref(root);
    buffer_release(&body);
    return status;
}

static enum quern_status read_key(const char *path, struct buffer *key, struct quern_error *err) {
    if (!path)
        return QUERN_OK;
    enum quern_status status = os_read_file(path, 4096, key, err);
    while (!status && key->len && strchr(" \r\n\t", key->data[key->len - 1]))
        key->data[--key->len] = '\0';
    return status;
}

static enum quern_status make_plan(const struct bench_serve_args *a, const struct buffer *key,
                                   struct load_plan *plan, struct quern_error *err) {
    *plan = (struct load_plan){
        .n_requests = (size_t)a->n_requests,
        .concurrency = a->concurrency ? (size_t)a->concurrency
                       : a->rate > 0  ? 256
                                      : 8,
        .rate = a->rate,
        .shared_prefix = a->shared_prefix,
        .n_prefixes = a->n_prefixes,
        .n_vocab = a->n_vocab,
        .temperature = a->temperature,
        .seed = (uint64_t)a->seed,
    };
    enum quern_status status = load_target_parse(a->url, &plan->target, err);
    plan->target.model = a->model;
    plan->target.key = key->len ? key->data : NULL;
    plan->target.timeout_ms = (int64_t)(a->timeout_s * 1000);
    if (!status)
        status = load_length_parse(a->prompt, &plan->prompt, err);
    if (!status)
        status = load_length_parse(a->output, &plan->output, err);
    if (!status && !plan->n_vocab)
        status = ask_vocabulary(plan, err);
    return status;
}

/* ---- the report ------------------------------------------------------------------------- */

enum { REPORT_MAX_BYTES = 1 << 24 };

static int write_report(const struct bench_serve_args *a, const struct load_plan *plan,
                        const struct load_report *r) {
    struct buffer text;
    struct quern_error err = {0};
    buffer_init(&text, REPORT_MAX_BYTES);
    if (a->json) {
        json_t *json = load_report_json(plan, r);
        json_write_python(json, 1, &text);
        buffer_putc(&text, '\n');
        json_decref(json);
    } else {
        load_report_write_table(r, &text);
    }
    enum quern_status status = buffer_status(&text, "the report", &err);
    if (!status)
        cli_write(text.data, text.len);
    buffer_clear(&text);
    if (!status && a->svg) {
        load_report_write_svg(r, &text);
        status = buffer_status(&text, "the curves", &err);
        if (!status)
            status = os_write_file(a->svg, text.data, text.len, &err);
    }
    buffer_release(&text);
    return status ? cli_fail(&err) : CLI_OK;
}

static int run(const struct bench_serve_args *a, const struct load_plan *plan) {
    struct quern_error err = {0};
    struct load_run result;
    struct load_report report;
    struct cli_progress progress;
    cli_progress_start(&progress, "Asking");
    interrupt_catch();
    enum quern_status status =
        load_run(plan, interrupt_pending, cli_progress_update, &progress, &result, &err);
    cli_progress_finish(&progress);
    if (status)
        return cli_fail(&err);
    status = load_report_make(plan, &result, &report, &err);
    load_run_release(&result, plan->n_requests);
    if (status)
        return cli_fail(&err);
    int code = write_report(a, plan, &report);
    if (code == CLI_OK && !report.n_complete)
        code = cli_error("no request was answered");
    load_report_release(&report);
    return interrupt_pending() ? interrupt_exit_code() : code;
}

int cmd_bench_serve(int argc, char **argv) {
    struct bench_serve_args args = {
        .url = "http://127.0.0.1:8080",
        .n_requests = 64,
        .prompt = "256",
        .output = "64",
        .n_prefixes = 1,
        .seed = 1,
        .timeout_s = 120,
    };
    struct quern_error err = {0};
    struct load_plan plan;
    struct buffer key;
    int code = cli_parse(&bench_serve_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    buffer_init(&key, 4096);
    enum quern_status status = read_key(args.key_file, &key, &err);
    if (!status)
        status = make_plan(&args, &key, &plan, &err);
    code = status ? cli_fail(&err) : run(&args, &plan);
    buffer_release(&key);
    return code;
}
