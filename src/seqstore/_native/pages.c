/* pages.c: anonymous memory from the kernel, aligned, with huge pages where they pay.
 *
 * The random accesses of a large drive (extent map, ledger) miss the TLB on every block with 4 KiB
 * pages: 95 ns an overwrite against 39 ns with huge pages at 2^28 blocks.
 */
#include "pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

void *sq_pages_map(size_t bytes, size_t alignment_bytes, int huge)
{
    size_t wanted = round_up(bytes, page_bytes());
    size_t slack = alignment_bytes > page_bytes() ? alignment_bytes : 0;
    if (bytes == 0 || wanted < bytes || wanted + slack < wanted)
        return NULL;
    uint8_t *start = mmap(NULL, wanted + slack, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    uint8_t *aligned = start;
    if (slack != 0) {
        size_t before = (alignment_bytes - (uintptr_t)start % alignment_bytes) % alignment_bytes;
        aligned = start + before;
        if (before != 0)
            munmap(start, before);
        if (slack != before)
            munmap(aligned + wanted, slack - before);
    }
#ifdef MADV_HUGEPAGE
    if (huge)
        madvise(aligned, wanted, MADV_HUGEPAGE);
#else
    (void)huge;
#endif
    return aligned;
}

void sq_pages_unmap(void *pages, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, round_up(bytes, page_bytes()));
}

void *sq_pages_array(size_t bytes)
{
    int huge = bytes >= 2 * HUGE_BYTES;
    return sq_pages_map(bytes, huge ? HUGE_BYTES : page_bytes(), huge);
}

void sq_pages_forget(void *pages, size_t bytes)
{
    madvise(pages, bytes, MADV_DONTNEED);
}
