#!/bin/sh
# Says what is missing on this machine to build seqstore, and how to install it; silent when all is there.
#
#     scripts/check_toolchain.sh [PYTHON]
#
# Exit status: 0 all is there, 1 something is missing.
set -u

python=${1:-python3}
missing=""

note() {
    missing="${missing}
  - $1"
}

# A sentence that names a Python that will do, if there is one.
other_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c "" 2>/dev/null; then
            echo " There is a $name here: make PYTHON=$name ..."
            return
        fi
    done
}

check_python() {
    if ! found=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
        note "Python 3.10 or newer: '$python' does not run.$(other_python)"
        return 1
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        note "Python 3.10 or newer: '$python' is version $found.$(other_python)"
        return 1
    fi
}

check_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        note "the modules venv and ensurepip of '$python', which some systems package apart from Python"
}

# Compiles what every extension module includes: finds a missing compiler, Python.h or libc headers.
check_compiler() {
    compiler=${CC:-$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    command=${compiler%% *}
    if ! command -v "$command" >/dev/null 2>&1; then
        note "a C compiler: '$command' is not found. The environment variable CC can name another."
        return
    fi
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if [ ! -f "$include/Python.h" ]; then
        note "the C headers of '$python': there is no $include/Python.h."
        return
    fi
    # $compiler may hold options behind the command ("gcc -pthread"), so it stays unquoted.
    if ! errors=$(printf '#include <Python.h>\n#include <stdint.h>\n' |
        $compiler -std=c11 -fsyntax-only -I"$include" -x c - 2>&1); then
        note "a C compiler that works: '$compiler' cannot compile a file that includes Python.h:
$errors"
    fi
}

# Prints one line for the system we are on, or all of them where it is not known.
how_to_install() {
    system=$(uname -s)
    if [ -r /etc/os-release ]; then
        # shellcheck source=/dev/null
        system=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
    fi
    debian="Debian, Ubuntu:  apt-get install make gcc libc6-dev python3 python3-dev python3-venv"
    fedora="Fedora, RHEL:    dnf install make gcc glibc-devel python3 python3-devel"
    alpine="Alpine:          apk add make gcc musl-dev python3 python3-dev"
    macos="macOS:           xcode-select --install; Python from python.org or 'brew install python'"
    case $system in
        *debian* | *ubuntu*) echo "$debian" ;;
        *fedora* | *rhel*) echo "$fedora" ;;
        *alpine*) echo "$alpine" ;;
        Darwin) echo "$macos" ;;
        *) printf '%s\n' "$debian" "$fedora" "$alpine" "$macos" ;;
    esac
}

if check_python; then
    check_venv
    check_compiler
fi
[ -z "$missing" ] && exit 0

{
    echo "seqstore cannot be built on this machine. Missing:$missing"
    echo
    echo "To install what is missing (for another version of Python the packages carry its number):"
    how_to_install | sed 's/^/  /'
} >&2
exit 1
