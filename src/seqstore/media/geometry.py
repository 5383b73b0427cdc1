"""How a medium is divided: blocks, and zones of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import SupportsIndex

from seqstore.errors import ConfigError
from seqstore.units import format_size, parse_size

MIN_BLOCK_SIZE = 512
MAX_BLOCK_SIZE = 65536
MIN_ZONES = 4
MIN_ZONE_BLOCKS = 4
MAX_BLOCKS = 2**32 - 17  # block addresses are kept in 32 bits; the highest ones mean something else
DEFAULT_ZONE_SIZE = 2**20
DEFAULT_ZONES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A checked division of a medium.

    Attributes
    ----------
    blocks : int
        Size of the medium.
    block_size : int
        Bytes of a block.
    zone_blocks : int
        Blocks of a zone; `blocks` is a multiple of it.
    """

    blocks: int
    block_size: int
    zone_blocks: int

    @classmethod
    def divide(
        cls,
        capacity: SupportsIndex | str,
        *,
        block_size: SupportsIndex | str,
        zone_size: SupportsIndex | str | None,
    ) -> Geometry:
        """Divide a medium of a given size.

        Parameters
        ----------
        capacity : int or str
            Size of the medium: a multiple of the zone size, at least 4 zones.
        block_size : int or str
            A power of two between 512 B and 64 KiB.
        zone_size : int, str or None
            Size of a zone: a multiple of the block size, at least 4 blocks. None stands for 1 MiB or, on
            media of less than 16 MiB, for the largest power of two that gives 16 zones.

        Raises
        ------
        ConfigError
            If one of them does not fit; the message names sizes that do.
        """
        block_bytes = parse_size(block_size, "block_size")
        if not MIN_BLOCK_SIZE <= block_bytes <= MAX_BLOCK_SIZE or block_bytes & (block_bytes - 1):
            raise ConfigError(
                f"block_size is {block_bytes}; it must be a power of two between {MIN_BLOCK_SIZE}"
                f" and {MAX_BLOCK_SIZE}"
            )
        capacity_bytes = parse_size(capacity, "capacity")
        if zone_size is None:
            zone_bytes = _default_zone_bytes(capacity_bytes, block_bytes)
        else:
            zone_bytes = parse_size(zone_size, "segment_size")
            _check_zone(zone_bytes, block_bytes)
        _check_capacity(capacity_bytes, zone_bytes, block_bytes)
        return cls(
            blocks=capacity_bytes // block_bytes,
            block_size=block_bytes,
            zone_blocks=zone_bytes // block_bytes,
        )

    @classmethod
    def fill(
        cls,
        available: int,
        *,
        block_size: SupportsIndex | str,
        zone_size: SupportsIndex | str | None,
    ) -> Geometry:
        """Divide as much as whole zones fill of what there is; see `divide` for the rest.

        Parameters
        ----------
        available : int
            Bytes.
        """
        zone_bytes = _zone_bytes_at(available, block_size, zone_size)
        return cls.divide(available // zone_bytes * zone_bytes, block_size=block_size, zone_size=zone_bytes)

    @classmethod
    def at_least(
        cls,
        wanted: int,
        *,
        block_size: SupportsIndex | str,
        zone_size: SupportsIndex | str | None,
    ) -> Geometry:
        """Divide the smallest medium that can be divided and has so many bytes; see `divide` for the rest."""
        zone_bytes = _zone_bytes_at(wanted, block_size, zone_size)
        zones = max(-(-wanted // zone_bytes), MIN_ZONES)
        return cls.divide(zones * zone_bytes, block_size=block_size, zone_size=zone_size)


def _zone_bytes_at(
    size_bytes: int, block_size: SupportsIndex | str, zone_size: SupportsIndex | str | None
) -> int:
    if zone_size is None:
        return _default_zone_bytes(size_bytes, max(parse_size(block_size, "block_size"), 1))
    return max(parse_size(zone_size, "segment_size"), 1)


def _default_zone_bytes(capacity_bytes: int, block_bytes: int) -> int:
    share = max(capacity_bytes // DEFAULT_ZONES, 1)
    power_of_two = 1 << (share.bit_length() - 1)
    return max(min(power_of_two, DEFAULT_ZONE_SIZE), MIN_ZONE_BLOCKS * block_bytes)


def _check_zone(zone_bytes: int, block_bytes: int) -> None:
    smallest = MIN_ZONE_BLOCKS * block_bytes
    if zone_bytes < smallest:
        raise ConfigError(
            f"segment_size is {format_size(zone_bytes)}; a segment needs at least {MIN_ZONE_BLOCKS} blocks,"
            f" {format_size(smallest)}"
        )
    if zone_bytes % block_bytes:
        raise ConfigError(
            f"segment_size is {format_size(zone_bytes)}; it must be a multiple of the block size,"
            f" {format_size(block_bytes)}"
        )


def _check_capacity(capacity_bytes: int, zone_bytes: int, block_bytes: int) -> None:
    smallest, largest = MIN_ZONES * zone_bytes, MAX_BLOCKS * block_bytes // zone_bytes * zone_bytes
    if capacity_bytes < smallest:
        raise ConfigError(
            f"capacity is {format_size(capacity_bytes)}; at least {format_size(smallest)} are needed:"
            f" {MIN_ZONES} segments of {format_size(zone_bytes)}"
        )
    if capacity_bytes > largest:
        raise ConfigError(
            f"capacity is {format_size(capacity_bytes)}; with blocks of {format_size(block_bytes)} at most"
            f" {format_size(largest)} can be addressed; use larger blocks"
        )
    rest = capacity_bytes % zone_bytes
    if rest:
        below, above = capacity_bytes - rest, capacity_bytes - rest + zone_bytes
        raise ConfigError(
            f"capacity is {format_size(capacity_bytes)}; it must be a multiple of the segment size,"
            f" {format_size(zone_bytes)}: {format_size(below)} or {format_size(above)} would do"
        )
