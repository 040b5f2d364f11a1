/* quern.h - the public interface of libquern: run Qwen3-family models from the
 * directories Hugging Face publishes.
 *
 * Conventions, true for every function here:
 *   errors     Functions that can fail return enum quern_status and take an
 *              optional `struct quern_error *err` last. It may be NULL. It is
 *              filled on failure and untouched on success. Output parameters are
 *              untouched on failure.
 *   pointers   NULL is fine only where it says so. Functions with a status answer it with
 *              QUERN_ERR_ARG, the others do not look.
 *   ownership  x_open/x_create make an object the caller must x_close/x_destroy;
 *              those accept NULL. Sessions go before their model. Text returned through
 *              `char **` is NUL-terminated and freed with quern_free().
 *   threads    A quern_model is immutable after opening and may be shared by
 *              threads. A quern_session or quern_sampler belongs to one thread at a
 *              time; different sessions of one model may run on different threads. A
 *              model's worker threads do not survive fork(): the child may not use it.
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

/* "0.1.0" */
QUERN_API const char *quern_version(void);

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

struct quern_model_options {
    int n_threads;            /* 0: one per available core */
    const char *cpu;          /* NULL or "auto"; "generic", "avx2", "avx512" */
    bool tokenizer_only;      /* do not map the weights (tokenize, render) */
    bool weights_only;        /* do not read tokenizer and chat template, which may be missing
                                 (logits of ids); what needs them gives QUERN_ERR_STATE */
    /* Called while loading, fraction in [0,1]. NULL: silent. */
    void (*on_progress)(void *user, double fraction);
    void *user;
};

/* Sampling defaults of the checkpoint and facts about it. */
struct quern_model_info {
    const char *architecture; /* "Qwen3ForCausalLM"; owned by the model. When a model opened
                                 with tokenizer_only has no usable config.json: "", n_vocab is
                                 n_tokens, and the other numbers are 0 */
    int64_t n_params;
    int32_t n_vocab;          /* width of a logits row */
    int32_t n_tokens;         /* the tokenizer's largest id + 1; what follows is padding.
                                 n_vocab with weights_only */
    int32_t n_layers;
    int32_t hidden_size;
    int32_t max_context;      /* tokens the checkpoint was made for, with its rope scaling */
    bool has_chat_template;
    bool can_think;           /* the template knows enable_thinking or <think> */
};

/* Opens a Hugging Face model directory. `options` NULL: defaults. The weights stay where they
 * are, mapped: replace their files by renaming, since whoever shortens one kills the process
 * (SIGBUS), and whoever writes into one changes the model. */
QUERN_API enum quern_status quern_model_open(const char *dir,
                                             const struct quern_model_options *options,
                                             quern_model **out, struct quern_error *err);
QUERN_API void quern_model_close(quern_model *model);
QUERN_API void quern_model_get_info(const quern_model *model, struct quern_model_info *out);

/* ---- text and tokens ---------------------------------------------------- */

/* Encodes `len` bytes. With `parse_special`, the spellings of added tokens such
 * as <|im_end|> become their ids; without, they are ordinary text. With
 * `add_special`, the tokenizer's post-processor may add tokens (Llama's BOS);
 * Qwen3 adds none. Invalid UTF-8 is replaced by U+FFFD as Hugging Face would see
 * it. *ids is freed with quern_free(). */
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

struct quern_session_options {
    int32_t n_context;     /* most tokens the session holds, up to the model's max_context;
                              0: that, but not more than 4096 */
    int32_t prefill_chunk; /* tokens per forward pass; 0: 512. Any value: same bits */
    enum quern_yarn yarn;
    int32_t yarn_expected_tokens; /* with AUTO: the context the caller will use; 0: n_context */
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

/* Makes the session hold exactly `ids`: keeps the longest common prefix, drops
 * what follows it, computes only the rest. *n_reused may be NULL. */
QUERN_API enum quern_status quern_session_sync(quern_session *session, const int32_t *ids,
                                               size_t n_ids, size_t *n_reused,
                                               struct quern_error *err);

/* Drops tokens from the end so that n_tokens remain. */
QUERN_API enum quern_status quern_session_truncate(quern_session *session, size_t n_tokens,
                                                   struct quern_error *err);

/* The tokens held; valid until the next call on the session. */
QUERN_API const int32_t *quern_session_tokens(const quern_session *session, size_t *n_tokens);

/* Logits [n_vocab] after the last token; valid until the next call on the
 * session. NULL when nothing was fed or tokens were dropped since. Made for sampling:
 * ids no token has (padding, gaps) hold -INFINITY. */
QUERN_API const float *quern_session_logits(const quern_session *session);

QUERN_API int32_t quern_session_context(const quern_session *session);

/* ---- sampling ----------------------------------------------------------- */

struct quern_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids the token */
};

/* Order of application: logit_bias, repetition/presence/frequency, DRY,
 * temperature, top_k, top_p, min_p, typical. A field at its neutral value costs
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
    QUERN_FINISH_CANCELLED, /* the callback returned false */
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

#ifdef __cplusplus
}
#endif
#endif
