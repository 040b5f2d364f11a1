/* quern batch - many requests from a file. */
#include <stdio.h>
#include <string.h>

#include "cli/batch_run.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/interrupt.h"

struct batch_args {
    struct cli_model_args model;
    const char *input, *output, *kv_type, *speculation, *draft;
    int64_t context, parallel, cache_mib;
    bool quiet;
};

static const struct option_spec batch_specs[] = {
    CLI_MODEL_OPTIONS(struct batch_args, model),
    OPT_STRING('i', "input", "FILE", struct batch_args, input, "requests, one JSON object a line"),
    OPT_STRING('o', "output", "FILE", struct batch_args, output,
               "results, appended; lines that have one are not done again"),
    CLI_CONTEXT_OPTION(struct batch_args, context),
    OPT_INT(0, "parallel", "N", struct batch_args, parallel, 1, 1024,
            "requests computed side by side (default: 32)"),
    OPT_INT(0, "cache-mib", "MIB", struct batch_args, cache_mib, 1, 1 << 30,
            "memory for keys and values (default: four contexts)"),
    CLI_KV_OPTION(struct batch_args, kv_type),
    OPT_CHOICE(0, "speculation", "auto|off", struct batch_args, speculation,
               "guess tokens by prompt lookup while it pays (default: auto)"),
    OPT_STRING(0, "draft", "DIR", struct batch_args, draft,
               "smaller model with the same tokenizer that guesses tokens while it pays"),
    OPT_FLAG('q', "quiet", struct batch_args, quiet, "no progress bar and no summary"),
    OPT_END};

static const struct cli_command batch_command = {
    "batch", "[-m DIR] -i FILE -o FILE [options]",
    "Answers the requests of a file in OpenAI's batch format: a line is an object with custom_id, "
    "url (/v1/chat/completions, /v1/completions or /v1/embeddings) and body, the request itself. "
    "Results are lines with the same custom_id, in the order in which they are done; a request "
    "that cannot be answered has its error in its result.\n\n"
    "The job may be stopped or killed at any time: started again with the same files it goes on "
    "where it was. Every result is written as a whole line at once and flushed to the disk at "
    "most a second later; a last line that is not whole is cut off.",
    "quern batch -m models/Qwen3-0.6B -i requests.jsonl -o results.jsonl\n", batch_specs};

enum { DEFAULT_PARALLEL = 32, STEP_MS = 1000 /* nobody waits for single tokens */ };

/* "models/Qwen3-0.6B/" is called Qwen3-0.6B. */
static void model_name(const char *dir, char *name, size_t size) {
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && dir[begin - 1] != '/')
        begin--;
    snprintf(name, size, "%.*s", (int)(end - begin), dir + begin);
}

static void report(const struct batch_args *args, const struct batch_input *in,
                   const struct batch_output *out, const struct batch_counts *c) {
    const size_t n_done = out->n_found + c->n_ok + c->n_failed;
    if (args->quiet)
        return;
    fprintf(stderr, "%zu of %zu lines done, %zu now", n_done, in->n_lines, c->n_ok + c->n_failed);
    if (c->n_failed)
        fprintf(stderr, " (%zu with an error)", c->n_failed);
    fprintf(stderr, "; %llu prompt and %llu completion tokens in %.1f s, %.0f tok/s\n",
            (unsigned long long)c->prompt_tokens, (unsigned long long)c->completion_tokens,
            c->seconds, c->seconds > 0 ? (double)c->completion_tokens / c->seconds : 0);
}

static int run_jobs(const struct batch_args *args, quern_model *model, quern_model *draft,
                    struct batch_input *in, struct batch_output *out) {
    const size_t parallel = args->parallel ? (size_t)args->parallel : DEFAULT_PARALLEL;
    const struct quern_engine_options options = {
        .n_context = (int32_t)args->context,
        .max_running = (int32_t)parallel,
        .max_step_ms = STEP_MS,
        .kv_bytes = (size_t)args->cache_mib << 20,
        .kv_type = cli_kv_type(args->kv_type),
        .speculation = args->speculation && strcmp(args->speculation, "off") == 0
                           ? QUERN_SPECULATION_OFF
                           : QUERN_SPECULATION_AUTO,
        .draft = draft,
    };
    quern_engine *engine = NULL;
    struct quern_error err = {0};
    if (quern_engine_create(model, &options, &engine, &err))
        return cli_fail(&err);
    struct served_model served;
    char name[128];
    model_name(cli_model_dir(&args->model), name, sizeof name);
    served_model_init(&served, name, model, engine, (int32_t)args->context);
    /* A few more than run, so that one is ready when another ends. */
    const struct batch_setup setup = {.model = &served,
                                      .input = in,
                                      .output = out,
                                      .n_parallel = parallel + parallel / 2 + 1,
                                      .quiet = args->quiet};
    struct batch_counts counts;
    const enum quern_status status = batch_run(&setup, &counts, &err);
    quern_engine_destroy(engine);
    report(args, in, out, &counts);
    if (status)
        return cli_fail(&err);
    const int code = interrupt_exit_code();
    return code ? code : CLI_OK;
}

static int run_files(const struct batch_args *args, struct batch_input *in,
                     struct batch_output *out) {
    size_t n_left = 0;
    for (size_t i = 0; i < in->n_lines; i++)
        n_left += !in->lines[i].done;
    if (out->cut && !args->quiet)
        fprintf(stderr, "%s: a last line that was not whole is cut off\n", out->path);
    if (out->n_found && !args->quiet)
        fprintf(stderr, "%zu of %zu lines have a result already\n", out->n_found, in->n_lines);
    if (n_left == 0)
        return CLI_OK;
    quern_model *model = NULL, *draft = NULL;
    struct cli_model_args draft_args = args->model;
    draft_args.dir = args->draft;
    int code = cli_open_model(&args->model, CLI_WHOLE_MODEL, &model);
    if (code == CLI_GO_ON && args->draft)
        code = cli_open_model(&draft_args, CLI_WHOLE_MODEL, &draft);
    if (code == CLI_GO_ON) {
        interrupt_catch();
        code = run_jobs(args, model, draft, in, out);
    }
    quern_model_close(draft);
    quern_model_close(model);
    return code;
}

int cmd_batch(int argc, char **argv) {
    struct batch_args args = {0};
    int code = cli_parse(&batch_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.input || !args.output)
        return cli_usage_error(&batch_command, "%s is missing", args.input ? "-o" : "-i");
    struct batch_input in;
    struct batch_output out;
    struct quern_error err = {0};
    if (batch_input_open(&in, args.input, &err))
        return cli_fail(&err);
    if (batch_output_open(&out, args.output, &in, &err)) {
        batch_input_close(&in);
        return cli_fail(&err);
    }
    code = run_files(&args, &in, &out);
    batch_output_close(&out);
    batch_input_close(&in);
    return code;
}
