/* Byte pair encoding against the definition, written down as simply as can be; and from many
 * threads. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "text/unicode.h"
#include "tokenizer/tokenizer_internal.h"

enum { N_BASE = 4, N_MERGES = 60, TOKEN_MAX = 40, TEXT_MAX = 5000 };

struct merge {
    int left, right, id;
};

/* A made vocabulary: letters a-d, then what random merges make. Ranks are in any order, so that
 * a merge may come up that goes before the one under way. */
struct made {
    char tokens[N_BASE + N_MERGES][TOKEN_MAX + 1];
    int n_tokens;
    struct merge merges[N_MERGES];
    int n_merges;
};

static uint32_t draw(uint64_t seed, uint64_t index) {
    uint32_t r[4];
    rng_block(seed, 7, index, r);
    return r[0];
}

static bool has_token(const struct made *m, const char *text) {
    for (int i = 0; i < m->n_tokens; i++)
        if (strcmp(m->tokens[i], text) == 0)
            return true;
    return false;
}

static void make(struct made *m, uint64_t seed) {
    memset(m, 0, sizeof *m);
    for (; m->n_tokens < N_BASE; m->n_tokens++)
        m->tokens[m->n_tokens][0] = (char)('a' + m->n_tokens);
    for (uint64_t i = 0; m->n_merges < N_MERGES && i < 1000; i++) {
        int left = (int)(draw(seed, 3 * i) % (uint32_t)m->n_tokens);
        int right = (int)(draw(seed, 3 * i + 1) % (uint32_t)m->n_tokens);
        char joined[2 * TOKEN_MAX + 1];
        snprintf(joined, sizeof joined, "%s%s", m->tokens[left], m->tokens[right]);
        if (strlen(joined) > TOKEN_MAX || has_token(m, joined))
            continue;
        memcpy(m->tokens[m->n_tokens], joined, strlen(joined) + 1);
        m->merges[m->n_merges++] = (struct merge){left, right, m->n_tokens++};
    }
    for (int i = m->n_merges - 1; i > 0 && seed % 3; i--) {
        int j = (int)(draw(seed, 5000 + (uint64_t)i) % (uint32_t)(i + 1));
        struct merge t = m->merges[i];
        m->merges[i] = m->merges[j];
        m->merges[j] = t;
    }
}

static struct tokenizer *load(const struct made *m) {
    static const char byte_level[] =
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
    struct buffer json;
    struct quern_error err;
    struct tokenizer *t = NULL;
    buffer_init(&json, 1 << 20);
    buffer_printf(&json, "{\"pre_tokenizer\":%s,\"decoder\":%s,\"model\":{\"vocab\":{", byte_level,
                  byte_level);
    for (int i = 0; i < m->n_tokens; i++)
        buffer_printf(&json, "%s\"%s\":%d", i ? "," : "", m->tokens[i], i);
    buffer_puts(&json, "},\"merges\":[");
    for (int i = 0; i < m->n_merges; i++)
        buffer_printf(&json, "%s\"%s %s\"", i ? "," : "", m->tokens[m->merges[i].left],
                      m->tokens[m->merges[i].right]);
    buffer_puts(&json, "]}}");
    if (tokenizer_parse(buffer_str(&json), "made", &t, &err))
        fail_msg("%s", err.message);
    buffer_release(&json);
    return t;
}

/* The definition: the first merge of the list that applies anywhere, where it applies first. */
static size_t encode_by_definition(const struct made *m, const char *text, size_t len,
                                   int32_t *ids) {
    size_t n = len;
    for (size_t i = 0; i < len; i++)
        ids[i] = text[i] - 'a';
    for (int rank = 0; rank < m->n_merges;) {
        const struct merge *merge = &m->merges[rank];
        size_t i = 0;
        while (i + 1 < n && (ids[i] != merge->left || ids[i + 1] != merge->right))
            i++;
        if (i + 1 >= n) {
            rank++;
            continue;
        }
        ids[i] = merge->id;
        memmove(ids + i + 1, ids + i + 2, (n - i - 2) * sizeof *ids);
        n--;
        rank = 0; /* an earlier one may apply now */
    }
    return n;
}

static void check_text(const struct made *m, const struct tokenizer *t, const char *text,
                       size_t len) {
    static int32_t expected[TEXT_MAX];
    struct token_ids ids = {0};
    size_t n = encode_by_definition(m, text, len, expected);
    assert_int_equal(
        tokenizer_encode(t, (struct str){text, len}, (struct encode_options){0}, &ids, NULL),
        QUERN_OK);
    assert_int_equal(ids.n, n);
    assert_memory_equal(ids.ids, expected, n * sizeof *expected);
    token_ids_release(&ids);
}

static void check_lengths(uint64_t first_seed, uint64_t n_seeds, size_t max_len) {
    static char text[TEXT_MAX];
    for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++) {
        struct made m;
        make(&m, seed);
        struct tokenizer *t = load(&m);
        for (uint64_t round = 0; round < 12; round++) {
            size_t len = 1 + draw(seed, 9000 + round) % max_len;
            uint32_t letters = 1 + (uint32_t)round % N_BASE; /* few letters: long runs */
            for (size_t i = 0; i < len; i++)
                text[i] = (char)('a' + draw(seed * 100 + round, 10000 + i) % letters);
            check_text(&m, t, text, len);
        }
        tokenizer_close(t);
    }
}

static void short_words_are_encoded_by_the_definition(void **state) {
    (void)state;
    check_lengths(1, 150, 90);
}

static void long_words_are_encoded_by_the_definition(void **state) {
    (void)state;
    check_lengths(1000, 24, 1200);
}

/* Quadratic time would take minutes here. */
static void megabytes_without_a_break_are_encoded(void **state) {
    (void)state;
    enum { SIZE = 2 << 20 };
    struct made m;
    make(&m, 3);
    struct tokenizer *t = load(&m);
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)('a' + (i % 7 + i / 1000) % N_BASE);
    struct token_ids ids = {0};
    struct buffer back;
    buffer_init(&back, SIZE);
    assert_int_equal(
        tokenizer_encode(t, (struct str){text, SIZE}, (struct encode_options){0}, &ids, NULL),
        QUERN_OK);
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, false, &back, NULL), QUERN_OK);
    assert_int_equal(back.len, SIZE);
    assert_memory_equal(back.data, text, SIZE);
    buffer_release(&back);
    token_ids_release(&ids);
    free(text);
    tokenizer_close(t);
}

/* A word of characters and of whole tokens, none of them white space. */
static size_t random_word(const struct tokenizer *t, uint64_t seed, char *out, size_t most) {
    size_t len = 0, wanted = 16 + draw(seed, 0) % most;
    for (uint64_t i = 1; len < wanted; i++) {
        char c[4];
        struct str piece = tokenizer_token_bytes(t, (int32_t)(draw(seed, 2 * i) % t->vocab.n_ids));
        if (draw(seed, 2 * i + 1) % 2 || piece.len > 32 || !utf8_valid(piece) ||
            piece.ptr[0] == ' ')
            piece = (struct str){
                c, (size_t)utf8_encode((int32_t)(0x4E00 + draw(seed, 2 * i) % 900), c)};
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
    }
    return len;
}

static void check_cuts(const char *dir, uint64_t rounds) {
    static char text[TEXT_MAX];
    struct quern_error err;
    struct tokenizer *cutting = NULL, *plain = NULL;
    if (tokenizer_open(dir, &cutting, &err) || tokenizer_open(dir, &plain, &err))
        fail_msg("%s", err.message);
    struct bpe_cuts *cuts = plain->bpe.cuts;
    assert_non_null(cuts);
    plain->bpe.cuts = NULL;
    for (uint64_t seed = 0; seed < rounds; seed++) {
        struct str word = {text, random_word(cutting, seed, text, seed % 10 ? 100 : 3000)};
        struct token_ids a = {0}, b = {0};
        assert_int_equal(tokenizer_encode(cutting, word, (struct encode_options){0}, &a, NULL),
                         QUERN_OK);
        assert_int_equal(tokenizer_encode(plain, word, (struct encode_options){0}, &b, NULL),
                         QUERN_OK);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
        token_ids_release(&a);
        token_ids_release(&b);
    }
    plain->bpe.cuts = cuts;
    tokenizer_close(plain);
    tokenizer_close(cutting);
}

static void cutting_long_words_changes_no_id(void **state) {
    (void)state;
    check_cuts(support_fixture("fixtures/qwen3-tiny"), 2000);
    check_cuts(support_fixture("golden/tokenizer/llama3"), 2000);
}

static void cutting_long_words_changes_no_id_of_qwen3(void **state) {
    (void)state;
    const char *dir;
    SHARED_OR_SKIP(dir, "qwen3");
    check_cuts(dir, 3000);
}

struct shared {
    const struct tokenizer *t;
    struct str text;
    struct token_ids ids[4];
    enum quern_status status[4];
};

static void encode_alone(void *ctx, int worker, int n_workers) {
    (void)n_workers;
    struct shared *s = ctx;
    for (int round = 0; round < 5 && !s->status[worker]; round++) {
        s->ids[worker].n = 0;
        s->status[worker] = tokenizer_encode(
            s->t, s->text, (struct encode_options){.parse_special = true}, &s->ids[worker], NULL);
    }
}

static void threads_share_a_tokenizer(void **state) {
    (void)state;
    struct quern_error err;
    struct tokenizer *t = NULL;
    struct thread_pool *pool = NULL;
    size_t size;
    char *text = support_read_file(support_fixture("golden/tokenizer/texts.json"), &size);
    if (tokenizer_open(support_fixture("golden/tokenizer/flags-nfkc"), &t, &err) ||
        thread_pool_create(4, &pool, &err))
        fail_msg("%s", err.message);
    struct shared s = {.t = t, .text = {text, size}};
    thread_pool_run(pool, encode_alone, &s);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s.status[i], QUERN_OK);
        assert_int_equal(s.ids[i].n, s.ids[0].n);
        assert_memory_equal(s.ids[i].ids, s.ids[0].ids, s.ids[0].n * sizeof *s.ids[0].ids);
    }
    for (int i = 0; i < 4; i++)
        token_ids_release(&s.ids[i]);
    thread_pool_destroy(pool);
    tokenizer_close(t);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_words_are_encoded_by_the_definition),
        cmocka_unit_test(long_words_are_encoded_by_the_definition),
        cmocka_unit_test(megabytes_without_a_break_are_encoded),
        cmocka_unit_test(cutting_long_words_changes_no_id),
        cmocka_unit_test(cutting_long_words_changes_no_id_of_qwen3),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
