/* attention.c - walks the chunks of keys and values with up to ATTENTION_ROWS queries at a time:
 * scores into scratch, softened to weights there, then the weighted values, joined to what earlier
 * chunks gave. Chunks are the outer loop, so that one is read from memory once for all queries of a
 * call. */
#include "kernels/attention.h"

#include <string.h>

enum { CHUNK = ATTENTION_CHUNK, B = KV_BLOCK_TOKENS };

/* Some queries of a call and a chunk. Query i is token i / n_rep, head i % n_rep. */
struct walk {
    const struct attention_args *a;
    const struct attention_parts *parts;
    size_t row, n_rows;      /* queries [row, row + n_rows) of the call */
    size_t chunk;            /* the chunk's first position */
    size_t first, end;       /* positions any of the queries sees, in the chunk */
    const unsigned char *heads[ATTENTION_CHUNK_BLOCKS]; /* of the blocks with such a position */
    const unsigned char *after; /* the head's part of the block behind the last one, or the last */
    float max[ATTENTION_ROWS], sum[ATTENTION_ROWS];
    float factor[ATTENTION_ROWS]; /* of the scores */
    float o_factor[ATTENTION_ROWS];
};

/* ---- places ---------------------------------------------------------------------------- */

static size_t position_of(const struct walk *w, size_t i) {
    return w->a->first_position + (w->row + i) / w->a->n_rep;
}

/* What query i sees of the chunk, counted from its start; nothing when begin >= end. */
static size_t begin_of(const struct walk *w, size_t i) {
    size_t p = position_of(w, i), first = w->a->window && p >= w->a->window ? p - w->a->window + 1 : 0;
    return first > w->chunk ? first - w->chunk : 0;
}

static size_t end_of(const struct walk *w, size_t i) {
    size_t p = position_of(w, i);
    return p < w->chunk ? 0 : p - w->chunk < CHUNK ? p - w->chunk + 1 : CHUNK;
}

static size_t row_offset(const struct walk *w, size_t i, size_t stride) {
    size_t query = w->row + i;
    return query / w->a->n_rep * stride + query % w->a->n_rep * w->a->layout->head_dim;
}

static size_t packed_bytes(const struct walk *w) {
    return (2 * w->a->layout->padded + 16) * sizeof(float);
}

static unsigned char *packed_of(const struct walk *w, size_t i) {
    return (unsigned char *)w->a->scratch + i * packed_bytes(w);
}

static float *sums_of(const struct walk *w, size_t i) {
    return (float *)(void *)(packed_of(w, i) + packed_bytes(w)) - w->a->layout->padded;
}

static float *scores_of(const struct walk *w, size_t i) {
    unsigned char *scores = (unsigned char *)w->a->scratch + ATTENTION_ROWS * packed_bytes(w);
    return (float *)(void *)scores + i * CHUNK;
}

static const void *query_of(const struct walk *w, size_t i) {
    return w->parts->pack ? (const void *)packed_of(w, i)
                          : w->a->q + row_offset(w, i, w->a->q_stride);
}

static const unsigned char *head_at(const struct walk *w, size_t block) {
    return (const unsigned char *)w->a->blocks[block] + w->a->head_offset;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* Every query against every key of the blocks, also those a query does not see. */
static void compute_scores(const struct walk *w) {
    const struct kv_layout *l = w->a->layout;
    size_t last = (w->end - 1) / B, most = w->parts->n_scores;
    for (size_t b = w->first / B; b <= last; b++) {
        struct score_tile t = {.k = w->heads[b],
                               .next = b < last ? w->heads[b + 1]
                                                : w->heads[w->first / B] + l->v_offset,
                               .head_dim = l->head_dim,
                               .padded = l->padded};
        for (size_t i = 0; i < w->n_rows; i += most) {
            size_t n = w->n_rows - i < most ? w->n_rows - i : most;
            for (size_t g = 0; g < n; g++) {
                t.query[g] = query_of(w, i + g);
                t.s[g] = scores_of(w, i + g) + b * B;
            }
            w->parts->scores[n](&t);
            t.next = t.k;
        }
    }
}

static void soften_rows(struct walk *w) {
    for (size_t i = 0; i < w->n_rows; i++) {
        struct soften s = {.s = scores_of(w, i),
                           .begin = begin_of(w, i),
                           .end = end_of(w, i),
                           .factor = w->factor[i],
                           .blocks = w->heads,
                           .layout = w->a->layout};
        w->sum[i] = 0.0f;
        if (s.begin >= s.end) {
            memset(s.s, 0, CHUNK * sizeof *s.s);
            continue;
        }
        w->parts->soften(&s);
        w->max[i] = s.max;
        w->sum[i] = s.sum;
        w->o_factor[i] = s.o_factor;
    }
}

/* Values of positions [begin, end) for n queries from `row` on. */
static void add_values(const struct walk *w, weigh_fn *const *weigh, size_t row, size_t n,
                       size_t begin, size_t end) {
    const struct kv_layout *l = w->a->layout;
    struct weigh_tile t = {.begin = begin, .end = end, .padded = l->padded};
    size_t last = (end - 1) / B, most = w->parts->n_weigh;
    if (begin >= end)
        return;
    for (size_t b = begin / B; b <= last; b++)
        t.v[b] = w->heads[b] + l->v_offset;
    t.v[last + 1] = w->after;
    for (size_t i = 0; i < n; i += most) {
        size_t some = n - i < most ? n - i : most;
        for (size_t g = 0; g < some; g++) {
            t.o[g] = sums_of(w, row + i + g);
            t.w[g] = scores_of(w, row + i + g);
            t.o_factor[g] = w->o_factor[row + i + g];
        }
        weigh[some](&t);
    }
}

/* The same where begin or end may leave a pair incomplete. */
static void add_ragged(const struct walk *w, size_t row, size_t n, size_t begin, size_t end) {
    size_t grain = w->parts->grain;
    if (begin < end && begin % grain != 0)
        add_values(w, w->parts->edge, row, n, begin, begin + 1), begin++;
    size_t whole = end / grain * grain;
    add_values(w, w->parts->weigh, row, n, begin, begin < whole ? whole : begin);
    if (begin < end && whole < end)
        add_values(w, w->parts->edge, row, n, whole, end);
}

static size_t down(size_t n, size_t grain) {
    return n / grain * grain;
}

/* The values that all queries see go through for all of them at once, the ragged ends token by token:
 * a query must not meet a value that it does not see, were it with a weight of zero, since
 * the value may be infinite. */
static void compute_values(const struct walk *w) {
    const size_t grain = w->parts->grain, n_rep = w->a->n_rep;
    size_t first = down(w->first, grain), end = down(w->end + grain - 1, grain);
    for (size_t i = 0; i < w->n_rows; i++)
        memset(sums_of(w, i), 0, w->a->layout->padded * sizeof(float));
    if (w->parts->zero_is_nothing) {
        add_values(w, w->parts->weigh, 0, w->n_rows, first, end);
        return;
    }
    size_t all_from = down(begin_of(w, w->n_rows - 1) + grain - 1, grain);
    size_t all_to = down(end_of(w, 0), grain);
    bool common = all_from < all_to;
    size_t n;
    for (int part = 0; part < 3; part++) {
        if (part == 1 && common)
            add_values(w, w->parts->weigh, 0, w->n_rows, all_from, all_to);
        for (size_t i = 0; i < w->n_rows && part != 1; i += n) {
            /* The rest of this token's queries. */
            n = n_rep - (w->row + i) % n_rep;
            n = n < w->n_rows - i ? n : w->n_rows - i;
            if (part == 0)
                add_ragged(w, i, n, begin_of(w, i), common ? all_from : end_of(w, i));
            else if (common)
                add_ragged(w, i, n, all_to, end_of(w, i));
        }
    }
}

static void join_rows(const struct walk *w) {
    const struct attention_args *a = w->a;
    for (size_t i = 0; i < w->n_rows; i++) {
        const struct attention_join join = {.out = a->out + row_offset(w, i, a->out_stride),
                                            .max = a->max + w->row + i,
                                            .sum = a->sum + w->row + i,
                                            .o = sums_of(w, i),
                                            .m = w->max[i],
                                            .l = w->sum[i],
                                            .n = a->layout->head_dim};
        if (begin_of(w, i) < end_of(w, i))
            w->parts->join(&join);
    }
}

static void pack_rows(struct walk *w) {
    const struct kv_layout *l = w->a->layout;
    for (size_t i = 0; i < w->n_rows; i++) {
        const float *q = w->a->q + row_offset(w, i, w->a->q_stride);
        w->factor[i] = w->a->scale;
        if (w->parts->pack)
            w->factor[i] *= w->parts->pack(packed_of(w, i), q, l->head_dim, l->padded);
    }
}

void attention_walk(const struct attention_args *a, const struct attention_parts *parts) {
    const size_t n_queries = a->n_tokens * a->n_rep;
    for (size_t c = a->chunk_begin; c < a->chunk_end; c++) {
        for (size_t row = 0; row < n_queries; row += ATTENTION_ROWS) {
            struct walk w = {.a = a, .parts = parts, .row = row, .chunk = c * CHUNK};
            w.n_rows = n_queries - row < ATTENTION_ROWS ? n_queries - row : ATTENTION_ROWS;
            w.first = begin_of(&w, 0);
            w.end = end_of(&w, w.n_rows - 1);
            if (w.first >= w.end)
                continue;
            for (size_t b = w.first / B; b * B < w.end; b++)
                w.heads[b] = head_at(&w, c * ATTENTION_CHUNK_BLOCKS + b);
            /* When the walk goes on, it is with the next block. */
            size_t next = (w.chunk + w.end - 1) / B + 1;
            bool more = row == 0 && w.end == CHUNK && c + 1 < a->chunk_end &&
                        next * B <= position_of(&w, 0);
            w.after = more ? head_at(&w, next) : w.heads[(w.end - 1) / B];
            pack_rows(&w);
            compute_scores(&w);
            soften_rows(&w);
            compute_values(&w);
            join_rows(&w);
        }
    }
}
