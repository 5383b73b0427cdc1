"""Keys of single blocks: derived from one, until some of them die."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqstore._native._core import ffi, lib
from seqstore._native.crypt import Cipher, system_crypto

CRYPTO = system_crypto()
ROOT = bytes(range(32))
FAN_OUT = 4
Node = tuple[int, int, bytes]
"""First leaf, level, key."""


def children_of(key: bytes) -> list[bytes]:
    """By the definition: what AES-256-GCM makes of 128 zeros with the nonce 0."""
    with Cipher(CRYPTO, key) as cipher:
        stream, _ = cipher.seal(bytes(12), b"", bytes(128))
    return [stream[32 * i : 32 * i + 32] for i in range(FAN_OUT)]


def leaf_keys(key: bytes, level: int) -> list[bytes]:
    keys = [key]
    for _ in range(level):
        keys = [child for parent in keys for child in children_of(parent)]
    return keys


def to_c(nodes: list[Node]) -> Any:
    array = ffi.new("struct sq_tree_node[]", len(nodes))
    for place, (first, level, key) in enumerate(nodes):
        array[place].first, array[place].level, array[place].key = first, level, key
    return array


def keys_of(nodes: list[Node], leaves: list[int]) -> tuple[int, list[bytes]]:
    out = bytearray(b"\xff" * 32 * len(leaves))
    lent = ffi.from_buffer(out)
    status = lib.sq_tree_keys(CRYPTO.handle, to_c(nodes), len(nodes), leaves, len(leaves), lent)
    return int(status), [bytes(out[32 * i : 32 * i + 32]) for i in range(len(leaves))]


def prune(nodes: list[Node], live: list[int], capacity: int = 4096) -> tuple[int, list[Node]]:
    """Status, or how many nodes did not fit; nodes."""
    out, count = ffi.new("struct sq_tree_node[]", capacity), ffi.new("uint64_t *")
    given = (to_c(nodes), len(nodes), live, len(live))
    status = lib.sq_tree_prune(CRYPTO.handle, *given, capacity, out, count)
    kept = [(int(n.first), int(n.level), bytes(ffi.buffer(n.key))) for n in out[0 : min(count[0], capacity)]]
    return int(status) or int(count[0]) - len(kept), kept


def test_a_published_value() -> None:
    """McGrew and Viega, test case 14: zeros under the key 0 and the nonce 0."""
    _, (key,) = keys_of([(0, 1, bytes(32))], [0])
    assert key[:16].hex() == "cea7403d4d606b6e074ec5d3baf39d18"


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_leaves_in_any_order(level: int) -> None:
    expected = leaf_keys(ROOT, level)
    first = 4**level * 5
    rng = np.random.default_rng(level)
    for order in (range(4**level), reversed(range(4**level)), rng.integers(0, 4**level, 100).tolist()):
        leaves = list(order)
        status, keys = keys_of([(first, level, ROOT)], [first + leaf for leaf in leaves])
        assert status == 0
        assert keys == [expected[leaf] for leaf in leaves]


def test_the_highest_tree() -> None:
    leaf = 4**20 - 2
    key = ROOT
    for level in range(19, -1, -1):
        key = children_of(key)[leaf >> 2 * level & 3]
    assert keys_of([(0, 20, ROOT)], [leaf]) == (0, [key])
    assert keys_of([(0, 20, ROOT)], [4**20])[0] == lib.SQ_E_NOT_FOUND


@given(
    level=st.integers(1, 3),
    rounds=st.lists(st.sets(st.integers(0, 63), max_size=40), min_size=1, max_size=3),
)
def test_the_dead_cannot_be_derived_and_the_living_can(level: int, rounds: list[set[int]]) -> None:
    leaves = 4**level
    expected, nodes, dead = leaf_keys(ROOT, level), [(0, level, ROOT)], set[int]()
    for dying in rounds:
        dead |= {leaf for leaf in dying if leaf < leaves}
        living = [leaf for leaf in range(leaves) if leaf not in dead]
        status, nodes = prune(nodes, living)
        assert status == 0
        assert keys_of(nodes, living) == (0, [expected[leaf] for leaf in living])
        for leaf in dead:
            assert keys_of(nodes, [*living[:2], leaf]) == (
                lib.SQ_E_NOT_FOUND,
                [bytes(32)] * (len(living[:2]) + 1),
            )
        covered = [leaf for first, size, _ in nodes for leaf in range(first, first + 4**size)]
        assert len(covered) == len(set(covered))
        assert set(covered) & dead == set()
        assert_shortest(nodes, dead, leaves)


def assert_shortest(nodes: list[Node], dead: set[int], leaves: int) -> None:
    """Each node would hold a dead leaf, or be the root, if it were a level higher."""
    for first, level, _ in nodes:
        size = 4 ** (level + 1)
        above = range(first - first % size, first - first % size + size)
        assert size > leaves or dead & {*above}


def test_nothing_dies() -> None:
    assert prune([(0, 3, ROOT)], [*range(64)]) == (0, [(0, 3, ROOT)])


def test_everything_dies() -> None:
    assert prune([(0, 3, ROOT)], []) == (0, [])
    assert prune([], []) == (0, [])


def test_too_little_room_says_how_much_is_needed() -> None:
    living = [leaf for leaf in range(16) if leaf != 6]
    status, kept = prune([(0, 2, ROOT)], living, capacity=4)
    assert (status, len(kept)) == (2, 4)
    assert prune([(0, 2, ROOT)], living)[1][:4] == kept


@pytest.mark.parametrize("leaf", [3, 16, 4**20])
def test_the_dead_do_not_live_again(leaf: int) -> None:
    nodes = [(0, 0, ROOT), (4, 1, ROOT), (8, 1, ROOT)]
    assert prune(nodes, [0, *range(4, 12)]) == (0, nodes)
    assert prune(nodes, sorted({0, *range(4, 12), leaf}))[0] == lib.SQ_E_NOT_FOUND


@pytest.mark.parametrize(
    "nodes",
    [
        [(1, 1, ROOT)],
        [(0, 1, ROOT), (3, 0, ROOT)],
        [(4, 0, ROOT), (0, 0, ROOT)],
        [(0, 21, ROOT)],
        [(4**20, 0, ROOT)],
    ],
    ids=["not aligned", "overlapping", "descending", "too high", "too far"],
)
def test_rows_that_are_no_tree(nodes: list[Node]) -> None:
    assert keys_of(nodes, [0])[0] == lib.SQ_E_INVALID
    assert prune(nodes, [])[0] == lib.SQ_E_INVALID


@pytest.mark.parametrize("live", [[2, 1], [1, 1]])
def test_leaves_that_are_no_list(live: list[int]) -> None:
    assert prune([(0, 2, ROOT)], live)[0] == lib.SQ_E_INVALID


def test_sealing_with_a_key_for_each_block() -> None:
    size, count = 512, 5
    rng = np.random.default_rng(1)
    secrets, nonces, aads, plain = (rng.bytes(count * each) for each in (32, 12, 24, size))
    sealed, tags, out = bytearray(count * size), bytearray(count * 16), bytearray(b"\xff" * count * size)
    outs = (ffi.from_buffer(sealed), ffi.from_buffer(tags))
    assert lib.sq_seal_each(CRYPTO.handle, secrets, nonces, aads, 24, plain, size, count, *outs) == 0
    for i in range(count):
        with Cipher(CRYPTO, secrets[32 * i : 32 * i + 32]) as cipher:
            expected = cipher.seal(
                nonces[12 * i : 12 * i + 12], aads[24 * i : 24 * i + 24], plain[size * i : size * i + size]
            )
        assert bytes(sealed[size * i : size * i + size]) == expected[0]
        assert bytes(tags[16 * i : 16 * i + 16]) == expected[1]
    opened = ffi.new("uint64_t *", 99)
    keys = (secrets, nonces, aads, 24, outs[0], size, count, outs[1], ffi.from_buffer(out), opened)
    assert lib.sq_open_each(CRYPTO.handle, *keys) == 0
    assert out == plain
    tags[3 * 16] ^= 1
    out[:] = b"\xff" * len(out)
    assert lib.sq_open_each(CRYPTO.handle, *keys) == lib.SQ_E_CORRUPT
    assert opened[0] == 3
    assert not any(out[: 4 * size])
    assert all(byte == 0xFF for byte in out[4 * size :])
