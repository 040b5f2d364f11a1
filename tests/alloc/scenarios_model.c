#include <stdio.h>
#include <string.h>

#include "alloc/scenarios.h"
#include "base/os.h"
#include "engine/session.h"
#include "model/merge/merge.h"
#include "support/random_adapter.h"
#include "support/support.h"
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

static struct device *kept_device;
static const char *base_dir, *adapter_dir;

/* The files of the next two, and a device that does not count. */
static enum quern_status make_adapter(struct quern_error *err) {
    const struct tiny_shape s = TINY_QWEN3;
    struct model *m = NULL;
    if (adapter_dir)
        return QUERN_OK;
    base_dir = tiny_model_write(&s, "base", 3);
    enum quern_status st = device_cpu_create(1, NULL, &kept_device, err);
    if (st == QUERN_OK)
        st = model_open(base_dir, NULL, kept_device, NULL, NULL, &m, err);
    if (st == QUERN_OK)
        adapter_dir = random_adapter_write(m, "adapter", 2, true, 4);
    model_close(m);
    return st;
}

static enum quern_status feed_with_an_adapter(struct quern_error *err) {
    const int32_t ids[] = {1, 2, 3};
    struct model *m = NULL;
    struct quern_adapter *a = NULL;
    struct session *session = NULL;
    struct adapter_set set = {.n = 0};
    const struct session_options o = {
        .n_context = 8, .prefill_chunk = 3, .n_tokens_known = 97, .adapters = &set};
    enum quern_status st = make_adapter(err);
    if (st == QUERN_OK)
        st = model_open(base_dir, NULL, kept_device, NULL, NULL, &m, err);
    if (st == QUERN_OK)
        st = adapter_open(m, adapter_dir, 1, &a, err);
    if (st == QUERN_OK)
        st = adapter_set_init(&set, m, (const struct quern_adapter *const[]){a}, 1, err);
    if (st == QUERN_OK)
        st = session_create(m, &o, &session, err);
    if (st == QUERN_OK)
        st = session_feed(session, ids, 3, NULL, err);
    session_destroy(session);
    adapter_set_release(&set);
    adapter_release(a);
    model_close(m);
    return st;
}

static enum quern_status merge_an_adapter(struct quern_error *err) {
    static const char *name; /* by the first run, in which nothing fails */
    static int n_runs;
    char out[512]; /* another each time, since removing one needs memory too */
    struct peft_adapter *files = NULL;
    enum quern_status st = make_adapter(err);
    if (!name)
        name = support_temp_path("merged");
    snprintf(out, sizeof out, "%s-%d", name, n_runs++);
    if (st == QUERN_OK)
        st = peft_adapter_open(adapter_dir, &files, err);
    const struct merge_adapter one = {files, 1};
    const struct merge_options o = {.adapters = &one, .n_adapters = 1, .device = kept_device};
    if (st == QUERN_OK)
        st = merge_directory(base_dir, out, &o, NULL, err);
    if (st == QUERN_OK)
        os_remove_dir(out);
    peft_adapter_close(files);
    return st;
}

const struct scenario model_scenarios[] = {
    {"feed_with_an_adapter", feed_with_an_adapter},
    {"merge_an_adapter", merge_an_adapter},
    {"load_and_feed_a_dense_model", load_and_feed_a_dense_model},
    {"load_and_feed_a_model_of_experts", load_and_feed_a_model_of_experts},
    {NULL, NULL},
};
