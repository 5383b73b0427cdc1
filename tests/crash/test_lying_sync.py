"""A sync that lied: what is lost is said on opening, and what is opened all the same is a former state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from seqstore.media.faults import KEPT, LOST, FaultyDrive, UnsyncedWrite
from tests.crash.core_store import Core, LostError
from tests.crash.ops import Flush
from tests.crash.record import Recording, RecordingDrive
from tests.crash.workloads import workload

SCRIPTS = ("writes", "trims", "layers")


class LyingDrive(RecordingDrive):
    """A drive whose syncs do nothing, all but a few honest ones."""

    honest = 1 << 30

    def sync(self) -> None:
        self.lie_on_sync(0 if self.honest else 1)
        self.honest -= self.honest > 0
        super().sync()


def run_with_lies(name: str, honest: int) -> tuple[Recording, int]:
    """Run a script on a drive whose syncs lie after so many; return also the highest sequence flushed."""
    chosen = workload(name)

    drive = LyingDrive(chosen.shape)
    store = chosen.core.create(drive)
    drive.honest = honest
    recording = Recording(drive, store, [{}])
    recording.run(chosen.script.ops)
    flushed = store.stats()["flushed_sequence"]
    store.abandon()
    return recording, flushed


def fate_of(fates: Mapping[int, int], write: UnsyncedWrite) -> int:
    return fates[write.number]


@pytest.mark.invariant("I2")
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_lie_lost_is_said(name: str) -> None:
    chosen = workload(name)
    flushes = sum(isinstance(op, Flush) for op in chosen.script.ops)
    said = 0
    for honest in range(flushes):
        recording, flushed = run_with_lies(name, honest)
        generator = Random(honest)
        for attempt in range(6):
            choices = (KEPT, LOST) if attempt else (LOST,)
            fates = {write.number: generator.choice(choices) for write in recording.drive.unsynced}
            drive = recording.drive.clone()
            drive.power_cut(partial(fate_of, fates))
            drive.reboot()
            said += expect_the_truth(replace(chosen.core, expect_sequence=flushed), drive, recording)
    assert said > flushes


def expect_the_truth(core: Core, drive: FaultyDrive, recording: Recording) -> bool:
    """Open the drive: it shows all that was flushed, or says that some of it is lost; return which."""
    try:
        store = core.open(drive.clone())
    except LostError as error:
        found, expected = error.fault["lba"], error.fault["count"]
    else:
        assert store.show() in recording.worlds[recording.drive.lowest :]
        store.abandon()
        return False
    assert found < expected == core.expect_sequence
    expect_a_former_state(replace(core, accept_loss=1), drive, recording)
    return True


def expect_a_former_state(core: Core, drive: FaultyDrive, recording: Recording) -> None:
    """Open the drive accepting the loss: it shows some world that once was, and from then on is sound."""
    store = core.open(drive)
    assert store.recovery["lost_records"] > 0
    world = store.show()
    assert world in recording.worlds
    store.check()
    store.apply(Flush())
    store.abandon()
    again = replace(core, accept_loss=0, expect_sequence=0).open(drive)
    assert again.show() == world
    again.abandon()
