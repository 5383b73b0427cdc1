/* libfuzzer.c: what libFuzzer asks for beside the target: how to change an input. */
#include "image.h"

size_t LLVMFuzzerMutate(uint8_t *input, size_t bytes, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t bytes, size_t room, unsigned seed);

void driver_failed(void)
{
}

size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t bytes, size_t room, unsigned seed)
{
    uint64_t random = seed;
    if (room < INPUT_HEAD_BYTES || bases_random(&random) % 8 == 0)
        return LLVMFuzzerMutate(input, bytes, room);
    return edits_mutate(input, bytes, room, &random);
}
