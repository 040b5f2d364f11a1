#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/os.h"
#include "cli/bench_report.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/init_shapes.h"
#include "cli/interrupt.h"

enum { LIST_MAX = 32 };

struct int_list {
    size_t n, items[LIST_MAX];
};

struct bench_args {
    struct bench_source source;
    const char *prompts, *generates, *batches, *depths, *threads; /* lists */
    const char *pin, *kv_type;
    int64_t repeats, chunk;
    bool json, paced;
    struct int_list p, n, b, d, t;
};

static const struct option_spec bench_specs[] = {
    OPT_STRING('m', "model", "DIR", struct bench_args, source.dir, "model directory"),
    OPT_CHOICE(0, "shape", INIT_SHAPE_NAMES, struct bench_args, source.shape,
               "a known size with random weights, made in memory, instead of a model"),
    OPT_INT(0, "layers", "N", struct bench_args, source.n_layers, 1, HF_CONFIG_LAYERS_MAX,
            "only so many layers of the shape"),
    OPT_STRING('p', "prompt", "LIST", struct bench_args, prompts,
               "tokens of a prompt to feed; 0: none (default: 512)"),
    OPT_STRING('n', "generate", "LIST", struct bench_args, generates,
               "tokens to decode; 0: none (default: 32)"),
    OPT_STRING('b', "batch", "LIST", struct bench_args, batches,
               "sequences side by side (default: 1)"),
    OPT_STRING('d', "depth", "LIST", struct bench_args, depths,
               "tokens each sequence holds before (default: 0)"),
    OPT_STRING('t', "threads", "LIST", struct bench_args, threads,
               "threads to compute with (default: one per core)"),
    OPT_INT('r', "repeats", "N", struct bench_args, repeats, 1, BENCH_REPEATS_MAX,
            "measurements of each kind (default: 5)"),
    OPT_INT(0, "chunk", "N", struct bench_args, chunk, 1, 1 << 16,
            "most tokens of a prompt computed at once (default: 512)"),
    OPT_CHOICE(0, "cpu", CLI_CPU_CHOICES, struct bench_args,
               source.cpu, "instruction set to use (default: the best there is)"),
    CLI_WEIGHTS_OPTIONS(struct bench_args, source),
    OPT_LIST(0, "adapter", CLI_ADAPTER_META, struct bench_args, source.adapters, CLI_ADAPTER_HELP),
    CLI_KV_OPTION(struct bench_args, kv_type),
    CLI_PIN_OPTION(struct bench_args, pin),
    OPT_FLAG(0, "json", struct bench_args, json, "print JSON"),
    OPT_FLAG(0, "paced", struct bench_args, paced,
             "with --json: measure once for each line read from standard input, and answer it"),
    OPT_END};

static const struct cli_command bench_command = {
    "bench", "(-m DIR | --shape NAME) [options]",
    "Measures the speed of a model: feeding prompts and decoding tokens, without sampling. Random "
    "weights are as good as real ones for that. Lists such as 1,2,8 measure every combination.\n\n"
    "Prints the median, half of the range from the fastest to the slowest, and what the median "
    "means for the machine: bytes of weights and cache read, arithmetic done, and the share these "
    "are of the limits, which are measured in the same run with loops that only read, or only "
    "multiply and add.\n\n"
    "`quern bench serve` measures a running server.",
    "quern bench --shape qwen3-0.6b\n"
    "quern bench -m models/quern-demo -p 0 -n 64 -b 1,2,4,8\n"
    "quern bench --shape qwen3-8b --layers 4 -d 0,4096 -t 1,2 --json\n",
    bench_specs};

/* ---- arguments ----------------------------------------------------------------- */

static bool parse_list(const char *text, size_t min, size_t max, size_t otherwise,
                       struct int_list *out) {
    if (!text) {
        *out = (struct int_list){.n = 1, .items = {otherwise}};
        return true;
    }
    for (out->n = 0;; text++) {
        char *end;
        if (*text < '0' || *text > '9' || out->n == LIST_MAX)
            return false;
        double value = number_parse(text, &end);
        if (!(value >= (double)min && value <= (double)max) || value != (double)(size_t)value)
            return false;
        out->items[out->n++] = (size_t)value;
        if (*end != ',')
            return *end == '\0';
        text = end;
    }
}

static int parse_lists(struct bench_args *a) {
    const struct {
        const char *name, *text;
        size_t min, max, otherwise;
        struct int_list *out;
    } lists[] = {{"--prompt", a->prompts, 0, 1 << 20, 512, &a->p},
                 {"--generate", a->generates, 0, 1 << 20, 32, &a->n},
                 {"--batch", a->batches, 1, 1 << 12, 1, &a->b},
                 {"--depth", a->depths, 0, 1 << 22, 0, &a->d},
                 {"--threads", a->threads, 0, 1024, 0, &a->t}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!parse_list(lists[i].text, lists[i].min, lists[i].max, lists[i].otherwise,
                        lists[i].out))
            return cli_usage_error(&bench_command,
                                   "%s: \"%s\" is no list such as 1,2,8 of at most %d numbers from "
                                   "%zu to %zu",
                                   lists[i].name, lists[i].text, LIST_MAX, lists[i].min,
                                   lists[i].max);
    return CLI_GO_ON;
}

static int parse(int argc, char **argv, struct bench_args *a) {
    int code = cli_parse(&bench_command, argc, argv, a, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (a->source.dir && a->source.shape)
        return cli_usage_error(&bench_command, "give either -m or --shape");
    if (a->source.n_layers && !a->source.shape)
        return cli_usage_error(&bench_command, "--layers goes with --shape");
    if (a->paced && !a->json)
        return cli_usage_error(&bench_command, "--paced goes with --json");
    if (!a->source.dir && !a->source.shape)
        a->source.dir = cli_model_dir(&(struct cli_model_args){.dir = NULL});
    a->repeats = a->repeats ? a->repeats : 5;
    a->chunk = a->chunk ? a->chunk : 512;
    return parse_lists(a);
}

/* ---- measuring ------------------------------------------------------------------ */

static int by_size(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* False at the end of the input. */
static bool next_line(void) {
    int c;
    do
        c = getchar();
    while (c != '\n' && c != EOF);
    return c != EOF;
}

static enum quern_status paced_repeats(struct bench_run *run, struct bench_result *r,
                                       struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    printf("{\"ready\": true}\n");
    fflush(stdout);
    while (!status && r->n < BENCH_REPEATS_MAX && next_line()) {
        status = bench_run_once(run, 0, &r->seconds[r->n], err);
        if (!status)
            printf("{\"seconds\": %.9f}\n", r->seconds[r->n++]);
        fflush(stdout);
    }
    return status;
}

static enum quern_status repeats(const struct bench_args *a, struct bench_run *run,
                                 struct bench_result *r, struct quern_error *err) {
    struct cli_progress progress;
    enum quern_status status = QUERN_OK;
    cli_progress_start(&progress, "Measuring");
    for (int64_t i = 0; !status && i < a->repeats; i++) {
        if (interrupt_pending())
            status = error_set(err, QUERN_ERR_CANCELLED, "interrupted");
        else
            status = bench_run_once(run, 0, &r->seconds[r->n++], err);
        cli_progress_update(&progress, (double)(i + 1) / (double)a->repeats);
    }
    cli_progress_finish(&progress);
    return status;
}

static enum quern_status measure(const struct bench_args *a, const struct bench_model *m,
                                 const struct bench_test *test, struct bench_result *r,
                                 struct quern_error *err) {
    struct bench_run run;
    const size_t needed = bench_test_bytes(&m->config, test);
    const size_t available = os_memory_available_bytes();
    char need[CLI_NUMBER_BYTES], have[CLI_NUMBER_BYTES];
    if (available && needed > available)
        return error_set(err, QUERN_ERR_LIMIT,
                         "%zu sequences of %zu tokens take %s beside the weights, of the memory %s "
                         "are free",
                         test->batch, test->depth + test->n_prompt + test->n_generate,
                         cli_format_bytes((double)needed, need),
                         cli_format_bytes((double)available, have));
    enum quern_status status = bench_run_init(&run, m->model, test, err);
    if (status)
        return status;
    double warm_up;
    *r = (struct bench_result){.test = *test, .work = bench_run_work(&run)};
    status = bench_run_once(&run, test->n_prompt ? 512 : 2, &warm_up, err);
    if (!status)
        status = a->paced ? paced_repeats(&run, r, err) : repeats(a, &run, r, err);
    bench_run_release(&run);
    qsort(r->seconds, r->n, sizeof r->seconds[0], by_size);
    return status;
}

/* One of each combination, of both kinds. */
static enum quern_status measure_all(const struct bench_args *a, const struct bench_model *m,
                                     const struct bench_setting *s, json_t *results,
                                     struct quern_error *err) {
    static struct bench_result r; /* large */
    const size_t per_depth = (a->p.n + a->n.n) * a->b.n;
    for (size_t i = 0; i < a->d.n * per_depth; i++) {
        const size_t kind = i % per_depth / a->b.n;
        struct bench_test test = {.kv_type = kv_type_of(m->model, cli_kv_type(a->kv_type)),
                                  .depth = a->d.items[i / per_depth],
                                  .batch = a->b.items[i % a->b.n],
                                  .chunk = (size_t)a->chunk,
                                  .adapters = &m->adapters};
        if (kind < a->p.n)
            test.n_prompt = a->p.items[kind];
        else
            test.n_generate = a->n.items[kind - a->p.n];
        if (test.n_prompt + test.n_generate == 0)
            continue;
        enum quern_status status = measure(a, m, &test, &r, err);
        if (status)
            return status;
        if (!r.n)
            continue;
        if (!results)
            bench_print_result(s, &r);
        else if (json_array_append_new(results, bench_result_json(s, &r)))
            return error_nomem(err);
    }
    return QUERN_OK;
}

/* What products with a matrix are made of. */
static enum peak_kind arithmetic_of(const struct weight *w) {
    const enum packed_math math = weight_math(w);
    return math == MATH_EXACT ? PEAK_F32 : math == MATH_INT8 ? PEAK_INT8 : PEAK_BF16;
}

static enum quern_status describe(const struct bench_args *a, const struct bench_model *m,
                                  int n_threads, struct bench_setting *s,
                                  struct quern_error *err) {
    struct thread_pool *pool;
    enum quern_status status = thread_pool_create(n_threads, &pool, err);
    if (status)
        return status;
    *s = (struct bench_setting){
        .model = a->source.shape ? a->source.shape : a->source.dir,
        .cpu = m->device->name,
        .weights = weight_type_name(&m->model->layers[0].q),
        .kv_type = kv_type_name(kv_type_of(m->model, cli_kv_type(a->kv_type))),
        .arithmetic = arithmetic_of(&m->model->layers[0].q),
        .n_threads = thread_pool_size(pool),
        .load_seconds = m->load_seconds,
        .weight_bytes = bench_model_weight_bytes(m->model),
        .n_params = hf_config_param_count(&m->config, NULL),
    };
    status = bench_limits_measure(pool, &s->limits, err);
    thread_pool_destroy(pool);
    return status;
}

static enum quern_status bench_setting_run(const struct bench_args *a, int n_threads, json_t *out,
                                           struct quern_error *err) {
    struct bench_model m;
    struct bench_setting s;
    json_t *json = NULL;
    enum quern_status status = bench_model_open(&a->source, n_threads, &m, err);
    if (status)
        return status;
    status = describe(a, &m, n_threads, &s, err);
    if (!status && !a->json)
        bench_print_setting(&s);
    if (!status && a->json) {
        json = bench_setting_json(&s);
        if (!json || json_array_append_new(out, json))
            status = error_nomem(err);
    }
    if (!status)
        status = measure_all(a, &m, &s, json ? json_object_get(json, "results") : NULL, err);
    bench_model_close(&m);
    return status;
}

static int print_json(const json_t *all) {
    struct buffer text;
    struct quern_error err = {0};
    buffer_init(&text, (size_t)1 << 30);
    json_write_python(all, 1, &text);
    buffer_putc(&text, '\n');
    int code = buffer_status(&text, "the results", &err) ? cli_fail(&err) : CLI_OK;
    if (code == CLI_OK)
        cli_write(text.data, text.len);
    buffer_release(&text);
    return code;
}

int cmd_bench(int argc, char **argv) {
    struct bench_args args = {.repeats = 0};
    struct quern_error err = {0};
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return cmd_bench_serve(argc - 1, argv + 1);
    int code = parse(argc, argv, &args);
    if (code != CLI_GO_ON)
        return code;
    json_t *all = json_array();
    cli_set_pinning(args.pin);
    enum quern_status status = all ? QUERN_OK : error_nomem(&err);
    if (!args.paced)
        interrupt_catch();
    for (size_t i = 0; !status && i < args.t.n; i++)
        status = bench_setting_run(&args, (int)args.t.items[i], all, &err);
    if (status)
        code = cli_fail(&err);
    else
        code = args.json ? print_json(all) : CLI_OK;
    json_decref(all);
    return code;
}
