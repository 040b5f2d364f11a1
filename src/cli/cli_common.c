#include "cli/cli_common.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "base/threads.h"
#include "cli/adapter_args.h"
#include "cli/cli_help.h"

/* ---- errors ------------------------------------------------------------------ */

static void print_message(const char *who, const char *fmt, va_list args) {
    fflush(stdout);
    bool colour = cli_has_colour(stderr);
    fprintf(stderr, "%squern%s%s:%s ", colour ? "\033[1;31m" : "", who ? " " : "", who ? who : "",
            colour ? "\033[0m" : "");
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int cli_error(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_message(NULL, fmt, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_fail(const struct quern_error *err) {
    return cli_error("%s", err->message);
}

int cli_usage_error(const struct cli_command *c, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_message(c->name, fmt, args);
    va_end(args);
    fprintf(stderr, "Try 'quern %s --help'.\n", c->name);
    return CLI_USAGE;
}

int cli_parse(const struct cli_command *c, int argc, char **argv, void *args, int *n_words) {
    struct quern_error err = {0};
    bool help = false;
    int words = 0;
    if (options_parse(c->specs, argc, argv, args, &words, &help, &err))
        return cli_usage_error(c, "%s", err.message);
    if (help)
        return cli_print_help(c);
    if (!n_words && words > 0)
        return cli_usage_error(c, "unexpected argument \"%s\"%s", argv[1],
                               os_is_dir(argv[1]) ? "; a model is named with -m" : "");
    if (n_words)
        *n_words = words;
    return CLI_GO_ON;
}

/* ---- models ------------------------------------------------------------------ */

#define DEFAULT_MODEL_DIR "models/quern-demo"

const char *cli_model_dir(const struct cli_model_args *args) {
    if (args->dir)
        return args->dir;
    const char *from_environment = getenv("QUERN_MODEL");
    return from_environment && *from_environment ? from_environment : DEFAULT_MODEL_DIR;
}

const char *cli_cache_dir(bool wanted) {
    static char dir[4096];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (!wanted)
        return NULL;
    if (cache && *cache == '/')
        n = snprintf(dir, sizeof dir, "%s/quern", cache);
    else if (home && *home == '/')
        n = snprintf(dir, sizeof dir, "%s/.cache/quern", home);
    if (n > 0 && (size_t)n < sizeof dir)
        return dir;
    fprintf(stderr, "quern: --cache: neither XDG_CACHE_HOME nor HOME names a directory\n");
    return NULL;
}

void cli_set_pinning(const char *pin) {
    if (pin && strcmp(pin, "auto") != 0)
        thread_pool_set_pinning(strcmp(pin, "on") == 0 ? THREADS_PINNED : THREADS_FREE);
}

static int index_of(const char *word, const char *const *words, int n) {
    for (int i = 0; word && i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return 0;
}

enum quern_weights cli_weights(const char *word) {
    static const char *const words[] = {"auto", "bf16", "f32", "int8", "int4", "nf4", "fp8"};
    return (enum quern_weights)index_of(word, words, sizeof words / sizeof *words);
}

enum quern_math cli_math(const char *word) {
    static const char *const words[] = {"auto", "exact", "fast"};
    return (enum quern_math)index_of(word, words, sizeof words / sizeof *words);
}

enum quern_kv_type cli_kv_type(const char *word) {
    static const char *const words[] = {"auto", "f32", "bf16", "int8"};
    return (enum quern_kv_type)index_of(word, words, sizeof words / sizeof *words);
}

static enum quern_status open_model(const char *dir, const struct cli_model_args *args,
                                    enum cli_model_parts parts,
                                    const struct cli_adapter_list *adapters, quern_model **out,
                                    struct quern_error *err) {
    struct cli_progress progress;
    cli_progress_start(&progress, "Loading");
    const struct quern_model_options options = {
        .n_threads = (int)args->n_threads,
        .cpu = args->cpu,
        .tokenizer_only = parts == CLI_TOKENIZER_ONLY,
        .weights_only = parts == CLI_WEIGHTS_ONLY,
        .weights = cli_weights(args->weights),
        .embed_weights = cli_weights(args->embed_weights),
        .math = cli_math(args->math),
        .adapters = adapters->sources,
        .n_adapters = adapters->n,
        .cache_dir = cli_cache_dir(args->cache),
        .on_progress = cli_progress_update,
        .user = &progress,
    };
    enum quern_status status = quern_model_open(dir, &options, out, err);
    cli_progress_finish(&progress);
    return status;
}

int cli_open_model(const struct cli_model_args *args, enum cli_model_parts parts,
                   quern_model **out) {
    const char *dir = cli_model_dir(args);
    if (!args->dir && strcmp(dir, DEFAULT_MODEL_DIR) == 0 && !os_is_dir(dir))
        return cli_error("no model: give one with -m DIR or in QUERN_MODEL (the default, %s, "
                         "is not here)",
                         DEFAULT_MODEL_DIR);
    struct cli_adapter_list adapters;
    struct quern_error err = {0};
    cli_set_pinning(args->pin);
    if (cli_adapters_parse(&args->adapters, &adapters, &err))
        return cli_fail(&err);
    enum quern_status status = open_model(dir, args, parts, &adapters, out, &err);
    cli_adapters_release(&adapters);
    return status ? cli_fail(&err) : CLI_GO_ON;
}

/* ---- terminal ---------------------------------------------------------------- */

bool cli_has_colour(FILE *stream) {
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0) &&
           os_is_tty(fileno(stream));
}

enum { PROGRESS_DELAY_NS = 300000000 }; /* what is done sooner needs no bar */

void cli_progress_start(struct cli_progress *p, const char *label) {
    *p = (struct cli_progress){.label = label, .started_ns = os_now_ns(), .percent = -1};
}

void cli_progress_update(void *progress, double fraction) {
    struct cli_progress *p = progress;
    if (!os_is_tty(STDERR_FILENO) || os_now_ns() - p->started_ns < PROGRESS_DELAY_NS)
        return;
    int percent = fraction <= 0 ? 0 : fraction >= 1 ? 100 : (int)(fraction * 100);
    if (percent == p->percent)
        return;
    p->percent = percent;
    int width = os_terminal_columns(STDERR_FILENO) - (int)strlen(p->label) - 10;
    width = width < 5 ? 5 : width > 40 ? 40 : width;
    fprintf(stderr, "\r%s [", p->label);
    for (int i = 0; i < width; i++)
        fputc(i * 100 < percent * width ? '#' : ' ', stderr);
    fprintf(stderr, "] %3d %%", percent);
    fflush(stderr);
}

void cli_progress_finish(struct cli_progress *p) {
    if (p->percent < 0)
        return;
    fprintf(stderr, "\r%*s\r", os_terminal_columns(STDERR_FILENO) - 1, "");
    p->percent = -1;
}

/* ---- input and output -------------------------------------------------------- */

int cli_read_input(const char *path, struct buffer *out) {
    struct quern_error err = {0};
    enum quern_status status;
    if (path && strcmp(path, "-") != 0)
        status = os_read_file(path, CLI_INPUT_MAX_BYTES, out, &err);
    else
        status = os_read_fd(STDIN_FILENO, "standard input", CLI_INPUT_MAX_BYTES, out, &err);
    return status ? cli_fail(&err) : CLI_GO_ON;
}

static bool output_failed;

static void note_output_failure(void) {
    if (!output_failed && errno != EPIPE)
        cli_error("standard output: %s", strerror(errno));
    output_failed = true;
}

bool cli_write(const void *bytes, size_t n) {
    if (output_failed)
        return false;
    errno = 0;
    if (fwrite(bytes, 1, n, stdout) != n || fflush(stdout))
        note_output_failure();
    return !output_failed;
}

int cli_finish_output(int code) {
    errno = 0;
    if (!output_failed && (fflush(stdout) || ferror(stdout)))
        note_output_failure();
    return output_failed && code == CLI_OK ? CLI_FAILED : code;
}
