/* Grammars in Lark's language. */
#include "form_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return form_target(ANSWER_LARK, data, size);
}
