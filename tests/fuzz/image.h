/* image.h: the small drive that is fuzzed: its bytes, a medium over them, and what is done to them.
 *
 *   image.c   the bytes as a medium             bases.c    drives made by the engine, to begin with
 *   fixer.c   checksums made right again        edits.c    an input as changes to one of those
 *   fields.c  where it has numbers to change    main.c     a driver for compilers without libFuzzer
 *   target.c  what every image must survive   keyed.c    keys for drives whose blocks are encrypted
 *
 * An input is two bytes, flags and number of the base, and then edits of EDIT_BYTES bytes (edits.c); or, with
 * INPUT_WHOLE, blocks of their own: address u16, length u16, bytes.
 */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include "seqstore.h"

#define BLOCK_BYTES 512u
#define SEGMENT_BLOCKS 8u
#define SEGMENTS 32u
#define BLOCKS (SEGMENTS * SEGMENT_BLOCKS)
#define IMAGE_BYTES (BLOCKS * (size_t)BLOCK_BYTES)
#define DRIVE 0x5EED5EED5EED5EEDu

#define INPUT_FIX 1u     /* checksums and the chain are made right again after the edits */
#define INPUT_WHOLE 2u   /* the blocks themselves instead of a base and edits */
#define INPUT_FLUSHED 4u /* opened with check_flushed */
#define INPUT_LOSS 8u    /* opened with accept_loss */
#define INPUT_SEALED 16u /* a drive of version 2, whose blocks are encrypted */
#define INPUT_HEAD_BYTES 2u
#define EDIT_BYTES 16u

#define VOLUMES_MOST 256u /* that are listed */

struct image {
    uint8_t bytes[IMAGE_BYTES];
    uint64_t appended_blocks;
};

/* ---- image.c ---- */

/* A medium over the image, whose write pointers are all at their start. NULL without memory. */
sq_medium *image_medium(struct image *image);
struct sq_log_options image_options(void);
static inline uint8_t *image_block(struct image *image, uint32_t mba)
{
    return image->bytes + (size_t)mba * BLOCK_BYTES;
}

/* Says what is wrong, hands the input to the driver, and ends the process. */
void fail(const char *what, int detail);

/* The same, if status is not SQ_OK, with the invariant that broke. */
void expect_ok(sq_log *log, const char *what, int status);

/* ---- fixer.c ---- */

/* CRC-32C, raw: not inverted. */
uint32_t fixer_crc(uint32_t state, const uint8_t *data, size_t bytes);
uint64_t fixer_get(const uint8_t *at, uint32_t bytes);
void fixer_put(uint8_t *at, uint32_t bytes, uint64_t value);

/* Is there a summary at mba, right or wrong? */
int fixer_is_summary(struct image *image, uint32_t mba);

/* Is the summary of version 2, whose entries have seals? And how long are they? */
int fixer_is_sealed(const uint8_t *summary);
uint32_t fixer_entry_bytes(const uint8_t *summary);

/* Makes right the checksums of data blocks and summaries, and the chain, of all that looks like records. */
void fixer_fix(struct image *image);

/* ---- bases.c ---- */

/* The base that an input names. */
const struct image *bases_of(const uint8_t *input);

/* Requests of all kinds, so many, the same for the same seed; all but a broken invariant is fine. */
void bases_churn(sq_log *log, uint64_t seed, uint32_t requests);
uint64_t bases_random(uint64_t *state);

/* ---- keyed.c ---- */

/* Has the log encrypt its blocks, under keys that differ from those of any other opening. */
void keyed_options(struct sq_log_options *options, uint64_t opening);

/* Volumes get the keys of their numbers; on a log that is not encrypted nothing happens. */
void keyed_volumes(sq_log *log);

/* Lists all that lives of what was encrypted. */
void keyed_list(sq_log *log);

/* ---- fields.c ---- */

struct field {
    uint32_t mba;
    uint32_t offset;
    uint32_t width;
};

/* A summary, or some block if there is none. */
uint32_t fields_summary(struct image *image, uint64_t *random);

/* A field of some summary. */
void fields_in_summary(struct image *image, struct field *field, uint64_t *random);

/* A field of the newest checkpoint, and one that means the same in another row; 0 if it has none. */
int fields_in_checkpoint(struct image *image, struct field *field, struct field *like, uint64_t *random);

/* ---- edits.c ---- */

void edits_apply(const uint8_t *input, size_t bytes, struct image *image);

/* Changes the input to another one; returns its length. */
size_t edits_mutate(uint8_t *input, size_t bytes, size_t room, uint64_t *random);

/* Writes an input with INPUT_WHOLE that makes the same image; returns its length, 0 if there is no room. */
size_t edits_freeze(const uint8_t *input, size_t bytes, uint8_t *out, size_t room);

/* ---- target.c and the driver ---- */

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);
void driver_failed(void);

#endif
