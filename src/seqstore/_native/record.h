/* record.h: where the fields of a record's summary lie. Little-endian; what is not named is zero. */
#ifndef SEQSTORE_RECORD_H
#define SEQSTORE_RECORD_H

#define SQ_RECORD_VERSION 1

#define SQ_AT_MAGIC 0     /* 8 bytes */
#define SQ_AT_VERSION 8   /* u32 */
#define SQ_AT_CHECKSUM 12 /* u32: CRC-32C of the summary block with this field zero */
#define SQ_AT_DRIVE 16    /* u64 */
#define SQ_AT_SEQUENCE 24 /* u64: from 1, one more each record */
#define SQ_AT_MBA 32      /* u64: the summary's own address */
#define SQ_AT_ENTRIES 40  /* u32 */
#define SQ_AT_BLOCKS 44   /* u32: data blocks that follow */
#define SQ_AT_POSITION 48 /* u64: the log's time at the summary */
#define SQ_HEAD_BYTES 64

#define SQ_ENTRY_AT_LBA 0    /* u64 */
#define SQ_ENTRY_AT_VOLUME 8 /* u64 */
#define SQ_ENTRY_AT_VALUE 16 /* u32: CRC-32C of tag and block, or blocks of a trim */
#define SQ_ENTRY_AT_KIND 20  /* u8: enum sq_entry_kind; then 3 bytes zero */
#define SQ_ENTRY_BYTES 24

#endif
