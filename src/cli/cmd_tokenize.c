/* cmd_tokenize.c - quern tokenize and its reverse, quern detokenize. */
#include <stdlib.h>

#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/ids_json.h"

struct tokenize_args {
    struct cli_model_args model;
    bool no_special, add_special;
};

static const struct option_spec tokenize_specs[] = {
    CLI_MODEL_DIR_OPTION(struct tokenize_args, model),
    OPT_FLAG(0, "no-special", struct tokenize_args, no_special,
             "treat spellings of special tokens such as <|im_end|> as ordinary text"),
    OPT_FLAG(0, "add-special", struct tokenize_args, add_special,
             "add the tokens the tokenizer adds around a text (Llama's BOS; Qwen has none)"),
    OPT_END,
};

static const struct cli_command tokenize_command = {
    "tokenize",
    "[-m DIR] [options] < TEXT",
    "Reads text from standard input and writes its token ids as one JSON array. Only "
    "tokenizer.json is read. Every byte counts, also a newline at the end.",
    "printf 'Hello, world' | quern tokenize -m models/Qwen3-0.6B\n"
    "quern tokenize -m models/Qwen3-0.6B < book.txt > ids.json\n",
    tokenize_specs,
};

static int tokenize(const quern_model *model, const struct tokenize_args *args,
                    const struct buffer *text) {
    struct quern_error err = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct buffer out;
    buffer_init(&out, SIZE_MAX / 4);
    enum quern_status status = quern_tokenize(model, text->data, text->len, args->add_special,
                                              !args->no_special, &ids, &n_ids, &err);
    if (!status && ids_json_write(ids, n_ids, &out))
        status = buffer_status(&out, "the list of ids", &err);
    if (!status)
        cli_write(out.data, out.len);
    buffer_release(&out);
    quern_free(ids);
    return status ? cli_fail(&err) : CLI_OK;
}

int cmd_tokenize(int argc, char **argv) {
    struct tokenize_args args = {0};
    int code = cli_parse(&tokenize_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    quern_model *model = NULL;
    struct buffer text;
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    code = cli_open_model(&args.model, true, &model);
    if (code == CLI_GO_ON)
        code = cli_read_input(NULL, &text);
    if (code == CLI_GO_ON)
        code = tokenize(model, &args, &text);
    buffer_release(&text);
    quern_model_close(model);
    return code;
}

struct detokenize_args {
    struct cli_model_args model;
    bool skip_special;
};

static const struct option_spec detokenize_specs[] = {
    CLI_MODEL_DIR_OPTION(struct detokenize_args, model),
    OPT_FLAG(0, "skip-special", struct detokenize_args, skip_special,
             "leave out special tokens such as <|im_end|>"),
    OPT_END,
};

static const struct cli_command detokenize_command = {
    "detokenize",
    "[-m DIR] [--skip-special] < IDS",
    "Reads a JSON array of token ids from standard input and writes the text they stand for. "
    "Bytes that make no UTF-8 character become U+FFFD. Only tokenizer.json is read.",
    "echo '[9707, 11, 1879]' | quern detokenize -m models/Qwen3-0.6B\n"
    "quern tokenize < in.txt | quern detokenize > out.txt\n",
    detokenize_specs,
};

static int detokenize(const quern_model *model, bool skip_special, const struct buffer *json) {
    struct quern_error err = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0, len = 0;
    char *text = NULL;
    enum quern_status status =
        ids_json_parse(buffer_str(json), "standard input", &ids, &n_ids, &err);
    if (!status)
        status = quern_detokenize(model, ids, n_ids, skip_special, &text, &len, &err);
    if (!status)
        cli_write(text, len);
    quern_free(text);
    free(ids);
    return status ? cli_fail(&err) : CLI_OK;
}

int cmd_detokenize(int argc, char **argv) {
    struct detokenize_args args = {0};
    int code = cli_parse(&detokenize_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    quern_model *model = NULL;
    struct buffer json;
    buffer_init(&json, CLI_INPUT_MAX_BYTES);
    code = cli_open_model(&args.model, true, &model);
    if (code == CLI_GO_ON)
        code = cli_read_input(NULL, &json);
    if (code == CLI_GO_ON)
        code = detokenize(model, args.skip_special, &json);
    buffer_release(&json);
    quern_model_close(model);
    return code;
}
