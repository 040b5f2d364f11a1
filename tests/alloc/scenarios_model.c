#include <string.h>

#include "alloc/scenarios.h"
#include "engine/session.h"
#include "support/tiny_checkpoint.h"

/* From a directory to logits. */
static enum quern_status load_and_feed(const char *dir, struct quern_error *err) {
    struct device *device = NULL;
    struct model *model = NULL;
    struct session *session = NULL;
    const struct session_options o = {.n_context = 8, .prefill_chunk = 3, .n_tokens_known = 97};
    const int32_t ids[] = {1, 2, 3, 4, 5};
    enum quern_status st = device_cpu_create(1, NULL, &device, err);
    if (st == QUERN_OK)
        st = model_open(dir, NULL, device, NULL, NULL, &model, err);
    if (st == QUERN_OK)
        st = session_create(model, &o, &session, err);
    if (st == QUERN_OK)
        st = session_feed(session, ids, 5, NULL, err);
    if (st == QUERN_OK && session->kv.n_tokens != 5)
        st = QUERN_ERR_STATE;
    session_destroy(session);
    model_close(model);
    device_destroy(device);
    return st;
}

/* The directories are written by the first run, in which nothing fails. */
static enum quern_status load_and_feed_a_dense_model(struct quern_error *err) {
    static const char *dir;
    const struct tiny_shape s = TINY_QWEN3;
    if (!dir)
        dir = tiny_model_write(&s, "dense", 3);
    return load_and_feed(dir, err);
}

static enum quern_status load_and_feed_a_model_of_experts(struct quern_error *err) {
    static const char *dir;
    struct tiny_shape s = TINY_QWEN3;
    s.architecture = "Qwen3MoeForCausalLM";
    s.model_type = "qwen3_moe";
    s.experts = 4;
    s.experts_per_token = 2;
    s.moe_inter = 24;
    if (!dir)
        dir = tiny_model_write(&s, "moe", 3);
    return load_and_feed(dir, err);
}

const struct scenario model_scenarios[] = {
    {"load_and_feed_a_dense_model", load_and_feed_a_dense_model},
    {"load_and_feed_a_model_of_experts", load_and_feed_a_model_of_experts},
    {NULL, NULL},
};
