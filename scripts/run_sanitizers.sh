#!/bin/sh
# Runs the test suite on a C core built with AddressSanitizer and UndefinedBehaviorSanitizer; any report
# ends the run with a non-zero status.
#
#     PYTHON=.venv/bin/python scripts/run_sanitizers.sh [ARGUMENTS OF PYTEST]
set -eu

python=${PYTHON:?names the interpreter that has the tools of the group test}
folder=$PWD/build/sanitizers
compiler=${CC:-cc}

# Python itself is not built with ASan, so its run-time library has to be there before everything else.
# libstdc++ comes with it: ASan looks for the functions that throw when it starts, and extension modules
# in C++ (matplotlib's) would meet it without them.
preload=$($compiler -print-file-name=libasan.so)
if [ ! -f "$preload" ]; then
    echo "'$compiler' has no libasan.so. Install the sanitizer libraries: libasan and libubsan on Fedora;" >&2
    echo "on Debian and Ubuntu they come with gcc. clang is not supported here: set CC=gcc." >&2
    exit 1
fi
cxx=$($compiler -print-file-name=libstdc++.so.6)
[ -f "$cxx" ] && preload="$preload $cxx"

SEQSTORE_SANITIZE=1 scripts/build_variant.sh "$python" "$folder"

# Leaks are not looked for: the interpreter keeps much until it exits, and all of it would be reported.
# Some tests ask for more memory than there is; that is for malloc to refuse, not a defect to report.
export ASAN_OPTIONS="halt_on_error=1:abort_on_error=1:detect_leaks=0:detect_stack_use_after_return=1"
ASAN_OPTIONS="$ASAN_OPTIONS:allocator_may_return_null=1"
export UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1"
# Through malloc every Python object has guarded ends too, so that C cannot overrun one unnoticed.
export PYTHONMALLOC=malloc
export PYTHONPATH="$folder/lib"
export LD_PRELOAD="$preload"

"$python" scripts/expect_core.py "$folder/lib" __asan_init __ubsan_handle
# The report is written past Python: pytest must not hold back what goes there, or it dies with the process.
# What is Python alone is left out: the reader of the format, the kit and its seeded bugs, workloads, traces,
# timing and sweeps, reports and commands, audit log, statements and certificates. The fuzzer brings
# sanitizers of its own; planted bugs have builds of their own. Left out for their time are random operations
# under crashes, kills, interrupted passes, and the kit on our stores: the state machines, the crashes at
# every write and the tests of whole passes drive the same code. Statements are Python alone, and so is
# most of what follows blocks to other drives and of what happens to racks of them, and the slow model that
# simulations are compared with; what stays in memory is looked for without guards around everything, which
# make it many times larger.
exec "$python" -m pytest --hypothesis-profile=sanitizers --capture=sys \
    --ignore=tests/format --ignore=tests/fuzz --ignore=tests/forensics --ignore=tests/test_docs.py \
    --ignore-glob='tests/simulation/test_[dopstvw]*.py' --ignore-glob='tests/simulation/test_closed*.py' \
    --ignore-glob='tests/unit/test_kit_[cems]*.py' --ignore-glob='tests/unit/test_key*.py' \
    --ignore-glob='tests/unit/test_statement*.py' --ignore-glob='tests/unit/test_demo*.py' \
    --ignore-glob='tests/unit/test_report*.py' --ignore-glob='tests/unit/test_cli*.py' \
    --ignore-glob='tests/unit/test_e[rvx]*.py' --ignore=tests/unit/test_audit.py \
    --ignore-glob='tests/unit/test_certif*.py' --ignore-glob='tests/unit/test_sanitize_[cjw]*.py' \
    --ignore=tests/unit/test_bugs.py --ignore=tests/unit/test_plants.py --ignore=tests/unit/test_signing.py \
    --ignore=tests/unit/test_plugin.py --ignore=tests/property/test_kit_on_seqstore.py \
    --ignore=tests/crash/test_random_scripts.py --ignore=tests/crash/test_kill.py \
    --ignore=tests/unit/drives/test_renewing.py --ignore=tests/unit/drives/test_listed_late.py \
    --ignore=tests/unit/drives/test_ranges.py --ignore=tests/unit/drives/test_missed.py \
    --ignore=tests/unit/drives/test_following.py --ignore=tests/unit/test_drives_evidence.py \
    --ignore=tests/unit/epochs/test_epochs_trouble.py --ignore=tests/crash/test_drives.py \
    --ignore=tests/crash/test_sealed_cuts.py --ignore=tests/simulation/test_naive.py \
    --ignore=tests/simulation/test_histories.py \
    --ignore=tests/invariants/test_i6_statements.py --ignore=tests/invariants/test_i9_hygiene.py \
    --deselect tests/unit/test_media_file.py::TestBytes::test_no_copy_stays_in_memory \
    -n "${JOBS:-auto}" --dist worksteal "$@"
