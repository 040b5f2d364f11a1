#include "model/weight_cache_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "support/support.h"

enum { ROWS = 70, COLS = 40, HEADER = 64, RECORD = 128 };

static const struct cache_fingerprint fingerprint = {{11, 22}};

/* A plain matrix, one of integers with an order of columns, one of a code book. */
struct made {
    float plain[ROWS * COLS], code[16];
    uint32_t order[COLS];
    struct packed_matrix ints, codes;
    unsigned char *data[2];
    struct weight weights[3];
};

static unsigned char *filled(size_t n, unsigned seed) {
    unsigned char *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 31 + seed);
    return p;
}

static void make(struct made *m) {
    size_t bytes;
    *m = (struct made){.ints = {.kind = QUANT_INT, .bits = 8, .rows = ROWS, .cols = COLS, .group = 16,
                                .number = DTYPE_F16, .zeros = ZEROS_CONSTANT, .zero = 128},
                       .codes = {.kind = QUANT_CODE, .bits = 4, .rows = ROWS, .cols = COLS, .group = 32,
                                 .number = DTYPE_F32, .zeros = ZEROS_NONE}};
    for (size_t i = 0; i < ROWS * COLS; i++)
        m->plain[i] = (float)i;
    for (size_t i = 0; i < 16; i++)
        m->code[i] = (float)i - 8;
    for (uint32_t i = 0; i < COLS; i++)
        m->order[i] = COLS - 1 - i;
    assert_int_equal(packed_measure(&m->ints, &bytes, NULL), QUERN_OK);
    m->ints.data = m->data[0] = filled(bytes, 1);
    m->ints.col_order = m->order;
    assert_int_equal(packed_measure(&m->codes, &bytes, NULL), QUERN_OK);
    m->codes.data = m->data[1] = filled(bytes, 2);
    m->codes.code = m->code;
    m->weights[0] = (struct weight){.dtype = DTYPE_F32, .rows = ROWS, .cols = COLS, .data = m->plain};
    m->weights[1] = (struct weight){.rows = ROWS, .cols = COLS, .data = m->data[0], .packed = &m->ints};
    m->weights[2] = (struct weight){.rows = ROWS, .cols = COLS, .data = m->data[1], .packed = &m->codes};
}

static void release(struct made *m) {
    free(m->data[0]);
    free(m->data[1]);
}

static const char *write_ok(const struct made *m) {
    const char *path = support_temp_path("cache");
    assert_int_equal(cache_file_write(path, &fingerprint, m->weights, 3, NULL), QUERN_OK);
    return path;
}

static void matrices_come_back_as_they_were(void **state) {
    (void)state;
    static struct made m;
    struct cache_file f;
    struct arena arena = ARENA_INIT(0);
    struct weight w;
    struct packed_matrix *packed;
    make(&m);
    assert_int_equal(cache_file_open(&f, write_ok(&m), &fingerprint, NULL), QUERN_OK);
    assert_int_equal(f.n_records, 3);
    assert_int_equal(cache_file_weight(&f, 0, ROWS, COLS, &arena, &w, &packed, NULL), QUERN_OK);
    assert_null(packed);
    assert_int_equal(w.dtype, DTYPE_F32);
    assert_memory_equal(w.data, m.plain, sizeof m.plain);
    for (size_t i = 1; i < 3; i++) {
        const struct packed_matrix *from = m.weights[i].packed;
        assert_int_equal(cache_file_weight(&f, i, ROWS, COLS, &arena, &w, &packed, NULL), QUERN_OK);
        assert_ptr_equal(w.packed, packed);
        assert_int_equal((uintptr_t)packed->data % 64, 0);
        assert_int_equal(weight_bytes(&w), weight_bytes(&m.weights[i]));
        assert_memory_equal(packed->data, from->data, weight_bytes(&w));
        assert_int_equal(packed->kind, from->kind);
        assert_int_equal(packed->group, from->group);
        assert_int_equal(packed->zeros, from->zeros);
        assert_int_equal(packed->zero, from->zero);
        assert_true(!packed->code == !from->code && !packed->col_order == !from->col_order);
    }
    cache_file_close(&f);
    arena_release(&arena);
    release(&m);
}

static void another_shape_fingerprint_or_length_is_refused(void **state) {
    (void)state;
    static struct made m;
    const struct cache_fingerprint other = {{11, 23}};
    struct cache_file f;
    struct arena arena = ARENA_INIT(0);
    struct weight w;
    struct packed_matrix *packed;
    struct quern_error err = {0};
    make(&m);
    const char *path = write_ok(&m);
    assert_int_equal(cache_file_open(&f, path, &other, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "have changed"));
    assert_int_equal(cache_file_open(&f, path, &fingerprint, NULL), QUERN_OK);
    assert_int_equal(cache_file_weight(&f, 0, COLS, ROWS, &arena, &w, &packed, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "matrix 1 of 3"));
    cache_file_close(&f);
    arena_release(&arena);
    release(&m);
}

/* Somebody who can compute checksums must not get further than a wrong answer. */
static void seal(unsigned char *file) {
    const uint64_t zero = 0;
    memcpy(file + 48, &zero, sizeof zero);
    const uint64_t sum = checksum64(checksum64(7, file, HEADER), file + HEADER, 3 * RECORD);
    memcpy(file + 48, &sum, sizeof sum);
}

static void records_that_lie_with_the_right_checksum_are_refused(void **state) {
    (void)state;
    static struct made m;
    make(&m);
    size_t size, taken = 0;
    const char *path = write_ok(&m);
    char *file = support_read_file(path, &size);
    unsigned char *copy = malloc(size);
    assert_non_null(copy);
    /* Every byte of the two packed records, several values each. What is accepted must lie in the file,
     * which ASan watches over while all of it is read. */
    for (size_t at = HEADER + RECORD; at < HEADER + 3 * RECORD; at++) {
        for (unsigned flip = 1; flip < 256; flip *= 3) {
            struct cache_file f;
            struct arena arena = ARENA_INIT(0);
            memcpy(copy, file, size);
            copy[at] ^= (unsigned char)flip;
            seal(copy);
            support_write_file(path, copy, size);
            assert_int_equal(cache_file_open(&f, path, &fingerprint, NULL), QUERN_OK);
            for (size_t i = 1; i < 3; i++) {
                struct weight w;
                struct packed_matrix *packed;
                float row[COLS];
                if (cache_file_weight(&f, i, ROWS, COLS, &arena, &w, &packed, NULL) || !packed)
                    continue;
                taken++;
                for (size_t r = 0; r < ROWS; r++)
                    packed_row(packed, r, row);
            }
            cache_file_close(&f);
            arena_release(&arena);
        }
    }
    assert_true(taken > 0);
    free(copy);
    free(file);
    release(&m);
}

static void writing_where_nothing_can_be_written_is_an_error(void **state) {
    (void)state;
    static struct made m;
    struct quern_error err = {0};
    make(&m);
    assert_int_equal(cache_file_write("/nonexistent/cache", &fingerprint, m.weights, 3, &err),
                     QUERN_ERR_IO);
    release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_come_back_as_they_were),
        cmocka_unit_test(another_shape_fingerprint_or_length_is_refused),
        cmocka_unit_test(records_that_lie_with_the_right_checksum_are_refused),
        cmocka_unit_test(writing_where_nothing_can_be_written_is_an_error),
    };
    return cmocka_run_group_tests_name("weight_cache_file", tests, NULL, NULL);
}
