#include "model/weight_cache_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "base/file_writer.h"

enum { PART_ALIGN = 64 };

static const char magic[8] = "QUERNWC";

struct cache_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t file_bytes, n_records;
    struct cache_fingerprint fingerprint;
    uint64_t checksum; /* of the header with this 0, then of the records */
    uint64_t zero;
};
_Static_assert(sizeof(struct cache_header) == 64, "in the file");

/* A place in the file. Bytes 0: there is no such part. */
struct cache_part {
    uint64_t at, bytes;
};

struct cache_record {
    uint64_t rows, cols, group;
    uint8_t is_packed, dtype; /* of a plain matrix; of a packed one's numbers */
    uint8_t kind, bits, zeros, is_e4m3;
    uint16_t unused;
    int32_t zero;
    uint32_t unused_too;
    struct cache_part data, code, col_order;
    uint64_t checksum; /* of the three parts */
    uint64_t more[4];
};
_Static_assert(sizeof(struct cache_record) == 128, "in the file");

/* ---- reading ----------------------------------------------------------------------- */

static uint64_t head_checksum(struct cache_header h, const struct cache_record *records) {
    h.checksum = 0;
    return checksum64(checksum64(7, &h, sizeof h), records, h.n_records * sizeof *records);
}

static enum quern_status check_head(const struct cache_file *f, const struct cache_header *h,
                                    const struct cache_fingerprint *expected, struct quern_error *err) {
    const size_t size = f->map.size_bytes;
    if (size < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0)
        return error_set(err, QUERN_ERR_FORMAT, "%s: is no cache of weights", f->path);
    if (h->version != CACHE_VERSION || h->header_bytes != sizeof *h)
        return error_set(err, QUERN_ERR_FORMAT, "%s: cached by another version of quern", f->path);
    if (h->file_bytes != size)
        return error_set(err, QUERN_ERR_FORMAT, "%s: the cache has %zu bytes, expected %llu", f->path,
                         size, (unsigned long long)h->file_bytes);
    if (h->n_records > (size - sizeof *h) / sizeof(struct cache_record) ||
        head_checksum(*h, f->records) != h->checksum)
        return error_set(err, QUERN_ERR_FORMAT, "%s: the cache is damaged", f->path);
    if (memcmp(&h->fingerprint, expected, sizeof *expected) != 0)
        return error_set(err, QUERN_ERR_FORMAT, "%s: the model's files have changed since it was cached",
                         f->path);
    return QUERN_OK;
}

enum quern_status cache_file_open(struct cache_file *f, const char *path,
                                  const struct cache_fingerprint *expected, struct quern_error *err) {
    struct cache_file file = {.path = path};
    struct cache_header h = {.n_records = 0};
    enum quern_status st = os_map_open(&file.map, path, err);
    if (st)
        return st;
    if (file.map.size_bytes >= sizeof h) {
        memcpy(&h, file.map.data, sizeof h);
        file.records = (const struct cache_record *)(const void *)(file.map.data + sizeof h);
    }
    st = check_head(&file, &h, expected, err);
    if (st) {
        cache_file_close(&file);
        return st;
    }
    file.n_records = (size_t)h.n_records;
    os_map_will_need(file.map.data, file.map.size_bytes);
    *f = file;
    return QUERN_OK;
}

void cache_file_close(struct cache_file *f) {
    if (!f)
        return;
    os_map_close(&f->map);
    *f = (struct cache_file){.n_records = 0};
}

/* NULL unless it lies in the file, has the size and the alignment. */
static const void *part_at(const struct cache_file *f, struct cache_part part, uint64_t bytes) {
    if (part.bytes != bytes || part.at > f->map.size_bytes || bytes > f->map.size_bytes - part.at ||
        part.at % PART_ALIGN)
        return NULL;
    return f->map.data + part.at;
}

static uint64_t parts_checksum(const void *const parts[3], const uint64_t bytes[3]) {
    uint64_t sum = 9;
    for (size_t i = 0; i < 3; i++)
        if (parts[i])
            sum = checksum64(sum, parts[i], bytes[i]);
    return sum;
}

static bool is_number(uint8_t dtype) {
    return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

static bool zeros_fit(const struct cache_record *r) {
    const int most = 1 << r->bits;
    switch (r->kind) {
    case QUANT_INT:
        return r->zeros == (r->bits == 4 ? ZEROS_U8 : ZEROS_U16) ||
               (r->zeros == ZEROS_CONSTANT && r->zero >= 0 && r->zero <= most);
    case QUANT_AFFINE:
        return r->zeros == ZEROS_FLOAT;
    case QUANT_CODE:
        return r->zeros == ZEROS_NONE;
    default:
        return false;
    }
}

static bool is_order(const uint32_t *order, size_t cols) {
    for (size_t i = 0; i < cols; i++)
        if (order[i] >= cols)
            return false;
    return true;
}

/* Everything kernels rely on. */
static bool read_packed(const struct cache_file *f, const struct cache_record *r,
                        struct packed_matrix *m) {
    if ((r->bits != 4 && r->bits != 8) || !zeros_fit(r))
        return false;
    *m = (struct packed_matrix){.kind = (enum quant_kind)r->kind,
                                .bits = r->bits,
                                .rows = r->rows,
                                .cols = r->cols,
                                .group = r->group,
                                .number = (enum dtype)r->dtype,
                                .zeros = (enum packed_zeros)r->zeros,
                                .zero = r->zero,
                                .is_e4m3 = r->is_e4m3 == 1 && r->kind == QUANT_CODE && r->bits == 8};
    size_t bytes;
    if (packed_measure(m, &bytes, NULL))
        return false;
    m->data = part_at(f, r->data, bytes);
    if (m->kind == QUANT_CODE) {
        m->code = part_at(f, r->code, sizeof(float) << m->bits);
        if (!m->code)
            return false;
    }
    if (r->col_order.bytes) {
        m->col_order = part_at(f, r->col_order, m->cols * sizeof *m->col_order);
        if (!m->col_order || !is_order(m->col_order, m->cols))
            return false;
    }
    return m->data != NULL;
}

static enum quern_status damaged(const struct cache_file *f, size_t i, struct quern_error *err) {
    return error_set(err, QUERN_ERR_FORMAT, "%s: the cache is damaged in matrix %zu of %zu", f->path, i + 1,
                     f->n_records);
}

enum quern_status cache_file_weight(const struct cache_file *f, size_t i, size_t rows, size_t cols,
                                    struct arena *arena, struct weight *out,
                                    struct packed_matrix **packed, struct quern_error *err) {
    struct cache_record r = f->records[i];
    struct packed_matrix m = {.cols = cols};
    size_t n, bytes = 0;
    *packed = NULL;
    if (r.rows != rows || r.cols != cols || !is_number(r.dtype))
        return damaged(f, i, err);
    const void *data = NULL;
    if (r.is_packed) {
        if (!read_packed(f, &r, &m))
            return damaged(f, i, err);
        data = m.data;
    } else if (checked_mul(rows, cols, &n) && checked_mul(n, dtype_size_bytes(r.dtype), &bytes)) {
        data = part_at(f, r.data, bytes);
    }
    const void *const parts[3] = {data, m.code, m.col_order};
    const uint64_t sizes[3] = {r.data.bytes, r.code.bytes, r.col_order.bytes};
    if (!data || parts_checksum(parts, sizes) != r.checksum)
        return damaged(f, i, err);
    *out = (struct weight){.rows = rows, .cols = cols, .data = data};
    if (!r.is_packed) {
        out->dtype = (enum dtype)r.dtype;
        return QUERN_OK;
    }
    *packed = arena_calloc(arena, 1, sizeof **packed);
    if (!*packed)
        return error_nomem(err);
    **packed = m;
    out->packed = *packed;
    return QUERN_OK;
}

/* ---- writing ----------------------------------------------------------------------- */

/* A part behind *at, which moves on. */
static struct cache_part place(uint64_t *at, uint64_t bytes) {
    const struct cache_part part = {bytes ? *at : 0, bytes};
    *at += (bytes + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    return part;
}

static void describe(const struct weight *w, uint64_t *at, struct cache_record *r) {
    const struct packed_matrix *m = w->packed;
    *r = (struct cache_record){.rows = w->rows, .cols = w->cols, .dtype = (uint8_t)w->dtype};
    r->data = place(at, weight_bytes(w));
    if (m) {
        r->is_packed = 1;
        r->dtype = (uint8_t)m->number;
        r->group = m->group;
        r->kind = (uint8_t)m->kind;
        r->bits = (uint8_t)m->bits;
        r->zeros = (uint8_t)m->zeros;
        r->zero = m->zero;
        r->is_e4m3 = m->is_e4m3;
        r->code = place(at, m->code ? sizeof(float) << m->bits : 0);
        r->col_order = place(at, m->col_order ? m->cols * sizeof *m->col_order : 0);
    }
    const void *const parts[3] = {w->data, m ? (const void *)m->code : NULL,
                                  m ? (const void *)m->col_order : NULL};
    const uint64_t sizes[3] = {r->data.bytes, r->code.bytes, r->col_order.bytes};
    r->checksum = parts_checksum(parts, sizes);
}

static enum quern_status write_part(struct file_writer *w, const void *data, uint64_t bytes,
                                    struct quern_error *err) {
    static const char zeros[PART_ALIGN];
    if (!bytes)
        return QUERN_OK;
    enum quern_status st = file_writer_write(w, data, bytes, err);
    if (!st && bytes % PART_ALIGN)
        st = file_writer_write(w, zeros, PART_ALIGN - bytes % PART_ALIGN, err);
    return st;
}

static enum quern_status write_all(struct file_writer *w, const struct cache_header *h,
                                   const struct cache_record *records, const struct weight *weights,
                                   struct quern_error *err) {
    enum quern_status st = file_writer_write(w, h, sizeof *h, err);
    if (!st)
        st = write_part(w, records, h->n_records * sizeof *records, err);
    for (size_t i = 0; !st && i < h->n_records; i++) {
        const struct packed_matrix *m = weights[i].packed;
        st = write_part(w, weights[i].data, records[i].data.bytes, err);
        if (!st && m)
            st = write_part(w, m->code, records[i].code.bytes, err);
        if (!st && m)
            st = write_part(w, m->col_order, records[i].col_order.bytes, err);
    }
    if (!st)
        st = file_writer_close(w, err);
    return st ? st : file_writer_publish(w, err);
}

enum quern_status cache_file_write(const char *path, const struct cache_fingerprint *fingerprint,
                                   const struct weight *weights, size_t n, struct quern_error *err) {
    struct file_writer w;
    struct cache_header h = {.version = CACHE_VERSION, .header_bytes = sizeof h, .n_records = n,
                             .fingerprint = *fingerprint};
    struct cache_record *records = calloc(n + 1, sizeof *records);
    if (!records)
        return error_nomem(err);
    uint64_t at = sizeof h;
    (void)place(&at, n * sizeof *records);
    for (size_t i = 0; i < n; i++)
        describe(&weights[i], &at, &records[i]);
    memcpy(h.magic, magic, sizeof magic);
    h.file_bytes = at;
    h.checksum = head_checksum(h, records);
    enum quern_status st = file_writer_init(&w, path, err);
    if (!st) {
        st = write_all(&w, &h, records, weights, err);
        file_writer_release(&w);
    }
    free(records);
    return st;
}
