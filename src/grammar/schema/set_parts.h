/* set_parts.h - shared by value_set.c, array_set.c and object_set.c: lists of alternatives. */
#ifndef QUERN_GRAMMAR_SET_PARTS_H
#define QUERN_GRAMMAR_SET_PARTS_H

#include "grammar/schema/schema.h"

enum {
    SET_NO_TEXT = 0,         /* expr_nothing's id (regex.h: RE_ID_NOTHING) */
    SET_SEARCH_FUEL = 20000, /* for whether two expressions share a text; beyond: they may */
    SET_DISJOINT_DEPTH = 12,
};

/* A growing list in the schema's arena; zeroed is empty. */
struct set_list {
    void *v;
    size_t n, capacity;
};
bool list_push(struct schema *s, struct set_list *l, size_t element, const void *item);
static inline const struct array_set *list_array(const struct set_list *l, size_t i) {
    return (const struct array_set *)l->v + i;
}
static inline const struct object_set *list_object(const struct set_list *l, size_t i) {
    return (const struct object_set *)l->v + i;
}

/* Appends what x and y have in common, unless it is surely nothing. */
void array_and(struct schema *s, const struct array_set *x, const struct array_set *y,
               struct set_list *out);
void object_and(struct schema *s, const struct object_set *x, const struct object_set *y,
                struct set_list *out);
/* Appends the arrays (objects) that are not in x, as alternatives. */
void array_not(struct schema *s, const struct array_set *x, struct set_list *out);
void object_not(struct schema *s, const struct object_set *x, struct set_list *out);
/* Appends x itself unless it is surely nothing. */
void array_add(struct schema *s, struct set_list *out, const struct array_set *x);
void object_add(struct schema *s, struct set_list *out, const struct object_set *x);

#endif
