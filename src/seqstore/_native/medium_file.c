/* medium_file.c: a medium in a regular file or on a block device.
 *
 * Direct files (O_DIRECT) want buffers that are aligned; others go through one of a few aligned buffers of
 * the medium's own, which are zero between uses: they hold tenants' bytes.
 * Lock: the pool's, for which of its buffers are in use. Nothing is locked while the file works.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "medium.h"
#include "pages.h"

/* Younger than many a C library; the same on every machine but Alpha. */
#if defined(__linux__) && !defined(SYS_cachestat) && !defined(__alpha__)
#define SYS_cachestat 451
#endif

#define ALIGNMENT 4096u
#define POOL_BUFFERS 4u
#define BUFFER_BYTES ((size_t)256 << 10) /* a multiple of the largest block */
#define START_BYTES ((size_t)256 << 10)  /* appended at once, that are worth telling the drive */

struct file {
    int descriptor;
    int direct;
    const uint8_t *mapped; /* the file's bytes, for reading without a call; or NULL */
    size_t bytes;
    size_t block_bytes;
    pthread_mutex_t lock;
    pthread_cond_t returned;
    uint8_t *free[POOL_BUFFERS];
    uint32_t free_count;
    uint8_t *pool; /* all buffers; NULL unless direct */
};

/* ---- the whole range, however much the system does at once ----------------------------------- */

/* What counts as done of a direct transfer are whole blocks: the next one must begin aligned. */
static size_t progress(const struct file *file, ssize_t moved)
{
    size_t done = (size_t)moved;
    return file->direct ? done - done % file->block_bytes : done;
}

static int write_all(const struct file *file, const uint8_t *data, size_t bytes, off_t offset)
{
    while (bytes > 0) {
        ssize_t moved = pwrite(file->descriptor, data, bytes, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return errno;
        size_t done = progress(file, moved);
        if (done == 0)
            return EIO;
        data += done;
        bytes -= done;
        offset += (off_t)done;
    }
    return 0;
}

/* The end of the file comes too early: somebody cut it, and that is an error of the medium. */
static int read_all(const struct file *file, uint8_t *data_out, size_t bytes, off_t offset)
{
    while (bytes > 0) {
        ssize_t moved = pread(file->descriptor, data_out, bytes, offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return errno;
        size_t done = progress(file, moved);
        if (done == 0)
            return EIO;
        data_out += done;
        bytes -= done;
        offset += (off_t)done;
    }
    return 0;
}

/* ---- aligned buffers ------------------------------------------------------------------------ */

static int needs_buffer(const struct file *file, const uint8_t *data)
{
    return file->direct && (uintptr_t)data % ALIGNMENT != 0;
}

static uint8_t *borrow(struct file *file)
{
    pthread_mutex_lock(&file->lock);
    while (file->free_count == 0)
        pthread_cond_wait(&file->returned, &file->lock);
    uint8_t *buffer = file->free[--file->free_count];
    pthread_mutex_unlock(&file->lock);
    return buffer;
}

static void give_back(struct file *file, uint8_t *buffer, size_t used_bytes)
{
    explicit_bzero(buffer, used_bytes);
    pthread_mutex_lock(&file->lock);
    file->free[file->free_count++] = buffer;
    pthread_cond_signal(&file->returned);
    pthread_mutex_unlock(&file->lock);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int write_buffered(struct file *file, const uint8_t *data, size_t bytes, off_t offset)
{
    uint8_t *buffer = borrow(file);
    size_t used = smaller(bytes, BUFFER_BYTES);
    int os_error = 0;
    for (size_t done = 0; done < bytes && os_error == 0; done += BUFFER_BYTES) {
        size_t part = smaller(bytes - done, BUFFER_BYTES);
        memcpy(buffer, data + done, part);
        os_error = write_all(file, buffer, part, offset + (off_t)done);
    }
    give_back(file, buffer, used);
    return os_error;
}

static int read_buffered(struct file *file, uint8_t *data_out, size_t bytes, off_t offset)
{
    uint8_t *buffer = borrow(file);
    size_t used = smaller(bytes, BUFFER_BYTES);
    int os_error = 0;
    for (size_t done = 0; done < bytes && os_error == 0; done += BUFFER_BYTES) {
        size_t part = smaller(bytes - done, BUFFER_BYTES);
        os_error = read_all(file, buffer, part, offset + (off_t)done);
        if (os_error == 0)
            memcpy(data_out + done, buffer, part);
    }
    give_back(file, buffer, used);
    return os_error;
}

/* ---- operations ----------------------------------------------------------------------------- */

/* The drive gets to work while the next record gathers, so that a sync finds less to do. Not worth a call
 * for a few blocks. What goes wrong meanwhile the sync reports. */
static void start_writing(const struct file *file, size_t bytes, off_t offset)
{
#if defined(SYNC_FILE_RANGE_WRITE)
    if (bytes >= START_BYTES && !file->direct)
        (void)sync_file_range(file->descriptor, offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
#else
    (void)file, (void)bytes, (void)offset;
#endif
}

static int file_write(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data)
{
    struct file *file = medium->backend;
    size_t bytes = count * file->block_bytes;
    off_t offset = (off_t)(mba * file->block_bytes);
    int os_error = needs_buffer(file, data) ? write_buffered(file, data, bytes, offset)
                                            : write_all(file, data, bytes, offset);
    if (os_error == 0)
        start_writing(file, bytes, offset);
    return os_error;
}

static int file_read(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    struct file *file = medium->backend;
    size_t bytes = count * file->block_bytes;
    off_t offset = (off_t)(mba * file->block_bytes);
    if (file->mapped != NULL) {
        memcpy(data_out, file->mapped + offset, bytes);
        return 0;
    }
    return needs_buffer(file, data_out) ? read_buffered(file, data_out, bytes, offset)
                                        : read_all(file, data_out, bytes, offset);
}

static void file_hint(sq_medium *medium, uint64_t mba, uint64_t count)
{
    const struct file *file = medium->backend;
    off_t offset = (off_t)(mba * file->block_bytes), bytes = (off_t)(count * file->block_bytes);
    if (!file->direct)
        (void)posix_fadvise(file->descriptor, offset, bytes, POSIX_FADV_WILLNEED);
}

/* Blocks that were read alone stand in the way of the system's reading ahead: at each it begins anew, with
 * little. Where the first block is cached and nothing behind it is, it is read again with the others. */
static void file_stream(sq_medium *medium, uint64_t mba, uint64_t count)
{
#if defined(SYS_cachestat)
    const struct file *file = medium->backend;
    uint64_t offset = mba * file->block_bytes, bytes = count * file->block_bytes;
    struct { uint64_t offset, bytes; } behind = {offset + file->block_bytes, bytes - file->block_bytes};
    struct { uint64_t cached, dirty, written_back, evicted, evicted_lately; } found = {1, 0, 0, 0, 0};
    if (!file->direct && count > 1 && syscall(SYS_cachestat, file->descriptor, &behind, &found, 0) == 0 &&
        found.cached == 0)
        (void)posix_fadvise(file->descriptor, (off_t)offset, (off_t)file->block_bytes, POSIX_FADV_DONTNEED);
#else
    (void)medium, (void)mba, (void)count;
#endif
}

/* Clean pages leave the system's cache, and this process's view of it, which would keep them there. */
static void file_forget(sq_medium *medium, uint64_t mba, uint64_t count)
{
    const struct file *file = medium->backend;
    uint64_t offset = mba * file->block_bytes, bytes = count * file->block_bytes;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = offset / page * page;
    if (file->mapped != NULL)
        (void)madvise((void *)(uintptr_t)(file->mapped + first), offset + bytes - first, MADV_DONTNEED);
    if (!file->direct)
        (void)posix_fadvise(file->descriptor, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static int file_sync(sq_medium *medium)
{
    const struct file *file = medium->backend;
    int failed;
    do
        failed = fdatasync(file->descriptor) != 0;
    while (failed && errno == EINTR);
    return failed ? errno : 0;
}

static void free_file(struct file *file)
{
    sq_pages_unmap(file->pool, POOL_BUFFERS * BUFFER_BYTES);
    if (file->mapped != NULL)
        munmap((void *)(uintptr_t)file->mapped, file->bytes);
    pthread_cond_destroy(&file->returned);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

static void file_destroy(sq_medium *medium)
{
    struct file *file = medium->backend;
    close(file->descriptor);
    free_file(file);
}

static const struct sq_medium_ops file_ops = {
    .append = file_write,
    .read = file_read,
    .sync = file_sync,
    .hint = file_hint,
    .stream = file_stream,
    .forget = file_forget,
    .overwrite = file_write,
    .destroy = file_destroy,
    .is_parallel = 1,
};

/* What the kind of access needs. */
static int prepare(struct file *file, int access)
{
    if (access == SQ_FILE_DIRECT) {
        file->pool = sq_pages_map(POOL_BUFFERS * BUFFER_BYTES, ALIGNMENT, 0);
        return file->pool == NULL ? SQ_E_NO_MEMORY : SQ_OK;
    }
    if (access == SQ_FILE_MAPPED) {
        void *mapped = mmap(NULL, file->bytes, PROT_READ, MAP_SHARED, file->descriptor, 0);
        if (mapped == MAP_FAILED)
            return SQ_E_NO_MEMORY;
        file->mapped = mapped;
    }
    return SQ_OK;
}

int sq_medium_create_file(const struct sq_geometry *geometry, int descriptor, int access,
                          sq_medium **medium_out)
{
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return SQ_E_NO_MEMORY;
    int direct = access == SQ_FILE_DIRECT;
    file->descriptor = descriptor;
    file->direct = direct;
    file->block_bytes = geometry->block_bytes;
    file->bytes = geometry->block_count * geometry->block_bytes;
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->returned, NULL);
    int status = prepare(file, access);
    if (status == SQ_OK)
        status = sq_medium_make(SQ_MEDIUM_FILE, geometry, &file_ops, file, medium_out);
    if (status != SQ_OK) {
        free_file(file);
        return status;
    }
    (*medium_out)->mapped = file->mapped;
    for (; direct && file->free_count < POOL_BUFFERS; file->free_count++)
        file->free[file->free_count] = file->pool + file->free_count * BUFFER_BYTES;
    return SQ_OK;
}
