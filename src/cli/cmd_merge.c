/* cmd_merge.c - quern merge: adapters into the weights of a model of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "cli/adapter_args.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "model/merge/merge.h"

struct merge_args {
    struct cli_model_args model;
    const char *output, *dtype, *shard_size;
};

static const struct option_spec merge_specs[] = {
    CLI_MODEL_DIR_OPTION(struct merge_args, model),
    OPT_LIST(0, "adapter", CLI_ADAPTER_META, struct merge_args, model.adapters,
             "LoRA adapter (a directory of peft's) to merge; may be given several times"),
    OPT_STRING('o', "output", "DIR", struct merge_args, output,
               "directory to write; it must not exist, or be empty"),
    OPT_CHOICE(
        0, "dtype", "auto|f32|bf16|f16", struct merge_args, dtype,
        "type of the weights written (default: auto, the model's; bf16 for what is quantized)"),
    OPT_STRING(0, "max-shard-size", "SIZE", struct merge_args, shard_size,
               "most bytes of a file, such as 5GB or 500MiB (default: 5GB)"),
    OPT_INT('t', "threads", "N", struct merge_args, model.n_threads, 0, 1024,
            "threads to compute with (default: one per core)"),
    OPT_END};

static const struct cli_command merge_command = {
    "merge", "-m DIR --adapter DIR[:SCALE]... -o DIR [options]",
    "Writes a model with adapters merged into its weights, as a Hugging Face directory that "
    "transformers and others load. Each weight is computed in float32 and rounded once. LoRA, "
    "rsLoRA, "
    "DoRA and modules saved whole are merged; what a quantized model holds coded is written as "
    "bfloat16.\n\n"
    "When head and embedding are one matrix and an adapter changes only one of them, the head "
    "becomes "
    "a matrix of its own. The directory appears only when it is complete.",
    "quern merge -m models/Qwen3-0.6B --adapter adapters/sql -o Qwen3-0.6B-sql\n"
    "quern merge -m DIR --adapter a:0.5 --adapter b:0.5 --dtype bf16 -o merged\n",
    merge_specs};

static const size_t DEFAULT_SHARD_BYTES = 5000000000u;

static bool go_on(void *user, double fraction) {
    cli_progress_update(user, fraction);
    return !interrupt_pending();
}

static bool dtype_of(const char *word, enum dtype *out) {
    if (!word || strcmp(word, "auto") == 0)
        return false;
    *out = strcmp(word, "f32") == 0 ? DTYPE_F32 : strcmp(word, "f16") == 0 ? DTYPE_F16 : DTYPE_BF16;
    return true;
}

static void report(const struct merge_args *args, const struct merge_result *r, double seconds) {
    char bytes[CLI_NUMBER_BYTES];
    if (r->n_decoded)
        printf("%zu matrices were quantized and are %s now.\n", r->n_decoded,
               args->dtype && strcmp(args->dtype, "auto") != 0 ? args->dtype : "bf16");
    if (r->untied)
        printf("The head was the embedding and is a matrix of its own now.\n");
    if (r->n_replaced)
        printf("%zu tensors are the adapter's own.\n", r->n_replaced);
    printf("%s: %zu matrices merged, %s in %.1f s\n", args->output, r->n_changed,
           cli_format_bytes((double)r->total_bytes, bytes), seconds);
}

static enum quern_status open_adapters(const struct cli_adapter_list *list,
                                       struct peft_adapter **files, struct merge_adapter *out,
                                       struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < list->n && !status; i++) {
        status = peft_adapter_open(list->sources[i].dir, &files[i], err);
        out[i] = (struct merge_adapter){files[i], list->sources[i].scale};
    }
    return status;
}

static int merge(const struct merge_args *args, const struct cli_adapter_list *list,
                 struct merge_options *o) {
    struct peft_adapter *files[OPTION_LIST_MAX] = {NULL};
    struct merge_adapter adapters[OPTION_LIST_MAX];
    struct merge_result result;
    struct cli_progress progress;
    struct quern_error err = {0};
    const uint64_t begin_ns = os_now_ns();
    enum quern_status status = open_adapters(list, files, adapters, &err);
    if (!status)
        status = device_cpu_create((int)args->model.n_threads, NULL, &o->device, &err);
    if (!status) {
        interrupt_catch();
        o->adapters = adapters;
        o->n_adapters = list->n;
        o->go_on = go_on;
        o->user = &progress;
        cli_progress_start(&progress, "Merging");
        status = merge_directory(cli_model_dir(&args->model), args->output, o, &result, &err);
        cli_progress_finish(&progress);
    }
    int code = CLI_OK;
    if (status) {
        (void)cli_fail(&err);
        code = interrupt_exit_code() ? interrupt_exit_code() : CLI_FAILED;
    } else {
        report(args, &result, (double)(os_now_ns() - begin_ns) * 1e-9);
    }
    device_destroy(o->device);
    for (size_t i = 0; i < OPTION_LIST_MAX; i++)
        peft_adapter_close(files[i]);
    return code;
}

int cmd_merge(int argc, char **argv) {
    struct merge_args args = {0};
    struct merge_options o = {.max_shard_bytes = DEFAULT_SHARD_BYTES};
    struct cli_adapter_list list;
    struct quern_error err = {0};
    int code = cli_parse(&merge_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.model.adapters.n || !args.output)
        return cli_usage_error(&merge_command, "%s is missing",
                               args.output ? "--adapter DIR" : "-o DIR");
    if (args.shard_size && !cli_parse_bytes(args.shard_size, &o.max_shard_bytes))
        return cli_usage_error(&merge_command, "--max-shard-size: \"%s\" is no size such as 5GB",
                               args.shard_size);
    o.has_dtype = dtype_of(args.dtype, &o.dtype);
    if (cli_adapters_parse(&args.model.adapters, &list, &err))
        return cli_fail(&err);
    code = merge(&args, &list, &o);
    cli_adapters_release(&list);
    return code;
}
