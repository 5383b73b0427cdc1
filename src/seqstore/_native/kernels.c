/* kernels.c: CRC-32C and copies for any machine, and for arm64 with the CRC instructions. The x86-64 ones
 * are in kernels_x86.c.
 *
 * Source of the polynomial: Castagnoli et al., IEEE Trans. Comm. 41(6), 1993.
 */
#include "kernels.h"

#include <string.h>

#include "seqstore.h"

/* ---- any machine --------------------------------------------------------------------------- */

static uint32_t crc_portable(uint32_t state, const uint8_t *data, size_t bytes)
{
    static const uint32_t of_nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < bytes; i++) {
        state ^= data[i];
        state = (state >> 4) ^ of_nibble[state & 15];
        state = (state >> 4) ^ of_nibble[state & 15];
    }
    return state;
}

static uint32_t copy_crc_portable(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return crc_portable(state, to, bytes);
}

static void copy_portable(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t *next)
{
    (void)next;
    memcpy(to, from, bytes);
}

static void zero_portable(uint8_t *to, size_t bytes)
{
    memset(to, 0, bytes);
}

static void fence_none(void)
{
}

static const struct sq_kernels portable = {
    .name = "portable", .crc = crc_portable, .copy_crc = copy_crc_portable,
    .copy = copy_portable, .zero = zero_portable, .fence = fence_none,
};

/* ---- arm64 --------------------------------------------------------------------------------- */

#if defined(__aarch64__)
#include <arm_acle.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__clang__)
#define FAST __attribute__((target("crc")))
#else
#define FAST __attribute__((target("+crc")))
#endif

FAST static uint32_t crc_arm(uint32_t state, const uint8_t *data, size_t bytes)
{
    for (; bytes >= 8; data += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, data, sizeof word);
        state = __crc32cd(state, word);
    }
    for (; bytes > 0; data++, bytes--)
        state = __crc32cb(state, *data);
    return state;
}

static uint32_t copy_crc_arm(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return crc_arm(state, to, bytes);
}

static const struct sq_kernels arm = {
    .name = "armv8-crc", .crc = crc_arm, .copy_crc = copy_crc_arm,
    .copy = copy_portable, .zero = zero_portable, .fence = fence_none,
};

static const struct sq_kernels *special_at(uint32_t index)
{
#if defined(__linux__)
    int has_crc = (getauxval(AT_HWCAP) & (1UL << 7)) != 0; /* bit 7: HWCAP_CRC32 */
#else
    int has_crc = 1; /* every arm64 machine that runs macOS has the instructions */
#endif
    return index == 0 && has_crc ? &arm : NULL;
}

#elif defined(__x86_64__)
static const struct sq_kernels *special_at(uint32_t index)
{
    return sq_kernels_x86_at(index);
}

#else
static const struct sq_kernels *special_at(uint32_t index)
{
    (void)index;
    return NULL;
}
#endif

/* ---- choice -------------------------------------------------------------------------------- */

const struct sq_kernels *sq_kernels_at(uint32_t index)
{
    const struct sq_kernels *special = special_at(index);
    if (special != NULL)
        return special;
    return index == 0 || special_at(index - 1) != NULL ? &portable : NULL;
}

int sq_kernels_try(uint32_t index, uint32_t state, const uint8_t *from, uint64_t bytes, uint8_t *to,
                   uint32_t *crc_out)
{
    const struct sq_kernels *kernels = sq_kernels_at(index);
    if (kernels == NULL)
        return SQ_E_NOT_FOUND;
    if (to == NULL)
        *crc_out = kernels->crc(state, from, bytes);
    else if (bytes % 512 != 0 || bytes == 0 || (uintptr_t)to % 64 != 0)
        return SQ_E_INVALID;
    else
        *crc_out = kernels->copy_crc(state, to, from, bytes);
    return SQ_OK;
}
