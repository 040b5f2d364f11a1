/* An adapter's directory: the configuration up to the first zero byte, the weights behind it. */
#include <string.h>

#include "formats/peft_adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    struct peft_adapter *a = NULL;
    struct quern_error err;
    if (!zero)
        return 0;
    const size_t n = (size_t)(zero - data);
    if (peft_adapter_parse((const char *)data, n, zero + 1, size - n - 1, "fuzz", &a, &err))
        return 0;
    for (size_t i = 0; i < peft_adapter_count(a); i++)
        if (peft_adapter_find(a, peft_adapter_at(a, i)->name) != peft_adapter_at(a, i))
            __builtin_trap();
    peft_adapter_close(a);
    return 0;
}
