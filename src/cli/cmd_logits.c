/* quern logits: the model's numbers for given ids, for comparison with other programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/ids_json.h"
#include "formats/npy.h"

struct logits_args {
    struct cli_model_args model;
    const char *ids, *output, *yarn;
    int64_t chunk, context;
    const char *kv_type;
};

static const struct option_spec logits_specs[] = {
    CLI_MODEL_OPTIONS(struct logits_args, model),
    OPT_STRING(0, "ids", "FILE", struct logits_args, ids,
               "JSON array of token ids; - for standard input"),
    OPT_STRING('o', "output", "FILE", struct logits_args, output, "the .npy file to write"),
    OPT_INT(0, "chunk", "N", struct logits_args, chunk, 1, INT32_MAX,
            "tokens per forward pass (default: 64); any value gives the same bytes"),
    OPT_CHOICE(0, "yarn", "auto|always|never", struct logits_args, yarn,
               "when to apply the YaRN scaling of config.json (default: auto, only if the "
               "context exceeds the original one)"),
    CLI_KV_OPTION(struct logits_args, kv_type),
    OPT_INT('c', "context", "N", struct logits_args, context, 1, INT32_MAX,
            "most tokens held at once (default: as many as there are ids)"),
    OPT_END};

static const struct cli_command logits_command = {
    .name = "logits",
    .synopsis = "[-m DIR] --ids FILE -o FILE [options]",
    .description = "Writes the logits after every one of the given tokens as a float32 array "
                   "[tokens, vocabulary] in NumPy's format. Neither tokenizer nor chat template "
                   "is needed, and no id is masked: these are the model's own numbers, as "
                   "transformers computes them.",
    .examples = "echo '[9707, 11, 1879]' | quern logits -m DIR --ids - -o logits.npy\n"
                "quern logits -m DIR --ids ids.json -o logits.npy --chunk 7 -t 1\n",
    .specs = logits_specs,
};

static enum quern_yarn yarn_of(const char *word) {
    if (word && strcmp(word, "always") == 0)
        return QUERN_YARN_ALWAYS;
    return word && strcmp(word, "never") == 0 ? QUERN_YARN_NEVER : QUERN_YARN_AUTO;
}

/* The ids in chunks, each chunk's logits written before the next is computed. */
static enum quern_status write_logits(quern_session *session, const int32_t *ids, size_t n_ids,
                                      size_t chunk, size_t n_vocab, FILE *file, const char *path,
                                      struct quern_error *err) {
    if (chunk > n_ids)
        chunk = n_ids;
    float *logits = n_vocab > SIZE_MAX / sizeof *logits / chunk
                        ? NULL
                        : malloc(chunk * n_vocab * sizeof *logits);
    if (!logits)
        return error_nomem(err);
    enum quern_status status = npy_write_header(file, path, n_ids, n_vocab, err);
    for (size_t done = 0; done < n_ids && !status; done += chunk) {
        size_t n = n_ids - done < chunk ? n_ids - done : chunk;
        status = quern_session_feed_logits(session, ids + done, n, logits, err);
        if (!status)
            status = npy_write_rows(file, path, logits, n * n_vocab, err);
    }
    free(logits);
    return status;
}

/* Half a file is removed: a reader would take it for a result. */
static enum quern_status write_file(quern_session *session, const int32_t *ids, size_t n_ids,
                                    size_t chunk, size_t n_vocab, const char *path,
                                    struct quern_error *err) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return error_set(err, QUERN_ERR_IO, "%s: %s", path, strerror(errno));
    enum quern_status status = write_logits(session, ids, n_ids, chunk, n_vocab, file, path, err);
    errno = 0;
    if (fclose(file) && !status)
        status = error_set(err, QUERN_ERR_IO, "%s: %s", path, strerror(errno));
    if (status)
        remove(path);
    return status;
}

static enum quern_status run(quern_model *model, const struct logits_args *args, const int32_t *ids,
                             size_t n_ids, struct quern_error *err) {
    const size_t chunk = args->chunk > 0 ? (size_t)args->chunk : 64;
    const struct quern_session_options options = {
        .n_context = args->context > 0 ? (int32_t)args->context : (int32_t)n_ids,
        .prefill_chunk = (int32_t)chunk,
        .yarn = yarn_of(args->yarn),
        .kv_type = cli_kv_type(args->kv_type),
    };
    struct quern_model_info info;
    quern_model_get_info(model, &info);
    quern_session *session = NULL;
    enum quern_status status = quern_session_create(model, &options, &session, err);
    if (!status && n_ids > (size_t)quern_session_context(session))
        status = error_set(err, QUERN_ERR_CONTEXT, "%zu ids do not fit into a context of %d", n_ids,
                           (int)quern_session_context(session));
    if (!status)
        status = write_file(session, ids, n_ids, chunk, (size_t)info.n_vocab, args->output, err);
    quern_session_destroy(session);
    return status;
}

static int read_ids(const char *path, int32_t **ids, size_t *n_ids) {
    struct buffer text;
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    struct quern_error err = {0};
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    int code = cli_read_input(path, &text);
    if (code == CLI_GO_ON && ids_json_parse(buffer_str(&text), name, ids, n_ids, &err))
        code = cli_fail(&err);
    buffer_release(&text);
    if (code == CLI_GO_ON && (*n_ids == 0 || *n_ids > INT32_MAX))
        code = cli_error("%s: holds %zu ids, expected 1 to %d", name, *n_ids, INT32_MAX);
    return code;
}

int cmd_logits(int argc, char **argv) {
    struct logits_args args = {0};
    int code = cli_parse(&logits_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.ids || !args.output)
        return cli_usage_error(&logits_command, "%s is missing",
                               args.ids ? "-o FILE" : "--ids FILE");
    int32_t *ids = NULL;
    size_t n_ids = 0;
    quern_model *model = NULL;
    code = read_ids(args.ids, &ids, &n_ids);
    if (code == CLI_GO_ON)
        code = cli_open_model(&args.model, CLI_WEIGHTS_ONLY, &model);
    if (code == CLI_GO_ON) {
        struct quern_error err = {0};
        code = run(model, &args, ids, n_ids, &err) ? cli_fail(&err) : CLI_OK;
    }
    quern_model_close(model);
    free(ids);
    return code;
}
