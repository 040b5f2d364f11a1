#include "formats/safetensors.h"

#include "base/os.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 16384 };

/* A file of a header and `data_bytes` bytes 0, 1, 2, ... after it. */
struct image {
    unsigned char bytes[FILE_MAX];
    size_t size;
};

static struct image image_of(const char *header, size_t header_len, size_t data_bytes) {
    struct image f = {.size = 8 + header_len + data_bytes};
    assert_true(f.size <= sizeof f.bytes);
    for (int i = 0; i < 8; i++)
        f.bytes[i] = (unsigned char)((uint64_t)header_len >> (8 * i));
    memcpy(f.bytes + 8, header, header_len);
    for (size_t i = 0; i < data_bytes; i++)
        f.bytes[8 + header_len + i] = (unsigned char)i;
    return f;
}

static struct safetensors *parse_ok(const char *header, size_t data_bytes) {
    struct image f = image_of(header, strlen(header), data_bytes);
    static struct image kept; /* the tensors point into it */
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    kept = f;
    if (safetensors_parse(kept.bytes, kept.size, "m.safetensors", &st, &err))
        fail_msg("%s: %s", header, err.message);
    return st;
}

static void expect_image_error(const struct image *f, enum quern_status code,
                               const char *fragment) {
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    /* A block of exactly the file's size, so that the sanitizer sees reads past it. */
    unsigned char *exact = malloc(f->size ? f->size : 1);
    assert_non_null(exact);
    memcpy(exact, f->bytes, f->size);
    assert_int_equal(safetensors_parse(exact, f->size, "m.safetensors", &st, &err), code);
    free(exact);
    assert_null(st);
    if (strstr(err.message, "m.safetensors: ") != err.message || !strstr(err.message, fragment))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, fragment);
}

static void expect_error(const char *header, size_t data_bytes, enum quern_status code,
                         const char *fragment) {
    struct image f = image_of(header, strlen(header), data_bytes);
    expect_image_error(&f, code, fragment);
}

#define F32_4 "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"

static void a_file_gives_its_tensors_in_the_order_of_their_data(void **state) {
    (void)state;
    struct safetensors *st = parse_ok(
        "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"v\"},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
        "\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"},"
        "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
        "\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[16,17],\"extra\":[{}]}}   ",
        17);
    assert_int_equal(safetensors_count(st), 4);
    static const char *const names[] = {"a", "b", "empty", "scalar"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(safetensors_at(st, i)->name, names[i]);
    const struct tensor *b = safetensors_find(st, "b");
    assert_ptr_equal(b, safetensors_at(st, 1));
    assert_int_equal(b->dtype, DTYPE_BF16);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->size_bytes, 12);
    assert_int_equal(*(const unsigned char *)b->data, 4);
    assert_string_equal(b->file, "m.safetensors");
    assert_int_equal(safetensors_find(st, "scalar")->rank, 0);
    assert_int_equal(safetensors_find(st, "empty")->size_bytes, 0);
    assert_null(safetensors_find(st, "c"));
    assert_int_equal(safetensors_total_bytes(st), 17);
    assert_int_equal(safetensors_file_count(st), 1);
    assert_string_equal(safetensors_metadata(st, "format"), "pt");
    assert_null(safetensors_metadata(st, "x"));
    safetensors_close(st);
}

static void a_file_without_tensors_is_fine(void **state) {
    (void)state;
    static const char *const headers[] = {"{}", "{\"__metadata__\":null}", "{} "};
    for (size_t i = 0; i < 3; i++) {
        struct safetensors *st = parse_ok(headers[i], 0);
        assert_int_equal(safetensors_count(st), 0);
        safetensors_close(st);
    }
    safetensors_close(NULL);
}

static void names_are_unescaped(void **state) {
    (void)state;
    struct safetensors *st = parse_ok("{\"\\u00e9\\\"x\\/\":" F32_4 "}", 4);
    assert_non_null(safetensors_find(st, "\xc3\xa9\"x/"));
    safetensors_close(st);
}

static void a_broken_length_is_refused(void **state) {
    (void)state;
    struct image f = image_of("{}", 2, 0);
    f.size = 0;
    expect_image_error(&f, QUERN_ERR_FORMAT, "too short");
    f.size = 7;
    expect_image_error(&f, QUERN_ERR_FORMAT, "too short");
    f = image_of("", 0, 0);
    expect_image_error(&f, QUERN_ERR_FORMAT, "does not begin with '{'");
    f = image_of("{}", 2, 0);
    f.bytes[0] = 3;
    expect_image_error(&f, QUERN_ERR_FORMAT, "header length 3 exceeds");
    memset(f.bytes, 0xff, 8);
    expect_image_error(&f, QUERN_ERR_FORMAT, "over the limit of 100000000");
    memcpy(f.bytes, "\x01\xe1\xf5\x05\0\0\0\0", 8); /* 100,000,001 */
    expect_image_error(&f, QUERN_ERR_FORMAT, "over the limit of 100000000");
    memcpy(f.bytes, "\x00\xe1\xf5\x05\0\0\0\0", 8);
    expect_image_error(&f, QUERN_ERR_FORMAT, "header length 100000000 exceeds");
}

static void a_broken_header_is_refused(void **state) {
    (void)state;
    expect_error(" {}", 0, QUERN_ERR_FORMAT, "does not begin with '{'");
    expect_error("[]", 0, QUERN_ERR_FORMAT, "does not begin with '{'");
    expect_error("{", 0, QUERN_ERR_FORMAT, "line 1");
    expect_error("{}x", 0, QUERN_ERR_FORMAT, "line 1");
    expect_error("{\"a\":" F32_4 ",}", 4, QUERN_ERR_FORMAT, "line 1");
    expect_error("{\"a\":" F32_4, 4, QUERN_ERR_FORMAT, "line 1");
    expect_error("{\"a\xff\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "not valid UTF-8");
    expect_error("{\"a\":1}", 0, QUERN_ERR_FORMAT, "tensor a: must be an object");
    expect_error("{\"a\":null}", 0, QUERN_ERR_FORMAT, "tensor a: must be an object");
    expect_error("{\"__metadata__\":1}", 0, QUERN_ERR_FORMAT, "__metadata__");
    expect_error("{\"__metadata__\":{\"a\":1}}", 0, QUERN_ERR_FORMAT, "__metadata__");
    expect_error("{\"__metadata__\":{},\"__metadata__\":{}}", 0, QUERN_ERR_FORMAT, "twice");
    char nul[] = "{}\0";
    struct image f = image_of(nul, 3, 0);
    expect_image_error(&f, QUERN_ERR_FORMAT, "line 1");
    char deep[600] = "{\"a\":{\"x\":";
    memset(deep + strlen(deep), '[', 500);
    expect_error(deep, 0, QUERN_ERR_FORMAT, "line 1");
}

static void names_are_checked(void **state) {
    (void)state;
    expect_error("{\"a\":" F32_4 ",\"a\":" F32_4 "}", 4, QUERN_ERR_FORMAT,
                 "tensor a appears twice");
    expect_error("{\"\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "tensor name");
    expect_error("{\"a\\u0000b\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "tensor name \"a?b\"");
    expect_error("{\"a\\u001b[31m\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "control characters");
    expect_error("{\"a\\u009b31m\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "control characters");
    char header[1024] = "{\"";
    memset(header + 2, 'n', 513);
    strncat(header, "\":" F32_4 "}", sizeof header - strlen(header) - 1);
    expect_error(header, 4, QUERN_ERR_FORMAT, "longer than 512 bytes");
}

static void the_fields_of_a_tensor_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *tensor, *fragment;
        enum quern_status code;
    } cases[] = {
        {"{\"shape\":[1],\"data_offsets\":[0,4]}", "no dtype", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"data_offsets\":[0,4]}", "no shape", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1]}", "no data_offsets", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
         "dtype appears twice", QUERN_ERR_FORMAT},
        {"{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}", "dtype must be", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}", "unknown element type \"F31\"",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F4\",\"shape\":[8],\"data_offsets\":[0,4]}",
         "element type F4 is not supported", QUERN_ERR_UNSUPPORTED},
        {"{\"dtype\":\"F8_E8M0\",\"shape\":[4],\"data_offsets\":[0,4]}",
         "element type F8_E8M0 is not supported", QUERN_ERR_UNSUPPORTED},
        {"{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}", "shape must be an array",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}", "whole numbers",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}", "whole numbers",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1e0],\"data_offsets\":[0,4]}", "whole numbers",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}", "whole numbers",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,4]}",
         "whole numbers", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}", "more than 8",
         QUERN_ERR_UNSUPPORTED},
        {"{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}",
         "overflows", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,4]}", "overflows",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}", "[begin, end]",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}", "more than 2",
         QUERN_ERR_UNSUPPORTED},
        {"{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}", "end before they begin",
         QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}",
         "span 4 bytes, shape and dtype need 8", QUERN_ERR_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]}", "need 0", QUERN_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[256];
        snprintf(header, sizeof header, "{\"t\":%s}", cases[i].tensor);
        expect_error(header, 4, cases[i].code, cases[i].fragment);
    }
}

static void the_data_must_be_covered_exactly(void **state) {
    (void)state;
    expect_error("{\"a\":" F32_4 "}", 3, QUERN_ERR_FORMAT, "the file holds only 3");
    expect_error("{\"a\":" F32_4 "}", 5, QUERN_ERR_FORMAT, "cover 4 bytes, but 5");
    expect_error("{}", 1, QUERN_ERR_FORMAT, "cover 0 bytes, but 1");
    expect_error("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
                 QUERN_ERR_FORMAT, "leaving a hole from 0");
    expect_error("{\"a\":" F32_4
                 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
                 12, QUERN_ERR_FORMAT, "tensor b: begins at byte 8 of the data, leaving a hole");
    expect_error("{\"a\":" F32_4 ",\"b\":" F32_4 "}", 4, QUERN_ERR_FORMAT, "inside the tensor");
    expect_error("{\"a\":" F32_4 ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
                 6, QUERN_ERR_FORMAT, "tensor b: begins at byte 2");
    expect_error("{\"a\":" F32_4 ",\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
                 4, QUERN_ERR_FORMAT, "tensor b: begins at byte 2");
    expect_error("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[18446744073709551612,"
                 "18446744073709551615]}}",
                 4, QUERN_ERR_FORMAT, "span 3 bytes");
}

/* No prefix of a good file is good, and none is read past its end. */
static void every_truncation_is_refused(void **state) {
    (void)state;
    const char *header =
        "{\"a\":" F32_4 ",\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}";
    struct image f = image_of(header, strlen(header), 6);
    for (size_t whole = f.size; f.size-- > 0;) {
        (void)whole;
        expect_image_error(&f, QUERN_ERR_FORMAT, "");
    }
}

/* A flipped byte of the header gives an error or a file that still obeys every rule. */
static void every_flipped_byte_is_survived(void **state) {
    (void)state;
    const char *header =
        "{\"a\":" F32_4 ",\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}";
    struct image good = image_of(header, strlen(header), 6);
    for (size_t at = 0; at < 8 + strlen(header); at++) {
        for (int flip = 1; flip < 256; flip++) {
            struct image f = good;
            f.bytes[at] ^= (unsigned char)flip;
            struct safetensors *st = NULL;
            if (safetensors_parse(f.bytes, f.size, "m", &st, NULL))
                continue;
            for (size_t i = 0; i < safetensors_count(st); i++) {
                const struct tensor *t = safetensors_at(st, i);
                const unsigned char *p = t->data;
                assert_true(p >= f.bytes && p + t->size_bytes <= f.bytes + f.size);
            }
            safetensors_close(st);
        }
    }
}

/* ---- files ------------------------------------------------------------------------ */

static void put(const char *dir, const char *name, const char *header, size_t data_bytes) {
    char path[512];
    struct image f = image_of(header, strlen(header), data_bytes);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    support_write_file(path, f.bytes, f.size);
}

static const char *new_dir(void) {
    static int count;
    static char path[256];
    char name[32];
    snprintf(name, sizeof name, "st%d", count++);
    snprintf(path, sizeof path, "%s", support_temp_path(name));
    assert_int_equal(os_make_dir(path, NULL), QUERN_OK);
    return path;
}

static void put_index(const char *dir, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    support_write_file(path, text, strlen(text));
}

static void expect_open_error(const char *path, enum quern_status code, const char *fragment) {
    struct safetensors *st = NULL;
    struct quern_error err = {0};
    assert_int_equal(safetensors_open(path, &st, &err), code);
    assert_null(st);
    if (!strstr(err.message, fragment))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, fragment);
}

static void a_single_file_opens_by_directory_and_by_path(void **state) {
    (void)state;
    const char *dir = new_dir();
    char path[512];
    put(dir, "model.safetensors", "{\"a\":" F32_4 "}", 4);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    const char *both[] = {dir, path};
    for (size_t i = 0; i < 2; i++) {
        struct safetensors *st = NULL;
        assert_int_equal(safetensors_open(both[i], &st, NULL), QUERN_OK);
        assert_string_equal(safetensors_find(st, "a")->file, "model.safetensors");
        safetensors_close(st);
    }
}

static void shards_are_joined(void **state) {
    (void)state;
    const char *dir = new_dir();
    put(dir, "s1.safetensors", "{\"a\":" F32_4 "}", 4);
    put(dir, "s2.safetensors", "{\"__metadata__\":{\"format\":\"pt\"},\"b\":" F32_4 "}", 4);
    put_index(dir, "{\"metadata\":{\"total_size\":8},"
                   "\"weight_map\":{\"b\":\"s2.safetensors\",\"a\":\"s1.safetensors\"}}");
    struct safetensors *st = NULL;
    assert_int_equal(safetensors_open(dir, &st, NULL), QUERN_OK);
    assert_int_equal(safetensors_count(st), 2);
    assert_int_equal(safetensors_file_count(st), 2);
    assert_int_equal(safetensors_total_bytes(st), 8);
    assert_string_equal(safetensors_at(st, 0)->name, "a"); /* shards in the order of names */
    assert_string_equal(safetensors_find(st, "b")->file, "s2.safetensors");
    assert_string_equal(safetensors_metadata(st, "format"), "pt");
    safetensors_close(st);
}

static void the_index_decides_between_shards(void **state) {
    (void)state;
    const char *dir = new_dir();
    const char *two =
        "{\"a\":" F32_4 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
    put(dir, "s1.safetensors", two, 8);
    put(dir, "s2.safetensors", two, 8);
    put_index(dir, "{\"weight_map\":{\"a\":\"s2.safetensors\",\"b\":\"s1.safetensors\"}}");
    struct safetensors *st = NULL;
    assert_int_equal(safetensors_open(dir, &st, NULL), QUERN_OK);
    assert_int_equal(safetensors_count(st), 2);
    assert_string_equal(safetensors_find(st, "a")->file, "s2.safetensors");
    assert_string_equal(safetensors_find(st, "b")->file, "s1.safetensors");
    safetensors_close(st);
}

static void surplus_tensors_in_shards_are_kept(void **state) {
    (void)state;
    const char *dir = new_dir();
    put(dir, "s1.safetensors", "{\"a\":" F32_4 "}", 4);
    put(dir, "s2.safetensors",
        "{\"b\":" F32_4 ",\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8);
    put_index(dir, "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}");
    struct safetensors *st = NULL;
    assert_int_equal(safetensors_open(dir, &st, NULL), QUERN_OK);
    assert_int_equal(safetensors_count(st), 3);
    assert_non_null(safetensors_find(st, "c"));
    safetensors_close(st);
}

static void broken_indexes_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *index, *fragment;
        enum quern_status code;
    } cases[] = {
        {"", "model.safetensors.index.json", QUERN_ERR_FORMAT},
        {"{}", "weight_map is missing", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{}}", "weight_map is empty", QUERN_ERR_FORMAT},
        {"{\"weight_map\":[]}", "must be an object", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":1}}", "must name a .safetensors file", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"x\\\\y.safetensors\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\".safetensors\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"s1.bin\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"s1\\u0000.safetensors\"}}", "must name a", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"s1.safetensors\",\"a\":\"s1.safetensors\"}}", "twice",
         QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"\":\"s1.safetensors\"}}", "tensor name", QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"s9.safetensors\"}}", "shard s9.safetensors is missing (1 of 1)",
         QUERN_ERR_IO},
        {"{\"weight_map\":{\"z\":\"s1.safetensors\"}}", "z is not in s1.safetensors",
         QUERN_ERR_FORMAT},
        {"{\"weight_map\":{\"a\":\"s1.safetensors\"}", "line 1", QUERN_ERR_FORMAT},
    };
    const char *dir = new_dir();
    put(dir, "s1.safetensors", "{\"a\":" F32_4 "}", 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_index(dir, cases[i].index);
        expect_open_error(dir, cases[i].code, cases[i].fragment);
    }
}

static void a_tensor_in_the_wrong_shard_is_an_error(void **state) {
    (void)state;
    const char *dir = new_dir();
    put(dir, "s1.safetensors", "{\"a\":" F32_4 "}", 4);
    put(dir, "s2.safetensors", "{\"b\":" F32_4 "}", 4);
    put_index(dir, "{\"weight_map\":{\"a\":\"s2.safetensors\",\"b\":\"s2.safetensors\"}}");
    expect_open_error(dir, QUERN_ERR_FORMAT, "a is not in s2.safetensors");
}

static void directories_without_weights_are_explained(void **state) {
    (void)state;
    const char *dir = new_dir();
    char path[512];
    expect_open_error(dir, QUERN_ERR_IO, "no weights");
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    support_write_file(path, "x", 1);
    expect_open_error(dir, QUERN_ERR_UNSUPPORTED, "pickle");
    snprintf(path, sizeof path, "%s/absent.safetensors", dir);
    expect_open_error(path, QUERN_ERR_IO, "absent.safetensors");
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    support_write_file(path, "", 0);
    expect_open_error(dir, QUERN_ERR_FORMAT, "too short");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gives_its_tensors_in_the_order_of_their_data),
        cmocka_unit_test(a_file_without_tensors_is_fine),
        cmocka_unit_test(names_are_unescaped),
        cmocka_unit_test(a_broken_length_is_refused),
        cmocka_unit_test(a_broken_header_is_refused),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(the_fields_of_a_tensor_are_checked),
        cmocka_unit_test(the_data_must_be_covered_exactly),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_byte_is_survived),
        cmocka_unit_test(a_single_file_opens_by_directory_and_by_path),
        cmocka_unit_test(shards_are_joined),
        cmocka_unit_test(the_index_decides_between_shards),
        cmocka_unit_test(surplus_tensors_in_shards_are_kept),
        cmocka_unit_test(broken_indexes_are_refused),
        cmocka_unit_test(a_tensor_in_the_wrong_shard_is_an_error),
        cmocka_unit_test(directories_without_weights_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
