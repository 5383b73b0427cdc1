"""Copies of a volume that a crash may have left different are made the same again, when a store is opened."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from seqstore.engine_volume import EngineView, EngineVolume
from seqstore.errors import MediumError, SeqstoreError
from seqstore.extents import extents_of, mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from seqstore.engine_mirror import Leg, Mirror
    from seqstore.registry import Registry

_BATCH_BYTES = 8 << 20  # that are compared at a time


def make_equal(registry: Registry) -> None:
    """Make copies the same again that a crash may have left different: as one of them is."""
    mirrors = [mirror for mirror in registry.placer.mirrors.values() if mirror.changed]
    for mirror in mirrors:
        source = _choose_source(registry, mirror)
        for other in list(mirror.legs):
            if other is not source and isinstance(other.view, EngineVolume):
                try:
                    _equalize(mirror, source, other)
                except MediumError as error:
                    mirror.give_up(other, error)
    if mirrors:
        registry.placer.commit([member.number for member in registry.fleet])
    for mirror in mirrors:
        registry.catalog.placements.mark_changed(mirror.volume, changed=False)
        mirror.changed = False


def _choose_source(registry: Registry, mirror: Mirror) -> Leg:
    """Return the first copy whose log gave up nothing, or else the first one.

    A log cannot tell what the crash cut in two from what was flushed last and is damaged. Where nothing was
    given up all is there that was flushed.
    """

    def is_whole(leg: Leg) -> bool:
        recovery = registry.fleet.member(leg.drive).recovery
        return recovery is None or not (recovery["void_entries"] or recovery["cut_records"])

    return next(filter(is_whole, mirror.legs), mirror.first)


def _equalize(mirror: Mirror, first_leg: Leg, other_leg: Leg) -> None:
    first, other = first_leg.view, other_leg.view
    assert isinstance(first, EngineVolume)
    assert isinstance(other, EngineVolume)
    size = first._info()[0]
    if other._info()[0] != size:
        other._resize(size)
    block = other.block_size
    there = dict(mapped(extents_of(first)))
    for start, has in mapped(extents_of(other)):
        wanted = there.get(start, np.zeros(len(has), bool))
        for lba in np.flatnonzero(has & ~wanted).tolist():
            other._trim((start + lba) * block, min(block, size - (start + lba) * block))
    most = max(_BATCH_BYTES // block, 1)
    for start, wanted in there.items() if other._engine.medium.keeps_bytes else ():
        lbas = np.flatnonzero(wanted).astype(np.uint64) + np.uint64(start)
        for at in range(0, len(lbas), most):
            _compare(mirror, first_leg, other_leg, lbas[at : at + most], size)


def _compare(mirror: Mirror, first: Leg, other: Leg, lbas: NDArray[np.uint64], size: int) -> None:
    """Let a copy have what the first has, and the first what only the other can still read."""
    left, is_left = _rows(first.view, lbas)
    right, is_right = _rows(other.view, lbas)
    is_wrong = is_left & (~is_right | (left != right).any(axis=1))
    for source, target, rows, chosen in (
        (first, other, left, np.flatnonzero(is_wrong).tolist()),
        (other, first, right, np.flatnonzero(is_right & ~is_left).tolist()),
    ):
        with mirror.lock, mirror.keeper.writing(mirror.volume, target, [source], lbas[chosen].tolist()):
            for at in chosen:
                assert isinstance(target.view, EngineVolume)
                _put(target.view, int(lbas[at]), rows[at], size)


def _put(volume: EngineVolume, lba: int, row: NDArray[np.uint8], size: int) -> None:
    """Write a block, which may be the last one, cut by the volume's end."""
    start = lba * volume.block_size
    if start + volume.block_size > size:
        volume._trim(start, size - start)  # so that what is damaged need not be read
    volume.write(start, row.tobytes()[: size - start])


def _rows(volume: EngineView, lbas: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read blocks, and say which of them could be read."""
    rows = np.zeros((len(lbas), volume.block_size), np.uint8)
    try:
        volume._read_blocks(lbas, len(lbas), rows)
    except SeqstoreError:  # damaged, or unwritten
        flags = np.zeros(len(lbas), bool)
        for at in range(len(lbas)):
            with suppress(SeqstoreError):
                volume._read_blocks(lbas[at : at + 1], 1, rows[at : at + 1])
                flags[at] = True
        return rows, flags
    return rows, np.ones(len(lbas), bool)
