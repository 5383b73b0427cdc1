"""Where the blocks of one layer lie."""

from __future__ import annotations

from collections.abc import Iterator

from seqstore.testing.bugs.plain.geometry import NODE_BLOCKS

# Entries that are no slots. A hole was trimmed: it hides what the layers below have there.
EMPTY = -1
HOLE = -2


class BlockMap:
    """Lba to slot, in nodes of `NODE_BLOCKS` entries that are made when the first of them is set."""

    def __init__(self) -> None:
        self._nodes: dict[int, list[int]] = {}

    def get(self, lba: int) -> int:
        """Return the slot of a block, `HOLE` or `EMPTY`."""
        node = self.node_of(lba)
        return EMPTY if node is None else node[lba % NODE_BLOCKS]

    def node_of(self, lba: int) -> list[int] | None:
        """Return the node that covers a block, if there is one."""
        return self._nodes.get(lba // NODE_BLOCKS)

    def set(self, lba: int, entry: int) -> None:
        """Say where a block lies now."""
        node = self._nodes.setdefault(lba // NODE_BLOCKS, [])
        if not node:
            node.extend([EMPTY] * NODE_BLOCKS)
        node[lba % NODE_BLOCKS] = entry

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield lba and entry of all that are not empty."""
        for number, node in self._nodes.items():
            for place, entry in enumerate(node):
                if entry != EMPTY:
                    yield number * NODE_BLOCKS + place, entry
