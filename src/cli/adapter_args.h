/* adapter_args.h - adapters on the command line: DIR or DIR:SCALE. */
#ifndef QUERN_CLI_ADAPTER_ARGS_H
#define QUERN_CLI_ADAPTER_ARGS_H

#include "base/options.h"
#include "quern.h"

struct cli_adapter_list {
    struct quern_adapter_source *sources; /* [n] NULL when there are none */
    size_t n;
};

enum quern_status cli_adapters_parse(const struct option_list *words, struct cli_adapter_list *out,
                                     struct quern_error *err);
void cli_adapters_release(struct cli_adapter_list *list);

#endif
