/* sampling_args.h - the sampling parameters as command-line options and as names for /set
 * in a chat: one list feeds both. */
#ifndef QUERN_CLI_SAMPLING_ARGS_H
#define QUERN_CLI_SAMPLING_ARGS_H

#include "base/options.h"
#include "quern.h"

/* FLOAT and INT are macros of (type, member, option, field, min, max, help); `field` is both in
 * struct quern_sampling and in struct cli_sampling_args. */
#define CLI_SAMPLING_PARAMS(FLOAT, INT, type, member)                                           \
    FLOAT(type, member, "temp", temperature, 0, 100, "randomness; 0 takes the likeliest token") \
    INT(type, member, "top-k", top_k, 0, INT32_MAX, "draw from the K likeliest tokens; 0: all") \
    FLOAT(type, member, "top-p", top_p, 0, 1,                                                   \
          "draw from the likeliest tokens that together reach this probability; 1: all")        \
    FLOAT(type, member, "min-p", min_p, 0, 1,                                                   \
          "drop tokens less likely than this share of the likeliest; 0: none")                  \
    FLOAT(type, member, "typical-p", typical_p, 0, 1, "locally typical sampling; 1: off")       \
    FLOAT(type, member, "repetition-penalty", repetition_penalty, 0.01, 100,                    \
          "divides the logits of tokens seen before; 1: off")                                   \
    FLOAT(type, member, "presence-penalty", presence_penalty, -100, 100,                        \
          "lowers the logits of tokens generated before; 0: off")                               \
    FLOAT(type, member, "frequency-penalty", frequency_penalty, -100, 100,                      \
          "lowers logits by how often a token was generated; 0: off")                           \
    INT(type, member, "penalty-window", penalty_window, 0, INT32_MAX,                           \
        "last tokens the repetition penalty looks at; 0: all")                                  \
    FLOAT(type, member, "dry-multiplier", dry_multiplier, 0, 100,                               \
          "strength of DRY, which penalizes repeated sequences; 0: off")                        \
    FLOAT(type, member, "dry-base", dry_base, 1, 100, "growth of DRY with the repeated length") \
    INT(type, member, "dry-allowed-length", dry_allowed_length, 0, INT32_MAX,                   \
        "longest repetition DRY leaves alone")                                                  \
    INT(type, member, "dry-window", dry_window, 0, INT32_MAX, "last tokens DRY looks at; 0: all") \
    FLOAT(type, member, "top-n-sigma", top_n_sigma, -1, 1000,                                   \
          "drop logits so many standard deviations below the best; 0: none")                    \
    FLOAT(type, member, "xtc-probability", xtc_probability, 0, 1,                               \
          "chance that a token is drawn without the likeliest ones (XTC); 0: off")              \
    FLOAT(type, member, "xtc-threshold", xtc_threshold, 0, 1,                                   \
          "which these are: all at least so likely, but for the last")

#define CLI_SAMPLING_FLOAT_FIELD(type, member, option, field, lo, hi, help) double field;
#define CLI_SAMPLING_INT_FIELD(type, member, option, field, lo, hi, help) int64_t field;

enum { CLI_BIAS_MAX = OPTION_LIST_MAX };

/* What was given on the command line; NaN and INT64_MIN where nothing was. */
struct cli_sampling_args {
    CLI_SAMPLING_PARAMS(CLI_SAMPLING_FLOAT_FIELD, CLI_SAMPLING_INT_FIELD, , )
    int64_t seed;
    struct option_list logit_bias; /* "ID=BIAS" */
    struct quern_logit_bias biases[CLI_BIAS_MAX];
};

#define CLI_SAMPLING_FLOAT_OPTION(type, member, option, field, lo, hi, help) \
    OPT_FLOAT(0, option, "X", type, member.field, lo, hi, help),
#define CLI_SAMPLING_INT_OPTION(type, member, option, field, lo, hi, help) \
    OPT_INT(0, option, "N", type, member.field, lo, hi, help),

/* Without a comma after it. */
#define CLI_SAMPLING_OPTIONS(type, member)                                                \
    CLI_SAMPLING_PARAMS(CLI_SAMPLING_FLOAT_OPTION, CLI_SAMPLING_INT_OPTION, type, member) \
    OPT_INT(0, "seed", "N", type, member.seed, 0, (double)INT64_MAX,                      \
            "same seed, same text (default: another one each time)"),                     \
        OPT_LIST(0, "logit-bias", "ID=X", type, member.logit_bias,                        \
                 "add X to the logit of token ID; may be given several times")

void cli_sampling_args_init(struct cli_sampling_args *args);

/* The model's defaults overlaid with what was given; a random seed when none was. *out
 * borrows from args. */
enum quern_status cli_sampling_resolve(struct cli_sampling_args *args, const quern_model *model,
                                       struct quern_sampling *out, struct quern_error *err);

/* A parameter by name, for /set: "top_k" and "top-k", "temp" and "temperature" are the same. */
struct sampling_param {
    const char *option; /* "top-k" */
    const char *name;   /* "top_k" */
    size_t offset;      /* in struct quern_sampling */
    bool is_float;
    double min, max;
    const char *help;
};

/* NULL after the last. */
const struct sampling_param *sampling_param_at(size_t i);
const struct sampling_param *sampling_param_find(const char *name);
/* Sets it from text; the message names it and its range. */
enum quern_status sampling_param_set(const struct sampling_param *p, struct quern_sampling *s,
                                     const char *text, struct quern_error *err);
void sampling_param_format(const struct sampling_param *p, const struct quern_sampling *s,
                           char *text, size_t size);

#endif
