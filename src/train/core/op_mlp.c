/* act = silu(gate) * up, and dropout. */
#include "base/rng.h"
#include "train/core/pass.h"

struct mlp_call {
    const struct train_kernels *k;
    float *gate, *up, *act;
    const float *g, *u, *dact;
};

static void silu_share(void *ctx, size_t begin, size_t end) {
    const struct mlp_call *c = ctx;
    c->k->silu(c->act + begin, c->g + begin, c->u + begin, end - begin);
}

void op_silu(struct pass *p, float *act, const float *gate, const float *up, size_t n) {
    struct mlp_call c = {.k = p->c->train, .act = act, .g = gate, .u = up};
    compute_for(p->c, n, 1024, silu_share, &c);
}

static void silu_back_share(void *ctx, size_t begin, size_t end) {
    const struct mlp_call *c = ctx;
    c->k->silu_back(c->gate + begin, c->up + begin, c->dact + begin, end - begin);
}

/* dgate = dact up s (1 + gate (1 - s)), dup = dact gate s,  s = sigmoid(gate) */
void op_silu_back(struct pass *p, float *gate, float *up, const float *dact, size_t n) {
    struct mlp_call c = {.k = p->c->train, .gate = gate, .up = up, .dact = dact};
    compute_for(p->c, n, 1024, silu_back_share, &c);
}

/* ---- dropout -------------------------------------------------------------------------------------- */

struct dropout_call {
    const struct pass *p;
    float *y;
    const float *x;
    size_t n;
    float rate;
    uint32_t site;
    bool add;
};

/* A block of the generator serves four neighbours. */
static void dropout_share(void *ctx, size_t begin, size_t end) {
    const struct dropout_call *c = ctx;
    const uint64_t stream = c->p->step << 24 | c->p->grain, first = (uint64_t)c->site << 40;
    const uint32_t limit = (uint32_t)((double)c->rate * 0x1p32);
    const float keep = 1.0f / (1.0f - c->rate);
    for (size_t b = begin; b < end; b++) {
        uint32_t r[4];
        rng_block(c->p->seed, stream, first | b, r);
        for (size_t i = 4 * b, j = 0; j < 4 && i + j < c->n; j++) {
            const float v = r[j] < limit ? 0.0f : c->x[i + j] * keep;
            c->y[i + j] = c->add ? c->y[i + j] + v : v;
        }
    }
}

void op_dropout(struct pass *p, float *y, const float *x, size_t n, float rate, uint32_t site) {
    struct dropout_call c = {p, y, x, n, rate, site, false};
    compute_for(p->c, (n + 3) / 4, 256, dropout_share, &c);
}

void op_dropout_back(struct pass *p, float *y, const float *x, size_t n, float rate, uint32_t site) {
    struct dropout_call c = {p, y, x, n, rate, site, true};
    compute_for(p->c, (n + 3) / 4, 256, dropout_share, &c);
}
