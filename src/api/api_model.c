/* api_model.c - opening a model directory, facts about it, text to tokens and back. */
#include <stdlib.h>

#include "api/gguf_parts.h"
#include "api/loaded_model.h"
#include "base/log.h"
#include "base/os.h"
#include "formats/gguf_config.h"

#define STRINGIFY(x) #x
#define VERSION_TEXT(major, minor, patch) STRINGIFY(major) "." STRINGIFY(minor) "." STRINGIFY(patch)

const char *quern_version(void) {
    return VERSION_TEXT(QUERN_VERSION_MAJOR, QUERN_VERSION_MINOR, QUERN_VERSION_PATCH);
}

void quern_free(void *ptr) {
    free(ptr);
}

void quern_set_log(void (*fn)(void *user, int level, const char *message), void *user) {
    log_set_sink(fn, user);
}

/* ---- opening ------------------------------------------------------------------ */

enum { PATH_MAX_BYTES = 4096 };

static bool holds(const char *dir, const char *name) {
    char path[PATH_MAX_BYTES];
    return os_path_join(path, sizeof path, dir, name, NULL) == QUERN_OK && os_file_exists(path);
}

static enum quern_status check_is_dir(const char *dir, struct quern_error *err) {
    if (os_is_dir(dir))
        return QUERN_OK;
    if (os_file_exists(dir))
        return error_set(err, QUERN_ERR_IO,
                         "%s is a file; a model is a directory with config.json, tokenizer.json "
                         "and *.safetensors files, or a .gguf file",
                         dir);
    return error_set(err, QUERN_ERR_IO, "%s: there is no such directory", dir);
}

/* What a directory lacks, said before its parts are read one after the other. */
static enum quern_status check_files(const char *dir, const struct quern_model_options *options,
                                     struct quern_error *err) {
    bool config = holds(dir, "config.json"), tokenizer = holds(dir, "tokenizer.json");
    bool weights = holds(dir, "model.safetensors") || holds(dir, "model.safetensors.index.json");
    if (!config && !tokenizer && !weights)
        return error_set(err, QUERN_ERR_IO,
                         "%s holds no model: config.json, tokenizer.json and model.safetensors "
                         "(or model.safetensors.index.json) are missing",
                         dir);
    const bool needs_tokenizer = !options->weights_only;
    if (needs_tokenizer && !tokenizer && holds(dir, "vocab.json"))
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s has vocab.json but no tokenizer.json; transformers' "
                         "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) makes one",
                         dir);
    if (needs_tokenizer && !tokenizer)
        return error_set(err, QUERN_ERR_IO, "%s: tokenizer.json is missing", dir);
    if (options->tokenizer_only)
        return QUERN_OK;
    if (!config)
        return error_set(err, QUERN_ERR_IO, "%s: config.json is missing", dir);
    if (!weights && (holds(dir, "pytorch_model.bin") || holds(dir, "pytorch_model.bin.index.json")))
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "%s has pytorch_model.bin but no model.safetensors; only safetensors "
                         "are read",
                         dir);
    if (!weights)
        return error_set(err, QUERN_ERR_IO,
                         "%s: the weights are missing (model.safetensors or "
                         "model.safetensors.index.json)",
                         dir);
    return QUERN_OK;
}

static enum quern_status check_vocabulary(const char *dir, const struct quern_model *m,
                                          struct quern_error *err) {
    int32_t n_tokens = tokenizer_n_tokens(m->tokenizer);
    if (m->config.vocab_size >= n_tokens)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_FORMAT,
                     os_is_dir(dir)
                         ? "%s: config.json's vocab_size is %d, but tokenizer.json has %d tokens"
                         : "%s: the embedding has %d rows, but there are %d tokens",
                     dir, m->config.vocab_size, n_tokens);
}

/* Where everything but the weights comes from. */
struct parts {
    const char *dir;
    const struct gguf *gguf; /* NULL: the files of `dir` */
};

static enum quern_status read_config(const struct parts *from, struct hf_config *out,
                                     struct quern_error *err) {
    return from->gguf ? gguf_hf_config(from->gguf, out, err) : hf_config_load(from->dir, out, err);
}

static enum quern_status read_generation(const struct parts *from, const struct hf_config *config,
                                         struct generation_config *out, struct quern_error *err) {
    return from->gguf ? gguf_generation_config(from->gguf, config, out, err)
                      : generation_config_load(from->dir, config, out, err);
}

static enum quern_status read_template(const struct parts *from, struct chat_template **out,
                                       struct quern_error *err) {
    return from->gguf ? gguf_open_template(from->gguf, out, err)
                      : chat_template_open(from->dir, out, err);
}

static enum quern_status read_tokenizer(const struct parts *from, struct tokenizer **out,
                                        struct quern_error *err) {
    return from->gguf ? gguf_open_tokenizer(from->gguf, out, err)
                      : tokenizer_open(from->dir, out, err);
}

/* config.json and generation_config.json. What only the part left out would need may be broken:
 * then it counts as absent. */
static enum quern_status open_configs(const struct parts *from,
                                      const struct quern_model_options *options,
                                      struct quern_model *m, struct quern_error *err) {
    const bool needs_config = !options->tokenizer_only;
    const bool needs_generation = needs_config && !options->weights_only;
    enum quern_status status = read_config(from, &m->config, needs_config ? err : NULL);
    m->has_config = status == QUERN_OK;
    if (status && needs_config)
        return status;
    if (m->has_config) {
        status =
            read_generation(from, &m->config, &m->generation, needs_generation ? err : NULL);
        m->has_generation = status == QUERN_OK;
        if (status && needs_generation)
            return status;
    }
    return status == QUERN_ERR_NOMEM ? error_nomem(err) : QUERN_OK;
}

/* Everything but the weights. */
static enum quern_status open_parts(const struct parts *from,
                                    const struct quern_model_options *options,
                                    struct quern_model *m, struct quern_error *err) {
    enum quern_status status = open_configs(from, options, m, err);
    if (status || options->weights_only)
        return status;
    /* A template that cannot be used must not keep the model from completing raw text: rendering
     * reports it. */
    status = read_template(from, &m->chat, &m->chat_error);
    if (status == QUERN_ERR_NOMEM)
        return error_nomem(err);
    status = read_tokenizer(from, &m->tokenizer, err);
    return status ? status : tokenizer_gaps(m->tokenizer, &m->gaps, &m->n_gaps, err);
}

/* The parts of `dir`, a directory or a GGUF file. */
static enum quern_status open_all_parts(const char *dir, const struct quern_model_options *options,
                                        struct quern_model *m, struct quern_error *err) {
    struct gguf *gguf = NULL;
    enum quern_status status = QUERN_OK;
    if (!os_is_dir(dir))
        status = gguf_open(dir, &gguf, err);
    if (!status)
        status = open_parts(&(struct parts){dir, gguf}, options, m, err);
    gguf_close(gguf);
    return status;
}

static enum quern_status open_weights(const char *dir, const struct quern_model_options *options,
                                      struct quern_model *m, struct quern_error *err) {
    const struct model_options how = {.weights = options->weights,
                                      .embed_weights = options->embed_weights,
                                      .math = options->math,
                                      .cache_dir = options->cache_dir,
                                      .on_progress = options->on_progress,
                                      .user = options->user};
    enum quern_status status = m->tokenizer ? check_vocabulary(dir, m, err) : QUERN_OK;
    if (!status)
        status = device_cpu_create(options->n_threads, options->cpu, &m->device, err);
    if (!status)
        status = model_open_with(dir, &m->config, m->device, &how, &m->model, err);
    return status;
}

enum quern_status quern_model_open(const char *dir, const struct quern_model_options *options,
                                   quern_model **out, struct quern_error *err) {
    static const struct quern_model_options defaults;
    if (!dir || !*dir || !out)
        return error_set(err, QUERN_ERR_ARG, "quern_model_open: dir or out is missing");
    if (!options)
        options = &defaults;
    if (options->tokenizer_only && options->weights_only)
        return error_set(err, QUERN_ERR_ARG,
                         "quern_model_open: tokenizer_only and weights_only leave nothing");
    enum quern_status status = QUERN_OK;
    if (!os_file_exists(dir) || !gguf_is_file(dir)) {
        status = check_is_dir(dir, err);
        if (!status)
            status = check_files(dir, options, err);
    }
    if (status)
        return status;
    struct quern_model *m = calloc(1, sizeof *m);
    if (!m)
        return error_nomem(err);
    status = mutex_init(&m->lock, err);
    m->has_lock = status == QUERN_OK;
    if (!status)
        status = open_all_parts(dir, options, m, err);
    if (!status && !options->tokenizer_only)
        status = open_weights(dir, options, m, err);
    if (!status && !options->tokenizer_only)
        status = loaded_model_open_adapters(m, options->adapters, options->n_adapters, err);
    if (status) {
        quern_model_close(m);
        return status;
    }
    *out = m;
    return QUERN_OK;
}

void quern_model_close(quern_model *model) {
    if (!model)
        return;
    adapter_set_release(&model->adapters);
    model_close(model->model);
    device_destroy(model->device);
    tokenizer_close(model->tokenizer);
    free(model->gaps);
    chat_template_close(model->chat);
    token_image_destroy(model->image);
    if (model->has_lock)
        mutex_release(&model->lock);
    free(model);
}

/* ---- facts --------------------------------------------------------------------- */

void quern_model_get_info(const quern_model *model, struct quern_model_info *out) {
    *out = (struct quern_model_info){
        .architecture = "",
        .n_tokens = model->tokenizer ? tokenizer_n_tokens(model->tokenizer) : 0,
        .has_chat_template = model->chat != NULL,
        .can_think = model->chat && chat_template_can_think(model->chat),
    };
    out->n_vocab = out->n_tokens;
    if (!model->has_config)
        return;
    const struct hf_config *c = &model->config;
    out->architecture = c->architecture_name;
    out->n_params = hf_config_param_count(c, NULL);
    out->n_vocab = c->vocab_size;
    out->n_layers = c->n_layers;
    out->hidden_size = c->hidden_size;
    out->max_context = (int32_t)rope_max_context(c);
    if (!model->tokenizer)
        out->n_tokens = out->n_vocab;
}

/* ---- text and tokens ------------------------------------------------------------- */

static enum quern_status need_tokenizer(const quern_model *model, struct quern_error *err) {
    if (model->tokenizer)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_STATE,
                     "the model was opened for its weights only: it has no tokenizer");
}

enum quern_status quern_tokenize(const quern_model *model, const char *text, size_t len,
                                 bool add_special, bool parse_special, int32_t **ids, size_t *n_ids,
                                 struct quern_error *err) {
    if (!model || (!text && len) || !ids || !n_ids)
        return error_set(err, QUERN_ERR_ARG, "quern_tokenize: an argument is missing");
    enum quern_status status = need_tokenizer(model, err);
    if (status)
        return status;
    struct token_ids tokens = {0};
    struct encode_options options = {.parse_special = parse_special, .add_special = add_special};
    status = tokenizer_encode(model->tokenizer, (struct str){text, len}, options, &tokens, err);
    if (!status && !tokens.ids) { /* no ids at all: still something to free */
        tokens.ids = malloc(sizeof *tokens.ids);
        if (!tokens.ids)
            status = error_nomem(err);
    }
    if (status) {
        token_ids_release(&tokens);
        return status;
    }
    *ids = tokens.ids;
    *n_ids = tokens.n;
    return QUERN_OK;
}

enum quern_status quern_detokenize(const quern_model *model, const int32_t *ids, size_t n_ids,
                                   bool skip_special, char **text, size_t *len,
                                   struct quern_error *err) {
    if (!model || (!ids && n_ids) || !text)
        return error_set(err, QUERN_ERR_ARG, "quern_detokenize: an argument is missing");
    enum quern_status status = need_tokenizer(model, err);
    if (status)
        return status;
    struct buffer out;
    buffer_init(&out, SIZE_MAX / 4);
    status = tokenizer_decode(model->tokenizer, ids, n_ids, skip_special, &out, err);
    size_t out_len = 0;
    char *bytes = status ? NULL : buffer_detach(&out, &out_len);
    if (!status && !bytes)
        status = error_nomem(err);
    buffer_release(&out);
    if (status)
        return status;
    *text = bytes;
    if (len)
        *len = out_len;
    return QUERN_OK;
}
