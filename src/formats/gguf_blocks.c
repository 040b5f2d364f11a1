#include "formats/gguf_blocks.h"

#include <string.h>

enum { K_SCALES = 12 }; /* bytes of a Q4_K's or Q3_K's scales */

static float half_at(const unsigned char *p) {
    return f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* ---- blocks of 32 ------------------------------------------------------------------------- */

/* 32 codes of 4 bits: the first 16 in the low halves. */
static void split_halves(const unsigned char *p, uint8_t *q) {
    for (size_t j = 0; j < 16; j++) {
        q[j] = p[j] & 15;
        q[16 + j] = p[j] >> 4;
    }
}

static void fifth_bits(const unsigned char *p, uint8_t *q) {
    for (size_t j = 0; j < 32; j++)
        q[j] = (uint8_t)(q[j] | (p[j / 8] >> j % 8 & 1) << 4);
}

static void read_q4_0(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    scale[0] = half_at(b);
    zero[0] = 8;
    split_halves(b + 2, q);
}

static void read_q4_1(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    scale[0] = half_at(b);
    zero[0] = -half_at(b + 2);
    split_halves(b + 4, q);
}

static void read_q5_0(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    scale[0] = half_at(b);
    zero[0] = 16;
    split_halves(b + 6, q);
    fifth_bits(b + 2, q);
}

static void read_q5_1(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    scale[0] = half_at(b);
    zero[0] = -half_at(b + 2);
    split_halves(b + 8, q);
    fifth_bits(b + 4, q);
}

static void read_q8_0(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    scale[0] = half_at(b);
    zero[0] = 128;
    for (size_t j = 0; j < 32; j++)
        q[j] = b[2 + j] ^ 0x80;
}

static void read_iq4_nl(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    (void)zero;
    scale[0] = half_at(b);
    split_halves(b + 2, q);
}

/* ---- blocks of 256 ------------------------------------------------------------------------ */

/* Eight scales and eight minima of 6 bits: four of each in whole bytes, whose two upper bits
 * belong to the other four. */
static void k_scales(const unsigned char *b, float *scale, float *zero) {
    const float d = half_at(b), dmin = half_at(b + 2);
    const unsigned char *s = b + 4;
    for (size_t j = 0; j < 4; j++) {
        scale[j] = d * (float)(s[j] & 63);
        zero[j] = dmin * (float)(s[4 + j] & 63);
        scale[4 + j] = d * (float)((s[8 + j] & 15) | (s[j] >> 6) << 4);
        zero[4 + j] = dmin * (float)(s[8 + j] >> 4 | (s[4 + j] >> 6) << 4);
    }
}

static void k_halves(const unsigned char *p, uint8_t *q) {
    for (size_t i = 0; i < 4; i++, p += 32, q += 64)
        for (size_t j = 0; j < 32; j++) {
            q[j] = p[j] & 15;
            q[32 + j] = p[j] >> 4;
        }
}

static void read_q4_k(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    k_scales(b, scale, zero);
    k_halves(b + 4 + K_SCALES, q);
}

static void read_q5_k(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    const unsigned char *high = b + 4 + K_SCALES;
    k_scales(b, scale, zero);
    k_halves(high + 32, q);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 32; j++)
            q[32 * i + j] = (uint8_t)(q[32 * i + j] | (high[j] >> i & 1) << 4);
}

static void read_q6_k(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    const unsigned char *low = b, *high = b + 128, *scales = b + 192;
    const float d = half_at(b + 208);
    for (size_t g = 0; g < 16; g++) {
        scale[g] = d * (float)(int8_t)scales[g];
        zero[g] = 32;
    }
    for (size_t half = 0; half < 2; half++, low += 64, high += 32, q += 128)
        for (size_t j = 0; j < 32; j++) {
            q[j] = (uint8_t)((low[j] & 15) | (high[j] & 3) << 4);
            q[32 + j] = (uint8_t)((low[32 + j] & 15) | (high[j] >> 2 & 3) << 4);
            q[64 + j] = (uint8_t)(low[j] >> 4 | (high[j] >> 4 & 3) << 4);
            q[96 + j] = (uint8_t)(low[32 + j] >> 4 | (high[j] >> 6) << 4);
        }
}

/* 256 codes of 2 bits: of every 128, code 32 i + j is pair i of byte j. */
static void k_pairs(const unsigned char *p, uint8_t *q) {
    for (size_t half = 0; half < 2; half++, p += 32, q += 128)
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 32; j++)
                q[32 * i + j] = p[j] >> 2 * i & 3;
}

static void read_q2_k(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (size_t g = 0; g < 16; g++) {
        scale[g] = d * (float)(b[g] & 15);
        zero[g] = dmin * (float)(b[g] >> 4);
    }
    k_pairs(b + 16, q);
}

/* The third bit says that 4 is not taken away: that is a code of 3 bits with zero 4. */
static void read_q3_k(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    const unsigned char *s = b + 96;
    const float d = half_at(b + 108);
    for (size_t g = 0; g < 16; g++) {
        const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
        const int high = s[8 + g % 4] >> 2 * (g / 4) & 3;
        scale[g] = d * (float)((low | high << 4) - 32);
        zero[g] = 4;
    }
    k_pairs(b + 32, q);
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 32; j++)
            q[32 * i + j] = (uint8_t)(q[32 * i + j] | (b[j] >> i & 1) << 2);
}

static void read_iq4_xs(const unsigned char *b, uint8_t *q, float *scale, float *zero) {
    const float d = half_at(b);
    const unsigned high = (unsigned)(b[2] | b[3] << 8);
    (void)zero;
    for (size_t g = 0; g < 8; g++) {
        const int low = b[4 + g / 2] >> 4 * (g % 2) & 15;
        scale[g] = d * (float)((low | (int)(high >> 2 * g & 3) << 4) - 32);
        split_halves(b + 8 + 16 * g, q + 32 * g);
    }
}

/* ---- the table ----------------------------------------------------------------------------- */

typedef void read_block_fn(const unsigned char *block, uint8_t *q, float *scale, float *zero);

/* ggml's kvalues_iq4nl */
static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

struct type_entry {
    uint32_t number;
    struct ggml_type type;
    read_block_fn *read; /* NULL: plain, or not readable */
    struct quant_spec spec;
};

#define PLAIN(number, name, bytes, dtype) {number, {name, 1, bytes, dtype}, NULL, {0}}
#define BLOCK(number, name, elements, bytes, read, kind, bits, group) \
    {number, {name, elements, bytes, DTYPE_U8}, read, {kind, bits, group, NULL}}
#define CODES(number, name, elements, bytes, read, table) \
    {number, {name, elements, bytes, DTYPE_U8}, read, {QUANT_CODE, 4, 32, table}}
#define OTHER(number, name, elements, bytes) {number, {name, elements, bytes, DTYPE_U8}, NULL, {0}}

static const struct type_entry types[] = {
    PLAIN(0, "F32", 4, DTYPE_F32),
    PLAIN(1, "F16", 2, DTYPE_F16),
    PLAIN(24, "I8", 1, DTYPE_I8),
    PLAIN(25, "I16", 2, DTYPE_I16),
    PLAIN(26, "I32", 4, DTYPE_I32),
    PLAIN(27, "I64", 8, DTYPE_I64),
    PLAIN(28, "F64", 8, DTYPE_F64),
    PLAIN(30, "BF16", 2, DTYPE_BF16),
    BLOCK(2, "Q4_0", 32, 18, read_q4_0, QUANT_INT, 4, 32),
    BLOCK(3, "Q4_1", 32, 20, read_q4_1, QUANT_AFFINE, 4, 32),
    BLOCK(6, "Q5_0", 32, 22, read_q5_0, QUANT_INT, 8, 32),
    BLOCK(7, "Q5_1", 32, 24, read_q5_1, QUANT_AFFINE, 8, 32),
    BLOCK(8, "Q8_0", 32, 34, read_q8_0, QUANT_INT, 8, 32),
    BLOCK(10, "Q2_K", 256, 84, read_q2_k, QUANT_AFFINE, 4, 16),
    BLOCK(11, "Q3_K", 256, 110, read_q3_k, QUANT_INT, 4, 16),
    BLOCK(12, "Q4_K", 256, 144, read_q4_k, QUANT_AFFINE, 4, 32),
    BLOCK(13, "Q5_K", 256, 176, read_q5_k, QUANT_AFFINE, 8, 32),
    BLOCK(14, "Q6_K", 256, 210, read_q6_k, QUANT_INT, 8, 16),
    CODES(20, "IQ4_NL", 32, 18, read_iq4_nl, iq4_values),
    CODES(23, "IQ4_XS", 256, 136, read_iq4_xs, iq4_values),
    /* Known by size only, so that the message about them can name them. */
    OTHER(9, "Q8_1", 32, 40),
    OTHER(15, "Q8_K", 256, 292),
    OTHER(16, "IQ2_XXS", 256, 66),
    OTHER(17, "IQ2_XS", 256, 74),
    OTHER(18, "IQ3_XXS", 256, 98),
    OTHER(19, "IQ1_S", 256, 50),
    OTHER(21, "IQ3_S", 256, 110),
    OTHER(22, "IQ2_S", 256, 82),
    OTHER(29, "IQ1_M", 256, 56),
    OTHER(34, "TQ1_0", 256, 54),
    OTHER(35, "TQ2_0", 256, 66),
    OTHER(39, "MXFP4", 32, 17),
};
enum { N_TYPES = sizeof types / sizeof *types };

static const struct type_entry *find(uint32_t type) {
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].number == type)
            return &types[i];
    return NULL;
}

const struct ggml_type *ggml_type_find(uint32_t type) {
    const struct type_entry *entry = find(type);
    return entry ? &entry->type : NULL;
}

/* ctx: the table's entry and the data; number[0]: the interleaved heads (few: a float is exact). */
static void read_rows(const struct quant_source *s, size_t first, size_t n, uint8_t *q,
                      float *scale, float *zero) {
    const struct type_entry *entry = s->ctx[0];
    const size_t elements = entry->type.elements, bytes = entry->type.block_bytes;
    const size_t blocks = s->cols / elements, groups = elements / s->spec.group;
    const size_t interleaved_heads = (size_t)s->number[0];
    for (size_t r = first; r < first + n; r++) {
        const unsigned char *b = (const unsigned char *)s->ctx[1] +
                                 gguf_stored_row(r, s->rows, interleaved_heads) * blocks * bytes;
        for (size_t i = 0; i < blocks; i++) {
            entry->read(b, q, scale, zero);
            b += bytes;
            q += elements;
            scale += groups;
            zero += groups;
        }
    }
}

bool ggml_type_source(uint32_t type, const void *data, size_t rows, size_t cols,
                      size_t interleaved_heads, struct quant_source *out) {
    const struct type_entry *entry = find(type);
    if (!entry || !entry->read)
        return false;
    *out = (struct quant_source){
        .spec = entry->spec,
        .rows = rows,
        .cols = cols,
        .read_rows = read_rows,
        .ctx = {entry, data},
        .number = {(float)interleaved_heads},
    };
    return true;
}
