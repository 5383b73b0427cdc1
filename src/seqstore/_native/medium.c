/* medium.c: the one rule that all media keep, appends at write pointers; and media in memory.
 *
 * A memory medium keeps the blocks; a tags medium keeps one word a block, who and which address, so that
 * terabytes fit. The others reach their bytes through sq_medium_ops: medium_file.c, medium_calls.c.
 * See docs/explanation/design.md, "The medium".
 */
#include "medium.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"

/* ---- making and ending ---------------------------------------------------------------------- */

static size_t stored_bytes(const sq_medium *medium)
{
    uint64_t blocks = medium->geometry.block_count;
    return medium->kind == SQ_MEDIUM_TAGS ? blocks * sizeof(uint64_t)
                                          : blocks * medium->geometry.block_bytes;
}

static uint64_t zone_count(const sq_medium *medium)
{
    return medium->geometry.block_count / medium->geometry.zone_blocks;
}

static int geometry_is_valid(const struct sq_geometry *geometry)
{
    uint32_t block = geometry->block_bytes;
    return block >= 512 && block <= 65536 && (block & (block - 1)) == 0 &&
           geometry->zone_blocks >= 4 && geometry->block_count > 0 &&
           geometry->block_count < 0xFFFFFFF0 &&
           geometry->block_count % geometry->zone_blocks == 0;
}

static void free_medium(sq_medium *medium)
{
    if (medium->backend != NULL)
        medium->ops->destroy(medium);
    sq_pages_unmap(medium->payload, stored_bytes(medium));
    sq_pages_unmap(medium->tags, stored_bytes(medium));
    free(medium->write_pointers);
    free(medium->moving);
    pthread_mutex_destroy(&medium->lock);
    free(medium);
}

int sq_medium_make(int kind, const struct sq_geometry *geometry, const struct sq_medium_ops *ops,
                   void *backend, sq_medium **medium_out)
{
    if (!geometry_is_valid(geometry))
        return SQ_E_INVALID;
    sq_medium *medium = calloc(1, sizeof *medium);
    if (medium == NULL)
        return SQ_E_NO_MEMORY;
    medium->kind = kind;
    medium->geometry = *geometry;
    medium->references = 1;
    pthread_mutex_init(&medium->lock, NULL);
    medium->write_pointers = calloc(zone_count(medium), sizeof *medium->write_pointers);
    medium->moving = calloc(zone_count(medium), sizeof *medium->moving);
    if (medium->write_pointers == NULL || medium->moving == NULL) {
        free_medium(medium);
        return SQ_E_NO_MEMORY;
    }
    medium->ops = ops;
    medium->backend = backend;
    *medium_out = medium;
    return SQ_OK;
}

int sq_medium_create(int kind, const struct sq_geometry *geometry, sq_medium **medium_out)
{
    if (kind != SQ_MEDIUM_MEMORY && kind != SQ_MEDIUM_TAGS)
        return SQ_E_INVALID;
    sq_medium *medium;
    int status = sq_medium_make(kind, geometry, NULL, NULL, &medium);
    if (status != SQ_OK)
        return status;
    void *stored = sq_pages_array(stored_bytes(medium));
    if (stored == NULL) {
        free_medium(medium);
        return SQ_E_NO_MEMORY;
    }
    if (kind == SQ_MEDIUM_TAGS)
        medium->tags = stored;
    else
        medium->payload = stored;
    *medium_out = medium;
    return SQ_OK;
}

/* Garbage is collected in any order: the medium goes with the last of those who hold it. */
static void drop(sq_medium *medium)
{
    pthread_mutex_lock(&medium->lock);
    int left = --medium->references;
    pthread_mutex_unlock(&medium->lock);
    if (left == 0)
        free_medium(medium);
}

void sq_medium_destroy(sq_medium *medium)
{
    if (medium != NULL)
        drop(medium);
}

void sq_medium_geometry(const sq_medium *medium, struct sq_geometry *geometry_out)
{
    *geometry_out = medium->geometry;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static int in_bounds(const sq_medium *medium, uint64_t mba, uint64_t count)
{
    uint64_t blocks = medium->geometry.block_count;
    return mba <= blocks && count <= blocks - mba;
}

static uint8_t *payload_at(const sq_medium *medium, uint64_t mba)
{
    return medium->payload + mba * medium->geometry.block_bytes;
}

/* The status for what an operation of the medium returned. */
static int io_status(int os_error, int *os_error_out)
{
    if (os_error == 0)
        return SQ_OK;
    if (os_error_out != NULL)
        *os_error_out = os_error > 0 ? os_error : EIO;
    return SQ_E_IO;
}

static void encode_tags(const sq_medium *medium, uint64_t mba, uint64_t count,
                        const struct sq_tag *tags)
{
    for (uint64_t i = 0; i < count; i++)
        medium->tags[mba + i] = tags[i].state == SQ_SUMMARY
                                    ? SQ_TAG_SUMMARY
                                    : sq_tag_data(tags[i].volume, tags[i].lba);
}

static struct sq_tag decode_tag(uint64_t word)
{
    uint64_t lba_mask = ((uint64_t)1 << SQ_TAG_LBA_BITS) - 1;
    uint64_t volume_mask = ((uint64_t)1 << SQ_TAG_VOLUME_BITS) - 1;
    struct sq_tag tag = {.volume = 0, .lba = SQ_NO_ADDRESS, .state = SQ_FREE};
    if (word == SQ_TAG_SUMMARY) {
        tag.state = SQ_SUMMARY;
    } else if (word != 0) {
        tag.state = SQ_LIVE;
        tag.volume = word >> SQ_TAG_LBA_BITS & volume_mask;
        tag.lba = word & lba_mask;
    }
    return tag;
}

/* ---- write pointers ------------------------------------------------------------------------- */

/* May count blocks be appended at mba? The caller holds the lock. */
static int check_append(const sq_medium *medium, uint64_t mba, uint64_t count)
{
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    uint32_t zone_blocks = medium->geometry.zone_blocks;
    if (mba == medium->geometry.block_count || medium->moving[mba / zone_blocks])
        return SQ_E_SEQUENTIAL;
    uint32_t pointer = medium->write_pointers[mba / zone_blocks];
    return mba % zone_blocks == pointer && count <= zone_blocks - pointer ? SQ_OK : SQ_E_SEQUENTIAL;
}

static void advance(sq_medium *medium, uint64_t mba, uint64_t count)
{
    medium->write_pointers[mba / medium->geometry.zone_blocks] += (uint32_t)count;
}

/* Appends through ops. The caller holds the lock and has checked; it is given up meanwhile. */
static int append_outside(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                          int *os_error_out)
{
    uint64_t zone = mba / medium->geometry.zone_blocks;
    medium->moving[zone] = 1;
    pthread_mutex_unlock(&medium->lock);
    int status = io_status(medium->ops->append(medium, mba, count, data), os_error_out);
    pthread_mutex_lock(&medium->lock);
    medium->moving[zone] = 0;
    if (status == SQ_OK)
        advance(medium, mba, count);
    return status;
}

/* Appends data, or tags to a tags medium. The caller holds the lock. */
static int append(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                  const struct sq_tag *tags, int *os_error_out)
{
    int status = check_append(medium, mba, count);
    if (status != SQ_OK)
        return status;
    if (medium->ops != NULL)
        return append_outside(medium, mba, count, data, os_error_out);
    if (medium->tags != NULL)
        encode_tags(medium, mba, count, tags);
    else
        memcpy(payload_at(medium, mba), data, count * medium->geometry.block_bytes);
    advance(medium, mba, count);
    return SQ_OK;
}

static int tags_fit(const struct sq_tag *tags, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (tags[i].state == SQ_LIVE ? tags[i].volume >> SQ_TAG_VOLUME_BITS != 0 ||
                                           tags[i].lba >> SQ_TAG_LBA_BITS != 0
                                     : tags[i].state != SQ_SUMMARY)
            return 0;
    return 1;
}

int sq_medium_append(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                     const struct sq_tag *tags, int *os_error_out)
{
    int is_tags = medium->kind == SQ_MEDIUM_TAGS;
    if (count == 0 || (is_tags ? tags == NULL || !tags_fit(tags, count) : data == NULL))
        return SQ_E_INVALID;
    pthread_mutex_lock(&medium->lock);
    int status = check_append(medium, mba, count);
    if (status == SQ_OK && medium->owned)
        status = SQ_E_OWNED;
    if (status == SQ_OK)
        status = append(medium, mba, count, data, tags, os_error_out);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

/* The caller holds the lock, which is given up while ops work. */
static int reset(sq_medium *medium, uint64_t zone, int *os_error_out)
{
    if (medium->moving[zone])
        return SQ_E_SEQUENTIAL;
    int status = SQ_OK;
    if (medium->ops != NULL && medium->ops->reset != NULL) {
        medium->moving[zone] = 1;
        pthread_mutex_unlock(&medium->lock);
        status = io_status(medium->ops->reset(medium, zone), os_error_out);
        pthread_mutex_lock(&medium->lock);
        medium->moving[zone] = 0;
    }
    if (status == SQ_OK)
        medium->write_pointers[zone] = 0;
    return status;
}

int sq_medium_reset(sq_medium *medium, uint64_t zone, int *os_error_out)
{
    if (zone >= zone_count(medium))
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    int status = medium->owned ? SQ_E_OWNED : reset(medium, zone, os_error_out);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_write_pointer(sq_medium *medium, uint64_t zone, uint64_t *mba_out)
{
    if (zone >= zone_count(medium))
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    *mba_out = zone * medium->geometry.zone_blocks + medium->write_pointers[zone];
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}

/* ---- the owner's ---------------------------------------------------------------------------- */

/* Takes the medium if it has no owner, nothing of it is moving and, when it must be new, nothing was
 * appended. */
static int take(sq_medium *medium, int must_be_new)
{
    pthread_mutex_lock(&medium->lock);
    int status = medium->owned ? SQ_E_OWNED : SQ_OK;
    for (uint64_t zone = 0; zone < zone_count(medium) && status == SQ_OK; zone++)
        if (medium->moving[zone] || (must_be_new && medium->write_pointers[zone] != 0))
            status = SQ_E_INVALID;
    if (status == SQ_OK) {
        medium->owned = 1;
        medium->references++;
    }
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_claim(sq_medium *medium)
{
    return take(medium, 1) == SQ_OK ? SQ_OK : SQ_E_INVALID;
}

int sq_medium_adopt(sq_medium *medium)
{
    return take(medium, 0);
}

void sq_medium_release(sq_medium *medium)
{
    pthread_mutex_lock(&medium->lock);
    medium->owned = 0;
    pthread_mutex_unlock(&medium->lock);
    drop(medium);
}

int sq_medium_publish(sq_medium *medium, uint64_t mba, uint64_t count)
{
    pthread_mutex_lock(&medium->lock);
    int status = check_append(medium, mba, count);
    if (status == SQ_OK)
        advance(medium, mba, count);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_restart(sq_medium *medium, uint32_t zone)
{
    pthread_mutex_lock(&medium->lock);
    int status = reset(medium, zone, NULL);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

void sq_medium_place(sq_medium *medium, uint32_t zone, uint32_t blocks)
{
    pthread_mutex_lock(&medium->lock);
    medium->write_pointers[zone] = blocks;
    pthread_mutex_unlock(&medium->lock);
}

int sq_medium_write(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                    int *os_error_out)
{
    if (medium->kind == SQ_MEDIUM_TAGS)
        return SQ_E_NO_PAYLOAD;
    if (count == 0)
        return SQ_E_INVALID;
    pthread_mutex_lock(&medium->lock);
    int status = append(medium, mba, count, data, NULL, os_error_out);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_fetch(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out,
                    int *os_error_out)
{
    if (medium->kind == SQ_MEDIUM_TAGS)
        return SQ_E_NO_PAYLOAD;
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    if (count == 0)
        return SQ_OK;
    if (medium->ops != NULL)
        return io_status(medium->ops->read(medium, mba, count, data_out), os_error_out);
    pthread_mutex_lock(&medium->lock);
    memcpy(data_out, payload_at(medium, mba), count * medium->geometry.block_bytes);
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}

int sq_medium_sync(sq_medium *medium, int *os_error_out)
{
    return medium->ops == NULL ? SQ_OK : io_status(medium->ops->sync(medium), os_error_out);
}

/* ---- reading, syncing and sanitization ------------------------------------------------------- */

int sq_medium_read(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out,
                   int *os_error_out)
{
    return sq_medium_fetch(medium, mba, count, data_out, os_error_out);
}

int sq_medium_flush(sq_medium *medium, int *os_error_out)
{
    return sq_medium_sync(medium, os_error_out);
}

int sq_medium_read_tags(sq_medium *medium, uint64_t mba, uint64_t count, struct sq_tag *tags_out)
{
    if (medium->tags == NULL)
        return SQ_E_INVALID;
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    for (uint64_t i = 0; i < count; i++)
        tags_out[i] = decode_tag(medium->tags[mba + i]);
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}

int sq_medium_overwrite(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                        int *os_error_out)
{
    if (medium->kind == SQ_MEDIUM_TAGS)
        return SQ_E_NO_PAYLOAD;
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    if (medium->ops != NULL && medium->ops->overwrite == NULL)
        return SQ_E_INVALID;
    if (count == 0)
        return SQ_OK;
    if (medium->ops != NULL)
        return io_status(medium->ops->overwrite(medium, mba, count, data), os_error_out);
    pthread_mutex_lock(&medium->lock);
    memcpy(payload_at(medium, mba), data, count * medium->geometry.block_bytes);
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}

void sq_medium_hint(sq_medium *medium, uint64_t mba, uint64_t count)
{
    if (medium->ops != NULL && medium->ops->hint != NULL && in_bounds(medium, mba, count))
        medium->ops->hint(medium, mba, count);
}

void sq_medium_forget(sq_medium *medium, uint64_t mba, uint64_t count)
{
    if (medium->ops != NULL && medium->ops->forget != NULL && in_bounds(medium, mba, count))
        medium->ops->forget(medium, mba, count);
}
