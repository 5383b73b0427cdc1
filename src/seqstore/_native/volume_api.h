/* volume_api.h: volumes, what they show and what they hold; read like seqstore_api.h, and behind it.
 *
 * A volume is named by its handle in calls and by its number on the medium: handle >> 24. Numbers
 * start at 1, are never reused, and are below 2^32, like those of tenants. A volume has 2^38 blocks at most
 * (SQ_E_INVALID). number: above all used before, or 0 for the next one; SQ_E_LIMIT when there are no more, or
 * when the tables of a checkpoint have no room. What these calls do outlives a crash after sq_log_flush. */

int sq_volume_create(sq_log *log, uint64_t number, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                     uint64_t *handle_out);

/* A view of the volume as it is now, which calls that change refuse with SQ_E_READ_ONLY. Copies nothing. */
int sq_volume_snapshot(sq_log *log, uint64_t handle, uint64_t number, uint64_t *snapshot_out);

/* A volume that begins as the snapshot is. */
int sq_volume_clone(sq_log *log, uint64_t snapshot, uint64_t number, uint64_t tenant, int unwritten_error,
                    uint64_t *handle_out);

/* Makes the volume what the snapshot is; all written since is dropped. number names the new layer. The
 * snapshot is one of the volume, or of the one it was cloned from. */
int sq_volume_rollback(sq_log *log, uint64_t handle, uint64_t snapshot, uint64_t number);

int sq_volume_delete(sq_log *log, uint64_t handle); /* blocks that nobody else reads are dead */

/* All volumes and snapshots in order of their numbers, capacity of them at most; count_out: how many are. */
int sq_volume_list(sq_log *log, uint64_t capacity, struct sq_volume_entry *entries_out, uint64_t *count_out);

/* Blocks of the volume are sealed under this secret of the key ring from now on, by_leaf: each with a key of
 * its own from the secret's tree. Nothing can be written before. SQ_E_INVALID on a log that is not sealed,
 * and for key 0. */
int sq_volume_seal(sq_log *log, uint64_t handle, uint32_t key, int by_leaf);

/* While a volume is held, what would change its blocks or its size is SQ_E_READ_ONLY; reads go on. */
int sq_volume_hold(sq_log *log, uint64_t handle, int is_held);

/* Shrinking unmaps what lies beyond, and zeroes the rest of a block that is cut. */
int sq_volume_resize(sq_log *log, uint64_t handle, uint64_t size_bytes, struct sq_fault *fault_out);
int sq_volume_info(sq_log *log, uint64_t handle, struct sq_volume_info *info_out);

/* fault_out may be NULL in every call that has one. */

/* Bytes at any offset and length. A block that is written in part keeps its other bytes (zeros if it
 * was unwritten). Either all of it is written or, with SQ_E_OUT_OF_SPACE and SQ_E_CORRUPT, nothing;
 * readers may meet it half done, at block boundaries only. */
int sq_volume_write(sq_log *log, uint64_t handle, uint64_t offset_bytes, const char *data,
                    uint64_t length_bytes, struct sq_fault *fault_out);

/* Whole blocks: a run from lba, or lbas[count] in their order (a later one wins). data may be NULL
 * on a tags medium. */
int sq_volume_write_run(sq_log *log, uint64_t handle, uint64_t lba, uint64_t count,
                        const uint8_t *data, struct sq_fault *fault_out);
int sq_volume_write_blocks(sq_log *log, uint64_t handle, const uint64_t *lbas, uint64_t count,
                           const uint8_t *data, struct sq_fault *fault_out);

/* SQ_E_UNWRITTEN comes before a byte of data_out has changed, unless another thread trims the
 * range during the call. After SQ_E_CORRUPT data_out holds none of the volume's bytes: zeros as far as the
 * call had come. */
int sq_volume_read(sq_log *log, uint64_t handle, uint64_t offset_bytes, char *data_out,
                   uint64_t length_bytes, struct sq_fault *fault_out);
int sq_volume_read_run(sq_log *log, uint64_t handle, uint64_t lba, uint64_t count,
                       uint8_t *data_out, struct sq_fault *fault_out);
int sq_volume_read_blocks(sq_log *log, uint64_t handle, const uint64_t *lbas, uint64_t count,
                          uint8_t *data_out, struct sq_fault *fault_out);

/* Unmaps the whole blocks of the range; bytes of blocks that are only partly inside become zeros. */
int sq_volume_trim(sq_log *log, uint64_t handle, uint64_t offset_bytes, uint64_t length_bytes,
                   struct sq_fault *fault_out);

/* Fills extents_out with the first capacity extents from lba on, in ascending order; count_out is how
 * many were filled. */
int sq_volume_extents(sq_log *log, uint64_t handle, uint64_t lba, uint64_t capacity,
                      struct sq_extent *extents_out, uint64_t *count_out);
