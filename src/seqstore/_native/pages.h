/* pages.h: memory for the large arrays, straight from the kernel.
 * Fresh pages are zero; returned pages are wiped by the kernel before anybody else sees them. */
#ifndef SEQSTORE_PAGES_H
#define SEQSTORE_PAGES_H

#include <stddef.h>

/* bytes (rounded up to pages), aligned to alignment_bytes (a power of two, at least a page). Asks for
 * huge pages where huge is set. NULL when the kernel refuses. */
void *sq_pages_map(size_t bytes, size_t alignment_bytes, int huge);
void sq_pages_unmap(void *pages, size_t bytes);

/* The bytes of a large array: huge pages from 4 MiB on. */
void *sq_pages_array(size_t bytes);

/* Gives the memory back and keeps the address range; what it then holds is undefined. */
void sq_pages_forget(void *pages, size_t bytes);

#endif
