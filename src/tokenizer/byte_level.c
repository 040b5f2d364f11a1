#include "tokenizer/byte_level.h"

/* Code points 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for the bytes of that value; the
 * other 68 bytes, in order, for 0x100 and up: 0x00-0x20, 0x7F-0xA0, 0xAD. */
enum { FIRST_MOVED = 0x100, N_MOVED = 68, N_LOW = 0x21, N_HIGH = 0xA1 - 0x7F };

static int byte_of(unsigned c) {
    if (c >= FIRST_MOVED) {
        unsigned i = c - FIRST_MOVED;
        if (i < N_LOW)
            return (int)i;
        if (i < N_LOW + N_HIGH)
            return (int)(i - N_LOW + 0x7F);
        return i < N_MOVED ? 0xAD : -1;
    }
    bool itself = (c > 0x20 && c < 0x7F) || (c > 0xA0 && c != 0xAD);
    return itself ? (int)c : -1;
}

bool byte_level_decode(struct str spelling, unsigned char *out, size_t *len) {
    const unsigned char *p = (const unsigned char *)spelling.ptr;
    const unsigned char *end = spelling.len ? p + spelling.len : p;
    unsigned char *start = out;
    while (p < end) {
        if ((unsigned)(*p - 0x21) < 0x5E) {
            *out++ = *p++;
            continue;
        }
        /* Two bytes reach 0x7FF, and the alphabet ends at 0x143. */
        if (*p < 0xC2 || *p > 0xC5)
            return false;
        int byte = byte_of((unsigned)(p[0] & 0x1F) << 6 | (p[1] & 0x3F));
        if (byte < 0)
            return false;
        *out++ = (unsigned char)byte;
        p += 2;
    }
    *len = (size_t)(out - start);
    return true;
}

void byte_level_encode(struct str bytes, struct buffer *out) {
    for (size_t i = 0; i < bytes.len; i++) {
        const unsigned b = (unsigned char)bytes.ptr[i];
        unsigned c = b;
        if (b < N_LOW)
            c = FIRST_MOVED + b;
        else if (b >= 0x7F && b < 0xA1)
            c = FIRST_MOVED + N_LOW + (b - 0x7F);
        else if (b == 0xAD)
            c = FIRST_MOVED + N_MOVED - 1;
        if (c < 0x80)
            buffer_putc(out, (char)c);
        else
            buffer_append(out, (char[]){(char)(0xC0 | c >> 6), (char)(0x80 | (c & 0x3F))}, 2);
    }
}
