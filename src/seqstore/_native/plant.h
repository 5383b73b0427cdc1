/* plant.h: bugs that can be planted in the engine, so that it is known that the tests would find them.
 *
 * A build with SEQSTORE_PLANT=name in its environment plants one (build.py); `make plants` makes them all,
 * each apart from the core in use. In any other build SQ_PLANTED is zero for the compiler, which drops the
 * point.
 */
#ifndef SEQSTORE_PLANT_H
#define SEQSTORE_PLANT_H

#ifndef SQ_PLANT
#define SQ_PLANT none
#endif

#define SQ_PLANT_NAMED(name) SQ_PLANT_##name
#define SQ_PLANT_OF(name) SQ_PLANT_NAMED(name)

/* Is this the bug of that name, in a build that has it? A name that is not listed does not compile. */
#define SQ_PLANTED(name) (SQ_PLANT_OF(SQ_PLANT) == SQ_PLANT_##name)

/* By family; the line above a name says what goes wrong. scripts/plants.py reads this list. */
enum sq_plant {
    SQ_PLANT_none,

    /* ---- mapping and allocation ---- */
    /* A trim is rounded outward to an even number of blocks, and takes neighbours along. */
    SQ_PLANT_trim_rounded_outward,
    /* A trim is rounded inward to an even number of blocks, and leaves its ends. */
    SQ_PLANT_trim_rounded_inward,
    /* The length of a trim is kept in five bits: of 32 blocks none are trimmed, of 33 one. */
    SQ_PLANT_trim_length_overflow,
    /* A block that was trimmed is in the map again. */
    SQ_PLANT_stale_map_after_trim,
    /* What is left of an extent behind a new one begins where the extent began. */
    SQ_PLANT_split_extent_keeps_its_start,
    /* Requests may reach beyond the end of the volume. */
    SQ_PLANT_bounds_not_checked,
    /* The head takes a free segment and leaves it among the free ones. */
    SQ_PLANT_segment_taken_twice,
    /* A block that was overwritten goes on counting as live. */
    SQ_PLANT_two_blocks_for_one_address,
    /* An old handle reaches the volume that has its index now. */
    SQ_PLANT_volume_index_given_twice,
    /* Every volume belongs to the tenant whose number is 1. */
    SQ_PLANT_tenant_number_given_twice,

    /* ---- reads and buffers ---- */
    /* Where nothing was written the caller's buffer stays as it was. */
    SQ_PLANT_unwritten_left_in_the_buffer,
    /* Part of a block is read from the start of the block. */
    SQ_PLANT_read_from_the_blocks_start,
    /* The last bytes of a part of a block are not copied. */
    SQ_PLANT_tail_of_a_short_read,
    /* A look-up finds the block beside, and neither owner nor checksum is compared. */
    SQ_PLANT_wrong_block_unchecked,
    /* The scratch of a partial write keeps its bytes, and the next one is padded with them. */
    SQ_PLANT_padding_from_another_tenant,
    /* A partial write takes the rest of the block from the first volume of the table. */
    SQ_PLANT_partial_write_over_a_block_of_another,
    /* A partial write does not read what the rest of the block holds. */
    SQ_PLANT_partial_write_clears_the_rest,

    /* ---- resize, snapshot and clone ---- */
    /* A shrink changes the size alone, and a later grow brings the blocks back. */
    SQ_PLANT_shrink_keeps_the_blocks,
    /* A shrink leaves the first block of those that it cuts off. */
    SQ_PLANT_shrink_off_by_one,
    /* A volume goes on writing to the layer that its snapshot shows. */
    SQ_PLANT_snapshot_is_not_frozen,
    /* An overwrite frees the block of the layer below, though a snapshot or a clone shows it. */
    SQ_PLANT_overwrite_frees_what_others_show,
    /* Clones do not count as readers: what a deletion leaves to them alone is freed. */
    SQ_PLANT_delete_of_the_origin_frees_shared_blocks,
    /* The deletion of a snapshot frees its layer, though a volume or a clone lies over it. */
    SQ_PLANT_delete_of_the_snapshot_frees_shared_blocks,
    /* A trim over a snapshot leaves no hole, and the layer below shows. */
    SQ_PLANT_trim_in_a_clone_uncovers_the_parent,
    /* A layer of holes alone is taken out of the tree, and its holes with it. */
    SQ_PLANT_holes_lost_with_their_layer,

    /* ---- cleaning and the log ---- */
    /* A block that the cleaner moves goes to the owner of the block beside it. */
    SQ_PLANT_cleaner_writes_to_wrong_owner,
    /* The cleaner copies the block beside the one that it moves. */
    SQ_PLANT_cleaner_copies_the_neighbour,
    /* Blocks that the cleaner moves to the first segment are taken out of the map. */
    SQ_PLANT_cleaner_loses_blocks_at_the_wrap,
    /* A block that only a snapshot shows is not moved. */
    SQ_PLANT_cleaner_forgets_snapshots,
    /* The ledger says that nothing lies where the cleaner moved a block away. */
    SQ_PLANT_ledger_forgets_the_cleaners_copy,
    /* The ledger says that nothing lies where a block died. */
    SQ_PLANT_ledger_forgets_the_dead,
    /* The ledger keeps nothing of what is no longer live: what it costs is measured against this. */
    SQ_PLANT_ledger_keeps_no_residue,

    /* ---- crash and recovery ---- */
    /* Recovery replays writes and passes over trims. */
    SQ_PLANT_replays_a_write_but_not_its_trim,
    /* Recovery passes over deletions. */
    SQ_PLANT_replays_a_volume_but_not_its_deletion,
    /* Recovery does not compare the checksums of data blocks. */
    SQ_PLANT_accepts_a_torn_record,
    /* Recovery replays the half of a request that the crash left. */
    SQ_PLANT_half_a_request_counts,
    /* Recovery takes any record of the next number, and leaves on the medium what lost writes left. */
    SQ_PLANT_revives_what_a_crash_took_back,
    /* Recovery begins with the oldest checkpoint that it finds. */
    SQ_PLANT_older_checkpoint_wins,
    /* Recovery leaves on the medium what the writes left that were lost. */
    SQ_PLANT_lost_writes_stay_on_the_medium,
    /* A checkpoint is taken before what it points to is safe, and is not waited for. */
    SQ_PLANT_checkpoint_before_the_data,
    /* A checkpoint leaves out which blocks were trimmed over a snapshot. */
    SQ_PLANT_checkpoint_forgets_holes,
    /* A flush closes the record and does not sync. */
    SQ_PLANT_flush_does_not_sync,
    /* A flush syncs and leaves the open record in memory. */
    SQ_PLANT_flush_forgets_the_open_record,
    /* A segment is written again before what freed it is safe. */
    SQ_PLANT_segment_reused_before_the_sync
};

#endif
