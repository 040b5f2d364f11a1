/* Reading GGUF: values and tensors of a file that gguf-py wrote, and headers that lie. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/gguf_config.h"
#include "formats/gguf_tokenizer.h"

static struct gguf *open_llama(void) {
    struct gguf *g = NULL;
    struct quern_error err = {0};
    if (gguf_open(support_fixture("golden/gguf/llama.gguf"), &g, &err))
        fail_msg("%s", err.message);
    return g;
}

static void values_of_every_type_are_read(void **state) {
    (void)state;
    static const struct {
        const char *key;
        double value;
    } numbers[] = {{"test.uint8", 200},           {"test.int8", -100},
                   {"test.uint16", 60000},        {"test.int16", -30000},
                   {"test.uint32", 4000000000.0}, {"test.int32", -2000000000.0},
                   {"test.uint64", 0x1p63},       {"test.int64", -0x1p62},
                   {"test.float32", (double)0.1f}, {"test.float64", 0.1}};
    struct gguf *g = open_llama();
    double value;
    int64_t integer;
    bool flag = false;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_true(gguf_number(gguf_find(g, numbers[i].key), &value));
        assert_true(value == numbers[i].value);
    }
    assert_true(gguf_integer(gguf_find(g, "test.int64"), &integer) && integer == -(1LL << 62));
    assert_false(gguf_integer(gguf_find(g, "test.uint64"), &integer));
    assert_false(gguf_integer(gguf_find(g, "test.float64"), &integer));
    assert_true(gguf_bool(gguf_find(g, "test.bool"), &flag) && flag);
    assert_false(gguf_bool(gguf_find(g, "test.uint8"), &flag));
    assert_false(gguf_number(gguf_find(g, "test.nothing"), &value));
    gguf_close(g);
}

static void strings_and_arrays_are_read(void **state) {
    (void)state;
    struct gguf *g = open_llama();
    struct str s;
    size_t at = 0, n = 0;
    const struct gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    assert_true(gguf_string(gguf_find(g, "general.architecture"), &s) && str_is(s, "llama"));
    while (gguf_next_string(tokens, &at, &s))
        n++;
    assert_int_equal(n, 8);
    assert_true(str_is(s, "[PAD7]"));
    const struct gguf_value *types = gguf_find(g, "tokenizer.ggml.token_type");
    assert_true(gguf_is_integers(types) && !gguf_is_integers(gguf_find(g, "test.array")));
    assert_int_equal(gguf_integer_item(types, 7), 5);
    assert_true(gguf_special_token(g, "tokenizer.ggml.bos_token_id", &s));
    assert_true(str_is(s, "<|begin_of_text|>"));
    gguf_close(g);
}

static void the_configuration_follows_from_the_values(void **state) {
    (void)state;
    struct gguf *g = open_llama();
    struct hf_config c;
    struct generation_config gen;
    struct quern_error err = {0};
    if (gguf_hf_config(g, &c, &err) || gguf_generation_config(g, &c, &gen, &err))
        fail_msg("%s", err.message);
    assert_int_equal(c.arch, ARCH_LLAMA);
    assert_int_equal(c.vocab_size, 8);
    assert_int_equal(c.n_kv_heads, 1);
    assert_int_equal(c.head_dim, 16);
    assert_true(c.tie_word_embeddings && !c.qkv_bias && !c.mlp_bias);
    assert_int_equal(c.rope.type, ROPE_LLAMA3);
    assert_true(c.rope.factor == 8 && c.rope.original_max_positions == 64);
    assert_int_equal(c.bos_token_id, 4);
    assert_true(c.n_eos == 1 && c.eos_token_ids[0] == 5);
    assert_true(gen.do_sample && gen.temperature == 0.5f && gen.top_k == 7);
    gguf_close(g);
}

static void tensors_have_hugging_faces_names(void **state) {
    (void)state;
    struct checkpoint *c = NULL;
    struct quern_error err = {0};
    if (checkpoint_open(support_fixture("golden/gguf/llama.gguf"), &c, &err))
        fail_msg("%s", err.message);
    assert_int_equal(checkpoint_count(c), 11); /* rope_freqs is configuration */
    const struct tensor *q = checkpoint_find(c, "model.layers.0.self_attn.q_proj.weight");
    const struct tensor *k = checkpoint_find(c, "model.layers.0.self_attn.k_proj.weight");
    const struct tensor *v = checkpoint_find(c, "model.layers.0.self_attn.v_proj.weight");
    assert_true(q && k && v);
    assert_true(q->interleaved_heads == 2 && !q->coded && q->dtype == DTYPE_F32);
    assert_true(k->coded && k->coded->rows == 16 && k->coded->cols == 32);
    assert_string_equal(tensor_type_name(k), "Q8_0");
    assert_true(v->interleaved_heads == 0);
    /* Row 1 of a head of 16 is the second of its first half: stored third. */
    float *ordered = malloc(q->size_bytes);
    assert_non_null(ordered);
    tensor_copy_in_order(q, ordered);
    assert_memory_equal(ordered + 32, (const float *)q->data + 2 * 32, 32 * sizeof(float));
    assert_memory_equal(ordered + 8 * 32, (const float *)q->data + 32, 32 * sizeof(float));
    free(ordered);
    checkpoint_close(c);
}

/* ---- headers that lie ------------------------------------------------------------------- */

static void put(struct buffer *b, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        buffer_putc(b, (char)(value >> (8 * i)));
}

static void put_text(struct buffer *b, const char *text) {
    put(b, strlen(text), 8);
    buffer_puts(b, text);
}

static void begin(struct buffer *b, uint64_t n_tensors, uint64_t n_values) {
    buffer_init(b, 1 << 16);
    buffer_puts(b, "GGUF");
    put(b, 3, 4);
    put(b, n_tensors, 8);
    put(b, n_values, 8);
}

static void put_tensor(struct buffer *b, const char *name, uint64_t rows, uint64_t cols,
                       uint32_t type, uint64_t offset) {
    put_text(b, name);
    put(b, 2, 4);
    put(b, cols, 8);
    put(b, rows, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

/* Releases the buffer. */
static void refused(struct buffer *b, const char *message) {
    struct gguf *g = NULL;
    struct quern_error err = {0};
    assert_int_not_equal(gguf_parse((const unsigned char *)b->data, b->len, "x.gguf", &g, &err),
                         QUERN_OK);
    if (!strstr(err.message, message) || strncmp(err.message, "x.gguf: ", 8) != 0)
        fail_msg("found \"%s\", expected \"%s\"", err.message, message);
    buffer_release(b);
}

static void counts_beyond_the_file_are_refused(void **state) {
    (void)state;
    struct buffer b;
    begin(&b, 0, UINT64_MAX);
    refused(&b, "the number of values is 18446744073709551615");
    begin(&b, 1ull << 60, 0);
    refused(&b, "the number of tensors is 1152921504606846976");
    begin(&b, 0, 1);
    put(&b, UINT64_MAX - 3, 8);
    put(&b, 0, 8);
    refused(&b, "a key at byte");
    begin(&b, 0, 1);
    put_text(&b, "k");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_U64, 4);
    put(&b, 1ull << 61, 8); /* times 8 is 0 */
    refused(&b, "an array's count is");
}

static void values_that_make_no_sense_are_refused(void **state) {
    (void)state;
    struct buffer b;
    begin(&b, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&b, "twice");
        put(&b, GGUF_U32, 4);
        put(&b, 1, 4);
    }
    refused(&b, "key \"twice\" is there twice");
    begin(&b, 0, 1);
    put_text(&b, "k");
    put(&b, 13, 4);
    put(&b, 0, 8);
    refused(&b, "unknown type");
    begin(&b, 0, 1);
    put_text(&b, "nested");
    put(&b, GGUF_ARRAY, 4);
    put(&b, GGUF_ARRAY, 4);
    put(&b, 0, 8);
    refused(&b, "array of arrays");
    begin(&b, 0, 1);
    put_text(&b, "general.alignment");
    put(&b, GGUF_U32, 4);
    put(&b, 24, 4);
    refused(&b, "no power of two");
}

static void tensors_outside_the_file_or_each_other_are_refused(void **state) {
    (void)state;
    struct buffer b;
    begin(&b, 1, 0);
    put_tensor(&b, "t", 1ull << 40, 1ull << 40, 0, 0);
    refused(&b, "more elements than can be counted");
    begin(&b, 1, 0);
    put_tensor(&b, "t", 1ull << 30, 1ull << 30, 0, 0);
    refused(&b, "bytes from byte 0 of the data, but the file has");
    begin(&b, 1, 0);
    put_tensor(&b, "t", 0, 1, 0, 0);
    refused(&b, "a dimension of 0");
    begin(&b, 2, 0);
    put_tensor(&b, "a", 1, 8, 0, 0);
    put_tensor(&b, "b", 1, 8, 0, 0);
    for (int i = 0; i < 128; i++)
        buffer_putc(&b, 0);
    refused(&b, "tensor \"b\" has offset 0, expected 32");
    begin(&b, 1, 0);
    put_tensor(&b, "\033[2J", 1, 1, 0, 0);
    put(&b, 0, 8);
    refused(&b, "control characters");
}

static void an_empty_file_and_another_kind_are_refused(void **state) {
    (void)state;
    struct gguf *g = NULL;
    struct quern_error err = {0};
    assert_int_equal(gguf_parse(NULL, 0, "x.gguf", &g, &err), QUERN_ERR_FORMAT);
    assert_int_equal(gguf_parse((const unsigned char *)"PK\3\4....", 8, "x.gguf", &g, &err),
                     QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "does not begin with GGUF"));
    assert_false(gguf_is_file(support_fixture("golden/gguf")));
    assert_true(gguf_is_file(support_fixture("golden/gguf/llama.gguf")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(strings_and_arrays_are_read),
        cmocka_unit_test(the_configuration_follows_from_the_values),
        cmocka_unit_test(tensors_have_hugging_faces_names),
        cmocka_unit_test(counts_beyond_the_file_are_refused),
        cmocka_unit_test(values_that_make_no_sense_are_refused),
        cmocka_unit_test(tensors_outside_the_file_or_each_other_are_refused),
        cmocka_unit_test(an_empty_file_and_another_kind_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
