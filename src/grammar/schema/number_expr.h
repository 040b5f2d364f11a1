/* number_expr.h - sets of JSON numbers as expressions over their spellings. Of the spellings
 * with an exponent only the normalised ones are in the domain (one digit other than 0 before the
 * point, as every writer of JSON spells them; and any spelling of zero); within the domain every
 * set is exact, so that complements, unions and intersections are. */
#ifndef QUERN_GRAMMAR_NUMBER_EXPR_H
#define QUERN_GRAMMAR_NUMBER_EXPR_H

#include "grammar/grammar.h"
#include "grammar/schema/decimal.h"

expr_id number_any_json(struct grammar_builder *b); /* the whole syntax, every exponent */
expr_id number_domain(struct grammar_builder *b);
/* Of these the plain ones: whole numbers without a fraction, no exponents, no -0. */
expr_id number_plain(struct grammar_builder *b);
expr_id number_integers(struct grammar_builder *b); /* 1, 1.0, 1e3 */
expr_id number_equal(struct grammar_builder *b, const struct decimal *d);
expr_id number_at_least(struct grammar_builder *b, const struct decimal *d);
expr_id number_greater(struct grammar_builder *b, const struct decimal *d);
/* Multiples of d > 0. False, and *out is untouched, when d has too many digits. Of multiples
 * with an exponent only those of powers of ten are members. */
bool number_multiple_of(struct grammar_builder *b, const struct decimal *d, expr_id *out);

#endif
