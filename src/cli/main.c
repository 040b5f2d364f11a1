#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/nearest.h"
#include "cli/cli_common.h"
#include "cli/cli_help.h"
#include "cli/commands.h"

static const struct cli_entry commands[] = {
    {"chat", cmd_chat, "talk with a model"},
    {"run", cmd_run, "answer one prompt, or continue a text"},
    {"batch", cmd_batch, "answer the requests of a file"},
    {"tokenize", cmd_tokenize, "text to token ids"},
    {"detokenize", cmd_detokenize, "token ids to text"},
    {"tokenizer", cmd_tokenizer, "learn a tokenizer from texts"},
    {"render", cmd_render, "messages to the text a model sees"},
    {"logits", cmd_logits, "the logits after every one of given ids, as a NumPy file"},
    {"eval", cmd_eval, "measure a model: perplexity of a text, divergence from another model"},
    {"inspect", cmd_inspect, "describe a model and what is wrong with it"},
    {"serve", cmd_serve, "answer requests over HTTP, as OpenAI's and Anthropic's servers do"},
    {"quantize", cmd_quantize, "write a model with weights of 8 or 4 bits, for other programs too"},
    {"merge", cmd_merge, "write a model with LoRA adapters merged into its weights"},
    {"export-adapter", cmd_export_adapter, "write a LoRA adapter as llama.cpp reads it"},
    {"init", cmd_init, "write a checkpoint with random weights"},
    {"train", cmd_train, "fine-tune a model, or train one from scratch"},
    {"bench", cmd_bench, "measure speed, and against what the machine allows"},
    {"grammar", cmd_grammar, "check a text against a grammar, measure masks"},
    {"bench serve", cmd_bench_serve, "measure a running server"},
    {NULL, NULL, NULL},
};

/* What may stand after "quern". */
static const char *first_word(const void *unused, size_t i) {
    static const char *const others[] = {"help", "--help", "--version"};
    enum { N_COMMANDS = sizeof commands / sizeof commands[0] - 1 };
    (void)unused;
    if (i < N_COMMANDS)
        return commands[i].name;
    i -= N_COMMANDS;
    return i < sizeof others / sizeof others[0] ? others[i] : NULL;
}

static const struct cli_entry *find_command(const char *name) {
    for (const struct cli_entry *e = commands; e->name; e++)
        if (strcmp(e->name, name) == 0)
            return e;
    return NULL;
}

static int unknown_command(const char *name) {
    const char *nearest = nearest_name(str_from(name), first_word, NULL);
    if (nearest)
        cli_error("\"%s\" is no command; did you mean \"%s\"?", name, nearest);
    else
        cli_error("\"%s\" is no command", name);
    fprintf(stderr, "Try 'quern help'.\n");
    return CLI_USAGE;
}

static int help(int argc, char **argv) {
    if (argc < 2) {
        cli_print_overview(stdout, commands);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--man") == 0)
        return cli_print_man(commands);
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    const struct cli_entry *e = find_command(argv[1]);
    if (!e)
        return unknown_command(argv[1]);
    char option[] = "--help";
    char *args[] = {argv[1], option, NULL};
    return e->run(2, args);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        cli_print_overview(stderr, commands);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        printf("quern %s\n", quern_version());
        return CLI_OK;
    }
    const struct cli_entry *e = find_command(word);
    return e ? e->run(argc - 1, argv + 1) : unknown_command(word);
}

/* A descriptor the caller closed would be given to the next file opened, and talk to
 * stderr would land in it. Opened the wrong way round, so that using it still fails. */
static void fill_standard_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1)
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv) {
    fill_standard_descriptors();
    return cli_finish_output(dispatch(argc, argv));
}
