/* cmd_serve.c - quern serve: options, the configuration file, signals. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "server/config_file.h"
#include "server/server.h"
#include "server/tool_gate.h"

#define SERVE_INT(name, meta, field, lo, hi, help) \
    OPT_INT(0, name, meta, struct server_config, field, lo, hi, help)
#define SERVE_SECONDS(name, field, lo, help) \
    OPT_FLOAT(0, name, "S", struct server_config, field, lo, 86400, help)

static const struct option_spec serve_specs[] = {
    OPT_LIST('m', "model", "DIR", struct server_config, models,
             "model directory or GGUF file, or NAME=DIR to name it; may be given several times (default: "
             "$QUERN_MODEL, else models/quern-demo)"),
    OPT_LIST(0, "adapter", "NAME=DIR", struct server_config, adapters,
             "LoRA adapter (a directory of peft's, DIR:SCALE to scale it) that requests ask for as model "
             "NAME, computed with the first model; may be given several times"),
    OPT_STRING(0, "host", "ADDRESS", struct server_config, host,
               "address or name to listen on (default: 127.0.0.1)"),
    OPT_INT('p', "port", "N", struct server_config, port, 0, 65535,
            "port to listen on, 0 for a free one (default: 8080)"),
    OPT_STRING(0, "config", "FILE", struct server_config, config_file,
               "INI file with these options as keys; the command line comes after it"),
    OPT_STRING(0, "api-key-file", "FILE", struct server_config, api_key_file,
               "keys that clients must send, one a line, a name before each if wanted"),
    OPT_STRING(0, "tls-cert", "FILE", struct server_config, tls_cert,
               "certificate chain in PEM form: HTTPS instead of HTTP; needs --tls-key"),
    OPT_STRING(0, "tls-key", "FILE", struct server_config, tls_key, "its private key, in PEM form"),
    OPT_FLAG(0, "allow-no-key", struct server_config, allow_no_key,
             "listen beyond this machine without a key"),
    OPT_LIST(0, "allowed-host", "NAME", struct server_config, allowed_hosts,
             "another name the server answers to, * for any; may be given several times"),
    OPT_LIST(0, "cors-origin", "ORIGIN", struct server_config, cors_origins,
             "web origin whose pages may use the server, * for any (default: none)"),
    TOOL_SOURCE_OPTIONS(struct server_config, tool_sources),
    SERVE_INT("tool-calls", "N", tool_calls, 1, TOOL_CALLS_MAX, "calls of tools at once (default: 8)"),
    OPT_INT('t', "threads", "N", struct server_config, n_threads, 0, 1024,
            "threads to compute with (default: one per core)"),
    OPT_CHOICE(0, "cpu", CLI_CPU_CHOICES, struct server_config, cpu,
               "instruction set to use (default: the best there is)"),
    CLI_PIN_OPTION(struct server_config, pin),
    CLI_WEIGHTS_OPTIONS(struct server_config, words),
    OPT_INT('c', "context", "N", struct server_config, context, 1, INT32_MAX,
            "most tokens of one conversation (default: the model's maximum, at most 4096)"),
    SERVE_INT("parallel", "N", running, 1, 4096, "requests computed side by side (default: 16)"),
    SERVE_INT("queue", "N", waiting, 1, 1 << 20, "requests that may wait (default: 128)"),
    SERVE_INT("queue-tokens", "N", waiting_tokens, 1, 1LL << 40,
              "tokens of prompts that may wait (default: 32 contexts)"),
    SERVE_INT("step-ms", "MS", step_ms, 1, 60000,
              "longest wait of a running answer for another's prompt (default: 100)"),
    SERVE_INT("cache-mib", "MIB", cache_mib, 1, 1 << 30,
              "memory for keys and values (default: four contexts)"),
    CLI_KV_OPTION(struct server_config, kv_type),
    OPT_FLAG(0, "no-prefix-cache", struct server_config, no_prefix_cache,
             "compute every prompt in full"),
    OPT_STRING(0, "disk-cache", "DIR", struct server_config, disk_cache,
               "directory for keys and values of idle conversations"),
    SERVE_INT("disk-cache-mib", "MIB", disk_cache_mib, 1, 1 << 30,
              "most room there (default: 4096)"),
    OPT_CHOICE(0, "speculation", "auto|off", struct server_config, speculation,
               "guess tokens by prompt lookup while it pays (default: auto)"),
    OPT_LIST(0, "draft", "[NAME=]DIR", struct server_config, drafts,
             "smaller model with the same tokenizer that guesses tokens while it pays, for every model or "
             "for the one of that name; may be given several times"),
    SERVE_SECONDS(
        "unload-idle", unload_idle_s, 0,
        "unload a model not used for so long; its next request loads it (default: never)"),
    OPT_FLAG(0, "lazy", struct server_config, lazy, "load a model at its first request"),
    SERVE_SECONDS("request-timeout", request_timeout_s, 0,
                  "longest time for one request (default: none)"),
    SERVE_SECONDS("drain-timeout", drain_timeout_s, 0,
                  "longest wait for running answers when told to end (default: 30)"),
    SERVE_SECONDS("stuck-after", stuck_after_s, 0.001,
                  "time of one step after which /health answers 503 (default: 60)"),
    SERVE_INT("max-connections", "N", connections, 1, 65536, "open connections (default: 1024)"),
    SERVE_INT("max-body-bytes", "N", body_bytes, 1024, 1 << 30, "of a request (default: 4 MiB)"),
    SERVE_INT("max-header-bytes", "N", header_bytes, 1024, 1 << 20,
              "of a request's headers (default: 32 KiB)"),
    SERVE_INT("max-header-line-bytes", "N", header_line_bytes, 256, 1 << 20,
              "of one of them (default: 8 KiB)"),
    SERVE_INT("max-header-fields", "N", header_fields, 4, 10000, "of them (default: 100)"),
    SERVE_SECONDS("header-timeout", header_timeout_s, 0.1, "for the headers (default: 10)"),
    SERVE_SECONDS("body-timeout", body_timeout_s, 0.1, "for the body (default: 30)"),
    SERVE_SECONDS("idle-timeout", idle_timeout_s, 1, "between requests (default: 60)"),
    SERVE_SECONDS("write-timeout", write_timeout_s, 1,
                  "for a client that takes nothing (default: 30)"),
    SERVE_SECONDS("keep-alive", keep_alive_s, 0.05,
                  "between comments on a silent stream (default: 10)"),
    SERVE_INT("max-n", "N", limits.n, 1, API_N_MAX, "answers to one prompt (default: 8)"),
    SERVE_INT("max-top-logprobs", "N", limits.top_logprobs, 0, API_TOP_LOGPROBS_MAX,
              "log-probabilities of a token (default: 20)"),
    SERVE_INT("max-stop", "N", limits.stop, 0, API_STOP_MAX, "stop strings (default: 16)"),
    SERVE_INT("max-stop-bytes", "N", limits.stop_bytes, 1, 1 << 20, "of one (default: 256)"),
    SERVE_INT("max-tools", "N", limits.tools, 0, 1 << 20, "tools of a request (default: 128)"),
    SERVE_INT("max-logit-bias", "N", limits.logit_bias, 0, 1 << 20,
              "entries of logit_bias (default: 1024)"),
    SERVE_INT("max-messages", "N", limits.messages, 1, 1 << 20,
              "messages of a conversation (default: 4096)"),
    SERVE_INT("max-inputs", "N", limits.inputs, 1, 1 << 20,
              "prompts, texts or documents of a request (default: 256)"),
    SERVE_INT("max-thinking-tokens", "N", limits.thinking_tokens, 0, INT32_MAX,
              "of one answer; 0: as many as it asks for (default: 0)"),
    SERVE_INT("stored-responses", "N", stored_responses, 0, 1 << 20,
              "answers of /v1/responses kept in memory; 0: none (default: 1000)"),
    SERVE_INT("stored-mib", "MIB", stored_mib, 1, 1 << 20, "most room for them (default: 64)"),
    OPT_FLAG(0, "ignore-unknown", struct server_config, limits.ignore_unknown,
             "pass over request parameters that do not exist, instead of refusing them"),
    OPT_CHOICE(0, "log", "json|text|off", struct server_config, log,
               "form of the log on standard error (default: text on a terminal, else json)"),
    OPT_END,
};

static const struct cli_command serve_command = {
    "serve",
    "[-m [NAME=]DIR]... [options]",
    "Serves models over HTTP: OpenAI's chat completions, responses, completions, embeddings and models, "
    "Anthropic's messages, reranking, tokenizing, metrics. It listens at once and loads the models "
    "in the background; GET /ready tells when they are there. GET /docs describes the "
    "endpoints.\n\n"
    "Only this machine can reach it unless --host says otherwise, and then it wants API keys. "
    "SIGTERM or Ctrl-C ends it once the running answers are complete; a second one ends it at "
    "once.",
    "quern serve -m models/Qwen3-0.6B\n"
    "quern serve -m chat=models/Qwen3-4B -m embed=models/Qwen3-Embedding-0.6B --port 8000\n"
    "quern serve -m models/Qwen3-0.6B --adapter sql=adapters/sql --adapter poems=adapters/poems:0.8\n"
    "quern serve --config /etc/quern.ini\n",
    serve_specs,
};

/* ---- options ------------------------------------------------------------------------- */

/* The command line again, with what the file says before it. */
static int parse_with_file(int argc, char **argv, struct server_config *config,
                           struct config_file *file) {
    struct quern_error err = {0};
    if (config_file_read(config->config_file, serve_specs, file, &err))
        return cli_usage_error(&serve_command, "%s", err.message);
    char **all = calloc((size_t)argc + file->n + 1, sizeof *all);
    if (!all)
        return cli_error("out of memory");
    all[0] = argv[0];
    for (size_t i = 0; i < file->n; i++)
        all[1 + i] = file->args[i];
    for (int i = 1; i < argc; i++)
        all[file->n + (size_t)i] = argv[i];
    server_config_init(config);
    int code = cli_parse(&serve_command, argc + (int)file->n, all, config, NULL);
    free(all);
    return code;
}

/* What the command line leaves open, and words become values. */
static void complete(struct server_config *config) {
    const struct cli_model_args none = {0};
    config->weights = cli_weights(config->words.weights);
    config->embed_weights = cli_weights(config->words.embed_weights);
    config->math = cli_math(config->words.math);
    config->cache_dir = cli_cache_dir(config->words.cache);
    cli_set_pinning(config->pin);
    if (!config->models.n)
        config->models.items[config->models.n++] = cli_model_dir(&none);
}

/* ---- running -------------------------------------------------------------------------- */

/* Signals are taken by this thread alone, one after the other. */
static void block_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Waits for a signal, at most so long. */
static bool got_signal(const sigset_t *set, long wait_ms) {
    const struct timespec limit = {wait_ms / 1000, wait_ms % 1000 * 1000000};
    return sigtimedwait(set, NULL, &limit) > 0;
}

/* The signals are blocked: one that has come waits. */
static bool was_told_to_end(void *user) {
    sigset_t pending;
    (void)user;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM);
}

enum { DRAIN_LOOK_MS = 20 };

static int serve_until_told(struct server *server, const struct server_config *config,
                            const sigset_t *signals) {
    int number;
    while (sigwait(signals, &number))
        ;
    server_begin_drain(server);
    uint64_t until_ns = os_now_ns() + (uint64_t)(config->drain_timeout_s * 1e9);
    while (!server_is_drained(server, 0) && os_now_ns() < until_ns) {
        if (got_signal(signals, DRAIN_LOOK_MS)) {
            /* Whoever asks twice does not want to wait for threads either. */
            cli_error("ended at once: a second signal came");
            _exit(CLI_FAILED);
        }
    }
    server_stop(server);
    return CLI_OK;
}

int cmd_serve(int argc, char **argv) {
    struct server_config config;
    struct config_file file = {0};
    struct quern_error err = {0};
    const struct stop_check stop = {was_told_to_end, NULL};
    struct server *server = NULL;
    struct tool_set tools = {0};
    sigset_t signals;
    server_config_init(&config);
    /* options_parse moves words about, but never changes which there are. */
    int code = cli_parse(&serve_command, argc, argv, &config, NULL);
    if (code == CLI_GO_ON && config.config_file)
        code = parse_with_file(argc, argv, &config, &file);
    if (code != CLI_GO_ON) {
        config_file_release(&file);
        return code;
    }
    complete(&config);
    block_signals(&signals);
    config.tools = &tools;
    if (tool_set_open(&tools, &config.tool_sources, &stop, &err) || server_start(&config, &server, &err))
        code = cli_fail(&err);
    else
        code = serve_until_told(server, &config, &signals);
    tool_set_release(&tools);
    config_file_release(&file);
    return code;
}
