/* packed_tiles.c - the order in which a packed product is done: a panel stays, a block of tokens passes by
 * it group after group. The codes of a group are unpacked once for a block, and lie in the first-level
 * cache while its tokens use them; sums of the block lie in the second level. */
#include "kernels/packed_tiles.h"

/* Far enough for memory to answer. */
enum { AHEAD_BYTES = 4096 };

struct walk {
    const struct packed_args *a;
    const struct packed_parts *parts;
    float *sums;    /* [PACKED_BLOCK_TOKENS][PACKED_ROWS] */
    void *unpacked;
};

static struct packed_tile group_tile(const struct packed_args *a, size_t panel, size_t g) {
    const struct packed_matrix *w = a->w;
    struct packed_tile t = {.w = w, .n_cols = packed_group_cols(w, g)};
    t.scales = packed_group_at(w, panel, g);
    t.zeros = t.scales + w->scales_bytes;
    t.codes = t.zeros + w->zeros_bytes;
    t.x_stride = packed_input_cols(t.n_cols);
    return t;
}

static size_t element_bytes(enum packed_math math) {
    return math == MATH_EXACT ? sizeof(float) : math == MATH_INT8 ? 1 : 2;
}

/* Tokens [first, first + n) of one group. */
static void do_group(const struct walk *k, size_t panel, size_t g, size_t first, size_t n) {
    const struct packed_input *in = k->a->x;
    const struct packed_parts *parts = k->parts;
    struct packed_tile t = group_tile(k->a, panel, g);
    t.table = parts->table;
    const size_t element = element_bytes(in->math);
    /* Later blocks find the panel in the second-level cache. */
    t.ahead = first == k->a->token_begin ? AHEAD_BYTES : 0;
    packed_tile_fn *const *fn = parts->dot;
    struct packed_numbers numbers;
    size_t most = parts->n_tokens;
    if (parts->numbers) {
        parts->numbers(&numbers, &t);
        t.numbers = &numbers;
    }
    if (parts->direct && n <= parts->direct_most) {
        fn = parts->direct;
        most = parts->n_direct;
    } else if (parts->unpack) {
        parts->unpack(k->unpacked, &t);
        t.codes = k->unpacked;
        t.ahead = 0;
    }
    if (!parts->whole_tiles || fn == parts->direct)
        most = (n + (n + most - 1) / most - 1) / ((n + most - 1) / most);
    for (size_t i = 0; i < n; i += most) {
        const size_t some = n - i < most ? n - i : most, token = first + i;
        t.sums = k->sums + i * PACKED_ROWS;
        t.x = (const char *)in->x + (packed_input_at(in, g) + token * t.x_stride) * element;
        if (in->scale) {
            t.x_scale = in->scale + g * in->n_tokens + token;
            t.x_sum = in->sum + g * in->n_tokens + token;
        }
        fn[some](&t);
        t.ahead = 0;
    }
}

static void store(const struct walk *k, size_t panel, size_t first, size_t n) {
    const struct packed_args *a = k->a;
    const size_t row = panel * PACKED_ROWS;
    const size_t rows = a->w->rows - row < PACKED_ROWS ? a->w->rows - row : PACKED_ROWS;
    for (size_t i = 0; i < n; i++) {
        float *y = a->y + (first + i) * a->y_stride + row;
        const float *sums = k->sums + i * PACKED_ROWS;
        if (a->bias)
            for (size_t r = 0; r < rows; r++)
                y[r] = sums[r] + a->bias[row + r];
        else
            memcpy(y, sums, rows * sizeof *y);
    }
}

void packed_tiles_matmul(const struct packed_args *a, const struct packed_parts *parts) {
    const struct walk k = {.a = a, .parts = parts, .sums = a->scratch,
                           .unpacked = (char *)a->scratch + PACKED_SUMS_BYTES};
    for (size_t panel = a->panel_begin; panel < a->panel_end; panel++) {
        for (size_t t = a->token_begin; t < a->token_end; t += PACKED_BLOCK_TOKENS) {
            const size_t rest = a->token_end - t;
            const size_t n = rest < PACKED_BLOCK_TOKENS ? rest : PACKED_BLOCK_TOKENS;
            for (size_t i = 0; i < n; i++) /* of a size known here: no call */
                memset(k.sums + i * PACKED_ROWS, 0, PACKED_ROWS * sizeof *k.sums);
            for (size_t g = 0; g < a->w->n_groups; g++)
                do_group(&k, panel, g, t, n);
            store(&k, panel, t, n);
        }
    }
}

void packed_add_bias(const struct packed_args *a) {
    const size_t end = a->panel_end * PACKED_ROWS < a->w->rows ? a->panel_end * PACKED_ROWS : a->w->rows;
    for (size_t t = a->token_begin; a->bias && t < a->token_end; t++)
        for (size_t r = a->panel_begin * PACKED_ROWS; r < end; r++)
            a->y[t * a->y_stride + r] += a->bias[r];
}
