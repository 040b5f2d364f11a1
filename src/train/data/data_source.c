#include "train/data/data_source.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

enum { LINES_AT_ONCE = 1024, PIECE_BYTES = 1 << 20 };

struct data_slot {
    struct str line;
    struct example example;
    struct quern_error err;
    enum quern_status status;
    bool is_blank;
};

/* ---- opening ---------------------------------------------------------------------------------- */

static enum quern_status hash_file(const char *path, char *piece, uint64_t *hash, uint64_t *size,
                                   struct quern_error *err) {
    struct data_file f;
    struct checksum sum;
    enum quern_status status = data_file_open(&f, path, err);
    checksum_begin(&sum, *hash);
    for (uint64_t at = 0; !status && at < f.size_bytes; at += PIECE_BYTES) {
        const uint64_t left = f.size_bytes - at;
        const size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        status = data_file_read(&f, at, piece, n, err);
        checksum_add(&sum, piece, status ? 0 : n);
    }
    *hash = checksum_end(&sum);
    *size = f.size_bytes;
    data_file_close(&f);
    return status;
}

enum quern_status data_source_open(struct data_source *s, const struct example_maker *maker,
                                   const char *const *paths, size_t n_paths, struct thread_pool *pool,
                                   uint64_t *hash, struct quern_error *err) {
    *s = (struct data_source){.maker = maker, .paths = paths, .n_paths = n_paths, .pool = pool};
    char *piece = malloc(PIECE_BYTES);
    s->stamps = calloc(n_paths + 1, sizeof *s->stamps);
    s->slots = calloc(LINES_AT_ONCE, sizeof *s->slots);
    enum quern_status status = piece && s->stamps && s->slots ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; s->slots && i < LINES_AT_ONCE; i++)
        example_init(&s->slots[i].example);
    for (size_t i = 0; i < n_paths && !status; i++) {
        uint64_t size = 0;
        (void)os_file_stamp(paths[i], &s->stamps[i]);
        status = hash_file(paths[i], piece, hash, &size, err);
        s->bytes_all += size;
    }
    free(piece);
    return status;
}

void data_source_close(struct data_source *s) {
    for (size_t i = 0; s->slots && i < LINES_AT_ONCE; i++)
        example_release(&s->slots[i].example);
    data_lines_close(&s->lines);
    free(s->slots);
    free(s->stamps);
    *s = (struct data_source){0};
}

double data_source_fraction(const struct data_source *s) {
    uint64_t before = s->place.offset;
    for (size_t i = 0; i < s->place.file && i < s->n_paths; i++)
        before += s->stamps[i].size_bytes;
    return s->bytes_all ? (double)before / (double)s->bytes_all : 1;
}

/* ---- records in parallel ------------------------------------------------------------------------ */

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.len; i++)
        if (!strchr(" \t\r\n", line.ptr[i]) || !line.ptr[i])
            return false;
    return true;
}

static void make_slot(const struct example_maker *maker, struct data_slot *s) {
    json_t *record = NULL;
    s->is_blank = is_blank(s->line);
    s->status = QUERN_OK;
    if (s->is_blank)
        return;
    s->status = json_parse(s->line.ptr, s->line.len, "record", &record, &s->err);
    if (!s->status)
        s->status = example_make(maker, record, &s->example, &s->err);
    json_decref(record);
}

struct work_call {
    struct data_source *s;
    size_t n;
    atomic_size_t next;
};

static void work(void *ctx, int worker, int n_workers) {
    struct work_call *c = ctx;
    (void)worker;
    (void)n_workers;
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;)
        make_slot(c->s->maker, &c->s->slots[i]);
}

static void make_slots(struct data_source *s, size_t n) {
    struct work_call c = {.s = s, .n = n};
    atomic_init(&c.next, 0);
    if (s->pool)
        thread_pool_run(s->pool, work, &c);
    else
        work(&c, 0, 1);
}

static bool keep(struct data_block *b, const struct example *e) {
    uint32_t *words = data_block_add(b, e->tokens.n);
    for (size_t i = 0; words && i < e->tokens.n; i++)
        words[i] = (uint32_t)e->tokens.ids[i] | (e->trained.data[i] ? DATA_TRAINED : 0);
    return words != NULL;
}

static enum quern_status take_slot(struct data_source *s, const struct data_slot *slot, size_t line,
                                   struct data_block *out, struct quern_error *err) {
    const char *path = s->paths[s->place.file];
    if (slot->is_blank)
        return QUERN_OK;
    if (slot->status) {
        if (err)
            *err = slot->err;
        s->problem = (struct data_problem){path, line, false};
        return error_prefix(err, slot->status, "%s:%zu", path, line);
    }
    out->n_cut += slot->example.was_cut;
    if (!slot->example.n_trained && slot->example.was_cut) {
        out->n_skipped++;
        return QUERN_OK;
    }
    if (!slot->example.n_trained) {
        s->problem = (struct data_problem){path, line, true};
        return error_set(err, QUERN_ERR_FORMAT, "%s:%zu: no token of this example is trained%s", path, line,
                         slot->example.n_thoughtless
                             ? ": the template leaves out the thoughts of its answers "
                               "(thinking=drop trains answers without their thoughts)"
                             : "");
    }
    return keep(out, &slot->example) ? QUERN_OK : error_nomem(err);
}

/* ---- blocks ---------------------------------------------------------------------------------------- */

static enum quern_status next_file(struct data_source *s, struct quern_error *err) {
    const char *path = s->paths[s->place.file];
    struct os_file_stamp now = {0}, then = s->stamps[s->place.file];
    data_lines_close(&s->lines);
    s->place = (struct data_place){.file = s->place.file + 1};
    if (!os_file_stamp(path, &now) || now.size_bytes != then.size_bytes || now.changed_ns != then.changed_ns)
        return error_set(err, QUERN_ERR_STATE, "%s: has changed while it was read", path);
    return QUERN_OK;
}

enum quern_status data_source_next(struct data_source *s, struct data_block *out, struct quern_error *err) {
    struct str lines[LINES_AT_ONCE];
    size_t n = 0;
    enum quern_status status = QUERN_OK;
    data_block_clear(out);
    s->problem = (struct data_problem){0};
    if (s->place.file < s->n_paths && !s->lines.file.path)
        status = data_lines_open(&s->lines, s->paths[s->place.file], s->place.offset, s->place.line, err);
    const size_t before = s->place.line;
    if (!status && s->place.file < s->n_paths)
        status = data_lines_next(&s->lines, lines, LINES_AT_ONCE, &n, err);
    for (size_t i = 0; i < n; i++)
        s->slots[i].line = lines[i];
    if (!status)
        make_slots(s, n);
    for (size_t i = 0; i < n && !status; i++)
        status = take_slot(s, &s->slots[i], before + i + 1, out, err);
    if (status)
        return status;
    s->place.offset = n ? data_lines_offset(&s->lines) : s->place.offset;
    s->place.line = n ? s->lines.line : s->place.line;
    if (!n && s->place.file < s->n_paths)
        status = next_file(s, err);
    out->end = s->place;
    return status;
}
