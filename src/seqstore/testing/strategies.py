"""Hypothesis strategies for block stores: volumes, ranges and sizes, and above all those near a boundary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from seqstore.testing.interpret import TENANTS
from seqstore.testing.protocol import Capabilities
from seqstore.testing.steps import COMMANDS, Step

_ON_BLOCKS = frozenset({"write", "read", "trim"})
_ON_BYTES = frozenset({"write_bytes", "read_bytes"})
_WHOLE = frozenset({"check", "flush", "clean", "crash", "purge"})
_BEYOND = frozenset({"read_beyond", "write_beyond", "trim_beyond"})


def near(boundaries: Iterable[int], *, least: int = 0, most: int) -> st.SearchStrategy[int]:
    """Draw a number: any from `least` to `most`, and often one at, just before or just behind a boundary.

    Parameters
    ----------
    boundaries : iterable of int
        Blocks of a segment, of a map node, of a lap, or multiples of these.
    least, most : int
        Bounds, both included.
    """
    edges = {at + by for at in (*boundaries, least, most) for by in (-1, 0, 1)}
    return st.sampled_from(sorted(edge for edge in edges if least <= edge <= most)) | st.integers(least, most)


def sizes(boundaries: Sequence[int] = (), *, most: int = 64) -> st.SearchStrategy[int]:
    """Draw the size of a volume in blocks, from 1."""
    return near([at for at in boundaries if at <= most], least=1, most=most)


def volumes(
    boundaries: Sequence[int] = (), *, most: int = 64, tenants: Sequence[str] = TENANTS
) -> st.SearchStrategy[tuple[str, int]]:
    """Draw a tenant and the size of a volume in blocks: the arguments of `create_volume`."""
    return st.tuples(st.sampled_from(tenants), sizes(boundaries, most=most))


@st.composite
def ranges(draw: st.DrawFn, size: int, *, boundaries: Sequence[int] = (), beyond: int = 0) -> tuple[int, int]:
    """Draw the start and the length of a request, which begins and ends near boundaries more often than not.

    Parameters
    ----------
    size : int
        Of the volume, in blocks or bytes.
    boundaries : sequence of int
        Distances, whose multiples count too.
    beyond : int
        How far past the end it may reach.
    """
    multiples = {at * by for at in boundaries for by in range(1, size // at + 1)} if boundaries else set()
    start = draw(near(multiples, most=size - 1))
    end = draw(near((at for at in multiples if at > start), least=start + 1, most=size + beyond))
    return start, end - start


def steps(
    command: str, *, block_size: int, boundaries: Sequence[int] = (), most: int = 24
) -> st.SearchStrategy[Step]:
    """Draw a step of the kit's own stories.

    Parameters
    ----------
    command : str
        One of `COMMANDS`.
    block_size : int
        Bytes of a block.
    boundaries : sequence of int
        Distances in blocks at which the store changes its behaviour.
    most : int
        Size of the largest volume, in blocks.
    """
    start: st.SearchStrategy[int] = st.just(0)
    count: st.SearchStrategy[int] = st.just(1)
    which = st.just(0) if command in _WHOLE else st.integers(0, 3)
    if command in _ON_BLOCKS | _ON_BYTES:
        size, inner = (most * block_size, (block_size,)) if command in _ON_BYTES else (most, boundaries)
        drawn = ranges(size, boundaries=[at for at in inner if at < size])
        return st.builds(lambda index, span: Step(command, index, *span), which, drawn)
    if command in {"create", "resize"}:
        count = sizes(boundaries, most=most)
    elif command in _BEYOND:
        start, count = st.integers(-5, 4), st.integers(0, 7)
    elif command == "clone":
        start = st.integers(-1, 3)
    return st.builds(Step, st.just(command), which, start, count)


def commands(capabilities: Capabilities) -> list[str]:
    """Return the commands that an adapter has the methods for."""
    return [name for name, needs in COMMANDS.items() if all(getattr(capabilities, need) for need in needs)]
