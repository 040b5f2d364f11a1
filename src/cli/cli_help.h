/* cli_help.h - --help and the manual page, from the commands' own tables. */
#ifndef QUERN_CLI_CLI_HELP_H
#define QUERN_CLI_CLI_HELP_H

#include "cli/cli_common.h"

/* Prints c's help in the format set; CLI_OK. */
int cli_print_help(const struct cli_command *c);

struct cli_entry {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* after the name in "quern help" */
};

/* `entries` ends with a NULL name. */
void cli_print_overview(FILE *stream, const struct cli_entry *entries);
/* The whole manual page quern.1. */
int cli_print_man(const struct cli_entry *entries);

#endif
