/* amx_tiles.h - the instructions on tiles. Written as assembly: gcc 12's intrinsics do not say that they read
 * memory. The compiler uses no tiles itself, and they are released after each product, so that the system
 * need not save them. */
#ifndef QUERN_KERNELS_AVX512AMX_AMX_TILES_H
#define QUERN_KERNELS_AVX512AMX_AMX_TILES_H

#include <stddef.h>
#include <stdint.h>

struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct tile_config) == 64, "what ldtilecfg reads");

static inline void begin_tiles(const struct tile_config *config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*config));
}

static inline void end_tiles(void) {
    __asm__ volatile("tilerelease");
}

#define TILE_ZERO(n) __asm__ volatile("tilezero %%tmm" #n ::)
#define TILE_LOAD(n, p, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n : : "r"(p), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(n, p, stride) \
    __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" : : "r"(p), "r"((size_t)(stride)) : "memory")
/* sums += four signed bytes of x times four unsigned ones of w */
#define TILE_DOT(sums, x, w) __asm__ volatile("tdpbsud %%tmm" #w ", %%tmm" #x ", %%tmm" #sums ::)
/* sums += pairs of bfloat16: of the rows of a times those of the columns of b */
#define TILE_DOT_BF16(sums, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sums ::)

#endif
