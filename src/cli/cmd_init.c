#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/threads.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/init_shapes.h"
#include "cli/interrupt.h"
#include "formats/random_checkpoint.h"
#include "text/json.h"

enum { PATH_BYTES = 4096, CONFIG_MAX_BYTES = 16 << 20, COPY_MAX_BYTES = 1 << 28 };

struct init_args {
    const char *shape, *config, *output, *dtype, *shard_size, *tokenizer;
    int64_t seed, vocab_size, n_threads;
    bool randomize_norms, force;
};

static const struct option_spec init_specs[] = {
    OPT_CHOICE(0, "shape", INIT_SHAPE_NAMES, struct init_args, shape, "a known model size"),
    OPT_STRING(0, "config", "FILE", struct init_args, config,
               "a config.json, or a directory with one, instead of --shape"),
    OPT_STRING('o', "output", "DIR", struct init_args, output, "directory to write"),
    OPT_INT(0, "seed", "S", struct init_args, seed, 0, 9007199254740992.0,
            "seed of the weights (default: 0)"),
    OPT_CHOICE(0, "dtype", "bf16|f16|f32", struct init_args, dtype,
               "element type of the weights (default: the configuration's)"),
    OPT_STRING(0, "max-shard-size", "SIZE", struct init_args, shard_size,
               "most bytes of a file, such as 5GB or 500MiB (default: one file)"),
    OPT_INT(0, "vocab-size", "N", struct init_args, vocab_size, 1, 1 << 24,
            "rows of the embedding instead of the configuration's"),
    OPT_STRING(0, "tokenizer", "DIR", struct init_args, tokenizer,
               "directory to copy tokenizer and chat template from"),
    OPT_FLAG(0, "randomize-norms", struct init_args, randomize_norms,
             "norm weights 1 + 0.1 normal and biases 0.1 normal, for tests"),
    OPT_INT('t', "threads", "N", struct init_args, n_threads, 0, 1024,
            "threads to compute with (default: one per core)"),
    OPT_FLAG(0, "force", struct init_args, force, "write into a directory that is not empty"),
    OPT_END};

static const struct cli_command init_command = {
    "init", "(--shape NAME | --config FILE) -o DIR [options]",
    "Writes a checkpoint with random weights in Hugging Face's layout: for tests, benchmarks and "
    "training from scratch.\n\n"
    "The weights are drawn from normal(0, initializer_range), norms are 1 and biases 0. The same "
    "configuration, seed and options give the same bytes on every machine.",
    "quern init --shape tiny -o /tmp/tiny --tokenizer models/quern-demo\n"
    "quern init --config my/config.json -o my-model --seed 7 --max-shard-size 5GB\n",
    init_specs};

/* ---- the parts of the directory ---------------------------------------------- */

static const struct {
    const char *word, *torch_name;
    enum dtype dtype;
} dtypes[] = {
    {"bf16", "bfloat16", DTYPE_BF16}, {"f16", "float16", DTYPE_F16}, {"f32", "float32", DTYPE_F32}};

static enum quern_status write_json(const char *dir, const char *name, const json_t *value,
                                    struct quern_error *err) {
    char path[PATH_BYTES];
    struct buffer b;
    buffer_init(&b, CONFIG_MAX_BYTES);
    json_write_python(value, 2, &b);
    buffer_putc(&b, '\n');
    enum quern_status status = buffer_status(&b, name, err);
    if (!status)
        status = os_path_join(path, sizeof path, dir, name, err);
    if (!status)
        status = os_write_file(path, b.data, b.len, err);
    buffer_release(&b);
    return status;
}

/* False: it was not there. */
static bool copy_file(const char *from_dir, const char *name, const char *to_dir,
                      enum quern_status *status, struct quern_error *err) {
    char from[PATH_BYTES], to[PATH_BYTES];
    *status = os_path_join(from, sizeof from, from_dir, name, err);
    if (*status || !os_file_exists(from))
        return false;
    struct buffer b;
    buffer_init(&b, COPY_MAX_BYTES);
    *status = os_read_regular(from, COPY_MAX_BYTES, &b, err);
    if (!*status)
        *status = os_path_join(to, sizeof to, to_dir, name, err);
    if (!*status)
        *status = os_write_file(to, b.data, b.len, err);
    buffer_release(&b);
    return true;
}

static enum quern_status copy_tokenizer(const char *from, const char *to, struct quern_error *err) {
    static const char *const names[] = {"tokenizer.json",      "tokenizer_config.json",
                                        "chat_template.jinja", "chat_template.json",
                                        "vocab.json",          "merges.txt",
                                        "added_tokens.json",   "special_tokens_map.json"};
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < sizeof names / sizeof *names; i++)
        if (!copy_file(from, names[i], to, &status, err) && !status && i == 0)
            status = error_set(err, QUERN_ERR_IO, "%s: no tokenizer.json", from);
    return status;
}

/* ---- the configuration -------------------------------------------------------- */

static enum quern_status load_config(const struct init_args *args, json_t **out,
                                     struct quern_error *err) {
    if (args->shape) {
        *out = init_shape_config(args->shape);
        return *out ? QUERN_OK : error_nomem(err);
    }
    char path[PATH_BYTES];
    enum quern_status status = QUERN_OK;
    const bool in_dir = os_is_dir(args->config);
    if (in_dir)
        status = os_path_join(path, sizeof path, args->config, "config.json", err);
    if (status)
        return status;
    const char *file = in_dir ? path : args->config;
    status = in_dir ? json_load_regular(file, CONFIG_MAX_BYTES, out, err)
                    : json_load_path(file, CONFIG_MAX_BYTES, out, err);
    if (!status && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = error_set(err, QUERN_ERR_FORMAT, "%s: expected an object", file);
    }
    return status;
}

/* Applies the options to the JSON, so that the file written says what the weights are. */
static enum quern_status adapt_config(const struct init_args *args, json_t *config,
                                      struct quern_error *err) {
    int failed = 0;
    json_object_del(config, "quantization_config");
    const char *key = json_object_get(config, "dtype") ? "dtype" : "torch_dtype";
    for (size_t i = 0; args->dtype && i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(args->dtype, dtypes[i].word) == 0)
            failed |= json_object_set_new(config, key, json_string(dtypes[i].torch_name));
    if (args->vocab_size)
        failed |= json_object_set_new(config, "vocab_size", json_integer(args->vocab_size));
    return failed ? error_nomem(err) : QUERN_OK;
}

static enum quern_status check_config(const struct init_args *args, const json_t *config,
                                      struct hf_config *out, struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, CONFIG_MAX_BYTES);
    json_write_python(config, -1, &text);
    enum quern_status status = buffer_status(&text, "the configuration", err);
    if (!status)
        status = hf_config_parse(text.data, text.len, args->config ? args->config : args->shape,
                                 out, err);
    buffer_release(&text);
    return status;
}

/* The one beside --config when there is one; a shape has its own. */
static enum quern_status write_generation_config(const struct init_args *args,
                                                 struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    if (args->shape) {
        json_t *generation = init_shape_generation_config();
        status = generation ? write_json(args->output, "generation_config.json", generation, err)
                            : error_nomem(err);
        json_decref(generation);
        return status;
    }
    char dir[PATH_BYTES];
    const char *slash = strrchr(args->config, '/');
    int n = os_is_dir(args->config) ? snprintf(dir, sizeof dir, "%s", args->config)
            : slash
                ? snprintf(dir, sizeof dir, "%.*s", (int)(slash - args->config + 1), args->config)
                : snprintf(dir, sizeof dir, ".");
    if (n >= 0 && (size_t)n < sizeof dir)
        (void)copy_file(dir, "generation_config.json", args->output, &status, err);
    return status;
}

/* ---- the command -------------------------------------------------------------- */

static enum quern_status prepare_dir(const struct init_args *args, struct quern_error *err) {
    bool empty = false;
    enum quern_status status = os_make_dir(args->output, err);
    if (status || args->force)
        return status;
    status = os_dir_is_empty(args->output, &empty, err);
    if (!status && !empty)
        status = error_set(err, QUERN_ERR_ARG, "%s: is not empty; use --force to write into it",
                           args->output);
    return status;
}

static bool is_interrupted(void *user) {
    (void)user;
    return interrupt_pending();
}

static enum quern_status write_weights(const struct init_args *args, const struct hf_config *config,
                                       size_t max_shard_bytes, struct quern_error *err) {
    struct cli_progress progress;
    struct random_checkpoint_options options = {
        .seed = (uint64_t)args->seed,
        .dtype = config->dtype,
        .max_shard_bytes = max_shard_bytes,
        .randomize_norms = args->randomize_norms,
        .on_progress = cli_progress_update,
        .is_cancelled = is_interrupted,
        .user = &progress,
    };
    enum quern_status status = thread_pool_create((int)args->n_threads, &options.pool, err);
    if (status)
        return status;
    cli_progress_start(&progress, "Writing");
    status = random_checkpoint_write(config, args->output, &options, err);
    cli_progress_finish(&progress);
    thread_pool_destroy(options.pool);
    return status;
}

static void report(const struct init_args *args, const struct hf_config *config, double seconds) {
    char params[CLI_NUMBER_BYTES], bytes[CLI_NUMBER_BYTES];
    int64_t n = hf_config_param_count(config, NULL);
    printf("%s: %s, %s parameters, %zu tensors, %s of %s weights in %.1f s\n", args->output,
           config->architecture_name, cli_format_count(n, params), tensor_layout_count(config),
           cli_format_bytes((double)n * (double)dtype_size_bytes(config->dtype), bytes),
           dtype_name(config->dtype), seconds);
}

static enum quern_status init(const struct init_args *args, size_t max_shard_bytes,
                              struct quern_error *err) {
    json_t *json = NULL;
    struct hf_config config;
    uint64_t start = os_now_ns();
    interrupt_catch(); /* so that no half-written files stay behind */
    enum quern_status status = load_config(args, &json, err);
    if (!status)
        status = adapt_config(args, json, err);
    if (!status)
        status = check_config(args, json, &config, err);
    if (!status)
        status = prepare_dir(args, err);
    if (!status && args->tokenizer)
        status = copy_tokenizer(args->tokenizer, args->output, err);
    if (!status)
        status = write_generation_config(args, err);
    if (!status)
        status = write_weights(args, &config, max_shard_bytes, err);
    if (!status) /* last: a directory with a config.json is a complete model */
        status = write_json(args->output, "config.json", json, err);
    if (!status)
        report(args, &config, (double)(os_now_ns() - start) * 1e-9);
    json_decref(json);
    return status;
}

int cmd_init(int argc, char **argv) {
    struct init_args args = {0};
    struct quern_error err = {0};
    size_t max_shard_bytes = 0;
    int code = cli_parse(&init_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.shape == !args.config)
        return cli_usage_error(&init_command, "give either --shape or --config");
    if (!args.output)
        return cli_usage_error(&init_command, "give the directory to write with -o DIR");
    if (args.shard_size && !cli_parse_bytes(args.shard_size, &max_shard_bytes))
        return cli_usage_error(&init_command, "--max-shard-size: \"%s\" is no size such as 5GB",
                               args.shard_size);
    return init(&args, max_shard_bytes, &err) ? cli_fail(&err) : CLI_OK;
}
