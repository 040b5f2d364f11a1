#include "kernels/peaks.h"

#include <string.h>

#include "kernels/peaks_tables.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Beyond what kernels_available() vouches for. */
struct dot_products {
    bool avx512_vnni, avx512_bf16, avx_vnni;
};

static struct dot_products detect(void) {
    struct dot_products found = {false, false, false};
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        found.avx512_vnni = c >> 11 & 1;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        found.avx512_bf16 = a >> 5 & 1;
        found.avx_vnni = a >> 4 & 1;
    }
    return found;
}

struct peaks peaks_of_cpu(void) {
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    const struct dot_products has = detect();
    struct peaks p = {.read = NULL};
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tables[i]->name, "avx2") == 0) {
            p.compute[PEAK_F32] = avx2_peak_f32;
            p.compute[PEAK_INT8] = has.avx_vnni ? avx2_peak_int8 : NULL;
            p.read = avx2_peak_read;
        } else if (strcmp(tables[i]->name, "avx512") == 0) {
            p.compute[PEAK_F32] = avx512_peak_f32;
            p.compute[PEAK_BF16] = has.avx512_bf16 ? avx512_peak_bf16 : NULL;
            p.compute[PEAK_INT8] = has.avx512_vnni ? avx512_peak_int8 : p.compute[PEAK_INT8];
            p.read = avx512_peak_read;
        }
    }
    return p;
}
#else
struct peaks peaks_of_cpu(void) {
    return (struct peaks){.read = NULL};
}
#endif
