/* tiles.c - cuts matrix products and attention into the register tiles of an instruction
 * set, and orders the tiles so that what is read again is still in a cache. */
#include "kernels/tiles.h"

#include <string.h>

/* ---- matrix products ------------------------------------------------------------- */

/* Weights that stay in the second-level cache while all tokens pass by; what a tile, its rows and
 * the next rows may fill of the first-level cache. */
enum { BLOCK_BYTES = 384 * 1024, L1_BYTES = 40 * 1024, AHEAD_BYTES = 8 * 1024 };

/* The first tile of tokens takes the weights from memory and meanwhile fetches the next group of rows: with
 * one token 40 GB/s instead of 31, with six 240 GFLOP/s instead of 132. Later tiles find them in
 * the second-level cache; fetching them from there gains 6 %, but where tokens spill from the
 * first level it loses 20 %. */
void tiles_matmul(const struct matmul_args *m, const struct tile_set *set) {
    size_t row_bytes = m->n_cols * set->element_bytes;
    size_t block_rows = (BLOCK_BYTES / (row_bytes + 1) / set->row_multiple + 1) * set->row_multiple;
    size_t group_bytes = set->row_multiple * row_bytes;
    /* Far enough for memory to answer: 8 KB take 0.2 us. */
    size_t ahead = (AHEAD_BYTES / (group_bytes + 1) + 1) * group_bytes;
    bool in_l1 = set->n_tokens * m->n_cols * sizeof(float) + 2 * group_bytes <= L1_BYTES;
    for (size_t r = m->row_begin; r < m->row_end; r += block_rows) {
        size_t rest = m->row_end - r;
        struct tile a = {.w = (const unsigned char *)m->w + r * row_bytes,
                         .w_stride = row_bytes,
                         .bias = m->bias ? m->bias + r : NULL,
                         .n_cols = m->n_cols,
                         .n_rows = rest < block_rows ? rest : block_rows};
        for (size_t t = 0; t < m->n_tokens; t += set->n_tokens) {
            size_t n = m->n_tokens - t < set->n_tokens ? m->n_tokens - t : set->n_tokens;
            for (size_t i = 0; i < n; i++) {
                a.x[i] = m->x + (t + i) * m->x_stride;
                a.y[i] = m->y + (t + i) * m->y_stride + r;
            }
            a.ahead = t == 0 || in_l1 ? (ptrdiff_t)ahead : 0;
            set->dot[n](&a);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------
 * A tile of queries (tokens x the query heads of one KV head) walks the keys once and the values
 * once: scores into scratch, softmax there, then the weighted values. */

/* The queries of one tile and what they see. Query i is token i / n_rep, head i % n_rep. */
struct walk {
    const struct attention_args *a;
    const struct attention_parts *parts;
    size_t token, n_tokens; /* tokens [token, token + n_tokens) of the call */
    size_t first, end;      /* positions any of them sees */
    size_t row_floats;      /* scratch of one query: scores of [first, end), sum last */
};

static size_t visible_end(const struct walk *w, size_t token) {
    return w->a->first_position + w->token + token + 1;
}

static size_t visible_first(const struct walk *w, size_t token) {
    size_t end = visible_end(w, token);
    return w->a->window && end > w->a->window ? end - w->a->window : 0;
}

static float *scores_of(const struct walk *w, size_t query) {
    return w->a->scratch + query * w->row_floats;
}

static float *sum_of(const struct walk *w, size_t query) {
    return scores_of(w, query) + w->row_floats - 1;
}

static const float *q_of(const struct walk *w, size_t query) {
    const struct attention_args *a = w->a;
    return a->q + (w->token + query / a->n_rep) * a->q_stride + query % a->n_rep * a->head_dim;
}

static float *out_of(const struct walk *w, size_t query) {
    const struct attention_args *a = w->a;
    return a->out + (w->token + query / a->n_rep) * a->out_stride + query % a->n_rep * a->head_dim;
}

/* Positions [begin, end) lie in one block; its row of K or V at `begin`. */
static const float *block_row(const struct attention_args *a, size_t begin, size_t offset) {
    return a->blocks[begin / KV_BLOCK_TOKENS] + offset + begin % KV_BLOCK_TOKENS * a->head_dim;
}

/* From the rows in hand to those of the next block, so that it loads meanwhile. */
static ptrdiff_t next_block(const struct walk *w, size_t begin) {
    size_t block = begin / KV_BLOCK_TOKENS;
    if ((block + 1) * KV_BLOCK_TOKENS >= w->end)
        return 0;
    return (ptrdiff_t)((uintptr_t)w->a->blocks[block + 1] - (uintptr_t)w->a->blocks[block]);
}

static size_t block_end(size_t begin, size_t end) {
    size_t next = (begin / KV_BLOCK_TOKENS + 1) * KV_BLOCK_TOKENS;
    return next < end ? next : end;
}

/* Every query against every key, also those a query does not see: they are ignored below. */
static void compute_scores(const struct walk *w) {
    const struct attention_args *a = w->a;
    size_t n_queries = w->n_tokens * a->n_rep, most = w->parts->scores.n_tokens;
    for (size_t j = w->first, next; j < w->end; j = next) {
        next = block_end(j, w->end);
        struct tile t = {.w = (const unsigned char *)block_row(a, j, a->k_offset),
                         .w_stride = a->head_dim * sizeof(float),
                         .n_cols = a->head_dim,
                         .n_rows = next - j,
                         .ahead = next_block(w, j)};
        for (size_t i = 0; i < n_queries; i += most) {
            size_t n = n_queries - i < most ? n_queries - i : most;
            for (size_t g = 0; g < n; g++) {
                t.x[g] = q_of(w, i + g);
                t.y[g] = scores_of(w, i + g) + (j - w->first);
            }
            w->parts->scores.dot[n](&t);
            t.ahead = 0;
        }
    }
}

/* Values of positions [begin, end), all in one block, for `n` queries that all see them. */
static void add_values(const struct walk *w, size_t query, size_t n, size_t begin, size_t end) {
    struct weighing g = {.v = block_row(w->a, begin, w->a->v_offset),
                         .n = end - begin,
                         .head_dim = w->a->head_dim,
                         .ahead = next_block(w, begin)};
    size_t most = w->parts->n_weigh;
    for (size_t i = 0; i < n; i += most) {
        size_t some = n - i < most ? n - i : most;
        for (size_t q = 0; q < some; q++) {
            g.out[q] = out_of(w, query + i + q);
            g.p[q] = scores_of(w, query + i + q) + (begin - w->first);
        }
        w->parts->weigh[some](&g);
        g.ahead = 0;
    }
}

static void compute_values(const struct walk *w) {
    size_t n_rep = w->a->n_rep;
    size_t all_from = visible_first(w, w->n_tokens - 1), all_to = visible_end(w, 0);
    for (size_t j = w->first, next; j < w->end; j = next) {
        next = block_end(j, w->end);
        if (j >= all_from && next <= all_to) {
            add_values(w, 0, w->n_tokens * n_rep, j, next);
            continue;
        }
        for (size_t t = 0; t < w->n_tokens; t++) {
            size_t from = visible_first(w, t), to = visible_end(w, t);
            from = from > j ? from : j;
            to = to < next ? to : next;
            if (from < to)
                add_values(w, t * n_rep, n_rep, from, to);
        }
    }
}

static void attend(const struct walk *w) {
    const struct attention_args *a = w->a;
    size_t n_queries = w->n_tokens * a->n_rep;
    compute_scores(w);
    for (size_t i = 0; i < n_queries; i++) {
        size_t from = visible_first(w, i / a->n_rep), to = visible_end(w, i / a->n_rep);
        *sum_of(w, i) = w->parts->exp_scores(scores_of(w, i) + (from - w->first), to - from, a->scale);
        memset(out_of(w, i), 0, a->head_dim * sizeof(float));
    }
    compute_values(w);
    for (size_t i = 0; i < n_queries; i++)
        w->parts->divide(out_of(w, i), a->head_dim, *sum_of(w, i));
}

void tiles_attention(const struct attention_args *a, const struct attention_parts *parts) {
    size_t tile = attention_tile_tokens(a->n_rep);
    for (size_t t = 0; t < a->n_tokens; t += tile) {
        struct walk w = {.a = a, .parts = parts, .token = t,
                         .n_tokens = a->n_tokens - t < tile ? a->n_tokens - t : tile};
        w.first = visible_first(&w, 0);
        w.end = visible_end(&w, w.n_tokens - 1);
        w.row_floats = (w.end - w.first + 15) / 16 * 16 + 16;
        attend(&w);
    }
}
