/* quern train - fine-tuning and training from scratch. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/bench_limits.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/loss_plot.h"
#include "cli/train_view.h"

enum { CONFIG_MAX_BYTES = 16 << 20, PATH_BYTES = 4096, TEXT_MAX_BYTES = 16 << 20 };

struct train_args {
    struct cli_model_args model;
    struct option_list data, eval_data, set;
    const char *output, *config, *method, *schedule, *optim;
    double epochs, lr, warmup_ratio, lora_alpha;
    int64_t max_steps, batch_size, grad_accum, warmup_steps, lora_r, max_length, seed, eval_steps,
        save_steps, n_shown;
    bool resume, force, dry_run, list_keys;
};

static const struct option_spec train_specs[] = {
    CLI_MODEL_DIR_OPTION(struct train_args, model),
    OPT_LIST(0, "data", "FILE", struct train_args, data, "JSONL to train on"),
    OPT_LIST(0, "eval-data", "FILE", struct train_args, eval_data, "JSONL to evaluate on"),
    OPT_STRING('o', "output", "DIR", struct train_args, output,
               "directory for checkpoints, metrics and the result"),
    OPT_STRING(0, "config", "FILE", struct train_args, config,
               "JSON with settings; options given here go before it"),
    OPT_CHOICE(0, "method", "full|lora|qlora", struct train_args, method,
               "all weights, or an adapter (default: lora)"),
    OPT_FLOAT(0, "epochs", "N", struct train_args, epochs, 0, 1e6,
              "times to go over the data (default: 1)"),
    OPT_INT(0, "max-steps", "N", struct train_args, max_steps, 0, INT32_MAX,
            "end after so many steps, whatever the epochs"),
    OPT_INT(0, "batch-size", "N", struct train_args, batch_size, 0, 65536,
            "rows at a time (default: 1)"),
    OPT_INT(0, "grad-accum", "N", struct train_args, grad_accum, 0, 65536,
            "so many times --batch-size are a step (default: 8)"),
    OPT_FLOAT(0, "lr", "X", struct train_args, lr, 0, 10,
              "highest learning rate (default: 2e-4 for adapters, 2e-5 for all weights)"),
    OPT_CHOICE(0, "schedule", "constant|linear|cosine|wsd", struct train_args, schedule,
               "how the rate falls (default: linear)"),
    OPT_INT(0, "warmup-steps", "N", struct train_args, warmup_steps, 0, INT32_MAX,
            "steps over which the rate rises"),
    OPT_FLOAT(0, "warmup-ratio", "X", struct train_args, warmup_ratio, 0, 1,
              "the same as a share of all steps (default: 0.03)"),
    OPT_CHOICE(0, "optim", "adamw|adamw_8bit|lion|adafactor|muon", struct train_args, optim,
               "the optimizer (default: adamw)"),
    OPT_INT(0, "lora-r", "N", struct train_args, lora_r, 0, 4096, "the adapter's rank (default: 16)"),
    OPT_FLOAT(0, "lora-alpha", "X", struct train_args, lora_alpha, 0, 1e6,
              "its scale times the rank (default: 32)"),
    OPT_INT(0, "max-length", "N", struct train_args, max_length, 0, 1 << 20,
            "tokens of a row; longer examples lose their end (default: 1024)"),
    OPT_INT(0, "seed", "N", struct train_args, seed, 0, 9007199254740992.0,
            "of the order, the adapter and dropout (default: 42)"),
    OPT_INT(0, "eval-steps", "N", struct train_args, eval_steps, 0, INT32_MAX,
            "evaluate every N steps (default: at the end)"),
    OPT_INT(0, "save-steps", "N", struct train_args, save_steps, 0, INT32_MAX,
            "save a checkpoint every N steps (default: 500)"),
    OPT_LIST(0, "set", "KEY=VALUE", struct train_args, set,
             "any setting of the configuration file; --list-keys names them"),
    OPT_FLAG(0, "list-keys", struct train_args, list_keys, "print all settings and what they take"),
    OPT_FLAG(0, "resume", struct train_args, resume, "go on from the newest checkpoint in --output"),
    OPT_FLAG(0, "force", struct train_args, force, "begin anew although there are checkpoints"),
    OPT_FLAG(0, "dry-run", struct train_args, dry_run,
             "write nothing; show parameters, memory, steps, and what of the first examples is trained"),
    OPT_INT(0, "show", "N", struct train_args, n_shown, 0, 1000,
            "examples that --dry-run shows (default: 3)"),
    OPT_INT('t', "threads", "N", struct train_args, model.n_threads, 0, 1024,
            "threads to compute with (default: one per core)"),
    OPT_END};

static const struct cli_command train_command = {
    "train", "-m DIR --data FILE -o DIR [options]",
    "Trains a model on a JSONL file: all its weights, or a LoRA adapter on weights as they are (lora) or "
    "in 4 bits (qlora). Each line is one example: messages (with tools and reasoning_content), prompt "
    "and completion, text, Alpaca's or ShareGPT's fields. Conversations are written by the model's own "
    "chat template, and only what the assistant says is trained.\n\n"
    "The first Ctrl-C saves a checkpoint and stops; --resume goes on, and ends with the same bits as a "
    "run that was never stopped. The output directory gets metrics.jsonl, a file for TensorBoard, "
    "loss.svg, checkpoints, and in the end the adapter (as peft writes it) or the model.",
    "quern train -m models/Qwen3-0.6B --data chats.jsonl -o my-adapter --dry-run\n"
    "quern train -m models/Qwen3-0.6B --data chats.jsonl -o my-adapter --epochs 3\n"
    "quern train --config recipe.json --resume\n"
    "quern train -m base --data books.jsonl -o trained --method full --set packing_window=0\n",
    train_specs};

/* ---- settings --------------------------------------------------------------------------------- */

static bool set_text(json_t *config, const char *key, const char *value) {
    return !value || json_object_set_new(config, key, json_string(value)) == 0;
}

static bool set_int(json_t *config, const char *key, int64_t value) {
    return value < 0 || json_object_set_new(config, key, json_integer(value)) == 0;
}

static bool set_float(json_t *config, const char *key, double value) {
    return value < 0 || json_object_set_new(config, key, json_real(value)) == 0;
}

static bool set_list(json_t *config, const char *key, const struct option_list *list) {
    json_t *array = list->n ? json_array() : NULL;
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(array, json_string(list->items[i]));
    return !list->n || json_object_set_new(config, key, array) == 0;
}

/* KEY=VALUE: JSON where it is some, else text. */
static enum quern_status set_pair(json_t *config, const char *pair, struct quern_error *err) {
    const char *equals = strchr(pair, '=');
    char key[128];
    json_t *value = NULL;
    if (!equals || equals == pair || (size_t)(equals - pair) >= sizeof key)
        return error_set(err, QUERN_ERR_ARG, "--set %s: expected KEY=VALUE", pair);
    memcpy(key, pair, (size_t)(equals - pair));
    key[equals - pair] = '\0';
    if (json_parse(equals + 1, strlen(equals + 1), "", &value, NULL))
        value = json_string(equals + 1);
    return json_object_set_new(config, key, value) ? error_nomem(err) : QUERN_OK;
}

static enum quern_status apply(const struct train_args *a, json_t *config, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    bool ok = set_text(config, "model_name_or_path", a->model.dir) &&
              set_text(config, "output_dir", a->output) && set_list(config, "data", &a->data) &&
              set_list(config, "eval_data", &a->eval_data) &&
              set_text(config, "method", a->method) &&
              set_text(config, "lr_scheduler_type", a->schedule) &&
              set_text(config, "optim", a->optim) &&
              set_float(config, "num_train_epochs", a->epochs) &&
              set_float(config, "learning_rate", a->lr) &&
              set_float(config, "warmup_ratio", a->warmup_ratio) &&
              set_float(config, "lora_alpha", a->lora_alpha) &&
              set_int(config, "max_steps", a->max_steps) &&
              set_int(config, "per_device_train_batch_size", a->batch_size) &&
              set_int(config, "gradient_accumulation_steps", a->grad_accum) &&
              set_int(config, "warmup_steps", a->warmup_steps) &&
              set_int(config, "r", a->lora_r) && set_int(config, "max_length", a->max_length) &&
              set_int(config, "seed", a->seed) && set_int(config, "eval_steps", a->eval_steps) &&
              set_int(config, "save_steps", a->save_steps) &&
              set_int(config, "threads", a->model.n_threads > 0 ? a->model.n_threads : -1);
    for (size_t i = 0; i < a->set.n && !status; i++)
        status = set_pair(config, a->set.items[i], err);
    if (!ok)
        return error_nomem(err);
    if (!status && !json_object_get(config, "model_name_or_path") &&
        !set_text(config, "model_name_or_path", cli_model_dir(&a->model)))
        return error_nomem(err);
    return status;
}

static enum quern_status read_config(const struct train_args *a, struct run_config *out,
                                     struct quern_error *err) {
    json_t *json = NULL;
    enum quern_status status = QUERN_OK;
    if (a->config)
        status = json_load_path(a->config, CONFIG_MAX_BYTES, &json, err);
    else
        json = json_object();
    if (!status && !json)
        status = error_nomem(err);
    if (!status && json_is_object(json))
        status = apply(a, json, err);
    if (status) {
        json_decref(json);
        return status;
    }
    return run_config_parse(json, a->config ? a->config : "settings", out, err);
}

static int list_keys(void) {
    const char *takes;
    for (size_t i = 0; run_config_key(i, &takes); i++)
        printf("%-30s %s\n", run_config_key(i, NULL), takes);
    return CLI_OK;
}

/* ---- what is written and shown -------------------------------------------------------------------- */

static void write_svg(const struct run_config *config, const struct run *run) {
    char path[PATH_BYTES];
    struct buffer svg;
    struct quern_error err = {0};
    buffer_init(&svg, TEXT_MAX_BYTES);
    loss_plot_svg(run_log_of(run), "loss over the steps; blue: evaluation", &svg);
    enum quern_status status = buffer_status(&svg, "loss.svg", &err);
    if (!status)
        status = os_path_join(path, sizeof path, config->output_dir, "loss.svg", &err);
    if (!status)
        status = os_write_file(path, svg.data, svg.len, &err);
    buffer_release(&svg);
    if (status)
        cli_fail(&err);
}

static void show_curve(const struct run *run) {
    struct buffer text;
    if (!os_is_tty(STDOUT_FILENO))
        return;
    buffer_init(&text, TEXT_MAX_BYTES);
    loss_plot_text(run_log_of(run), os_terminal_columns(STDOUT_FILENO), &text);
    cli_write(text.data, text.len);
    buffer_release(&text);
}

static int show_plan(const struct train_args *a, const struct run_config *config,
                     const struct trainer_ops *ops, const struct run *run) {
    struct buffer text;
    struct quern_error err = {0};
    buffer_init(&text, TEXT_MAX_BYTES);
    train_view_plan(config, ops, run, &text);
    enum quern_status status =
        train_view_examples(run_maker(run), config->stages[0].data.items[0], (size_t)a->n_shown,
                            cli_has_colour(stdout), &text, &err);
    if (!status)
        status = buffer_status(&text, "the plan", &err);
    if (!status)
        cli_write(text.data, text.len);
    buffer_release(&text);
    return status ? cli_fail(&err) : CLI_OK;
}

/* Of an example without a trained token: its mask, all prompt. */
static void show_problem(const struct run_config *config, const struct data_problem *problem) {
    struct tokenizer *tokenizer = NULL;
    struct chat_template *chat = NULL;
    struct example_maker maker = {0};
    struct quern_error err;
    struct buffer text;
    buffer_init(&text, TEXT_MAX_BYTES);
    if (run_maker_open(config->model, &config->example, &tokenizer, &chat, &maker, &err) == QUERN_OK &&
        train_view_example(&maker, problem->path, problem->line, cli_has_colour(stderr), &text, &err) ==
            QUERN_OK)
        fprintf(stderr, "%.*s", STR_FMT(buffer_str(&text)));
    buffer_release(&text);
    example_maker_release(&maker);
    chat_template_close(chat);
    tokenizer_close(tokenizer);
}

static void measure_peak(struct train_view *view, const struct run_config *config,
                         const struct trainer_ops *ops, const struct run *run) {
    struct thread_pool *pool = NULL;
    view->flops_per_token = ops->flops_per_token(run_trainer(run));
    if (thread_pool_create(config->train.threads, &pool, NULL))
        return;
    view->peak_ops_s = bench_limits_compute(pool, config->train.bf16 ? PEAK_BF16 : PEAK_F32);
    if (view->peak_ops_s <= 0)
        view->peak_ops_s = bench_limits_compute(pool, PEAK_F32);
    thread_pool_destroy(pool);
}

/* ---- the command ----------------------------------------------------------------------------------- */

static int finish(const struct run_config *config, const struct run *run, enum run_end end) {
    write_svg(config, run);
    if (end == RUN_INTERRUPTED) {
        fprintf(stderr, "quern: stopped; a checkpoint is saved, and --resume goes on from it\n");
        return interrupt_exit_code();
    }
    show_curve(run);
    printf("%s: %s%s\n", config->output_dir,
           config->train.method == TRAIN_FULL ? "the trained model" : "the adapter",
           end == RUN_STOPPED_EARLY ? "; stopped early, as the evaluation got no better" : "");
    return CLI_OK;
}

static int train(const struct train_args *a, const struct run_config *config) {
    static const struct trainer_ops ops = TRAINER_OPS;
    struct train_view view;
    struct run *run = NULL;
    struct data_problem problem;
    struct quern_error err = {0};
    enum run_end end = RUN_COMPLETE;
    int code;
    train_view_init(&view, config);
    const struct run_events events = train_view_events(&view);
    interrupt_catch();
    enum quern_status status = run_open(config, &ops, &events, !a->dry_run, &run, &problem, &err);
    if (status) {
        train_view_clear(&view);
        if (problem.is_untrained)
            show_problem(config, &problem);
        return status == QUERN_ERR_CANCELLED ? interrupt_exit_code() : cli_fail(&err);
    }
    if (a->dry_run) {
        code = show_plan(a, config, &ops, run);
    } else {
        measure_peak(&view, config, &ops, run);
        status = run_execute(run, a->resume  ? RUN_RESUME
                                  : a->force ? RUN_AGAIN
                                             : RUN_FRESH,
                             &end, &err);
        train_view_clear(&view);
        problem = run_problem(run);
        if (status && problem.is_untrained)
            show_problem(config, &problem);
        code = status ? cli_fail(&err) : finish(config, run, end);
    }
    run_close(run);
    return code;
}

int cmd_train(int argc, char **argv) {
    struct train_args args = {.epochs = -1,
                              .lr = -1,
                              .warmup_ratio = -1,
                              .lora_alpha = -1,
                              .max_steps = -1,
                              .batch_size = -1,
                              .grad_accum = -1,
                              .warmup_steps = -1,
                              .lora_r = -1,
                              .max_length = -1,
                              .seed = -1,
                              .eval_steps = -1,
                              .save_steps = -1,
                              .n_shown = 3};
    struct run_config config;
    struct quern_error err = {0};
    int code = cli_parse(&train_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (args.list_keys)
        return list_keys();
    if (!args.config && (!args.data.n || !args.output))
        return cli_usage_error(&train_command, "give %s, or a --config that does",
                               args.data.n ? "the output directory with -o DIR" : "--data FILE");
    if (args.resume && args.force)
        return cli_usage_error(&train_command, "--resume and --force exclude each other");
    if (read_config(&args, &config, &err))
        return cli_fail(&err);
    code = train(&args, &config);
    run_config_release(&config);
    return code;
}
