#include "train/trainer_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/pages.h"

/* ---- opening ------------------------------------------------------------------------------------------ */

static enum quern_status check_options(const struct train_options *o, struct quern_error *err) {
    if (o->max_row == 0)
        return error_set(err, QUERN_ERR_ARG, "the longest row has 0 tokens");
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return error_set(err, QUERN_ERR_ARG, "the betas are %g and %g; both must be at least 0 and below 1",
                         (double)o->beta1, (double)o->beta2);
    if (!(o->learning_rate >= 0) || !isfinite(o->learning_rate))
        return error_set(err, QUERN_ERR_ARG, "the learning rate is %g", (double)o->learning_rate);
    return QUERN_OK;
}

enum quern_status trainer_create(const char *dir, const struct train_options *options, struct trainer **out,
                                 struct quern_error *err) {
    enum quern_status st = check_options(options, err);
    struct trainer *t = st == QUERN_OK ? calloc(1, sizeof *t) : NULL;
    if (st != QUERN_OK)
        return st;
    if (!t)
        return error_nomem(err);
    t->options = *options;
    t->dir = strdup(dir);
    st = t->dir ? QUERN_OK : error_nomem(err);
    if (st == QUERN_OK)
        st = compute_init(&t->compute, options->threads, NULL, options->bf16, err);
    if (st == QUERN_OK)
        st = net_init(&t->net, dir, &t->options, &t->compute, err);
    if (st == QUERN_OK)
        st = pass_init(&t->pass, &t->compute, &t->net, &t->options, err);
    if (st == QUERN_OK)
        st = optimizer_init(&t->optimizer, &t->options, &t->net, &t->compute, err);
    if (st != QUERN_OK) {
        trainer_destroy(t);
        return st;
    }
    *out = t;
    return QUERN_OK;
}

void trainer_destroy(struct trainer *t) {
    if (!t)
        return;
    for (size_t i = 0; i < TREE_LEVELS_MAX; i++)
        if (t->levels[i])
            pages_free(t->levels[i], t->net.n_values * sizeof(float));
    if (t->current)
        pages_free(t->current, t->net.n_values * sizeof(float));
    optimizer_release(&t->optimizer);
    pass_release(&t->pass);
    net_release(&t->net);
    compute_release(&t->compute);
    free(t->dir);
    free(t);
}

/* ---- rows ----------------------------------------------------------------------------------------------- */

static enum quern_status check_segments(const struct train_row *r, size_t index, struct quern_error *err) {
    bool ok = r->segments > 0 && r->starts[0] == 0 && r->starts[r->segments] == r->count;
    for (size_t s = 0; s < r->segments && ok; s++)
        ok = r->starts[s] < r->starts[s + 1];
    if (!ok)
        return error_set(err, QUERN_ERR_ARG,
                         "row %zu: the segments' first tokens do not ascend from 0 to %zu", index, r->count);
    return QUERN_OK;
}

static enum quern_status check_row(const struct trainer *t, const struct train_row *r, size_t index,
                                   struct quern_error *err) {
    const int32_t V = t->net.model->config.vocab_size;
    if (r->count == 0 || r->count > t->options.max_row)
        return error_set(err, QUERN_ERR_ARG, "row %zu has %zu tokens; 1 to %zu were announced", index,
                         r->count, t->options.max_row);
    for (size_t i = 0; i < r->count; i++) {
        if (r->tokens[i] < 0 || r->tokens[i] >= V)
            return error_set(err, QUERN_ERR_ARG, "row %zu: token %zu is %d, outside 0..%d", index, i,
                             (int)r->tokens[i], (int)V - 1);
        if (r->labels[i] < -1 || r->labels[i] >= V)
            return error_set(err, QUERN_ERR_ARG, "row %zu: label %zu is %d, outside -1..%d", index, i,
                             (int)r->labels[i], (int)V - 1);
    }
    return check_segments(r, index, err);
}

static void count_row(const struct train_row *r, struct train_step_result *s) {
    s->n_tokens += r->count;
    for (size_t i = 0; i < r->count; i++) {
        if (r->labels[i] < 0)
            continue;
        const unsigned kind = r->kinds ? r->kinds[i] : TRAIN_LABEL_ANSWER;
        *(kind == TRAIN_LABEL_PROMPT ? &s->n_prompt_labels : &s->n_labels) += 1;
        s->n_emphasized += kind == TRAIN_LABEL_EMPHASIZED;
    }
}

static enum quern_status check_rows(const struct trainer *t, const struct train_row *rows, size_t n,
                                    struct train_step_result *counts, struct quern_error *err) {
    *counts = (struct train_step_result){0};
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < n && st == QUERN_OK; i++) {
        st = check_row(t, &rows[i], i, err);
        if (st == QUERN_OK)
            count_row(&rows[i], counts);
    }
    if (st == QUERN_OK && counts->n_labels == 0)
        return error_set(err, QUERN_ERR_ARG, "no token of the %zu rows is trained", n);
    return st;
}

static void finish_losses(struct train_step_result *r, double answer, double prompt) {
    r->loss = answer / (double)r->n_labels;
    r->prompt_loss = r->n_prompt_labels ? prompt / (double)r->n_prompt_labels : 0;
}

/* ---- gradients --------------------------------------------------------------------------------------------- */

static void prepare_linears(struct trainer *t) {
    for (size_t i = 0; i < (size_t)t->net.model->config.n_layers; i++) {
        const struct layer *l = &t->net.layers[i];
        const struct linear *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            op_linear_prepare(&t->pass, all[j]);
    }
}

static void swap_arrays(float **a, float **b) {
    float *was = *a;
    *a = *b;
    *b = was;
}

/* A row's gradients join the sums, as a carry runs through a binary counter: the tree by which rows are
 * added depends on their indices alone. */
static void tree_add(struct trainer *t) {
    size_t i = 0;
    for (; t->full[i]; i++) {
        compute_axpy(&t->compute, t->levels[i], t->current, 1.0f, t->net.n_values);
        t->full[i] = false;
        swap_arrays(&t->current, &t->levels[i]);
    }
    swap_arrays(&t->current, &t->levels[i]);
    t->full[i] = true;
}

/* What is left over at the end, from the smallest sum to the largest, into t->current. */
static void tree_finish(struct trainer *t) {
    bool any = false;
    for (size_t i = 0; i < TREE_LEVELS_MAX; i++) {
        if (!t->full[i])
            continue;
        if (any)
            compute_axpy(&t->compute, t->levels[i], t->current, 1.0f, t->net.n_values);
        swap_arrays(&t->current, &t->levels[i]);
        t->full[i] = false;
        any = true;
    }
}

static enum quern_status row_gradients(struct trainer *t, const struct train_row *row, size_t index,
                                       struct row_weights w, struct row_losses *losses,
                                       struct quern_error *err) {
    if (!t->current)
        t->current = pages_alloc(t->net.n_values * sizeof(float));
    if (!t->current)
        return error_nomem(err);
    t->pass.grads = t->current;
    t->pass.grain = index;
    t->pass.step = t->optimizer.steps;
    t->pass.is_training = true;
    *losses = pass_row(&t->pass, row, w);
    tree_add(t);
    return QUERN_OK;
}

static bool is_zero(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

static void find_without_gradient(const struct trainer *t, struct train_step_result *result) {
    for (size_t i = 0; i < t->net.n_params; i++) {
        const struct param *p = &t->net.params[i];
        if (is_zero(t->current + p->offset, p->n) && !result->n_without_gradient++)
            result->without_gradient = p->name;
    }
}

enum quern_status trainer_gradients(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                    struct train_label_weights weights,
                                    struct train_step_result *result, struct quern_error *err) {
    enum quern_status st = check_rows(t, rows, n_rows, result, err);
    const float answers =
        (float)result->n_labels + (weights.emphasis - 1) * (float)result->n_emphasized;
    const struct row_weights w = {
        .answer = 1.0f / (answers > 0 ? answers : 1),
        .emphasized = weights.emphasis / (answers > 0 ? answers : 1),
        .prompt = weights.prompt / (float)(result->n_prompt_labels ? result->n_prompt_labels : 1)};
    double answer = 0, prompt = 0;
    if (st == QUERN_OK)
        prepare_linears(t);
    for (size_t i = 0; i < n_rows && st == QUERN_OK; i++) {
        struct row_losses losses = {0, 0};
        st = row_gradients(t, &rows[i], i, w, &losses, err);
        answer += losses.answer;
        prompt += losses.prompt;
    }
    tree_finish(t);
    if (st != QUERN_OK)
        return st;
    finish_losses(result, answer, prompt);
    if (t->optimizer.steps == 1)
        find_without_gradient(t, result);
    result->grad_norm = sqrt(compute_square_sum(&t->compute, t->current, t->net.n_values));
    return QUERN_OK;
}

/* ---- steps ------------------------------------------------------------------------------------------------- */

enum quern_status trainer_step(struct trainer *t, const struct train_row *rows, size_t n_rows,
                               float lr_scale, struct train_label_weights weights,
                               struct train_step_result *result,
                               struct quern_error *err) {
    struct train_step_result r;
    enum quern_status st = trainer_gradients(t, rows, n_rows, weights, &r, err);
    if (st != QUERN_OK)
        return st;
    if (!isfinite(r.loss) || !isfinite(r.grad_norm))
        return error_set(err, QUERN_ERR_LIMIT, "step %llu: the loss is %g, the gradient's norm %g",
                         (unsigned long long)t->optimizer.steps + 1, r.loss, r.grad_norm);
    const double limit = (double)t->options.max_grad_norm / (r.grad_norm + 1e-6);
    const float clip = t->options.max_grad_norm > 0 && limit < 1 ? (float)limit : 1.0f;
    optimizer_step(&t->optimizer, t->current, clip, lr_scale);
    *result = r;
    return QUERN_OK;
}

enum quern_status trainer_evaluate(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                   struct train_step_result *result, struct quern_error *err) {
    struct train_step_result r;
    enum quern_status st = check_rows(t, rows, n_rows, &r, err);
    double answer = 0, prompt = 0;
    if (st != QUERN_OK)
        return st;
    prepare_linears(t);
    t->pass.grads = NULL;
    t->pass.is_training = false;
    for (size_t i = 0; i < n_rows; i++) {
        const struct row_losses losses = pass_row(&t->pass, &rows[i], (struct row_weights){1, 1, 1});
        answer += losses.answer;
        prompt += losses.prompt;
    }
    finish_losses(&r, answer, prompt);
    *result = r;
    return QUERN_OK;
}

/* ---- facts --------------------------------------------------------------------------------------------------- */

struct train_size trainer_size(const struct trainer *t) {
    struct train_size s = {.activation_bytes = pass_bytes(&t->pass)};
    for (size_t i = 0; i < t->net.n_params; i++)
        s.trainable += t->net.params[i].n;
    s.total = (size_t)hf_config_param_count(&t->net.model->config, NULL);
    if (t->options.method != TRAIN_FULL)
        s.total += s.trainable;
    s.state_bytes = 2 * t->net.n_values * sizeof(float) + optimizer_bytes(&t->optimizer);
    s.weight_bytes = t->options.method == TRAIN_FULL ? 0 : t->net.fixed_bytes - t->pass.let_go_bytes;
    s.weight_bytes += t->pass.kept_bytes;
    return s;
}

double trainer_flops_per_token(const struct trainer *t) {
    const struct hf_config *c = &t->net.model->config;
    const double head = (double)t->net.head.rows * (double)t->net.head.cols;
    const double T = (double)t->options.max_row;
    const double attention = 2.0 * c->n_heads * c->head_dim * T * c->n_layers * 3.5;
    double linear = 0, lora = 0;
    int64_t active = 0;
    hf_config_param_count(c, &active);
    linear = (double)active - head * (c->tie_word_embeddings ? 1 : 2);
    if (t->options.method == TRAIN_FULL)
        return 6 * (linear + head) + attention + (t->options.checkpointing ? 2 * linear : 0);
    for (size_t i = 0; i < t->net.n_params; i++)
        if (t->net.params[i].kind == PARAM_LORA_A || t->net.params[i].kind == PARAM_LORA_B)
            lora += (double)t->net.params[i].n;
    return 4 * (linear + head) + 6 * lora + attention +
           (t->options.checkpointing ? 2 * linear + 2 * lora : 0);
}
