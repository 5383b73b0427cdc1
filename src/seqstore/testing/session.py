"""One store and its model: what all commands have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from enum import Enum, auto

from seqstore.testing.calls import Calls, describe, unexpected
from seqstore.testing.canary import stamp_block
from seqstore.testing.judge import Finding, Judge, Written, stamp_text
from seqstore.testing.model import Model, Snapshot, Volume
from seqstore.testing.narrate import Narrator
from seqstore.testing.protocol import BlockStore, Capabilities, atomic_blocks_of


class Outcome(Enum):
    """How a call ended that changes something."""

    DONE = auto()
    REFUSED = auto()
    GONE = auto()


class Session:
    """One store and its model.

    Parameters
    ----------
    store : BlockStore
        A fresh one.
    nonce : int
        Tells the canaries of this run from those of any other.
    narrator : Narrator, optional
        Told each step that did something.
    capabilities : Capabilities, optional
        What the store can do, where that is known.

    Attributes
    ----------
    capabilities : Capabilities
        What the store can do.
    refused : Counter
        How often the store refused each call.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        nonce: int,
        narrator: Narrator | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        self.capabilities = capabilities or Capabilities.of(store)
        self.store = store if narrator is None else narrator.listen(store)
        self.block_size = store.block_size
        self.model = Model(self.block_size, self.capabilities.crash, atomic_blocks_of(store))
        self.judge = Judge(self.model, nonce)
        self.refused: Counter[str] = Counter()
        self._calls = Calls(self.store)
        self._nonce = nonce
        self._narrator = narrator
        self._closed = False

    def close(self) -> None:
        """Close the store, where it has that.

        Raises
        ------
        Finding
            If closing fails, and so might have lost what was acknowledged. It is not tried again.
        """
        if self.capabilities.close and not self._closed:
            self._closed = True
            try:
                self._calls.change("close")
            except (LookupError, OSError) as error:
                raise unexpected("close", error) from error

    def _say(self, sentence: str) -> None:
        if self._narrator is not None:
            self._narrator.say(sentence)

    def _stamp(self, volume: Volume, lba: int, count: int) -> list[bytes]:
        """Return new contents for some blocks."""
        self.model.version += 1
        version = self.model.version
        tenant, number, size, nonce = volume.tenant.number, volume.number, self.block_size, self._nonce
        self.judge.written.append(Written(tenant, number, lba, count, version))
        return [
            stamp_block(size, tenant=tenant, volume=number, lba=at, version=version, nonce=nonce)
            for at in range(lba, lba + count)
        ]

    def _know(self, data: bytes, part: slice | None = None) -> None:
        """Tell the narrator how to write as Python what was stamped last."""
        if self._narrator is not None:
            text = stamp_text(self.judge.written[-1], self._nonce, self.block_size)
            self._narrator.know(data, text if part is None else f"{text}[{part.start}:{part.stop}]")

    def _change(self, name: str, one: Volume | Snapshot, *arguments: object) -> Outcome:
        """Make a call that changes a volume or snapshot."""
        try:
            self._calls.change(name, one.handle, *arguments)
        except OSError:
            self.refused[name] += 1
            return Outcome.REFUSED
        except LookupError as error:
            self._missed(name, one, error)
            return Outcome.GONE
        one.doubtful = False
        return Outcome.DONE

    def _make(self, name: str, of: Volume | Snapshot | None, *arguments: object) -> Hashable | None:
        """Make a call that makes a volume or snapshot; None if it was refused."""
        try:
            handle = self._calls.make(name, *arguments)
        except OSError:
            self.refused[name] += 1
            return None
        except LookupError as error:
            if of is None:
                raise unexpected(name, error) from error
            self._missed(name, of, error)
            return None
        if of is not None:
            of.doubtful = False
        return handle

    def _missed(self, name: str, one: Volume | Snapshot, error: LookupError) -> None:
        """Deal with a `LookupError` for what should be there."""
        if one.doubtful:
            self.model.forget(one)
            return
        kind = type(one).__name__.lower()
        raise Finding(
            "error",
            f"{name}() raised {describe(error)}, and {kind} {one.number} ({one.tenant.name}) is there",
            reader=one.tenant.name,
            volume=one.number if isinstance(one, Volume) else one.volume.number,
        ) from error

    def _compare(self, volume: Volume, lba: int, count: int) -> None:
        """Read blocks and compare."""
        due = volume.blocks[lba : lba + count]
        try:
            data = self._calls.read(volume.handle, lba, count)
        except LookupError as error:
            self._compare_one_by_one(volume, lba, due, error)
            return
        if data != b"".join(due):
            raise self.judge.wrong_bytes(volume, lba, due, data)
        volume.doubtful = False

    def _compare_one_by_one(self, volume: Volume, lba: int, due: Sequence[bytes], error: LookupError) -> None:
        """Read what was written out of a range that the store would not read as a whole."""
        zero = self.model.zero
        written = [i for i, block in enumerate(due) if block != zero]
        if volume.doubtful and len(written) < len(due):
            return
        if len(written) == len(due):
            raise self._lost(volume, lba, due[0], error)
        for i in written:
            try:
                data = self._calls.read(volume.handle, lba + i, 1)
            except LookupError as again:
                raise self._lost(volume, lba + i, due[i], again) from again
            if data != due[i]:
                raise self.judge.wrong_bytes(volume, lba + i, [due[i]], data)

    def _lost(self, volume: Volume, lba: int, due: bytes, error: LookupError) -> Finding:
        return Finding(
            "lost",
            f"block {lba} of volume {volume.number} ({volume.tenant.name}) must hold "
            f"{self.judge.describe(due)}; the read raised {describe(error)}",
            owner=volume.tenant.name,
            reader=volume.tenant.name,
            volume=volume.number,
            lba=lba,
        )

    def _adopt(self, volume: Volume, lba: int, new: Sequence[bytes]) -> None:
        """Look at a range behind a call that was not done as a whole: each block must be old or new."""
        changed = False
        for i, block in enumerate(new):
            old = volume.blocks[lba + i]
            try:
                data = self._calls.read(volume.handle, lba + i, 1)
            except LookupError as error:
                if old == self.model.zero:
                    continue
                if block != self.model.zero:
                    raise self._lost(volume, lba + i, old, error) from error
                data = block
            if data == block and data != old:
                self.model.put(volume, lba + i, [block])
                changed = True
            elif data != old:
                raise self.judge.wrong_bytes(volume, lba + i, [old], data)
        if changed and self.capabilities.flush:
            # What a call leaves that failed is no acknowledged call; from here on it has to stay.
            self._flush_if_it_can()

    def _flush_if_it_can(self) -> None:
        try:
            self._calls.change("flush")
        except OSError:
            self.refused["flush"] += 1
        except LookupError as error:
            raise unexpected("flush", error) from error
        else:
            self.model.flushed()

    def _check_everything(self) -> None:
        """Read all volumes."""
        for volume in tuple(self.model.volumes):
            self._compare(volume, 0, len(volume.blocks))
