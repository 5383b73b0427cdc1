/* recorder.h: what requests ask of the medium, noted for a model of its times.
 *
 * Nothing is noted block by block: how far the heads have come says what was appended. So the hooks stand at
 * requests, at segments that are cleaned and at segments that are full; where nothing is noted
 * (log->recorder is NULL) each is a branch that the processor predicts.
 * Lock: the log's, held alone.
 */
#ifndef SEQSTORE_RECORDER_H
#define SEQSTORE_RECORDER_H

#include "internal.h"

int sq_recorder_init(sq_log *log);
void sq_recorder_free(sq_log *log);

/* What follows is caused by that request of the batch. */
void sq_recorder_begin(sq_log *log, uint64_t request);

/* Blocks of a volume are read, as far as they are mapped. */
void sq_recorder_read(sq_log *log, const struct sq_volume *volume, uint64_t lba, uint64_t count);

/* The cleaner reads what is live in [first, end), and is done with it. */
void sq_recorder_clean(sq_log *log, uint32_t first, uint32_t end);
void sq_recorder_cleaned(sq_log *log, uint32_t first);

/* The head leaves its segment, which is full. */
void sq_recorder_seal(sq_log *log, const struct sq_head *head);

#endif
