#include <string.h>

#include "alloc/scenarios.h"
#include "formats/peft_adapter.h"
#include "support/support.h"
#include "tokenizer/tokenizer_write.h"
#include "train/data/order.h"
#include "train/trainer.h"

static enum quern_status give_text(void *user, size_t index, struct word_sink *sink,
                                   struct quern_error *err) {
    (void)index;
    return word_sink_add(sink, str_from(user), err);
}

static enum quern_status learn_a_tokenizer(struct quern_error *err) {
    static char text[] = "a tale of two tables, a tale of tables e\xCC\x81 \xFF";
    const struct bpe_train_options options = {.vocab_size = 270};
    struct thread_pool *pool = NULL;
    struct word_counter *counter = NULL;
    const struct word_count *words = NULL;
    struct bpe_trained trained = {0};
    struct buffer out;
    size_t n = 0;
    buffer_init(&out, 1 << 20);
    enum quern_status status = thread_pool_create(1, &pool, err);
    if (!status)
        status = word_counter_create(pool, &counter, err);
    if (!status)
        status = word_counter_add(counter, 2, give_text, text, err);
    if (!status)
        status = word_counter_finish(counter, &words, &n, err);
    if (!status)
        status = bpe_train(words, n, &options, &trained, err);
    if (!status) {
        tokenizer_write(&trained, NULL, 0, &out);
        status = buffer_status(&out, "tokenizer.json", err);
    }
    if (!status && trained.n_tokens != 270)
        status = error_set(err, QUERN_ERR_STATE, "%zu tokens", trained.n_tokens);
    buffer_release(&out);
    bpe_trained_release(&trained);
    word_counter_destroy(counter);
    thread_pool_destroy(pool);
    return status;
}

/* In memory, or by a thread into a file. */
static enum quern_status open_and_order(const struct example_maker *maker, const char *cache,
                                        struct quern_error *err) {
    static char path[4096]; /* made by the first run, in which nothing fails */
    static const char *paths[] = {path};
    static const char text[] = "{\"prompt\":\"q\",\"completion\":\"a\"}\n{\"text\":\"some text\"}\n";
    const struct order_options options = {ORDER_SHUFFLED, true, 64, 0, 1};
    struct train_data_options files = {.paths = paths, .n_paths = 1, .cache_dir = cache, .ahead = cache ? 4 : 0};
    struct train_data data = {0};
    struct data_problem problem;
    const struct label_rules rules = {.prompts = true};
    struct order order = {0};
    struct row_set rows = {0};
    size_t available = 0;
    if (!path[0]) {
        strncpy(path, support_temp_path("train.jsonl"), sizeof path - 1);
        support_write_file(path, text, sizeof text - 1);
    }
    enum quern_status status = thread_pool_create(1, &files.pool, err);
    if (!status)
        status = train_data_open(maker, &files, &data, &problem, err);
    if (!status)
        status = train_data_wait(&data, 2, &available, &problem, err);
    if (!status && cache)
        status = order_go_on(&data, &options, 0, 0, available, 0, &order, err);
    else if (!status)
        status = order_make(&data, &options, 0, &order, err);
    if (!status)
        status = row_set_make(&data, &order, 0, order.n_rows, &rules, &rows, err);
    if (!status && (rows.n != 1 || rows.rows[0].segments != 2))
        status = error_set(err, QUERN_ERR_STATE, "%zu rows", rows.n);
    row_set_release(&rows);
    order_release(&order);
    train_data_close(&data);
    thread_pool_destroy(files.pool);
    return status;
}

static enum quern_status make_rows(const char *cache, struct quern_error *err) {
    static char dir[4096];
    const struct example_options options = {.max_length = 100};
    struct tokenizer *tokenizer = NULL;
    struct chat_template *chat = NULL;
    struct example_maker maker = {0};
    if (!dir[0]) {
        strncpy(dir, support_fixture("fixtures/qwen3-tiny/chat_template.jinja"), sizeof dir - 1);
        *strrchr(dir, '/') = '\0';
    }
    enum quern_status status = tokenizer_open(dir, &tokenizer, err);
    if (!status)
        status = chat_template_open(dir, &chat, err);
    if (!status)
        status = example_maker_init(&maker, tokenizer, chat, &options, err);
    if (!status)
        status = open_and_order(&maker, cache, err);
    example_maker_release(&maker);
    chat_template_close(chat);
    tokenizer_close(tokenizer);
    return status;
}

static enum quern_status make_rows_of_examples(struct quern_error *err) {
    return make_rows(NULL, err);
}

static enum quern_status stream_rows_through_a_file(struct quern_error *err) {
    static char cache[4096];
    if (!cache[0])
        strncpy(cache, support_temp_path("cache"), sizeof cache - 1);
    enum quern_status status = os_make_dir(cache, err);
    if (!status)
        status = make_rows(cache, err);
    os_remove_dir(cache);
    return status;
}

/* Patterns, modules saved whole, a step, and what is written. */
static enum quern_status adapt_a_model_and_write_it(struct quern_error *err) {
    static char dir[4096], out[4096];
    static const char *const saved[] = {"embed_tokens"}, *const excluded[] = {"o_proj"};
    static const struct peft_pattern ranks[] = {{".*q_proj", 3}};
    static const int32_t tokens[] = {1, 2, 3, 4}, labels[] = {2, 3, 4, -1};
    static const uint32_t starts[] = {0, 4};
    const struct train_row row = {4, tokens, labels, NULL, starts, 1};
    const struct train_options options = {
        .method = TRAIN_LORA,
        .lora = {.rank = 2, .alpha = 4, .lr_ratio = 1, .saved = saved, .n_saved = 1, .excluded = excluded,
                 .n_excluded = 1, .ranks = ranks, .n_ranks = 1, .target_pattern = ".*self_attn.*"},
        .learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f, .max_row = 8, .threads = 1};
    struct train_step_result result;
    struct trainer *t = NULL;
    if (!dir[0]) {
        strncpy(dir, support_fixture("golden/train/tied/config.json"), sizeof dir - 1);
        *strrchr(dir, '/') = '\0';
        strncpy(out, support_temp_path("adapter"), sizeof out - 1);
    }
    enum quern_status status = trainer_create(dir, &options, &t, err);
    if (!status)
        status = trainer_step(t, &row, 1, 1, (struct train_label_weights){0, 1}, &result, err);
    if (!status)
        status = trainer_save_output(t, out, err);
    trainer_destroy(t);
    return status;
}

const struct scenario train_scenarios[] = {
    {"learn_a_tokenizer", learn_a_tokenizer},
    {"make_rows_of_examples", make_rows_of_examples},
    {"stream_rows_through_a_file", stream_rows_through_a_file},
    {"adapt_a_model_and_write_it", adapt_a_model_and_write_it},
    {NULL, NULL},
};
