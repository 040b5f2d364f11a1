/* cli_format.h - numbers as people read and write them. */
#ifndef QUERN_CLI_CLI_FORMAT_H
#define QUERN_CLI_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_NUMBER_BYTES = 40 };

/* "596,049,920"; both return out. */
const char *cli_format_count(int64_t n, char out[CLI_NUMBER_BYTES]);
/* "1.19 GB": powers of 1000, three digits. */
const char *cli_format_bytes(double n, char out[CLI_NUMBER_BYTES]);

/* "5GB", "1.5 GiB", "200M", "4096": a size of at least one byte. KB, MB, GB, TB are powers of 1000,
 * KiB and so on of 1024. */
bool cli_parse_bytes(const char *text, size_t *out);

#endif
