/* form_target.h - a form's source; after its first zero byte a text that is tried on it. */
#ifndef QUERN_FUZZ_FORM_TARGET_H
#define QUERN_FUZZ_FORM_TARGET_H

#include <stdlib.h>
#include <string.h>

#include "grammar/answer_form.h"
#include "grammar/matcher.h"

static int form_target(enum answer_form form, const uint8_t *data, size_t size) {
    struct grammar_limits limits = grammar_default_limits();
    struct grammar_builder *b = NULL;
    struct grammar *g = NULL;
    struct quern_error err = {0};
    struct matcher m;
    const char *text = size ? memchr(data, 0, size) : NULL;
    const size_t n = text ? (size_t)(text - (const char *)data) : size;
    const struct form_source source = {.form = form, .text = {(const char *)data, n}, .name = "it"};
    limits.max_exprs = 1 << 16;
    limits.max_bytes = 32 << 20;
    limits.compile_fuel = limits.step_fuel = 1 << 20;
    if (size > 8192 || grammar_builder_create(&limits, &b, NULL))
        return 0;
    grammar_start(b, answer_form_build(b, &source, NULL));
    const enum quern_status st = grammar_compile(b, &g, &err);
    if (st != QUERN_OK && !err.message[0])
        abort();
    if (st == QUERN_OK && text && matcher_init(&m, g, NULL, NULL, 0, &err) == QUERN_OK)
        matcher_accept_bytes(&m, (struct str){text + 1, size - n - 1}, NULL, &err);
    grammar_destroy(g);
    grammar_builder_destroy(b);
    return 0;
}

#endif
