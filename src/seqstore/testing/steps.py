"""Steps: what the kit does to a store, as values.

A step means something in every story: it names volumes and snapshots by an index among the living ones, and
blocks by a number, and both wrap around. So a story stays one when steps are taken out or made simpler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes
    ----------
    command : str
        One of `COMMANDS`.
    which : int
        Index of the volume or snapshot among the living; of the tenant for ``create`` and ``delete_tenant``.
    start : int
        First block or byte, or how far beyond the end; the tenant of a ``clone``.
    count : int
        Blocks or bytes; cut at the end of the volume.
    """

    command: str
    which: int = 0
    start: int = 0
    count: int = 1


# A length that is cut at the end of the volume.
ALL = 1 << 20

# Each command, and the optional methods that it needs.
COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "create": (),
        "write": (),
        "read": (),
        "trim": (),
        "delete": (),
        "check": (),
        "read_beyond": (),
        "write_beyond": (),
        "trim_beyond": (),
        "read_deleted": (),
        "write_deleted": (),
        "write_bytes": ("write_bytes",),
        "read_bytes": ("read_bytes",),
        "resize": ("resize",),
        "snapshot": ("snapshot",),
        "clone": ("snapshot", "clone"),
        "delete_snapshot": ("snapshot", "delete_snapshot"),
        "delete_tenant": ("delete_tenant",),
        "flush": ("flush",),
        "clean": ("clean",),
        "crash": ("crash",),
        "purge": ("purge",),
    }
)

# The first is the simplest, into which the shrinker turns the others where the story still ends badly.
SIMPLER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "write_bytes": ("write",),
        "read_bytes": ("read",),
        "purge": ("flush",),
        "clone": ("create",),
        "delete_tenant": ("delete",),
        "read_beyond": ("read",),
        "write_beyond": ("write",),
        "trim_beyond": ("trim",),
    }
)


def number(sentences: Sequence[str]) -> str:
    """Return a story as text, a numbered sentence a line."""
    width = len(str(len(sentences)))
    return "\n".join(f"  {i:{width}}. {sentence}" for i, sentence in enumerate(sentences, 1))
