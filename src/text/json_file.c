#include "base/os.h"
#include "text/json.h"

enum quern_status json_load_path(const char *path, size_t max_bytes, json_t **out,
                                 struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, max_bytes);
    enum quern_status status = os_read_file(path, max_bytes, &text, err);
    if (!status)
        status = json_parse(text.data, text.len, path, out, err);
    buffer_release(&text);
    return status;
}
