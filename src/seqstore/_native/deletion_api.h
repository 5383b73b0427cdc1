/* deletion_api.h: what the C core does about deleted data, and what it knows of it; read like seqstore_api.h,
 * and behind it.
 */
struct sq_remanence {
    uint64_t residue_blocks; /* DEAD and MOVED blocks of the scope */
    uint64_t moved_blocks;   /* the MOVED ones among them */
    uint64_t unbounded_blocks; /* those without a bound */
    uint64_t segments;       /* that hold any */
    uint64_t oldest;         /* position of the oldest death, SQ_NO_ADDRESS if there is no residue */
    uint64_t oldest_moved;   /* of a MOVED block */
    uint64_t due;            /* position by which the first is written over; SQ_NO_ADDRESS: no bound */
    uint64_t last_due;       /* all of those that have a bound; 0: none has */
    uint64_t position;       /* of the log at the time of the count */
};

/* Ages of residue, in 32nds of a lap, and more. */
#define SQ_AGE_BINS 512
#define SQ_AGE_BINS_A_LAP 32

/* Residue that died at once, block beside block. */
struct sq_residue_run {
    uint64_t tenant;
    uint64_t volume;
    uint64_t mba;
    uint64_t count;
    uint64_t died;           /* position */
    uint64_t state;          /* SQ_DEAD or SQ_MOVED */
};

struct sq_overwritten {
    uint64_t volume;
    uint64_t mba;
    uint64_t count;
    uint64_t position;       /* when the last of them was */
};

/* What a purge did. */
struct sq_purge {
    uint64_t segments;          /* that held residue of the scope */
    uint64_t relocated_blocks;
    uint64_t overwritten_blocks; /* with zeros */
    uint64_t verified_blocks;    /* read back, and right */
    uint64_t position;           /* at the end */
};

/* Blocks of a layer, one after the other, that a volume or snapshot shows. */
struct sq_shown {
    uint64_t tenant;         /* of the layer */
    uint64_t volume;         /* in whose life it was written */
    uint64_t layer;          /* its number */
    uint64_t lba;
    uint64_t count;
};

/* ages_out[SQ_AGE_BINS] is added to; or NULL. */
int sq_log_remanence(sq_log *log, int scope, uint64_t scope_id, struct sq_remanence *out, uint64_t *ages_out);

/* Residue of the scope from *mba_io on, which moves on behind what was told. */
int sq_log_residue(sq_log *log, int scope, uint64_t scope_id, uint64_t *mba_io, uint64_t capacity,
                   struct sq_residue_run *runs_out, uint64_t *count_out);

/* From now on it is noted what is written over of the residue that the scope has or will have, of the
 * volumes, snapshots and layers that there are now; and what was noted since the last call. is_lossy_out:
 * something could not be. */
int sq_log_watch(sq_log *log, int scope, uint64_t scope_id, int is_watched);
int sq_log_overwritten(sq_log *log, uint64_t capacity, struct sq_overwritten *runs_out, uint64_t *count_out,
                       int *is_lossy_out);

/* Residue of the scope is written over before so many more blocks have been written since it died;
 * SQ_NO_ADDRESS: no bound. Of the log, a tenant and a volume the least counts. What lies there already has at
 * least the time of the smallest bound, unless is_kept, for what was promised before the log was opened.
 * SQ_E_BOUND for less than can be kept. */
int sq_log_bound(sq_log *log, int scope, uint64_t scope_id, uint64_t blocks, int is_kept,
                 struct sq_fault *fault_out);

int sq_log_smallest_bound(sq_log *log, uint64_t *blocks_out);

/* Writes over all residue of the scope that died at position died_before or earlier, and reads back what lies
 * there then: SQ_E_CORRUPT if that is not what was written. fault: mba. */
int sq_log_purge(sq_log *log, int scope, uint64_t scope_id, uint64_t died_before, struct sq_purge *purge_out,
                 struct sq_fault *fault_out);

/* Who, besides the volume of that number (which may be deleted), still reads blocks of [lba, lba + count)
 * that were written through it. count_out is how many there are, also above the capacity. */
int sq_volume_reach(sq_log *log, uint64_t number, uint64_t lba, uint64_t count, uint64_t capacity,
                    struct sq_reach *reach_out, uint64_t *count_out);

/* What the volume or snapshot of that number shows of [*lba_io, end) that others may show, too: all but the
 * layer that it alone writes to, or that one too. *lba_io moves on behind what was told; nothing is shown by
 * what is not there. */
int sq_volume_shown(sq_log *log, uint64_t number, int with_own, uint64_t *lba_io, uint64_t end,
                    uint64_t capacity, struct sq_shown *runs_out, uint64_t *count_out);

/* What a live block is sealed with; leaf: 0, or one more than its leaf in the tree of key and opening. */
struct sq_live_seal {
    uint64_t opening;
    uint32_t key;
    uint32_t leaf;
};

/* The live blocks that are sealed under these keys, which ascend: the first capacity of them, in ascending
 * order of keys, openings and leaves if there are no more. count_out: how many there are. SQ_E_IO, and fault,
 * if a summary cannot be read: whoever lets the other keys die has to know them all. Blocks that no key opens
 * any more, since their seals are lost, are none. */
int sq_log_live_seals(sq_log *log, const uint32_t *keys, uint64_t key_count, uint64_t capacity,
                      struct sq_live_seal *seals_out, uint64_t *count_out, struct sq_fault *fault_out);
