#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/inspect_adapter.h"
#include "cli/inspect_facts.h"
#include "formats/peft_adapter.h"

enum { REPORT_MAX_BYTES = 1 << 28 };

struct inspect_args {
    struct cli_model_args model;
    bool json, tensors;
};

static const struct option_spec inspect_specs[] = {
    CLI_MODEL_DIR_OPTION(struct inspect_args, model),
    OPT_FLAG(0, "json", struct inspect_args, json, "write a JSON object"),
    OPT_FLAG(0, "tensors", struct inspect_args, tensors, "list every tensor"), OPT_END};

static const struct cli_command inspect_command = {
    "inspect", "[DIR] [options]",
    "Describes a model: architecture, parameters, tensors, the memory it needs by weight format "
    "and context, tokenizer, chat template, generation defaults, and what is missing or wrong.\n\n"
    "DIR is a model directory, a LoRA adapter's directory or a GGUF file; a config.json or a .safetensors file "
    "alone will do. The exit code "
    "is 1 when something is wrong that would keep the model from running.",
    "quern inspect models/quern-demo\n"
    "quern inspect adapters/sql\n"
    "quern inspect --json --tensors model.safetensors\n",
    inspect_specs};

/* The first problem as the error, so that scripts see what failed. */
static int verdict(const struct inspect_facts *f) {
    if (!f->problems.n)
        return CLI_OK;
    if (f->problems.n == 1)
        return cli_error("%s", f->problems.items[0]);
    return cli_error("%s (and %zu more problems)", f->problems.items[0], f->problems.n - 1);
}

static int describe_adapter(const char *dir, const struct inspect_args *args) {
    struct quern_error err = {0};
    struct buffer out;
    const char *problem = NULL;
    buffer_init(&out, REPORT_MAX_BYTES);
    enum quern_status status =
        inspect_adapter(dir, args->json, args->tensors, &out, &problem, &err);
    if (!status)
        status = buffer_status(&out, "the report", &err);
    if (!status)
        cli_write(out.data, out.len);
    buffer_release(&out);
    return status ? cli_fail(&err) : problem ? cli_error("%s: %s", dir, problem) : CLI_OK;
}

int cmd_inspect(int argc, char **argv) {
    struct inspect_args args = {0};
    struct quern_error err = {0};
    int n_words = 0, code = cli_parse(&inspect_command, argc, argv, &args, &n_words);
    if (code != CLI_GO_ON)
        return code;
    if (n_words > 1)
        return cli_usage_error(&inspect_command, "one model at a time, please");
    const char *path = n_words ? argv[1] : cli_model_dir(&args.model);
    if (peft_adapter_is_dir(path))
        return describe_adapter(path, &args);
    struct inspect_facts facts;
    struct buffer out;
    buffer_init(&out, REPORT_MAX_BYTES);
    enum quern_status status =
        inspect_collect(path, &facts, &err);
    if (!status && args.json)
        status = inspect_write_json(&facts, args.tensors, &out, &err);
    else if (!status)
        inspect_write_text(&facts, args.tensors, &out);
    if (!status)
        status = buffer_status(&out, "the report", &err);
    if (!status)
        cli_write(out.data, out.len);
    code = status ? cli_fail(&err) : verdict(&facts);
    inspect_release(&facts);
    buffer_release(&out);
    return code;
}
