#include "cli/cli_help.h"

#include <ctype.h>
#include <string.h>

static enum cli_help_format help_format = CLI_HELP_TEXT;

void cli_set_help_format(enum cli_help_format format) {
    help_format = format;
}

/* ---- text --------------------------------------------------------------------- */

enum { HELP_COLUMNS = 79 };

static void print_wrapped(const char *text) {
    size_t column = 0;
    for (const char *p = text; *p;) {
        if (*p == '\n') {
            fputs(column ? "\n\n" : "\n", stdout);
            column = 0;
            p += strspn(p, "\n");
            continue;
        }
        p += strspn(p, " ");
        size_t n = strcspn(p, " \n");
        if (!n)
            continue;
        if (column && column + 1 + n > HELP_COLUMNS) {
            fputc('\n', stdout);
            column = 0;
        }
        column += (size_t)fprintf(stdout, "%s%.*s", column ? " " : "", (int)n, p);
        p += n;
    }
    if (column)
        fputc('\n', stdout);
}

static void print_indented(const char *lines) {
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        printf("  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static int print_text_help(const struct cli_command *c) {
    printf("Usage: quern %s %s\n\n", c->name, c->synopsis);
    print_wrapped(c->description);
    struct buffer options;
    buffer_init(&options, 1 << 16);
    options_describe(c->specs, &options);
    if (options.len)
        printf("\n%s", options.data);
    buffer_release(&options);
    if (c->examples && *c->examples) {
        printf("\nExamples:\n");
        print_indented(c->examples);
    }
    return CLI_OK;
}

void cli_print_overview(FILE *stream, const struct cli_entry *entries) {
    fprintf(stream, "Usage: quern COMMAND [options]\n\n"
                    "Runs language models of the Qwen3 family from the directories Hugging Face\n"
                    "publishes.\n\nCommands:\n");
    for (const struct cli_entry *e = entries; e->name; e++)
        fprintf(stream, "  %-16s%s\n", e->name, e->summary);
    fprintf(stream, "\nOther:\n"
                    "  help CMD        what a command does, its options, examples\n"
                    "  --version       the version\n\n"
                    "The model is -m DIR, else $QUERN_MODEL, else models/quern-demo.\n"
                    "Exit codes: 0 done, 1 failed, 2 wrong command line.\n");
}

/* ---- the manual page ------------------------------------------------------------- */

/* Text with roff's special characters made harmless. */
static void man_text(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        bool line_start = i == 0 || text[i - 1] == '\n';
        if (line_start && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", stdout);
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\n' && i + 1 < n && text[i + 1] == '\n')
            fputs("\n.PP", stdout);
        else
            fputc(text[i], stdout);
    }
}

static void man_words(const char *text) {
    man_text(text, strlen(text));
}

static void man_option(const struct option_spec *o) {
    printf(".TP\n");
    if (o->short_name)
        printf("\\fB\\-%c\\fR, ", o->short_name);
    printf("\\fB\\-\\-");
    man_words(o->name);
    printf("\\fR");
    if (o->metavar) {
        printf(" \\fI");
        man_words(o->metavar);
        printf("\\fR");
    }
    putchar('\n');
    putchar(toupper((unsigned char)o->help[0]));
    man_words(o->help + 1);
    printf(".\n");
}

static int print_man_help(const struct cli_command *c) {
    printf(".SS quern ");
    man_words(c->name);
    putchar(' ');
    man_words(c->synopsis);
    putchar('\n');
    man_words(c->description);
    putchar('\n');
    for (const struct option_spec *o = c->specs; o->kind != OPTION_END; o++)
        man_option(o);
    if (c->examples && *c->examples) {
        printf(".PP\nExamples:\n.PP\n.RS 4\n.nf\n");
        man_words(c->examples);
        printf(".fi\n.RE\n");
    }
    return CLI_OK;
}

int cli_print_help(const struct cli_command *c) {
    return help_format == CLI_HELP_MAN ? print_man_help(c) : print_text_help(c);
}

int cli_print_man(const struct cli_entry *entries) {
    printf(".TH QUERN 1 \"\" \"quern %s\" \"User Commands\"\n", quern_version());
    printf(".ad l\n.nh\n.SH NAME\nquern \\- run language models of the Qwen3 family\n"
           ".SH SYNOPSIS\n.B quern\n.I COMMAND\n.RI [ options ]\n.br\n.B quern help\n"
           ".RI [ COMMAND ]\n.br\n.B quern \\-\\-version\n.SH DESCRIPTION\n"
           "Quern runs language models of the Qwen3 family from the directories Hugging Face "
           "publishes: config.json, tokenizer.json and safetensors files. Results go to "
           "standard output, everything else to standard error.\n");
    for (const struct cli_entry *e = entries; e->name; e++) {
        printf(".TP\n.B ");
        man_words(e->name);
        putchar('\n');
        putchar(toupper((unsigned char)e->summary[0]));
        man_words(e->summary + 1);
        printf(".\n");
    }
    printf(".SH COMMANDS\n");
    cli_set_help_format(CLI_HELP_MAN);
    for (const struct cli_entry *e = entries; e->name; e++) {
        char name[32], help[] = "--help";
        snprintf(name, sizeof name, "%s", e->name);
        char *argv[] = {name, help, NULL};
        e->run(2, argv);
    }
    cli_set_help_format(CLI_HELP_TEXT);
    printf(".SH ENVIRONMENT\n.TP\n.B QUERN_MODEL\nThe model directory when \\fB\\-m\\fR is not "
           "given.\n.TP\n.B NO_COLOR\nWhen set and not empty, no colours.\n"
           ".TP\n.B XDG_STATE_HOME\nWhere \\fBquern chat\\fR keeps its history file "
           "(default: ~/.local/state).\n"
           ".SH FILES\n.TP\n.I ~/.local/state/quern/history\nLines typed in \\fBquern "
           "chat\\fR.\n"
           ".SH EXIT STATUS\n0 done; 1 failed; 2 the command line was wrong; 130 \\fBquern run\\fR "
           "was ended by "
           "Ctrl-C.\n");
    return CLI_OK;
}
