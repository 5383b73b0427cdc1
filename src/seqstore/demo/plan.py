"""What the demonstration stores and on how large a drive, decided and checked before anything runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from seqstore import ConfigError
from seqstore.demo.archive import archive_size, choose_canary_files
from seqstore.demo.files import NEEDED, FileSet, pick_neighbours, read_tree
from seqstore.report import format_bytes
from seqstore.units import parse_size

LEAVER, STAYER = "contoso", "fabrikam"

# Shares of the drive: of the leaver's archive on a drive that is chosen for it, at most, and of the stayer's.
_LEAVER_SHARE, _LARGEST_LEAVER_SHARE, _STAYER_SHARE = 0.35, 0.50, 0.30
_BLOCK_SIZE = 4096
_MIN_CAPACITY = 4 << 20
_MAX_SEGMENT_SIZE = 1 << 20
_MIN_SEGMENT_SIZE = 4 * _BLOCK_SIZE
_MIN_SEGMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be stored, and on how large a drive.

    Attributes
    ----------
    leaver, stayer : FileSet
        Files of the tenant that is deleted, and of the one that stays.
    capacity, segment_size, block_size : int
        Bytes of the drive, of one of its segments, and of a block.
    seed : int
        Of all choices made at random.
    """

    leaver: FileSet
    stayer: FileSet
    capacity: int
    segment_size: int
    block_size: int = _BLOCK_SIZE
    seed: int

    @classmethod
    def make(cls, path: Path | None, capacity: int | str | None = None, seed: int = 0) -> Plan:
        """Choose files and drive.

        Parameters
        ----------
        path : Path or None
            Directory whose files the first tenant stores; None takes the standard library.
        capacity : int or str, optional
            Of the drive; chosen so that the first tenant's archive takes 35 % of it if not given.
        seed : int
            Of all choices made at random, not negative.

        Raises
        ------
        ConfigError
            There are no files, too many, too small ones, or capacity or seed cannot be used.
        """
        if seed < 0:
            raise ConfigError(f"the seed is {seed}; it must not be negative")
        largest = _memory_for_drive()
        leaver = read_tree(path, int(largest * _LEAVER_SHARE))
        if not choose_canary_files(leaver, 1, _BLOCK_SIZE):
            raise ConfigError(NEEDED)
        size = archive_size(leaver)
        if capacity is None:
            wanted = max(int(size / _LEAVER_SHARE), _MIN_CAPACITY)
            segment_size = _segment_size(wanted)
            capacity_bytes = -(-wanted // segment_size) * segment_size
        else:
            capacity_bytes = parse_size(capacity, "capacity")
            segment_size = _segment_size(capacity_bytes)
            _check_capacity(capacity_bytes, size, segment_size, largest)
        stayer = pick_neighbours(leaver, int(capacity_bytes * _STAYER_SHARE))
        return cls(
            leaver=leaver, stayer=stayer, capacity=capacity_bytes, segment_size=segment_size, seed=seed
        )


def _segment_size(capacity: int) -> int:
    """Choose segments of 1 MiB, or smaller ones where that would be fewer than 64."""
    segment_size = _MAX_SEGMENT_SIZE
    while segment_size > _MIN_SEGMENT_SIZE and capacity < _MIN_SEGMENTS * segment_size:
        segment_size //= 2
    return segment_size


def _check_capacity(capacity: int, archive_bytes: int, segment_size: int, largest: int) -> None:
    if capacity > largest:
        raise ConfigError(
            f"the capacity is {format_bytes(capacity)}, and at most {format_bytes(largest)} of this machine's"
            " memory are used for the drive; give less"
        )
    smallest = max(int(archive_bytes / _LARGEST_LEAVER_SHARE), _MIN_SEGMENTS * _MIN_SEGMENT_SIZE)
    if capacity < smallest:
        least = -(-smallest // segment_size) * segment_size
        raise ConfigError(
            f"the capacity is {format_bytes(capacity)}, too small for the {format_bytes(archive_bytes)} of"
            f" {LEAVER}'s archive beside {STAYER}'s; give at least {least // 1024}KiB, or leave it out"
        )


def _memory_for_drive() -> int:
    """Half of the machine's memory in bytes: the files themselves pass through it as well."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return 4 << 30
