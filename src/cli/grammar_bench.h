/* grammar_bench.h - quern grammar bench. */
#ifndef QUERN_CLI_GRAMMAR_BENCH_H
#define QUERN_CLI_GRAMMAR_BENCH_H

#include "cli/grammar_source.h"

struct grammar_bench_args {
    struct grammar_source_args schema;
    const char *tokenizer, *maskbench, *json;
    bool cpu_time, verify;
};

int grammar_bench(const struct grammar_bench_args *args);
/* Walks the tokens of a text that the grammar accepts: CLI_FAILED, with a message, when one is not
 * in its mask. Destroys the grammar, which may not outlive the tokenizer it was walked with. */
int grammar_check_tokens(struct grammar **grammar, const char *tokenizer_dir, struct str text);

#endif
