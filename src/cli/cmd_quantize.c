#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "model/quantize/quantize.h"

struct quantize_args {
    struct cli_model_args model;
    const char *to, *output, *calib, *shard_size, *head;
    int64_t calib_tokens, calib_context;
    bool json;
};

static const struct option_spec quantize_specs[] = {
    CLI_MODEL_DIR_OPTION(struct quantize_args, model),
    OPT_CHOICE(0, "to", "int8|int4|nf4|fp8", struct quantize_args, to, "how weights are coded"),
    OPT_CHOICE(0, "embed-weights", "auto|int8|int4", struct quantize_args, head,
               "with --to int8 or int4: code the head so; one tied to the embedding becomes a matrix of its own "
               "(default: auto, as it is)"),
    OPT_STRING('o', "output", "DIR", struct quantize_args, output,
               "directory to write; it must not exist, or be empty"),
    OPT_STRING(0, "calib", "FILE", struct quantize_args, calib,
               "int4: UTF-8 text like what the model will see, chat markup included"),
    OPT_INT(0, "calib-tokens", "N", struct quantize_args, calib_tokens, 64, 1 << 24,
            "most tokens of it to use (default: 32768)"),
    OPT_INT(0, "calib-context", "N", struct quantize_args, calib_context, 16, 1 << 20,
            "tokens that see each other (default: 512)"),
    OPT_STRING(0, "max-shard-size", "SIZE", struct quantize_args, shard_size,
               "most bytes of a file, such as 5GB or 500MiB (default: 5GB)"),
    OPT_FLAG(0, "json", struct quantize_args, json, "print the report as one JSON object"),
    OPT_INT('t', "threads", "N", struct quantize_args, model.n_threads, 0, 1024,
            "threads to compute with (default: one per core)"),
    OPT_END};

static const struct cli_command quantize_command = {
    "quantize", "-m DIR --to FORMAT -o DIR [options]",
    "Writes a model with its matrices coded in 8 or 4 bits, as a Hugging Face directory that other "
    "programs load too: int8 and int4 as compressed-tensors' pack-quantized, nf4 as bitsandbytes "
    "saves it, fp8 as Qwen's releases. Embedding, routers, norms and biases stay as they are, the head "
    "too without --embed-weights (that of other commands codes both while they load).\n\n"
    "int8 has groups of 128 columns, int4 of 64, both symmetric; nf4 has blocks of 64 with coded "
    "scales, fp8 blocks of 128 x 128. With --calib, int4 compensates rounding "
    "errors by what the text sends through each matrix (GPTQ): worth its time.\n\n"
    "Prints the error of each layer's matrices: the size of what rounding changed, by the size of "
    "the weights; with --calib, of the outputs on the text. The directory appears only when it is "
    "complete.",
    "quern quantize -m models/Qwen3-0.6B --to int8 -o Qwen3-0.6B-int8\n"
    "quern quantize -m models/Qwen3-0.6B --to int4 --calib text.txt -o Qwen3-0.6B-int4\n",
    quantize_specs};

enum { DEFAULT_CALIB_TOKENS = 32768, DEFAULT_CALIB_CONTEXT = 512, CALIB_BYTES = 1 << 30 };
static const size_t DEFAULT_SHARD_BYTES = 5000000000u;

/* ---- the report -------------------------------------------------------------------- */

enum { N_KINDS = 7 };
static const char *const kinds[N_KINDS] = {"q", "k", "v", "o", "gate", "up", "down"};

/* Of all matrices of a kind in a layer: experts come together. */
struct kind_error {
    double squares; /* sum of squared errors */
    size_t n;
};

struct progress_and_report {
    struct cli_progress progress;
    bool calibrated;
    struct kind_error errors[HF_CONFIG_LAYERS_MAX][N_KINDS];
    size_t n_layers;
    size_t weights;
};

static bool go_on(void *user, double fraction) {
    struct progress_and_report *p = user;
    cli_progress_update(&p->progress, fraction);
    return !interrupt_pending();
}

static void on_matrix(void *user, const struct quantize_report *r) {
    struct progress_and_report *p = user;
    const char *layer_name = strstr(r->name, "layers."), *last = strrchr(r->name, '.');
    const unsigned long layer = layer_name ? strtoul(layer_name + 7, NULL, 10) : 0;
    const double error = p->calibrated ? r->output_error : r->weight_error;
    p->weights += r->rows * r->cols;
    for (size_t k = 0; last && k < N_KINDS && layer < HF_CONFIG_LAYERS_MAX; k++) {
        const size_t len = strlen(kinds[k]);
        if (strncmp(last + 1, kinds[k], len) == 0 && strcmp(last + 1 + len, "_proj") == 0) {
            p->errors[layer][k].squares += error * error;
            p->errors[layer][k].n++;
            p->n_layers = layer + 1 > p->n_layers ? layer + 1 : p->n_layers;
        }
    }
}

static double mean_error(const struct kind_error *e) {
    return e->n ? sqrt(e->squares / (double)e->n) : 0;
}

static void print_json(const struct progress_and_report *p, const struct quantize_args *args,
                       double seconds) {
    printf("{\"format\": \"%s\", \"weights\": %zu, \"seconds\": %.3f, \"error_of\": \"%s\", "
           "\"layers\": [",
           args->to, p->weights, seconds, p->calibrated ? "outputs" : "weights");
    for (size_t i = 0; i < p->n_layers; i++) {
        printf("%s{", i ? ", " : "");
        for (size_t k = 0; k < N_KINDS; k++)
            printf("%s\"%s\": %.6g", k ? ", " : "", kinds[k], mean_error(&p->errors[i][k]));
        printf("}");
    }
    printf("]}\n");
}

static void print_text(const struct progress_and_report *p, const struct quantize_args *args,
                       double seconds) {
    char n[CLI_NUMBER_BYTES];
    printf("Error of the %s, relative, by layer\n", p->calibrated ? "outputs" : "weights");
    printf("     ");
    for (size_t k = 0; k < N_KINDS; k++)
        printf("  %7s", kinds[k]);
    printf("\n");
    for (size_t i = 0; i < p->n_layers; i++) {
        printf("%5zu", i);
        for (size_t k = 0; k < N_KINDS; k++)
            printf("  %7.5f", mean_error(&p->errors[i][k]));
        printf("\n");
    }
    printf("%s: %s weights in %s, %.1f s\n", args->output,
           cli_format_count((int64_t)p->weights, n), args->to, seconds);
}

/* ---- the command --------------------------------------------------------------------- */

static enum quantized_layout layout_of(const char *word) {
    static const char *const words[] = {"int8", "int4", "nf4", "fp8"};
    int i = 3;
    while (i > 0 && strcmp(word, words[i]) != 0)
        i--;
    return (enum quantized_layout)i;
}

/* The text's tokens, in whole windows as far as there are any. */
static int read_calibration(const struct quantize_args *args, int32_t **ids, size_t *n_ids) {
    struct buffer text;
    quern_model *model = NULL;
    struct quern_error err = {0};
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    int code = cli_read_input(args->calib, &text);
    if (code == CLI_GO_ON)
        code = cli_open_model(&args->model, CLI_TOKENIZER_ONLY, &model);
    if (code == CLI_GO_ON && quern_tokenize(model, text.data ? text.data : "", text.len, true, true,
                                            ids, n_ids, &err))
        code = cli_fail(&err);
    if (code == CLI_GO_ON && *n_ids < 64)
        code = cli_error("%s: %zu tokens are too few to calibrate with", args->calib, *n_ids);
    const size_t most = args->calib_tokens ? (size_t)args->calib_tokens : DEFAULT_CALIB_TOKENS;
    *n_ids = *n_ids < most ? *n_ids : most;
    quern_model_close(model);
    buffer_release(&text);
    return code;
}

static int quantize(const struct quantize_args *args, struct quantize_options *o) {
    struct progress_and_report *p = calloc(1, sizeof *p);
    struct quern_error err = {0};
    const uint64_t begin_ns = os_now_ns();
    enum quern_status status = p ? QUERN_OK : error_nomem(&err);
    if (!status)
        status = thread_pool_create((int)args->model.n_threads, &o->pool, &err);
    if (!status && o->calibration_ids)
        status = device_cpu_create((int)args->model.n_threads, NULL, &o->device, &err);
    if (!status) {
        interrupt_catch();
        p->calibrated = o->calibration_ids != NULL;
        o->go_on = go_on;
        o->on_matrix = on_matrix;
        o->user = p;
        cli_progress_start(&p->progress, "Quantizing");
        status = quantize_directory(cli_model_dir(&args->model), args->output, o, &err);
        cli_progress_finish(&p->progress);
    }
    const double seconds = (double)(os_now_ns() - begin_ns) * 1e-9;
    int code = CLI_OK;
    if (status) {
        (void)cli_fail(&err);
        code = interrupt_exit_code() ? interrupt_exit_code() : CLI_FAILED;
    } else if (args->json) {
        print_json(p, args, seconds);
    } else {
        print_text(p, args, seconds);
    }
    device_destroy(o->device);
    thread_pool_destroy(o->pool);
    free(p);
    return code;
}

int cmd_quantize(int argc, char **argv) {
    struct quantize_args args = {0};
    int code = cli_parse(&quantize_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.to || !args.output)
        return cli_usage_error(&quantize_command, "%s is missing", args.to ? "-o DIR" : "--to FORMAT");
    struct quantize_options o = {.layout = layout_of(args.to),
                                 .max_shard_bytes = DEFAULT_SHARD_BYTES,
                                 .calibration_bytes = CALIB_BYTES};
    if (args.shard_size && !cli_parse_bytes(args.shard_size, &o.max_shard_bytes))
        return cli_usage_error(&quantize_command, "--max-shard-size: \"%s\" is no size such as 5GB",
                               args.shard_size);
    o.head.is_coded = args.head && strcmp(args.head, "auto") != 0;
    if (o.head.is_coded && o.layout != LAYOUT_INT8 && o.layout != LAYOUT_INT4)
        return cli_usage_error(&quantize_command, "--embed-weights goes with --to int8 or int4");
    o.head.layout = o.head.is_coded ? layout_of(args.head) : LAYOUT_INT8;
    if (args.calib && o.layout != LAYOUT_INT4)
        return cli_usage_error(&quantize_command, "--calib goes with --to int4");
    if (!args.calib && (args.calib_tokens || args.calib_context))
        return cli_usage_error(&quantize_command, "--calib-tokens and --calib-context go with --calib");
    int32_t *ids = NULL;
    if (args.calib)
        code = read_calibration(&args, &ids, &o.n_calibration_ids);
    o.calibration_ids = ids;
    o.calibration_window =
        args.calib_context ? (size_t)args.calib_context : DEFAULT_CALIB_CONTEXT;
    if (code == CLI_GO_ON)
        code = quantize(&args, &o);
    quern_free(ids);
    return code;
}
