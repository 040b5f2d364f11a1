/* Training records: one JSONL line each, of any form, made into tokens and marks with each policy of thinking. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tokenizer/tokenizer_write.h"
#include "train/data/example.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* clang-format off */
static const char TEMPLATE[] =
    "{% for t in tools or [] %}{{ t|tojson }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% if m.reasoning_content and loop.last %}<think>\n{{ m.reasoning_content }}\n"
    "</think>\n\n{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}"
    "{{ c.function.arguments|tojson }}</tool_call>{% endfor %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}";
/* clang-format on */

static struct tokenizer *tokenizer;
static struct chat_template *chat;

/* The 256 bytes and what the template writes. */
static bool open_once(void) {
    static const struct token_to_add added[] = {
        {{"<|im_start|>", 12}, true}, {{"<|im_end|>", 10}, true}, {{"<|endoftext|>", 13}, true},
        {{"<think>", 7}, false},      {{"</think>", 8}, false}};
    const struct bpe_train_options options = {.vocab_size = BPE_ALPHABET};
    struct bpe_trained trained = {0};
    struct quern_error err;
    struct buffer json;
    if (chat)
        return true;
    buffer_init(&json, 1 << 20);
    enum quern_status status = bpe_train(NULL, 0, &options, &trained, &err);
    if (!status) {
        tokenizer_write(&trained, added, sizeof added / sizeof *added, &json);
        status = tokenizer_parse(buffer_str(&json), "fuzz", &tokenizer, &err);
    }
    if (!status)
        status = chat_template_parse(TEMPLATE, sizeof TEMPLATE - 1, "fuzz", NULL, "<|im_end|>", &chat, &err);
    buffer_release(&json);
    bpe_trained_release(&trained);
    return !status;
}

static void check(const struct example *e, const struct example_options *o) {
    size_t n_trained = 0;
    if (e->trained.len != e->tokens.n || (o->max_length && e->tokens.n > o->max_length))
        __builtin_trap();
    for (size_t i = 0; i < e->tokens.n; i++) {
        if (e->tokens.ids[i] < 0 || e->tokens.ids[i] >= BPE_ALPHABET + 5)
            __builtin_trap();
        n_trained += e->trained.data[i] != 0;
    }
    if (n_trained != e->n_trained)
        __builtin_trap();
}

static void make(const json_t *record, struct example *e, const struct example_options *options) {
    struct example_maker maker;
    struct quern_error err;
    struct buffer view;
    if (example_maker_init(&maker, tokenizer, chat, options, &err))
        __builtin_trap();
    buffer_init(&view, 8 << 20);
    if (example_make(&maker, record, e, &err) == QUERN_OK) {
        check(e, options);
        (void)example_show(e, tokenizer, true, 0, &view, &err);
    }
    buffer_release(&view);
    example_maker_release(&maker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct example_options all[] = {
        {EXAMPLE_THINK_MASK_EMPTY, false, false, 0}, {EXAMPLE_THINK_KEEP, true, false, 40},
        {EXAMPLE_THINK_DROP, false, true, 0}};
    json_t *record = NULL;
    struct example e;
    if (!open_once())
        __builtin_trap();
    if (json_parse((const char *)data, size, "record", &record, NULL))
        return 0;
    example_init(&e);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        make(record, &e, &all[i]);
    example_release(&e);
    json_decref(record);
    return 0;
}
