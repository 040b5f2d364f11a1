/* avx512_attention.c - a tile of queries (tokens x the query heads of one KV head) walks the keys once
 * and the values once: scores into scratch, softmax there, then the weighted values. */
#include "kernels/avx512/avx512.h"

/* The queries of one tile and what they see. Query i is token i / n_rep, head i % n_rep. */
struct walk {
    const struct attention_args *a;
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

static size_t block_end(size_t begin, size_t end) {
    size_t next = (begin / KV_BLOCK_TOKENS + 1) * KV_BLOCK_TOKENS;
    return next < end ? next : end;
}

/* Every query against every key, also those a query does not see: they are ignored below. */
static void compute_scores(const struct walk *w) {
    const struct attention_args *a = w->a;
    size_t n_queries = w->n_tokens * a->n_rep;
    for (size_t j = w->first, next; j < w->end; j = next) {
        next = block_end(j, w->end);
        struct tile t = {.w = (const unsigned char *)block_row(a, j, a->k_offset),
                         .w_stride = a->head_dim * sizeof(float),
                         .n_cols = a->head_dim,
                         .n_rows = next - j};
        for (size_t i = 0; i < n_queries; i += TILE_TOKENS) {
            size_t n = n_queries - i < TILE_TOKENS ? n_queries - i : TILE_TOKENS;
            for (size_t g = 0; g < n; g++) {
                t.x[g] = q_of(w, i + g);
                t.y[g] = scores_of(w, i + g) + (j - w->first);
            }
            avx512_tile_f32[n](&t);
        }
    }
}

/* s = exp(s * scale - max) over one query's visible scores; their sum. */
static float exp_scores(float *s, size_t n, float scale) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY), factor = _mm512_set1_ps(scale);
    __m512 max = lowest;
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, s + j), factor);
        _mm512_mask_storeu_ps(s + j, m, x);
        max = _mm512_mask_max_ps(max, m, max, x);
    }
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    __m512 sum = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        __m512 p = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, s + j), top));
        _mm512_mask_storeu_ps(s + j, m, p);
        sum = _mm512_mask_add_ps(sum, m, sum, p);
    }
    return fold1(sum);
}

/* ---- weighted values ------------------------------------------------------------ */

/* out[q][0..head_dim) = fma(p[q][j], v[j]) for j in [0, n) in order, for up to TILE_TOKENS queries;
 * the 64 columns in hand stay in registers meanwhile. */
struct weighing {
    float *out[TILE_TOKENS];
    const float *p[TILE_TOKENS];
    const float *v;
    size_t n, head_dim;
};

#define EACH_1(M) M(0)
#define EACH_2(M) M(0) M(1)
#define EACH_3(M) M(0) M(1) M(2)
#define EACH_4(M) M(0) M(1) M(2) M(3)
#define EACH_5(M) M(0) M(1) M(2) M(3) M(4)
#define EACH_6(M) M(0) M(1) M(2) M(3) M(4) M(5)

#define LOAD_4(q)                                                                                \
    const float *p##q = a->p[q];                                                                 \
    __m512 s##q##0 = _mm512_loadu_ps(a->out[q] + i), s##q##1 = _mm512_loadu_ps(a->out[q] + i + 16); \
    __m512 s##q##2 = _mm512_loadu_ps(a->out[q] + i + 32), s##q##3 = _mm512_loadu_ps(a->out[q] + i + 48);
#define STEP_4(q)                                   \
    {                                               \
        __m512 p = _mm512_set1_ps(p##q[j]);         \
        s##q##0 = _mm512_fmadd_ps(p, v0, s##q##0);  \
        s##q##1 = _mm512_fmadd_ps(p, v1, s##q##1);  \
        s##q##2 = _mm512_fmadd_ps(p, v2, s##q##2);  \
        s##q##3 = _mm512_fmadd_ps(p, v3, s##q##3);  \
    }
#define STORE_4(q)                                \
    _mm512_storeu_ps(a->out[q] + i, s##q##0);      \
    _mm512_storeu_ps(a->out[q] + i + 16, s##q##1); \
    _mm512_storeu_ps(a->out[q] + i + 32, s##q##2); \
    _mm512_storeu_ps(a->out[q] + i + 48, s##q##3);

#define LOAD_1(q)                \
    const float *p##q = a->p[q]; \
    __m512 s##q = _mm512_maskz_loadu_ps(m, a->out[q] + i);
#define STEP_1(q) s##q = _mm512_fmadd_ps(_mm512_set1_ps(p##q[j]), v0, s##q);
#define STORE_1(q) _mm512_mask_storeu_ps(a->out[q] + i, m, s##q);

#define DEFINE_WEIGH(Q)                                                                  \
    static inline void weigh64_##Q(const struct weighing *a, size_t i) {                 \
        const float *v = a->v + i;                                                       \
        EACH_##Q(LOAD_4) for (size_t j = 0; j < a->n; j++, v += a->head_dim) {           \
            __m512 v0 = _mm512_loadu_ps(v), v1 = _mm512_loadu_ps(v + 16);                \
            __m512 v2 = _mm512_loadu_ps(v + 32), v3 = _mm512_loadu_ps(v + 48);           \
            EACH_##Q(STEP_4)                                                             \
        }                                                                                \
        EACH_##Q(STORE_4)                                                                \
    }                                                                                    \
    static inline void weigh16_##Q(const struct weighing *a, size_t i) {                 \
        const float *v = a->v + i;                                                       \
        __mmask16 m = first_lanes(a->head_dim - i < 16 ? a->head_dim - i : 16);          \
        EACH_##Q(LOAD_1) for (size_t j = 0; j < a->n; j++, v += a->head_dim) {           \
            __m512 v0 = _mm512_maskz_loadu_ps(m, v);                                     \
            EACH_##Q(STEP_1)                                                             \
        }                                                                                \
        EACH_##Q(STORE_1)                                                                \
    }                                                                                    \
    static void weigh_##Q(const struct weighing *a) {                                    \
        size_t i = 0;                                                                    \
        for (; i + 64 <= a->head_dim; i += 64)                                           \
            weigh64_##Q(a, i);                                                           \
        for (; i < a->head_dim; i += 16)                                                 \
            weigh16_##Q(a, i);                                                           \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

static void (*const weigh[TILE_TOKENS + 1])(const struct weighing *) = {
    NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

/* Values of positions [begin, end), all in one block, for `n` queries that all see them. */
static void add_values(const struct walk *w, size_t query, size_t n, size_t begin, size_t end) {
    struct weighing g = {.v = block_row(w->a, begin, w->a->v_offset),
                         .n = end - begin,
                         .head_dim = w->a->head_dim};
    for (size_t i = 0; i < n; i += TILE_TOKENS) {
        size_t some = n - i < TILE_TOKENS ? n - i : TILE_TOKENS;
        for (size_t q = 0; q < some; q++) {
            g.out[q] = out_of(w, query + i + q);
            g.p[q] = scores_of(w, query + i + q) + (begin - w->first);
        }
        weigh[some](&g);
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

static void divide(float *x, size_t n, float by) {
    const __m512 d = _mm512_set1_ps(by);
    for (size_t i = 0; i < n; i += KERNEL_LANES) {
        __mmask16 m = n - i < KERNEL_LANES ? first_lanes(n - i) : (__mmask16)0xFFFF;
        _mm512_mask_storeu_ps(x + i, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, x + i), d));
    }
}

static void attend(const struct walk *w) {
    const struct attention_args *a = w->a;
    size_t n_queries = w->n_tokens * a->n_rep;
    compute_scores(w);
    for (size_t i = 0; i < n_queries; i++) {
        size_t from = visible_first(w, i / a->n_rep), to = visible_end(w, i / a->n_rep);
        *sum_of(w, i) = exp_scores(scores_of(w, i) + (from - w->first), to - from, a->scale);
        memset(out_of(w, i), 0, a->head_dim * sizeof(float));
    }
    compute_values(w);
    for (size_t i = 0; i < n_queries; i++)
        divide(out_of(w, i), a->head_dim, *sum_of(w, i));
}

void avx512_attention(const struct attention_args *a) {
    size_t tile = attention_tile_tokens(a->n_rep);
    for (size_t t = 0; t < a->n_tokens; t += tile) {
        struct walk w = {.a = a, .token = t, .n_tokens = a->n_tokens - t < tile ? a->n_tokens - t : tile};
        w.first = visible_first(&w, 0);
        w.end = visible_end(&w, w.n_tokens - 1);
        w.row_floats = (w.end - w.first + 15) / 16 * 16 + 16;
        attend(&w);
    }
}
