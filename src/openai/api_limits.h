/* api_limits.h - how much a request may ask for. Every number of a request has a range in its table
 * of fields; these are the ranges an operator may want to change. */
#ifndef QUERN_OPENAI_API_LIMITS_H
#define QUERN_OPENAI_API_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hard bounds, for arrays in structs and for the tables. */
enum {
    API_N_MAX = 128,
    API_STOP_MAX = 64,
    API_STOP_TOKENS_MAX = 64,
    API_TOP_LOGPROBS_MAX = 20,
};

struct api_limits {
    int64_t n; /* answers to one prompt */
    int64_t top_logprobs;
    int64_t stop;       /* stop strings */
    int64_t stop_bytes; /* of one of them */
    int64_t tools;
    int64_t logit_bias; /* entries */
    int64_t messages;
    int64_t inputs;          /* prompts, texts to embed, documents in one request */
    int64_t thinking_tokens; /* of one answer; 0: no limit */
    bool ignore_unknown;     /* parameters that do not exist are passed over, not refused */
};

#define API_LIMITS_DEFAULT                                                         \
    {                                                                              \
        .n = 8, .top_logprobs = 20, .stop = 16, .stop_bytes = 256, .tools = 128,   \
        .logit_bias = 1024, .messages = 4096, .inputs = 256, .thinking_tokens = 0, \
    }

#endif
