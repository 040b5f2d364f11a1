#include "train/run/run.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "train/run/run_internal.h"

void run_note(const struct run *r, const char *fmt, ...) {
    char text[1024];
    va_list args;
    if (!r->events.on_note)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    error_make_printable(text);
    r->events.on_note(r->events.user, text);
}

size_t run_rows_a_step(const struct run *r) {
    return r->config->batch_size * r->config->grad_accumulation;
}

/* ---- the data -------------------------------------------------------------------------------- */

static void on_tokenizing(void *user, double fraction) {
    const struct run *r = user;
    if (r->events.on_work)
        r->events.on_work(r->events.user, "Tokenizing", fraction);
}

static bool is_cancelled(void *user) {
    const struct run *r = user;
    return r->events.is_cancelled && r->events.is_cancelled(r->events.user);
}

static enum quern_status open_data(struct run *r, const struct run_list *paths, size_t ahead,
                                   uint64_t hash_seed, const char *cache, struct train_data *out,
                                   struct data_problem *problem, struct quern_error *err) {
    const struct train_data_options options = {.paths = paths->items,
                                               .n_paths = paths->n,
                                               .cache_dir = r->files ? cache : NULL,
                                               .hash_seed = hash_seed,
                                               .pool = r->pool,
                                               .ahead = ahead,
                                               .on_progress = on_tokenizing,
                                               .is_cancelled = is_cancelled,
                                               .user = r};
    enum quern_status status = train_data_open(&r->maker, &options, out, problem, err);
    if (status)
        return status;
    if (r->events.on_work)
        r->events.on_work(r->events.user, "Tokenizing", 1);
    if (!out->stream && out->n_cut)
        run_note(r, "%zu of %zu examples are longer than max_length %zu and lost their end; %zu "
                    "without a trained token left were left out",
                 out->n_cut, out->n_examples + out->n_skipped, r->maker.options.max_length,
                 out->n_skipped);
    return QUERN_OK;
}

/* Stages of the same files share them. */
static bool same_files(const struct run_list *a, const struct run_list *b) {
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = strcmp(a->items[i], b->items[i]) == 0;
    return same;
}

static size_t steps_of(size_t n_rows, size_t a_step) {
    return n_rows / a_step + (n_rows % a_step != 0);
}

/* Counts a stage's steps by making the order of every epoch it touches. */
static enum quern_status plan_stage(struct run *r, size_t i, struct quern_error *err) {
    const struct run_stage *config = &r->config->stages[i];
    struct stage *s = &r->stages[i];
    const size_t a_step = run_rows_a_step(r);
    enum quern_status status = QUERN_OK;
    s->order = r->config->order;
    s->order.seed = config->seed;
    if (r->config->streaming) {
        s->n_steps = config->max_steps;
        r->n_steps += s->n_steps;
        return QUERN_OK;
    }
    for (size_t epoch = 0; !status; epoch++) {
        struct order order;
        const double left = r->config->epochs - (double)epoch;
        if (config->max_steps ? s->n_steps >= config->max_steps : left <= 0)
            break;
        status = order_make(s->data, &s->order, epoch, &order, err);
        if (status)
            break;
        size_t steps = steps_of(order.n_rows, a_step);
        if (config->max_steps && steps > config->max_steps - s->n_steps)
            steps = config->max_steps - s->n_steps;
        else if (!config->max_steps && left < 1)
            steps = (size_t)ceil(left * (double)steps);
        s->n_steps += steps;
        s->n_rows += steps * a_step < order.n_rows ? steps * a_step : order.n_rows;
        s->n_epochs = epoch + 1;
        order_release(&order);
    }
    r->n_steps += s->n_steps;
    return status;
}

static enum quern_status open_stage(struct run *r, size_t i, uint64_t hash_seed, const char *cache,
                                    struct data_problem *problem, struct quern_error *err) {
    struct stage *s = &r->stages[i];
    enum quern_status status = QUERN_OK;
    for (size_t j = 0; j < i && !s->data; j++)
        if (same_files(&r->config->stages[i].data, &r->config->stages[j].data))
            s->data = r->stages[j].data;
    if (!s->data) {
        status = open_data(r, &r->config->stages[i].data, r->config->streaming ? r->config->order.window : 0,
                           hash_seed, cache, &s->own, problem, err);
        s->data = &s->own;
    }
    r->n_stages = i + 1;
    if (!status)
        status = plan_stage(r, i, err);
    const size_t row = r->config->order.row_tokens;
    const size_t example = r->config->streaming ? r->config->example.max_length : s->data->longest;
    const size_t longest = r->config->order.packing && row > example ? row : example;
    r->longest_row = longest > r->longest_row ? longest : r->longest_row;
    return status;
}

static enum quern_status open_eval(struct run *r, uint64_t hash_seed, const char *cache,
                                   struct data_problem *problem, struct quern_error *err) {
    if (!r->config->eval_data.n)
        return QUERN_OK;
    struct order_options order = r->config->order;
    order.kind = ORDER_FILE;
    enum quern_status status =
        open_data(r, &r->config->eval_data, 0, hash_seed, cache, &r->eval_data, problem, err);
    if (!status)
        status = order_make(&r->eval_data, &order, 0, &r->eval_order, err);
    if (!status && r->eval_data.longest > r->longest_row)
        r->longest_row = r->eval_data.longest;
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------- */

enum quern_status run_maker_open(const char *model, const struct example_options *options,
                                 struct tokenizer **tokenizer, struct chat_template **chat,
                                 struct example_maker *maker, struct quern_error *err) {
    enum quern_status status = tokenizer_open(model, tokenizer, err);
    if (!status)
        status = chat_template_open(model, chat, err);
    if (!status)
        status = example_maker_init(maker, *tokenizer, *chat, options, err);
    return status;
}

static enum quern_status find_ids(struct run *r, struct str text, struct token_ids *ids,
                                  struct quern_error *err) {
    const struct encode_options options = {.parse_special = true};
    ids->n = 0;
    return tokenizer_encode(r->tokenizer, text, options, ids, err);
}

static enum quern_status find_emphasized(struct run *r, struct token_ids *ids,
                                         struct quern_error *err) {
    const struct run_list *words = &r->config->emphasized;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < words->n && !status; i++) {
        status = find_ids(r, str_from(words->items[i]), ids, err);
        if (!status && !ids->n)
            return error_set(err, QUERN_ERR_ARG, "emphasized_words[%zu] is empty", i);
        if (!status)
            r->labels.words[r->labels.n_words++] = ids->ids[0];
    }
    if (!words->n || status)
        return status;
    status = find_ids(r, str_from(r->config->emphasized_after), ids, err);
    if (!status && ids->n != 1)
        return error_set(err, QUERN_ERR_ARG,
                         "emphasized_after is %zu tokens of this tokenizer, expected one", ids->n);
    if (!status)
        r->labels.after = ids->ids[0];
    return status;
}

static enum quern_status find_label_rules(struct run *r, struct quern_error *err) {
    struct token_ids ids = {0};
    enum quern_status status = find_emphasized(r, &ids, err);
    r->labels.thought = tokenizer_added_id(r->tokenizer, STR_LIT("<think>"));
    if (!status)
        status = find_ids(r, buffer_str(&r->maker.headers[0]), &ids, err);
    if (!status && ids.n <= LABEL_OPENING_MAX && r->labels.thought != TOKENIZER_NONE) {
        memcpy(r->labels.opening, ids.ids, ids.n * sizeof *ids.ids);
        r->labels.n_opening = ids.n;
    }
    token_ids_release(&ids);
    return status;
}

static enum quern_status prepare(struct run *r, struct data_problem *problem,
                                 struct quern_error *err) {
    const struct run_config *c = r->config;
    char cache[RUN_PATH_BYTES];
    uint64_t hash_seed = 0;
    enum quern_status status = os_path_join(cache, sizeof cache, c->output_dir, "cache", err);
    if (!status && r->files)
        status = os_make_dir(cache, err);
    if (!status && r->files)
        status = os_lock_dir(c->output_dir, &r->lock, err);
    if (!status)
        status = os_path_join(r->checkpoints, sizeof r->checkpoints, c->output_dir, "checkpoints",
                              err);
    if (!status)
        status = os_path_join(r->best, sizeof r->best, c->output_dir, "best", err);
    if (!status)
        status = train_data_hash_model(c->model, &hash_seed, err);
    if (!status)
        status = run_maker_open(c->model, &c->example, &r->tokenizer, &r->chat, &r->maker, err);
    if (!status)
        status = find_label_rules(r, err);
    if (!status)
        status = thread_pool_create(c->train.threads, &r->pool, err);
    for (size_t i = 0; i < c->n_stages && !status; i++)
        status = open_stage(r, i, hash_seed, cache, problem, err);
    if (!status)
        status = open_eval(r, hash_seed, cache, problem, err);
    /* The trainer has threads of its own. */
    thread_pool_destroy(r->pool);
    r->pool = NULL;
    return status;
}

enum quern_status run_open(const struct run_config *config, const struct trainer_ops *ops,
                           const struct run_events *events, bool files, struct run **out,
                           struct data_problem *problem, struct quern_error *err) {
    struct run *r = calloc(1, sizeof *r);
    *problem = (struct data_problem){0};
    if (!r)
        return error_nomem(err);
    *r = (struct run){.config = config, .ops = ops, .events = *events, .files = files, .lock = -1};
    enum quern_status status = prepare(r, problem, err);
    if (!status) {
        struct train_options options = config->train;
        options.max_row = r->longest_row;
        status = ops->create(config->model, &options, &r->trainer, err);
    }
    if (status) {
        run_close(r);
        return status;
    }
    *out = r;
    return QUERN_OK;
}

void run_close(struct run *r) {
    if (!r)
        return;
    r->ops->destroy(r->trainer);
    for (size_t i = 0; i < r->n_stages; i++)
        train_data_close(&r->stages[i].own);
    train_data_close(&r->eval_data);
    order_release(&r->eval_order);
    order_release(&r->cursor.order);
    run_log_close(&r->log);
    example_maker_release(&r->maker);
    chat_template_close(r->chat);
    tokenizer_close(r->tokenizer);
    thread_pool_destroy(r->pool);
    os_unlock_dir(r->lock);
    free(r);
}

/* ---- facts ---------------------------------------------------------------------------------------- */

size_t run_n_steps(const struct run *r) {
    return r->n_steps;
}

struct run_stage_facts run_stage_facts(const struct run *r, size_t stage) {
    const struct stage *s = &r->stages[stage];
    return (struct run_stage_facts){s->n_steps, s->n_rows, s->n_epochs, s->data};
}

const struct example_maker *run_maker(const struct run *r) {
    return &r->maker;
}

const struct trainer *run_trainer(const struct run *r) {
    return r->trainer;
}

size_t run_longest_row(const struct run *r) {
    return r->longest_row;
}

const struct run_log *run_log_of(const struct run *r) {
    return &r->log;
}

struct data_problem run_problem(const struct run *r) {
    return r->problem;
}

/* ---- the cursor ------------------------------------------------------------------------------------- */

/* Parts of the epoch until there are rows for a step, or none is left; then the next epoch's. */
static enum quern_status streamed_ready(struct run *r, struct quern_error *err) {
    struct cursor *c = &r->cursor;
    const struct stage *s = &r->stages[c->stage];
    const size_t window = s->order.window;
    enum quern_status status = QUERN_OK;
    while (c->order.n_rows - c->row < run_rows_a_step(r)) {
        size_t available = 0;
        status = train_data_wait(s->data, c->n_ordered + window, &available, &r->problem, err);
        if (status)
            return status;
        if (available > c->n_ordered) {
            status = order_go_on(s->data, &s->order, c->epoch, c->n_ordered, available - c->n_ordered,
                                 c->row, &c->order, err);
            if (status)
                return status;
            c->n_ordered = available;
            c->row = 0;
        } else if (!available) {
            return error_set(err, QUERN_ERR_FORMAT, "%s: there are no examples%s",
                             r->config->stages[c->stage].data.items[0],
                             s->data->n_skipped ? " short enough" : "");
        } else if (c->row < c->order.n_rows) {
            break; /* the epoch's last step has fewer */
        } else {
            order_release(&c->order);
            c->epoch++;
            c->row = c->n_ordered = 0;
        }
    }
    return QUERN_OK;
}

enum quern_status run_cursor_ready(struct run *r, struct quern_error *err) {
    struct cursor *c = &r->cursor;
    while (c->stage + 1 < r->n_stages && c->stage_step >= r->stages[c->stage].n_steps) {
        order_release(&c->order);
        *c = (struct cursor){.stage = c->stage + 1};
    }
    if (r->config->streaming)
        return streamed_ready(r, err);
    if (c->order.n_rows && c->row >= c->order.n_rows) {
        order_release(&c->order);
        c->epoch++;
        c->row = 0;
    }
    if (c->order.n_rows)
        return QUERN_OK;
    const struct stage *s = &r->stages[c->stage];
    return order_make(s->data, &s->order, c->epoch, &c->order, err);
}

void run_cursor_advance(struct run *r) {
    struct cursor *c = &r->cursor;
    const size_t left = c->order.n_rows - c->row, a_step = run_rows_a_step(r);
    c->row += left < a_step ? left : a_step;
    c->stage_step++;
    r->step++;
}
