#!/bin/sh
# Builds the sdist, from that the wheel, installs the wheel into an empty environment, and tries it there.
#
#     PYTHON=.venv/bin/python scripts/check_wheel.sh
#
# The environment holds what the wheel itself asks for and nothing else, and lies outside the repository,
# so that neither the sources nor a developer's packages can stand in for something that is missing.
set -eu

python=${PYTHON:?names the interpreter that has the tools of the group dev}
root=$PWD
unset SEQSTORE_SANITIZE SEQSTORE_COVERAGE PYTHONPATH

rm -rf dist
mkdir -p build
if ! "$python" -m build --outdir dist . >build/wheel.log 2>&1; then
    cat build/wheel.log >&2
    exit 1
fi
ls -l dist

empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
"$python" -m venv "$empty/venv"
"$empty/venv/bin/python" -m pip --quiet --disable-pip-version-check install "$root"/dist/*.whl
cp scripts/smoke.py "$empty"
cd "$empty"
venv/bin/python -I smoke.py
venv/bin/seqstore --help >/dev/null
# Without its extra the demo has to say which one it needs.
if venv/bin/seqstore demo >demo.log 2>&1 || ! grep -q 'seqstore\[cli\]' demo.log; then
    echo "seqstore demo, without the extra 'cli', should fail and name it, but says:" >&2
    cat demo.log >&2
    exit 1
fi
echo "wheel smoke test: ok"
