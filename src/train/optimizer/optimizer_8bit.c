/* AdamW with moments of 8 bits, as bitsandbytes keeps them: blocks of 256, each scaled by its largest
 * magnitude; codes of the dynamic map, signed for m, of one sign for v (which is never negative). A
 * block is decoded, stepped and coded again. */
#include <math.h>

#include "quant/quantizer.h"
#include "train/optimizer/optimizer.h"

enum { BLOCK = OPTIMIZER_BLOCK };

/* create_dynamic_map(signed=False): 2^(i+1) midpoints between 0.1 and 1, times 10^(i-6); 0 and 1. */
void unsigned_dynamic_map(float out[256]) {
    size_t n = 0;
    double power = 1e-6;
    out[n++] = 0.0f;
    for (int i = 0; i < 7; i++, power *= 10) {
        const int items = 2 << i;
        for (int j = 0; j < items; j++)
            out[n++] = (float)(power * (0.1 + 0.9 * ((double)j + 0.5) / items));
    }
    out[n] = 1.0f;
}

/* The nearest entry of an ascending map. */
static uint8_t nearest(const float map[256], float x) {
    size_t lo = 0, hi = 255;
    while (hi - lo > 1) {
        const size_t mid = (lo + hi) / 2;
        if (map[mid] <= x)
            lo = mid;
        else
            hi = mid;
    }
    return (uint8_t)(x - map[lo] <= map[hi] - x ? lo : hi);
}

static void decode(const float map[256], const uint8_t *q, float most, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = map[q[i]] * most;
}

static void encode(const float map[256], uint8_t *q, float *most, const float *x, size_t n) {
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    *most = largest;
    for (size_t i = 0; i < n; i++)
        q[i] = nearest(map, largest > 0 ? x[i] / largest : 0.0f);
}

struct coded_call {
    const struct optimizer *p;
    const struct param *w;
    const float *grad;
    const struct adamw_rates *rates;
    size_t block; /* the parameter's first */
};

static void blocks_share(void *ctx, size_t begin, size_t end) {
    const struct coded_call *c = ctx;
    const struct optimizer *p = c->p;
    for (size_t b = begin; b < end; b++) {
        const size_t at = b * BLOCK, n = c->w->n - at < BLOCK ? c->w->n - at : BLOCK;
        uint8_t *m8 = p->m8 + c->w->offset + at, *v8 = p->v8 + c->w->offset + at;
        float *most_m = p->most + 2 * (c->block + b), *most_v = most_m + 1;
        float m[BLOCK], v[BLOCK];
        decode(dynamic_map, m8, *most_m, m, n);
        decode(p->unsigned_map, v8, *most_v, v, n);
        p->c->train->adamw(p->n->values + c->w->offset + at, c->grad + at, m, v, n, c->rates);
        encode(dynamic_map, m8, most_m, m, n);
        encode(p->unsigned_map, v8, most_v, v, n);
    }
}

void adamw_8bit_step(const struct optimizer *p, const struct param *w, size_t index, const float *grads,
                     const struct adamw_rates *rates) {
    struct coded_call c = {.p = p,
                           .w = w,
                           .grad = grads + w->offset,
                           .rates = rates,
                           .block = w->offset / BLOCK + index};
    compute_for(p->c, (w->n + BLOCK - 1) / BLOCK, 16, blocks_share, &c);
}
