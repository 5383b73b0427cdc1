/* entries.h: what the ledger says of a media block, and what a summary says of what it leads.
 * Both are values; docs/reference/on-media-format.md has those that lie on a medium. */
#ifndef SEQSTORE_ENTRIES_H
#define SEQSTORE_ENTRIES_H

#include <stdint.h>

/* ---- ledger: state (3 bits), slot of the volume (23), lba or position of death (38) ---------- */

#define SQ_SLOT_BITS 23
#define SQ_VALUE_BITS 38
#define SQ_VALUE_MASK (((uint64_t)1 << SQ_VALUE_BITS) - 1)
#define SQ_SLOTS_MAX ((uint32_t)1 << SQ_SLOT_BITS)

static inline uint64_t sq_entry(unsigned state, uint32_t slot, uint64_t value)
{
    return (uint64_t)state << (SQ_SLOT_BITS + SQ_VALUE_BITS) | (uint64_t)slot << SQ_VALUE_BITS |
           (value & SQ_VALUE_MASK);
}

static inline unsigned sq_entry_state(uint64_t entry)
{
    return (unsigned)(entry >> (SQ_SLOT_BITS + SQ_VALUE_BITS));
}

static inline uint32_t sq_entry_slot(uint64_t entry)
{
    return (uint32_t)(entry >> SQ_VALUE_BITS) & (SQ_SLOTS_MAX - 1);
}

static inline uint64_t sq_entry_value(uint64_t entry)
{
    return entry & SQ_VALUE_MASK;
}

/* ---- entries of summaries --------------------------------------------------------------------- */

enum sq_entry_kind {
    SQ_ENTRY_DATA = 1,
    SQ_ENTRY_TRIM = 2,
    SQ_ENTRY_DELETE = 3,
    SQ_ENTRY_CREATE = 4,
    SQ_ENTRY_RESIZE = 5,
    SQ_ENTRY_SNAPSHOT = 6,
    SQ_ENTRY_CLONE = 7,
    SQ_ENTRY_ROLLBACK = 8,
    SQ_ENTRY_CHECKPOINT = 9,
    SQ_ENTRY_CHECKPOINT_END = 10,
    SQ_ENTRY_PAD = 11,
    SQ_ENTRY_OPENED = 12,
    SQ_ENTRY_FREED = 13
};

#define SQ_FLAG_RELOCATED 1u       /* of DATA: the cleaner's copy */
#define SQ_FLAG_DAMAGED 2u         /* of DATA: it was damaged before; value fits the bytes, which are wrong */
#define SQ_FLAG_UNWRITTEN_ERROR 1u /* of CREATE and CLONE */
#define SQ_FLAG_CLEAN 1u           /* of CHECKPOINT_END: the log was closed */

/* An entry of a summary; the fields mean what docs/reference/on-media-format.md says for the kind. */
struct sq_entry_fields {
    uint64_t lba;
    uint64_t volume;
    uint32_t value;
    uint8_t kind;
    uint8_t flags;
};

#endif
