/* main.c: a driver for compilers without libFuzzer: tries the inputs of files and folders, then changes them.
 *
 *     fuzz SECONDS SEED CRASH PATH...     the input that fails is written to the file CRASH
 *     fuzz --freeze INPUT OUTPUT          makes an input that does not depend on the bases
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image.h"

#define INPUT_MOST (IMAGE_BYTES + 8192)
#define INPUTS_MOST 4096u
#define HANG_SECONDS 20u

void __sanitizer_set_death_callback(void (*callback)(void));

static uint8_t current[INPUT_MOST];
static size_t current_bytes;
static const char *crash_path;

struct input {
    uint8_t *bytes;
    size_t count;
};

static struct input inputs[INPUTS_MOST];
static size_t input_count;

static int write_file(const char *path, const uint8_t *bytes, size_t count)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int written = file >= 0 && write(file, bytes, count) == (ssize_t)count;
    if (file >= 0)
        close(file);
    return written ? 0 : -1;
}

void driver_failed(void)
{
    if (crash_path != NULL)
        write_file(crash_path, current, current_bytes);
    crash_path = NULL;
}

static void hangs(int signal_number)
{
    fail("an input takes too long, seconds", signal_number == SIGALRM ? (int)HANG_SECONDS : signal_number);
}

/* UBSan ends a process without calling back. */
static void aborts(int signal_number)
{
    (void)signal_number;
    driver_failed();
}

static void run_current(void)
{
    alarm(HANG_SECONDS);
    LLVMFuzzerTestOneInput(current, current_bytes);
    alarm(0);
}

static size_t read_file(const char *path, uint8_t *bytes, size_t room)
{
    int file = open(path, O_RDONLY);
    ssize_t count = file < 0 ? -1 : read(file, bytes, room);
    if (file >= 0)
        close(file);
    return count < 0 ? 0 : (size_t)count;
}

static void add_input(const char *path)
{
    if (input_count == INPUTS_MOST)
        return;
    current_bytes = read_file(path, current, sizeof current);
    uint8_t *bytes = malloc(current_bytes + 1);
    if (bytes == NULL)
        fail("out of memory", 0);
    memcpy(bytes, current, current_bytes);
    inputs[input_count++] = (struct input){.bytes = bytes, .count = current_bytes};
    run_current();
}

static void add_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return;
    if (!S_ISDIR(status.st_mode)) {
        add_input(path);
        return;
    }
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inside[4096];
        snprintf(inside, sizeof inside, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            add_path(inside);
        free(names[i]);
    }
    free(names);
}

/* An input of the corpus, or a base as it is, with a few changes. */
static void make_current(uint64_t *random)
{
    current_bytes = 0;
    if (input_count > 0 && bases_random(random) % 4 != 0) {
        const struct input *input = &inputs[bases_random(random) % input_count];
        current_bytes = input->count;
        memcpy(current, input->bytes, input->count);
    }
    for (uint64_t i = 1 + bases_random(random) % 6; i > 0; i--)
        current_bytes = edits_mutate(current, current_bytes, sizeof current, random);
}

static int freeze(const char *from, const char *to)
{
    static uint8_t whole[INPUT_MOST];
    current_bytes = read_file(from, current, sizeof current);
    size_t bytes = 0;
    if (current_bytes >= INPUT_HEAD_BYTES)
        bytes = edits_freeze(current, current_bytes, whole, sizeof whole);
    return bytes == 0 ? 1 : write_file(to, whole, bytes) != 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--freeze") == 0)
        return freeze(argv[2], argv[3]);
    if (argc < 4)
        return 2;
    time_t end = time(NULL) + atol(argv[1]);
    uint64_t seed = strtoull(argv[2], NULL, 10), tried = 0;
    crash_path = argv[3];
    __sanitizer_set_death_callback(driver_failed);
    signal(SIGALRM, hangs);
    signal(SIGABRT, aborts);
    for (int i = 4; i < argc; i++)
        add_path(argv[i]);
    for (; time(NULL) < end; tried++) {
        make_current(&seed);
        run_current();
    }
    dprintf(STDOUT_FILENO, "%zu inputs kept, %llu made of them\n", input_count, (unsigned long long)tried);
    return 0;
}
