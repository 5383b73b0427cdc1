r"""Volumes and snapshots as layers over each other, and the notes that change them.

A volume writes to a layer of its own. A snapshot freezes that layer and puts a new one over it; a clone is
a volume whose first layer lies over a snapshot's. A block is read from the topmost layer that has an entry.

::

    volume 1        clone 7 (another tenant's)
       |               |
    layer 5         layer 8
        \             /
         layer 2, frozen  <- snapshot 4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqstore.testing.bugs.plain.blockmap import EMPTY, HOLE, BlockMap

if TYPE_CHECKING:
    from collections.abc import Mapping

# Numbers of one mount begin here times the mount: those that a crash took back are never given again.
NUMBERS_PER_MOUNT = 1 << 20


@dataclass(slots=True)
class Layer:
    """Blocks, and the layer that shows where they are empty."""

    parent: int | None
    map: BlockMap


@dataclass(slots=True)
class View:
    """A volume or a snapshot: who owns it, how long it is, and its topmost layer."""

    tenant: str
    blocks: int
    layer: int


class State:
    """Everything that a checkpoint holds; `apply` is the only way to change who has which layer.

    Parameters
    ----------
    new_map : type of BlockMap
        What the maps of layers are made with.
    """

    def __init__(self, new_map: type[BlockMap] = BlockMap) -> None:
        self.new_map = new_map
        self.layers: dict[int, Layer] = {}
        self.volumes: dict[int, View] = {}
        self.snapshots: dict[int, View] = {}
        self.next_number = 1

    def new_number(self) -> int:
        """Return a number that no volume or snapshot ever had."""
        self.next_number += 1
        return self.next_number - 1

    def new_layer(self) -> int:
        """Return a number that no layer ever had."""
        return self.new_number()

    def volume(self, number: object) -> View:
        """Return a volume by its number."""
        return _find(self.volumes, number, "volume")

    def snapshot_of(self, number: object) -> View:
        """Return a snapshot by its number."""
        return _find(self.snapshots, number, "snapshot")

    # What notes do, by name; live and in recovery it is the same code.

    def apply(self, note: Mapping[str, Any]) -> None:
        """Do what a note says."""
        fields = dict(note)
        getattr(self, fields.pop("do"))(**fields)

    def create(self, volume: int, layer: int, tenant: str, blocks: int) -> None:
        """Make an empty volume."""
        self.layers[layer] = Layer(None, self.new_map())
        self.volumes[volume] = View(tenant, blocks, layer)

    def delete(self, volume: int) -> None:
        """Forget a volume; `prune` finds out which blocks nobody shows any more."""
        self.volumes.pop(volume)

    def trim(self, volume: int, lba: int, count: int) -> None:
        """Make blocks unwritten."""
        layer = self.layers[self.volumes[volume].layer]
        for place in range(lba, lba + count):
            layer.map.set(place, self.trimmed(layer))

    def trimmed(self, layer: Layer) -> int:
        """Return the entry of a trimmed block, which has to hide what lies below."""
        return EMPTY if layer.parent is None else HOLE

    def resize(self, volume: int, blocks: int) -> None:
        """Make a volume longer, or shorter: what was cut off is gone, also if it grows again."""
        view = self.volumes[volume]
        self.trim(volume, blocks, max(0, view.blocks - blocks))
        view.blocks = blocks

    def snapshot(self, volume: int, snapshot: int, layer: int) -> None:
        """Freeze the topmost layer of a volume and put a new one over it."""
        view = self.volumes[volume]
        self.snapshots[snapshot] = View(view.tenant, view.blocks, view.layer)
        self.layers[layer] = Layer(view.layer, self.new_map())
        view.layer = layer

    def clone(self, snapshot: int, volume: int, layer: int, tenant: str) -> None:
        """Make a volume that begins as a snapshot is."""
        origin = self.snapshots[snapshot]
        self.layers[layer] = Layer(origin.layer, self.new_map())
        self.volumes[volume] = View(tenant, origin.blocks, layer)

    def delete_snapshot(self, snapshot: int) -> None:
        """Forget a snapshot."""
        self.snapshots.pop(snapshot)

    def delete_tenant(self, tenant: str) -> None:
        """Forget all volumes and snapshots of a tenant; clones that others made of them live on."""
        self.volumes = {number: view for number, view in self.volumes.items() if view.tenant != tenant}
        self.snapshots = {number: view for number, view in self.snapshots.items() if view.tenant != tenant}

    # Where blocks lie.

    def place(self, layer: int, lba: int, slot: int) -> None:
        """Say where a block of a layer lies now."""
        self.layers[layer].map.set(lba, slot)

    def slot_of(self, layer: int, lba: int) -> int | None:
        """Return where a block lies that is seen from a layer, or None if it is unwritten."""
        for number in self.chain(layer):
            entry = self.layers[number].map.get(lba)
            if entry != EMPTY:
                return None if entry == HOLE else entry
        return None

    def chain(self, layer: int) -> Iterator[int]:
        """Yield a layer and those below it, from the top."""
        number: int | None = layer
        for _ in range(len(self.layers)):
            if number is None:
                return
            yield number
            number = self.layers[number].parent
        if number is not None:
            raise RuntimeError(f"layer {layer} lies below itself")  # only a bug makes a circle

    def views(self) -> list[View]:
        """Return everything that shows blocks."""
        return [*self.volumes.values(), *self.snapshots.values()]

    def live(self) -> dict[int, tuple[int, int]]:
        """Return the slots that a map points to, with the layer and lba of each."""
        return {
            slot: (number, lba)
            for number, layer in self.layers.items()
            for lba, slot in layer.map.items()
            if slot != HOLE
        }

    def prune(self) -> None:
        """Drop the layers and the entries that no view shows."""
        shown: dict[int, set[int]] = {}
        for view in self.views():
            hidden: set[int] = set()
            for number in self.chain(view.layer):
                entries = {lba for lba, _ in self.layers[number].map.items()}
                shown.setdefault(number, set()).update(entries - hidden)
                hidden |= entries
        for number in set(self.layers) - set(shown):
            del self.layers[number]
        for number, lbas in shown.items():
            layer = self.layers[number]
            for lba in [lba for lba, _ in layer.map.items() if lba not in lbas]:
                layer.map.set(lba, EMPTY)

    # The state as a checkpoint holds it.

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain lists."""
        return {
            "next": self.next_number,
            "layers": [[n, layer.parent, list(layer.map.items())] for n, layer in self.layers.items()],
            "volumes": [[n, v.tenant, v.blocks, v.layer] for n, v in self.volumes.items()],
            "snapshots": [[n, v.tenant, v.blocks, v.layer] for n, v in self.snapshots.items()],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `to_json` gave."""
        self.next_number = saved["next"]
        for number, parent, entries in saved["layers"]:
            self.layers[number] = Layer(parent, self.new_map())
            for lba, entry in entries:
                self.place(number, lba, entry)
        self.volumes = {number: View(*view) for number, *view in saved["volumes"]}
        self.snapshots = {number: View(*view) for number, *view in saved["snapshots"]}


def _find(views: Mapping[int, View], number: object, what: str) -> View:
    view = views.get(number) if isinstance(number, int) else None
    if view is None:
        raise LookupError(f"there is no {what} {number!r}: it was deleted, or never made")
    return view
