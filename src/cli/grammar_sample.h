/* grammar_sample.h - quern grammar sample: texts of a form, by chance or from a model. */
#ifndef QUERN_CLI_GRAMMAR_SAMPLE_H
#define QUERN_CLI_GRAMMAR_SAMPLE_H

#include "cli/grammar_source.h"

struct grammar_sample_args {
    struct grammar_source_args source;
    const char *tokenizer, *model, *prompt;
    int64_t n, seed, max_tokens;
    double temperature;
    bool null_separated;
};

/* The exit code. */
int grammar_sample(const struct cli_command *command, const struct grammar_sample_args *args);

#endif
