"""Finds out, behind a crash, at which former moment the store is.

The protocol allows the state behind any call since the last flush, of all volumes together. The newest one
that agrees with what the store shows is taken. Several may agree: then what lives in one of them and not in
another is doubtful, until a call says whether it is there, or is deleted once more. A volume that has another
size in one of them is given its size once more.

A state does not agree where something is shown behind the end that a volume has in it: a block that a shrink
cut off and the crash brought back may be the only written one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import suppress
from itertools import takewhile

from seqstore.testing.calls import Calls, unexpected
from seqstore.testing.judge import Finding, Judge
from seqstore.testing.model import Model, State, Volume
from seqstore.testing.protocol import Capabilities

Shown = tuple[bytes | None, ...]
Sizes = dict[Hashable, set[int]]


class Recovery:
    """One look at a store behind a crash."""

    def __init__(self, model: Model, calls: Calls, judge: Judge) -> None:
        self._model = model
        self._calls = calls
        self._judge = judge
        self._shown: dict[tuple[Hashable, int], Shown | None] = {}
        self._settled = False

    def adopt(self, capabilities: Capabilities) -> bool:
        """Go on with the newest state that agrees.

        Parameters
        ----------
        capabilities : Capabilities
            What the store has, by which doubt can be settled.

        Returns
        -------
        bool
            Whether doubt was settled by calls, which another crash would take back.

        Raises
        ------
        Finding
            If none agrees.
        """
        states = list(self._model.states())
        sizes = _sizes(states)
        agreeing = [state for state in states if not self._count_wrong(state, sizes)]
        if not agreeing:
            raise self._name_the_difference(states, sizes)
        chosen = agreeing[0]
        self._model.install(chosen)
        self._settle_volumes(chosen, agreeing)
        self._settle_snapshots(chosen, agreeing, deletes=capabilities.delete_snapshot)
        if capabilities.resize:
            possible = _sizes(agreeing)
            for volume in chosen.volumes:
                if len(possible[volume.handle]) > 1:
                    self._settle_size(volume)
        return self._settled

    def _settle_size(self, volume: Volume) -> None:
        self._settled = True
        try:
            self._calls.change("resize", volume.handle, len(volume.blocks))
        except OSError:
            return
        except LookupError as error:
            if not volume.doubtful:
                raise unexpected("resize", error) from error
            self._model.forget(volume)
        else:
            volume.doubtful = False

    def _settle_volumes(self, chosen: State, agreeing: list[State]) -> None:
        for volume in {volume for state in agreeing for volume in state.volumes}:
            if volume in chosen.volumes:
                volume.doubtful |= any(volume not in state.volumes for state in agreeing)
            elif all(volume.handle != living.handle for living in chosen.volumes):
                self._settled = True
                with suppress(LookupError, OSError):
                    self._calls.change("delete_volume", volume.handle)

    def _settle_snapshots(self, chosen: State, agreeing: list[State], *, deletes: bool) -> None:
        for snapshot in {snapshot for state in agreeing for snapshot in state.snapshots}:
            if snapshot in chosen.snapshots:
                snapshot.doubtful |= any(snapshot not in state.snapshots for state in agreeing)
            elif all(snapshot.handle != living.handle for living in chosen.snapshots):
                if deletes:
                    self._settled = True
                    with suppress(LookupError, OSError):
                        self._calls.change("delete_snapshot", snapshot.handle)
                else:
                    snapshot.doubtful = True
                    self._model.snapshots.append(snapshot)

    def _show(self, handle: Hashable, blocks: int) -> Shown | None:
        """Return what each block shows, None where it raises `LookupError`; None for anything else."""
        key = handle, blocks
        if key not in self._shown:
            self._shown[key] = self._look(handle, blocks)
        return self._shown[key]

    def _look(self, handle: Hashable, blocks: int) -> Shown | None:
        size = self._model.block_size
        data = self._calls.read_anything(handle, 0, blocks)
        if data is not None:
            return tuple(data[at : at + size] for at in range(0, len(data), size))
        try:
            shown = [self._block(handle, lba) for lba in range(blocks)]
        except Finding:
            return None
        return tuple(takewhile(lambda block: block != b"", shown))

    def _block(self, handle: Hashable, lba: int) -> bytes | None:
        """Return a block, None if it is unwritten, and nothing behind the end if the store stops there."""
        try:
            return self._calls.read(handle, lba, 1, cut=True)
        except LookupError:
            return None

    def _count_wrong(self, state: State, sizes: Sizes) -> int:
        """Count blocks that differ."""
        wrong = 0
        living = set()
        for volume, blocks in state.volumes.items():
            living.add(volume.handle)
            shown = self._show(volume.handle, len(blocks))
            if shown is None or len(shown) != len(blocks):
                wrong += len(blocks)
            elif shown != tuple(blocks):
                wrong += sum(map(self._differs, blocks, shown))
            wrong += sum(map(any, self._behind(volume.handle, len(blocks), sizes)))
        for handle in sizes.keys() - living:
            wrong += self._show(handle, min(sizes[handle])) is None or self._is_there(handle, sizes)
        return wrong

    def _behind(self, handle: Hashable, end: int, sizes: Sizes) -> list[bytes]:
        """Return what is shown from the block `end` on, as far as a volume ever reached."""
        looks = [self._show(handle, size) or () for size in sizes[handle] if size > end]
        longest = max(looks, key=len, default=())
        return [self._model.zero if block is None else block for block in longest[end:]]

    def _is_there(self, handle: Hashable, sizes: Sizes) -> bool:
        """Say whether any block is shown, as far as a volume ever reached."""
        looks = (self._show(handle, size) or () for size in sizes[handle])
        return any(block is not None for shown in looks for block in shown)

    def _differs(self, due: bytes, shown: bytes | None) -> bool:
        return due != shown and (shown is not None or due is not self._model.zero)

    def _name_the_difference(self, states: list[State], sizes: Sizes) -> Finding:
        """Compare with the state that is nearest."""
        state = min(states, key=lambda state: self._count_wrong(state, sizes))
        for volume, blocks in state.volumes.items():
            shown = self._show(volume.handle, len(blocks))
            if shown is not None and len(shown) == len(blocks):
                actual = b"".join(self._model.zero if block is None else block for block in shown)
                if actual != b"".join(blocks):
                    return self._judge.wrong_bytes(volume, 0, blocks, actual, crashed=True)
            if shown is None or len(shown) != len(blocks) or any(map(self._differs, blocks, shown)):
                return self._finding(
                    "rollback",
                    volume,
                    f"has not its {len(blocks)} blocks, as behind each call since the flush",
                )
            behind = self._behind(volume.handle, len(blocks), sizes)
            if any(map(any, behind)):
                due = [self._model.zero] * len(behind)
                return self._judge.wrong_bytes(volume, len(blocks), due, b"".join(behind), crashed=True)
        gone = sizes.keys() - {volume.handle for volume in state.volumes}
        for volume in {volume for other in states for volume in other.volumes}:
            if volume.handle in gone and self._is_there(volume.handle, sizes):
                return self._finding("resurrected", volume, "is there again")
        return Finding("rollback", "after a crash the store is as it never was")

    @staticmethod
    def _finding(kind: str, volume: Volume, what: str) -> Finding:
        name = volume.tenant.name
        return Finding(
            kind,
            f"after a crash volume {volume.number} ({name}) {what}",
            owner=name,
            reader=name,
            volume=volume.number,
            lba=0,
        )


def _sizes(states: Iterable[State]) -> Sizes:
    """Return which sizes the volumes of each handle have in some states."""
    sizes: Sizes = {}
    for state in states:
        for volume, blocks in state.volumes.items():
            sizes.setdefault(volume.handle, set()).add(len(blocks))
    return sizes
