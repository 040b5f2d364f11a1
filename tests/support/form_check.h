/* form_check.h - a form and texts it must accept or refuse. */
#ifndef QUERN_TESTS_FORM_CHECK_H
#define QUERN_TESTS_FORM_CHECK_H

#include "grammar/answer_form.h"

/* Lists for form_judges. */
#define ACCEPTED(...)       \
    (const char *const[]) { \
        __VA_ARGS__, NULL   \
    }
#define REFUSED(...) ACCEPTED(__VA_ARGS__)

/* Lists end with NULL. Fails the test, naming the text, when one is judged otherwise. */
void form_judges(enum answer_form form, const char *text, const char *const *accepted,
                 const char *const *refused);
/* The form is refused, with a message that holds `part`. */
void form_refused(enum answer_form form, struct str text, const char *part);

#endif
