#!/bin/sh
# Fuzzes the opening of a drive: images edited at random, under AddressSanitizer and UBSan. What has to hold
# of each of them stands in tests/fuzz/target.c.
#
#     scripts/fuzz.sh SECONDS [SEED]     with libFuzzer if clang has it; PLAIN=1: with CC, and our driver
#     scripts/fuzz.sh --merge            takes what such runs found into tests/fuzz/corpus, in few files
#     scripts/fuzz.sh --freeze FROM TO   makes an input that no later change of the engine alters
#
# An input that fails is kept in build/fuzz, and the command that tries it again is printed.
set -eu

folder=$PWD/build/fuzz
inputs="tests/fuzz/corpus tests/fuzz/regressions"
checks="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=0"
export UBSAN_OPTIONS="print_stacktrace=1:abort_on_error=1"

# Objects of a kind of build, anew where a source or any header is newer: build KIND COMPILER FLAGS DRIVER
build() {
    mkdir -p "$folder/$1"
    newest=$(ls -t src/seqstore/_native/*.h tests/fuzz/*.h scripts/fuzz.sh | head -n 1)
    for source in src/seqstore/_native/*.c tests/fuzz/*.c; do
        object=$folder/$1/$(basename "$source" .c).o
        case $source in
            */_core.c) continue ;;
            tests/fuzz/main.c | tests/fuzz/libfuzzer.c) [ "$source" = "tests/fuzz/$4.c" ] || continue ;;
        esac
        [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ] || echo "-c $source -o $object"
    done | xargs -r -P "$(getconf _NPROCESSORS_ONLN)" -L 1 \
        "$2" -std=c11 -D_GNU_SOURCE -O1 -g -pthread -Isrc/seqstore/_native $checks $3
    "$2" -pthread $checks ${5:-$3} -o "$folder/fuzz-$1" "$folder/$1"/*.o
}

build_plain() {
    build plain "${CC:-cc}" "-Wall -Wextra -Wconversion -Werror" main
}

has_libfuzzer() {
    [ -z "${PLAIN:-}" ] && command -v clang >/dev/null &&
        echo 'int LLVMFuzzerTestOneInput(const char *i, long n) { return i == 0 && n; }' |
        clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null
}

run_plain() {
    build_plain
    failed=$folder/failed-$2
    if ! "$folder/fuzz-plain" "$1" "$2" "$failed" $inputs; then
        echo "Failed: $folder/fuzz-plain 0 0 /dev/null $failed" >&2
        exit 1
    fi
}

run_libfuzzer() {
    build libfuzzer clang -fsanitize=fuzzer-no-link libfuzzer -fsanitize=fuzzer
    mkdir -p "$folder/corpus"
    "$folder/fuzz-libfuzzer" -max_total_time="$1" -seed="$2" -timeout=20 -max_len=1024 -print_final_stats=1 \
        -artifact_prefix="$folder/failed-" "$folder/corpus" $inputs
}

case ${1:?SECONDS, --merge or --freeze} in
    --merge)
        build libfuzzer clang -fsanitize=fuzzer-no-link libfuzzer -fsanitize=fuzzer
        "$folder/fuzz-libfuzzer" -merge=1 -use_counters=0 tests/fuzz/corpus "$folder/corpus"
        ;;
    --freeze)
        build_plain
        "$folder/fuzz-plain" --freeze "$2" "$3"
        ;;
    *)
        seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
        echo "seed $seed"
        if has_libfuzzer; then run_libfuzzer "$1" "$seed"; else run_plain "$1" "$seed"; fi
        ;;
esac
