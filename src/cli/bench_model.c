#include "cli/bench_model.h"

#include "base/os.h"
#include "cli/adapter_args.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/init_shapes.h"
#include "formats/gguf_config.h"
#include "formats/random_tensors.h"

/* ---- configuration ------------------------------------------------------------- */

static enum quern_status shape_config(const struct bench_source *source, struct hf_config *out,
                                      struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, 1 << 20);
    json_t *json = init_shape_config(source->shape);
    enum quern_status status = json ? QUERN_OK : error_nomem(err);
    if (!status && source->n_layers)
        status = json_object_set_new(json, "num_hidden_layers", json_integer(source->n_layers))
                     ? error_nomem(err)
                     : QUERN_OK;
    if (!status) {
        json_write_python(json, -1, &text);
        status = buffer_status(&text, "the configuration", err);
    }
    if (!status)
        status = hf_config_parse(text.data, text.len, source->shape, out, err);
    json_decref(json);
    buffer_release(&text);
    return status;
}

enum quern_status bench_config(const struct bench_source *source, struct hf_config *out,
                               struct quern_error *err) {
    return source->shape ? shape_config(source, out, err) : model_config_load(source->dir, out, err);
}

/* ---- opening ------------------------------------------------------------------- */

static enum quern_status check_memory(const struct bench_source *source, size_t needed,
                                      struct quern_error *err) {
    const size_t available = os_memory_available_bytes();
    char need[CLI_NUMBER_BYTES], have[CLI_NUMBER_BYTES];
    if (!available || needed <= available)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_LIMIT,
                     "%s: random weights take %s, of the memory %s are free; --layers takes a part "
                     "of the model",
                     source->shape, cli_format_bytes((double)needed, need),
                     cli_format_bytes((double)available, have));
}

/* Of matrices that are made anew while loading; 0: they stay where they are. */
static double bytes_a_weight(enum quern_weights w) {
    static const double bytes[] = {[QUERN_WEIGHTS_AUTO] = 0,    [QUERN_WEIGHTS_BF16] = 0,
                                   [QUERN_WEIGHTS_F32] = 4,     [QUERN_WEIGHTS_INT8] = 1.02,
                                   [QUERN_WEIGHTS_INT4] = 0.55, [QUERN_WEIGHTS_NF4] = 0.57,
                                   [QUERN_WEIGHTS_FP8] = 1.02};
    return bytes[w];
}

/* What is converted on loading is read once, so that all tensors may share memory. */
static size_t random_bytes(const struct bench_source *source, const struct hf_config *c,
                           bool *overlapping) {
    const double each = bytes_a_weight(cli_weights(source->weights));
    int64_t active;
    *overlapping = each > 0;
    return random_tensors_bytes(c, *overlapping) +
           (size_t)(each * (double)hf_config_param_count(c, &active));
}

static enum quern_status open_random(const struct bench_source *source, int n_threads,
                                     const struct model_options *options, struct bench_model *m,
                                     struct quern_error *err) {
    struct thread_pool *pool = NULL;
    struct checkpoint *checkpoint = NULL;
    bool overlapping;
    const size_t needed = random_bytes(source, &m->config, &overlapping);
    enum quern_status status = check_memory(source, needed, err);
    if (!status)
        status = thread_pool_create(n_threads, &pool, err);
    if (!status)
        status = random_tensors_create(&m->config, overlapping, pool, &checkpoint, err);
    thread_pool_destroy(pool);
    if (status)
        return status;
    return model_from_checkpoint_with(checkpoint, &m->config, m->device, options, &m->model, err);
}

static enum quern_status open_adapters(const struct bench_source *source, struct bench_model *m,
                                       struct quern_error *err) {
    struct cli_adapter_list list;
    enum quern_status status = cli_adapters_parse(&source->adapters, &list, err);
    if (!status && list.n > ADAPTERS_MAX)
        status = error_set(err, QUERN_ERR_LIMIT, "%zu adapters; at most %d", list.n, ADAPTERS_MAX);
    for (size_t i = 0; i < list.n && !status; i++) {
        struct quern_adapter *opened = NULL;
        status = adapter_open(m->model, list.sources[i].dir, list.sources[i].scale, &opened, err);
        if (!status)
            m->adapters.items[m->adapters.n++] = opened;
    }
    cli_adapters_release(&list);
    return status;
}

enum quern_status bench_model_open(const struct bench_source *source, int n_threads,
                                   struct bench_model *out, struct quern_error *err) {
    struct bench_model m = {.device = NULL};
    struct cli_progress progress;
    const uint64_t start = os_now_ns();
    const struct model_options options = {.weights = cli_weights(source->weights),
                                          .embed_weights = cli_weights(source->embed_weights),
                                          .math = cli_math(source->math),
                                          .cache_dir = cli_cache_dir(source->cache),
                                          .on_progress = cli_progress_update,
                                          .user = &progress};
    enum quern_status status = bench_config(source, &m.config, err);
    if (!status)
        status = device_cpu_create(n_threads, source->cpu, &m.device, err);
    cli_progress_start(&progress, source->shape ? "Making weights" : "Loading");
    if (!status && source->shape)
        status = open_random(source, n_threads, &options, &m, err);
    else if (!status)
        status = model_open_with(source->dir, &m.config, m.device, &options, &m.model, err);
    if (!status)
        status = open_adapters(source, &m, err);
    cli_progress_finish(&progress);
    m.load_seconds = (double)(os_now_ns() - start) * 1e-9;
    if (status)
        bench_model_close(&m);
    else
        *out = m;
    return status;
}

void bench_model_close(struct bench_model *m) {
    adapter_set_release(&m->adapters);
    model_close(m->model);
    device_destroy(m->device);
    *m = (struct bench_model){.device = NULL};
}

/* ---- what it costs ------------------------------------------------------------- */

static double weight_size(const struct weight *w) {
    return (double)weight_bytes(w);
}

static double products(const struct weight *w) {
    return (double)w->rows * (double)w->cols;
}

struct work {
    double bytes, products; /* products: of one token */
};

static void count(struct work *work, const struct weight *w) {
    work->bytes += weight_size(w);
    work->products += products(w);
}

/* Tokens go to different experts, so a pass reads at most as many as it has choices. */
static void count_experts(struct work *work, const struct model *m, const struct layer_weights *l,
                          size_t n_tokens) {
    const double all = m->config.n_experts, chosen = m->config.n_experts_per_token;
    const double read = (double)n_tokens * chosen < all ? (double)n_tokens * chosen : all;
    struct work one = {0, 0};
    count(&one, &l->experts[0].gate);
    count(&one, &l->experts[0].up);
    count(&one, &l->experts[0].down);
    work->bytes += one.bytes * read;
    work->products += one.products * chosen;
    count(work, &l->router);
}

void bench_model_work(const struct model *m, size_t n_tokens, size_t n_rows, double *weight_bytes,
                      double *ops) {
    struct work work = {0, 0};
    for (int32_t i = 0; i < m->config.n_layers; i++) {
        const struct layer_weights *l = &m->layers[i];
        count(&work, &l->q);
        count(&work, &l->k);
        count(&work, &l->v);
        count(&work, &l->o);
        if (l->experts) {
            count_experts(&work, m, l, n_tokens);
        } else {
            count(&work, &l->gate);
            count(&work, &l->up);
            count(&work, &l->down);
        }
    }
    *weight_bytes = work.bytes + (n_rows ? weight_size(&m->lm_head) : 0);
    *ops = 2 * (work.products * (double)n_tokens + products(&m->lm_head) * (double)n_rows);
}

size_t bench_model_weight_bytes(const struct model *m) {
    double bytes, ops;
    const bool tied = m->lm_head.data == m->embed.data;
    bench_model_work(m, SIZE_MAX / 1024, 1, &bytes, &ops); /* as many as reach all experts */
    return (size_t)(bytes + (tied ? 0 : weight_size(&m->embed)));
}
