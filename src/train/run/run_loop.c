#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_writer.h"
#include "base/os.h"
#include "train/run/run_internal.h"

enum { EVAL_ROWS = 16 };

/* ---- state --------------------------------------------------------------------------------- */

/* Keys that may differ when a run goes on: they decide nothing about the steps taken. */
static bool may_change(const char *key) {
    static const char *const names[] = {"output_dir",    "threads",    "save_steps",
                                        "eval_steps",    "max_steps",  "save_total_limit",
                                        "logging_steps", "num_train_epochs",
                                        "eval_data",     "early_stopping_patience",
                                        "load_best_model_at_end", "data", "model_name_or_path",
                                        "pack_weights"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(key, names[i]) == 0)
            return true;
    return false;
}

static json_t *make_state(const struct run *r) {
    json_t *hashes = json_array();
    for (size_t i = 0; i < r->n_stages; i++) {
        char text[32];
        snprintf(text, sizeof text, "%016" PRIx64, r->stages[i].data->hash);
        json_array_append_new(hashes, json_string(text));
    }
    return json_pack("{s:I, s:I, s:I, s:f, s:I, s:o, s:O}", "step", (json_int_t)r->step, "n_tokens",
                     (json_int_t)r->n_tokens, "best_step", (json_int_t)r->best_step, "best_loss",
                     r->best_loss, "bad_evals", (json_int_t)r->bad_evals, "data", hashes, "config",
                     r->config->json);
}

/* Stages may be added behind those there were. */
static bool stages_go_on(const json_t *then, const json_t *now) {
    const size_t n = json_array_size(then);
    bool same = json_is_array(then) && n <= json_array_size(now);
    for (size_t i = 0; i < n && same; i++)
        same = json_equal(json_array_get(then, i), json_array_get(now, i));
    return same;
}

static enum quern_status same_config(const json_t *then, const json_t *now, const char *path,
                                     struct quern_error *err) {
    const char *key;
    json_t *value;
    const bool longer = stages_go_on(json_object_get(then, "stages"), json_object_get(now, "stages"));
    for (int pass = 0; pass < 2; pass++) {
        const json_t *a = pass ? now : then, *b = pass ? then : now;
        json_object_foreach((json_t *)(uintptr_t)a, key, value) {
            if (longer && strcmp(key, "stages") == 0)
                continue;
            if (!may_change(key) && !json_equal(value, json_object_get(b, key)))
                return error_set(err, QUERN_ERR_ARG,
                                 "%s was trained with another %s; go on with the same, or begin "
                                 "anew with --force",
                                 path, key);
        }
    }
    return QUERN_OK;
}

static enum quern_status same_data(const struct run *r, const json_t *hashes, const char *path,
                                   struct quern_error *err) {
    const size_t n = json_array_size(hashes);
    for (size_t i = 0; i < r->n_stages && (i < n || i == 0); i++) {
        char text[32];
        const char *then = json_string_value(json_array_get(hashes, i));
        snprintf(text, sizeof text, "%016" PRIx64, r->stages[i].data->hash);
        if (!then || strcmp(then, text) != 0)
            return error_set(err, QUERN_ERR_ARG,
                             "%s was trained on other data: %s or the tokenizer has changed since",
                             path, r->config->stages[i].data.items[0]);
    }
    return QUERN_OK;
}

static enum quern_status take_state(struct run *r, const char *path, const json_t *state,
                                    struct quern_error *err) {
    int64_t step, n_tokens, best_step, bad_evals;
    enum quern_status status = same_config(json_object_get(state, "config"), r->config->json, path, err);
    if (!status)
        status = same_data(r, json_object_get(state, "data"), path, err);
    if (!status)
        status = json_get_int(state, path, "step", 0, INT32_MAX, 0, &step, err);
    if (!status)
        status = json_get_int(state, path, "n_tokens", 0, INT64_MAX, 0, &n_tokens, err);
    if (!status)
        status = json_get_int(state, path, "best_step", 0, INT32_MAX, 0, &best_step, err);
    if (!status)
        status = json_get_int(state, path, "bad_evals", 0, INT32_MAX, 0, &bad_evals, err);
    if (!status)
        status = json_get_float(state, path, "best_loss", -1e300, 1e300, 0, &r->best_loss, err);
    if (!status)
        status = r->ops->load_state(r->trainer, path, err);
    if (status)
        return status;
    r->n_tokens = (size_t)n_tokens;
    r->best_step = (size_t)best_step;
    r->bad_evals = (size_t)bad_evals;
    while (!status && r->step < (size_t)step && r->step < r->n_steps) {
        status = run_cursor_ready(r, err);
        if (!status)
            run_cursor_advance(r);
    }
    r->step = (size_t)step;
    return status;
}

static enum quern_status begin(struct run *r, enum run_start start, struct quern_error *err) {
    char path[RUN_PATH_BYTES], bad[RUN_PATH_BYTES];
    json_t *state = NULL;
    enum quern_status status = run_checkpoint_find(r->checkpoints, path, bad, err);
    if (status)
        return status;
    if (start == RUN_FRESH && path[0])
        return error_set(err, QUERN_ERR_ARG,
                         "%s is there: go on from it with --resume, or begin anew with --force", path);
    if (start == RUN_RESUME && !path[0] && !bad[0])
        run_note(r, "there is no checkpoint in %s; beginning anew", r->checkpoints);
    if (start == RUN_RESUME && bad[0])
        run_note(r, "%s is damaged; %s%s", bad, path[0] ? "going on from " : "beginning anew", path);
    while (start == RUN_AGAIN && path[0] && !status) {
        os_remove_dir(path);
        status = run_checkpoint_find(r->checkpoints, path, bad, err);
    }
    if (status || start != RUN_RESUME || !path[0])
        return status;
    status = run_checkpoint_state(path, &state, err);
    if (!status)
        status = take_state(r, path, state, err);
    json_decref(state);
    if (!status)
        run_note(r, "going on from %s", path);
    return status;
}

/* A failed save leaves the older ones; training goes on, and the next save may find room. */
static enum quern_status save(struct run *r, bool must, struct quern_error *err) {
    struct quern_error local = {0};
    json_t *state = make_state(r);
    enum quern_status status = os_make_dir(r->checkpoints, &local);
    if (!state)
        status = error_nomem(&local);
    if (!status)
        status = run_checkpoint_save(r->checkpoints, r->step, r->ops, r->trainer, state,
                                     r->config->save_total_limit, &local);
    json_decref(state);
    if (!status)
        return QUERN_OK;
    if (must) {
        if (err)
            *err = local;
        return status;
    }
    run_note(r, "no checkpoint at step %zu: %s; the one before stays", r->step, local.message);
    return QUERN_OK;
}

/* ---- a step ----------------------------------------------------------------------------------- */

static void log_values(struct run *r, json_t *values) {
    struct quern_error err = {0};
    if (!values || run_log_add(&r->log, values, &err)) {
        if (!r->log_failed)
            run_note(r, "%s; this is said once", values ? err.message : "out of memory");
        r->log_failed = true;
    }
    json_decref(values);
}

/* Of streamed data the whole is not known, and what is known so far depends on the time. */
static double part_of_epoch(const struct run *r) {
    const struct cursor *c = &r->cursor;
    return r->config->streaming ? 0 : (double)c->row / (double)(c->order.n_rows ? c->order.n_rows : 1);
}

static void report(struct run *r, const struct train_step_result *result, double share,
                   double step_s, double elapsed_s, size_t n_done) {
    const struct run_progress p = {
        .step = r->step,
        .n_steps = r->n_steps,
        .epoch = (double)r->cursor.epoch + part_of_epoch(r),
        .result = *result,
        .learning_rate = share * (double)r->config->train.learning_rate,
        .step_s = step_s,
        .tokens_s = step_s > 0 ? (double)result->n_tokens / step_s : 0,
        .elapsed_s = elapsed_s,
        .left_s = elapsed_s / (double)n_done * (double)(r->n_steps - r->step),
    };
    if (r->step % r->config->logging_steps == 0 || r->step == r->n_steps) {
        json_t *values = json_pack("{s:I, s:f, s:f, s:f, s:f, s:I, s:f, s:f}", "step",
                                   (json_int_t)p.step, "epoch", p.epoch, "loss", result->loss,
                                   "grad_norm", result->grad_norm, "learning_rate", p.learning_rate,
                                   "tokens", (json_int_t)r->n_tokens, "tokens_per_s", p.tokens_s,
                                   "step_s", step_s);
        if (values && result->n_prompt_labels)
            json_object_set_new(values, "prompt_loss", json_real(result->prompt_loss));
        log_values(r, values);
    }
    if (r->events.on_step)
        r->events.on_step(r->events.user, &p);
}

static enum quern_status train_step(struct run *r, struct train_step_result *result, double *share,
                                    struct quern_error *err) {
    const struct cursor *c = &r->cursor;
    const struct train_label_weights weights = {
        .prompt = (float)run_weight_at(&r->config->prompt_weight, r->step, 0),
        .emphasis = (float)run_weight_at(&r->config->emphasis_weight, r->step, 1)};
    struct label_rules labels = r->labels;
    struct row_set rows = {0};
    enum quern_status status = run_cursor_ready(r, err);
    if (status)
        return status;
    const struct stage *s = &r->stages[c->stage];
    const size_t left = c->order.n_rows - c->row, a_step = run_rows_a_step(r);
    *share = schedule_at(&r->config->stages[c->stage].schedule, c->stage_step, s->n_steps);
    labels.prompts = weights.prompt > 0;
    status = row_set_make(s->data, &c->order, c->row, left < a_step ? left : a_step, &labels, &rows,
                          err);
    if (!status)
        status = r->ops->step(r->trainer, rows.rows, rows.n, (float)*share, weights, result, err);
    row_set_release(&rows);
    if (status)
        return error_prefix(err, status, "step %zu", r->step + 1);
    if (result->n_without_gradient)
        run_note(r, "%zu tensors got no gradient in the second step, %s for one", result->n_without_gradient,
                 result->without_gradient);
    r->n_tokens += result->n_tokens;
    run_cursor_advance(r);
    return QUERN_OK;
}

/* ---- evaluation ---------------------------------------------------------------------------------- */

static enum quern_status evaluate(struct run *r, double *loss, struct quern_error *err) {
    double sum = 0;
    size_t n_labels = 0;
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; i < r->eval_order.n_rows && !status; i += EVAL_ROWS) {
        struct row_set rows;
        struct train_step_result result = {0};
        const size_t left = r->eval_order.n_rows - i, n = left < EVAL_ROWS ? left : EVAL_ROWS;
        if (r->events.on_work)
            r->events.on_work(r->events.user, "Evaluating", (double)i / (double)r->eval_order.n_rows);
        status = row_set_make(&r->eval_data, &r->eval_order, i, n, &r->labels, &rows, err);
        if (!status)
            status = r->ops->evaluate(r->trainer, rows.rows, rows.n, &result, err);
        row_set_release(&rows);
        sum += result.loss * (double)result.n_labels;
        n_labels += result.n_labels;
    }
    if (r->events.on_work)
        r->events.on_work(r->events.user, "Evaluating", 1);
    *loss = n_labels ? sum / (double)n_labels : 0;
    return status;
}

static enum quern_status evaluate_and_keep(struct run *r, struct quern_error *err) {
    double loss = 0;
    enum quern_status status = evaluate(r, &loss, err);
    if (status)
        return status;
    const bool is_best = !r->best_step || loss < r->best_loss;
    if (is_best) {
        r->best_loss = loss;
        r->best_step = r->step;
        r->bad_evals = 0;
    } else {
        r->bad_evals++;
    }
    log_values(r, json_pack("{s:I, s:f}", "step", (json_int_t)r->step, "eval_loss", loss));
    if (r->events.on_eval)
        r->events.on_eval(r->events.user, &(struct run_eval){r->step, loss, is_best});
    if (is_best && r->config->load_best) {
        struct quern_error local = {0};
        if (run_output_save(r->best, r->ops, r->trainer, &local))
            run_note(r, "the best model so far is not kept: %s", local.message);
    }
    return QUERN_OK;
}

/* ---- the loop -------------------------------------------------------------------------------------- */

static bool is_due(size_t step, size_t every) {
    return every && step % every == 0;
}

static bool has_room_for_more(const struct run *r) {
    return !r->config->patience || r->bad_evals < r->config->patience;
}

static enum quern_status loop(struct run *r, enum run_end *end, struct quern_error *err) {
    const struct run_config *c = r->config;
    const uint64_t start_ns = os_now_ns();
    const size_t first = r->step;
    enum quern_status status = QUERN_OK;
    *end = RUN_COMPLETE;
    while (r->step < r->n_steps && !status) {
        struct train_step_result result = {0};
        double share = 0;
        const uint64_t before = os_now_ns();
        status = train_step(r, &result, &share, err);
        if (status)
            break;
        const uint64_t now = os_now_ns();
        report(r, &result, share, (double)(now - before) * 1e-9, (double)(now - start_ns) * 1e-9,
               r->step - first);
        const bool last = r->step == r->n_steps;
        if (c->eval_data.n && (last || is_due(r->step, c->eval_steps)))
            status = evaluate_and_keep(r, err);
        const bool stop = r->events.is_cancelled && r->events.is_cancelled(r->events.user);
        const bool enough = !has_room_for_more(r);
        if (!status && (last || stop || enough || is_due(r->step, c->save_steps)))
            status = save(r, stop && !last, err);
        if (enough && !last)
            *end = RUN_STOPPED_EARLY;
        else if (stop && !last)
            *end = RUN_INTERRUPTED;
        if (*end != RUN_COMPLETE)
            break;
    }
    return status;
}

static enum quern_status write_output(struct run *r, struct quern_error *err) {
    char path[RUN_PATH_BYTES];
    const struct run_config *c = r->config;
    enum quern_status status = os_path_join(path, sizeof path, c->output_dir, "output", err);
    if (status)
        return status;
    if (c->load_best && r->best_step) {
        if (!os_is_dir(r->best)) /* moved when the run ended before */
            return QUERN_OK;
        run_note(r, "the output is that of step %zu, with the lowest evaluation loss", r->best_step);
        memcpy(path, r->best, sizeof path);
    } else {
        status = run_output_save(path, r->ops, r->trainer, err);
    }
    if (!status && c->train.method == TRAIN_FULL)
        status = run_output_complete(path, c->model, err);
    return status ? status : run_output_move(path, c->output_dir, err);
}

enum quern_status run_execute(struct run *r, enum run_start start, enum run_end *end,
                              struct quern_error *err) {
    enum quern_status status = begin(r, start, err);
    if (!status)
        status = run_log_open(r->config->output_dir, r->step, &r->log, err);
    if (!status)
        status = loop(r, end, err);
    if (!status && *end != RUN_INTERRUPTED)
        status = write_output(r, err);
    return status;
}
