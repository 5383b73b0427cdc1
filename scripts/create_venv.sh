#!/bin/sh
# Makes the virtual environment, or leaves it alone where it fits: same interpreter, same place.
#
#     scripts/create_venv.sh PYTHON VENV
#
# VENV/.created says what the environment was made from; it is touched only when that changes, so that
# make rebuilds what depends on it when another PYTHON is asked for, and not otherwise.
set -eu

python=$1
venv=$2

"$(dirname "$0")/check_toolchain.sh" "$python"
wanted="$("$python" -c 'import sys; print(sys.base_prefix, sys.version)') in $PWD"
if [ "$(cat "$venv/.created" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

echo "Creating $venv"
rm -rf "$venv"
"$python" -m venv "$venv"
# Older pips know no dependency groups.
"$venv/bin/python" -m pip install --quiet --upgrade "pip>=25.1"
echo "$wanted" >"$venv/.created"
