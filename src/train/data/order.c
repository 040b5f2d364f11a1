#include "train/data/order.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Streams of random numbers, apart from those that training draws by the same seed. */
enum { STREAM_EXAMPLES = 0x6f726401, STREAM_ROWS = 0x6f726402 };

struct item {
    size_t length;
    uint32_t example;
};

static uint64_t stream_of(unsigned kind, size_t epoch) {
    return (uint64_t)kind << 32 | (uint64_t)epoch;
}

/* A draw of a Fisher-Yates shuffle. */
static size_t draw_below(uint64_t seed, uint64_t stream, uint64_t index, size_t n) {
    size_t i = (size_t)(rng_uniform(seed, stream, index) * (double)n);
    return i < n ? i : n - 1;
}

static int longest_first(const void *x, const void *y) {
    const struct item *a = x, *b = y;
    if (a->length != b->length)
        return a->length > b->length ? -1 : 1;
    return (a->example > b->example) - (a->example < b->example);
}

static int shortest_first(const void *x, const void *y) {
    const struct item *a = x, *b = y;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return (a->example > b->example) - (a->example < b->example);
}

/* ---- rows of a window -------------------------------------------------------------------- */

struct packer {
    const struct order_options *options;
    struct order *out;
    size_t n_placed;    /* examples already in rows */
    size_t n_drawn;     /* examples of the epoch before these: tells draws apart */
    struct item *items; /* [window] */
    uint32_t *row_of;   /* [window] */
    size_t *room;       /* [window] left in each row */
    uint32_t *moved;    /* [window] */
};

/* First fit decreasing: each example goes to the first row with room for it. */
static size_t fit(struct packer *p, size_t n) {
    size_t n_rows = 0, first_open = 0;
    qsort(p->items, n, sizeof *p->items, longest_first);
    const size_t least = n ? p->items[n - 1].length : 0;
    for (size_t i = 0; i < n; i++) {
        size_t row = first_open, length = p->items[i].length;
        while (row < n_rows && p->room[row] < length)
            row++;
        if (row == n_rows)
            p->room[n_rows++] =
                p->options->row_tokens > length ? p->options->row_tokens : length;
        p->room[row] -= length;
        p->row_of[i] = (uint32_t)row;
        while (first_open < n_rows && p->room[first_open] < least)
            first_open++;
    }
    return n_rows;
}

/* Rows of like lengths: a row times its longest example is at most row_tokens. */
static size_t cut(struct packer *p, size_t n) {
    size_t n_rows = 0, in_row = 0;
    qsort(p->items, n, sizeof *p->items, shortest_first);
    for (size_t i = 0; i < n; i++) {
        if (in_row && (in_row + 1) * p->items[i].length > p->options->row_tokens) {
            n_rows++;
            in_row = 0;
        }
        p->row_of[i] = (uint32_t)n_rows;
        in_row++;
    }
    return n ? n_rows + 1 : 0;
}

static size_t one_each(struct packer *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p->row_of[i] = (uint32_t)i;
    return n;
}

/* Rows in a drawn order, the examples of each in the order of the items. */
static void place(struct packer *p, size_t n, size_t n_rows, uint64_t stream, bool shuffle) {
    struct order *o = p->out;
    uint32_t *rank = p->moved; /* row -> place */
    for (size_t i = 0; i < n_rows; i++)
        rank[i] = (uint32_t)i;
    for (size_t i = n_rows; shuffle && i > 1; i--) {
        size_t j = draw_below(p->options->seed, stream, p->n_drawn + i, i);
        uint32_t t = rank[i - 1];
        rank[i - 1] = rank[j];
        rank[j] = t;
    }
    uint32_t *ends = o->row_starts + o->n_rows + 1;
    memset(ends, 0, n_rows * sizeof *ends);
    for (size_t i = 0; i < n; i++)
        ends[rank[p->row_of[i]]]++;
    uint32_t at = (uint32_t)p->n_placed;
    for (size_t i = 0; i < n_rows; i++) {
        uint32_t size = ends[i];
        ends[i] = at;
        at += size;
    }
    for (size_t i = 0; i < n; i++)
        o->examples[ends[rank[p->row_of[i]]]++] = p->items[i].example;
    o->n_rows += n_rows;
    p->n_placed += n;
    p->n_drawn += n;
}

/* ---- an epoch -------------------------------------------------------------------------------- */

/* Draws are told apart by the examples' places in the epoch. */
static void shuffle_examples(uint32_t *examples, size_t n, size_t first, uint64_t seed, size_t epoch) {
    for (size_t i = n; i > 1; i--) {
        size_t j = draw_below(seed, stream_of(STREAM_EXAMPLES, epoch), first + i, i);
        uint32_t t = examples[i - 1];
        examples[i - 1] = examples[j];
        examples[j] = t;
    }
}

static void pack_window(struct packer *p, const struct train_data *data, const uint32_t *examples, size_t n,
                        size_t epoch) {
    const struct order_options *o = p->options;
    for (size_t i = 0; i < n; i++)
        p->items[i] = (struct item){train_data_length(data, examples[i]), examples[i]};
    const size_t n_rows = o->kind == ORDER_WINDOWS ? cut(p, n) : o->packing ? fit(p, n) : one_each(p, n);
    place(p, n, n_rows, stream_of(STREAM_ROWS, epoch),
          o->kind == ORDER_WINDOWS || (o->kind == ORDER_SHUFFLED && o->packing));
}

static bool packer_init(struct packer *p, size_t window) {
    p->items = malloc((window + 1) * sizeof *p->items);
    p->row_of = malloc((window + 1) * sizeof *p->row_of);
    p->room = malloc((window + 1) * sizeof *p->room);
    p->moved = malloc((window + 1) * sizeof *p->moved);
    return p->items && p->row_of && p->room && p->moved;
}

static void packer_release(struct packer *p) {
    free(p->items);
    free(p->row_of);
    free(p->room);
    free(p->moved);
}

static uint32_t *list_examples(const struct order_options *o, size_t first, size_t n, size_t epoch) {
    uint32_t *examples = malloc((n + 1) * sizeof *examples);
    if (!examples)
        return NULL;
    for (size_t i = 0; i < n; i++)
        examples[i] = (uint32_t)(first + i);
    if (o->kind == ORDER_SHUFFLED)
        shuffle_examples(examples, n, first, o->seed, epoch);
    return examples;
}

enum quern_status order_make(const struct train_data *data, const struct order_options *options,
                             size_t epoch, struct order *out, struct quern_error *err) {
    const size_t n = data->n_examples;
    const size_t window = options->window && options->window < n ? options->window : n;
    *out = (struct order){0};
    if (n >= UINT32_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu examples are too many", n);
    struct packer p = {.options = options, .out = out};
    uint32_t *examples = list_examples(options, 0, n, epoch);
    out->examples = malloc((n + 1) * sizeof *out->examples);
    out->row_starts = calloc(n + 2, sizeof *out->row_starts);
    const bool ok = packer_init(&p, window) && examples && out->examples && out->row_starts;
    for (size_t first = 0; ok && first < n; first += window)
        pack_window(&p, data, examples + first, n - first < window ? n - first : window, epoch);
    if (!ok)
        order_release(out);
    free(examples);
    packer_release(&p);
    return ok ? QUERN_OK : error_nomem(err);
}

/* Rows from `from` on, alone; there is room for n more examples then. */
static bool keep_rows(struct order *o, size_t from, size_t n) {
    const size_t n_rows = o->n_rows - from;
    const uint32_t begin = o->n_rows ? o->row_starts[from] : 0;
    const size_t n_examples = o->n_rows ? o->row_starts[o->n_rows] - begin : 0;
    uint32_t *examples = malloc((n_examples + n + 1) * sizeof *examples);
    uint32_t *row_starts = calloc(n_rows + n + 2, sizeof *row_starts);
    if (!examples || !row_starts) {
        free(examples);
        free(row_starts);
        return false;
    }
    if (n_examples)
        memcpy(examples, o->examples + begin, n_examples * sizeof *examples);
    for (size_t i = 0; i <= n_rows && o->n_rows; i++)
        row_starts[i] = o->row_starts[from + i] - begin;
    order_release(o);
    *o = (struct order){examples, row_starts, n_rows};
    return true;
}

enum quern_status order_go_on(const struct train_data *data, const struct order_options *options,
                              size_t epoch, size_t first, size_t n, size_t from, struct order *o,
                              struct quern_error *err) {
    if (first + n >= UINT32_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu examples are too many", first + n);
    struct packer p = {.options = options, .out = o};
    uint32_t *examples = list_examples(options, first, n, epoch);
    const bool ok = packer_init(&p, n) && examples && keep_rows(o, from, n);
    if (ok) {
        p.n_placed = o->row_starts[o->n_rows];
        p.n_drawn = first;
        pack_window(&p, data, examples, n, epoch);
    }
    free(examples);
    packer_release(&p);
    return ok ? QUERN_OK : error_nomem(err);
}

void order_release(struct order *o) {
    free(o->examples);
    free(o->row_starts);
    *o = (struct order){0};
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* An example's tokens, DATA_TRAINED on those that are. */
struct data_example {
    const uint32_t *tokens;
    size_t n;
};

static int32_t token_at(struct data_example e, size_t i) {
    return (int32_t)(e.tokens[i] & ~DATA_TRAINED);
}

/* Whether token i is the first word of an answer that begins in the prompt. */
static bool is_first_word(struct data_example e, size_t i, const struct label_rules *rules) {
    const size_t n = rules->n_opening;
    if (!n || i < n || token_at(e, i) == rules->thought)
        return false;
    for (size_t k = 0; k < n; k++)
        if (token_at(e, i - n + k) != rules->opening[k])
            return false;
    return true;
}

static bool is_emphasized(struct data_example e, size_t i, const struct label_rules *rules) {
    if (!rules->n_words || !i || token_at(e, i - 1) != rules->after)
        return false;
    for (size_t k = 0; k < rules->n_words; k++)
        if (token_at(e, i) == rules->words[k])
            return true;
    return false;
}

static void fill_segment(struct data_example e, const struct label_rules *rules, int32_t *tokens,
                         int32_t *labels, uint8_t *kinds) {
    for (size_t i = 0; i < e.n; i++) {
        const size_t next = i + 1;
        tokens[i] = token_at(e, i);
        labels[i] = -1;
        kinds[i] = TRAIN_LABEL_ANSWER;
        if (next == e.n)
            continue;
        if (e.tokens[next] & DATA_TRAINED) {
            labels[i] = token_at(e, next);
            if (is_emphasized(e, next, rules))
                kinds[i] = TRAIN_LABEL_EMPHASIZED;
        } else if (rules->prompts && !is_first_word(e, next, rules)) {
            labels[i] = token_at(e, next);
            kinds[i] = TRAIN_LABEL_PROMPT;
        }
    }
}

static bool allocate(const struct train_data *data, const struct order *order, size_t i, size_t n,
                     struct row_set *out, uint32_t **words) {
    const size_t n_examples = order->row_starts[i + n] - order->row_starts[i];
    size_t n_tokens = 0, longest = 0;
    for (size_t k = order->row_starts[i]; k < order->row_starts[i + n]; k++) {
        const size_t length = train_data_length(data, order->examples[k]);
        n_tokens += length;
        longest = length > longest ? length : longest;
    }
    *words = malloc((longest + 1) * sizeof **words);
    out->rows = calloc(n + 1, sizeof *out->rows);
    out->numbers = malloc((2 * n_tokens + 1) * sizeof *out->numbers);
    out->flags = malloc(n_tokens + 1);
    out->starts = malloc((n_examples + n + 1) * sizeof *out->starts);
    return *words && out->rows && out->numbers && out->flags && out->starts;
}

/* Where the next row's arrays begin. */
struct row_room {
    int32_t *numbers;
    uint8_t *flags;
    uint32_t *starts;
};

static enum quern_status make_row(const struct train_data *data, const struct order *order, size_t index,
                                  const struct label_rules *rules, uint32_t *words, struct row_room *room,
                                  struct train_row *out, struct quern_error *err) {
    const uint32_t begin = order->row_starts[index], end = order->row_starts[index + 1];
    size_t count = 0, at = 0;
    for (uint32_t k = begin; k < end; k++)
        count += train_data_length(data, order->examples[k]);
    int32_t *labels = room->numbers + count;
    *out = (struct train_row){count, room->numbers, labels, room->flags, room->starts, end - begin};
    for (uint32_t k = begin; k < end; k++) {
        const struct data_example e = {words, train_data_length(data, order->examples[k])};
        enum quern_status status = train_data_read(data, order->examples[k], words, err);
        if (status)
            return status;
        room->starts[k - begin] = (uint32_t)at;
        fill_segment(e, rules, room->numbers + at, labels + at, room->flags + at);
        at += e.n;
    }
    room->starts[end - begin] = (uint32_t)count;
    room->numbers += 2 * count;
    room->flags += count;
    room->starts += end - begin + 1;
    return QUERN_OK;
}

enum quern_status row_set_make(const struct train_data *data, const struct order *order, size_t i,
                               size_t n, const struct label_rules *rules, struct row_set *out,
                               struct quern_error *err) {
    uint32_t *words = NULL;
    *out = (struct row_set){.n = n};
    enum quern_status status = allocate(data, order, i, n, out, &words) ? QUERN_OK : error_nomem(err);
    struct row_room room = {out->numbers, out->flags, out->starts};
    for (size_t r = 0; r < n && !status; r++)
        status = make_row(data, order, i + r, rules, words, &room, &out->rows[r], err);
    free(words);
    if (status)
        row_set_release(out);
    return status;
}

void row_set_release(struct row_set *s) {
    free(s->rows);
    free(s->numbers);
    free(s->flags);
    free(s->starts);
    *s = (struct row_set){0};
}
