/* Conversations on disk: found again by the next engine, bit for bit; files that are broken,
 * foreign or too many do no harm. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/engine.h"
#include "support/engine_rig.h"

enum { CONTEXT = 256, N_PROMPT = 100, N_MADE = 21 };

static struct rig rig;
static int32_t prompt[CONTEXT];

static int open_all(void **state) {
    (void)state;
    rig_open(&rig, CONTEXT, 1);
    quern_set_log(NULL, NULL); /* broken files are warned about */
    return 0;
}

static int close_all(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static struct engine *open_engine(const char *dir, uint64_t max_bytes) {
    const struct quern_engine_options o = {.disk_cache = dir, .disk_cache_bytes = max_bytes};
    return rig_engine(&rig, &o);
}

/* One turn; its answer stands behind the prompt afterwards. */
static size_t first_turn(struct engine *e, uint64_t seed, struct rig_answer *a) {
    rig_prompt(prompt, N_PROMPT, seed);
    const struct quern_request r = rig_request(prompt, N_PROMPT, seed, N_MADE);
    rig_run(e, &r, a);
    memcpy(prompt + N_PROMPT, a->tokens, a->n * sizeof a->tokens[0]);
    rig_prompt(prompt + N_PROMPT + a->n, 10, seed + 1000);
    return N_PROMPT + a->n + 10;
}

/* The next turn is what a session gives; the answer is how much of it was known. */
static size_t second_turn(struct engine *e, size_t n, const char *salt) {
    struct rig_answer a, alone;
    struct quern_request r = rig_request(prompt, n, 77, 12);
    r.cache_salt = salt;
    rig_run(e, &r, &a);
    rig_alone(&rig, &r, &alone);
    rig_assert_same(&a, &alone);
    return a.result.usage.cached_tokens;
}

/* Files in dir, the last one's path and the bytes of all. */
static size_t list(const char *dir, char path[512], size_t *bytes) {
    DIR *d = opendir(dir);
    size_t n = 0;
    *bytes = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.')
            continue;
        assert_true((size_t)snprintf(path, 512, "%s/%s", dir, e->d_name) < 512);
        assert_int_equal(stat(path, &st), 0);
        *bytes += (size_t)st.st_size;
        n++;
    }
    closedir(d);
    return n;
}

static void test_the_next_engine_goes_on_where_the_last_one_ended(void **state) {
    (void)state;
    const char *dir = support_temp_path("kept/deeper");
    struct rig_answer a;
    char path[512];
    size_t bytes;
    struct engine *e = open_engine(dir, 0);
    const size_t n = first_turn(e, 1, &a);
    engine_destroy(e);
    assert_int_equal(list(dir, path, &bytes), 1);
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    e = open_engine(dir, 0);
    struct quern_engine_stats stats;
    /* Another's conversation is not this one's. */
    assert_int_equal(second_turn(e, n, "somebody else"), 0);
    assert_int_equal(second_turn(e, n, NULL), N_PROMPT + N_MADE - 1);
    engine_get_stats(e, &stats);
    assert_int_equal(stats.disk_loads, 1);
    rig_assert_idle(e);
    engine_destroy(e);
    /* The longer conversation has taken the place of its beginning; the other one is new. */
    assert_int_equal(list(dir, path, &bytes), 2);
}

static void test_a_broken_file_is_removed_and_the_prompt_computed(void **state) {
    (void)state;
    const char *dir = support_temp_path("broken");
    struct rig_answer a;
    char path[512];
    size_t bytes, size;
    struct engine *e = open_engine(dir, 0);
    const size_t n = first_turn(e, 2, &a);
    engine_destroy(e);
    assert_int_equal(list(dir, path, &bytes), 1);
    /* In a block: it is found when it is read. */
    char *data = support_read_file(path, &size);
    data[size - 5000] ^= 1;
    support_write_file(path, data, size);
    e = open_engine(dir, 0);
    assert_int_equal(second_turn(e, n, NULL), 0);
    rig_assert_idle(e);
    /* In the header: at once. */
    data[50] ^= 1;
    support_write_file(path, data, size);
    engine_destroy(e);
    e = open_engine(dir, 0);
    assert_true(second_turn(e, n, NULL) > 0); /* what the engine before wrote when it ended */
    engine_destroy(e);
    free(data);
}

static void test_the_directory_stays_within_its_bound(void **state) {
    (void)state;
    const char *dir = support_temp_path("bounded");
    struct rig_answer a;
    char path[512];
    size_t bytes, one;
    struct engine *e = open_engine(dir, 0);
    first_turn(e, 10, &a);
    engine_destroy(e);
    assert_int_equal(list(dir, path, &one), 1);
    /* Room for three. */
    e = open_engine(dir, 3 * one + one / 2);
    for (uint64_t seed = 11; seed < 17; seed++)
        first_turn(e, seed, &a);
    engine_destroy(e);
    assert_int_equal(list(dir, path, &bytes), 3);
    assert_true(bytes <= 3 * one + one / 2);
    /* For none. */
    e = open_engine(dir, one / 2);
    first_turn(e, 20, &a);
    engine_destroy(e);
    assert_int_equal(list(dir, path, &bytes), 0);
}

static uint64_t wanted_stores;

static bool are_stored(const struct quern_engine_stats *s) {
    return s->disk_stores >= wanted_stores;
}

/* Memory holds two of them; none waits two seconds to be written, so that none is lost. */
static void test_what_memory_has_no_room_for_comes_back_from_disk(void **state) {
    (void)state;
    const struct quern_engine_options o = {.disk_cache = support_temp_path("evicted"),
                                           .kv_bytes = 1};
    struct engine *e = rig_engine(&rig, &o);
    struct rig_answer a;
    struct quern_engine_stats stats;
    for (wanted_stores = 1; wanted_stores <= 5; wanted_stores++) {
        first_turn(e, 30 + wanted_stores, &a);
        rig_await(e, are_stored);
    }
    const struct quern_request again = rig_request(prompt, N_PROMPT, 31, N_MADE);
    rig_prompt(prompt, N_PROMPT, 31);
    rig_run(e, &again, &a);
    /* Of a file that goes on otherwise, whole blocks. */
    assert_int_equal(a.result.usage.cached_tokens, N_PROMPT / 32 * 32);
    engine_get_stats(e, &stats);
    assert_int_equal(stats.disk_loads, 1);
    rig_assert_idle(e);
    engine_destroy(e);
}

static void test_a_directory_that_cannot_be_made_is_an_error(void **state) {
    (void)state;
    const char *file = support_temp_path("a file");
    support_write_file(file, "x", 1);
    const struct quern_engine_options o = {.disk_cache = file};
    const struct engine_setup setup = {.model = rig.model,
                                       .tokenizer = rig.tokenizer,
                                       .n_tokens_known = 400,
                                       .n_context = CONTEXT,
                                       .options = &o};
    struct engine *e = NULL;
    struct quern_error err;
    assert_int_equal(engine_create(&setup, &e, &err), QUERN_ERR_IO);
    assert_null(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_engine_goes_on_where_the_last_one_ended),
        cmocka_unit_test(test_a_broken_file_is_removed_and_the_prompt_computed),
        cmocka_unit_test(test_the_directory_stays_within_its_bound),
        cmocka_unit_test(test_what_memory_has_no_room_for_comes_back_from_disk),
        cmocka_unit_test(test_a_directory_that_cannot_be_made_is_an_error),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
