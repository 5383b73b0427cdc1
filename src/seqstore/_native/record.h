/* record.h: where the fields of a record's summary lie. Little-endian; what is not named is zero. */
#ifndef SEQSTORE_RECORD_H
#define SEQSTORE_RECORD_H

#define SQ_RECORD_MAGIC "SEQSREC1"
#define SQ_RECORD_VERSION 1
#define SQ_SEALED_VERSION 2 /* of logs whose blocks are encrypted */

#define SQ_AT_MAGIC 0           /* 8 bytes */
#define SQ_AT_VERSION 8         /* u16 */
#define SQ_AT_BLOCK_SHIFT 10    /* u8 */
#define SQ_AT_CHECKSUM 12       /* u32: CRC-32C of the summary block with this field zero */
#define SQ_AT_DRIVE 16          /* u64 */
#define SQ_AT_SEQUENCE 24       /* u64: from 1, one more each record */
#define SQ_AT_MBA 32            /* u32: the summary's own address */
#define SQ_AT_PREVIOUS 36       /* u32: checksum of the record before */
#define SQ_AT_ENTRIES 40        /* u16 */
#define SQ_AT_BLOCKS 42         /* u16: data blocks that follow */
#define SQ_AT_OPEN 44           /* u16: entries of a request that goes on in the next record */
#define SQ_AT_CLASS 46          /* u16: of the head whose segment it lies in */
#define SQ_AT_POSITION 48       /* u64: the log's time at the summary */
#define SQ_AT_FLUSHED 56        /* u64: sequence known to be on the medium */
#define SQ_AT_CHECKPOINT 64     /* u64: sequence where the newest checkpoint begins; 0: none */
#define SQ_AT_CHECKPOINT_MBA 72 /* u32 */
#define SQ_AT_SEGMENT_BLOCKS 76 /* u32 */
#define SQ_AT_BLOCK_COUNT 80    /* u32 */
#define SQ_AT_WINDOW 84         /* u32: segments that lost writes can reach; 0 in memory */
#define SQ_HEAD_BYTES 96

#define SQ_ENTRY_AT_LBA 0    /* u64 */
#define SQ_ENTRY_AT_VOLUME 8 /* u64: of a block, its layer */
#define SQ_ENTRY_AT_VALUE 16 /* u32: CRC-32C of tag and block, or blocks of a trim */
#define SQ_ENTRY_AT_KIND 20  /* u8: enum sq_entry_kind */
#define SQ_ENTRY_AT_FLAGS 21 /* u8; then 2 bytes zero */
#define SQ_ENTRY_BYTES 24

/* In version 2 the seal of a block stands behind each entry; zero behind those of other kinds. */
#define SQ_SEAL_AT_TAG 0      /* 16 bytes */
#define SQ_SEAL_AT_OPENING 16 /* u64: the use of the log in which the block was sealed */
#define SQ_SEAL_AT_NUMBER 24  /* u64: sequence of the record << 16 | place in it, when it was sealed */
#define SQ_SEAL_AT_KEY 32     /* u32: number of the key */
#define SQ_SEAL_AT_LEAF 36    /* u32: 0, or one more than the leaf of the tree under that key */
#define SQ_ENTRY_SEAL_BYTES 40
#define SQ_SEALED_ENTRY_BYTES (SQ_ENTRY_BYTES + SQ_ENTRY_SEAL_BYTES)

#endif
