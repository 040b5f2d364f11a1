#include "formats/hf_config_edit.h"

#include "base/os.h"

enum { CONFIG_BYTES_MAX = 16 << 20, PATH_BYTES = 4096 };

/* Older readers look at torch_dtype, newer ones at dtype. */
static bool set_dtype(json_t *root, enum dtype t) {
    const char *name = t == DTYPE_F32 ? "float32" : t == DTYPE_F16 ? "float16" : "bfloat16";
    const bool is_new = json_object_get(root, "dtype") != NULL;
    bool ok = true;
    if (is_new)
        ok = !json_object_set_new(root, "dtype", json_string(name));
    if (ok && (!is_new || json_object_get(root, "torch_dtype")))
        ok = !json_object_set_new(root, "torch_dtype", json_string(name));
    return ok;
}

static bool apply(const struct hf_config_edit *edit, json_t *root) {
    bool ok = true;
    if (edit->drop_quantization) {
        json_object_del(root, "quantization_config");
        json_object_del(root, "compression_config");
    }
    if (edit->quantization)
        ok = !json_object_set(root, "quantization_config", edit->quantization);
    if (edit->dtype)
        ok = ok && set_dtype(root, *edit->dtype);
    if (edit->untie)
        ok = ok && !json_object_set_new(root, "tie_word_embeddings", json_false());
    return ok;
}

enum quern_status hf_config_copy(const char *from_dir, const char *to_dir,
                                 const struct hf_config_edit *edit, struct quern_error *err) {
    char from[PATH_BYTES], to[PATH_BYTES];
    json_t *root = NULL;
    struct buffer b;
    buffer_init(&b, CONFIG_BYTES_MAX);
    enum quern_status st = os_path_join(from, sizeof from, from_dir, "config.json", err);
    if (st == QUERN_OK)
        st = os_path_join(to, sizeof to, to_dir, "config.json", err);
    if (st == QUERN_OK)
        st = json_load_regular(from, CONFIG_BYTES_MAX, &root, err);
    if (st == QUERN_OK && !apply(edit, root))
        st = error_nomem(err);
    if (st == QUERN_OK) {
        json_write_python(root, 2, &b);
        buffer_putc(&b, '\n');
        st = buffer_status(&b, "config.json", err);
    }
    if (st == QUERN_OK)
        st = os_write_file(to, b.data, b.len, err);
    buffer_release(&b);
    json_decref(root);
    return st;
}
