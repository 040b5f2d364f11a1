/* forward.h - the transformer, read top to bottom in forward.c. */
#ifndef QUERN_MODEL_FORWARD_H
#define QUERN_MODEL_FORWARD_H

#include "model/adapter.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "model/rope.h"

/* Activations for up to max_tokens (> 0) tokens at once, over sequences of up to
 * max_context positions. One thread at a time. */
struct workspace;
enum quern_status workspace_create(const struct model *m, size_t max_tokens, size_t max_context,
                                   struct workspace **out, struct quern_error *err);
void workspace_destroy(struct workspace *ws); /* NULL is fine */
/* Device memory a workspace takes. */
enum quern_status workspace_bytes(const struct hf_config *c, size_t max_tokens, size_t *bytes,
                                  struct quern_error *err);

/* Consecutive new tokens of one sequence. */
struct forward_seq {
    struct kv_cache *kv; /* no two sequences of a call share one */
    const struct rope *rope;
    const int32_t *ids;
    size_t n_ids;    /* > 0 */
    bool all_logits; /* logits of every token, else of the last only */
    bool no_logits;  /* none at all (an inner chunk of a prompt) */
    float *hidden;   /* host [hidden_size]: what the head would see of the last token, its state
                        after the final norm (embeddings). Only with no_logits; NULL: not wanted */
    const struct adapter_set *adapters; /* of this model; NULL: none. Keys and values already in kv
                                           must be of the same */
};

/* Computes the tokens of all sequences, appends them to their caches, and writes the logits
 * asked for to logits[n_rows, vocab_size] (host memory; NULL when no_logits everywhere) in
 * order. The sum of n_ids must not exceed the workspace's max_tokens; ids must be below
 * vocab_size; each cache must have room (QUERN_ERR_CONTEXT), and their pools free blocks for what
 * is appended (QUERN_ERR_LIMIT). All of it is checked, and the blocks are taken, first: on failure
 * nothing was appended. All caches have the same layout. No allocation. The bits of a row depend
 * only on the sequence's own tokens. */
enum quern_status forward(const struct model *m, struct workspace *ws,
                          const struct forward_seq *seqs, size_t n_seqs, float *logits,
                          struct quern_error *err);

/* QUERN_ERR_UNSUPPORTED when the model has no head to compute logits with. */
enum quern_status forward_check_head(const struct model *m, struct quern_error *err);

/* QUERN_ERR_ARG, naming the index, when an id is not in [0, vocab_size). */
enum quern_status forward_check_ids(const struct model *m, const int32_t *ids, size_t n_ids,
                                    struct quern_error *err);

#endif
