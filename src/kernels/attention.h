/* attention.h - what the instruction sets share of attention: how queries and chunks are cut into
 * register tiles. A folder supplies the parts of a type; the walk is plain C (attention.c). */
#ifndef QUERN_KERNELS_ATTENTION_H
#define QUERN_KERNELS_ATTENTION_H

#include "kernels/kernels.h"

/* Most queries a tile takes at once; an instruction set may stop earlier. */
enum { ATTENTION_TILE_QUERIES = 6, ATTENTION_CHUNK_BLOCKS = ATTENTION_CHUNK / KV_BLOCK_TOKENS };

/* s[q][j] = dot(query[q], key j) for the 32 positions of a block. The unscaled product as a float;
 * what else scales it is for `soften`. */
struct score_tile {
    const void *query[ATTENTION_TILE_QUERIES]; /* as `pack` left them */
    float *s[ATTENTION_TILE_QUERIES];
    const unsigned char *k;
    const unsigned char *next; /* as many bytes as k has, to be fetched meanwhile */
    size_t head_dim, padded;
};
typedef void score_fn(const struct score_tile *a);

/* A query's scores of a chunk become weights. Positions count from the chunk's first. */
struct soften {
    float *s;          /* [ATTENTION_CHUNK] in: scores of [begin, end); out: weights as `weigh` takes
                          them, zero where begin and end leave a grain incomplete; with zero_is_nothing
                          in all of the chunk that the query does not see */
    size_t begin, end; /* what the query sees; begin < end */
    float factor;      /* of the scores */
    const unsigned char *const *blocks; /* [ATTENTION_CHUNK_BLOCKS] parts of this head */
    const struct kv_layout *layout;
    float max, sum;    /* out */
    float o_factor;    /* out: what weights and values were scaled by (int8) */
};
typedef void soften_fn(struct soften *a);

/* o[q][0 .. padded) += sum over positions [begin, end) of the chunk, in order, of weight * value. */
struct weigh_tile {
    float *o[ATTENTION_TILE_QUERIES];
    const void *w[ATTENTION_TILE_QUERIES]; /* soften's s */
    float o_factor[ATTENTION_TILE_QUERIES];
    const unsigned char *v[ATTENTION_CHUNK_BLOCKS + 1]; /* of the blocks, and what to fetch after
                                                           the last one, as long as a block's */
    size_t begin, end; /* multiples of the grain, for edge: one position */
    size_t padded;
};
typedef void weigh_fn(const struct weigh_tile *a);

struct attention_parts {
    /* A query as `scores` takes it, in q_bytes(padded) at `to`; what the scores are to be multiplied by
     * because of it. NULL: scores take the query itself. */
    float (*pack)(void *to, const float *q, size_t head_dim, size_t padded);
    /* Indexed by the number of queries, 1..n. */
    score_fn *const *scores;
    size_t n_scores;
    soften_fn *soften;
    weigh_fn *const *weigh;
    size_t n_weigh;
    /* Positions that lie side by side in V. */
    size_t grain;
    /* One position of a pair whose other one the queries do not see (grain 2). */
    weigh_fn *const *edge;
    /* Weights of zero may meet any value and leave nothing: int8. */
    bool zero_is_nothing;
    void (*join)(const struct attention_join *a);
};

void attention_walk(const struct attention_args *a, const struct attention_parts *parts);

#endif
