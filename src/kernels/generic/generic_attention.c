/* generic_attention.c - the reference of attention: position by position, in portable C. */
#include "kernels/generic/generic.h"

#include <float.h>
#include <string.h>

#include "kernels/math.h"

enum { CHUNK = ATTENTION_CHUNK, B = KV_BLOCK_TOKENS };

/* ---- storing ----------------------------------------------------------------------- */

/* Element d of position `row`; positions or dimensions lie `side` abreast. */
static size_t k_index(size_t row, size_t d, size_t side) {
    return (d / side * B + row) * side + d % side;
}

static size_t v_index(size_t row, size_t d, size_t side, size_t padded) {
    return (row / side * padded + d) * side + row % side;
}

void generic_kv_store_f32(const struct kv_store_args *a) {
    const struct kv_layout *l = a->layout;
    float *k = (void *)a->head, *v = (void *)(a->head + l->v_offset);
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t row = a->first_row + i;
        for (size_t d = 0; d < l->head_dim; d++)
            k[k_index(row, d, 1)] = a->k[i * a->stride + d];
        memcpy(v + row * l->padded, a->v + i * a->stride, l->head_dim * sizeof *v);
    }
}

void generic_kv_store_bf16(const struct kv_store_args *a) {
    const struct kv_layout *l = a->layout;
    uint16_t *k = (void *)a->head, *v = (void *)(a->head + l->v_offset);
    for (size_t i = 0; i < a->n_rows; i++) {
        size_t row = a->first_row + i;
        for (size_t d = 0; d < l->head_dim; d++) {
            k[k_index(row, d, 2)] = bf16_flushed(a->k[i * a->stride + d]);
            v[v_index(row, d, 2, l->padded)] = bf16_flushed(a->v[i * a->stride + d]);
        }
    }
}

/* The largest magnitude; NaN when a number is not finite. */
static float largest(const float *x, size_t n) {
    float most = 0.0f;
    bool finite = true;
    for (size_t d = 0; d < n; d++) {
        float m = fabsf(x[d]);
        finite = finite && m <= FLT_MAX;
        most = m > most ? m : most;
    }
    return finite ? most : NAN;
}

/* The codes' scale; *times: what the numbers are multiplied by. */
static float int8_scale(const float *x, size_t n, float *times) {
    float most = largest(x, n);
    *times = most >= INT8_LEAST ? 127.0f / most : 0.0f;
    return most < INT8_LEAST ? 0.0f : most / 127.0f;
}

static int code_of(float x, float times) {
    return times > 0.0f ? round_to_int(x * times) : 0;
}

void generic_kv_store_int8(const struct kv_store_args *a) {
    const struct kv_layout *l = a->layout;
    unsigned char *k = a->head;
    signed char *v = (void *)(a->head + l->v_offset);
    float *k_scale = (void *)(a->head + l->k_scale_offset);
    float *v_scale = (void *)(a->head + l->v_scale_offset);
    for (size_t i = 0; i < a->n_rows; i++) {
        const float *from_k = a->k + i * a->stride, *from_v = a->v + i * a->stride;
        size_t row = a->first_row + i;
        float k_times, v_times;
        k_scale[row] = int8_scale(from_k, l->head_dim, &k_times);
        v_scale[row] = int8_scale(from_v, l->head_dim, &v_times);
        for (size_t d = 0; d < l->head_dim; d++) {
            k[k_index(row, d, 4)] = (unsigned char)(code_of(from_k[d], k_times) + 128);
            v[v_index(row, d, 4, l->padded)] = (signed char)code_of(from_v[d], v_times);
        }
    }
}

/* ---- one query and one chunk -------------------------------------------------------- */

struct chunk {
    const struct attention_args *a;
    size_t first, begin, end; /* its first position; those the query sees */
    float w[CHUNK];           /* scores, then weights; from `first` */
    float max, sum;
};

static const unsigned char *head_of(const struct attention_args *a, size_t position) {
    return (const unsigned char *)a->blocks[position / B] + a->head_offset;
}

static void soften(struct chunk *c, bool round) {
    float *w = c->w, s[KERNEL_LANES] = {0};
    c->max = w[c->begin - c->first];
    for (size_t j = c->begin; j < c->end; j++)
        c->max = w[j - c->first] > c->max ? w[j - c->first] : c->max;
    for (size_t j = c->begin; j < c->end; j++) {
        float p = exp32(w[j - c->first] - c->max);
        w[j - c->first] = round ? bf16_to_f32(bf16_flushed(p)) : p;
        s[j % KERNEL_LANES] += w[j - c->first];
    }
    c->sum = fold_lanes(s);
}

static void chunk_f32(struct chunk *c, float *o, const float *q) {
    const struct kv_layout *l = c->a->layout;
    for (size_t j = c->begin; j < c->end; j++) {
        const float *k = (const void *)head_of(c->a, j);
        float s[4] = {0};
        for (size_t d = 0; d < l->head_dim; d++)
            s[d % 4] = fma32(q[d], k[k_index(j % B, d, 1)], s[d % 4]);
        c->w[j - c->first] = ((s[0] + s[2]) + (s[1] + s[3])) * c->a->scale;
    }
    soften(c, false);
    for (size_t j = c->begin; j < c->end; j++) {
        const float *v = (const void *)(head_of(c->a, j) + l->v_offset);
        for (size_t d = 0; d < l->head_dim; d++)
            o[d] = fma32(c->w[j - c->first], v[v_index(j % B, d, 1, l->padded)], o[d]);
    }
}

static float bf16_at(const unsigned char *bytes, size_t i) {
    uint16_t h;
    memcpy(&h, bytes + i * sizeof h, sizeof h);
    return bf16_to_f32(h);
}

static void chunk_bf16(struct chunk *c, float *o, const float *q) {
    const struct kv_layout *l = c->a->layout;
    for (size_t j = c->begin; j < c->end; j++) {
        float s = 0.0f;
        for (size_t d = 0; d < l->head_dim; d += 2)
            for (size_t e = d + 2; e-- > d;)
                s = mac_bf16(bf16_to_f32(bf16_flushed(q[e])),
                             bf16_at(head_of(c->a, j), k_index(j % B, e, 2)), s);
        c->w[j - c->first] = s * c->a->scale;
    }
    soften(c, true);
    for (size_t j = c->begin / 2 * 2; j < c->end; j += 2) {
        for (size_t d = 0; d < l->head_dim; d++) {
            for (size_t e = j + 2; e-- > j;) {
                bool seen = e >= c->begin && e < c->end;
                const unsigned char *v = head_of(c->a, j) + l->v_offset;
                o[d] = mac_bf16(seen ? c->w[e - c->first] : 0.0f,
                                seen ? bf16_at(v, v_index(e % B, d, 2, l->padded)) : 0.0f, o[d]);
            }
        }
    }
}

static void scores_int8(struct chunk *c, const float *q) {
    const struct kv_layout *l = c->a->layout;
    float most = largest(q, l->head_dim);
    float times = most >= INT8_LEAST ? INT8_QUERY / most : 0.0f;
    float factor = (most < INT8_LEAST ? 0.0f : most / INT8_QUERY) * c->a->scale;
    for (size_t j = c->begin; j < c->end; j++) {
        const unsigned char *head = head_of(c->a, j);
        float scale;
        int32_t s = 0;
        for (size_t d = 0; d < l->head_dim; d++)
            s += (times > 0.0f ? round_to_int(q[d] * times) : 0) *
                 (head[k_index(j % B, d, 4)] - 128);
        memcpy(&scale, head + l->k_scale_offset + j % B * sizeof scale, sizeof scale);
        c->w[j - c->first] = (float)s * (scale * factor);
    }
}

static void chunk_int8(struct chunk *c, float *o, const float *q) {
    const struct kv_layout *l = c->a->layout;
    scores_int8(c, q);
    soften(c, false);
    float most = 0.0f, scale;
    bool number = true;
    for (size_t j = c->begin; j < c->end; j++) {
        memcpy(&scale, head_of(c->a, j) + l->v_scale_offset + j % B * sizeof scale, sizeof scale);
        float w = c->w[j - c->first] *= scale;
        number = number && w == w;
        most = w > most ? w : most;
    }
    float times = most >= INT8_LEAST ? INT8_WEIGHT / most : 0.0f;
    float factor = !number ? NAN : most >= INT8_LEAST ? most / INT8_WEIGHT : 0.0f;
    for (size_t d = 0; d < l->head_dim; d++) {
        int32_t s = 0;
        for (size_t j = c->begin; j < c->end && number; j++) {
            const signed char *v = (const void *)(head_of(c->a, j) + l->v_offset);
            s += round_to_int(c->w[j - c->first] * times) * v[v_index(j % B, d, 4, l->padded)];
        }
        o[d] = (float)s * factor;
    }
}

/* ---- all of them ----------------------------------------------------------------------- */

void generic_attention_join(const struct attention_join *a) {
    if (*a->sum == 0.0f) {
        memcpy(a->out, a->o, a->n * sizeof *a->out);
        *a->max = a->m;
        *a->sum = a->l;
        return;
    }
    float max = a->m > *a->max ? a->m : *a->max;
    float old = exp32(*a->max - max), new = exp32(a->m - max);
    for (size_t i = 0; i < a->n; i++)
        a->out[i] = fma32(a->o[i], new, a->out[i] * old);
    *a->sum = fma32(a->l, new, *a->sum * old);
    *a->max = max;
}

static void attend(const struct attention_args *a, void (*fn)(struct chunk *, float *, const float *)) {
    const size_t D = a->layout->head_dim;
    float *o = a->scratch;
    for (size_t i = 0; i < a->n_tokens * a->n_rep; i++) {
        size_t token = i / a->n_rep, head = i % a->n_rep * D;
        size_t end = a->first_position + token + 1;
        size_t first = a->window && end > a->window ? end - a->window : 0;
        for (size_t n = a->chunk_begin; n < a->chunk_end; n++) {
            struct chunk c = {.a = a, .first = n * CHUNK};
            c.begin = first > c.first ? first : c.first;
            c.end = end < c.first + CHUNK ? end : c.first + CHUNK;
            if (c.begin >= c.end)
                continue;
            memset(o, 0, D * sizeof *o);
            fn(&c, o, a->q + token * a->q_stride + head);
            const struct attention_join join = {a->out + token * a->out_stride + head,
                                                a->max + i, a->sum + i, o, c.max, c.sum, D};
            generic_attention_join(&join);
        }
    }
}

void generic_attention_f32(const struct attention_args *a) {
    attend(a, chunk_f32);
}

void generic_attention_bf16(const struct attention_args *a) {
    attend(a, chunk_bf16);
}

void generic_attention_int8(const struct attention_args *a) {
    attend(a, chunk_int8);
}
