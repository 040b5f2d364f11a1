/* quern.h - the public interface of libquern: run Qwen3-family models from the directories that
 * Hugging Face publishes.
 *
 * Conventions, true for every function here:
 *   errors     Functions that can fail return enum quern_status and take an optional `struct
 *              quern_error *err` last. It may be NULL. It is filled on failure and untouched on
 *              success. Output parameters are untouched on failure.
 *   pointers   NULL is fine only where it says so. Functions with a status answer it with
 *              QUERN_ERR_ARG, the others do not look.
 *   ownership  x_open/x_create make an object the caller must x_close/x_destroy; those accept NULL.
 *              Sessions go before their model. Text returned through `char **` is NUL-terminated and
 *              freed with quern_free().
 *   threads    A quern_model is immutable after opening and may be shared by threads. A quern_session
 *              or quern_sampler belongs to one thread at a time; different sessions of one model may
 *              run on different threads. A model's worker threads do not survive fork(): the child
 *              may not use it.
 *   output     None, but for warnings on stderr about checkpoints that are odd and still
 *              usable; quern_set_log() sends them elsewhere.
 *   text       UTF-8, lengths in bytes.  Token ids are int32_t, 0 <= id < n_vocab.
 */
#ifndef QUERN_H
#define QUERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QUERN_API __attribute__((visibility("default")))
#else
#define QUERN_API
#endif

#define QUERN_VERSION_MAJOR 0
#define QUERN_VERSION_MINOR 1
#define QUERN_VERSION_PATCH 0

/* ---- errors ------------------------------------------------------------- */

enum quern_status {
    QUERN_OK = 0,
    QUERN_ERR_ARG,         /* the caller passed something out of range */
    QUERN_ERR_NOMEM,       /* memory ran out */
    QUERN_ERR_IO,          /* a file could not be opened, read or written */
    QUERN_ERR_FORMAT,      /* a file or text is not what its format demands */
    QUERN_ERR_UNSUPPORTED, /* well-formed, but not something Quern can do */
    QUERN_ERR_LIMIT,       /* a stated limit was exceeded */
    QUERN_ERR_CONTEXT,     /* the context window is full */
    QUERN_ERR_STATE,       /* called in the wrong order, or logits that cannot be sampled (NaN) */
    QUERN_ERR_CANCELLED,   /* a callback asked to stop */
    QUERN_ERR_TEMPLATE,    /* the chat template refused or failed */
};

struct quern_error {
    enum quern_status code;
    char message[508]; /* names the file, tensor or key; found; expected */
};

/* Short English name of a status, never NULL. */
QUERN_API const char *quern_status_name(enum quern_status status);

QUERN_API const char *quern_version(void); /* "0.1.0" */

/* Frees text and arrays this library returned. NULL is fine. */
QUERN_API void quern_free(void *ptr);

/* ---- messages ------------------------------------------------------------ */

enum quern_log_level {
    QUERN_LOG_ERROR = 0,
    QUERN_LOG_WARNING, /* the last one the library writes today */
    QUERN_LOG_INFO,
    QUERN_LOG_DEBUG,
};

/* From now on, and for the whole process, the library's messages go to `fn` instead of stderr;
 * NULL silences them. Failures are not among them: they are returned. `message` is one line of
 * UTF-8 without a newline, valid during the call. Any thread may set it at any time, and after
 * that the function set before is not running and will not be called. Calls come from any thread
 * that uses the library, one at a time; `fn` may not call the library. */
QUERN_API void quern_set_log(void (*fn)(void *user, int level, const char *message), void *user);

/* ---- model -------------------------------------------------------------- */

typedef struct quern_model quern_model;

/* Which YaRN scaling applies when config.json asks for it. */
enum quern_yarn {
    QUERN_YARN_AUTO = 0, /* only when the session's context exceeds the original one */
    QUERN_YARN_ALWAYS,   /* as transformers does */
    QUERN_YARN_NEVER,
};

/* In what form matrices are held. */
enum quern_weights {
    QUERN_WEIGHTS_AUTO = 0, /* as the checkpoint has them, quantized ones too */
    QUERN_WEIGHTS_BF16,
    QUERN_WEIGHTS_F32,
    /* Made while loading: docs/quantization.md */
    QUERN_WEIGHTS_INT8, /* 8.1 bits a weight */
    QUERN_WEIGHTS_INT4, /* 4.4 bits */
    QUERN_WEIGHTS_NF4,  /* 4.5 bits */
    QUERN_WEIGHTS_FP8,  /* 8.1 bits */
};

/* How products with them are computed (docs/NUMERICS.md). Either way results are the same to the
 * last bit on every CPU, alone or in a batch. */
enum quern_math {
    QUERN_MATH_AUTO = 0, /* fast for what was quantized while loading, else exact */
    QUERN_MATH_EXACT,    /* activations in float32 */
    QUERN_MATH_FAST,     /* activations rounded to what the weights are made for: int8 or bfloat16 */
};

/* A LoRA adapter as the package peft saves it: a directory with adapter_config.json and
 * adapter_model.safetensors. */
struct quern_adapter_source {
    const char *dir;
    float scale; /* of what it adds; 1 is as it was trained */
};

struct quern_model_options {
    int n_threads;            /* 0: one per available core */
    const char *cpu;          /* NULL or "auto"; a name that `quern run --help` lists */
    bool tokenizer_only;      /* do not map the weights (tokenize, render) */
    bool weights_only;        /* do not read tokenizer and chat template, which may be missing
                                 (logits of ids); what needs them gives QUERN_ERR_STATE */
    enum quern_weights weights;
    /* The same for the embedding and the head; AUTO: as the others, but int8 where they are made int8,
     * int4, nf4 or fp8 (and an embedding that is not also the head stays as it is). */
    enum quern_weights embed_weights;
    enum quern_math math;
    /* [n_adapters], 8 at most: on every sequence computed with the model, one added after the other. */
    const struct quern_adapter_source *adapters;
    size_t n_adapters;
    /* NULL, or a directory for matrices that loading makes (by `weights`, or from a quantized
     * checkpoint): they are written there once, and later starts map them. */
    const char *cache_dir;
    /* Called while loading, fraction in [0,1]. NULL: silent. */
    void (*on_progress)(void *user, double fraction);
    void *user;
};

/* Sampling defaults of the checkpoint and facts about it. */
struct quern_model_info {
    /* "Qwen3ForCausalLM"; owned by the model. When a model opened with tokenizer_only has no usable
     * config.json: "", n_vocab is n_tokens, and the other numbers are 0. */
    const char *architecture;
    int64_t n_params;
    int32_t n_vocab;          /* width of a logits row */
    int32_t n_tokens;         /* the tokenizer's largest id + 1, or n_vocab with weights_only */
    int32_t n_layers;
    int32_t hidden_size;
    int32_t max_context;      /* tokens the checkpoint was made for, with its rope scaling */
    bool has_chat_template;
    bool can_think;           /* the template knows enable_thinking or <think> */
};

/* Opens a Hugging Face model directory, or a GGUF file. `options` NULL: defaults. The weights stay
 * where they are, mapped: replace their files by renaming, since whoever shortens one kills the
 * process (SIGBUS), and whoever writes into one changes the model. */
QUERN_API enum quern_status quern_model_open(const char *dir,
                                             const struct quern_model_options *options,
                                             quern_model **out, struct quern_error *err);
QUERN_API void quern_model_close(quern_model *model);
QUERN_API void quern_model_get_info(const quern_model *model, struct quern_model_info *out);

/* ---- adapters ------------------------------------------------------------- */

/* An adapter to be given to single sessions and requests: y = W x + s B (A x) for the linear layers it
 * has, s = scale * alpha / r (rsLoRA, DoRA and patterns as peft has them). Sequences with different
 * adapters are computed together, with the same bits as alone. The model's weights are not touched.
 * Immutable; any thread. */
typedef struct quern_adapter quern_adapter;

/* The model must outlive the adapter. QUERN_ERR_FORMAT: made for another model; QUERN_ERR_UNSUPPORTED:
 * what can only be merged (modules_to_save), or other methods than LoRA. */
QUERN_API enum quern_status quern_adapter_open(quern_model *model,
                                               const struct quern_adapter_source *source,
                                               quern_adapter **out, struct quern_error *err);
/* Sessions and requests that have it keep what they need of it. */
QUERN_API void quern_adapter_close(quern_adapter *adapter);

/* ---- text and tokens ---------------------------------------------------- */

/* Encodes `len` bytes. With `parse_special`, the spellings of added tokens such as <|im_end|> become
 * their ids; without, they are ordinary text. With `add_special`, the tokenizer's post-processor may
 * add tokens (Llama's BOS); Qwen3 adds none. Invalid UTF-8 is replaced by U+FFFD as Hugging Face
 * would see it. *ids is freed with quern_free(). */
QUERN_API enum quern_status quern_tokenize(const quern_model *model, const char *text, size_t len,
                                           bool add_special, bool parse_special, int32_t **ids,
                                           size_t *n_ids, struct quern_error *err);

/* Decodes ids to text; bytes that are no UTF-8 become U+FFFD. `len` may be NULL. */
QUERN_API enum quern_status quern_detokenize(const quern_model *model, const int32_t *ids,
                                             size_t n_ids, bool skip_special, char **text,
                                             size_t *len, struct quern_error *err);

/* ---- chat templates ----------------------------------------------------- */

struct quern_render_options {
    const char *tools_json;      /* JSON array of tool schemas, or NULL */
    const char *template_source; /* Jinja text instead of the model's, or NULL */
    const char *kwargs_json;     /* extra template variables as a JSON object, or NULL */
    int enable_thinking;         /* -1: template's default, 0: off, 1: on */
    bool add_generation_prompt;
    bool continue_final_message; /* leave the last message open to be continued */
};

/* Renders OpenAI-style messages (a JSON array of {role, content, ...}). `options` NULL: the
 * template's defaults, no generation prompt. `len` may be NULL. */
QUERN_API enum quern_status quern_render_chat(const quern_model *model, const char *messages_json,
                                              const struct quern_render_options *options,
                                              char **text, size_t *len, struct quern_error *err);

/* ---- session: one sequence and its KV cache ------------------------------ */

typedef struct quern_session quern_session;

/* How keys and values are kept. Every choice gives the same bits on every CPU and does not depend on
 * batch, threads or cuts; different choices give different numbers (docs/NUMERICS.md). */
enum quern_kv_type {
    QUERN_KV_AUTO = 0, /* float32 */
    QUERN_KV_F32,      /* exact */
    QUERN_KV_BF16,     /* half the memory */
    QUERN_KV_INT8,     /* a quarter, with a scale for each head and position */
};

struct quern_session_options {
    int32_t n_context;     /* most tokens the session holds, up to the model's max_context;
                              0: that, but not more than 4096 */
    int32_t prefill_chunk; /* tokens per forward pass; 0: 512. Any value: same bits */
    enum quern_yarn yarn;
    int32_t yarn_expected_tokens; /* with AUTO: the context the caller will use; 0: n_context */
    enum quern_kv_type kv_type;
    const quern_adapter *const *adapters; /* [n_adapters] after the model's own; 8 in all */
    size_t n_adapters;
};

/* `options` NULL: all 0. QUERN_ERR_UNSUPPORTED for a checkpoint without a head (embeddings).
 * QUERN_ERR_LIMIT, with the numbers, for a context whose keys and values (and room to compute in)
 * exceed the machine's memory. Memory is taken as the context fills, and other programs want some:
 * a context that is accepted may still be more than there is. */
QUERN_API enum quern_status quern_session_create(quern_model *model,
                                                 const struct quern_session_options *options,
                                                 quern_session **out, struct quern_error *err);
QUERN_API void quern_session_destroy(quern_session *session);

/* Appends tokens and computes them. Logits of the last one are then readable.
 * On QUERN_ERR_CONTEXT nothing was appended. */
QUERN_API enum quern_status quern_session_feed(quern_session *session, const int32_t *ids,
                                               size_t n_ids, struct quern_error *err);

/* As feed, and copies the logits of every fed token to out[n_ids, n_vocab]: the
 * model's own numbers, padding ids included. */
QUERN_API enum quern_status quern_session_feed_logits(quern_session *session, const int32_t *ids,
                                                      size_t n_ids, float *out,
                                                      struct quern_error *err);

/* Feeds several sequences together, as transformers takes a batch: ids[n_sessions, length], shorter rows
 * padded on the left; mask of that shape is 0 at padding and 1 at tokens, NULL when there is no padding.
 * sessions[i] gets row i's tokens: to the bit as if quern_session_feed had been called for each row.
 * Padding is not computed and takes no position, whatever its ids. Row i of logits[n_sessions, n_vocab]
 * is what follows the row's last token, padding ids included; NULL: not wanted. Arrays are the caller's,
 * read only but for logits; all sessions are in use, as by one thread. QUERN_ERR_ARG: nothing to feed,
 * sessions of several models or kv_types, or one twice, padding behind a token, a row of padding, a bad
 * id. QUERN_ERR_CONTEXT: no room. The message names the row, and nothing was appended anywhere. */
QUERN_API enum quern_status quern_sessions_feed_padded(quern_session *const *sessions,
                                                       size_t n_sessions, const int32_t *ids,
                                                       const uint8_t *mask, size_t length,
                                                       float *logits, struct quern_error *err);

/* Makes the session hold exactly `ids`, computing only what follows the longest common prefix. *n_reused
 * may be NULL. */
QUERN_API enum quern_status quern_session_sync(quern_session *session, const int32_t *ids,
                                               size_t n_ids, size_t *n_reused,
                                               struct quern_error *err);

/* Drops tokens from the end so that n_tokens remain. */
QUERN_API enum quern_status quern_session_truncate(quern_session *session, size_t n_tokens,
                                                   struct quern_error *err);

/* The tokens held; valid until the next call on the session. */
QUERN_API const int32_t *quern_session_tokens(const quern_session *session, size_t *n_tokens);

/* Logits [n_vocab] after the last token; valid until the next call on the session. NULL when nothing was
 * fed or tokens were dropped since. Made for sampling: ids no token has hold -INFINITY. */
QUERN_API const float *quern_session_logits(const quern_session *session);

QUERN_API int32_t quern_session_context(const quern_session *session);

/* ---- sampling ----------------------------------------------------------- */

struct quern_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids the token */
};

/* Order of application: logit_bias, repetition/presence/frequency, DRY, top-n-sigma,
 * temperature, top_k, top_p, min_p, typical, XTC. A field at its neutral value costs
 * nothing. Formulas and ranges: docs/sampling.md. The zeroed struct is not neutral (top_p
 * 0 leaves one token): begin with quern_sampling_defaults. */
struct quern_sampling {
    float temperature;        /* 0: greedy */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float typical_p;          /* 1: off */
    float repetition_penalty; /* 1: off; transformers' rule */
    float presence_penalty;   /* 0: off; OpenAI's rule, on generated tokens */
    float frequency_penalty;  /* 0: off */
    int32_t penalty_window;   /* last tokens looked at by repetition_penalty; 0: all */
    float dry_multiplier;     /* 0: off, and the three below do not matter */
    float dry_base;           /* usually 1.75 */
    int32_t dry_allowed_length; /* usually 2 */
    int32_t dry_window;       /* last tokens looked at; 0: all */
    float top_n_sigma;        /* 0 or less: off */
    float xtc_probability;    /* of leaving out the likeliest tokens; 0: off */
    float xtc_threshold;      /* all but the last token at least so likely; usually 0.1 */
    uint64_t seed;
    const struct quern_logit_bias *logit_bias; /* borrowed until the sampler is made */
    size_t n_logit_bias;
};

/* Fills in generation_config.json's values (greedy when do_sample is false). */
QUERN_API void quern_sampling_defaults(const quern_model *model, struct quern_sampling *out);

/* ---- generation --------------------------------------------------------- */

enum quern_finish {
    QUERN_FINISH_STOP = 0,  /* an end token or a stop string */
    QUERN_FINISH_LENGTH,    /* max_tokens or the end of the context */
    QUERN_FINISH_CANCELLED, /* the callback returned false; the request was cancelled */
    QUERN_FINISH_DEADLINE,  /* engine only: the request's time was over */
    QUERN_FINISH_STALLED,   /* engine only: nobody took its events */
    QUERN_FINISH_ERROR,     /* engine only: see the result's status */
};

struct quern_top_logprob {
    int32_t token;
    float logprob;
};

/* One token as it is made. `text` holds the bytes that became certain with it:
 * whole UTF-8 characters only, and nothing that may still be the beginning of a
 * stop string. It may be empty. `text` and `top` are valid during the callback. */
struct quern_event {
    int32_t token;
    const char *text;
    size_t text_len;
    float logprob;                       /* of the model, before sampling changes */
    const struct quern_top_logprob *top; /* n_top entries, best first */
    size_t n_top;
};

/* Whether an answer may, must or must not call tools. */
enum quern_tool_use {
    QUERN_TOOLS_AUTO = 0,
    QUERN_TOOLS_REQUIRED, /* calls only */
    QUERN_TOOLS_NONE,     /* no calls, whatever the prompt has said of tools */
};

/* What the text of an answer must be: at most one form. Tokens that would leave it are never sampled,
 * max_tokens may cut it; a thinking block before it stays free. */
struct quern_form {
    const char *json_schema; /* a value valid under this JSON Schema (docs/grammar.md) */
    bool json_object;        /* any one JSON object */
    const char *regex;       /* a text this pattern (ECMA-262) matches as a whole */
    const char *gbnf;        /* a text of this grammar, in llama.cpp's dialect */
    const char *const *choices; /* [n_choices] one of these texts */
    size_t n_choices;
    const char *lark;        /* a text of this grammar, in Lark's language */
    const char *structural_tag; /* free text with parts in a form of their own: JSON (docs/grammar.md) */
    const char *code;        /* "sql" (a SELECT), "python", "c" or "json" */
    const char *yaml_schema; /* block style YAML of a value valid under this JSON Schema */
    const char *xml_dtd;     /* XML that is valid under this DTD */
    const char *xml_names;   /* well-formed XML of names separated by blanks; "any": common names */
    /* OpenAI's array of tools, or NULL: the answer may instead, or after some text where it is free,
     * call them as the model's template writes calls, with arguments valid by their schemas. */
    const char *tools_json;
    enum quern_tool_use tool_use;
    bool one_call;  /* not several in one answer */
    int32_t close_after; /* tokens after which the answer takes the shortest way to its end; 0: never */
    bool close_in_time;  /* or just before max_tokens would cut it */
    bool may_think; /* the answer may open a thinking block; one the prompt has opened is known */
};

struct quern_generate_options {
    struct quern_sampling sampling;
    int32_t max_tokens;              /* 0: as many as the context holds */
    const int32_t *stop_tokens;      /* besides the model's own */
    size_t n_stop_tokens;
    const char *const *stop_strings; /* valid UTF-8; not part of the output */
    size_t n_stop_strings;
    bool ignore_eos;
    bool keep_special;               /* special tokens are written as text */
    int32_t n_top_logprobs;          /* 0..20; -1: logprob is not computed either */
    /* Most tokens inside <think>; then the sentence with which Qwen closes it is put in the model's
     * mouth, token by token. 0: no limit. Without effect where the tokenizer has no <think>. */
    int32_t thinking_budget;
    const struct quern_form *form;   /* NULL: free. Borrowed during the call that takes it */
    /* Called for each token, before it is computed, and once at the end with token -1 for
     * text held back. Return false to stop: no further call follows. It may not use the session.
     * NULL: silent. */
    bool (*on_event)(void *user, const struct quern_event *event);
    void *user;
};

struct quern_generate_result {
    enum quern_finish finish;
    int32_t stop_token;     /* the end token met, or -1 */
    int32_t stop_string;    /* index of the stop string met, or -1 */
    size_t n_tokens;        /* generated, the end token included */
    size_t n_thinking;      /* of them inside <think>...</think>, both included */
    double seconds;
};

/* Continues the session's sequence. Every token made is fed to the session, the end
 * token and the tokens of a stop string included. The random number for a token depends on
 * seed and position: two calls in a row make the tokens one would, but for presence and
 * frequency penalties, which count from the call's beginning. `result` may be NULL. */
QUERN_API enum quern_status quern_generate(quern_session *session,
                                           const struct quern_generate_options *options,
                                           struct quern_generate_result *result,
                                           struct quern_error *err);

/* ---- engine: many requests on one model ------------------------------------ */

/* An engine owns a thread that computes the requests of many callers together. A request's tokens
 * are the same to the bit whether it runs alone, beside others, after a cache hit, after it was
 * put aside for want of memory, or with speculation.
 *
 * threads    Every function of an engine may be called from any thread at any time, but for
 *            quern_engine_destroy, which is the last. A ticket is read (next, wait, result) by one
 *            thread at a time; quern_ticket_cancel may come from any other.
 * memory     Keys and values live in one pool of blocks of 32 positions, shared between requests
 *            with a common beginning and kept after they end until the room is needed. What waits
 *            to be read is bounded: see quern_engine_options.queue_events. */
typedef struct quern_engine quern_engine;
typedef struct quern_ticket quern_ticket;

enum quern_speculation {
    QUERN_SPECULATION_AUTO = 0, /* guesses by prompt lookup, while measurement says it pays */
    QUERN_SPECULATION_OFF,
    QUERN_SPECULATION_ALWAYS, /* for tests */
};

/* Zeroed: all defaults. */
struct quern_engine_options {
    int32_t n_context;        /* most tokens of one sequence; 0: 4096 or what the model takes */
    enum quern_yarn yarn;     /* one choice for the engine, as for a session of n_context */
    enum quern_kv_type kv_type;
    size_t kv_bytes;          /* memory for keys and values; 0: four full contexts, but at most a
                                 quarter of the machine's memory. At least one context */
    int32_t max_running;      /* requests computed side by side; 0: 16 */
    int32_t max_waiting;      /* requests in the queue; 0: 128 */
    int64_t max_waiting_tokens; /* of their prompts together; 0: 32 times n_context */
    int32_t max_step_ms;      /* no decoding request waits longer for a neighbour's prompt, as far
                                 as the measured speed tells; 0: 100 */
    int32_t max_step_tokens;  /* of one forward pass; 0: 512 */
    int32_t queue_events;     /* a request whose reader is so many behind pauses; 0: 256 */
    int32_t max_stall_ms;     /* and after so long is cut (QUERN_FINISH_STALLED); 0: 30000 */
    bool no_prefix_cache;     /* compute every prompt in full */
    enum quern_speculation speculation;
    quern_model *draft;       /* a smaller model with the same tokenizer, borrowed; or NULL */
    const char *disk_cache;   /* directory for keys and values that had to leave memory, or NULL */
    uint64_t disk_cache_bytes; /* its most; 0: 4 GiB */
};

enum quern_request_kind {
    QUERN_REQUEST_GENERATE = 0,
    QUERN_REQUEST_EMBED, /* values: the hidden state [hidden_size] of the prompt's last token, after
                            the final norm, divided by its length */
    QUERN_REQUEST_SCORE, /* values: the logits after the prompt, of score_tokens [n_score_tokens] */
};

/* Everything is copied by quern_engine_submit but what on_notify uses. Zeroed is a start, then
 * quern_sampling_defaults. Several answers to one prompt (n > 1) are several requests with different
 * seeds, submitted one after the other: the prompt is computed once. */
struct quern_request {
    enum quern_request_kind kind;
    const int32_t *prompt; /* [n_prompt], at least one token */
    size_t n_prompt;
    struct quern_generate_options generate; /* on_event and user are not used */
    bool prompt_logprobs;  /* the prompt's tokens but the first come as events before the answer's,
                              with log-probabilities and without text; n_top_logprobs >= 0 */
    int32_t priority;       /* larger ones go first; equal ones in order of arrival */
    int64_t deadline_ms;    /* from submission to the last token; 0: none */
    const char *cache_salt; /* prefixes are shared only between requests of the same salt, so that
                               nobody learns from timing what others asked. NULL is "" */
    const quern_adapter *const *adapters; /* [n_adapters] after the model's own; 8 in all */
    size_t n_adapters;
    const int32_t *score_tokens;
    size_t n_score_tokens;
    /* Called when the ticket has something new to read after it had nothing, and at its end. From
     * the engine's thread: it must be quick, may not wait, and may not call the library.
     * NULL: the reader waits or polls. Once quern_ticket_destroy has returned it does not run. */
    void (*on_notify)(void *user);
    void *user;
};

/* Sizes in tokens, times in milliseconds. */
struct quern_usage {
    size_t prompt_tokens;
    size_t cached_tokens;     /* of them were found computed */
    size_t completion_tokens; /* the end token included */
    size_t thinking_tokens;   /* of them up to and with </think> */
    size_t drafted_tokens, accepted_tokens; /* of speculation */
    size_t n_preempted;       /* times the request was put aside for want of memory */
    double queue_ms;          /* from submission until its first computation */
    double prefill_ms;        /* from there to the first token */
    double decode_ms;         /* from there to the last */
    double total_ms;          /* from submission to the end */
};

struct quern_request_result {
    enum quern_status status;  /* QUERN_OK, or what went wrong inside the engine */
    char message[508];         /* then the reason */
    enum quern_finish finish;
    int32_t stop_token;        /* as in quern_generate_result */
    int32_t stop_string;
    struct quern_usage usage;
    const float *values;       /* [n_values] of EMBED and SCORE; owned by the ticket */
    size_t n_values;
};

/* What an engine does and has done since it was made. */
struct quern_engine_stats {
    /* now */
    int32_t n_waiting, n_prefilling, n_decoding, n_paused;
    int64_t waiting_tokens;              /* of prompts in the queue */
    size_t kv_blocks, kv_blocks_free, kv_blocks_cached, kv_block_bytes; /* cached: freed when needed */
    bool accepting;                      /* false once quern_engine_drain was called */
    double idle_ms; /* since the last step ended, or work came; 0 when there is none, or all that runs
                       waits for its readers: a large number means that the engine is stuck */
    int64_t retry_after_ms;              /* when a refused request may be worth another try */
    double prefill_tokens_per_s, decode_tokens_per_s; /* of late */
    /* counters */
    uint64_t n_submitted, n_refused;
    uint64_t n_finished[QUERN_FINISH_ERROR + 1]; /* by enum quern_finish */
    uint64_t n_steps, n_preempted;
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
    uint64_t prefix_queries, prefix_hits; /* prompts looked up; those of which a part was found */
    uint64_t drafted_tokens, accepted_tokens;
    uint64_t disk_loads, disk_stores;     /* prompts continued from disk; conversations written */
};

/* `options` NULL: all 0. The model is borrowed and must outlive the engine. */
QUERN_API enum quern_status quern_engine_create(quern_model *model,
                                                const struct quern_engine_options *options,
                                                quern_engine **out, struct quern_error *err);
/* Cancels what still runs, waits for the thread. Tickets may be read and destroyed later. */
QUERN_API void quern_engine_destroy(quern_engine *engine);

/* Checks the request and queues it; never waits for a computation. QUERN_ERR_LIMIT when the queue
 * is full (try again in retry_after_ms), QUERN_ERR_CONTEXT when the prompt does not fit, with the
 * numbers, QUERN_ERR_STATE once the engine drains. */
QUERN_API enum quern_status quern_engine_submit(quern_engine *engine,
                                                const struct quern_request *request,
                                                quern_ticket **out, struct quern_error *err);

/* Refuses new requests and waits for the others, timeout_ms at most. False when some have not ended. */
QUERN_API bool quern_engine_drain(quern_engine *engine, int64_t timeout_ms);

QUERN_API void quern_engine_get_stats(quern_engine *engine, struct quern_engine_stats *out);

enum quern_next {
    QUERN_NEXT_NOTHING = 0, /* nothing has happened since */
    QUERN_NEXT_EVENT,       /* *event is filled */
    QUERN_NEXT_END,         /* no event will follow: quern_ticket_result */
};

/* Takes the next event of a generating request. Never waits. The event's text and top are valid
 * until the next call on the ticket. As with quern_generate, a last event with token -1 may bring
 * text that was held back. */
QUERN_API enum quern_next quern_ticket_next(quern_ticket *ticket, struct quern_event *event);

/* Waits until quern_ticket_next has something other than QUERN_NEXT_NOTHING, timeout_ms at most
 * (negative: for ever). False when the time passed. */
QUERN_API bool quern_ticket_wait(quern_ticket *ticket, int64_t timeout_ms);

/* The request ends before the engine's next step, its memory is free. Events that wait may still be
 * read, then comes QUERN_NEXT_END with QUERN_FINISH_CANCELLED. Nothing happens after the end. */
QUERN_API void quern_ticket_cancel(quern_ticket *ticket);

/* QUERN_ERR_STATE before QUERN_NEXT_END. */
QUERN_API enum quern_status quern_ticket_result(quern_ticket *ticket,
                                                struct quern_request_result *out,
                                                struct quern_error *err);

/* Cancels the request if it has not ended. Never waits for a computation. */
QUERN_API void quern_ticket_destroy(quern_ticket *ticket);

#ifdef __cplusplus
}
#endif
#endif
