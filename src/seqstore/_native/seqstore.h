/* seqstore.h: the headers of the interface, with what cffi cannot read: the include guard and the types. */
#ifndef SEQSTORE_H
#define SEQSTORE_H

#include <stddef.h>
#include <stdint.h>

#include "seqstore_api.h"
#include "deletion_api.h"
#include "crypto_api.h"
#include "sanitize_api.h"

_Static_assert(sizeof(struct sq_ledger_entry) == 40, "LEDGER in records.py");
_Static_assert(sizeof(struct sq_extent) == 32, "EXTENT in records.py");
_Static_assert(sizeof(struct sq_tag) == 24, "TAG in records.py");

#endif
