/* options.h - declarative option tables: one table feeds the parser, --help, the
 * manual page and the documentation.
 *
 *     struct run_args { const char *model; int64_t n; bool raw; };
 *     static const struct option_spec specs[] = {
 *         OPT_STRING('m', "model", "DIR", struct run_args, model, "model directory"),
 *         OPT_INT('n', "max-tokens", "N", struct run_args, n, 0, INT32_MAX, "most tokens to make"),
 *         OPT_FLAG(0, "raw", struct run_args, raw, "no chat template"),
 *         OPT_END};
 */
#ifndef QUERN_BASE_OPTIONS_H
#define QUERN_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum option_kind {
    OPTION_END,
    OPTION_FLAG,   /* bool */
    OPTION_STRING, /* const char *, borrowed from argv */
    OPTION_LIST,   /* struct option_list: may be given several times */
    OPTION_INT,    /* int64_t */
    OPTION_FLOAT,  /* double */
    OPTION_CHOICE, /* const char *, one of the words in `choices` */
};

enum { OPTION_LIST_MAX = 16 };

struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t n;
};

struct option_spec {
    enum option_kind kind;
    char short_name;       /* 0: none */
    const char *name;      /* without the dashes */
    const char *metavar;   /* "N" in "--threads N"; NULL for flags */
    size_t offset;         /* of the field in the caller's struct */
    double min, max;       /* for numbers, inclusive */
    const char *choices;   /* "auto|generic|avx2" */
    const char *help;      /* one sentence, no capital, no full stop */
};

#define OPT_FLAG(s, n, type, field, h) \
    {OPTION_FLAG, s, n, NULL, offsetof(type, field), 0, 0, NULL, h}
#define OPT_STRING(s, n, meta, type, field, h) \
    {OPTION_STRING, s, n, meta, offsetof(type, field), 0, 0, NULL, h}
#define OPT_LIST(s, n, meta, type, field, h) \
    {OPTION_LIST, s, n, meta, offsetof(type, field), 0, 0, NULL, h}
#define OPT_INT(s, n, meta, type, field, lo, hi, h) \
    {OPTION_INT, s, n, meta, offsetof(type, field), lo, hi, NULL, h}
#define OPT_FLOAT(s, n, meta, type, field, lo, hi, h) \
    {OPTION_FLOAT, s, n, meta, offsetof(type, field), lo, hi, NULL, h}
#define OPT_CHOICE(s, n, words, type, field, h) \
    {OPTION_CHOICE, s, n, words, offsetof(type, field), 0, 0, words, h}
#define OPT_END {OPTION_END, 0, NULL, NULL, 0, 0, 0, NULL, NULL}

/* Parses argv[1..]; accepts -x V, -xV, --name V, --name=V, bundled short flags, and
 * "--" to end options. Other words are moved to the front of argv[1..], *n_words of them.
 * *help is set when -h or --help was met (parsing stops there). Unknown options get
 * the nearest name in the message. */
enum quern_status options_parse(const struct option_spec *specs, int argc, char **argv, void *args,
                                int *n_words, bool *help, struct quern_error *err);

/* The "Options:" part of --help. */
void options_describe(const struct option_spec *specs, struct buffer *out);

#endif
