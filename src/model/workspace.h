/* workspace.h - the forward pass's memory, laid out once. The letters are those of
 * forward.c; T is the most tokens of one call. */
#ifndef QUERN_MODEL_WORKSPACE_H
#define QUERN_MODEL_WORKSPACE_H

#include "base/arena.h"
#include "model/forward.h"
#include "model/moe.h"

/* Rows of logits computed at a time: bounds the buffer to 19 MiB at Qwen3's vocabulary. */
enum { WORKSPACE_LOGITS_ROWS = 32 };

struct workspace {
    struct device *device;
    size_t max_tokens, max_context;

    /* Device memory, slices of one block. */
    void *block;
    size_t block_bytes;
    float *x;          /* [T,H] the residual stream */
    float *h;          /* [T,H] normalized input of a sublayer, then its output */
    float *q, *k, *v;  /* [T,Q] [T,K] [T,K] */
    float *attended;   /* [T,Q] */
    float *gate, *up;  /* [T,I], I the larger of the dense and the experts' */
    float *cos, *sin;  /* [T,D/2] */
    float *logits;     /* [WORKSPACE_LOGITS_ROWS,V] */
    float *router;     /* [T,E] MoE only, as are the next three */
    float *moe_out;    /* [T,H] sum over a token's experts */
    float *expert_in;  /* [T,H] tokens gathered for one expert */
    float *expert_out; /* [T,H] */
    /* Of the adapters, R their rank, out what a linear layer gives; for adapter_rows tokens at a time,
     * or fewer where out is large. */
    float *adapter_low;  /* [adapter_rows,R] */
    float *adapter_out;  /* [adapter_out_floats] */
    size_t adapter_rows, adapter_out_floats;

    /* Host memory. */
    struct arena arena;
    int32_t *ids;               /* [T] */
    int32_t *rows;              /* [T] rows whose logits are wanted */
    struct attention_seq *seqs; /* [T] */
    float *host_cos, *host_sin; /* [T,D/2] */
    float *host_router;         /* [T,E] */
    const struct adapter_set **row_adapters; /* [T] of each token; with has_adapters */
    bool has_adapters;
    struct moe_plan moe;
};

#endif
