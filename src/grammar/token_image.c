#include "grammar/token_image.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/grammar_cache.h"
#include "grammar/loop_mask.h"

struct entry {
    struct str bytes;
    int32_t id;
};

static int compare_entries(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    size_t n = x->bytes.len < y->bytes.len ? x->bytes.len : y->bytes.len;
    int c = memcmp(x->bytes.ptr, y->bytes.ptr, n);
    if (c)
        return c;
    if (x->bytes.len != y->bytes.len)
        return x->bytes.len < y->bytes.len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Letters, digits and the kinds of bytes of UTF-8 share a group each, other ASCII has its own
 * as far as 64 reach. */
static void set_groups(uint8_t group[256]) {
    unsigned next = 12;
    for (unsigned c = 0; c < 256; c++) {
        unsigned k;
        if (c >= 'a' && c <= 'z')
            k = c <= 'f' ? 0 : 1;
        else if (c >= 'A' && c <= 'Z')
            k = 2;
        else if (c >= '0' && c <= '9')
            k = 3;
        else if (c < 0x20 && c != '\n' && c != '\t' && c != '\r')
            k = 4;
        else if (c >= 0x80)
            k = c < 0xc0 ? 5 : c < 0xc2 ? 6 : c < 0xe0 ? 7 : c < 0xf0 ? 8 : c < 0xf5 ? 9 : 10;
        else if (c == 0x7f)
            k = 11;
        else
            k = next++;
        group[c] = (uint8_t)k;
    }
}

static size_t common(struct str a, struct str b) {
    size_t i = 0;
    while (i < a.len && i < b.len && a.ptr[i] == b.ptr[i])
        i++;
    return i;
}

/* Sorted spellings are the depth-first order. `path[d]` is the open node at depth d. */
static bool build_trie(struct token_image *m, const struct entry *e, size_t n, size_t longest) {
    uint32_t *path = calloc(longest + 1, sizeof *path);
    if (!path)
        return false;
    size_t depth = 0;
    uint32_t count = 1;
    m->nodes[0] = (struct trie_node){0};
    for (size_t i = 0; i <= n; i++) {
        size_t keep = i == n ? 0 : i ? common(e[i - 1].bytes, e[i].bytes) : 0;
        for (; depth > keep; depth--) {
            uint32_t x = path[depth];
            m->nodes[x].byte_skip |= (count - x) << 8;
            const uint32_t up = path[depth - 1];
            m->below[up] |= m->below[x] | UINT64_C(1) << m->group[m->nodes[x].byte_skip & 255];
            if (m->height[up] <= m->height[x] && m->height[up] < UINT8_MAX)
                m->height[up] = (uint8_t)(m->height[x] + (m->height[x] < UINT8_MAX));
        }
        for (; i < n && depth < e[i].bytes.len; count++) {
            unsigned char c = (unsigned char)e[i].bytes.ptr[depth];
            path[++depth] = count;
            m->nodes[count] = (struct trie_node){c, (uint32_t)i};
        }
        if (i < n)
            m->tokens[i] = e[i].id;
    }
    m->nodes[0].byte_skip |= count << 8;
    m->nodes[count] = (struct trie_node){0, (uint32_t)n};
    m->n_nodes = count;
    for (uint32_t x = 1; x < count; x += trie_skip(m, x))
        m->roots[trie_byte(m, x)] = x;
    free(path);
    return true;
}

enum quern_status token_image_create(const struct tokenizer *t, struct token_image **out,
                                     struct quern_error *err) {
    int32_t n_tokens = tokenizer_n_tokens(t);
    struct entry *e = malloc(((size_t)n_tokens + 1) * sizeof *e);
    struct token_image *m = calloc(1, sizeof *m);
    enum quern_status st = QUERN_OK;
    size_t n = 0, nodes = 2, longest = 0;
    if (!e || !m)
        goto nomem;
    for (int32_t id = 0; id < n_tokens; id++) {
        struct str s = tokenizer_token_bytes(t, id);
        if (!s.len || tokenizer_is_added(t, id))
            continue;
        e[n++] = (struct entry){s, id};
        nodes += s.len;
        longest = s.len > longest ? s.len : longest;
    }
    if (nodes >= 1u << 24) {
        st = error_set(err, QUERN_ERR_LIMIT, "tokenizer: %zu bytes of tokens, at most %u", nodes,
                       (1u << 24) - 1);
        goto done;
    }
    qsort(e, n, sizeof *e, compare_entries);
    nodes = 2;
    for (size_t i = 0; i < n; i++)
        nodes += e[i].bytes.len - (i ? common(e[i - 1].bytes, e[i].bytes) : 0);
    m->tokenizer = t;
    m->n_tokens = n_tokens;
    m->n_ranked = n;
    set_groups(m->group);
    m->nodes = malloc(nodes * sizeof *m->nodes);
    m->below = calloc(nodes, sizeof *m->below);
    m->height = calloc(nodes, sizeof *m->height);
    m->tokens = malloc((n + 1) * sizeof *m->tokens);
    if (!m->nodes || !m->below || !m->height || !m->tokens || !(m->loops = loop_shelf_create()) ||
        !(m->grammars = grammar_cache_create()) ||
        !build_trie(m, e, n, longest))
        goto nomem;
    free(e);
    *out = m;
    return QUERN_OK;
nomem:
    st = error_nomem(err);
done:
    free(e);
    token_image_destroy(m);
    return st;
}

void token_image_destroy(struct token_image *m) {
    if (!m)
        return;
    grammar_cache_destroy(m->grammars); /* grammars hold loops */
    loop_shelf_destroy(m->loops);
    free(m->nodes);
    free(m->below);
    free(m->height);
    free(m->tokens);
    free(m);
}
