#include "cli/term_text.h"

enum quern_status term_text_append(struct str text, struct buffer *out) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool has_next = i + 1 < text.len;
        if (c == 0xC2 && has_next && (unsigned char)text.ptr[i + 1] < 0xA0) {
            buffer_puts(out, "\xEF\xBF\xBD");
            i++;
        } else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
            buffer_putc(out, '^');
            buffer_putc(out, (char)(c ^ 0x40));
        } else {
            buffer_putc(out, (char)c);
        }
    }
    return out->failed;
}
