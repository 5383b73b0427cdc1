/* image.c: the bytes of a small drive as a medium of functions. */
#include "image.h"

#include <string.h>
#include <unistd.h>

static int append(void *context, uint64_t mba, uint64_t count, const uint8_t *data)
{
    struct image *image = context;
    memcpy(image_block(image, (uint32_t)mba), data, count * BLOCK_BYTES);
    image->appended_blocks += count;
    return 0;
}

static int read_blocks(void *context, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    struct image *image = context;
    memcpy(data_out, image_block(image, (uint32_t)mba), count * BLOCK_BYTES);
    return 0;
}

static int sync_nothing(void *context)
{
    (void)context;
    return 0;
}

static int reset_nothing(void *context, uint64_t zone)
{
    (void)context;
    (void)zone;
    return 0;
}

sq_medium *image_medium(struct image *image)
{
    static const struct sq_geometry geometry = {
        .block_count = BLOCKS, .block_bytes = BLOCK_BYTES, .zone_blocks = SEGMENT_BLOCKS};
    static const struct sq_medium_calls calls = {
        .append = append, .read = read_blocks, .sync = sync_nothing, .reset = reset_nothing};
    sq_medium *medium = NULL;
    image->appended_blocks = 0;
    return sq_medium_create_calls(&geometry, &calls, image, &medium) == SQ_OK ? medium : NULL;
}

struct sq_log_options image_options(void)
{
    return (struct sq_log_options){.drive = DRIVE, .reserve_ppm = 100000, .verify = 1};
}

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        __builtin_trap();
}

static void say_number(int number)
{
    char digits[16] = "";
    int at = (int)sizeof digits - 1;
    unsigned left = number < 0 ? 0u - (unsigned)number : (unsigned)number;
    do
        digits[--at] = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    say(number < 0 ? "-" : "");
    say(&digits[at]);
}

void fail(const char *what, int detail)
{
    say("fuzz: ");
    say(what);
    say(": ");
    say_number(detail);
    say("\n");
    driver_failed();
    __builtin_trap();
}

void expect_ok(sq_log *log, const char *what, int status)
{
    struct sq_invariant invariant;
    if (status == SQ_OK)
        return;
    if (sq_log_invariant(log, &invariant) == SQ_OK) {
        say(invariant.file);
        say(":");
        say_number(invariant.line);
        say(": ");
        say(invariant.condition);
        say("\n");
    }
    fail(what, status);
}
