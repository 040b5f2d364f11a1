#include "support/amx_emulator.h"

#if defined(__linux__) && defined(__x86_64__)
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "kernels/math.h"

enum { N_TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* What ldtilecfg reads. */
struct config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static struct config config;
static unsigned char tiles[N_TILES][ROWS][ROW_BYTES];
static unsigned long count;
static struct sigaction old_action;

/* VEX of three bytes, map 0F38, 128 bits, W0: what all of these have in common. */
struct decoded {
    unsigned prefix; /* 0: none, 1: 66, 2: F3, 3: F2 */
    unsigned opcode, mod, reg, rm, vvvv;
    uintptr_t base, index; /* of a memory operand; index already scaled */
    size_t length;
};

static uintptr_t general(const ucontext_t *u, unsigned i) {
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return (uintptr_t)u->uc_mcontext.gregs[order[i]];
}

static intptr_t displacement(const unsigned char *p, size_t bytes) {
    int32_t wide;
    if (bytes == 0)
        return 0;
    if (bytes == 1)
        return (int8_t)*p;
    memcpy(&wide, p, sizeof wide);
    return wide;
}

static bool decode(const ucontext_t *u, struct decoded *d) {
    const unsigned char *at = (const unsigned char *)u->uc_mcontext.gregs[REG_RIP], *p = at;
    if (p[0] != 0xC4 || (p[1] & 31) != 2 || (p[2] & 0x84) != 0)
        return false;
    const unsigned x = p[1] & 0x40 ? 0 : 8, b = p[1] & 0x20 ? 0 : 8;
    d->vvvv = ~(p[2] >> 3) & 15u;
    d->prefix = p[2] & 3;
    d->opcode = p[3];
    d->mod = p[4] >> 6;
    d->reg = p[4] >> 3 & 7;
    d->rm = p[4] & 7;
    p += 5;
    d->base = d->index = 0;
    if (d->mod != 3) {
        size_t bytes = d->mod == 1 ? 1 : d->mod == 2 ? 4 : 0;
        bool has_base = true;
        unsigned base = d->rm;
        if (d->rm == 4) {
            const unsigned sib = *p++, index = (sib >> 3 & 7) | x;
            base = sib & 7;
            if (index != 4)
                d->index = general(u, index) << (sib >> 6);
        }
        if (d->mod == 0 && base == 5) { /* no register; relative to the next instruction without SIB */
            has_base = false;
            bytes = 4;
        }
        const intptr_t moved = displacement(p, bytes);
        p += bytes;
        d->base = (uintptr_t)moved;
        if (has_base)
            d->base += general(u, base | b);
        else if (d->rm != 4)
            d->base += (uintptr_t)p;
    }
    d->length = (size_t)(p - at);
    return true;
}

static void load_config(const struct decoded *d) {
    memcpy(&config, (const void *)(d->base + d->index), sizeof config);
    memset(tiles, 0, sizeof tiles);
}

static void move_tile(const struct decoded *d, bool load) {
    if (load)
        memset(tiles[d->reg], 0, sizeof tiles[0]);
    for (size_t r = 0; r < config.rows[d->reg]; r++) {
        unsigned char *at = (unsigned char *)(d->base + r * d->index);
        if (load)
            memcpy(tiles[d->reg][r], at, config.row_bytes[d->reg]);
        else
            memcpy(at, tiles[d->reg][r], config.row_bytes[d->reg]);
    }
}

/* tdpbsud: signed bytes of one by unsigned ones of the other. */
static void dot(const struct decoded *d) {
    const unsigned to = d->reg, a = d->rm, b = d->vvvv;
    for (size_t m = 0; m < config.rows[to]; m++) {
        for (size_t n = 0; n < config.row_bytes[to] / 4u; n++) {
            int32_t sum;
            memcpy(&sum, tiles[to][m] + 4 * n, sizeof sum);
            for (size_t k = 0; k < config.row_bytes[a] / 4u; k++)
                for (size_t j = 0; j < 4; j++)
                    sum += (int8_t)tiles[a][m][4 * k + j] * (int)tiles[b][k][4 * n + j];
            memcpy(tiles[to][m] + 4 * n, &sum, sizeof sum);
        }
    }
}

/* tdpbf16ps, by the pseudocode of its manual: even and odd columns apart, then both to the sum. */
static void dot_bf16(const struct decoded *d) {
    const unsigned to = d->reg, a = d->rm, b = d->vvvv;
    for (size_t m = 0; m < config.rows[to]; m++) {
        for (size_t n = 0; n < config.row_bytes[to] / 4u; n++) {
            float sum, part[2] = {0.0f, 0.0f};
            for (size_t k = 0; k < config.row_bytes[a] / 4u; k++) {
                for (size_t j = 0; j < 2; j++) {
                    uint16_t x, y;
                    memcpy(&x, tiles[a][m] + 4 * k + 2 * j, sizeof x);
                    memcpy(&y, tiles[b][k] + 4 * n + 2 * j, sizeof y);
                    part[j] = mac_bf16(bf16_to_f32(x), bf16_to_f32(y), part[j]);
                }
            }
            memcpy(&sum, tiles[to][m] + 4 * n, sizeof sum);
            sum = flush_subnormal(flush_subnormal(sum) + flush_subnormal(part[0] + part[1]));
            memcpy(tiles[to][m] + 4 * n, &sum, sizeof sum);
        }
    }
}

static bool emulate(const struct decoded *d) {
    const bool is_configured = config.palette == 1;
    if (d->opcode == 0x49 && d->prefix == 0 && d->mod != 3)
        load_config(d);
    else if (d->opcode == 0x49 && d->prefix == 0)
        config.palette = 0;
    else if (!is_configured)
        return false;
    else if (d->opcode == 0x49 && d->prefix == 3)
        memset(tiles[d->reg], 0, sizeof tiles[0]);
    else if (d->opcode == 0x4B && (d->prefix == 3 || d->prefix == 2) && d->mod != 3)
        move_tile(d, d->prefix == 3);
    else if (d->opcode == 0x5E && d->prefix == 2 && d->mod == 3)
        dot(d);
    else if (d->opcode == 0x5C && d->prefix == 2 && d->mod == 3)
        dot_bf16(d);
    else
        return false;
    return true;
}

static void on_illegal(int number, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    struct decoded d;
    (void)info;
    if (!decode(u, &d) || !emulate(&d)) {
        sigaction(number, &old_action, NULL); /* the instruction faults again, for good */
        return;
    }
    u->uc_mcontext.gregs[REG_RIP] += (greg_t)d.length;
    count++;
}

bool amx_emulator_install(void) {
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    count = 0;
    return sigaction(SIGILL, &action, &old_action) == 0;
}

void amx_emulator_remove(void) {
    sigaction(SIGILL, &old_action, NULL);
}

unsigned long amx_emulator_count(void) {
    return count;
}
#else
bool amx_emulator_install(void) {
    return false;
}

void amx_emulator_remove(void) {
}

unsigned long amx_emulator_count(void) {
    return 0;
}
#endif
