/* cmd_tokenizer.c - quern tokenizer train: byte pair encoding learnt from texts. */
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/threads.h"
#include "cli/cli_common.h"
#include "cli/cli_format.h"
#include "cli/commands.h"
#include "cli/corpus.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_write.h"

enum { PATH_BYTES = 4096, ADDED_MAX = 1024 };

struct tokenizer_args {
    const char *output, *special;
    int64_t vocab_size, min_frequency, max_token_length, n_threads;
    bool whole_files;
};

static const struct option_spec tokenizer_specs[] = {
    OPT_STRING('o', "output", "DIR", struct tokenizer_args, output,
               "directory to write tokenizer.json into"),
    OPT_INT(0, "vocab-size", "N", struct tokenizer_args, vocab_size, 256, 1 << 24,
            "tokens in all, special ones included (default: 32000)"),
    OPT_INT(0, "min-frequency", "N", struct tokenizer_args, min_frequency, 0, INT32_MAX,
            "merge only pairs that occur so often (default: 0)"),
    OPT_INT(0, "max-token-length", "N", struct tokenizer_args, max_token_length, 0, INT32_MAX,
            "tokens stay shorter than this many bytes (default: 0, no limit)"),
    OPT_STRING(0, "special-tokens", "LIST", struct tokenizer_args, special,
               "\"qwen3\" (its 26, the default), \"none\", or spellings with commas between; they get "
               "the last ids"),
    OPT_FLAG(0, "whole-files", struct tokenizer_args, whole_files,
             "learn across the ends of lines too; else each line of a text file is a text"),
    OPT_INT('t', "threads", "N", struct tokenizer_args, n_threads, 0, 1024,
            "threads to count with (default: one per core)"),
    OPT_END};

static const struct cli_command tokenizer_command = {
    "tokenizer train",
    "-o DIR [options] FILE...",
    "Learns a byte-level BPE tokenizer with Qwen3's normalizer and pattern, and writes the "
    "tokenizer.json that Hugging Face's tokenizers package would write for the same texts.\n\n"
    "A file named .jsonl holds a JSON object a line: messages (with their tools, calls and "
    "reasoning), prompt and completion, text, Alpaca's or ShareGPT's fields. Any other file is "
    "text.",
    "quern tokenizer train -o my-model --vocab-size 8192 books/*.txt chats.jsonl\n"
    "quern tokenizer train -o my-model --special-tokens '<|endoftext|>,<|pad|>' corpus.txt\n",
    tokenizer_specs};

struct added_list {
    struct token_to_add items[ADDED_MAX];
    size_t n;
};

/* "a,b": special tokens, their text borrowed. */
static bool split_special(const char *list, struct added_list *out) {
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (!len || out->n == ADDED_MAX)
            return false;
        for (size_t i = 0; i < out->n; i++)
            if (str_eq(out->items[i].content, (struct str){p, len}))
                return false;
        out->items[out->n++] = (struct token_to_add){{p, len}, true};
        p += len + (p[len] == ',');
    }
    return true;
}

static int choose_special(const struct tokenizer_args *args, struct added_list *out) {
    if (!args->special || strcmp(args->special, "qwen3") == 0) {
        const struct token_to_add *qwen = tokenizer_qwen3_added(&out->n);
        memcpy(out->items, qwen, out->n * sizeof *qwen);
    } else if (strcmp(args->special, "none") != 0 && !split_special(args->special, out)) {
        return cli_usage_error(&tokenizer_command,
                               "--special-tokens: \"%s\" has an empty or repeated token",
                               args->special);
    }
    if ((size_t)args->vocab_size < BPE_ALPHABET + out->n)
        return cli_usage_error(&tokenizer_command,
                               "--vocab-size %lld: the bytes and special tokens are %zu already",
                               (long long)args->vocab_size, BPE_ALPHABET + out->n);
    return CLI_GO_ON;
}

/* Reads what was written as any tokenizer.json, so that no broken one stays. */
static enum quern_status write_file(const char *dir, const struct bpe_trained *trained,
                                    const struct added_list *added, struct quern_error *err) {
    char path[PATH_BYTES];
    struct buffer text;
    struct tokenizer *check = NULL;
    buffer_init(&text, SIZE_MAX / 4);
    tokenizer_write(trained, added->items, added->n, &text);
    enum quern_status status = buffer_status(&text, "tokenizer.json", err);
    if (!status)
        status = tokenizer_parse(buffer_str(&text), "tokenizer.json", &check, err);
    tokenizer_close(check);
    if (!status)
        status = os_make_dir(dir, err);
    if (!status)
        status = os_path_join(path, sizeof path, dir, "tokenizer.json", err);
    if (!status)
        status = os_write_file(path, text.data, text.len, err);
    buffer_release(&text);
    return status;
}

static enum quern_status count(const struct tokenizer_args *args, const char *const *paths,
                               size_t n_paths, struct word_counter *counter,
                               struct quern_error *err) {
    struct cli_progress progress;
    const struct corpus_options options = {args->whole_files, cli_progress_update, &progress};
    cli_progress_start(&progress, "Counting words");
    enum quern_status status = corpus_count(paths, n_paths, &options, counter, err);
    cli_progress_finish(&progress);
    return status;
}

static enum quern_status train(const struct tokenizer_args *args, const struct added_list *added,
                               const char *const *paths, size_t n_paths, struct quern_error *err) {
    struct thread_pool *pool = NULL;
    struct word_counter *counter = NULL;
    const struct word_count *words = NULL;
    struct bpe_trained trained = {0};
    struct cli_progress progress;
    char n_text[CLI_NUMBER_BYTES];
    size_t n_words = 0;
    const uint64_t start = os_now_ns();
    const struct bpe_train_options options = {
        (size_t)args->vocab_size - added->n, (uint64_t)args->min_frequency,
        (size_t)args->max_token_length, cli_progress_update, &progress};
    enum quern_status status = thread_pool_create((int)args->n_threads, &pool, err);
    if (!status)
        status = word_counter_create(pool, &counter, err);
    if (!status)
        status = count(args, paths, n_paths, counter, err);
    if (!status)
        status = word_counter_finish(counter, &words, &n_words, err);
    if (!status) {
        cli_progress_start(&progress, "Merging pairs");
        status = bpe_train(words, n_words, &options, &trained, err);
        cli_progress_finish(&progress);
    }
    if (!status)
        status = write_file(args->output, &trained, added, err);
    if (!status)
        printf("%s/tokenizer.json: %zu tokens, %zu merges, from %s different words in %.2f s\n",
               args->output, trained.n_tokens + added->n, trained.n_merges,
               cli_format_count((int64_t)n_words, n_text), (double)(os_now_ns() - start) * 1e-9);
    if (!status && trained.n_tokens + added->n < (size_t)args->vocab_size)
        fprintf(stderr, "quern: the texts have no more pairs to merge; --vocab-size was %lld\n",
                (long long)args->vocab_size);
    bpe_trained_release(&trained);
    word_counter_destroy(counter);
    thread_pool_destroy(pool);
    return status;
}

int cmd_tokenizer(int argc, char **argv) {
    struct tokenizer_args args = {.vocab_size = 32000};
    struct quern_error err = {0};
    struct added_list *added = NULL;
    int n_words = 0;
    if (argc > 1 && strcmp(argv[1], "train") == 0) {
        argc--;
        argv++;
    } else if (argc < 2 || argv[1][0] != '-') {
        return cli_usage_error(&tokenizer_command, "\"quern tokenizer\" knows \"train\"");
    }
    int code = cli_parse(&tokenizer_command, argc, argv, &args, &n_words);
    if (code != CLI_GO_ON)
        return code;
    if (!args.output || !n_words)
        return cli_usage_error(&tokenizer_command, args.output ? "name the files to learn from"
                                                               : "give the directory with -o DIR");
    added = calloc(1, sizeof *added);
    if (!added)
        return cli_error("out of memory");
    code = choose_special(&args, added);
    if (code == CLI_GO_ON)
        code = train(&args, added, (const char *const *)(argv + 1), (size_t)n_words, &err)
                   ? cli_fail(&err)
                   : CLI_OK;
    free(added);
    return code;
}
