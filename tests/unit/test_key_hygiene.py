"""What is left of keys in the memory of a process that has forgotten them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# A key is looked for by its exclusive-or with a mask, so that the search is no copy of what it looks for.
_HYGIENE = """
import json, os, re
import numpy as np
from seqstore._native.crypt import Cipher, KeyRing, system_crypto
from tests.canaries import writable_mappings

MASK = 0x5A
chunk = np.zeros(1 << 22, np.uint8)
memory = os.open("/proc/self/mem", os.O_RDONLY)

def count(masked):
    found = 0
    for start, end, name in writable_mappings():
        for at in range(start, end, len(chunk) - 32):
            chunk[:] = 0
            try:
                os.preadv(memory, [memoryview(chunk)[: min(len(chunk), end - at)]], at)
            except OSError:
                continue
            np.bitwise_xor(chunk, MASK, out=chunk)
            found += sum(1 for _ in re.finditer(re.escape(masked), chunk))
            chunk[:] = 0
    return found

crypto = system_crypto()
key = bytearray(32)
crypto.fill(key)
masked = bytes(np.frombuffer(key, np.uint8) ^ MASK)
cipher = Cipher(crypto, key)
ring = KeyRing(crypto)
for number in range(40):
    ring.add(number, key)
with ring.hold(0, 1):
    cipher.seal(bytes(12), b"", b"text")
key[:] = bytes(32)
used = count(masked)
for number in range(30):
    ring.remove(number)
fewer = count(masked)
# A node whose key this is, and what is left of it when one of its four leaves dies.
tree = bytearray(48)
tree[8] = 1
crypto.fill(memoryview(tree)[16:])
above = bytes(np.frombuffer(tree, np.uint8)[16:] ^ MASK)
ring.keep(50, 7, tree)
left = ring.prune(50, 7, np.array([0, 1, 3], np.uint64))
tree[:] = bytes(48)
kept = count(above)
ring.keep(50, 7, left)
left[:] = bytes(len(left))
dead = count(above)
ring.close()
cipher.close()
print(json.dumps([used, fewer, count(masked), kept, dead]))
"""


@pytest.mark.invariant("I9")
def test_nothing_of_a_key_is_left_in_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _HYGIENE], capture_output=True, text=True, check=True)
    used, fewer, left, kept, dead = json.loads(done.stdout)
    assert used > 40  # the secrets of the ring, and the expanded key, which begins with the key
    assert 10 <= fewer <= used - 30
    assert left == 0
    assert (kept, dead) == (1, 0)
