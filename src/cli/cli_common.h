/* cli_common.h - what the subcommands share: help, errors, option fragments, opening
 * a model, reading input, colours.
 *
 * A subcommand:
 *     struct x_args { struct cli_model_args model; bool raw; };
 *     static const struct option_spec x_specs[] = {
 *         CLI_MODEL_OPTIONS(struct x_args, model),
 *         OPT_FLAG(0, "raw", struct x_args, raw, "no chat template"),
 *         OPT_END};
 *     static const struct cli_command x_command = {"x", "[-m DIR] [options]", "...", "...",
 * x_specs}; int cmd_x(int argc, char **argv) { struct x_args args = {0}; int code =
 * cli_parse(&x_command, argc, argv, &args, NULL); if (code != CLI_GO_ON) return code; quern_model
 * *model = NULL; code = cli_open_model(&args.model, CLI_WHOLE_MODEL, &model);
 *         ...
 */
#ifndef QUERN_CLI_CLI_COMMON_H
#define QUERN_CLI_CLI_COMMON_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/options.h"
#include "quern.h"

enum cli_exit {
    CLI_GO_ON = -1, /* no exit code yet */
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2, /* the command line itself is wrong */
};

struct cli_command {
    const char *name;        /* "run" */
    const char *synopsis;    /* what follows "quern run" */
    const char *description; /* one paragraph, or several with an empty line between */
    const char *examples;    /* lines as one would type them, each ended by \n */
    const struct option_spec *specs;
};

/* Parses argv into args. CLI_GO_ON, or the code to exit with: CLI_OK after --help, CLI_USAGE
 * after an error, which was printed. With n_words NULL, words that are no option are an error;
 * else they stand in argv[1..*n_words]. */
int cli_parse(const struct cli_command *c, int argc, char **argv, void *args, int *n_words);

/* How --help is written. */
enum cli_help_format { CLI_HELP_TEXT, CLI_HELP_MAN };
void cli_set_help_format(enum cli_help_format format);

/* "quern: ..." to stderr; CLI_FAILED. */
int cli_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
int cli_fail(const struct quern_error *err);
/* "quern run: ..." and a pointer to --help; CLI_USAGE. */
int cli_usage_error(const struct cli_command *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- models ---------------------------------------------------------------- */

struct cli_model_args {
    const char *dir;   /* NULL: $QUERN_MODEL, else models/quern-demo */
    int64_t n_threads; /* 0: all cores */
    const char *cpu, *pin, *weights, *embed_weights, *math;
    struct option_list adapters;
    bool cache;
};

#define CLI_CPU_CHOICES "auto|generic|avx2|avx512|avx512vnni|avx512bf16|avx512amx|avx512amxbf16|neon|neondot|neonmmla"
#define CLI_MODEL_DIR_OPTION(type, field)            \
    OPT_STRING('m', "model", "DIR", type, field.dir, \
               "model directory or .gguf file (default: $QUERN_MODEL, else models/quern-demo)")
#define CLI_MODEL_OPTIONS(type, field)                                    \
    CLI_MODEL_DIR_OPTION(type, field),                                    \
        OPT_INT('t', "threads", "N", type, field.n_threads, 0, 1024,      \
                "threads to compute with (default: one per core)"),       \
        OPT_CHOICE(0, "cpu", CLI_CPU_CHOICES, type, field.cpu, \
                   "instruction set to use (default: the best there is)"), \
        CLI_PIN_OPTION(type, field.pin),                                   \
        CLI_WEIGHTS_OPTIONS(type, field),                                  \
        OPT_LIST(0, "adapter", CLI_ADAPTER_META, type, field.adapters, CLI_ADAPTER_HELP)
#define CLI_ADAPTER_META "DIR[:SCALE]"
#define CLI_ADAPTER_HELP                                                   \
    "add this LoRA adapter (a directory of peft's) to the model; may be given several times"
#define CLI_PIN_OPTION(type, field)                        \
    OPT_CHOICE(0, "pin", "auto|on|off", type, field,       \
               "keep each thread on a core of its own (default: with several memories)")
/* How weights are held and computed with; `field` has the words of struct cli_model_args. */
#define CLI_WEIGHTS_WORDS "auto|bf16|f32|int8|int4|nf4|fp8"
#define CLI_WEIGHTS_OPTIONS(type, field)                                                       \
    OPT_CHOICE(0, "weights", CLI_WEIGHTS_WORDS, type, field.weights,                           \
               "hold matrices in this form (default: auto, as the checkpoint has them)"),      \
        OPT_CHOICE(0, "embed-weights", CLI_WEIGHTS_WORDS, type, field.embed_weights,           \
                   "the same for the embedding and the head (default: int8 where --weights "   \
                   "has 4 or 8 bits, else as --weights)"),                                     \
        OPT_CHOICE(0, "math", "auto|exact|fast", type, field.math,                             \
                   "exact: activations in float32; fast: rounded to int8 or bfloat16 for "     \
                   "quantized weights (default: fast where --weights has 4 or 8 bits)"),        \
        OPT_FLAG(0, "cache", type, field.cache,                                                \
                 "keep the matrices that loading makes in $XDG_CACHE_HOME/quern (default: "    \
                 "~/.cache/quern), to map them at later starts")
#define CLI_CONTEXT_OPTION(type, field)                     \
    OPT_INT('c', "context", "N", type, field, 1, INT32_MAX, \
            "most tokens held at once (default: the model's maximum, at most 4096)")

#define CLI_KV_OPTION(type, field)                                                        \
    OPT_CHOICE(0, "kv-type", "auto|f32|bf16|int8", type, field,                           \
               "how keys and values are kept (default: auto, which is f32)")

/* The words of CLI_WEIGHTS_OPTIONS, which the parser has checked; NULL: auto. */
enum quern_weights cli_weights(const char *word);
enum quern_math cli_math(const char *word);
enum quern_kv_type cli_kv_type(const char *word); /* of CLI_KV_OPTION */

/* The directory to use, never NULL. */
const char *cli_model_dir(const struct cli_model_args *args);

/* The directory of --cache, or NULL when it was not given. Lives as long as the program. */
const char *cli_cache_dir(bool wanted);

/* `pin`: a word of the option, or NULL. */
void cli_set_pinning(const char *pin);

/* What of a model directory a command needs. */
enum cli_model_parts { CLI_WHOLE_MODEL = 0, CLI_TOKENIZER_ONLY = 1, CLI_WEIGHTS_ONLY = 2 };

/* Opens the model, with a progress bar on a terminal. CLI_GO_ON, or the exit code after an
 * error, which was printed. */
int cli_open_model(const struct cli_model_args *args, enum cli_model_parts parts,
                   quern_model **out);

/* ---- terminal -------------------------------------------------------------- */

/* True when `stream` is a terminal and colours are wanted: NO_COLOR is unset or empty and TERM
 * is not "dumb". */
bool cli_has_colour(FILE *stream);

/* A line on stderr such as "Loading [#####     ] 52 %"; only on a terminal, only after a moment. */
struct cli_progress {
    const char *label;
    uint64_t started_ns;
    int percent; /* last drawn; -1: nothing is on the screen */
};
void cli_progress_start(struct cli_progress *p, const char *label);
void cli_progress_update(void *progress, double fraction); /* fits on_progress */
void cli_progress_finish(struct cli_progress *p);          /* clears the line */

/* ---- input and output ------------------------------------------------------ */

enum { CLI_INPUT_MAX_BYTES = 1 << 30 };

/* The whole file, or standard input when `path` is NULL or "-". CLI_GO_ON, or the exit code
 * after an error, which was printed. */
int cli_read_input(const char *path, struct buffer *out);

/* Writes and flushes. False when it failed; the first failure is printed (but for a reader that
 * went away, which is no news). */
bool cli_write(const void *bytes, size_t n);

/* Flushes stdout; CLI_FAILED instead of `code` when something could not be written. */
int cli_finish_output(int code);

#endif
