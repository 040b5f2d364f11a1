/* session.h - one sequence on a model: its tokens, its KV cache, its last logits. One
 * thread at a time. */
#ifndef QUERN_ENGINE_SESSION_H
#define QUERN_ENGINE_SESSION_H

#include "engine/unknown_tokens.h"
#include "model/forward.h"

struct session {
    const struct model *model;
    struct workspace *workspace;
    struct kv_cache kv;
    struct rope rope;
    int32_t *tokens; /* [kv.n_tokens], room for kv.max_tokens */
    float *logits;   /* [vocab_size] after the last token */
    bool has_logits;
    struct unknown_tokens unknown; /* their logits become -INFINITY */
    size_t prefill_chunk;
    struct adapter_set adapters; /* with references */
};

struct session_options {
    size_t n_context;       /* > 0 */
    size_t prefill_chunk;   /* > 0 */
    bool rope_scaled;       /* apply YaRN */
    enum quern_kv_type kv_type;
    int32_t n_tokens_known; /* of the tokenizer */
    const int32_t *gaps; /* [n_gaps] ids below that which no token has; they outlive the session */
    size_t n_gaps;
    const struct adapter_set *adapters; /* copied; NULL: none */
};

/* QUERN_ERR_UNSUPPORTED for a model without a head: every feed ends in logits. */
enum quern_status session_create(const struct model *m, const struct session_options *o,
                                 struct session **out, struct quern_error *err);
void session_destroy(struct session *s); /* NULL is fine */

/* As quern_session_feed and its companions in quern.h. `all_logits`: [n, vocab_size] or
 * NULL; padding ids are not masked in it. No allocation. */
enum quern_status session_feed(struct session *s, const int32_t *ids, size_t n, float *all_logits,
                               struct quern_error *err);
/* New tokens of one session. */
struct session_input {
    struct session *session;
    const int32_t *ids;
    size_t n_ids; /* > 0 */
};
/* Feeds each of n > 0 sessions what is its own, all together in passes of at most the prefill_chunk of
 * the one with the longest context. `logits`: [n, vocab_size] of their last tokens, padding ids not
 * masked, or NULL. All of it is checked first: sessions of one model, none twice, keys and values of
 * one type (QUERN_ERR_ARG), room for the tokens (QUERN_ERR_CONTEXT). Errors name the row. */
enum quern_status session_feed_many(const struct session_input *inputs, size_t n, float *logits,
                                    struct quern_error *err);
enum quern_status session_sync(struct session *s, const int32_t *ids, size_t n, size_t *n_reused,
                               struct quern_error *err);
enum quern_status session_truncate(struct session *s, size_t n_tokens, struct quern_error *err);

#endif
