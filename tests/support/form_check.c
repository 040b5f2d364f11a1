#include "support/form_check.h"

#include <stdio.h>

#include "grammar/matcher.h"
#include "support/support.h"

static enum quern_status compile(enum answer_form form, struct str text, struct grammar **out,
                                 struct quern_error *err) {
    const struct schema_options schema = {.assert_formats = true, .all_spellings = true};
    const struct form_source source = {.form = form, .text = text, .schema = &schema, .name = "it"};
    struct grammar_builder *b = NULL;
    enum quern_status st = grammar_builder_create(NULL, &b, err);
    if (st == QUERN_OK) {
        grammar_start(b, answer_form_build(b, &source, NULL));
        st = grammar_compile(b, out, err);
    }
    grammar_builder_destroy(b);
    return st;
}

static bool accepts(struct grammar *g, const char *text) {
    struct matcher m;
    struct quern_error err = {0};
    assert_int_equal(matcher_init(&m, g, NULL, NULL, 0, &err), QUERN_OK);
    const enum quern_status st = matcher_accept_bytes(&m, str_from(text), NULL, &err);
    if (st != QUERN_OK && st != QUERN_ERR_FORMAT)
        fail_msg("%s: %s", text, err.message);
    return st == QUERN_OK && matcher_can_end(&m);
}

void form_judges(enum answer_form form, const char *text, const char *const *accepted,
                 const char *const *refused) {
    struct grammar *g = NULL;
    struct quern_error err = {0};
    if (compile(form, str_from(text), &g, &err) != QUERN_OK)
        fail_msg("%s: %s", text, err.message);
    for (; *accepted; accepted++)
        if (!accepts(g, *accepted))
            fail_msg("refused: %s", *accepted);
    for (; *refused; refused++)
        if (accepts(g, *refused))
            fail_msg("accepted: %s", *refused);
    grammar_destroy(g);
}

void form_refused(enum answer_form form, struct str text, const char *part) {
    struct grammar *g = NULL;
    struct quern_error err = {0};
    if (compile(form, text, &g, &err) == QUERN_OK) {
        grammar_destroy(g);
        fail_msg("taken, expected: %s", part);
    }
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not hold \"%s\"", err.message, part);
}
