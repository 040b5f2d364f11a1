#include "support/fake_trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { VOCAB = 4096 };

int fake_trainer_failing_saves;
const double *fake_trainer_eval_losses;

struct trainer {
    struct train_options options;
    double bias[VOCAB];
};

static enum quern_status create(const char *dir, const struct train_options *options,
                                struct trainer **out, struct quern_error *err) {
    (void)dir;
    *out = calloc(1, sizeof **out);
    if (!*out)
        return error_nomem(err);
    (*out)->options = *options;
    return QUERN_OK;
}

static void destroy(struct trainer *t) {
    free(t);
}

static double pass(const struct trainer *t, const struct train_row *rows, size_t n_rows,
                   double *gradient, struct train_step_result *result) {
    double max = 0, sum = 0, loss = 0;
    for (size_t v = 0; v < VOCAB; v++)
        max = fmax(max, t->bias[v]);
    for (size_t v = 0; v < VOCAB; v++)
        sum += exp(t->bias[v] - max);
    *result = (struct train_step_result){.grad_norm = 1};
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < rows[r].count; i++) {
            result->n_tokens++;
            if (rows[r].labels[i] < 0 || (rows[r].kinds && rows[r].kinds[i] == TRAIN_LABEL_PROMPT))
                continue;
            result->n_labels++;
            loss -= t->bias[rows[r].labels[i] % VOCAB] - max - log(sum);
            gradient[rows[r].labels[i] % VOCAB] += 1;
        }
    return loss / (double)(result->n_labels ? result->n_labels : 1);
}

static enum quern_status step(struct trainer *t, const struct train_row *rows, size_t n_rows,
                              float lr_scale, struct train_label_weights w,
                              struct train_step_result *result, struct quern_error *err) {
    double *gradient = calloc(VOCAB, sizeof *gradient);
    (void)w;
    if (!gradient)
        return error_nomem(err);
    result->loss = pass(t, rows, n_rows, gradient, result);
    for (size_t v = 0; v < VOCAB; v++)
        t->bias[v] += 1000 * (double)t->options.learning_rate * (double)lr_scale * gradient[v] /
                      (double)(result->n_labels ? result->n_labels : 1);
    free(gradient);
    return QUERN_OK;
}

static enum quern_status evaluate(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                  struct train_step_result *result, struct quern_error *err) {
    double *gradient = calloc(VOCAB, sizeof *gradient);
    if (!gradient)
        return error_nomem(err);
    const double loss = pass(t, rows, n_rows, gradient, result);
    result->loss = fake_trainer_eval_losses ? *fake_trainer_eval_losses++ : loss;
    free(gradient);
    return QUERN_OK;
}

static struct train_size size(const struct trainer *t) {
    (void)t;
    return (struct train_size){VOCAB, VOCAB, VOCAB * 8, 0, VOCAB * 8};
}

static double flops_per_token(const struct trainer *t) {
    (void)t;
    return VOCAB;
}

static enum quern_status save_state(const struct trainer *t, const char *dir,
                                    struct quern_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/state.bin", dir);
    if (fake_trainer_failing_saves > 0) {
        fake_trainer_failing_saves--;
        return error_set(err, QUERN_ERR_IO, "%s: No space left on device", path);
    }
    return os_write_file(path, t->bias, sizeof t->bias, err);
}

static enum quern_status load_state(struct trainer *t, const char *dir, struct quern_error *err) {
    char path[4096];
    struct buffer b;
    snprintf(path, sizeof path, "%s/state.bin", dir);
    buffer_init(&b, 1 << 20);
    enum quern_status status = os_read_regular(path, 1 << 20, &b, err);
    if (!status)
        memcpy(t->bias, b.data, sizeof t->bias);
    buffer_release(&b);
    return status;
}

static enum quern_status save_output(const struct trainer *t, const char *dir,
                                     struct quern_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/output.bin", dir);
    return os_write_file(path, t->bias, sizeof t->bias, err);
}

const struct trainer_ops fake_trainer_ops = {create, destroy,         step,       evaluate, size,
                                             flops_per_token, save_state, load_state, save_output};
