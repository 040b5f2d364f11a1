/* pass.h - one row forward and back. Each operation has its two directions side by side in a file
 * op_*.c: op_x reads x and writes y, op_x_back reads dy (and what the forward pass kept) and writes
 * or adds dx and the gradients of parameters. */
#ifndef QUERN_TRAIN_PASS_H
#define QUERN_TRAIN_PASS_H

#include "train/core/network.h"
#include "train/core/panels.h"

/* What a linear layer with an adapter keeps. */
struct linear_kept {
    float *xa;  /* [T,r]: s A dropout(x) */
    float *pre; /* [T,rows]: DoRA's output before gain and bias */
};

/* What a layer keeps; with checkpointing one of these serves all. */
struct layer_kept {
    float *h1, *h2;             /* [T,H] normed */
    float *q_raw, *k_raw;       /* [T,Q] [T,K] before the head norm */
    float *q, *k, *v;           /* after RoPE */
    float *most, *total;        /* [T,n_heads] of softmax */
    float *attended;            /* [T,Q] */
    float *mid;                 /* [T,H] between attention and MLP */
    float *gate, *up, *act;     /* [T,I], experts: [T*k,M] by expert */
    float *r1, *r2, *rq, *rk;   /* reciprocal root mean squares */
    float *probs;               /* [T,E] */
    struct moe_plan plan;
    struct linear_kept lq, lk, lv, lo, lgate, lup, ldown;
};

/* What the linear layers at hand multiply: n rows of x, packed in pass.input_panels. */
struct input {
    const float *x;
    size_t n, cols;
};

struct pass {
    struct compute *c;
    struct net *net;
    size_t max_row, n_kept;
    size_t max_rank;    /* of all adapters */
    struct arena arena; /* of what is small */
    char *room;         /* owned: of what is below */
    size_t room_bytes;
    /* The row at hand. */
    const struct train_row *row;
    size_t T;
    float *grads;       /* [n_values]; NULL: no way back */
    bool *is_fresh;     /* [n_params]: its gradients have not been written by this row yet */
    uint64_t seed, step, grain;
    float neftune;
    bool is_training;   /* dropout and noise */
    bool checkpointing;
    /* Room. */
    float **xs;         /* [n_layers + 1] each [T,H]: layers' inputs */
    struct layer_kept *kept;
    float *cos, *sin;   /* [T,D/2] */
    float *h, *dh;      /* [T,H] */
    float *dx;          /* [T,H] */
    float *dq, *dk, *dv, *datt; /* [T,Q] [T,K] [T,K] [T,Q] */
    float *dact;        /* [T,I] */
    float *dropped;     /* [T, longest input] or NULL */
    float *drank;       /* [T,r] */
    float *scores;      /* per worker: 2 x [ATTENTION_QUERIES, T] */
    size_t head_rows;   /* labelled tokens that go through the head together */
    float *logits;      /* [head_rows, V] */
    float *picked, *dpicked; /* [T,H] labelled rows */
    size_t *labelled;    /* [T] their places */
    float *rhead;        /* [T] */
    float *gathered, *dgathered; /* [T,H]: rows before the final norm; an expert's tokens */
    float *dprobs;      /* [T,E] */
    struct input in;
    /* Operands as the tiles take them (panels.h). */
    void *input_panels; /* of a: x of op_input */
    void *grad_panels;  /* of a: dy */
    void *rank_panels;  /* of a: [T,r] */
    void *side_panels;  /* of b: an adapter's A or B */
    void *logit_panels; /* of a: [head_rows, V] */
    void *dense;        /* of b: a coded matrix; or a coded head, decoded */
    char *decoded;      /* per worker: rows of a coded matrix */
    size_t decoded_bytes;
    char *kept_panels;  /* owned: the base's matrices, or NULL */
    size_t kept_bytes, let_go_bytes; /* these, and of the mapped matrices that they stand for */
    float *dside;       /* [r, rows]: gradient of B, lying */
};

/* Fewer rows of the head where memory is what counts. */
enum { ATTENTION_QUERIES = 96, HEAD_ROWS_MAX = 512 };

enum quern_status pass_init(struct pass *p, struct compute *c, struct net *n, const struct train_options *o,
                            struct quern_error *err);
void pass_release(struct pass *p); /* zeroed is fine */
/* What pass_init would take. */
size_t pass_bytes(const struct pass *p);

struct row_weights {
    float answer, emphasized, prompt; /* what each label's cross entropy is multiplied by */
};
struct row_losses {
    double answer, prompt; /* sums over the labels */
};
/* With p->grads: the row's gradients are written there. */
struct row_losses pass_row(struct pass *p, const struct train_row *row, struct row_weights w);

/* ---- operations ------------------------------------------------------------------------------- */

/* Where a parameter's gradients are to be added, or NULL. */
float *grad_of(const struct pass *p, const struct param *w);
/* The same for who writes all of them: *add tells whether something is there. So large matrices need not
 * be zeroed first. */
float *grad_to_write(const struct pass *p, const struct param *w, bool *add);

void op_embed(struct pass *p, float *x);
void op_embed_back(struct pass *p, const float *dx);

/* n rows of s->n; r keeps n numbers. */
void op_norm(struct pass *p, const struct scaling *s, float *y, const float *x, float *r, size_t n);
/* dx = (or += with add, which uses up dy) */
void op_norm_back(struct pass *p, const struct scaling *s, float *dx, float *dy, const float *x,
                  const float *r, size_t n, bool add);

/* Packs n rows of x, which the op_linear that follow multiply. */
void op_input(struct pass *p, const float *x, size_t n, size_t cols);
void op_linear(struct pass *p, const struct linear *l, float *y, struct linear_kept *kept);
/* What op_linear keeps, and no more than that takes; y is room. */
void op_linear_keep(struct pass *p, const struct linear *l, float *y, struct linear_kept *kept);
/* dx may be NULL. dy is used up. */
void op_linear_back(struct pass *p, const struct linear *l, float *dx, float *dy, const float *x, size_t n,
                    const struct linear_kept *kept, bool add);
/* DoRA's norms, once a step. */
void op_linear_prepare(struct pass *p, const struct linear *l);

/* Rotates n_heads heads of each token, in place. */
void op_rope(struct pass *p, float *x, size_t n_heads);
void op_rope_back(struct pass *p, float *dx, size_t n_heads);

void op_attention(struct pass *p, const struct layer *l, struct layer_kept *k);
/* datt -> dq, dk, dv (after RoPE) */
void op_attention_back(struct pass *p, const struct layer *l, const struct layer_kept *k);

void op_silu(struct pass *p, float *act, const float *gate, const float *up, size_t n);
/* gate and up become their gradients */
void op_silu_back(struct pass *p, float *gate, float *up, const float *dact, size_t n);

/* y[T,H] = experts of h2; kept in k. */
void op_moe(struct pass *p, const struct layer *l, struct layer_kept *k, float *y);
/* dh = from dy */
void op_moe_back(struct pass *p, const struct layer *l, struct layer_kept *k, float *dh, const float *dy);

/* Final norm, head and cross entropy of labelled tokens; dx [T,H] when there is a way back. */
struct row_losses op_head(struct pass *p, float *dx, const float *x, struct row_weights w);

/* y = x times 0 or 1 / (1 - rate); the same numbers for the same site, step and row. */
void op_dropout(struct pass *p, float *y, const float *x, size_t n, float rate, uint32_t site);
/* y += the same of x */
void op_dropout_back(struct pass *p, float *y, const float *x, size_t n, float rate, uint32_t site);

/* A matrix as it lies in memory; coded ones are decoded to p->dense. For the head, and for exact products. */
struct operand {
    const void *data;
    enum dtype dtype;
};
struct operand op_weight(struct pass *p, const struct linear *l);
size_t op_weight_bytes(const struct pass *p, const struct linear *l); /* of p->dense it takes */
/* The matrix as the first b of s, its rows for x W^T, its columns for dy W: kept packed, decoded and packed to
 * p->dense, or as it lies. */
void op_weight_term(struct pass *p, const struct linear *l, bool columns, struct panel_sum *s);
size_t op_weight_panel_bytes(const struct pass *p, const struct linear *l, bool columns);
/* Keeps the base's matrices packed for both directions, where options ask for it and memory allows it. */
enum quern_status op_weight_keep(struct pass *p, const struct train_options *o, struct quern_error *err);

#endif
