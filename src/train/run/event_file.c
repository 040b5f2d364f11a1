#include "train/run/event_file.h"

#include <string.h>

/* Castagnoli's polynomial, reflected. Records are a few dozen bytes: no table needed. */
uint32_t crc32c(const void *data, size_t n) {
    const unsigned char *p = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~crc;
}

/* TFRecord rotates, so that the CRC of data with a CRC in it is no special number. */
static uint32_t masked(const void *data, size_t n) {
    const uint32_t crc = crc32c(data, n);
    return (crc >> 15 | crc << 17) + UINT32_C(0xA282EAD8);
}

static void put_fixed(uint64_t value, int bytes, struct buffer *out) {
    for (int i = 0; i < bytes; i++)
        buffer_putc(out, (char)(value >> 8 * i & 0xFF));
}

static void put_varint(uint64_t value, struct buffer *out) {
    for (; value >= 0x80; value >>= 7)
        buffer_putc(out, (char)((value & 0x7F) | 0x80));
    buffer_putc(out, (char)value);
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_tag(unsigned field, unsigned type, struct buffer *out) {
    put_varint(field << 3 | type, out);
}

static void put_bytes(unsigned field, struct str bytes, struct buffer *out) {
    put_tag(field, BYTES, out);
    put_varint(bytes.len, out);
    buffer_append_str(out, bytes);
}

static void put_time(double wall_s, struct buffer *out) {
    uint64_t bits;
    memcpy(&bits, &wall_s, sizeof bits);
    put_tag(1, FIXED64, out);
    put_fixed(bits, 8, out);
}

static void put_record(const struct buffer *event, struct buffer *out) {
    struct buffer length;
    buffer_init(&length, 16);
    put_fixed(event->len, 8, &length);
    buffer_append_str(out, buffer_str(&length));
    put_fixed(masked(length.data, length.len), 4, out);
    buffer_append_str(out, buffer_str(event));
    put_fixed(masked(event->data, event->len), 4, out);
    if ((event->failed || length.failed) && !out->failed)
        out->failed = QUERN_ERR_NOMEM;
    buffer_release(&length);
}

void event_file_header(double wall_s, struct buffer *out) {
    struct buffer event;
    buffer_init(&event, 1 << 16);
    put_time(wall_s, &event);
    put_bytes(3, STR_LIT("brain.Event:2"), &event);
    put_record(&event, out);
    buffer_release(&event);
}

void event_file_scalar(double wall_s, int64_t step, const char *tag, float value,
                       struct buffer *out) {
    struct buffer event, summary, scalar;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    buffer_init(&event, 1 << 16);
    buffer_init(&summary, 1 << 16);
    buffer_init(&scalar, 1 << 16);
    put_bytes(1, str_from(tag), &scalar);
    put_tag(2, FIXED32, &scalar);
    put_fixed(bits, 4, &scalar);
    put_bytes(1, buffer_str(&scalar), &summary);
    put_time(wall_s, &event);
    put_tag(2, VARINT, &event);
    put_varint((uint64_t)step, &event);
    put_bytes(5, buffer_str(&summary), &event);
    put_record(&event, out);
    buffer_release(&scalar);
    buffer_release(&summary);
    buffer_release(&event);
}
