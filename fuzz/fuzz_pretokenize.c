/* Any text: the hand-written scanner cuts it where the pattern itself does. The first byte chooses
 * between Qwen's pattern and Llama 3's. */
#include <stdlib.h>

#include "text/unicode.h"
#include "tokenizer/pcre_splitter.h"
#include "tokenizer/qwen_scanner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[] = {QWEN_PATTERN, LLAMA3_PATTERN};

static const struct pcre_splitter *compiled(int which) {
    static struct pcre_splitter *splitters[2];
    if (!splitters[which] &&
        pcre_splitter_create(str_from(patterns[which]), false, &splitters[which], NULL))
        abort();
    return splitters[which];
}

static void compare(struct str text, int which) {
    struct pcre_scratch scratch = {0};
    for (size_t at = 0, end; at < text.len; at = end) {
        struct pcre_match m;
        end = qwen_scanner_next(text, at, qwen_scanner_digits(str_from(patterns[which])));
        if (pcre_splitter_find(compiled(which), &scratch, text, at, &m, NULL) || !m.found ||
            m.begin != at || m.end != end)
            abort();
    }
    pcre_scratch_release(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buffer text;
    if (size == 0)
        return 0;
    buffer_init(&text, 16 * size + 16);
    if (utf8_sanitize((struct str){(const char *)data + 1, size - 1}, &text) == QUERN_OK)
        compare(buffer_str(&text), data[0] & 1);
    buffer_release(&text);
    return 0;
}
