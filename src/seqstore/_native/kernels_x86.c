/* kernels_x86.c: CRC-32C and copies with the CRC instruction (SSE 4.2), and with carry-less multiplication of
 * 64 bytes at a time (AVX-512 with VPCLMULQDQ).
 *
 * Sources: Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel, 2011
 * (lanes); Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel,
 * 2009 (folding). The constants are powers of x modulo the polynomial, bit-reflected.
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

/* ---- SSE 4.2 ------------------------------------------------------------------------------- */

#define SSE __attribute__((target("sse4.2,pclmul")))

/* The CRC instruction takes three cycles and starts every cycle, so the loops run three lanes over thirds of
 * a chunk and join them: the state after a lane is multiplied by x^(8 lane bytes) modulo the polynomial. */

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

SSE static inline uint64_t shift_lane(uint64_t state, uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
                                           _mm_cvtsi64_si128((long long)by), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

SSE static inline uint64_t join(struct lanes lanes, uint32_t shift)
{
    return shift_lane(shift_lane(lanes.a, shift) ^ lanes.b, shift) ^ lanes.c;
}

SSE static inline void crc_step(struct lanes *lanes, const uint8_t *from, size_t lane_bytes)
{
    lanes->a = _mm_crc32_u64(lanes->a, load_word(from));
    lanes->b = _mm_crc32_u64(lanes->b, load_word(from + lane_bytes));
    lanes->c = _mm_crc32_u64(lanes->c, load_word(from + 2 * lane_bytes));
}

SSE static inline uint64_t crc_lanes(uint64_t state, const uint8_t *from, size_t words,
                                      uint32_t shift)
{
    struct lanes lanes = {state, 0, 0};
    for (size_t i = 0; i < words; i++)
        crc_step(&lanes, from + 8 * i, 8 * words);
    return join(lanes, shift);
}

SSE static uint32_t crc_sse(uint32_t state, const uint8_t *data, size_t bytes)
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

SSE static inline void move_word(uint8_t *to, const uint8_t *from, uint64_t *crc)
{
    uint64_t word = load_word(from);
    *crc = _mm_crc32_u64(*crc, word);
    _mm_stream_si64((long long *)(void *)to, (long long)word);
}

SSE static inline uint64_t copy_lanes(uint64_t state, uint8_t *to, const uint8_t *from,
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
SSE static uint32_t copy_crc_sse(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes)
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

/* ---- AVX-512 ------------------------------------------------------------------------------- */

#define AVX __attribute__((target("avx512f,avx512vl,avx512dq,vpclmulqdq,pclmul,sse4.2")))

/* To fold a vector over n bits: x^(n + 63) for the low half of each 128 bits, x^(n - 1) for the high. */
#define FOLD_2048 0xe9a5d8be00000000, 0x1426a81500000000
#define FOLD_1536 0x7ccbbbf200000000, 0x31c9460800000000
#define FOLD_1024 0x6577b24500000000, 0x7417153f00000000
#define FOLD_512 0x1c19243b00000000, 0x75bba45b00000000
#define FOLD_384 0xa46ef4aa00000000, 0x6051243f00000000
#define FOLD_256 0x33ccbbbc00000000, 0xa2158b3400000000
#define FOLD_128 0x3743f7bd00000000, 0x3171d43000000000

AVX static inline __m512i both_halves(uint64_t low, uint64_t high)
{
    return _mm512_broadcast_i64x2(_mm_set_epi64x((long long)high, (long long)low));
}

AVX static inline __m512i fold(__m512i state, __m512i by, __m512i next)
{
    __m512i low = _mm512_clmulepi64_epi128(state, by, 0x00);
    __m512i high = _mm512_clmulepi64_epi128(state, by, 0x11);
    return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

AVX static inline __m128i fold_lane(__m128i state, uint64_t low, uint64_t high, __m128i next)
{
    __m128i by = _mm_set_epi64x((long long)high, (long long)low);
    __m128i product = _mm_xor_si128(_mm_clmulepi64_si128(state, by, 0x00),
                                    _mm_clmulepi64_si128(state, by, 0x11));
    return _mm_xor_si128(product, next);
}

/* Loads 64 bytes once, and writes what it loaded to where they go, if they go anywhere. */
AVX static inline __m512i load(uint8_t *to, const uint8_t *from)
{
    __m512i data = _mm512_loadu_si512(from);
    __asm__("" : "+v"(data));
    if (to != NULL)
        _mm512_stream_si512((void *)to, data);
    return data;
}

AVX static inline void load_four(uint8_t *to, const uint8_t *from, __m512i *a, __m512i *b, __m512i *c,
                                 __m512i *d)
{
    *a = load(to, from);
    *b = load(to == NULL ? NULL : to + 64, from + 64);
    *c = load(to == NULL ? NULL : to + 128, from + 128);
    *d = load(to == NULL ? NULL : to + 192, from + 192);
}

AVX static inline uint64_t reduce(__m512i a, __m512i b, __m512i c, __m512i d)
{
    d = fold(a, both_halves(FOLD_1536), d);
    d = fold(b, both_halves(FOLD_1024), d);
    d = fold(c, both_halves(FOLD_512), d);
    __m128i rest = _mm512_extracti64x2_epi64(d, 3);
    rest = fold_lane(_mm512_castsi512_si128(d), FOLD_384, rest);
    rest = fold_lane(_mm512_extracti64x2_epi64(d, 1), FOLD_256, rest);
    rest = fold_lane(_mm512_extracti64x2_epi64(d, 2), FOLD_128, rest);
    uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(rest));
    return _mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(rest, 1));
}

/* bytes: a multiple of 256, and not 0; to: NULL, or aligned to 64. */
AVX __attribute__((always_inline)) static inline uint32_t crc_fold(uint32_t state, uint8_t *to,
                                                                   const uint8_t *from, size_t bytes)
{
    __m512i by = both_halves(FOLD_2048), a, b, c, d;
    load_four(to, from, &a, &b, &c, &d);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
    for (size_t at = 256; at < bytes; at += 256) {
        __m512i e, f, g, h;
        load_four(to == NULL ? NULL : to + at, from + at, &e, &f, &g, &h);
        a = fold(a, by, e);
        b = fold(b, by, f);
        c = fold(c, by, g);
        d = fold(d, by, h);
    }
    return (uint32_t)reduce(a, b, c, d);
}

AVX static uint32_t crc_avx(uint32_t state, const uint8_t *data, size_t bytes)
{
    size_t folded = bytes & ~(size_t)255;
    if (folded != 0)
        state = crc_fold(state, NULL, data, folded);
    return crc_sse(state, data + folded, bytes - folded);
}

/* Blocks are multiples of 512 bytes, on the medium aligned to as much. */
AVX static uint32_t copy_crc_avx(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes)
{
    return crc_fold(state, to, from, bytes);
}

/* bytes: a multiple of 256; both aligned to 64. */
AVX static void copy_avx(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t *next)
{
    for (size_t at = 0; at < bytes; at += 256)
        for (size_t line = at; line < at + 256; line += 64) {
            if (next != NULL) /* read once: not worth a place in the outer caches */
                _mm_prefetch((const char *)next + line, _MM_HINT_NTA);
            _mm512_stream_si512((void *)(to + line), _mm512_load_si512(from + line));
        }
}

/* bytes: a multiple of 256; aligned to 64. A whole line at once: half as fast again as 16 bytes at a time. */
AVX static void zero_avx(uint8_t *to, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 256)
        for (size_t line = at; line < at + 256; line += 64)
            _mm512_stream_si512((void *)(to + line), _mm512_setzero_si512());
}

static const struct sq_kernels avx512 = {
    .name = "avx512", .crc = crc_avx, .copy_crc = copy_crc_avx,
    .copy = copy_avx, .zero = zero_avx, .fence = fence_sse,
};

const struct sq_kernels *sq_kernels_x86_at(uint32_t index)
{
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
        return NULL;
    int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("vpclmulqdq");
    if (wide && index == 0)
        return &avx512;
    return index == (wide ? 1 : 0) ? &sse : NULL;
}
#endif
