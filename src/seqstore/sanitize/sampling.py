"""Representative sampling: which blocks are read where not all are.

The medium is divided into equal subsections, at least 1,000 of them. In each of them two samples are taken
that do not overlap, each of at least 5 % of the subsection; the first and the last block of the medium are
read besides. A medium that is too small for that is read as a whole.

Samples are runs of neighbours. A run that reaches the end of its subsection goes on at its start, so that
every block of a subsection is as likely to be read as any other. The places follow from a seed that nobody
may know before: whoever knows it knows which blocks will not be looked at.

References
----------
NIST SP 800-88 Rev. 1, "Guidelines for Media Sanitization", 2014: representative sampling, as we
understand it; see docs/reference/certificate.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.arguments import buffer
from seqstore.errors import ConfigError
from seqstore.units import unsigned

if TYPE_CHECKING:
    from seqstore._native.sweep import Span

SUBSECTIONS = 1000
SHARE = 20  # a sample is at least one block in so many
LEAST_SEED_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Places to be read.

    Attributes
    ----------
    seed : bytes
    subsections : int
    sample_blocks : int
        Blocks of a sample, at least.
    spans : tuple of Span
        Ascending, none touching another; the first and the last block are in them.
    """

    seed: bytes
    subsections: int
    sample_blocks: int
    spans: tuple[Span, ...]

    @property
    def blocks(self) -> int:
        """Blocks to be read."""
        return sum(count for _, count in self.spans)


def draw_samples(blocks: int, seed: bytes, *, subsections: int = SUBSECTIONS) -> Samples | None:
    """Choose the places.

    Parameters
    ----------
    blocks : int
        Of the medium.
    seed : bytes
        At least 16, fresh ones.
    subsections : int
        At least 1,000.

    Returns
    -------
    Samples or None
        None: the medium is too small, all of it has to be read.

    Raises
    ------
    ConfigError
        If there are fewer subsections, or less of a seed.
    """
    blocks, subsections = unsigned(blocks, "blocks"), unsigned(subsections, "subsections")
    if subsections < SUBSECTIONS:
        raise ConfigError(f"{subsections} subsections; at least {SUBSECTIONS} are expected")
    seed = buffer(seed, "the seed")
    if len(seed) < LEAST_SEED_BYTES:
        raise ConfigError(f"the seed has {len(seed)} bytes; at least {LEAST_SEED_BYTES} are expected")
    if blocks < SHARE * subsections:
        return None
    runs: list[Span] = [(0, 1), (blocks - 1, 1)]
    for number in range(subsections):
        start = number * blocks // subsections
        end = (number + 1) * blocks // subsections
        runs += ((start + at, count) for at, count in _two_samples(end - start, seed, number))
    least = -(-(blocks // subsections) // SHARE)
    return Samples(seed=seed, subsections=subsections, sample_blocks=least, spans=_joined(runs))


def _two_samples(size: int, seed: bytes, number: int) -> Iterator[Span]:
    """Place two samples on the ring of a subsection: the first anywhere, the second anywhere beside it."""
    length = -(-size // SHARE)
    drawn = hashlib.sha256(seed + number.to_bytes(8, "big")).digest()
    # 128 bits each: what a remainder is off by is far below anything that could be noticed.
    first = int.from_bytes(drawn[:16], "big") % size
    gap = int.from_bytes(drawn[16:], "big") % (size - 2 * length + 1)
    for start in (first, (first + length + gap) % size):
        before_end = min(length, size - start)
        yield start, before_end
        if before_end < length:
            yield 0, length - before_end


def _joined(runs: list[Span]) -> tuple[Span, ...]:
    joined: list[Span] = []
    for first, count in sorted(runs):
        if joined and first <= joined[-1][0] + joined[-1][1]:
            start, length = joined[-1]
            joined[-1] = (start, max(length, first + count - start))
        else:
            joined.append((first, count))
    return tuple(joined)
