/* token_image.h - a tokenizer's vocabulary as grammars read it: the byte trie in depth-first
 * order, and the tokens in the order of the trie, so that a subtree is a run of ranks. Added
 * tokens are outside the trie. Any number of threads may use it. */
#ifndef QUERN_GRAMMAR_TOKEN_IMAGE_H
#define QUERN_GRAMMAR_TOKEN_IMAGE_H

#include "tokenizer/tokenizer.h"

struct trie_node {
    uint32_t byte_skip; /* the byte into the node, and << 8 the nodes of its subtree */
    uint32_t rank;      /* of the first token at or below it */
};
_Static_assert(sizeof(struct trie_node) == 8, "a trie of a million nodes stays in the cache");

struct token_image {
    const struct tokenizer *tokenizer;
    struct trie_node *nodes; /* [n_nodes + 1]; nodes[0] is the root, the last a sentinel */
    uint64_t *below;         /* of each node: the groups of bytes anywhere below it */
    uint8_t *height;         /* and how deep it is below it; 255: that or more */
    int32_t *tokens;         /* by rank */
    size_t n_nodes, n_ranked;
    int32_t n_tokens;
    uint32_t roots[256];      /* the node of each byte below the root; 0: none */
    uint8_t group[256];       /* bytes in 64 groups */
    struct loop_shelf *loops; /* loop_mask.h */
    struct grammar_cache *grammars; /* grammar_cache.h */
};

enum quern_status token_image_create(const struct tokenizer *t, struct token_image **out,
                                     struct quern_error *err);
void token_image_destroy(struct token_image *image); /* NULL is fine */

static inline uint32_t trie_skip(const struct token_image *m, uint32_t node) {
    return m->nodes[node].byte_skip >> 8;
}
static inline unsigned trie_byte(const struct token_image *m, uint32_t node) {
    return m->nodes[node].byte_skip & 255;
}

#endif
