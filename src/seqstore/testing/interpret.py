"""Runs steps on a store and on the model, and compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from seqstore.testing.calls import unexpected
from seqstore.testing.model import Snapshot, Volume
from seqstore.testing.narrate import Narrator
from seqstore.testing.protocol import BlockStore, Capabilities
from seqstore.testing.recovery import Recovery
from seqstore.testing.remanence import scan
from seqstore.testing.session import Outcome
from seqstore.testing.steps import COMMANDS, Step
from seqstore.testing.strays import Strays

TENANTS = ("amber", "birch", "cedar", "delta")


class Run(Strays):
    """One store, its model, and the steps that are done to both.

    Parameters and attributes are those of `Session`, and:

    Attributes
    ----------
    commands : Counter
        How often each command did something.
    scans : int
        How often the media were looked at.
    recognised : bool
        Whether they ever showed a canary.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        nonce: int,
        narrator: Narrator | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(store, nonce=nonce, narrator=narrator, capabilities=capabilities)
        self.commands: Counter[str] = Counter()
        self.scans = 0
        self.recognised = False
        self._do: dict[str, Callable[[Step], bool]] = {
            name: getattr(self, f"_{name}")
            for name, needs in COMMANDS.items()
            if all(getattr(self.capabilities, need) for need in needs)
        }

    def do(self, step: Step) -> bool:
        """Do a step to the store and the model.

        Returns
        -------
        bool
            Whether there was anything to do: a snapshot cannot be cloned where there is none.

        Raises
        ------
        Finding
            If the store does not show what it must.
        AdapterError
            If the adapter does not keep to the protocol.
        """
        command = self._do.get(step.command)
        if command is None or not command(step):
            return False
        self.commands[step.command] += 1
        return True

    def finish(self) -> None:
        """Read everything, that of snapshots through clones.

        Raises
        ------
        Finding
            If the store does not show what it must.
        """
        if self.model.volumes:
            self._check(Step("check"))
        if self.capabilities.clone and self.model.snapshots:
            for index in reversed(range(len(self.model.snapshots))):
                self._clone(Step("clone", index))
            self._check(Step("check"))

    def _snapshot_of(self, step: Step) -> Snapshot | None:
        snapshots = self.model.snapshots
        return snapshots[step.which % len(snapshots)] if snapshots else None

    # Volumes and tenants.

    def _create(self, step: Step) -> bool:
        tenant = TENANTS[step.which % len(TENANTS)]
        blocks = max(1, step.count)
        self._say(f"{tenant} creates volume {len(self.model.every_volume) + 1}, of {_blocks(blocks)}")
        handle = self._make("create_volume", None, tenant, blocks)
        if handle is not None:
            self.model.create(tenant, handle, blocks)
        return True

    def _delete(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        self._say(f"{volume.tenant.name} deletes volume {volume.number}")
        if self._change("delete_volume", volume) is Outcome.DONE:
            self.model.delete(volume)
        return True

    def _delete_tenant(self, step: Step) -> bool:
        names = sorted({one.tenant.name for one in self.model.living})
        if not names:
            return False
        name = names[step.which % len(names)]
        self._say(f"{name} is deleted, with all volumes and snapshots")
        try:
            self._calls.change("delete_tenant", name)
        except OSError:
            self.refused["delete_tenant"] += 1
        except LookupError as error:
            theirs = [one for one in self.model.living if one.tenant.name == name]
            if not all(one.doubtful for one in theirs):
                raise unexpected("delete_tenant", error) from error
            self.model.forget(*theirs)
        else:
            self.model.delete_tenant(name)
        return True

    def _resize(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        before, blocks = len(volume.blocks), max(1, step.count)
        self._say(f"{volume.tenant.name} resizes volume {volume.number} from {before} to {_blocks(blocks)}")
        outcome = self._change("resize", volume, blocks)
        if outcome is Outcome.DONE:
            self.model.resize(volume, blocks)
        elif outcome is Outcome.REFUSED and blocks < before:
            self._adopt(volume, blocks, [self.model.zero] * (before - blocks))
        return True

    # Snapshots.

    def _snapshot(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        self._say(f"{volume.tenant.name} takes a snapshot of volume {volume.number}")
        handle = self._make("snapshot", volume, volume.handle)
        if handle is not None:
            self.model.snapshot(volume, handle)
        return True

    def _clone(self, step: Step) -> bool:
        snapshot = self._snapshot_of(step)
        if snapshot is None:
            return False
        tenant = TENANTS[step.start % len(TENANTS)] if step.start >= 0 else snapshot.tenant.name
        self._say(
            f"the snapshot of volume {snapshot.volume.number} is cloned for {tenant}, "
            f"as volume {len(self.model.every_volume) + 1}"
        )
        handle = self._make("clone", snapshot, snapshot.handle, tenant)
        if handle is not None:
            volume = self.model.clone(snapshot, tenant, handle)
            self._compare(volume, 0, len(volume.blocks))
        return True

    def _delete_snapshot(self, step: Step) -> bool:
        snapshot = self._snapshot_of(step)
        if snapshot is None:
            return False
        self._say(f"the snapshot of volume {snapshot.volume.number} is deleted")
        if self._change("delete_snapshot", snapshot) is Outcome.DONE:
            self.model.delete(snapshot)
        return True

    # Blocks and bytes.

    def _write(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = _range(step, len(volume.blocks))
        blocks = self._stamp(volume, lba, count)
        data = b"".join(blocks)
        self._know(data)
        self._say(f"{_who(volume, 'writes', lba, count)} (version {self.model.version})")
        outcome = self._change("write", volume, lba, data)
        if outcome is Outcome.DONE:
            self.model.put(volume, lba, blocks)
        elif outcome is Outcome.REFUSED:
            self._say("  which is refused")
            self._adopt(volume, lba, blocks)
        return True

    def _write_bytes(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        size = self.block_size
        offset, length = _range(step, len(volume.blocks) * size)
        lba, end = offset // size, -(-(offset + length) // size)
        first, last = offset - lba * size, offset + length - lba * size
        data = b"".join(self._stamp(volume, lba, end - lba))[first:last]
        self._know(data, slice(first, last))
        self._say(
            f"{volume.tenant.name} writes {length} bytes from byte {offset} on, in "
            f"{_span(lba, end - lba)} of volume {volume.number} (version {self.model.version})"
        )
        outcome = self._change("write_bytes", volume, offset, data)
        if outcome is Outcome.GONE:
            return True
        old = b"".join(volume.blocks[lba:end])
        merged = old[:first] + data + old[last:]
        blocks = [merged[at : at + size] for at in range(0, len(merged), size)]
        if outcome is Outcome.DONE:
            self.model.put(volume, lba, blocks)
        else:
            self._say("  which is refused")
            self._adopt(volume, lba, blocks)
        return True

    def _trim(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = _range(step, len(volume.blocks))
        self._say(_who(volume, "trims", lba, count))
        outcome = self._change("trim", volume, lba, count)
        if outcome is Outcome.DONE:
            self.model.trim(volume, lba, count)
        elif outcome is Outcome.REFUSED:
            self._adopt(volume, lba, [self.model.zero] * count)
        return True

    def _read(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = _range(step, len(volume.blocks))
        self._say(_who(volume, "reads", lba, count))
        self._compare(volume, lba, count)
        return True

    def _read_bytes(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        size = self.block_size
        offset, length = _range(step, len(volume.blocks) * size)
        lba, end = offset // size, -(-(offset + length) // size)
        first, last = offset - lba * size, offset + length - lba * size
        self._say(
            f"{volume.tenant.name} reads {length} bytes from byte {offset} on, of volume {volume.number}"
        )
        try:
            data = self._calls.read_bytes(volume.handle, offset, length)
        except LookupError:
            self._compare(volume, lba, end - lba)
            return True
        due = volume.blocks[lba:end]
        joined = b"".join(due)
        if data != joined[first:last]:
            raise self.judge.wrong_bytes(volume, lba, due, joined[:first] + data + joined[last:])
        return True

    # The store as a whole.

    def _check(self, _: Step) -> bool:
        if not self.model.volumes:
            return False
        self._say("everything is read")
        self._check_everything()
        return True

    def _flush(self, _: Step) -> bool:
        self._say("the store is flushed")
        self._flush_if_it_can()
        return True

    def _clean(self, _: Step) -> bool:
        self._say("background work runs")
        try:
            self._calls.change("clean")
        except OSError:
            self.refused["clean"] += 1
        except LookupError as error:
            raise unexpected("clean", error) from error
        return True

    def _crash(self, _: Step) -> bool:
        self._say("the store crashes, and is opened again")
        try:
            self._calls.change("crash")
        except (LookupError, OSError) as error:
            raise unexpected("crash", error) from error
        settled = Recovery(self.model, self._calls, self.judge).adopt(self.capabilities)
        if settled and self.capabilities.flush:
            self._flush_if_it_can()
        return True

    def _purge(self, _: Step) -> bool:
        self._say("the store is purged")
        try:
            self._calls.change("purge")
        except OSError:
            self.refused["purge"] += 1
            return True
        except LookupError as error:
            raise unexpected("purge", error) from error
        self.model.flushed()
        if self.capabilities.media:
            self.scans += 1
            self.recognised |= scan(self.model, self.judge, self._calls.media(), nonce=self._nonce)
        return True


def _range(step: Step, size: int) -> tuple[int, int]:
    """Return where in a volume of `size` a step begins, and how far it goes."""
    start = step.start % size
    return start, max(1, min(step.count, size - start))


def _blocks(count: int) -> str:
    return f"{count} block{'s' if count != 1 else ''}"


def _span(lba: int, count: int) -> str:
    return f"block {lba}" if count == 1 else f"blocks {lba} to {lba + count - 1}"


def _who(volume: Volume, verb: str, lba: int, count: int) -> str:
    return f"{volume.tenant.name} {verb} {_span(lba, count)} of volume {volume.number}"
