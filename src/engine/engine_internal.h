/* engine_internal.h - what the engine's files share. All of it belongs to the engine's thread but
 * for the part under `lock`. */
#ifndef QUERN_ENGINE_ENGINE_INTERNAL_H
#define QUERN_ENGINE_ENGINE_INTERNAL_H

#include "base/sync.h"
#include "engine/completion.h"
#include "engine/engine.h"
#include "engine/kv_store.h"
#include "engine/ngram.h"
#include "engine/prefix_cache.h"
#include "engine/speed.h"
#include "engine/ticket.h"
#include "engine/unknown_tokens.h"
#include "model/forward.h"
#include "model/kv_cache.h"

enum {
    ENGINE_DRAFTS_MAX = 8,    /* guesses for one request in one step */
    ENGINE_PROBE_TOKENS = 64, /* made without guesses before they are tried again */
    ENGINE_SCORE_ROWS = 24,   /* of prompts whose log-probabilities are wanted, in one step */
};

/* A sequence that was computed and may be continued; its blocks are in the prefix cache for now. */
struct conversation {
    char *salt;
    int32_t *tokens; /* [n_tokens] */
    size_t n_tokens;
    uint64_t ended_ns;
};

enum { DISK_CONVERSATIONS = 64 };

/* disk.c: the prefix cache's longer arm. */
struct disk {
    struct kv_store *store;                          /* NULL: nothing is kept */
    struct conversation unsaved[DISK_CONVERSATIONS]; /* [n_unsaved] the latest last */
    size_t n_unsaved;
    /* The job the store is at. */
    struct conversation at_work;
    bool loading;
    int32_t *blocks; /* [n_blocks] of its tokens, a reference to each */
    size_t n_blocks;
    uint64_t for_order; /* + 1 of the request a load is for */
};

/* draft.c: a smaller model that guesses what the other one will say. */
struct drafter {
    const struct model *model; /* NULL: there is none */
    struct rope rope;
    struct workspace *workspace;
    struct kv_pool *pool; /* whole contexts for all who run: it never lacks a block */
    float *logits;        /* [max_running, vocab_size] */
    size_t logits_bytes;
    struct forward_seq *seqs; /* [max_running] */
    struct request **who;     /* [max_running] */
    size_t n_context, max_tokens;
    double guess_ns; /* that a round of guesses takes, of late; 0: not known */
};

enum request_state {
    REQUEST_WAITING,
    REQUEST_RUNNING,
    REQUEST_PAUSED /* running, reader behind */
};

struct request {
    struct quern_ticket *ticket; /* a reference */
    enum quern_request_kind kind;
    enum request_state state;
    int32_t priority;
    uint64_t order; /* of arrival */
    char *salt; /* the caller's, and what adapters there are: keys and values are theirs only */
    struct adapter_set adapters; /* with references */
    struct engine_extras extras;
    struct completion *completion; /* GENERATE */
    int32_t *score_tokens;         /* [n_score_tokens] SCORE */
    size_t n_score_tokens;

    /* tokens[n_tokens]: the prompt and what was made; the first kv.n_tokens are computed. A request
     * that lacks one token of having all, and has made one, decodes; else it prefills. */
    int32_t *tokens;
    size_t n_tokens, n_prompt, capacity;
    bool scores_prompt; /* log-probabilities of its tokens are wanted */
    size_t n_scored;    /* of them were given */
    struct kv_cache kv; /* zeroed while it waits */
    bool was_started;

    uint64_t submit_ns, start_ns, first_ns, deadline_ns; /* 0: not yet, none */
    uint64_t stalled_ns;                                 /* since when it is paused */
    bool asked_disk; /* whether it has a longer beginning than memory */
    uint64_t behind; /* order + 1 of a request that is computing what this one begins with */
    struct quern_usage usage;

    struct ngram_index ngrams;
    double accept;      /* how often a guess was right, of late */
    size_t since_guess; /* tokens made since one was tried */

    struct kv_cache draft_kv; /* in the drafter's pool; zeroed until it is needed */
    bool no_draft;            /* the draft model does not know its tokens */
    int32_t guesses[ENGINE_DRAFTS_MAX];
    size_t n_guesses; /* made by the draft model for this step */
    size_t n_wanted;  /* while they are made */

    /* this step */
    size_t n_step; /* tokens fed, guesses included; 0: not in it */
    size_t n_drafts;
    bool forced; /* they are no guesses but sure */
    int32_t fed[1 + ENGINE_DRAFTS_MAX]; /* of a decoding request */
    size_t logits_row;                  /* its first */
    float *hidden;                      /* where its hidden state comes */
    bool last_row_only;                 /* its other tokens are sure and need no logits */
    bool all_rows;                      /* it is a prompt, and every token has one */
    bool decoded;                       /* it was fed what it had made, not its prompt */

    struct request *next; /* in `incoming` */
};

struct engine_limits {
    size_t max_running, max_waiting, queue_events;
    int64_t max_waiting_tokens;
    double max_step_ns;
    size_t step_tokens;
    uint64_t max_stall_ns;
    bool prefix_cache;
    enum quern_speculation speculation;
};

struct engine {
    const struct model *model;
    const struct tokenizer *tokenizer;
    int32_t *eos;
    size_t n_eos, n_context, n_room; /* n_room: tokens of a sequence that the pool can hold */
    struct unknown_tokens unknown;
    struct engine_limits limits;
    bool has_head;

    struct adapter_set adapters; /* on every request, first */
    struct rope rope;
    struct workspace *workspace;
    struct kv_pool *pool;
    struct prefix_cache *cache;
    struct disk disk;
    struct drafter drafter;
    float *logits; /* [n_logit_rows + ENGINE_SCORE_ROWS, vocab_size] */
    size_t n_logit_rows, logits_bytes;
    float *hidden;         /* [max_running, hidden_size] */
    int32_t *match_blocks; /* [n_context / PREFIX_BLOCK_TOKENS + 1] */

    struct request **waiting; /* [n_waiting] sorted: who goes first stands first */
    size_t n_waiting, waiting_capacity;
    struct request **running; /* [n_running] sorted likewise */
    size_t n_running;
    struct forward_seq *seqs; /* [max_running] of this step */
    struct request **batch;   /* [n_batch] whose they are */
    size_t n_batch, n_batch_tokens, n_batch_rows;
    bool preempted; /* somebody was, while the step was planned */
    struct speed speed;
    double end_interval_ns; /* between two requests' ends, of late */
    uint64_t last_end_ns, counted_ns;

    struct thread thread;
    struct mutex lock;
    struct condition changed; /* for the thread: something came; for drain: a request ended */
    struct request *incoming, **incoming_tail;
    uint64_t next_order;
    size_t n_queued, n_unfinished; /* not started; not ended */
    int64_t queued_tokens;
    bool stopping, draining, woken;
    uint64_t progress_ns; /* when the last step ended, or work came after none */
    struct quern_engine_stats stats; /* counters, and a snapshot of the rest */
};

/* request.c */
enum quern_status request_create(struct engine *e, const struct quern_request *r,
                                 const struct engine_extras *extras, struct request **out,
                                 struct quern_error *err);
void request_destroy(struct request *r); /* one that was not queued; NULL is fine */
/* Whether a goes before b. */
bool request_precedes(const struct request *a, const struct request *b);
/* A token was made already and all others are computed. */
bool request_decodes(const struct request *r);
/* Tokens of its prompt have yet to get their log-probabilities. */
bool request_scores(const struct request *r);
/* Tokens to compute before the next can be made. */
size_t request_pending(const struct request *r);
/* Keeps what is computed in the prefix cache and lets go of the blocks. */
void request_drop_blocks(struct engine *e, struct request *r);
/* Remembers the whole blocks computed so far. */
void request_share_blocks(struct engine *e, struct request *r);
/* Takes it off its list, gives the reader the end, frees it. `cause` explains
 * QUERN_FINISH_ERROR. `values` becomes the ticket's. */
void request_end(struct engine *e, struct request *r, enum quern_finish finish,
                 const struct quern_error *cause, float *values, size_t n_values);

/* draft.c */
enum quern_status draft_open(struct engine *e, const struct engine_setup *setup,
                             struct quern_error *err);
void draft_close(struct engine *e); /* zeroed is fine */
/* Guesses for every decoding request for which they pay; n_decoding > 0 of them are running. */
void draft_guess(struct engine *e, size_t n_decoding);
void draft_forget(struct request *r); /* lets go of its blocks */

/* disk.c */
enum quern_status disk_open(struct engine *e, const char *dir, uint64_t max_bytes,
                            struct quern_error *err);
/* Writes what is not on disk yet. No step runs any more. Zeroed is fine. */
void disk_close(struct engine *e);
/* The first n_tokens of a request that ends are computed and in the prefix cache. */
void disk_note(struct engine *e, const struct request *r, size_t n_tokens);
void disk_tick(struct engine *e, uint64_t now_ns); /* ends a job, begins the next */
/* Whether the request had better wait: a part of its prompt is being read. */
bool disk_holds(struct engine *e, struct request *r);
uint64_t disk_next_event_ns(const struct engine *e);

/* schedule.c */
/* A free block, for which a cached one may have to go; KV_NO_BLOCK. */
int32_t schedule_spare_block(struct engine *e);
void schedule_sweep(struct engine *e, uint64_t now_ns); /* cancelled, late and stalled ones */
void schedule_admit(struct engine *e, uint64_t now_ns); /* from waiting to running */
void schedule_plan(struct engine *e);                   /* fills batch and seqs */
/* When something must be looked at although nobody calls; UINT64_MAX: never. */
uint64_t schedule_next_event_ns(const struct engine *e);
bool schedule_enqueue(struct engine *e, struct request *r); /* false: no memory */
void schedule_remove(struct engine *e, struct request *r);

/* step.c */
void step_run(struct engine *e);

#endif
