"""What the writer keeps of layers and volumes: the plain truth that the reader has to find."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Sheet:
    """A layer."""

    tenant: int
    volume: int
    parent: int
    blocks: dict[int, int] = field(default_factory=dict)
    holes: set[int] = field(default_factory=set)


@dataclass
class Disk:
    """A volume or snapshot, and what it must show."""

    tenant: int
    size: int
    layer: int
    origin: int = 0
    flags: int = 0
    content: dict[int, bytes] = field(default_factory=dict)
