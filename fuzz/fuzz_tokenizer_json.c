/* Any bytes as tokenizer.json. What loads must encode and decode without harm, with ids in range.
 */
#include <stdlib.h>

#include "base/log.h"
#include "tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct tokenizer *t) {
    static const char text[] = "Hello <x> w\xC3\xB6rld 123  \n don't e\xCC\x81 "
                               "\xE4\xBD\xA0\xE5\xA5\xBD \xFF aaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct token_ids ids = {0};
    struct buffer out;
    struct quern_error err;
    buffer_init(&out, 1 << 20);
    for (int i = 0; i < 4; i++) {
        struct encode_options options = {.parse_special = i & 1, .add_special = i & 2};
        if (tokenizer_encode(t, (struct str){text, sizeof text - 1}, options, &ids, &err))
            continue; /* a pattern may give up */
        for (size_t k = 0; k < ids.n; k++)
            if (ids.ids[k] < 0 || ids.ids[k] >= tokenizer_n_tokens(t))
                abort();
    }
    if (tokenizer_decode(t, ids.ids, ids.n, true, &out, &err) == QUERN_ERR_ARG)
        abort();
    int32_t n = tokenizer_n_tokens(t);
    for (int32_t id = -1; id <= n && id < 2000; id++)
        if (tokenizer_is_added(t, id) && tokenizer_added_id(t, tokenizer_token_bytes(t, id)) != id)
            abort();
    token_ids_release(&ids);
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tokenizer *t = NULL;
    struct quern_error err;
    log_set_level(LOG_ERROR);
    if (tokenizer_parse((struct str){(const char *)data, size}, "tokenizer.json", &t, &err) ==
        QUERN_OK)
        use(t);
    tokenizer_close(t);
    return 0;
}
