"""Tries an installed seqstore that has numpy and cffi beside it and nothing else.

    python -I smoke.py

Run by check_wheel.sh outside the repository; exits non-zero at the first claim that does not hold.
"""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import seqstore

BLOCK = 4096


def expect(holds: bool, claim: str) -> None:
    """End the run when a claim does not hold."""
    if not holds:
        sys.exit(f"smoke test: not so: {claim}")


def try_installation() -> None:
    """Where the package lies, what came with it, and that no extra was needed to import it."""
    folder = Path(seqstore.__file__).parent
    expect(folder.is_relative_to(sys.prefix), f"{folder} lies in the environment {sys.prefix}")
    expect((folder / "py.typed").is_file(), "the wheel says that it is typed")
    expect(not [*folder.rglob("*.c"), *folder.rglob("*.h")], "the wheel carries no C sources")
    expect(
        importlib.metadata.version("seqstore") == seqstore.__version__,
        "metadata and package agree on the version",
    )
    for extra in ("rich", "matplotlib", "hypothesis", "pytest"):
        expect(importlib.util.find_spec(extra) is None, f"the environment has no {extra}")


def try_store() -> None:
    """Two tenants: what is written comes back, what is trimmed does not, and stays on the medium for now."""
    with seqstore.Store.memory("8MiB", block_size=BLOCK) as store:
        first = store.create_tenant("contoso").create_volume("disk", "1MiB")
        second = store.create_tenant("fabrikam").create_volume("disk", "1MiB")
        secret = b"contoso's own".ljust(BLOCK, b".")
        first.write(0, secret)
        second.write(BLOCK, b"fabrikam")
        expect(first.read(0, BLOCK) == secret, "a volume reads what was written")
        expect(second.read(0, BLOCK) == bytes(BLOCK), "another tenant's volume reads zeros there")

        first.trim(0, BLOCK)
        drive = store.drives[0]
        expect(first.read(0, BLOCK) == bytes(BLOCK), "a trimmed block reads as zeros")
        expect(secret in drive.raw(0, drive.blocks), "its bytes are still on the medium")
        expect(store.remanence(owner="contoso").blocks == 1, "and the store knows of them")
        store.check()


if __name__ == "__main__":
    try_installation()
    try_store()
    print(f"seqstore {seqstore.__version__} on Python {sys.version.split()[0]}: installed and working")
