#!/bin/sh
# Builds a copy of the package whose C core has other flags, apart from the one in use, and checks it.
#
#     SEQSTORE_SANITIZE=1 scripts/build_variant.sh PYTHON FOLDER
#
# FOLDER/lib then goes in front of the import path (PYTHONPATH); object files are in FOLDER/temp. Always
# built from nothing: object files do not remember which flags made them.
set -eu

python=$1
folder=$2

rm -rf "$folder"
mkdir -p "$folder"
echo "Building into $folder"
if ! "$python" setup.py --quiet build --build-base "$folder" --build-lib "$folder/lib" \
    --build-temp "$folder/temp" >"$folder/build.log" 2>&1; then
    cat "$folder/build.log" >&2
    exit 1
fi
