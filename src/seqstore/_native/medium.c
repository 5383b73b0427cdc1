/* medium.c: media in memory and the one rule that they all keep: appends at write pointers.
 *
 * A memory medium keeps the blocks; a tags medium keeps one word a block, who and which address, so that
 * terabytes fit. See docs/explanation/design.md, "The medium".
 */
#include "medium.h"

#include <stdlib.h>
#include <string.h>

#include "pages.h"

static size_t stored_bytes(const sq_medium *medium)
{
    uint64_t blocks = medium->geometry.block_count;
    return medium->kind == SQ_MEDIUM_TAGS ? blocks * sizeof(uint64_t)
                                          : blocks * medium->geometry.block_bytes;
}

static int geometry_is_valid(const struct sq_geometry *geometry)
{
    uint32_t block = geometry->block_bytes;
    return block >= 512 && block <= 65536 && (block & (block - 1)) == 0 &&
           geometry->zone_blocks >= 4 && geometry->block_count > 0 &&
           geometry->block_count < 0xFFFFFFF0 &&
           geometry->block_count % geometry->zone_blocks == 0;
}

int sq_medium_create(int kind, const struct sq_geometry *geometry, sq_medium **medium_out)
{
    if ((kind != SQ_MEDIUM_MEMORY && kind != SQ_MEDIUM_TAGS) || !geometry_is_valid(geometry))
        return SQ_E_INVALID;
    sq_medium *medium = calloc(1, sizeof *medium);
    if (medium == NULL)
        return SQ_E_NO_MEMORY;
    medium->kind = kind;
    medium->geometry = *geometry;
    medium->references = 1;
    pthread_mutex_init(&medium->lock, NULL);
    size_t zones = (size_t)(geometry->block_count / geometry->zone_blocks);
    medium->write_pointers = calloc(zones, sizeof *medium->write_pointers);
    void *stored = sq_pages_array(stored_bytes(medium));
    if (kind == SQ_MEDIUM_TAGS)
        medium->tags = stored;
    else
        medium->payload = stored;
    if (medium->write_pointers == NULL || stored == NULL) {
        sq_medium_destroy(medium);
        return SQ_E_NO_MEMORY;
    }
    *medium_out = medium;
    return SQ_OK;
}

static void free_medium(sq_medium *medium)
{
    sq_pages_unmap(medium->payload, stored_bytes(medium));
    sq_pages_unmap(medium->tags, stored_bytes(medium));
    free(medium->write_pointers);
    pthread_mutex_destroy(&medium->lock);
    free(medium);
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

static int in_bounds(const sq_medium *medium, uint64_t mba, uint64_t count)
{
    uint64_t blocks = medium->geometry.block_count;
    return mba <= blocks && count <= blocks - mba;
}

static uint8_t *payload_at(const sq_medium *medium, uint64_t mba)
{
    return medium->payload + mba * medium->geometry.block_bytes;
}

/* ---- appending ------------------------------------------------------------------------------ */

/* May count blocks be appended at mba? The caller holds the lock. */
static int check_append(const sq_medium *medium, uint64_t mba, uint64_t count)
{
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    uint32_t zone_blocks = medium->geometry.zone_blocks;
    if (mba == medium->geometry.block_count)
        return SQ_E_SEQUENTIAL;
    uint32_t pointer = medium->write_pointers[mba / zone_blocks];
    return mba % zone_blocks == pointer && count <= zone_blocks - pointer ? SQ_OK : SQ_E_SEQUENTIAL;
}

static void advance(sq_medium *medium, uint64_t mba, uint64_t count)
{
    medium->write_pointers[mba / medium->geometry.zone_blocks] += (uint32_t)count;
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
                     const struct sq_tag *tags)
{
    int is_tags = medium->kind == SQ_MEDIUM_TAGS;
    if (count == 0 || (is_tags ? tags == NULL || !tags_fit(tags, count) : data == NULL))
        return SQ_E_INVALID;
    pthread_mutex_lock(&medium->lock);
    int status = check_append(medium, mba, count);
    if (status == SQ_OK && medium->owned)
        status = SQ_E_OWNED;
    if (status == SQ_OK)
        advance(medium, mba, count);
    if (status == SQ_OK && is_tags)
        for (uint64_t i = 0; i < count; i++)
            medium->tags[mba + i] = tags[i].state == SQ_SUMMARY
                                        ? SQ_TAG_SUMMARY
                                        : sq_tag_data(tags[i].volume, tags[i].lba);
    else if (status == SQ_OK)
        memcpy(payload_at(medium, mba), data, count * medium->geometry.block_bytes);
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_reset(sq_medium *medium, uint64_t zone)
{
    if (zone >= medium->geometry.block_count / medium->geometry.zone_blocks)
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    int status = medium->owned ? SQ_E_OWNED : SQ_OK;
    if (status == SQ_OK)
        medium->write_pointers[zone] = 0;
    pthread_mutex_unlock(&medium->lock);
    return status;
}

int sq_medium_write_pointer(sq_medium *medium, uint64_t zone, uint64_t *mba_out)
{
    if (zone >= medium->geometry.block_count / medium->geometry.zone_blocks)
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    *mba_out = zone * medium->geometry.zone_blocks + medium->write_pointers[zone];
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}

/* ---- the owner's -------------------------------------------------------------------------- */

int sq_medium_claim(sq_medium *medium)
{
    uint64_t zones = medium->geometry.block_count / medium->geometry.zone_blocks;
    pthread_mutex_lock(&medium->lock);
    int is_new = !medium->owned;
    for (uint64_t zone = 0; zone < zones; zone++)
        is_new = is_new && medium->write_pointers[zone] == 0;
    medium->owned = medium->owned || is_new;
    medium->references += is_new;
    pthread_mutex_unlock(&medium->lock);
    return is_new ? SQ_OK : SQ_E_INVALID;
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

void sq_medium_restart(sq_medium *medium, uint32_t zone)
{
    pthread_mutex_lock(&medium->lock);
    medium->write_pointers[zone] = 0;
    pthread_mutex_unlock(&medium->lock);
}

/* ---- reading and sanitization --------------------------------------------------------------- */

int sq_medium_read(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    if (medium->payload == NULL)
        return SQ_E_NO_PAYLOAD;
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    memcpy(data_out, payload_at(medium, mba), count * medium->geometry.block_bytes);
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
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

int sq_medium_overwrite(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data)
{
    if (medium->payload == NULL)
        return SQ_E_NO_PAYLOAD;
    if (!in_bounds(medium, mba, count))
        return SQ_E_BOUNDS;
    pthread_mutex_lock(&medium->lock);
    memcpy(payload_at(medium, mba), data, count * medium->geometry.block_bytes);
    pthread_mutex_unlock(&medium->lock);
    return SQ_OK;
}
