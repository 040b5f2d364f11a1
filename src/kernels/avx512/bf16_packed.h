/* bf16_packed.h - MATH_BF16 of packed_kernels.h: code books of bfloat16, looked up in registers. The file that
 * includes it says what a step is, as for bf16_rows.h (MAC2, MAC2_AT), and how 64 codes of eight bits
 * become pairs (struct book, book8_init, look_up8).
 *
 * Few tokens: codes go from memory through a look-up into the products. More: a group is unpacked into the
 * first-level cache, pair by pair of 64 rows, and tiles of tokens pass by. */
#ifndef QUERN_KERNELS_AVX512_BF16_PACKED_H
#define QUERN_KERNELS_AVX512_BF16_PACKED_H

enum { BOOK_TILE = PANEL_TOKENS, BOOK_DIRECT = 6 };

/* ---- look-ups -------------------------------------------------------------------------- */

/* Entry q also at 16 + q: the look-up takes five bits of which one belongs to a neighbour. */
static inline __m512i book4_of(const float *code) {
    uint16_t word[32];
    for (size_t i = 0; i < 32; i += 16)
        avx512_to_bf16(word + i, code, 16);
    return _mm512_loadu_si512(word);
}

static inline __m512i look_up4(__m512i codes, unsigned pair, __m512i book) {
    return _mm512_permutexvar_epi16(_mm512_srli_epi32(codes, 4 * pair), book);
}

static inline __m512i load_codes(const unsigned char *p) {
    __m512i v = _mm512_loadu_si512(p);
    __asm__("" : "+v"(v));
    return v;
}

static inline void fetch_chunk(const unsigned char *p) {
    fetch(p), fetch(p + 64), fetch(p + 128), fetch(p + 192);
}

/* ---- unpacking --------------------------------------------------------------------------- */

/* Pairs [n / 2][64]. */
static void unpack4(void *to, const struct packed_tile *a) {
    const unsigned char *q = a->codes;
    const __m512i book = *(const __m512i *)a->table;
    __m512i *out = to;
    for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES, out += 16) {
        if (a->ahead)
            fetch_chunk(q + a->ahead);
        for (size_t i = 0; i < 4; i++) {
            const __m512i v = load_codes(q + 64 * i);
            out[i] = look_up4(v, 0, book);
            out[4 + i] = look_up4(v, 1, book);
            out[8 + i] = look_up4(v, 2, book);
            out[12 + i] = look_up4(v, 3, book);
        }
    }
}

static void unpack8(void *to, const struct packed_tile *a) {
    const unsigned char *q = a->codes;
    const struct book book = *(const struct book *)a->table;
    __m512i *out = to;
    for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES, out += 8) {
        if (a->ahead)
            fetch_chunk(q + a->ahead);
        for (size_t i = 0; i < 4; i++)
            look_up8(&out[i], &out[4 + i], load_codes(q + 64 * i), &book);
    }
}

/* ---- tiles of unpacked codes --------------------------------------------------------------- */

/* Widened already where several tiles use them. */
static inline __m512 scale_at(const struct packed_tile *a, size_t row) {
    return a->numbers ? _mm512_load_ps(a->numbers->scale + row) : numbers_at(a->w->number, a->scales, row);
}

static inline void end_group(float *y, __m512 sum, __m512 scale) {
    _mm512_storeu_ps(y, _mm512_fmadd_ps(sum, scale, _mm512_loadu_ps(y)));
}

#define BOOK_DECLARE(t)                                                       \
    const uint16_t *x##t = (const uint16_t *)a->x + t * a->x_stride;          \
    __m512 s##t##0 = _mm512_setzero_ps(), s##t##1 = _mm512_setzero_ps();      \
    __m512 s##t##2 = _mm512_setzero_ps(), s##t##3 = _mm512_setzero_ps();
#define BOOK_END_TOKEN(t)                              \
    end_group(y + t * PACKED_ROWS, s##t##0, scale0);       \
    end_group(y + t * PACKED_ROWS + 16, s##t##1, scale1);  \
    end_group(y + t * PACKED_ROWS + 32, s##t##2, scale2);  \
    end_group(y + t * PACKED_ROWS + 48, s##t##3, scale3);
#define BOOK_END(T)                                                             \
    {                                                                           \
        float *const y = a->sums;                                               \
        const __m512 scale0 = scale_at(a, 0);                                   \
        const __m512 scale1 = scale_at(a, 16);                                  \
        const __m512 scale2 = scale_at(a, 32);                                  \
        const __m512 scale3 = scale_at(a, 48);                                  \
        EACH_##T(BOOK_END_TOKEN)                                                \
    }
#define BOOK_STEP(t)                                              \
    {                                                             \
        __m512i x = _mm512_set1_epi32(load_pair(x##t + 2 * j));   \
        __asm__("" : "+v"(x));                                    \
        MAC2(s##t##0, w0, x);                                     \
        MAC2(s##t##1, w1, x);                                     \
        MAC2(s##t##2, w2, x);                                     \
        MAC2(s##t##3, w3, x);                                     \
    }

static inline size_t padded_pairs(const struct packed_tile *a) {
    const size_t chunk = packed_chunk_cols(a->w->bits);
    return (a->n_cols + chunk - 1) / chunk * chunk / 2;
}

#define DEFINE_BOOK(T)                                                       \
    static void book_##T(const struct packed_tile *a) {                      \
        const __m512i *w = a->codes;                                         \
        const size_t n_pairs = padded_pairs(a);                              \
        EACH_##T(BOOK_DECLARE)                                               \
        for (size_t j = 0; j < n_pairs; j++, w += 4) {                       \
            __m512i w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];              \
            __asm__("" : "+v"(w0), "+v"(w1), "+v"(w2), "+v"(w3));            \
            EACH_##T(BOOK_STEP)                                              \
        }                                                                    \
        BOOK_END(T)                                                          \
    }

DEFINE_BOOK(1)
DEFINE_BOOK(2)
DEFINE_BOOK(3)
DEFINE_BOOK(4)
DEFINE_BOOK(5)
DEFINE_BOOK(6)

static packed_tile_fn *const book_tiles[] = {NULL, book_1, book_2, book_3, book_4, book_5, book_6};

/* ---- codes straight into products ------------------------------------------------------------ */

#define DIRECT_0(t) MAC2_AT(s##t##0, w, x##t + k);
#define DIRECT_1(t) MAC2_AT(s##t##1, w, x##t + k);
#define DIRECT_2(t) MAC2_AT(s##t##2, w, x##t + k);
#define DIRECT_3(t) MAC2_AT(s##t##3, w, x##t + k);
#define PAIR_OF_STRIP(T, i, pair)                                  \
    {                                                              \
        const __m512i w = look_up4(v##i, pair, book);              \
        EACH_##T(DIRECT_##i)                                       \
    }
#define PAIR_OF_ALL(T, pair)                                        \
    PAIR_OF_STRIP(T, 0, pair) PAIR_OF_STRIP(T, 1, pair)             \
    PAIR_OF_STRIP(T, 2, pair) PAIR_OF_STRIP(T, 3, pair) k += 2;

#define DEFINE_DIRECT4(T)                                                                \
    static void direct4_##T(const struct packed_tile *a) {                               \
        const unsigned char *q = a->codes;                                               \
        const __m512i book = *(const __m512i *)a->table;                                 \
        const size_t ahead = a->ahead;                                                   \
        EACH_##T(BOOK_DECLARE)                                                           \
        for (size_t k = 0; k < a->n_cols; q += PACKED_CHUNK_BYTES) {                     \
            fetch_chunk(q + ahead);                                                      \
            const __m512i v0 = load_codes(q), v1 = load_codes(q + 64);                   \
            const __m512i v2 = load_codes(q + 128), v3 = load_codes(q + 192);            \
            PAIR_OF_ALL(T, 0) PAIR_OF_ALL(T, 1) PAIR_OF_ALL(T, 2) PAIR_OF_ALL(T, 3)      \
        }                                                                                \
        BOOK_END(T)                                                                      \
    }

DEFINE_DIRECT4(1)
DEFINE_DIRECT4(2)
DEFINE_DIRECT4(3)
DEFINE_DIRECT4(4)
DEFINE_DIRECT4(5)
DEFINE_DIRECT4(6)

#define STRIP8(T, i)                                                       \
    {                                                                      \
        __m512i w, w2;                                                     \
        look_up8(&w, &w2, load_codes(q + 64 * i), &book);                  \
        EACH_##T(DIRECT_##i)                                               \
        w = w2, k += 2;                                                    \
        EACH_##T(DIRECT_##i)                                               \
        k -= 2;                                                            \
    }

#define DEFINE_DIRECT8(T)                                                                \
    static void direct8_##T(const struct packed_tile *a) {                               \
        const unsigned char *q = a->codes;                                               \
        const struct book book = *(const struct book *)a->table;                         \
        const size_t ahead = a->ahead;                                                   \
        EACH_##T(BOOK_DECLARE)                                                           \
        for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES) {             \
            fetch_chunk(q + ahead);                                                      \
            STRIP8(T, 0) STRIP8(T, 1) STRIP8(T, 2) STRIP8(T, 3)                          \
        }                                                                                \
        BOOK_END(T)                                                                      \
    }

DEFINE_DIRECT8(1)
DEFINE_DIRECT8(2)
DEFINE_DIRECT8(3)
DEFINE_DIRECT8(4)
DEFINE_DIRECT8(5)
DEFINE_DIRECT8(6)

static packed_tile_fn *const direct4[] = {NULL, direct4_1, direct4_2, direct4_3,
                                         direct4_4, direct4_5, direct4_6};
static packed_tile_fn *const direct8[] = {NULL, direct8_1, direct8_2, direct8_3,
                                         direct8_4, direct8_5, direct8_6};

/* ---- the call -------------------------------------------------------------------------------- */

/* Apart, so that no arithmetic moves out of the mode it is meant for. */
static __attribute__((noinline)) void book_products(const struct packed_args *a,
                                                    const struct packed_parts *parts) {
    packed_tiles_matmul(a, parts);
}

static void book_matmul(const struct packed_args *a) {
    struct book book8;
    __m512i book4;
    struct packed_parts parts = {.dot = book_tiles, .n_tokens = BOOK_TILE, .n_direct = BOOK_DIRECT,
                                 .direct_most = BOOK_DIRECT};
    if (a->token_end - a->token_begin > BOOK_TILE)
        parts.numbers = avx512_packed_numbers;
    if (a->w->bits == 8) {
        book8_init(&book8, a->w->code);
        parts.table = &book8, parts.unpack = unpack8, parts.direct = direct8;
    } else {
        book4 = book4_of(a->w->code);
        parts.table = &book4, parts.unpack = unpack4, parts.direct = direct4;
    }
    struct packed_args products = *a;
    products.bias = NULL;
    const struct flushing f = flush_begin();
    book_products(&products, &parts);
    flush_end(f);
    packed_add_bias(a);
}

#endif
