#include "kernels/sampling_kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/kernels.h"

const struct sampling_kernels *sampling_kernels_named(const char *name) {
    static const struct sampling_kernels *const all[] = {
        &sampling_kernels_generic,
#if defined(__x86_64__)
        &sampling_kernels_avx2,
        &sampling_kernels_avx512,
#elif defined(__aarch64__)
        &sampling_kernels_neon,
#endif
    };
    for (size_t i = 1; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return all[0];
}

/* Asking the CPU takes microseconds on a virtual machine; once is enough. */
const struct sampling_kernels *sampling_kernels(void) {
    static _Atomic(const struct sampling_kernels *) known;
    const struct sampling_kernels *k = atomic_load_explicit(&known, memory_order_relaxed);
    size_t n;
    if (k)
        return k;
    k = &sampling_kernels_generic;
    const struct kernels *const *tables = kernels_available(&n);
    for (size_t i = 0; i < n; i++) {
        const struct sampling_kernels *named = sampling_kernels_named(tables[i]->name);
        k = named == &sampling_kernels_generic ? k : named;
    }
    atomic_store_explicit(&known, k, memory_order_relaxed);
    return k;
}
