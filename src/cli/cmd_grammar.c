/* cmd_grammar.c - quern grammar check, bench and sample. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/grammar_bench.h"
#include "cli/grammar_sample.h"
#include "cli/grammar_source.h"
#include "grammar/matcher.h"

/* ---- check ------------------------------------------------------------------ */

struct check_args {
    struct grammar_source_args source;
    const char *tokenizer, *text;
};

static const struct option_spec check_specs[] = {
    GRAMMAR_SOURCE_OPTIONS(struct check_args, source),
    OPT_STRING(0, "text", "FILE", struct check_args, text,
               "the text to check (default: standard input)"),
    OPT_STRING(0, "tokenizer", "DIR", struct check_args, tokenizer,
               "also walk the text's tokens and check that each is in its mask"),
    OPT_END,
};

static const struct cli_command check_command = {
    "grammar check",
    "FORM [options] [--text FILE]",
    "Tells whether a text is within a grammar. Exit code 0: it is; 1: it is not, and standard "
    "error "
    "names the byte and what was expected there; 2: something else went wrong.",
    "quern grammar check --schema person.json --text answer.json\n"
    "echo -n 2024-05-01 | quern grammar check --regex '\\d{4}-\\d\\d-\\d\\d'\n",
    check_specs,
};

/* A newline at the end of a file is the editor's, unless the grammar wants it. */
static int check_bytes(struct grammar *g, struct str text) {
    struct quern_error err = {0};
    struct matcher m;
    size_t n = 0;
    char expected[200];
    if (matcher_init(&m, g, NULL, NULL, 0, &err) != QUERN_OK)
        return cli_fail(&err), CLI_USAGE;
    enum quern_status st = matcher_accept_bytes(&m, text, &n, &err);
    if (st == QUERN_OK && matcher_can_end(&m))
        return CLI_OK;
    if (st != QUERN_OK && st != QUERN_ERR_FORMAT)
        return cli_fail(&err), CLI_USAGE;
    struct str accepted = {text.ptr, n};
    if (n > 0 && st != QUERN_OK)
        matcher_accept_bytes(&m, accepted, NULL, &err);
    if (st != QUERN_OK && n + 1 == text.len && text.ptr[n] == '\n' && matcher_can_end(&m))
        return CLI_OK;
    matcher_expected(&m, expected, sizeof expected);
    return cli_error("rejected at byte %zu%s; expected %s", n,
                     n == text.len ? ", where the text ends" : "", expected);
}

static int check(int argc, char **argv) {
    struct check_args args = {0};
    int code = cli_parse(&check_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    struct grammar *g = NULL;
    struct buffer text;
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    code = grammar_source_compile(&check_command, &args.source, &g);
    if (code == CLI_GO_ON && cli_read_input(args.text, &text) != CLI_GO_ON)
        code = CLI_USAGE;
    if (code == CLI_GO_ON)
        code = check_bytes(g, buffer_str(&text));
    if (code == CLI_OK && args.tokenizer)
        code = grammar_check_tokens(&g, args.tokenizer, buffer_str(&text));
    grammar_destroy(g);
    buffer_release(&text);
    return code;
}

/* ---- bench ------------------------------------------------------------------ */

static const struct option_spec bench_specs[] = {
    OPT_STRING(0, "tokenizer", "DIR", struct grammar_bench_args, tokenizer,
               "directory with a tokenizer.json"),
    OPT_STRING(
        0, "maskbench", "DIR", struct grammar_bench_args, maskbench,
        "directory of MaskBench's files: {\"schema\": ..., \"tests\": [{\"valid\", \"data\"}]}"),
    OPT_STRING(0, "json", "FILE", struct grammar_bench_args, json,
               "write the figures of every schema here, each mask's time among them"),
    OPT_FLAG(0, "cpu-time", struct grammar_bench_args, cpu_time,
             "times are what the thread computed: for a machine with other work"),
    OPT_FLAG(0, "verify", struct grammar_bench_args, verify,
             "compare every mask with one made without caches, token by token (slow)"),
    GRAMMAR_SCHEMA_OPTIONS(struct grammar_bench_args, schema),
    OPT_END,
};

static const struct cli_command bench_command = {
    "grammar bench",
    "--tokenizer DIR --maskbench DIR [--json FILE]",
    "The MaskBench protocol: every schema is compiled, its instances are tokenized and walked "
    "token "
    "by token with a mask before each. Prints the times of masks, the time to the first mask, "
    "compiling included, and how many schemas accept what is valid and reject what is not. One "
    "thread.",
    "quern grammar bench --tokenizer models/Qwen3-8B --maskbench maskbench/files --json out.json\n",
    bench_specs,
};

static int bench(int argc, char **argv) {
    struct grammar_bench_args args = {0};
    int code = cli_parse(&bench_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.tokenizer || !args.maskbench)
        return cli_usage_error(&bench_command, "--tokenizer and --maskbench are needed");
    args.schema.any_order = true; /* the instances are */
    return cli_finish_output(grammar_bench(&args));
}

/* ---- sample ----------------------------------------------------------------- */

static const struct option_spec sample_specs[] = {
    GRAMMAR_SOURCE_OPTIONS(struct grammar_sample_args, source),
    OPT_STRING(0, "tokenizer", "DIR", struct grammar_sample_args, tokenizer,
               "directory with a tokenizer.json, whose tokens are drawn"),
    OPT_STRING('m', "model", "DIR", struct grammar_sample_args, model,
               "a model that makes the texts, instead of chance"),
    OPT_STRING('p', "prompt", "TEXT", struct grammar_sample_args, prompt,
               "what the model continues, without a chat template"),
    OPT_INT('n', "count", "N", struct grammar_sample_args, n, 1, 1000000, "texts (default: 1)"),
    OPT_INT('s', "seed", "N", struct grammar_sample_args, seed, 0, (int64_t)1 << 52,
            "of the random numbers (default: 0)"),
    OPT_INT(0, "max-tokens", "N", struct grammar_sample_args, max_tokens, 1, 100000,
            "from here on take the shortest way to the end (default: 60)"),
    OPT_FLOAT('t', "temperature", "T", struct grammar_sample_args, temperature, 0, 100,
              "of the model (default: 1)"),
    OPT_FLAG('0', "null", struct grammar_sample_args, null_separated,
             "a zero byte after each text instead of a line break"),
    OPT_END,
};

static const struct cli_command sample_command = {
    "grammar sample",
    "FORM (--tokenizer DIR|-m DIR) [options]",
    "Random texts of a grammar: tokens are drawn from those that may follow, all alike or, every "
    "second time, those of one byte only; or by a model.",
    "quern grammar sample --schema person.json --tokenizer models/quern-demo -n 5\n",
    sample_specs,
};

static int sample(int argc, char **argv) {
    struct grammar_sample_args args = {
        .source = {.usual = true}, .n = 1, .max_tokens = 60, .temperature = 1};
    int code = cli_parse(&sample_command, argc, argv, &args, NULL);
    return code == CLI_GO_ON ? cli_finish_output(grammar_sample(&sample_command, &args)) : code;
}

/* ---- the command ------------------------------------------------------------ */

static const struct option_spec no_specs[] = {OPT_END};

static const struct cli_command grammar_command = {
    "grammar",
    "check|bench|sample [options]",
    "Grammars outside of a model: `check` tells whether a text is within one, `bench` measures "
    "masks, `sample` makes texts of one. `quern grammar check --help` and so on tell more.",
    "quern grammar check --schema person.json --text answer.json\n",
    no_specs,
};

int cmd_grammar(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "check") == 0)
        return check(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "bench") == 0)
        return bench(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "sample") == 0)
        return sample(argc - 1, argv + 1);
    int n_words = 0, ignored = 0;
    int code = cli_parse(&grammar_command, argc, argv, &ignored, &n_words);
    if (code != CLI_GO_ON)
        return code;
    if (n_words > 0)
        return cli_usage_error(&grammar_command, "\"%s\" is none of check, bench and sample",
                               argv[1]);
    return cli_usage_error(&grammar_command, "say check, bench or sample");
}
