#include "support/engine_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "base/rng.h"
#include "engine/generate.h"
#include "support/tiny_checkpoint.h"

enum { PATIENCE_MS = 60000 };

void rig_open(struct rig *rig, size_t n_context, int n_threads) {
    rig_open_seed(rig, n_context, n_threads, 5);
}

void rig_open_seed(struct rig *rig, size_t n_context, int n_threads, uint64_t seed) {
    struct tiny_shape shape = TINY_QWEN3;
    char name[32];
    snprintf(name, sizeof name, "rig-%d", (int)seed);
    shape.vocab = RIG_VOCAB;
    struct quern_error err;
    *rig = (struct rig){.n_context = n_context, .eos = RIG_VOCAB - 1 /* padding: never made */};
    if (device_cpu_create(n_threads, NULL, &rig->device, &err) ||
        model_open(tiny_model_write(&shape, name, seed), NULL, rig->device, NULL, NULL, &rig->model,
                   &err) ||
        tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &rig->tokenizer, &err))
        fail_msg("%s", err.message);
}

void rig_close(struct rig *rig) {
    tokenizer_close(rig->tokenizer);
    model_close(rig->model);
    device_destroy(rig->device);
}

struct engine *rig_engine(const struct rig *rig, const struct quern_engine_options *options) {
    return rig_engine_draft(rig, options, NULL);
}

struct engine *rig_engine_draft(const struct rig *rig, const struct quern_engine_options *options,
                                const struct rig *draft) {
    static const struct quern_engine_options defaults;
    const struct engine_setup draft_setup = {.model = draft ? draft->model : NULL,
                                             .n_context = draft ? draft->n_context : 0};
    const struct engine_setup setup = {
        .model = rig->model,
        .tokenizer = rig->tokenizer,
        .eos = &rig->eos,
        .n_eos = 1,
        .n_tokens_known = tokenizer_n_tokens(rig->tokenizer),
        .n_context = rig->n_context,
        .options = options ? options : &defaults,
        .draft = draft ? &draft_setup : NULL,
    };
    struct engine *e = NULL;
    struct quern_error err;
    if (engine_create(&setup, &e, &err))
        fail_msg("%s", err.message);
    return e;
}

void rig_prompt(int32_t *out, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) {
        uint32_t r[4];
        rng_block(seed, 99, i, r);
        out[i] = (int32_t)(r[0] % 480);
    }
}

struct quern_request rig_request(const int32_t *prompt, size_t n_prompt, uint64_t seed,
                                 int32_t max_tokens) {
    return (struct quern_request){
        .prompt = prompt,
        .n_prompt = n_prompt,
        .generate = {.sampling = {.temperature = 1,
                                  .top_p = 1,
                                  .typical_p = 1,
                                  .repetition_penalty = 1,
                                  .seed = seed},
                     .max_tokens = max_tokens},
    };
}

quern_ticket *rig_submit(struct engine *e, const struct quern_request *r) {
    quern_ticket *t = NULL;
    struct quern_error err;
    if (engine_submit(e, r, NULL, &t, &err))
        fail_msg("%s", err.message);
    return t;
}

static void note(struct rig_answer *a, const struct quern_event *event) {
    assert_true(a->text_len + event->text_len < sizeof a->text);
    memcpy(a->text + a->text_len, event->text, event->text_len);
    a->text_len += event->text_len;
    if (event->token < 0)
        return;
    assert_true(a->n < RIG_MAX_TOKENS);
    a->tokens[a->n] = event->token;
    a->logprobs[a->n++] = event->logprob;
}

bool rig_poll(quern_ticket *t, struct rig_answer *a) {
    struct quern_event event;
    enum quern_next next;
    while ((next = quern_ticket_next(t, &event)) == QUERN_NEXT_EVENT)
        note(a, &event);
    if (next == QUERN_NEXT_END)
        assert_int_equal(quern_ticket_result(t, &a->result, NULL), QUERN_OK);
    return next == QUERN_NEXT_END;
}

void rig_finish(quern_ticket *t, struct rig_answer *a) {
    *a = (struct rig_answer){0};
    while (!rig_poll(t, a))
        if (!quern_ticket_wait(t, PATIENCE_MS))
            fail_msg("the engine does nothing for %d ms", PATIENCE_MS);
    quern_ticket_destroy(t);
}

void rig_run(struct engine *e, const struct quern_request *r, struct rig_answer *a) {
    rig_finish(rig_submit(e, r), a);
}

static bool note_event(void *user, const struct quern_event *event) {
    note(user, event);
    return true;
}

void rig_alone(const struct rig *rig, const struct quern_request *r, struct rig_answer *a) {
    const struct session_options so = {.n_context = rig->n_context,
                                       .prefill_chunk = 1000,
                                       .n_tokens_known = tokenizer_n_tokens(rig->tokenizer)};
    struct adapter_set adapters = {.n = 0};
    struct session_options with = so;
    struct session *s = NULL;
    struct quern_error err;
    struct quern_generate_options o = r->generate;
    struct quern_generate_result result;
    *a = (struct rig_answer){0};
    o.on_event = note_event;
    o.user = a;
    with.adapters = &adapters;
    if (adapter_set_init(&adapters, rig->model, r->adapters, r->n_adapters, &err) ||
        session_create(rig->model, &with, &s, &err) ||
        session_feed(s, r->prompt, r->n_prompt, NULL, &err))
        fail_msg("%s", err.message);
    const struct generate_context ctx = {
        .session = s, .tokenizer = rig->tokenizer, .eos = &rig->eos, .n_eos = 1};
    if (generate(&ctx, &o, &result, &err))
        fail_msg("%s", err.message);
    a->result.finish = result.finish;
    session_destroy(s);
    adapter_set_release(&adapters);
}

void rig_assert_same(const struct rig_answer *a, const struct rig_answer *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tokens, b->tokens, a->n * sizeof a->tokens[0]);
    assert_memory_equal(a->logprobs, b->logprobs, a->n * sizeof a->logprobs[0]);
    assert_int_equal(a->text_len, b->text_len);
    assert_memory_equal(a->text, b->text, a->text_len);
    assert_int_equal(a->result.finish, b->result.finish);
}

void rig_await(struct engine *e, bool (*holds)(const struct quern_engine_stats *s)) {
    const uint64_t until_ns = os_now_ns() + (uint64_t)PATIENCE_MS * 1000000u;
    struct quern_engine_stats stats;
    for (engine_get_stats(e, &stats); !holds(&stats); engine_get_stats(e, &stats))
        if (os_now_ns() > until_ns)
            fail_msg("what was awaited does not happen");
}

static bool is_idle(const struct quern_engine_stats *s) {
    return s->n_waiting == 0 && s->n_prefilling + s->n_decoding + s->n_paused == 0 &&
           s->kv_blocks_free + s->kv_blocks_cached == s->kv_blocks;
}

void rig_assert_idle(struct engine *e) {
    rig_await(e, is_idle);
}
