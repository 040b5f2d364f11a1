/* config_file.h - an INI file with the long names of options as keys. */
#ifndef QUERN_SERVER_CONFIG_FILE_H
#define QUERN_SERVER_CONFIG_FILE_H

#include "base/options.h"

enum { CONFIG_FILE_ENTRIES_MAX = 256 };

/* What a file says, as words of a command line: "--port=8080". */
struct config_file {
    char *args[CONFIG_FILE_ENTRIES_MAX]; /* own; options keep pointing into them */
    size_t n;
};

/*     [server]
 *     port = 8080
 *     model = demo=/srv/models/quern-demo    ; may come several times
 *     allow-no-key = yes
 * Sections only group. Flags take yes/no, true/false, on/off, 1/0. An unknown key is an error that
 * gives file and line. */
enum quern_status config_file_read(const char *path, const struct option_spec *specs,
                                   struct config_file *out, struct quern_error *err);
void config_file_release(struct config_file *f); /* zeroed is fine */

#endif
