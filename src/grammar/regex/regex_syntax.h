/* regex_syntax.h - regular expressions as text: ECMA-262 (what JSON Schema's `pattern` is
 * written in) and the common ground of PCRE and Python's re.
 *
 * Both: alternation, (capturing, (?:) and named) groups, * + ? {m,n} (lazy ones too: they
 * change no language), classes, \d \w \s \D \W \S (ASCII, but \s has ECMA's Unicode spaces in
 * ECMA mode), \p{...} \P{...}, . ^ $ \b \B anywhere, (?=) and (?!) outside unbounded
 * repetitions, \t \n \v \f \r \0 \cX \xHH \uHHHH (surrogate pairs too) \u{H...}, (?i) (?s) and
 * (?i:...) (?s:...).
 * PCRE mode adds \A \z \Z, (?#...), (?P<name>...), \a \e, POSIX classes, {,n}, and `]` first
 * in a class is a member.
 * Refused by name and position: lookbehind, backreferences, atomic groups and possessive
 * quantifiers, conditions, recursion, the x and m flags. */
#ifndef QUERN_GRAMMAR_REGEX_SYNTAX_H
#define QUERN_GRAMMAR_REGEX_SYNTAX_H

#include "grammar/regex/regex_ast.h"

enum regex_flags {
    REGEX_ECMA = 0,
    REGEX_PCRE = 1,
    REGEX_IGNORE_CASE = 2,
    REGEX_DOT_ALL = 4, /* . matches line ends too */
    REGEX_SEARCH = 8,  /* regex_compile: a match anywhere in the text is enough */
};

enum { REGEX_LENGTH_MAX = 65536, REGEX_REPEAT_MAX = 100000, REGEX_NESTING_MAX = 100 };

/* The expression with its assertions (see rx_resolve). Messages start with "regex: ". */
enum quern_status regex_parse(struct rx_pool *p, struct str pattern, unsigned flags,
                              const struct rx_node **out, struct quern_error *err);
/* Parsed and resolved: a plain expression over the code points of the whole text. */
enum quern_status regex_compile(struct rx_pool *p, struct str pattern, unsigned flags,
                                const struct rx_node **out, struct quern_error *err);

#endif
