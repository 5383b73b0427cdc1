/* kernels.h: the loops over payload bytes: checksum, copy, and both at once.
 *
 * One table for each instruction set; the log takes the fastest that the processor runs.
 * Checksums are CRC-32C in raw form: the caller inverts before the first and after the last piece.
 * Copies to a medium bypass the cache (the head writes each block once and does not come back for a
 * lap); sq_kernels.fence makes them visible before a lock is released. Blocks are 512 bytes at least.
 */
#ifndef SEQSTORE_KERNELS_H
#define SEQSTORE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct sq_kernels {
    const char *name;
    uint32_t (*crc)(uint32_t state, const uint8_t *data, size_t bytes);
    /* Copies and returns the checksum of what it wrote: each byte of the source is loaded once, so
     * that a source that changes meanwhile cannot make block and checksum disagree. */
    uint32_t (*copy_crc)(uint32_t state, uint8_t *to, const uint8_t *from, size_t bytes);
    /* Copies between blocks of a medium, fetching the block at next (may be NULL) meanwhile. */
    void (*copy)(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t *next);
    void (*zero)(uint8_t *to, size_t bytes);
    void (*fence)(void);
};

/* The kernels that this processor runs, the fastest at 0; NULL behind the last. */
const struct sq_kernels *sq_kernels_at(uint32_t index);

#if defined(__x86_64__)
/* Those among them that use instructions of x86-64 only. */
const struct sq_kernels *sq_kernels_x86_at(uint32_t index);
#endif

#endif
