"""Builds the C core as the extension module ``seqstore._native._core``.

Run by setuptools through ``cffi_modules`` in setup.py, in the root of the source tree; never imported by
the library. Three environment variables ask for other builds:

- ``SEQSTORE_SANITIZE=1``: AddressSanitizer and UBSan, and every warning is an error.
- ``SEQSTORE_COVERAGE=1``: counters for gcov.
- ``SEQSTORE_PLANT=name``: with one of the bugs of plant.h in it, for `make plants` alone.
"""

import os
from pathlib import Path

from cffi import FFI

# What Python offers to C: the functions of struct sq_medium_calls, for media that are written in Python, and
# of struct sq_policy_calls, for policies.
CALLED_BY_C = """
extern "Python" {
    int seqstore_append(void *context, uint64_t mba, uint64_t count, const uint8_t *data);
    int seqstore_read(void *context, uint64_t mba, uint64_t count, uint8_t *data_out);
    int seqstore_sync(void *context);
    int seqstore_reset(void *context, uint64_t zone);
    int seqstore_overwrite(void *context, uint64_t mba, uint64_t count, const uint8_t *data);
    int seqstore_select(void *context, const struct sq_policy_segment *segments, uint64_t count,
                        uint64_t *index_out);
    int seqstore_place(void *context, const struct sq_policy_block *blocks, uint64_t count,
                       uint8_t *classes_out);
}
"""


def build_flags() -> tuple[list[str], list[str]]:
    """Choose the flags of the compiler and of the linker, as the environment asks for."""
    sanitize = os.environ.get("SEQSTORE_SANITIZE") == "1"
    coverage = os.environ.get("SEQSTORE_COVERAGE") == "1"
    plant = os.environ.get("SEQSTORE_PLANT")
    # -O3 moves lines about for gcov, and makes gcc see overflows in what the sanitizers add.
    level = "-O1" if sanitize or coverage or plant else "-O3"
    compile_flags = ["-std=c11", level, "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra", "-Wconversion"]
    link_flags = ["-pthread"]
    if sanitize:
        # Python asks for -fwrapv, which would hide signed overflow from UBSan.
        checks = ["-fsanitize=address,undefined", "-fno-wrapv"]
        sanitizers = [*checks, "-fno-omit-frame-pointer", "-g"]
        compile_flags += [*sanitizers, "-Werror"]
        link_flags += sanitizers
    if coverage:
        compile_flags += ["--coverage"]
        link_flags += ["--coverage"]
    if plant:
        compile_flags += [f"-DSQ_PLANT={plant}"]
    return compile_flags, link_flags


def make_ffibuilder() -> FFI:
    """Describe the extension module: one header for cffi and C, and every C file beside this one."""
    # setuptools wants paths relative to setup.py.
    folder = Path(os.path.relpath(Path(__file__).parent))
    compile_flags, link_flags = build_flags()
    plant = os.environ.get("SEQSTORE_PLANT")
    # The image says what was planted, so that it is not taken for another.
    mark = f'\nconst char sq_planted[] = "SEQSTORE_PLANT={plant}";' if plant else ""
    builder = FFI()
    for header in ("seqstore_api.h", "volume_api.h", "deletion_api.h", "crypto_api.h", "sanitize_api.h"):
        builder.cdef((folder / header).read_text(encoding="utf-8"))
    builder.cdef(CALLED_BY_C)
    builder.set_source(
        "seqstore._native._core",
        '#include "seqstore.h"' + mark,
        sources=sorted(str(path) for path in folder.glob("*.c")),
        depends=sorted(str(path) for path in folder.glob("*.h")),
        include_dirs=[str(folder)],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=compile_flags,
        extra_link_args=link_flags,
    )
    return builder


ffibuilder = make_ffibuilder()
