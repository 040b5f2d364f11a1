/* Files of keys and values: what was written is read; anything else is refused. */
#include "engine/kv_file.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { BLOCK_BYTES = 200, N_TOKENS = 70, N_BLOCKS = 3 };

static void make_block(void *user, size_t i, void *data) {
    (void)user;
    unsigned char *out = data;
    for (size_t k = 0; k < BLOCK_BYTES; k++)
        out[k] = (unsigned char)(i * 31 + k * 7);
}

static const char *write_one(const char *name) {
    static char salt[] = "key of anna";
    static int32_t tokens[N_TOKENS];
    for (int32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = i * 1000;
    const struct kv_file_header h = {.fingerprint = {11, 12},
                                     .block_bytes = BLOCK_BYTES,
                                     .n_tokens = N_TOKENS,
                                     .salt = salt,
                                     .tokens = tokens};
    const char *path = support_temp_path(name);
    assert_int_equal(kv_file_write(path, &h, make_block, NULL, NULL), QUERN_OK);
    return path;
}

static void test_what_was_written_is_read(void **state) {
    (void)state;
    struct data_file f;
    struct kv_file_header h;
    unsigned char data[BLOCK_BYTES], expected[BLOCK_BYTES];
    assert_int_equal(kv_file_open(write_one("whole"), &f, &h, NULL), QUERN_OK);
    assert_int_equal(h.fingerprint[0], 11);
    assert_int_equal(h.fingerprint[1], 12);
    assert_string_equal(h.salt, "key of anna");
    assert_int_equal(h.n_tokens, N_TOKENS);
    assert_int_equal(h.tokens[69], 69000);
    for (size_t i = 0; i < N_BLOCKS; i++) {
        make_block(NULL, i, expected);
        assert_int_equal(kv_file_read_block(&f, &h, i, data, NULL), QUERN_OK);
        assert_memory_equal(data, expected, BLOCK_BYTES);
    }
    data_file_close(&f);
    kv_file_header_release(&h);
}

/* Opens and reads everything; QUERN_OK only when all of it is believed. */
static enum quern_status read_all(const char *path) {
    struct data_file f;
    struct kv_file_header h;
    struct quern_error err;
    enum quern_status status = kv_file_open(path, &f, &h, &err);
    if (status) {
        assert_int_equal(err.code, status);
        return status;
    }
    unsigned char *data = malloc((size_t)h.block_bytes);
    assert_non_null(data);
    for (size_t i = 0; i < kv_file_blocks(h.n_tokens) && !status; i++)
        status = kv_file_read_block(&f, &h, i, data, &err);
    free(data);
    data_file_close(&f);
    kv_file_header_release(&h);
    return status;
}

static void test_every_flipped_bit_is_noticed(void **state) {
    (void)state;
    size_t size;
    char *good = support_read_file(write_one("good"), &size);
    const char *path = support_temp_path("flipped");
    for (size_t i = 0; i < size; i++) {
        good[i] ^= (char)(1 << i % 8);
        support_write_file(path, good, size);
        assert_int_equal(read_all(path), QUERN_ERR_FORMAT);
        good[i] ^= (char)(1 << i % 8);
    }
    support_write_file(path, good, size);
    assert_int_equal(read_all(path), QUERN_OK);
    free(good);
}

static void test_every_other_length_is_noticed(void **state) {
    (void)state;
    size_t size;
    char *good = support_read_file(write_one("good length"), &size);
    const char *path = support_temp_path("cut");
    for (size_t n = 0; n < size; n += 1 + n / 16) {
        support_write_file(path, good, n);
        assert_int_equal(read_all(path), QUERN_ERR_FORMAT);
    }
    good = realloc(good, size + 1);
    assert_non_null(good);
    good[size] = 0;
    support_write_file(path, good, size + 1);
    assert_int_equal(read_all(path), QUERN_ERR_FORMAT);
    free(good);
}

static void test_blocks_in_another_order_are_noticed(void **state) {
    (void)state;
    size_t size;
    const char *path = write_one("swapped");
    char *data = support_read_file(path, &size), block[BLOCK_BYTES], sum[8];
    const size_t sums = size - N_BLOCKS * 8, blocks = sums - N_BLOCKS * BLOCK_BYTES;
    memcpy(block, data + blocks, BLOCK_BYTES);
    memcpy(data + blocks, data + blocks + BLOCK_BYTES, BLOCK_BYTES);
    memcpy(data + blocks + BLOCK_BYTES, block, BLOCK_BYTES);
    memcpy(sum, data + sums, 8);
    memcpy(data + sums, data + sums + 8, 8);
    memcpy(data + sums + 8, sum, 8);
    support_write_file(path, data, size);
    assert_int_equal(read_all(path), QUERN_ERR_FORMAT);
    free(data);
}

static void test_a_directory_and_a_missing_file_are_errors(void **state) {
    (void)state;
    assert_int_equal(read_all(support_temp_dir()), QUERN_ERR_IO);
    assert_int_equal(read_all(support_temp_path("nothing")), QUERN_ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_every_flipped_bit_is_noticed),
        cmocka_unit_test(test_every_other_length_is_noticed),
        cmocka_unit_test(test_blocks_in_another_order_are_noticed),
        cmocka_unit_test(test_a_directory_and_a_missing_file_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
