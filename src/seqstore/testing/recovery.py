"""Finds out, behind a crash, at which former moment the store is.

The protocol allows the state behind any call since the last flush, of all volumes together. The newest one
that agrees with what the store shows is taken. Several may agree: then what lives in one of them and not in
another is doubtful, until a call says whether it is there, or is deleted once more.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress

from seqstore.testing.calls import Calls, unexpected
from seqstore.testing.judge import Finding, Judge
from seqstore.testing.model import Model, State, Volume
from seqstore.testing.protocol import Capabilities

Shown = tuple[bytes | None, ...]


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
        sizes: dict[Volume, set[int]] = {}
        for state in states:
            for volume, blocks in state.volumes.items():
                sizes.setdefault(volume, set()).add(len(blocks))
        agreeing = [state for state in states if not self._count_wrong(state, sizes)]
        if not agreeing:
            raise self._name_the_difference(states, sizes)
        chosen = agreeing[0]
        self._model.install(chosen)
        self._settle_volumes(chosen, agreeing)
        self._settle_snapshots(chosen, agreeing, deletes=capabilities.delete_snapshot)
        if capabilities.resize:
            for volume in chosen.volumes:
                if len(sizes[volume]) > 1 and not volume.doubtful:
                    self._settle_size(volume)
        return self._settled

    def _settle_size(self, volume: Volume) -> None:
        self._settled = True
        try:
            self._calls.change("resize", volume.handle, len(volume.blocks))
        except OSError:
            return
        except LookupError as error:
            raise unexpected("resize", error) from error

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
            return tuple(self._block(handle, lba) for lba in range(blocks))
        except Finding:
            return None

    def _block(self, handle: Hashable, lba: int) -> bytes | None:
        try:
            return self._calls.read(handle, lba, 1)
        except LookupError:
            return None

    def _count_wrong(self, state: State, sizes: dict[Volume, set[int]]) -> int:
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
        for volume, possible in sizes.items():
            if volume not in state.volumes and volume.handle not in living:
                shown = self._show(volume.handle, min(possible))
                wrong += shown is None or any(block is not None for block in shown)
        return wrong

    def _differs(self, due: bytes, shown: bytes | None) -> bool:
        return due != shown and (shown is not None or due is not self._model.zero)

    def _name_the_difference(self, states: list[State], sizes: dict[Volume, set[int]]) -> Finding:
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
        for volume, possible in sizes.items():
            shown = None if volume in state.volumes else self._show(volume.handle, min(possible))
            if shown is not None and any(block is not None for block in shown):
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
