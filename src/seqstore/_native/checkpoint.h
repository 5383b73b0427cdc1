/* checkpoint.h: how a checkpoint's stream of bytes is laid out, for its writer and its reader.
 * docs/reference/on-media-format.md, "Checkpoint". */
#ifndef SEQSTORE_CHECKPOINT_H
#define SEQSTORE_CHECKPOINT_H

#define SQ_CHECKPOINT_MAGIC "SEQSCKP1"
#define SQ_CHECKPOINT_VERSION 1

#define SQ_CKP_AT_MAGIC 0         /* 8 bytes */
#define SQ_CKP_AT_VERSION 8       /* u32 */
#define SQ_CKP_AT_HEADS 12        /* u32: heads besides the one that the stream follows */
#define SQ_CKP_AT_DRIVE 16        /* u64 */
#define SQ_CKP_AT_SEQUENCE 24     /* u64: of its first record */
#define SQ_CKP_AT_POSITION 32     /* u64: of its first record */
#define SQ_CKP_AT_LAST_NUMBER 40  /* u64 */
#define SQ_CKP_AT_VOLUMES 48      /* u32 */
#define SQ_CKP_AT_LAYERS 52       /* u32 */
#define SQ_CKP_AT_HOLE_LEAVES 56  /* u32 */
#define SQ_CKP_AT_FREE_RUNS 60    /* u32 */
#define SQ_CKP_AT_SEALED_RUNS 64  /* u32 */
#define SQ_CKP_AT_TABLES 68       /* u32 */
#define SQ_CKP_AT_OPEN_SEGMENT 72 /* u32 */
#define SQ_CKP_AT_OPEN_BLOCKS 76  /* u32 */
#define SQ_CKP_AT_STREAM_BYTES 80 /* u64: all of it */
#define SQ_CKP_AT_OPENING 88      /* u64: the last opening, as its record has it */
#define SQ_CKP_HEAD_BYTES 96

/* number, tenant, size_bytes, layer, origin: u64; flags: u32 */
#define SQ_CKP_VOLUME_BYTES 48
#define SQ_CKP_UNWRITTEN_ERROR 1u
#define SQ_CKP_SNAPSHOT 2u

/* number, tenant, volume, parent: u64; flags: u32 */
#define SQ_CKP_LAYER_BYTES 40
#define SQ_CKP_DROPPED 1u

/* class, segment, open_blocks: u32, 4 bytes zero */
#define SQ_CKP_OPEN_BYTES 16

/* layer, leaf: u64; bitmap: 64 bytes */
#define SQ_CKP_HOLES_BYTES 80

/* first, count: u32 */
#define SQ_CKP_RUN_BYTES 8

/* segment: u32, 4 bytes zero; then for each block its entry, u64, and its checksum, u32 */
#define SQ_CKP_TABLE_HEAD_BYTES 8
#define SQ_CKP_BLOCK_BYTES 12

#endif
