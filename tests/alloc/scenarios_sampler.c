#include <string.h>

#include "alloc/scenarios.h"
#include "base/error.h"
#include "sampler/sampler.h"
#include "sampler/stop_filter.h"

enum { VOCAB = 3000 };

static enum quern_status draw_with_every_penalty(struct quern_error *err) {
    const struct quern_logit_bias bias = {17, 30};
    const struct quern_sampling params = {.temperature = 1,
                                          .top_k = 40,
                                          .top_p = 0.9f,
                                          .typical_p = 0.9f,
                                          .repetition_penalty = 1.1f,
                                          .presence_penalty = 0.1f,
                                          .penalty_window = 50,
                                          .dry_multiplier = 1,
                                          .dry_base = 1.75f,
                                          .dry_allowed_length = 2,
                                          .logit_bias = &bias,
                                          .n_logit_bias = 1};
    static const float logits[VOCAB];
    struct sampler *s = NULL;
    enum quern_status status = sampler_create(&params, VOCAB, VOCAB, &s, err);
    for (int32_t id = 100; id < 400 && !status; id++)
        status = sampler_accept(s, &id, 1, id % 2, err);
    int32_t token = -1;
    if (!status)
        status = sampler_sample(s, logits, 0, NULL, &token, err);
    if (!status && token != 17)
        status = error_set(err, QUERN_ERR_STATE, "drew token %d, expected 17", (int)token);
    sampler_destroy(s);
    return status;
}

static enum quern_status find_a_stop_string(struct quern_error *err) {
    static const char *const strings[] = {"first", "second", "third"};
    struct stop_filter *f = NULL;
    struct buffer out;
    int32_t hit = -1;
    buffer_init(&out, 1000);
    enum quern_status status = stop_filter_create(strings, 3, &f, err);
    if (!status)
        status = stop_filter_push(f, STR_LIT("the sec"), &out, &hit, err);
    if (!status)
        status = stop_filter_push(f, STR_LIT("ond one"), &out, &hit, err);
    if (!status && (hit != 1 || strcmp(out.data, "the ") != 0))
        status = error_set(err, QUERN_ERR_STATE, "wrong text");
    buffer_release(&out);
    stop_filter_destroy(f);
    return status;
}

const struct scenario sampler_scenarios[] = {
    {"draw_with_every_penalty", draw_with_every_penalty},
    {"find_a_stop_string", find_a_stop_string},
    {NULL, NULL},
};
