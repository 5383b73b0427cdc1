"""How fast are blocks sealed, and what does it take to erase single blocks by their keys?

Sealing is measured beside OpenSSL's own figure of the same cipher, one core each. Erasing is counted, not
timed: 1 GiB of blocks of 4 KiB in one volume, of which 1 % are overwritten at random in each epoch, at whose
end no key of the overwritten ones may be left. Figures are for a TiB of live data, which is 1024 times that.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.side_by_side import Result, Session, Table
from benchmarks.workloads import BLOCK, GIB
from seqstore._native._core import ffi, lib
from seqstore._native.crypt import system_crypto

RUN_BLOCKS = 64
ROUNDS = 7

BLOCKS = GIB // BLOCK
SHARE = 0.01
STEADY_EPOCHS = 400
COPIES = 2
WRAPPED_BYTES = 60
DERIVED_BYTES = 32
SLOT_BYTES = 128
SECTOR_BYTES = 512
SPARSE_BLOCKS = 4096
TREE_LEVELS = 9

Blocks = npt.NDArray[np.int64]


# ---- sealing -------------------------------------------------------------------------------------


def openssl_rate() -> float:
    """Bytes a second of AES-256-GCM on 4 KiB, as OpenSSL measures itself."""
    command = ["openssl", "speed", "-seconds", "1", "-evp", "aes-256-gcm", "-bytes", str(BLOCK)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"AES-256-GCM\s+([\d.]+)k", shown, re.IGNORECASE)
    assert found is not None
    return float(found[1]) * 1000


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_sealing(side_by_side: Session, small: bool) -> None:
    crypto, rounds = system_crypto(), 2 if small else ROUNDS
    handle = ffi.new("sq_key **")
    assert lib.sq_key_create(crypto.handle, bytes(range(32)), handle) == 0
    key = ffi.gc(handle[0], lib.sq_key_destroy)
    plain, sealed = np.full(RUN_BLOCKS * BLOCK, 7, np.uint8), np.zeros(RUN_BLOCKS * BLOCK, np.uint8)
    aads, tags = bytes(24 * RUN_BLOCKS), bytearray(16 * RUN_BLOCKS)
    nonces = b"".join(bytes(4) + number.to_bytes(8, "little") for number in range(RUN_BLOCKS))
    texts = [ffi.from_buffer(array) for array in (plain, sealed, tags)]

    def seal() -> None:
        for _ in range(200):
            status = lib.sq_key_seal_run(
                key, nonces, aads, 24, texts[0], BLOCK, RUN_BLOCKS, texts[1], texts[2]
            )
            assert status == 0

    def unseal() -> None:
        for _ in range(200):
            status = lib.sq_key_open_blocks(
                key, nonces, aads, 24, texts[1], BLOCK, RUN_BLOCKS, texts[2], texts[0], ffi.NULL
            )
            assert status == 0

    tree = ffi.new("struct sq_tree_node[]", 1)
    tree[0].level, tree[0].key = TREE_LEVELS, bytes(range(32))
    starts = np.random.default_rng(1).integers(0, 4**TREE_LEVELS - RUN_BLOCKS, 200)
    in_order = [ffi.new("uint64_t[]", [int(start) + i for i in range(RUN_BLOCKS)]) for start in starts]
    scattered = [
        ffi.new("uint64_t[]", row)
        for row in np.random.default_rng(2).integers(0, 4**TREE_LEVELS, (200, 64)).tolist()
    ]
    secrets = ffi.new("uint8_t[]", 32 * RUN_BLOCKS)

    def seal_by_tree(leaves: list[Any]) -> None:
        for run in leaves:
            status = lib.sq_tree_keys(crypto.handle, tree, 1, run, RUN_BLOCKS, secrets)
            assert status == 0
            status = lib.sq_seal_each(
                crypto.handle, secrets, nonces, aads, 24, texts[0], BLOCK, RUN_BLOCKS, texts[1], texts[2]
            )
            assert status == 0

    contestants: dict[str, Callable[[], None]] = {
        "sealing": seal,
        "opening": unseal,
        "sealing, a key each": lambda: seal_by_tree(in_order),
        "sealing, a key each, scattered": lambda: seal_by_tree(scattered),
    }
    rates: dict[str, list[float]] = {name: [] for name in (*contestants, "openssl speed")}
    for _ in range(rounds):
        for name, work in contestants.items():
            # Processor time, which is what OpenSSL takes.
            start = time.thread_time()
            work()
            rates[name].append(200 * RUN_BLOCKS * BLOCK / (time.thread_time() - start) / 1e9)
        rates["openssl speed"].append(openssl_rate() / 1e9)
    for name in contestants:
        result = Result(
            question=f"{name} blocks of 4 KiB with AES-256-GCM, {RUN_BLOCKS} a call", unit="GB/s", ours=name,
            against="openssl speed", to_reach=0.9, rates={n: rates[n] for n in (name, "openssl speed")},
        )  # fmt: skip
        side_by_side.results.append(result)
        assert result.ratio > 0


# ---- erasing single blocks -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one way to erase takes, in bytes for all blocks, at the end of one epoch."""

    area: float
    keys: float
    data: float
    memory: float

    def row(self, name: str) -> list[str]:
        scale = 2**40 / (BLOCKS * BLOCK)
        figures = (self.area, self.keys, self.data, self.memory)
        return [name, *(size_name(figure * scale) for figure in figures)]


def size_name(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def one_key(overwritten: Blocks) -> Cost:
    """One key: all that lives is sealed anew."""
    live = BLOCKS - len(overwritten)
    return Cost(
        area=2 * SLOT_BYTES * COPIES, keys=SLOT_BYTES * COPIES, data=live * BLOCK, memory=DERIVED_BYTES
    )


def stored_table(overwritten: Blocks) -> Cost:
    """A random key for each block, in a table of which the sectors with dead keys are written over."""
    sectors = np.unique(overwritten // (SECTOR_BYTES // DERIVED_BYTES))
    area = BLOCKS * DERIVED_BYTES
    return Cost(area=area * COPIES, keys=len(sectors) * SECTOR_BYTES * COPIES, data=0, memory=area)


def stored_tree(overwritten: Blocks, fan_out: int, leaf_blocks: int) -> Cost:
    """Keys by address, each wrapped with the one above it: the paths above the overwritten are new."""
    leaves = np.unique(overwritten // leaf_blocks)
    data = (len(leaves) * leaf_blocks - len(overwritten)) * BLOCK
    nodes, area, keys = BLOCKS // leaf_blocks, 0, 0
    changed = leaves
    while nodes > 1:
        area += nodes * WRAPPED_BYTES
        # A new key of the node above wraps all of its children anew.
        changed = np.unique(changed // fan_out)
        keys += min(len(changed) * fan_out, nodes) * WRAPPED_BYTES
        nodes = -(-nodes // fan_out)
    memory = BLOCKS / leaf_blocks / fan_out * DERIVED_BYTES
    return Cost(area=area * COPIES, keys=keys * COPIES, data=data, memory=memory)


def cover(live: npt.NDArray[np.bool_], fan_out: int) -> Blocks:
    """Name the largest subtrees with no dead leaf: by level and place."""
    tops = []
    for level in range(64):
        if live.size == 1:
            break
        live = np.concatenate([live, np.zeros(-live.size % fan_out, bool)])
        above: npt.NDArray[np.bool_] = np.all(live.reshape(-1, fan_out), axis=1)
        tops.append(np.flatnonzero(live & ~np.repeat(above, fan_out)) + (level << 48))
        live = above
    return np.concatenate(tops)


def changed_sectors(before: Blocks, after: Blocks) -> float:
    """Sectors of a table of keys that a change touches, if its slots lie anywhere in it."""
    slots = SECTOR_BYTES // DERIVED_BYTES
    changed = len(np.setxor1d(before, after, assume_unique=True))
    sectors = max(len(before), len(after)) / slots
    return sectors * (1 - (1 - min(changed / (slots * sectors), 1.0)) ** slots)


def derived_tree(epochs: int, fan_out: int, sparse: float, seed: int) -> Cost:
    """Keys by order of writing, derived from the one above: what is kept are the tops of what is all alive.

    Where less than the share `sparse` of 4096 blocks in a row is left, that is sealed anew.
    """
    generator = np.random.default_rng(seed)
    places = np.arange(BLOCKS)  # by address, in order of writing
    head, data = BLOCKS, []
    tops = [np.zeros(0, np.int64)]
    for epoch in range(epochs):
        overwritten = generator.choice(BLOCKS, int(SHARE * BLOCKS), replace=False)
        places[overwritten] = head + np.arange(len(overwritten))
        head += len(overwritten)
        counts = np.bincount(places // SPARSE_BLOCKS, minlength=-(-head // SPARSE_BLOCKS))
        thin = counts < sparse * SPARSE_BLOCKS
        thin[-2:] = False
        moved = np.flatnonzero(thin[places // SPARSE_BLOCKS])
        places[moved] = head + np.arange(len(moved))
        head += len(moved)
        data.append(len(moved) * BLOCK)
        if epoch >= epochs - 2:
            live = np.zeros(head, bool)
            live[places] = True
            tops.append(cover(live, fan_out))
    kept = len(tops[-1]) * DERIVED_BYTES * COPIES
    keys = changed_sectors(tops[-2], tops[-1]) * SECTOR_BYTES * COPIES
    return Cost(
        area=kept, keys=keys, data=statistics.fmean(data[-epochs // 4 :]), memory=kept * 1.25 / COPIES
    )


def test_erasing_single_blocks(side_by_side: Session, small: bool) -> None:
    overwritten = np.random.default_rng(1).choice(BLOCKS, int(SHARE * BLOCKS), replace=False)
    steady = 20 if small else STEADY_EPOCHS
    ways: dict[str, Callable[[], Cost]] = {
        "one key": lambda: one_key(overwritten),
        "a table, one key a block": lambda: stored_table(overwritten),
    }
    for leaf in (64, 8, 1):
        for fan_out in (16, 256):
            name = f"stored tree, leaf {leaf}, fan-out {fan_out}"
            ways[name] = lambda f=fan_out, n=leaf: stored_tree(overwritten, f, n)  # type: ignore[misc]
    for fan_out in (2, 4, 16, 64):
        for epochs in (1, steady):
            name = f"derived tree, fan-out {fan_out}, after {epochs} epochs"
            ways[name] = lambda f=fan_out, e=epochs: derived_tree(e, f, 0.0, 2)  # type: ignore[misc]
    for sparse in (0.125, 0.25, 0.5):
        name = f"derived tree, fan-out 4, after {steady} epochs, sealed anew below {sparse:.1%}"
        ways[name] = lambda s=sparse: derived_tree(steady, 4, s, 2)  # type: ignore[misc]
    table = Table(
        title="Erasing 1 % of single blocks at the end of an epoch, for a TiB of live data",
        header=("keys", "key area", "written: keys", "written: data sealed anew", "memory"),
    )
    costs = {name: way() for name, way in ways.items()}
    table.rows += [cost.row(name) for name, cost in costs.items()]
    side_by_side.tables.append(table)
    assert costs["one key"].data > 0.98 * BLOCKS * BLOCK
    if not small:
        # The closed form f / (f + 1) of the nodes kept for a block, where all ages are equally frequent.
        for fan_out in (2, 4, 16):
            kept = costs[f"derived tree, fan-out {fan_out}, after {steady} epochs"].area
            assert kept / COPIES / DERIVED_BYTES / BLOCKS == pytest.approx(fan_out / (fan_out + 1), rel=0.05)
