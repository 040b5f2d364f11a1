#include "cli/train_view.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/cli_format.h"
#include "cli/interrupt.h"

enum { SHOWN_TOKENS = 400, BAR = 24, TIME_BYTES = 32, LINES_TO_LOOK_AT = 1000 };

void train_view_init(struct train_view *v, const struct run_config *config) {
    *v = (struct train_view){.config = config,
                             .is_tty = os_is_tty(STDERR_FILENO),
                             .colour = cli_has_colour(stderr)};
}

void train_view_clear(struct train_view *v) {
    if (v->line_drawn)
        fprintf(stderr, "\r%*s\r", os_terminal_columns(STDERR_FILENO) - 1, "");
    v->line_drawn = false;
}

/* "1h02m", "3m20s", "12s" */
static const char *format_time(double seconds, char out[TIME_BYTES]) {
    const long s = seconds < 0 ? 0 : seconds > 1e8 ? 100000000 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, TIME_BYTES, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, TIME_BYTES, "%ldm%02lds", s / 60, s % 60);
    else
        snprintf(out, TIME_BYTES, "%lds", s);
    return out;
}

/* ---- events --------------------------------------------------------------------------------- */

static void describe_step(const struct train_view *v, const struct run_progress *p, char *out,
                          size_t size) {
    char left[TIME_BYTES], rate[CLI_NUMBER_BYTES], share[48] = "";
    if (v->peak_ops_s > 0 && v->flops_per_token > 0)
        snprintf(share, sizeof share, "  %.0f %% of peak",
                 100 * p->tokens_s * v->flops_per_token / v->peak_ops_s);
    snprintf(out, size, "loss %.4f  %s tok/s%s  %s left", v->mean,
             cli_format_count((int64_t)p->tokens_s, rate), share, format_time(p->left_s, left));
}

static void on_step(void *user, const struct run_progress *p) {
    struct train_view *v = user;
    char text[256], bar[BAR + 1];
    v->mean = v->n_means++ ? v->mean + (p->result.loss - v->mean) / (v->n_means < 10 ? (double)v->n_means : 10)
                           : p->result.loss;
    if (v->is_tty) {
        const size_t filled = p->n_steps ? BAR * p->step / p->n_steps : BAR;
        memset(bar, ' ', BAR);
        memset(bar, '#', filled);
        bar[BAR] = '\0';
        describe_step(v, p, text, sizeof text);
        fprintf(stderr, "\rstep %zu/%zu [%s] %s ", p->step, p->n_steps, bar, text);
        v->line_drawn = true;
    } else if (p->step == 1 || p->step % 10 == 0 || p->step == p->n_steps) {
        describe_step(v, p, text, sizeof text);
        fprintf(stderr, "step %zu/%zu  %s\n", p->step, p->n_steps, text);
    }
    fflush(stderr);
}

static void on_eval(void *user, const struct run_eval *e) {
    struct train_view *v = user;
    train_view_clear(v);
    fprintf(stderr, "step %zu  evaluation loss %.4f%s\n", e->step, e->loss,
            e->is_best ? "  (the lowest so far)" : "");
}

static void on_note(void *user, const char *text) {
    train_view_clear(user);
    fprintf(stderr, "quern: %s\n", text);
}

static void on_work(void *user, const char *label, double fraction) {
    struct train_view *v = user;
    if (v->label != label) {
        train_view_clear(v);
        cli_progress_start(&v->work, label);
        v->label = label;
    }
    cli_progress_update(&v->work, fraction);
    if (fraction < 1)
        return;
    cli_progress_finish(&v->work);
    v->label = NULL;
}

static bool is_cancelled(void *user) {
    (void)user;
    return interrupt_pending();
}

struct run_events train_view_events(struct train_view *v) {
    return (struct run_events){on_step, on_eval, on_note, on_work, is_cancelled, v};
}

/* ---- the plan ---------------------------------------------------------------------------------- */

static void put_count(struct buffer *out, const char *label, size_t n) {
    char text[CLI_NUMBER_BYTES];
    buffer_printf(out, "  %-28s %16s\n", label, cli_format_count((int64_t)n, text));
}

static void put_bytes(struct buffer *out, const char *label, size_t n) {
    char text[CLI_NUMBER_BYTES];
    buffer_printf(out, "  %-28s %16s\n", label, cli_format_bytes((double)n, text));
}

static void put_data(const struct run_config *config, const struct run *run, size_t i,
                     struct buffer *out) {
    const struct run_stage_facts f = run_stage_facts(run, i);
    if (config->n_stages > 1)
        buffer_printf(out, "\nstage %zu: %s\n", i + 1, config->stages[i].data.items[0]);
    else
        buffer_printf(out, "\ndata: %s%s\n", config->stages[i].data.items[0],
                      config->stages[i].data.n > 1 ? " and others" : "");
    put_count(out, config->streaming ? "examples, of the first" : "examples", f.data->n_examples);
    put_count(out, "tokens", f.data->n_tokens);
    put_count(out, "of them trained", f.data->n_trained);
    put_count(out, "longest example", f.data->longest);
    if (!config->streaming) {
        put_count(out, "rows (all epochs)", f.n_rows);
        put_count(out, "epochs begun", f.n_epochs);
    }
    put_count(out, "steps", f.n_steps);
}

void train_view_plan(const struct run_config *config, const struct trainer_ops *ops,
                     const struct run *run, struct buffer *out) {
    static const char *const methods[] = {"full", "lora", "qlora"};
    const struct trainer *trainer = run_trainer(run);
    const struct train_size size = ops->size(trainer);
    buffer_printf(out, "%s, %s\n", config->model, methods[config->train.method]);
    put_count(out, "parameters", size.total);
    put_count(out, "of them trained", size.trainable);
    put_count(out, "longest row", run_longest_row(run));
    put_count(out, "rows a step", config->batch_size * config->grad_accumulation);
    buffer_puts(out, "\nmemory\n");
    put_bytes(out, "weights", size.weight_bytes);
    put_bytes(out, "trained, with optimizer", size.state_bytes);
    put_bytes(out, "activations", size.activation_bytes);
    put_bytes(out, "in all, about", size.weight_bytes + size.state_bytes + size.activation_bytes);
    put_bytes(out, "free now", os_memory_available_bytes());
    for (size_t i = 0; i < config->n_stages; i++)
        put_data(config, run, i, out);
    put_count(out, "steps in all", run_n_steps(run));
}

/* ---- examples ------------------------------------------------------------------------------------ */

static enum quern_status show(const struct example_maker *maker, const json_t *record,
                              const char *path, size_t line, bool colour, struct buffer *out,
                              struct quern_error *err) {
    struct example example;
    example_init(&example);
    enum quern_status status = example_make(maker, record, &example, err);
    if (!status) {
        buffer_printf(out, "\n--- %s:%zu: %zu tokens, %zu trained (%s)\n", path, line,
                      example.tokens.n, example.n_trained, colour ? "in green" : "in [[ ]]");
        status = example_show(&example, maker->tokenizer, colour, SHOWN_TOKENS, out, err);
    }
    example_release(&example);
    return status;
}

enum quern_status train_view_example(const struct example_maker *maker, const char *path, size_t line,
                                     bool colour, struct buffer *out, struct quern_error *err) {
    json_t *record = NULL;
    enum quern_status status = train_data_record(path, line, &record, err);
    if (!status && record)
        status = show(maker, record, path, line, colour, out, err);
    json_decref(record);
    return status;
}

enum quern_status train_view_examples(const struct example_maker *maker, const char *path, size_t n,
                                      bool colour, struct buffer *out, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    size_t shown = 0;
    for (size_t line = 1; line <= LINES_TO_LOOK_AT && shown < n && !status; line++) {
        json_t *record = NULL;
        struct quern_error ignored;
        if (train_data_record(path, line, &record, &ignored) || !record)
            continue; /* a blank line, or beyond the end */
        status = show(maker, record, path, line, colour, out, err);
        json_decref(record);
        shown++;
    }
    return status;
}
