/* select.c: which segment is cleaned next.
 *
 *   fifo             the one that was sealed first: the circular log
 *   greedy           the one with the fewest live blocks
 *   cost_benefit     the largest (1-u) age / (1+u); Rosenblum and Ousterhout, SOSP 1991
 *   cost_benefit_sqrt  the largest (1-u) sqrt(age) / u, as published simulators have it
 *   d_choices        the emptiest of d that are drawn; Van Houdt, SIGMETRICS 2013
 *   random_greedy    the emptiest of a fifth that is drawn, or of as many as an eighth of a segment's blocks
 *   windowed_greedy  the emptiest of those sealed first; Hu et al., SYSTOR 2009
 *   custom           the caller's
 *
 * Cost a segment that is cleaned: greedy kinds take a step for each possible number of live blocks.
 * Cost-benefit scores every segment, up to eight for each block of one; of more, a part in turns, and keeps
 * the best.
 */
#include "select.h"

#include <stdlib.h>

#include "place.h"

#define SCAN_LEAST 1024u
#define STRETCH 32u
#define SAMPLE_LEAST 32u
#define SAMPLE_PPM 200000u
#define GAIN_OF_NOTHING_LIVE 1e18

static uint32_t garbage_of(const struct sq_segment *segment)
{
    return segment->data_blocks - segment->live_blocks;
}

/* Cleaning it gains something, and it has the share of garbage from which on segments are cleaned. What the
 * newest checkpoint needs, itself above all, would have to be followed by another. */
static int is_worth(const sq_log *log, uint32_t index)
{
    const struct sq_segment *segment = &log->segments[index];
    uint64_t garbage = garbage_of(segment);
    if (log->durable.on && log->durable.newest[index] >= log->durable.checkpoint)
        return 0;
    return segment->live_blocks < log->segment_data &&
           garbage * 1000000 >= (uint64_t)log->cleaner.least_ppm * segment->data_blocks;
}

static uint32_t choose_oldest(const sq_log *log)
{
    uint32_t segment = sq_list_first(&log->sealed, log->segment_count);
    while (log->cleaner.least_ppm != 0 && segment != log->segment_count && !is_worth(log, segment))
        segment = log->sealed.next[segment];
    return segment;
}

static int is_emptier(const sq_log *log, uint32_t segment, uint32_t best)
{
    return best == log->segment_count ||
           log->segments[segment].live_blocks < log->segments[best].live_blocks;
}

static uint32_t choose_emptiest(const sq_log *log)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t best = log->segment_count;
    for (uint32_t i = cleaner->starts == NULL ? 0 : cleaner->starts[0]; i < cleaner->candidate_end; i++) {
        uint32_t segment = cleaner->candidates[i];
        if (!is_worth(log, segment))
            continue;
        if (cleaner->starts != NULL)
            return segment;
        if (is_emptier(log, segment, best))
            best = segment;
    }
    return best;
}

/* A window in which nothing is dead moves on: its oldest segment goes behind all others. */
static uint32_t choose_in_window(sq_log *log)
{
    sq_window_move(log);
    uint32_t victim = choose_emptiest(log);
    return victim == log->segment_count && log->cleaner.least_ppm == 0 ? choose_oldest(log) : victim;
}

/* splitmix64; Steele et al., OOPSLA 2014 */
static uint64_t draw(struct sq_cleaner *cleaner)
{
    uint64_t z = cleaner->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

double sq_cleaner_draw(struct sq_cleaner *cleaner)
{
    return (double)(draw(cleaner) >> 11) * 0x1.0p-53;
}

static uint32_t choose_of_drawn(sq_log *log, uint64_t count)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t best = log->segment_count;
    if (cleaner->candidate_end == 0)
        return best;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)(((unsigned __int128)draw(cleaner) * cleaner->candidate_end) >> 64);
        uint32_t segment = cleaner->candidates[at];
        if (is_worth(log, segment) && is_emptier(log, segment, best))
            best = segment;
    }
    return best != log->segment_count ? best : choose_emptiest(log);
}

/* What a segment gains by its share of live blocks: what is multiplied by its age, and squared where the form
 * has the root. */
static double gain(uint32_t selection, double live, double dead)
{
    if (selection == SQ_SELECT_COST_BENEFIT && dead > 0)
        return dead / (dead + live + live);
    return live == 0 ? GAIN_OF_NOTHING_LIVE : dead / live * (dead / live);
}

int sq_select_init(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    if (cleaner->selection != SQ_SELECT_COST_BENEFIT && cleaner->selection != SQ_SELECT_COST_BENEFIT_SQRT)
        return SQ_OK;
    cleaner->gains = calloc((size_t)log->segment_data + 1, sizeof *cleaner->gains);
    if (cleaner->gains == NULL)
        return SQ_E_NO_MEMORY;
    for (uint32_t live = 0; live <= log->segment_data; live++)
        cleaner->gains[live] = gain(cleaner->selection, live, log->segment_data - live);
    return SQ_OK;
}

/* Of nearly every segment from the table, since all of them may be scored for one that is cleaned. */
static double score(const sq_log *log, uint32_t index)
{
    const struct sq_segment *segment = &log->segments[index];
    double age = (double)(int64_t)(log->stats.user_blocks - log->cleaner.sealed_at[index]);
    if (segment->data_blocks == log->segment_data)
        return log->cleaner.gains[segment->live_blocks] * age;
    return gain(log->cleaner.selection, segment->live_blocks, garbage_of(segment)) * age;
}

/* Keeps the best, in a pool that is a heap of none: it is small, and all of it is scored at every choice. */
static void offer(sq_log *log, uint32_t index)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t worst = 0;
    for (uint32_t i = 0; i < cleaner->pool_count; i++) {
        if (cleaner->pool[i] == index)
            return;
        if (score(log, cleaner->pool[worst]) > score(log, cleaner->pool[i]))
            worst = i;
    }
    if (cleaner->pool_count < SQ_POOL)
        cleaner->pool[cleaner->pool_count++] = index;
    else if (score(log, index) > score(log, cleaner->pool[worst]))
        cleaner->pool[worst] = index;
}

static uint32_t best_of(const sq_log *log, const uint32_t *segments, uint32_t count)
{
    uint32_t best = log->segment_count;
    double highest = 0;
    for (uint32_t i = 0; i < count; i++) {
        double here = score(log, segments[i]);
        if ((best == log->segment_count || here > highest) && is_worth(log, segments[i])) {
            highest = here;
            best = segments[i];
        }
    }
    return best;
}

/* Candidates that may all be scored for a segment that is cleaned, and those looked at in turns: little
 * beside the blocks of a segment, which have to be moved or written. */
static uint64_t most_scored(const sq_log *log)
{
    uint64_t blocks = 8 * (uint64_t)log->segment_data;
    return blocks > SCAN_LEAST ? blocks : SCAN_LEAST;
}

/* Scores the next part of the candidates; each of its stretches offers its best to the pool. */
static uint32_t choose_in_turns(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cleaner->pool_count; i++)
        if (log->segments[cleaner->pool[i]].rank < SQ_TAKEN)
            cleaner->pool[kept++] = cleaner->pool[i];
    cleaner->pool_count = kept;
    uint32_t budget = log->segment_data / 8;
    for (uint32_t done = 0; done == 0 || done < budget; done += STRETCH) {
        if (cleaner->cursor >= cleaner->candidate_end)
            cleaner->cursor = 0;
        uint32_t left = cleaner->candidate_end - cleaner->cursor;
        uint32_t here = left < STRETCH ? left : STRETCH;
        uint32_t best = best_of(log, cleaner->candidates + cleaner->cursor, here);
        if (best != log->segment_count)
            offer(log, best);
        cleaner->cursor += here;
    }
    uint32_t best = best_of(log, cleaner->pool, cleaner->pool_count);
    return best != log->segment_count ? best : choose_emptiest(log);
}

static uint32_t choose_by_score(sq_log *log)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    if (cleaner->candidate_end > most_scored(log))
        return choose_in_turns(log);
    return best_of(log, cleaner->candidates, cleaner->candidate_end);
}

/* The caller's choice, of a table of all candidates. */
static int choose_by_call(sq_log *log, uint32_t *victim_out)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t count = 0;
    struct sq_policy_segment *rows = calloc(cleaner->candidate_end, sizeof *rows);
    if (rows == NULL)
        return SQ_E_NO_MEMORY;
    for (uint32_t i = 0; i < cleaner->candidate_end; i++) {
        uint32_t segment = cleaner->candidates[i];
        if (!is_worth(log, segment))
            continue;
        rows[count++] = (struct sq_policy_segment){
            .segment = segment,
            .live_blocks = log->segments[segment].live_blocks,
            .data_blocks = log->segments[segment].data_blocks,
            .age = log->stats.user_blocks - cleaner->sealed_at[segment],
            .lifespan = log->stats.user_blocks - cleaner->opened_at[segment],
            .class_id = log->segments[segment].class,
        };
    }
    uint64_t index = count;
    int failed = count > 0 && cleaner->calls->select(cleaner->context, rows, count, &index) != 0;
    if (!failed && index < count)
        *victim_out = (uint32_t)rows[index].segment;
    free(rows);
    return failed || (count > 0 && index >= count) ? SQ_E_POLICY : SQ_OK;
}

int sq_clean_next(sq_log *log, uint32_t least_ppm, uint32_t *victim_out)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t victim = log->segment_count;
    cleaner->least_ppm = least_ppm;
    switch (cleaner->selection) {
    case SQ_SELECT_FIFO:
        victim = choose_oldest(log);
        break;
    case SQ_SELECT_GREEDY:
        victim = choose_emptiest(log);
        break;
    case SQ_SELECT_WINDOWED_GREEDY:
        victim = choose_in_window(log);
        break;
    case SQ_SELECT_COST_BENEFIT:
    case SQ_SELECT_COST_BENEFIT_SQRT:
        victim = choose_by_score(log);
        break;
    case SQ_SELECT_D_CHOICES:
        victim = choose_of_drawn(log, cleaner->choices);
        break;
    case SQ_SELECT_RANDOM_GREEDY: {
        uint64_t share = ((uint64_t)cleaner->candidate_end * SAMPLE_PPM + 999999) / 1000000;
        uint64_t most = log->segment_data / 8 > SAMPLE_LEAST ? log->segment_data / 8 : SAMPLE_LEAST;
        victim = choose_of_drawn(log, share > most ? most : share);
        break;
    }
    default:
        if (cleaner->candidate_end > 0)
            SQ_TRY(choose_by_call(log, &victim));
    }
    if (victim == log->segment_count)
        return SQ_E_NOT_FOUND;
    *victim_out = victim;
    return SQ_OK;
}

/* Of all sealed segments, also those that no window has reached. */
static uint32_t choose_emptiest_sealed(const sq_log *log)
{
    uint32_t best = log->segment_count, segment = sq_list_first(&log->sealed, log->segment_count);
    for (; segment != log->segment_count; segment = log->sealed.next[segment])
        if (is_worth(log, segment) && is_emptier(log, segment, best))
            best = segment;
    return best;
}

int sq_clean_emptiest(sq_log *log, uint32_t *victim_out)
{
    int is_partial = log->cleaner.candidates == NULL || log->cleaner.selection == SQ_SELECT_WINDOWED_GREEDY;
    log->cleaner.least_ppm = 0;
    *victim_out = is_partial ? choose_emptiest_sealed(log) : choose_emptiest(log);
    return *victim_out == log->segment_count ? SQ_E_NOT_FOUND : SQ_OK;
}

int sq_clean_garbage(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    if (cleaner->garbage_blocks * 1000000 <= (uint64_t)cleaner->garbage_ppm * cleaner->data_blocks)
        return SQ_OK;
    uint32_t victim;
    struct sq_head *head = log->head;
    int status = sq_clean_next(log, cleaner->garbage_ppm, &victim);
    if (status == SQ_OK)
        status = sq_clean_segment(log, victim);
    log->head = head;
    return status == SQ_E_NOT_FOUND ? SQ_OK : status;
}
