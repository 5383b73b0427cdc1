/* bytes.h: numbers as they lie on the medium: little-endian, at any alignment. */
#ifndef SEQSTORE_BYTES_H
#define SEQSTORE_BYTES_H

#include <stdint.h>

/* Compilers make one store or load of each of these loops where the machine allows it. */

static inline void sq_put_u16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void sq_put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline void sq_put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t sq_get_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t sq_get_u32(const uint8_t *at)
{
    return sq_get_u16(at) | sq_get_u16(at + 2) << 16;
}

static inline uint64_t sq_get_u64(const uint8_t *at)
{
    return sq_get_u32(at) | (uint64_t)sq_get_u32(at + 4) << 32;
}

#endif
