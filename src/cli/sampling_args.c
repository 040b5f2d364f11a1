#include "cli/sampling_args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"
#include "base/os.h"

#define FLOAT_PARAM(type, member, option, field, lo, hi, help) \
    {option, #field, offsetof(struct quern_sampling, field), true, lo, hi, help},
#define INT_PARAM(type, member, option, field, lo, hi, help) \
    {option, #field, offsetof(struct quern_sampling, field), false, lo, hi, help},

static const struct sampling_param params[] = {CLI_SAMPLING_PARAMS(FLOAT_PARAM, INT_PARAM, , )};

enum { N_PARAMS = sizeof params / sizeof params[0] };

const struct sampling_param *sampling_param_at(size_t i) {
    return i < N_PARAMS ? &params[i] : NULL;
}

static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
            return false;
    return *a == *b;
}

const struct sampling_param *sampling_param_find(const char *name) {
    for (size_t i = 0; i < N_PARAMS; i++)
        if (same_name(name, params[i].name) || same_name(name, params[i].option))
            return &params[i];
    return NULL;
}

enum quern_status sampling_param_set(const struct sampling_param *p, struct quern_sampling *s,
                                     const char *text, struct quern_error *err) {
    char *end = NULL;
    errno = 0;
    double value = p->is_float ? number_parse(text, &end) : (double)strtoll(text, &end, 10);
    bool is_number = *text && !isspace((unsigned char)*text) && *end == '\0' && !errno;
    /* Written so that NaN fails. */
    if (!is_number || !(value >= p->min && value <= p->max))
        return error_set(err, QUERN_ERR_ARG, "%s takes %s from %g to %g, not \"%s\"", p->name,
                         p->is_float ? "a number" : "a whole number", p->min, p->max, text);
    void *field = (char *)s + p->offset;
    if (p->is_float)
        *(float *)field = (float)value;
    else
        *(int32_t *)field = (int32_t)value;
    return QUERN_OK;
}

void sampling_param_format(const struct sampling_param *p, const struct quern_sampling *s,
                           char *text, size_t size) {
    const void *field = (const char *)s + p->offset;
    if (p->is_float)
        snprintf(text, size, "%g", (double)*(const float *)field);
    else
        snprintf(text, size, "%d", *(const int32_t *)field);
}

/* ---- command line ---------------------------------------------------------------- */

#define UNSET_FLOAT(type, member, option, field, lo, hi, help) args->field = (double)NAN;
#define UNSET_INT(type, member, option, field, lo, hi, help) args->field = INT64_MIN;

void cli_sampling_args_init(struct cli_sampling_args *args) {
    CLI_SAMPLING_PARAMS(UNSET_FLOAT, UNSET_INT, , )
    args->seed = INT64_MIN;
    args->logit_bias.n = 0;
}

static enum quern_status parse_bias(const char *text, struct quern_logit_bias *out,
                                    struct quern_error *err) {
    char *end = NULL;
    errno = 0;
    long long id = strtoll(text, &end, 10);
    if (end != text && *end == '=' && !errno && id >= 0 && id <= INT32_MAX) {
        const char *value = end + 1;
        double bias = number_parse(value, &end);
        if (end != value && !*end && !isnan(bias) && !(isinf(bias) && bias > 0)) {
            *out = (struct quern_logit_bias){(int32_t)id, (float)bias};
            return QUERN_OK;
        }
    }
    return error_set(err, QUERN_ERR_ARG,
                     "--logit-bias takes ID=X, a token id and a number (or -inf), not \"%s\"",
                     text);
}

#define OVERLAY_FLOAT(type, member, option, field, lo, hi, help) \
    if (!isnan(args->field))                                     \
        out->field = (float)args->field;
#define OVERLAY_INT(type, member, option, field, lo, hi, help) \
    if (args->field != INT64_MIN)                              \
        out->field = (int32_t)args->field;

enum quern_status cli_sampling_resolve(struct cli_sampling_args *args, const quern_model *model,
                                       struct quern_sampling *out, struct quern_error *err) {
    quern_sampling_defaults(model, out);
    CLI_SAMPLING_PARAMS(OVERLAY_FLOAT, OVERLAY_INT, , )
    /* Seeds are shown to people: 32 bits are enough. */
    out->seed = args->seed == INT64_MIN ? os_random() >> 32 : (uint64_t)args->seed;
    for (size_t i = 0; i < args->logit_bias.n; i++) {
        enum quern_status status = parse_bias(args->logit_bias.items[i], &args->biases[i], err);
        if (status)
            return status;
    }
    out->logit_bias = args->biases;
    out->n_logit_bias = args->logit_bias.n;
    return QUERN_OK;
}
