/* seqstore.h: the headers of the interface, with what cffi cannot read: the include guard, the types,
 * and what every file needs. */
#ifndef SEQSTORE_H
#define SEQSTORE_H

#include <stddef.h>
#include <stdint.h>

#include "seqstore_api.h"
#include "volume_api.h"
#include "deletion_api.h"
#include "crypto_api.h"
#include "sanitize_api.h"

_Static_assert(sizeof(struct sq_ledger_entry) == 40, "LEDGER in records.py");
_Static_assert(sizeof(struct sq_extent) == 32, "EXTENT in records.py");
_Static_assert(sizeof(struct sq_live_seal) == 16, "LIVE_SEAL in records.py");
_Static_assert(sizeof(struct sq_tree_node) == 48, "NODE_BYTES in crypt.py");
_Static_assert(sizeof(struct sq_tag) == 24, "TAG in records.py");

/* Leaves the function when a call fails. */
#define SQ_TRY(call)                  \
    do {                              \
        int status_ = (call);         \
        if (status_ != SQ_OK)         \
            return status_;           \
    } while (0)

#endif
