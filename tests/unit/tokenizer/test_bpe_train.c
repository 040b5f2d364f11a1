/* Learning byte pair encoding: the files that `tokenizers` writes, byte for byte. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/corpus.h"
#include "tokenizer/tokenizer_write.h"

static struct quern_error err;

static void train(const char *path, bool whole, int n_threads,
                  const struct bpe_train_options *options, const struct token_to_add *added,
                  size_t n_added, struct buffer *out) {
    struct thread_pool *pool = NULL;
    struct word_counter *counter = NULL;
    const struct word_count *words = NULL;
    const struct corpus_options corpus = {whole, NULL, NULL};
    struct bpe_trained trained;
    size_t n = 0;
    assert_int_equal(thread_pool_create(n_threads, &pool, &err), QUERN_OK);
    assert_int_equal(word_counter_create(pool, &counter, &err), QUERN_OK);
    assert_int_equal(corpus_count(&path, 1, &corpus, counter, &err), QUERN_OK);
    assert_int_equal(word_counter_finish(counter, &words, &n, &err), QUERN_OK);
    assert_int_equal(bpe_train(words, n, options, &trained, &err), QUERN_OK);
    buffer_init(out, 1 << 24);
    tokenizer_write(&trained, added, n_added, out);
    assert_int_equal(out->failed, QUERN_OK);
    bpe_trained_release(&trained);
    word_counter_destroy(counter);
    thread_pool_destroy(pool);
}

static void expect_file(const struct buffer *got, const char *golden) {
    size_t size;
    char *text = support_read_file(support_fixture(golden), &size);
    assert_int_equal(got->len, size);
    assert_memory_equal(got->data, text, size);
    free(text);
}

static void lines_of_a_file_give_the_reference_file_on_any_number_of_threads(void **state) {
    size_t n_added;
    const struct token_to_add *added = tokenizer_qwen3_added(&n_added);
    const struct bpe_train_options options = {.vocab_size = 480 - n_added};
    (void)state;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct buffer out;
        train(support_fixture("golden/train_data/corpus.txt"), false, n_threads, &options, added, n_added,
              &out);
        expect_file(&out, "golden/train_data/tokenizer-lines.json");
        buffer_release(&out);
    }
}

static void limits_of_length_and_frequency_are_those_of_the_reference(void **state) {
    const struct token_to_add added[] = {{{"<s>", 3}, true}, {{"</s>", 4}, true}};
    const struct bpe_train_options options = {
        .vocab_size = 418, .min_frequency = 3, .max_token_length = 6};
    struct buffer out;
    (void)state;
    train(support_fixture("golden/train_data/corpus.txt"), true, 2, &options, added, 2, &out);
    expect_file(&out, "golden/train_data/tokenizer-whole.json");
    buffer_release(&out);
}

static void an_added_token_that_the_vocabulary_has_keeps_its_id(void **state) {
    const char *path = support_temp_path("the.txt");
    const struct token_to_add added[] = {{{"the", 3}, false}, {{"<x>", 3}, true}};
    const struct bpe_train_options options = {.vocab_size = 258};
    struct buffer out;
    (void)state;
    support_write_file(path, "the the the", 11);
    train(path, false, 1, &options, added, 2, &out);
    assert_non_null(strstr(out.data, "\"id\": 257,\n      \"content\": \"the\""));
    assert_non_null(strstr(out.data, "\"id\": 258,\n      \"content\": \"<x>\""));
    buffer_release(&out);
}

static void texts_of_json_records_count_and_a_broken_line_is_named(void **state) {
    const char *path = support_temp_path("records.jsonl");
    const char *text = "{\"messages\":[{\"role\":\"user\",\"content\":\"aaaa\"}]}\n\n"
                       "{\"text\":\"aaaa\"}\n{\"text\": oops}\n";
    const struct corpus_options corpus = {false, NULL, NULL};
    struct thread_pool *pool = NULL;
    struct word_counter *counter = NULL;
    (void)state;
    support_write_file(path, text, strlen(text));
    assert_int_equal(thread_pool_create(2, &pool, &err), QUERN_OK);
    assert_int_equal(word_counter_create(pool, &counter, &err), QUERN_OK);
    assert_int_equal(corpus_count(&path, 1, &corpus, counter, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "records.jsonl:4: "));
    word_counter_destroy(counter);
    thread_pool_destroy(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_a_file_give_the_reference_file_on_any_number_of_threads),
        cmocka_unit_test(limits_of_length_and_frequency_are_those_of_the_reference),
        cmocka_unit_test(an_added_token_that_the_vocabulary_has_keeps_its_id),
        cmocka_unit_test(texts_of_json_records_count_and_a_broken_line_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
