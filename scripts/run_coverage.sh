#!/bin/sh
# Runs the test suite with counters in the C core and in Python, and prints what was reached.
#
#     PYTHON=.venv/bin/python scripts/run_coverage.sh [ARGUMENTS OF PYTEST]
set -eu

python=${PYTHON:?names the interpreter that has the tools of the group dev}
folder=$PWD/build/coverage

SEQSTORE_COVERAGE=1 scripts/build_variant.sh "$python" "$folder"
export PYTHONPATH="$folder/lib"
"$python" scripts/expect_core.py "$folder/lib" __gcov_init

# A failing test must not hide the tables, nor the tables the failing test.
status=0
"$python" -m coverage run -m pytest "$@" || status=$?

echo
echo "C core: lines, then branches"
mkdir -p "$folder/html"
"$python" -m gcovr --root . --filter src/seqstore/_native/ --object-directory "$folder/temp" \
    --txt - --html-details "$folder/html/c.html" "$folder/temp"
"$python" -m gcovr --root . --filter src/seqstore/_native/ --object-directory "$folder/temp" \
    --txt-metric branch --txt - "$folder/temp"
echo
echo "Python: lines and branches"
"$python" -m coverage combine --quiet
"$python" -m coverage report
"$python" -m coverage html --quiet --directory "$folder/html/python"
echo "Line by line: $folder/html"
exit "$status"
