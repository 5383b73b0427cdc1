"""What is collected in a cycle ends in any order, libcrypto before the keys that were made with it, too.

Processes ended with a use of freed memory there. Only guarded memory shows it: ``make sanitizers``.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seqstore import MemoryMedium
from seqstore._native.crypt import Cipher, Crypto, KeyRing
from seqstore._native.sweep import Fill, Sweep
from tests.durable import root_key

_SCRIPT = """
import sys
from seqstore import Store
from seqstore.keys import FileKey
store = Store.create(sys.argv[1], "2MiB", segment_size="64KiB", encryption=FileKey(sys.argv[2]))
volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
volume.write(0, b"text")
store.itself = [store, volume]
"""


class Cycle:
    """Keeps itself and what it is given, until garbage is collected."""

    def __init__(self, *kept: object) -> None:
        self.kept = [self, *kept]


def make_cipher(crypto: Crypto) -> object:
    cipher = Cipher(crypto, bytes(32))
    cipher.seal(bytes(12), b"", b"text")
    return cipher


def make_ring(crypto: Crypto) -> object:
    ring = KeyRing(crypto)
    ring.add(1, bytes(32))
    with ring.hold(1, 1):
        return ring


def make_sweep(_: Crypto) -> object:
    medium, fill = MemoryMedium("1MiB"), Fill(seed=bytes(32))
    sweep = Sweep(medium.handle, fill)
    sweep.write([(0, medium.blocks)])
    return medium, fill, sweep


@pytest.mark.parametrize("make", [make_cipher, make_ring, make_sweep])
def test_what_was_made_with_a_library(
    make: Callable[[Crypto], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = [Crypto()]
    with monkeypatch.context() as patch:
        patch.setattr("seqstore._native.sweep.system_crypto", lambda: libraries[0])
        Cycle(libraries[0], make(libraries[0]))
    libraries.clear()
    assert gc.collect() > 0


def test_a_process_ends_with_an_encrypted_store_open(tmp_path: Path) -> None:
    key = tmp_path / "root.key"
    root_key(key)
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "lab.store"), str(key)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
