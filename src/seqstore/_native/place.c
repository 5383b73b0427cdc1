/* place.c: which head takes a block, by its class.
 *
 *   single     all to one head
 *   separate   what users write apart from what the cleaner moves
 *   dac        a class up at each write, one down at each move; Chiang, Lee, Chang, 1999
 *   sepbit     by the lifespan inferred from how soon the last version died, and by age once moved;
 *              Wang et al., FAST 2022
 *   multilog   by update frequency, learnt from promotions and demotions; Stoica and Ailamaki, VLDB 2013
 *   by_tenant, by_volume  theirs, modulo the number of classes
 *   oracle     by the time until the block will be written next, in segments
 *   custom     the caller's
 */
#include "place.h"

#include <stdlib.h>

#include "pages.h"
#include "select.h"

/* SepBIT: segments of class 0 over which the lifespan is averaged, and the steps of age. */
#define SEPBIT_SEGMENTS 16u
#define SEPBIT_STEP 4u

static int uses_births(uint32_t placement)
{
    return placement == SQ_PLACE_SEPBIT || placement == SQ_PLACE_MULTILOG || placement == SQ_PLACE_CUSTOM;
}

/* Heads that the cleaner fills. */
static uint32_t cleaner_heads(uint32_t placement, uint32_t classes)
{
    switch (placement) {
    case SQ_PLACE_SINGLE:
    case SQ_PLACE_SEPARATE:
        return 1;
    case SQ_PLACE_SEPBIT:
        return classes - 2;
    default:
        return classes;
    }
}

int sq_place_plan(sq_log *log, const struct sq_log_options *options)
{
    uint32_t classes = options->classes, placement = options->placement;
    uint32_t least = placement == SQ_PLACE_SEPBIT ? 4 : placement == SQ_PLACE_SEPARATE ? 2 : 1;
    if (placement == SQ_PLACE_SINGLE)
        classes = 1;
    if (placement == SQ_PLACE_SEPARATE)
        classes = 2;
    if (classes < least || classes > SQ_CLASSES_MAX || placement > SQ_PLACE_CUSTOM)
        return SQ_E_INVALID;
    const struct sq_policy_calls *calls = options->calls;
    if ((placement == SQ_PLACE_CUSTOM && (calls == NULL || calls->place == NULL)) ||
        (options->selection == SQ_SELECT_CUSTOM && (calls == NULL || calls->select == NULL)))
        return SQ_E_INVALID;
    log->cleaner.placement = placement;
    log->class_count = classes;
    log->cleaner.spare_segments = cleaner_heads(placement, classes);
    if (options->spare_segments > log->cleaner.spare_segments)
        log->cleaner.spare_segments = options->spare_segments;
    return SQ_OK;
}

int sq_place_init(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    size_t bytes = log->block_count * sizeof *cleaner->births;
    cleaner->sepbit.lifespan = UINT64_MAX;
    if (uses_births(cleaner->placement) && (cleaner->births = sq_pages_array(bytes)) == NULL)
        return SQ_E_NO_MEMORY;
    if (cleaner->placement == SQ_PLACE_ORACLE && (cleaner->deaths = sq_pages_array(bytes)) == NULL)
        return SQ_E_NO_MEMORY;
    if (cleaner->placement == SQ_PLACE_MULTILOG &&
        (cleaner->multilog = calloc(1, sizeof *cleaner->multilog)) == NULL)
        return SQ_E_NO_MEMORY;
    return SQ_OK;
}

void sq_place_free(sq_log *log)
{
    size_t bytes = log->block_count * sizeof *log->cleaner.births;
    sq_pages_unmap(log->cleaner.births, bytes);
    sq_pages_unmap(log->cleaner.deaths, bytes);
}

/* The class of the segment; it may have been written when there were more of them. */
static uint32_t class_of(const sq_log *log, uint32_t segment)
{
    uint32_t class = log->segments[segment].class;
    return class < log->class_count ? class : log->class_count - 1;
}

static uint32_t class_at(const sq_log *log, uint32_t mba)
{
    return class_of(log, sq_segment_of(log, mba));
}

/* User time since the block at mba was written. */
static uint32_t age_at(const sq_log *log, uint64_t now, uint32_t mba)
{
    return (uint32_t)now - log->cleaner.births[mba];
}

/* ---- sepbit ---------------------------------------------------------------------------------- */

/* The queue holds the addresses of recent writes. A block that is still in it, and whose last version died
 * sooner than segments of class 0 usually live, will probably die as soon. */
static uint32_t sepbit_user(sq_log *log, uint32_t old)
{
    struct sq_sepbit *sepbit = &log->cleaner.sepbit;
    uint64_t live = log->cleaner.data_blocks - log->cleaner.garbage_blocks;
    uint64_t soon = sepbit->lifespan < sepbit->queue ? sepbit->lifespan : sepbit->queue;
    uint32_t class = old == SQ_UNMAPPED || age_at(log, log->stats.user_blocks + 1, old) >= soon;
    sepbit->queue++;
    if (sepbit->queue > (live < sepbit->lifespan ? live : sepbit->lifespan))
        sepbit->queue -= sepbit->queue - 1 > sepbit->lifespan ? 2 : 1;
    return class;
}

static uint32_t sepbit_relocated(const sq_log *log, uint32_t mba)
{
    const struct sq_sepbit *sepbit = &log->cleaner.sepbit;
    if (sepbit->victim == 0)
        return 2;
    uint32_t class = 3, last = log->class_count - 1;
    double age = age_at(log, log->stats.user_blocks, mba), limit = SEPBIT_STEP * (double)sepbit->lifespan;
    for (; age >= limit && class < last; class++)
        limit *= SEPBIT_STEP;
    return class;
}

static void sepbit_collect(sq_log *log, uint32_t victim)
{
    struct sq_sepbit *sepbit = &log->cleaner.sepbit;
    sepbit->victim = class_of(log, victim);
    if (sepbit->victim != 0)
        return;
    sepbit->lifespans += log->stats.user_blocks - log->cleaner.opened_at[victim];
    if (++sepbit->collected < SEPBIT_SEGMENTS)
        return;
    sepbit->lifespan = sepbit->lifespans / SEPBIT_SEGMENTS;
    sepbit->lifespans = 0;
    sepbit->collected = 0;
}

/* ---- multi-log ------------------------------------------------------------------------------- */

static uint32_t multilog_user(sq_log *log, uint32_t old)
{
    const struct sq_multilog *multilog = log->cleaner.multilog;
    uint32_t class = old == SQ_UNMAPPED ? 0 : class_at(log, old);
    if (class == 0 || multilog->cleaned_blocks[class] == 0)
        return class;
    /* A block of this class is expected to come again after half of what the class takes to turn over. */
    double garbage = (double)multilog->garbage_blocks[class] / (double)multilog->cleaned_blocks[class];
    double expected = (double)multilog->live_blocks[class] * (1 - garbage) / 2;
    double sooner = expected - age_at(log, log->stats.user_blocks + 1, old);
    return sooner > 0 && sq_cleaner_draw(&log->cleaner) * expected < sooner ? class - 1 : class;
}

static uint32_t multilog_relocated(sq_log *log, uint32_t mba)
{
    struct sq_multilog *multilog = log->cleaner.multilog;
    uint32_t class = class_at(log, mba);
    if (class < multilog->highest)
        return class + 1;
    if (multilog->highest + 1 == log->class_count || multilog->live_blocks[class] < log->segment_data)
        return class;
    return ++multilog->highest;
}

static void multilog_collect(sq_log *log, uint32_t victim)
{
    struct sq_multilog *multilog = log->cleaner.multilog;
    const struct sq_segment *segment = &log->segments[victim];
    multilog->cleaned_blocks[segment->class] += segment->data_blocks;
    multilog->garbage_blocks[segment->class] += segment->data_blocks - segment->live_blocks;
    /* Counted anew every so often: a count at each death would cost every write. */
    if (log->stats.cleaned_segments % (1 + log->segment_count / 64) != 0)
        return;
    memset(multilog->live_blocks, 0, sizeof multilog->live_blocks);
    for (uint32_t i = 0; i < log->segment_count; i++)
        if (log->segments[i].state != SQ_SEGMENT_FREE)
            multilog->live_blocks[log->segments[i].class] += log->segments[i].live_blocks;
}

/* ---- all ------------------------------------------------------------------------------------- */

static uint32_t by_death(const sq_log *log, uint32_t remaining)
{
    uint32_t class = remaining / log->segment_data;
    return class < log->class_count ? class : log->class_count - 1;
}

uint32_t sq_place_user(sq_log *log, const struct sq_layer *layer, uint32_t old, uint64_t death)
{
    uint32_t last = log->class_count - 1, class = 0;
    switch (log->cleaner.placement) {
    case SQ_PLACE_DAC:
        if (old != SQ_UNMAPPED)
            class = class_at(log, old) + 1;
        return class < last ? class : last;
    case SQ_PLACE_SEPBIT:
        return sepbit_user(log, old);
    case SQ_PLACE_MULTILOG:
        return multilog_user(log, old);
    case SQ_PLACE_BY_TENANT:
        return (uint32_t)((layer->tenant - 1) % log->class_count);
    case SQ_PLACE_BY_VOLUME:
        return (uint32_t)((layer->volume - 1) % log->class_count);
    case SQ_PLACE_ORACLE:
        return by_death(log, (uint32_t)death - (uint32_t)(log->stats.user_blocks + 1));
    default:
        return 0;
    }
}

uint32_t sq_place_relocated(sq_log *log, const struct sq_layer *layer, uint32_t mba)
{
    uint32_t class = class_at(log, mba);
    switch (log->cleaner.placement) {
    case SQ_PLACE_SEPARATE:
        return 1;
    case SQ_PLACE_DAC:
        return class > 0 ? class - 1 : 0;
    case SQ_PLACE_SEPBIT:
        return sepbit_relocated(log, mba);
    case SQ_PLACE_MULTILOG:
        return multilog_relocated(log, mba);
    case SQ_PLACE_BY_TENANT:
        return (uint32_t)((layer->tenant - 1) % log->class_count);
    case SQ_PLACE_BY_VOLUME:
        return (uint32_t)((layer->volume - 1) % log->class_count);
    case SQ_PLACE_ORACLE:
        return by_death(log, log->cleaner.deaths[mba] - (uint32_t)log->stats.user_blocks);
    default:
        return class;
    }
}

void sq_place_collect(sq_log *log, uint32_t victim)
{
    if (log->cleaner.placement == SQ_PLACE_SEPBIT)
        sepbit_collect(log, victim);
    else if (log->cleaner.placement == SQ_PLACE_MULTILOG)
        multilog_collect(log, victim);
}

/* ---- the caller's ---------------------------------------------------------------------------- */

static struct sq_policy_block describe(const sq_log *log, const struct sq_layer *layer, uint64_t lba,
                                       uint32_t old, uint64_t relocated)
{
    struct sq_policy_block block = {.tenant = layer->tenant, .volume = layer->volume, .lba = lba,
                                    .age = SQ_NO_ADDRESS, .class_id = SQ_NO_CLASS, .relocated = relocated};
    if (old != SQ_UNMAPPED) {
        block.age = age_at(log, log->stats.user_blocks, old);
        block.class_id = class_at(log, old);
    }
    return block;
}

static int ask(const sq_log *log, const struct sq_policy_block *blocks, uint32_t count, uint8_t *classes_out)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    memset(classes_out, 0, count);
    if (cleaner->calls->place(cleaner->context, blocks, count, classes_out) != 0)
        return SQ_E_POLICY;
    for (uint32_t i = 0; i < count; i++)
        if (classes_out[i] >= log->class_count)
            return SQ_E_POLICY;
    return SQ_OK;
}

int sq_place_by_call(sq_log *log, const struct sq_layer *layer, const uint64_t *lbas, uint32_t count,
                     uint8_t *classes_out)
{
    struct sq_policy_block blocks[SQ_BATCH] = {0};
    for (uint32_t i = 0; i < count; i++)
        blocks[i] = describe(log, layer, lbas[i], sq_map_get(&layer->map, lbas[i]), 0);
    return ask(log, blocks, count, classes_out);
}

int sq_place_victim_by_call(sq_log *log, const uint32_t *live, uint32_t count, uint8_t *classes_out)
{
    struct sq_policy_block blocks[SQ_BATCH] = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry = log->ledger[live[i]];
        blocks[i] = describe(log, log->layers[sq_entry_slot(entry)], sq_entry_value(entry), live[i], 1);
    }
    return ask(log, blocks, count, classes_out);
}
