/* kernels.c - which tables this CPU runs. */
#include "kernels/kernels.h"

#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "base/os.h"
#include "kernels/tables.h"

#if defined(__x86_64__)
#include <cpuid.h>

struct cpu_features {
    bool avx2, avx512, avx512vnni, avx512bf16, avx512amx, avx512amxbf16;
};

/* What the operating system saves on a task switch; an instruction set counts only with its
 * registers here. */
static uint64_t read_xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool has_all(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

static struct cpu_features detect(void) {
    const uint64_t osxsave = 1u << 27, fma = 1u << 12, f16c = 1u << 29;
    const uint64_t avx2 = 1u << 5;
    const uint64_t avx512_f = 1u << 16, avx512_dq = 1u << 17, avx512_bw = 1u << 30, avx512_vl = 1u << 31;
    const uint64_t xcr0_ymm = 0x06, xcr0_zmm = 0xE6;
    const uint64_t vnni = 1u << 11; /* in ecx, the others in ebx */
    const uint64_t vbmi = 1u << 1;  /* in ecx too */
    const uint64_t avx512_bf16 = 1u << 5; /* of leaf 7, 1 */
    const uint64_t amx = 3u << 24;  /* in edx: tiles, and int8 */
    const uint64_t amx_bf16 = 1u << 22;
    const uint64_t xcr0_tiles = 3u << 17;
    struct cpu_features none = {.avx2 = false}, found;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, osxsave | fma | f16c))
        return none;
    uint64_t xcr0 = read_xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return none;
    found.avx2 = has_all(b, avx2) && has_all(xcr0, xcr0_ymm);
    found.avx512 = found.avx2 && has_all(b, avx512_f | avx512_dq | avx512_bw | avx512_vl) &&
                   has_all(xcr0, xcr0_zmm);
    found.avx512vnni = found.avx512 && has_all(c, vnni);
    const bool has_amx = has_all(d, amx) && has_all(xcr0, xcr0_tiles), has_amx_bf16 = has_all(d, amx_bf16);
    found.avx512bf16 = found.avx512vnni && has_all(c, vbmi) && a >= 1 &&
                       __get_cpuid_count(7, 1, &a, &b, &c, &d) && has_all(a, avx512_bf16);
    /* Linux gives the tiles' registers to those who ask. */
    found.avx512amx = found.avx512bf16 && has_amx && os_permit_tiles();
    found.avx512amxbf16 = found.avx512amx && has_amx_bf16;
    return found;
}

const struct kernels *const *kernels_available(size_t *n) {
    static const struct kernels *const tables[] = {&kernels_generic, &kernels_avx2, &kernels_avx512,
                                                   &kernels_avx512vnni, &kernels_avx512bf16,
                                                   &kernels_avx512amx, &kernels_avx512amxbf16};
    struct cpu_features cpu = detect();
    /* Each has all that the one before has. */
    *n = 1u + cpu.avx2 + cpu.avx512 + cpu.avx512vnni + cpu.avx512bf16 + cpu.avx512amx + cpu.avx512amxbf16;
    return tables;
}
#elif defined(__aarch64__)
static bool has_dot_products(void) {
#if defined(__ARM_FEATURE_DOTPROD) /* the whole build takes it for granted, as on macOS */
    return true;
#else
    const unsigned long asimddp = 1ul << 20;
    return os_hwcap() & asimddp;
#endif
}

/* Products of small matrices, of bytes and of bfloat16: ARMv8.6 has both, and no CPU is known with one alone. */
static bool has_matrix_products(void) {
#if defined(__ARM_FEATURE_MATMUL_INT8) && defined(__ARM_FEATURE_BF16)
    return true;
#else
    const unsigned long i8mm = 1ul << 13, bf16 = 1ul << 14;
    return (os_hwcap2() & (i8mm | bf16)) == (i8mm | bf16);
#endif
}

/* Every 64-bit ARM has NEON. */
const struct kernels *const *kernels_available(size_t *n) {
    static const struct kernels *const tables[] = {&kernels_generic, &kernels_neon, &kernels_neondot,
                                                   &kernels_neonmmla};
    *n = !has_dot_products() ? 2 : !has_matrix_products() ? 3 : 4;
    return tables;
}
#else
const struct kernels *const *kernels_available(size_t *n) {
    static const struct kernels *const tables[] = {&kernels_generic};
    *n = 1;
    return tables;
}
#endif

enum quern_status kernels_select(const char *name, const struct kernels **out,
                                 struct quern_error *err) {
    size_t n;
    const struct kernels *const *tables = kernels_available(&n);
    if (!name || strcmp(name, "auto") == 0) {
        *out = tables[n - 1];
        return QUERN_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name, tables[i]->name) == 0) {
            *out = tables[i];
            return QUERN_OK;
        }
    }
    struct buffer names;
    buffer_init(&names, 256);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&names, " %s", tables[i]->name);
    enum quern_status status =
        error_set(err, QUERN_ERR_UNSUPPORTED, "no CPU kernels called '%s' here; usable: auto%s", name,
                  names.data ? names.data : "");
    buffer_release(&names);
    return status;
}
