/* kernels.c: CRC-32C and copies for x86-64 (SSE 4.2 and PCLMULQDQ), arm64 (CRC) and any other machine.
 *
 * The CRC instruction takes three cycles and starts every cycle, so the fast loops run three lanes
 * over thirds of a chunk and join them: the state after lane L is multiplied by x^(8 L) modulo the
 * polynomial. Sources: Castagnoli et al., IEEE Trans. Comm. 41(6), 1993 (the polynomial); Gopal et al.,
 * "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel, 2011 (lanes).
 */
#include "kernels.h"

#include <string.h>

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

/* ---- x86-64 -------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#include <immintrin.h>

#define FAST __attribute__((target("sse4.2,pclmul")))

/* Words of a lane and x^(64 words - 33) modulo the polynomial, bit-reflected. */
#define LONG_WORDS 170
#define LONG_SHIFT 0x3f70cc6f
#define SHORT_WORDS 21
#define SHORT_SHIFT 0x1b3d8f29

struct lanes {
    uint64_t a, b, c;
};

static inline uint64_t load_word(const uint8_t *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    /* The compiler must not load the word a second time: another thread may change it. */
    __asm__("" : "+r"(word));
    return word;
}

FAST static inline uint64_t shift_lane(uint64_t state, uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
                                           _mm_cvtsi64_si128((long long)by), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

FAST static inline uint64_t join(struct lanes lanes, uint32_t shift)
{
    return shift_lane(shift_lane(lanes.a, shift) ^ lanes.b, shift) ^ lanes.c;
}

FAST static inline void crc_step(struct lanes *lanes, const uint8_t *from, size_t lane_bytes)
{
    lanes->a = _mm_crc32_u64(lanes->a, load_word(from));
    lanes->b = _mm_crc32_u64(lanes->b, load_word(from + lane_bytes));
    lanes->c = _mm_crc32_u64(lanes->c, load_word(from + 2 * lane_bytes));
}

FAST static inline uint64_t crc_lanes(uint64_t state, const uint8_t *from, size_t words,
                                      uint32_t shift)
{
    struct lanes lanes = {state, 0, 0};
    for (size_t i = 0; i < words; i++)
        crc_step(&lanes, from + 8 * i, 8 * words);
    return join(lanes, shift);
}

FAST static uint32_t crc_sse(uint32_t state, const uint8_t *data, size_t bytes)
{
    uint64_t crc = state;
    for (; bytes >= 24 * LONG_WORDS; data += 24 * LONG_WORDS, bytes -= 24 * LONG_WORDS)
        crc = crc_lanes(crc, data, LONG_WORDS, LONG_SHIFT);
    for (; bytes >= 24 * SHORT_WORDS; data += 24 * SHORT_WORDS, bytes -= 24 * SHORT_WORDS)
        crc = crc_lanes(crc, data, SHORT_WORDS, SHORT_SHIFT);
    for (; bytes >= 8; data += 8, bytes -= 8)
        crc = _mm_crc32_u64(crc, load_word(data));
    for (; bytes > 0; data++, bytes--)
        crc = _mm_crc32_u8((uint32_t)crc, *data);
    return (uint32_t)crc;
}

FAST static inline void move_word(uint8_t *to, const uint8_t *from, uint64_t *crc)
{
    uint64_t word = load_word(from);
    *crc = _mm_crc32_u64(*crc, word);
    _mm_stream_si64((long long *)(void *)to, (long long)word);
}

FAST static inline uint64_t copy_lanes(uint64_t state, uint8_t *to, const uint8_t *from,
                                       size_t words, uint32_t shift)
{
    struct lanes lanes = {state, 0, 0};
    size_t lane = 8 * words;
    for (size_t at = 0; at < lane; at += 8) {
        move_word(to + at, from + at, &lanes.a);
        move_word(to + at + lane, from + at + lane, &lanes.b);
        move_word(to + at + 2 * lane, from + at + 2 * lane, &lanes.c);
    }
    return join(lanes, shift);
}

/* bytes: a multiple of 8; to: aligned to 8. */
FAST static uint32_t copy_crc_sse(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes)
{
    uint64_t crc = state;
    size_t at = 0;
    for (; bytes - at >= 24 * LONG_WORDS; at += 24 * LONG_WORDS)
        crc = copy_lanes(crc, to + at, from + at, LONG_WORDS, LONG_SHIFT);
    for (; bytes - at >= 24 * SHORT_WORDS; at += 24 * SHORT_WORDS)
        crc = copy_lanes(crc, to + at, from + at, SHORT_WORDS, SHORT_SHIFT);
    for (; at < bytes; at += 8)
        move_word(to + at, from + at, &crc);
    return (uint32_t)crc;
}

/* bytes: a multiple of 64; both aligned to 64. */
static void copy_sse(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t *next)
{
    for (size_t at = 0; at < bytes; at += 64) {
        if (next != NULL)
            _mm_prefetch((const char *)next + at, _MM_HINT_T0);
        const __m128i *source = (const __m128i *)(const void *)(from + at);
        __m128i *target = (__m128i *)(void *)(to + at);
        __m128i a = _mm_load_si128(source), b = _mm_load_si128(source + 1);
        __m128i c = _mm_load_si128(source + 2), d = _mm_load_si128(source + 3);
        _mm_stream_si128(target, a);
        _mm_stream_si128(target + 1, b);
        _mm_stream_si128(target + 2, c);
        _mm_stream_si128(target + 3, d);
    }
}

static void zero_sse(uint8_t *to, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 16)
        _mm_stream_si128((__m128i *)(void *)(to + at), _mm_setzero_si128());
}

static void fence_sse(void)
{
    _mm_sfence();
}

static const struct sq_kernels sse = {
    .name = "sse4.2", .crc = crc_sse, .copy_crc = copy_crc_sse,
    .copy = copy_sse, .zero = zero_sse, .fence = fence_sse,
};

const struct sq_kernels *sq_kernels_choose(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") ? &sse : &portable;
}

/* ---- arm64 --------------------------------------------------------------------------------- */

#elif defined(__aarch64__)
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

const struct sq_kernels *sq_kernels_choose(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) & (1UL << 7) ? &arm : &portable; /* bit 7: HWCAP_CRC32 */
#else
    return &arm; /* every arm64 machine that runs macOS has the instructions */
#endif
}

#else
const struct sq_kernels *sq_kernels_choose(void)
{
    return &portable;
}
#endif
