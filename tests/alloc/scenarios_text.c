#include <stdlib.h>
#include <string.h>

#include "alloc/scenarios.h"
#include "support/support.h"
#include "text/json.h"
#include "tokenizer/tokenizer.h"

static struct str tokenizer_json(void) {
    static char *text; /* read by the first run, in which nothing fails */
    static size_t size;
    if (!text)
        text = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    return (struct str){text, size};
}

static enum quern_status load_a_tokenizer(struct quern_error *err) {
    struct tokenizer *t = NULL;
    enum quern_status status = tokenizer_parse(tokenizer_json(), "tokenizer.json", &t, err);
    if (!status && tokenizer_added_id(t, STR_LIT("<|im_end|>")) == TOKENIZER_NONE)
        status = error_set(err, QUERN_ERR_STATE, "an added token is missing");
    tokenizer_close(t);
    return status;
}

/* Loading aside: the tokenizer of the first run serves all later ones. */
static enum quern_status encode_and_decode(struct quern_error *err) {
    static struct tokenizer *t;
    static const char text[] =
        "<|im_start|>user\nHello, w\xc3\xb6rld! \xf0\x9f\x8e\x89 123 "
        "e\xcc\x81 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "<|im_end|>";
    enum quern_status status = QUERN_OK;
    if (!t)
        status = tokenizer_parse(tokenizer_json(), "tokenizer.json", &t, err);
    struct token_ids ids = {0};
    struct buffer back;
    buffer_init(&back, 10000);
    if (!status)
        status = tokenizer_encode(t, str_from(text), (struct encode_options){.parse_special = true},
                                  &ids, err);
    if (!status)
        status = tokenizer_decode(t, ids.ids, ids.n, false, &back, err);
    /* NFC joins the e and its accent. */
    if (!status && !strstr(back.data, "123 \xc3\xa9 aaaa"))
        status = error_set(err, QUERN_ERR_STATE, "the text came back as \"%s\"", back.data);
    token_ids_release(&ids);
    buffer_release(&back);
    return status;
}

const struct scenario text_scenarios[] = {
    {"load_a_tokenizer", load_a_tokenizer},
    {"encode_and_decode", encode_and_decode},
    {NULL, NULL},
};
