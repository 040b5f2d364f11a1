/* grammar_bench.c - masks over the schemas of MaskBench. */
#include "cli/grammar_bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/data_file.h"
#include "base/os.h"
#include "grammar/mask.h"
#include "grammar/matcher.h"
#include "grammar/schema/schema_json.h"
#include "text/json.h"

enum { FILE_BYTES_MAX = 64 << 20, PATH_ROOM = 4096 };

struct numbers {
    double *v;
    size_t n, capacity;
};

struct bench {
    const struct grammar_bench_args *args;
    struct tokenizer *tokenizer;
    struct token_image *image;
    uint32_t *mask;
    int32_t n_vocab;
    struct numbers masks, first; /* microseconds */
    size_t n_schemas, n_refused, n_reported, n_passing;
    size_t valid_rejected, invalid_accepted, unreported;
    size_t n_verified, n_different;
    json_t *rows, *times; /* times: of the schema at hand */
};

/* One schema. */
struct outcome {
    double compile_us, first_us, worst_us, total_us; /* of masks but the first */
    size_t n_masks, bytes;
    size_t valid_rejected, invalid_accepted;
    struct buffer report;
    struct quern_error refused;
};

static void numbers_add(struct numbers *s, double x) {
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 4096;
        double *grown = realloc(s->v, capacity * sizeof *grown);
        if (!grown)
            return;
        s->v = grown;
        s->capacity = capacity;
    }
    s->v[s->n++] = x;
}

static int ascending(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static double share(const struct numbers *s, double p) { /* of sorted numbers */
    return s->n ? s->v[(size_t)(p * (double)(s->n - 1) + 0.5)] : 0;
}

static uint64_t now(const struct bench *b) {
    return b->args && b->args->cpu_time ? os_thread_cpu_ns() : os_now_ns();
}

static void add_time(struct bench *b, struct outcome *o, bool first, double us) {
    if (first) {
        o->first_us = us;
        return;
    }
    numbers_add(&b->masks, us);
    o->worst_us = us > o->worst_us ? us : o->worst_us;
    o->total_us += us;
    o->n_masks++;
    if (b->times)
        json_array_append_new(b->times, json_real(floor(us * 10) / 10));
}

/* The same grammar without caches; each set of positions once. */
struct shadow {
    struct grammar *grammar;
    struct matcher matcher;
    struct pair_map seen; /* sets of the grammar with caches */
    struct budget budget;
    uint32_t *mask;
};

static void verify(struct bench *b, struct shadow *s, const struct matcher *m, size_t token) {
    struct quern_error err;
    uint32_t known;
    if (pair_map_get(&s->seen, m->state.set, &known))
        return;
    pair_map_put(&s->budget, &s->seen, m->state.set, 1);
    const size_t words = (size_t)b->n_vocab / 32 + 1;
    if (matcher_mask(&s->matcher, s->mask, b->n_vocab, &err) != QUERN_OK)
        memset(s->mask, 0, words * sizeof *s->mask);
    b->n_verified++;
    if (memcmp(s->mask, b->mask, ((size_t)b->n_vocab + 31) / 32 * sizeof *s->mask) == 0)
        return;
    b->n_different++;
    fprintf(stderr, "the mask before token %zu differs from the one made without caches\n", token);
}

/* Accepted to the end? QUERN_ERR_FORMAT: no. */
static enum quern_status walk(struct bench *b, struct grammar *g, struct str text,
                              struct outcome *o, struct shadow *shadow, struct quern_error *err) {
    struct encode_options options = {0};
    struct token_ids ids = {0};
    struct matcher m;
    enum quern_status st = tokenizer_encode(b->tokenizer, text, options, &ids, err);
    if (st == QUERN_OK)
        st = matcher_init(&m, g, b->image, NULL, 0, err);
    if (st == QUERN_OK && shadow)
        st = matcher_init(&shadow->matcher, shadow->grammar, b->image, NULL, 0, err);
    if (st == QUERN_OK && shadow)
        mask_cache_turn_off(shadow->grammar);
    for (size_t i = 0; i < ids.n && st == QUERN_OK; i++) {
        const uint64_t start = now(b);
        st = matcher_mask(&m, b->mask, b->n_vocab, err);
        add_time(b, o, i == 0 && o->first_us == 0, (double)(now(b) - start) * 1e-3);
        if (shadow && st == QUERN_OK)
            verify(b, shadow, &m, i);
        const int32_t t = ids.ids[i];
        if (st == QUERN_OK && !(b->mask[t / 32] >> (t % 32) & 1))
            st = error_set(err, QUERN_ERR_FORMAT, "token %zu (%d) is not in its mask", i, (int)t);
        if (st == QUERN_OK)
            st = matcher_accept_token(&m, t, err);
        if (st == QUERN_OK && shadow)
            st = matcher_accept_token(&shadow->matcher, t, err);
    }
    if (st == QUERN_OK && !matcher_can_end(&m))
        st = error_set(err, QUERN_ERR_FORMAT, "the text may not end here");
    token_ids_release(&ids);
    return st;
}

static void run_tests(struct bench *b, struct grammar *g, struct shadow *shadow,
                      const struct sj_node *tests, struct outcome *o, const char *name) {
    struct buffer text;
    buffer_init(&text, FILE_BYTES_MAX);
    for (size_t i = 0; sj_is(tests, SJ_ARRAY) && i < tests->n; i++) {
        const struct sj_node *data = sj_get(tests->items[i], "data");
        const bool valid = sj_is(sj_get(tests->items[i], "valid"), SJ_TRUE);
        struct quern_error err = {0};
        if (!data)
            continue;
        buffer_clear(&text);
        sj_write(data, &text);
        enum quern_status st = walk(b, g, buffer_str(&text), o, shadow, &err);
        if (st != QUERN_OK && st != QUERN_ERR_FORMAT) {
            o->refused = err; /* a limit: an error of the request, no verdict */
            break;
        }
        if (valid && st != QUERN_OK) {
            o->valid_rejected++;
            fprintf(stderr, "%s: test %zu is valid and rejected: %s\n", name, i, err.message);
        }
        if (!valid && st == QUERN_OK) {
            o->invalid_accepted++;
            if (o->report.len == 0)
                fprintf(stderr, "%s: test %zu is invalid and accepted\n", name, i);
        }
    }
    buffer_release(&text);
}

static enum quern_status compile(struct bench *b, struct str schema, struct grammar **out,
                                 struct buffer *report, struct quern_error *err) {
    struct schema_options options;
    struct grammar_builder *builder = NULL;
    symbol_id start;
    grammar_schema_options(&b->args->schema, &options);
    enum quern_status st = grammar_builder_create(NULL, &builder, err);
    if (st == QUERN_OK)
        st = json_schema_build(builder, schema, "schema", &options, &start, report, err);
    if (st == QUERN_OK) {
        grammar_start(builder, start);
        st = grammar_compile(builder, out, err);
    }
    grammar_builder_destroy(builder);
    return st;
}

static void run_schema(struct bench *b, const struct sj_node *file, const char *name,
                       struct outcome *o) {
    struct shadow shadow = {.budget.max = SIZE_MAX};
    struct grammar *g = NULL;
    struct buffer text;
    const struct sj_node *schema = sj_get(file, "schema");
    buffer_init(&text, FILE_BYTES_MAX);
    if (schema)
        sj_write(schema, &text);
    const uint64_t begin = now(b);
    enum quern_status st = compile(b, buffer_str(&text), &g, &o->report, &o->refused);
    o->compile_us = (double)(now(b) - begin) * 1e-3;
    if (st == QUERN_OK && b->args->verify) {
        st = compile(b, buffer_str(&text), &shadow.grammar, NULL, &o->refused);
        shadow.mask = calloc((size_t)b->n_vocab / 32 + 1, sizeof *shadow.mask);
    }
    if (st == QUERN_OK) {
        run_tests(b, g, shadow.mask ? &shadow : NULL, sj_get(file, "tests"), o, name);
        numbers_add(&b->first, o->compile_us + o->first_us);
        o->bytes = grammar_bytes(g);
    }
    grammar_destroy(g);
    grammar_destroy(shadow.grammar);
    pair_map_release(&shadow.seen);
    free(shadow.mask);
    buffer_release(&text);
}

static void record(struct bench *b, const char *name, const struct outcome *o) {
    const bool refused = o->refused.code != QUERN_OK;
    b->n_schemas++;
    b->n_refused += refused;
    b->n_reported += o->report.len > 0;
    b->valid_rejected += o->valid_rejected > 0;
    b->invalid_accepted += o->invalid_accepted > 0;
    b->unreported += o->invalid_accepted > 0 && o->report.len == 0;
    b->n_passing += !refused && o->valid_rejected + o->invalid_accepted == 0;
    json_t *row = json_pack(
        "{s:s, s:f, s:f, s:I, s:f, s:f, s:I, s:I, s:I, s:s%, s:s, s:O*}", "file", name, "compile_us",
        o->compile_us, "first_mask_us", o->compile_us + o->first_us, "masks",
        (json_int_t)o->n_masks, "masks_us", o->total_us, "worst_mask_us", o->worst_us, "bytes",
        (json_int_t)o->bytes, "valid_rejected", (json_int_t)o->valid_rejected, "invalid_accepted",
        (json_int_t)o->invalid_accepted, "not_enforced", o->report.data ? o->report.data : "",
        o->report.len, "refused", refused ? o->refused.message : "", "times_us", b->times);
    json_decref(b->times);
    b->times = b->args->json ? json_array() : NULL;
    if (row)
        json_array_append_new(b->rows, row);
}

static int run_file(struct bench *b, const char *dir, const char *name) {
    char path[PATH_ROOM];
    struct arena arena = ARENA_INIT(0);
    struct sj_pool pool = {.arena = &arena};
    struct buffer text;
    struct sj_node *file;
    struct quern_error err = {0};
    struct outcome o = {0};
    buffer_init(&text, FILE_BYTES_MAX);
    buffer_init(&o.report, FILE_BYTES_MAX);
    enum quern_status st = os_path_join(path, sizeof path, dir, name, &err);
    if (st == QUERN_OK)
        st = os_read_regular(path, FILE_BYTES_MAX, &text, &err);
    if (st == QUERN_OK)
        st = sj_parse(&pool, buffer_str(&text), name, &file, &err);
    if (st == QUERN_OK) {
        run_schema(b, file, name, &o);
        record(b, name, &o);
        if (o.refused.code)
            fprintf(stderr, "%s: refused: %s\n", name, o.refused.message);
    } else {
        cli_fail(&err);
    }
    buffer_release(&o.report);
    buffer_release(&text);
    arena_release(&arena);
    return st == QUERN_OK ? CLI_OK : CLI_FAILED;
}

static void print_times(const char *what, struct numbers *s) {
    qsort(s->v, s->n, sizeof *s->v, ascending);
    printf("%-12s p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f us  (%zu)\n", what,
           share(s, 0.5), share(s, 0.9), share(s, 0.99), share(s, 0.999), share(s, 1), s->n);
}

static json_t *times_json(const struct numbers *s) {
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:I}", "p50", share(s, 0.5), "p90", share(s, 0.9),
                     "p99", share(s, 0.99), "p99.9", share(s, 0.999), "max", share(s, 1), "n",
                     (json_int_t)s->n);
}

static int write_json(struct bench *b) {
    json_t *all = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:O}", "schemas", (json_int_t)b->n_schemas,
        "refused", (json_int_t)b->n_refused, "passing", (json_int_t)b->n_passing, "valid_rejected",
        (json_int_t)b->valid_rejected, "invalid_accepted", (json_int_t)b->invalid_accepted,
        "invalid_accepted_silently", (json_int_t)b->unreported, "mask_us", times_json(&b->masks),
        "first_mask_us", times_json(&b->first), "rows", b->rows);
    int failed = !all || json_dump_file(all, b->args->json, JSON_INDENT(1)) != 0;
    json_decref(all);
    return failed ? cli_error("%s cannot be written", b->args->json) : CLI_OK;
}

enum { FILES_MAX = 20000 };

struct names {
    char *v[FILES_MAX];
    size_t n;
};

static bool add_name(void *user, const char *name, int64_t changed) {
    struct names *names = user;
    (void)changed;
    if (!str_ends_with(str_from(name), STR_LIT(".json")))
        return true;
    char *copy = names->n < FILES_MAX ? strdup(name) : NULL;
    if (copy)
        names->v[names->n++] = copy;
    return copy != NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int run_directory(struct bench *b) {
    struct names *names = calloc(1, sizeof *names);
    struct cli_progress progress;
    struct quern_error err = {0};
    if (!names || data_dir_list(b->args->maskbench, add_name, names, &err) != QUERN_OK) {
        free(names);
        return names ? cli_fail(&err) : cli_error("out of memory");
    }
    int code = CLI_OK;
    qsort(names->v, names->n, sizeof *names->v, compare_names);
    cli_progress_start(&progress, "Schemas");
    for (size_t i = 0; i < names->n; i++) {
        if (run_file(b, b->args->maskbench, names->v[i]) != CLI_OK)
            code = CLI_FAILED;
        cli_progress_update(&progress, (double)(i + 1) / (double)names->n);
        free(names->v[i]);
    }
    free(names);
    cli_progress_finish(&progress);
    return code;
}

static int open_tokenizer(struct bench *b, const char *dir) {
    struct quern_error err = {0};
    if (tokenizer_open(dir, &b->tokenizer, &err) != QUERN_OK ||
        token_image_create(b->tokenizer, &b->image, &err) != QUERN_OK)
        return cli_fail(&err);
    b->n_vocab = b->image->n_tokens;
    b->mask = calloc((size_t)b->n_vocab / 32 + 1, sizeof *b->mask);
    return b->mask ? CLI_GO_ON : cli_error("out of memory");
}

static void close_tokenizer(struct bench *b) {
    free(b->mask);
    token_image_destroy(b->image);
    tokenizer_close(b->tokenizer);
}

int grammar_bench(const struct grammar_bench_args *args) {
    struct bench b = {.args = args, .rows = json_array()};
    b.times = args->json ? json_array() : NULL;
    int code = open_tokenizer(&b, args->tokenizer);
    if (code == CLI_GO_ON) {
        code = run_directory(&b);
        print_times("mask", &b.masks);
        print_times("first mask", &b.first);
        printf(
            "%zu schemas: %zu pass, %zu refused, %zu reject something valid, %zu accept something "
            "invalid (%zu of them without naming a keyword that is not enforced)\n",
            b.n_schemas, b.n_passing, b.n_refused, b.valid_rejected, b.invalid_accepted,
            b.unreported);
        if (args->verify)
            printf("%zu masks compared, %zu differ\n", b.n_verified, b.n_different);
        if (b.n_different)
            code = CLI_FAILED;
        if (args->json && write_json(&b) != CLI_OK)
            code = CLI_FAILED;
    }
    free(b.masks.v);
    free(b.first.v);
    json_decref(b.rows);
    json_decref(b.times);
    close_tokenizer(&b);
    return code;
}

int grammar_check_tokens(struct grammar **grammar, const char *tokenizer_dir, struct str text) {
    struct bench b = {0};
    struct outcome o = {0};
    struct quern_error err = {0};
    int code = open_tokenizer(&b, tokenizer_dir);
    if (code == CLI_GO_ON) {
        enum quern_status st = walk(&b, *grammar, text, &o, NULL, &err);
        code = st == QUERN_OK ? CLI_OK : cli_fail(&err);
    }
    free(b.masks.v);
    grammar_destroy(*grammar); /* its masks point into the image */
    *grammar = NULL;
    close_tokenizer(&b);
    return code;
}
