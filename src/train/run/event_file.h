/* event_file.h - numbers for TensorBoard: a TFRecord file of Event messages.
 *
 * A record: u64 length, u32 masked CRC-32C of the length, the bytes, u32 masked CRC-32C of them; all
 * little-endian. An Event (protobuf): 1: wall_time, double; 2: step, int64; 3: file_version, string;
 * 5: summary { 1: value { 1: tag, string; 2: simple_value, float } }. */
#ifndef QUERN_TRAIN_EVENT_FILE_H
#define QUERN_TRAIN_EVENT_FILE_H

#include <stdint.h>

#include "base/buffer.h"

/* Appends one event; `wall_s` since 1970. */
void event_file_header(double wall_s, struct buffer *out);
void event_file_scalar(double wall_s, int64_t step, const char *tag, float value,
                       struct buffer *out);

uint32_t crc32c(const void *data, size_t n);

#endif
