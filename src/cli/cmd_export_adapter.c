/* cmd_export_adapter.c - quern export-adapter: a LoRA adapter as llama.cpp reads it. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/adapter_args.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "formats/gguf_adapter.h"

struct export_args {
    struct cli_model_args model;
    const char *output;
};

static const struct option_spec export_specs[] = {
    CLI_MODEL_DIR_OPTION(struct export_args, model),
    OPT_LIST(0, "adapter", CLI_ADAPTER_META, struct export_args, model.adapters,
             "the LoRA adapter (a directory of peft's)"),
    OPT_STRING('o', "output", "FILE", struct export_args, output, "the .gguf file to write"),
    OPT_END};

static const struct cli_command export_command = {
    "export-adapter", "-m DIR --adapter DIR[:SCALE] -o FILE.gguf",
    "Writes a LoRA adapter as the GGUF file that llama.cpp takes beside a model of the same base "
    "(--lora). Of the model only its configuration is read. The scale, rsLoRA and patterns of rank "
    "and alpha are folded in, so that a reader's scale of 1 is what was asked for.\n\n"
    "DoRA, modules saved whole and adapters of single experts have no place in that file; quern "
    "merge "
    "puts them into the weights.",
    "quern export-adapter -m models/Qwen3-0.6B --adapter adapters/sql -o sql.gguf\n"
    "llama-cli -m Qwen3-0.6B.gguf --lora sql.gguf\n",
    export_specs};

static int export_one(const struct export_args *args, const struct quern_adapter_source *source) {
    static struct hf_config config; /* large */
    struct peft_adapter *adapter = NULL;
    struct quern_error err = {0};
    bool folded = false;
    enum quern_status status = hf_config_load(cli_model_dir(&args->model), &config, &err);
    if (!status)
        status = peft_adapter_open(source->dir, &adapter, &err);
    if (!status)
        status = gguf_adapter_write(args->output, adapter, source->scale, &config, &folded, &err);
    if (!status)
        printf("%s: %zu modules%s\n", args->output, peft_adapter_count(adapter),
               folded ? "; their scales differ and are folded into the weights" : "");
    peft_adapter_close(adapter);
    return status ? cli_fail(&err) : CLI_OK;
}

int cmd_export_adapter(int argc, char **argv) {
    struct export_args args = {0};
    struct cli_adapter_list list;
    struct quern_error err = {0};
    int code = cli_parse(&export_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (args.model.adapters.n != 1 || !args.output)
        return cli_usage_error(&export_command, "%s",
                               args.output ? "give one adapter with --adapter DIR"
                                           : "-o FILE is missing");
    if (cli_adapters_parse(&args.model.adapters, &list, &err))
        return cli_fail(&err);
    code = export_one(&args, &list.sources[0]);
    cli_adapters_release(&list);
    return code;
}
