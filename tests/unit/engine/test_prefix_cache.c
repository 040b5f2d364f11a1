/* The tree of known prefixes against a list of everything that was inserted. Blocks are numbers
 * with a count of references, and remember which tokens were "computed" in them, path included. */
#include "engine/prefix_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/kv_layout.h"
#include "support/support.h"

_Static_assert((int)PREFIX_BLOCK_TOKENS == (int)KV_BLOCK_TOKENS, "blocks are the pool's");

enum { BLOCK = PREFIX_BLOCK_TOKENS, MAX_BLOCKS = 4096, MAX_TOKENS = 5 * BLOCK, MAX_SEQS = 600 };

struct fake_block {
    uint32_t refs;
    size_t n_tokens; /* of the path up to the end of what is filled */
    int32_t path[MAX_TOKENS];
    int salt;
};

static struct fake_block *blocks;
static size_t n_live;

static int set_up(void **state) {
    (void)state;
    blocks = calloc(MAX_BLOCKS, sizeof *blocks);
    n_live = 0;
    return blocks ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    free(blocks);
    return 0;
}

static void retain(void *user, int32_t block) {
    (void)user;
    assert_true(blocks[block].refs > 0);
    blocks[block].refs++;
}

static void release(void *user, int32_t block) {
    (void)user;
    assert_true(blocks[block].refs > 0);
    n_live -= --blocks[block].refs == 0;
}

static uint32_t refs(void *user, int32_t block) {
    (void)user;
    return blocks[block].refs;
}

static struct prefix_cache *make_cache(void) {
    const struct prefix_blocks ops = {NULL, retain, release, refs};
    struct prefix_cache *pc = NULL;
    assert_int_equal(prefix_cache_create(&ops, &pc, NULL), QUERN_OK);
    return pc;
}

static const char *salt_name(int salt) {
    static const char *const names[] = {"", "a", "b"};
    return names[salt];
}

/* The blocks of a sequence of n tokens, each with one reference of the caller's. */
static size_t compute(const int32_t *tokens, size_t n, int salt, int32_t *out) {
    size_t n_blocks = 0;
    for (size_t at = 0; at < n; at += BLOCK) {
        int32_t b = 0;
        while (blocks[b].refs > 0)
            b++;
        assert_true(b < MAX_BLOCKS);
        const size_t end = at + BLOCK < n ? at + BLOCK : n;
        blocks[b] = (struct fake_block){.refs = 1, .n_tokens = end, .salt = salt};
        memcpy(blocks[b].path, tokens, end * sizeof *tokens);
        out[n_blocks++] = b;
        n_live++;
    }
    return n_blocks;
}

static void release_all(const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        release(NULL, ids[i]);
}

static void insert(struct prefix_cache *pc, const int32_t *tokens, size_t n, int salt) {
    int32_t ids[MAX_TOKENS / BLOCK + 1];
    const size_t n_blocks = compute(tokens, n, salt, ids);
    prefix_cache_insert(pc, salt_name(salt), tokens, n, ids);
    release_all(ids, n_blocks);
}

/* Looks tokens[n] up, checks that what is found holds them, and lets go of it. */
static size_t match(struct prefix_cache *pc, const int32_t *tokens, size_t n, int salt) {
    int32_t ids[MAX_TOKENS / BLOCK + 1];
    struct prefix_match m;
    const size_t peeked = prefix_cache_peek(pc, salt_name(salt), tokens, n, NULL);
    prefix_cache_match(pc, salt_name(salt), tokens, n, ids, &m);
    for (size_t i = 0; i < m.n_blocks; i++) {
        const struct fake_block *b = &blocks[ids[i]];
        assert_true(b->refs >= 2 && b->salt == salt && b->n_tokens == (i + 1) * BLOCK);
        assert_memory_equal(b->path, tokens, (i + 1) * BLOCK * sizeof *tokens);
    }
    const size_t found = m.n_blocks * BLOCK + m.n_partial;
    if (m.n_partial) {
        const struct fake_block *b = &blocks[m.partial];
        assert_true(b->refs >= 2 && b->salt == salt && b->n_tokens >= found);
        assert_memory_equal(b->path, tokens, found * sizeof *tokens);
        release(NULL, m.partial);
    }
    release_all(ids, m.n_blocks);
    assert_int_equal(found, peeked);
    assert_true(found <= n);
    return found;
}

/* ---- the model: a list of sequences ------------------------------------------------ */

struct seq {
    int32_t tokens[MAX_TOKENS];
    size_t n;
    int salt;
};
static struct seq seqs[MAX_SEQS];

static uint32_t draw(uint64_t *at, uint32_t below) {
    uint32_t r[4];
    rng_block(11, 0, (*at)++, r);
    return r[0] % below;
}

/* Often a beginning of an earlier one, then few different tokens: many branches. */
static void make_seq(struct seq *s, size_t n_before, uint64_t *at) {
    size_t kept = 0;
    s->salt = (int)draw(at, 3);
    s->n = 1 + draw(at, MAX_TOKENS);
    if (n_before && draw(at, 4)) {
        const struct seq *from = &seqs[draw(at, (uint32_t)n_before)];
        kept = draw(at, (uint32_t)from->n + 1);
        kept = kept < s->n ? kept : s->n;
        memcpy(s->tokens, from->tokens, kept * sizeof s->tokens[0]);
        s->salt = from->salt;
    }
    for (size_t i = kept; i < s->n; i++)
        s->tokens[i] = (int32_t)draw(at, 3);
}

static size_t common(const struct seq *a, const struct seq *b) {
    size_t same = 0;
    while (same < a->n && same < b->n && a->tokens[same] == b->tokens[same])
        same++;
    return same;
}

/* What a cache that forgets nothing finds: of the best beginning, the whole blocks, and the rest if
 * it is worth a copy. A tail too short to be remembered is not found. */
static size_t expected(const struct seq *s, size_t n_seqs) {
    size_t best = 0;
    for (size_t i = 0; i < n_seqs; i++) {
        if (seqs[i].salt != s->salt)
            continue;
        size_t same = common(s, &seqs[i]);
        const size_t remembered =
            seqs[i].n % BLOCK < PREFIX_TAIL_MIN ? seqs[i].n / BLOCK * BLOCK : seqs[i].n;
        same = same < remembered ? same : remembered;
        best = same > best ? same : best;
    }
    return best % BLOCK < PREFIX_TAIL_MIN ? best / BLOCK * BLOCK : best;
}

static void test_finds_the_longest_beginning_ever_inserted(void **state) {
    (void)state;
    struct prefix_cache *pc = make_cache();
    uint64_t at = 0;
    for (size_t i = 0; i < MAX_SEQS; i++) {
        make_seq(&seqs[i], i, &at);
        assert_int_equal(match(pc, seqs[i].tokens, seqs[i].n, seqs[i].salt), expected(&seqs[i], i));
        insert(pc, seqs[i].tokens, seqs[i].n, seqs[i].salt);
        assert_int_equal(prefix_cache_n_blocks(pc), n_live);
    }
    assert_int_equal(prefix_cache_n_evictable(pc), n_live);
    prefix_cache_destroy(pc);
    assert_int_equal(n_live, 0);
}

/* Random insertions, look-ups, evictions, with some blocks held by others. What is found is always
 * right, what is held is never evicted, and everything goes in the end. */
static void test_eviction_keeps_what_is_used_and_forgets_the_rest(void **state) {
    (void)state;
    struct prefix_cache *pc = make_cache();
    uint64_t at = 1 << 20;
    int32_t held[MAX_TOKENS / BLOCK + 1];
    struct prefix_match holding = {0};
    struct seq *holder = NULL;
    for (size_t i = 0; i < MAX_SEQS; i++) {
        make_seq(&seqs[i], i, &at);
        const size_t found = match(pc, seqs[i].tokens, seqs[i].n, seqs[i].salt);
        assert_true(found <= expected(&seqs[i], i));
        insert(pc, seqs[i].tokens, seqs[i].n, seqs[i].salt);
        if (holder)
            assert_true(match(pc, holder->tokens, holder->n, holder->salt) >=
                        holding.n_blocks * BLOCK);
        if (i % 20 == 0) {
            release_all(held, holding.n_blocks);
            holder = &seqs[i];
            prefix_cache_match(pc, salt_name(holder->salt), holder->tokens, holder->n, held,
                               &holding);
            if (holding.n_partial)
                release(NULL, holding.partial);
        }
        for (uint32_t k = draw(&at, 8); k > 0; k--) {
            const size_t n_before = n_live, can = prefix_cache_n_evictable(pc);
            assert_int_equal(prefix_cache_evict(pc), can > 0);
            assert_int_equal(n_live, n_before - (can > 0));
        }
    }
    release_all(held, holding.n_blocks);
    while (prefix_cache_evict(pc)) {
    }
    assert_int_equal(n_live, 0);
    assert_int_equal(prefix_cache_n_blocks(pc), 0);
    prefix_cache_destroy(pc);
}

static void test_the_least_recently_used_leaf_goes_first(void **state) {
    (void)state;
    struct prefix_cache *pc = make_cache();
    int32_t a[2 * BLOCK] = {0}, b[2 * BLOCK] = {0};
    b[BLOCK] = 1; /* both begin with the same block */
    insert(pc, a, 2 * BLOCK, 0);
    insert(pc, b, 2 * BLOCK, 0);
    assert_int_equal(prefix_cache_n_blocks(pc), 3);
    assert_int_equal(match(pc, a, 2 * BLOCK, 0), 2 * BLOCK); /* a is younger now */
    assert_true(prefix_cache_evict(pc));
    assert_int_equal(match(pc, a, 2 * BLOCK, 0), 2 * BLOCK);
    assert_int_equal(match(pc, b, 2 * BLOCK, 0), BLOCK);
    prefix_cache_destroy(pc);
}

static void test_who_computed_the_same_gets_the_block_that_is_known(void **state) {
    (void)state;
    struct prefix_cache *pc = make_cache();
    int32_t tokens[BLOCK + 7] = {0}, first[2], second[2];
    compute(tokens, BLOCK + 7, 0, first);
    compute(tokens, BLOCK + 7, 0, second);
    prefix_cache_insert(pc, "", tokens, BLOCK + 7, first);
    const int32_t tail = second[1];
    prefix_cache_insert(pc, "", tokens, BLOCK + 7, second);
    assert_int_equal(second[0], first[0]);
    assert_int_equal(second[1], tail); /* its last block is its own: it goes on writing there */
    assert_int_equal(blocks[first[0]].refs, 3);
    release_all(first, 2);
    release_all(second, 2);
    assert_int_equal(n_live, 2);
    prefix_cache_destroy(pc);
    assert_int_equal(n_live, 0);
}

static void test_counts_the_blocks_that_others_use(void **state) {
    (void)state;
    struct prefix_cache *pc = make_cache();
    int32_t tokens[3 * BLOCK] = {0}, ids[3];
    size_t n_in_use;
    compute(tokens, 3 * BLOCK, 0, ids);
    prefix_cache_insert(pc, "", tokens, 3 * BLOCK, ids);
    release(NULL, ids[2]);
    assert_int_equal(prefix_cache_peek(pc, "", tokens, 3 * BLOCK, &n_in_use), 3 * BLOCK);
    assert_int_equal(n_in_use, 2);
    assert_int_equal(prefix_cache_n_evictable(pc), 1);
    release_all(ids, 2);
    prefix_cache_destroy(pc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_longest_beginning_ever_inserted),
        cmocka_unit_test(test_eviction_keeps_what_is_used_and_forgets_the_rest),
        cmocka_unit_test(test_the_least_recently_used_leaf_goes_first),
        cmocka_unit_test(test_who_computed_the_same_gets_the_block_that_is_known),
        cmocka_unit_test(test_counts_the_blocks_that_others_use),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
