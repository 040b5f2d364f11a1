#include "base/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/number.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 80, MAX_NAME = 64 };

/* One option as the user wrote it, for messages: "--name" or "-x". */
struct spelling {
    char text[MAX_NAME];
};

static struct spelling spell(const struct option_spec *spec, bool is_short) {
    struct spelling s;
    if (is_short)
        snprintf(s.text, sizeof s.text, "-%c", spec->short_name);
    else
        snprintf(s.text, sizeof s.text, "--%s", spec->name);
    return s;
}

static const struct option_spec *find_long(const struct option_spec *specs, struct str name) {
    for (; specs->kind != OPTION_END; specs++) {
        if (str_is(name, specs->name))
            return specs;
    }
    return NULL;
}

static const struct option_spec *find_short(const struct option_spec *specs, char c) {
    for (; specs->kind != OPTION_END; specs++) {
        if (specs->short_name == c)
            return specs;
    }
    return NULL;
}

static const char *name_at(const void *specs, size_t i) {
    const struct option_spec *spec = (const struct option_spec *)specs + i;
    return spec->kind == OPTION_END ? NULL : spec->name;
}

static enum quern_status unknown_long(const struct option_spec *specs, struct str name,
                                      struct quern_error *err) {
    const char *nearest = nearest_name(name, name_at, specs);
    if (nearest)
        return error_set(err, QUERN_ERR_ARG, "unknown option --%.*s; did you mean --%s?",
                         STR_FMT(name), nearest);
    return error_set(err, QUERN_ERR_ARG, "unknown option --%.*s", STR_FMT(name));
}

static enum quern_status store_int(const struct option_spec *spec, const char *name,
                                   const char *value, int64_t *out, struct quern_error *err) {
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (end == value || *end)
        return error_set(err, QUERN_ERR_ARG, "%s: \"%s\" is not a whole number", name, value);
    if (errno == ERANGE || (double)n < spec->min || (double)n > spec->max)
        return error_set(err, QUERN_ERR_ARG, "%s: %s is outside %.0f to %.0f", name, value,
                         spec->min, spec->max);
    *out = n;
    return QUERN_OK;
}

static enum quern_status store_float(const struct option_spec *spec, const char *name,
                                     const char *value, double *out, struct quern_error *err) {
    char *end;
    double x = number_parse(value, &end);
    if (end == value || *end || isnan(x))
        return error_set(err, QUERN_ERR_ARG, "%s: \"%s\" is not a number", name, value);
    if (x < spec->min || x > spec->max)
        return error_set(err, QUERN_ERR_ARG, "%s: %s is outside %g to %g", name, value, spec->min,
                         spec->max);
    *out = x;
    return QUERN_OK;
}

static bool is_choice(const char *choices, const char *value) {
    size_t len = strlen(value);
    for (const char *word = choices; word;) {
        size_t n = strcspn(word, "|");
        if (n == len && memcmp(word, value, n) == 0)
            return true;
        word = word[n] ? word + n + 1 : NULL;
    }
    return false;
}

static enum quern_status store_value(const struct option_spec *spec, const char *name,
                                     const char *value, void *args, struct quern_error *err) {
    void *field = (char *)args + spec->offset;
    struct option_list *list;
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return QUERN_OK;
    case OPTION_CHOICE:
        if (!is_choice(spec->choices, value))
            return error_set(err, QUERN_ERR_ARG, "%s: \"%s\" is not one of %s", name, value,
                             spec->choices);
        *(const char **)field = value;
        return QUERN_OK;
    case OPTION_STRING:
        *(const char **)field = value;
        return QUERN_OK;
    case OPTION_LIST:
        list = field;
        if (list->n == OPTION_LIST_MAX)
            return error_set(err, QUERN_ERR_LIMIT, "%s: given more than %d times", name,
                             OPTION_LIST_MAX);
        list->items[list->n++] = value;
        return QUERN_OK;
    case OPTION_INT:
        return store_int(spec, name, value, field, err);
    case OPTION_FLOAT:
        return store_float(spec, name, value, field, err);
    case OPTION_END:
        break;
    }
    return error_set(err, QUERN_ERR_STATE, "%s: broken option table", name);
}

struct cursor {
    const struct option_spec *specs;
    int argc, at; /* `at` is the word being looked at */
    char **argv;
    void *args;
    bool help;
};

/* Takes the value after "=" or glued on, or the next word. */
static enum quern_status take_value(struct cursor *c, const struct option_spec *spec, bool is_short,
                                    const char *glued, struct quern_error *err) {
    struct spelling name = spell(spec, is_short);
    if (!glued) {
        if (c->at + 1 >= c->argc)
            return error_set(err, QUERN_ERR_ARG, "%s: a value is missing (%s %s)", name.text,
                             name.text, spec->metavar);
        glued = c->argv[++c->at];
    }
    return store_value(spec, name.text, glued, c->args, err);
}

static enum quern_status parse_long(struct cursor *c, const char *word, struct quern_error *err) {
    const char *equals = strchr(word, '=');
    struct str name = {word, equals ? (size_t)(equals - word) : strlen(word)};
    const struct option_spec *spec = find_long(c->specs, name);
    if (!spec) {
        if (!str_is(name, "help"))
            return unknown_long(c->specs, name, err);
        c->help = true;
        return QUERN_OK;
    }
    if (spec->kind != OPTION_FLAG)
        return take_value(c, spec, false, equals ? equals + 1 : NULL, err);
    if (equals)
        return error_set(err, QUERN_ERR_ARG, "--%s takes no value", spec->name);
    return store_value(spec, spec->name, NULL, c->args, err);
}

static enum quern_status parse_short(struct cursor *c, const char *letters,
                                     struct quern_error *err) {
    for (; *letters; letters++) {
        const struct option_spec *spec = find_short(c->specs, *letters);
        if (!spec && *letters == 'h') {
            c->help = true;
            return QUERN_OK;
        }
        if (!spec)
            return error_set(err, QUERN_ERR_ARG, "unknown option -%c", *letters);
        if (spec->kind != OPTION_FLAG)
            return take_value(c, spec, true, letters[1] ? letters + 1 : NULL, err);
        enum quern_status status = store_value(spec, spec->name, NULL, c->args, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}

enum quern_status options_parse(const struct option_spec *specs, int argc, char **argv, void *args,
                                int *n_words, bool *help, struct quern_error *err) {
    struct cursor c = {.specs = specs, .argc = argc, .argv = argv, .args = args, .at = 1};
    bool only_words = false;
    int words = 0;
    for (; c.at < argc && !c.help; c.at++) {
        char *word = argv[c.at];
        enum quern_status status = QUERN_OK;
        if (only_words || word[0] != '-' || !word[1])
            argv[1 + words++] = word;
        else if (word[1] != '-')
            status = parse_short(&c, word + 1, err);
        else if (word[2])
            status = parse_long(&c, word + 2, err);
        else
            only_words = true;
        if (status)
            return status;
    }
    *n_words = words;
    *help = c.help;
    return QUERN_OK;
}

/* Puts `help` from HELP_COLUMN on, broken between words. */
static void describe_help(const char *help, size_t column, struct buffer *out) {
    if (column + 2 > HELP_COLUMN) {
        buffer_putc(out, '\n');
        column = 0;
    }
    buffer_printf(out, "%*s", (int)(HELP_COLUMN - column), "");
    column = HELP_COLUMN;
    while (*help) {
        size_t n = strcspn(help, " ");
        if (column > HELP_COLUMN && column + 1 + n > HELP_WIDTH) {
            buffer_printf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            buffer_putc(out, ' ');
            column++;
        }
        buffer_append(out, help, n);
        column += n;
        help += n + strspn(help + n, " ");
    }
    buffer_putc(out, '\n');
}

/* Choices that are too many for a line go on in the next, broken behind a bar. */
static size_t describe_metavar(const char *metavar, size_t column, struct buffer *out) {
    const size_t begin = column;
    while (*metavar) {
        size_t n = strcspn(metavar, "|");
        n += metavar[n] == '|';
        if (column + n > HELP_WIDTH && column > begin) {
            buffer_printf(out, "\n%*s", (int)begin, "");
            column = begin;
        }
        buffer_append(out, metavar, n);
        column += n;
        metavar += n;
    }
    return column;
}

static void describe_one(char short_name, const char *name, const char *metavar, const char *help,
                         struct buffer *out) {
    char letter[8] = "    ";
    if (short_name)
        snprintf(letter, sizeof letter, "-%c, ", short_name);
    buffer_printf(out, "  %s--%s%s", letter, name, metavar ? " " : "");
    size_t column = 2 + strlen(letter) + 2 + strlen(name) + (metavar != NULL);
    if (metavar)
        column = describe_metavar(metavar, column, out);
    describe_help(help, column, out);
}

void options_describe(const struct option_spec *specs, struct buffer *out) {
    buffer_puts(out, "Options:\n");
    for (; specs->kind != OPTION_END; specs++)
        describe_one(specs->short_name, specs->name, specs->metavar, specs->help, out);
    describe_one('h', "help", NULL, "show this help", out);
}
