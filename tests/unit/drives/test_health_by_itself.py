"""Drives that become degraded, and fail, by their errors: nobody asks, and nothing live is given up."""

from __future__ import annotations

import pytest

from seqstore import DriveState, MediumError, Progress, SeqstoreError, Store, Tenant, Volume
from seqstore.drive_health import Health, HealthCounts, Thresholds
from seqstore.drive_life import DriveAct
from tests.several import BLOCK, SEGMENT, Rack, fill, legs

FEW = Thresholds(
    degraded=HealthCounts(read_errors=1, write_errors=1, scrub_findings=1, retired_blocks=1),
    failed=HealthCounts(read_errors=3, write_errors=3, scrub_findings=3, retired_blocks=3),
)


def spoil(rack: Rack, volume: Volume, drive: int, *lbas: int) -> None:
    """Let blocks of a volume be unreadable on a drive."""
    rack.store.flush()
    leg = volume._route.leg_on(drive)
    assert leg is not None
    for extent in leg.view._extents(0):
        for lba in lbas:
            if extent["lba"] <= lba < extent["lba"] + extent["count"]:
                rack.drives[drive].bad_on_read(int(extent["mba"]) + lba - int(extent["lba"]))


def states(store: Store) -> list[DriveState]:
    return [drive.state for drive in store.drives]


@pytest.fixture
def volume(rack: Rack) -> Volume:
    rack.store.thresholds = FEW
    volume = rack.store.create_tenant("contoso").create_volume("v", 8 * BLOCK, copies=2, drive=0)
    fill(volume, 1)
    return volume


class TestCopied:
    def test_reads_that_fail_degrade_and_then_fail_it(self, rack: Rack, volume: Volume) -> None:
        store, snapshot = rack.store, volume.snapshot("monday")
        spoil(rack, volume, 0, 2)
        before = snapshot.read(0, BLOCK)
        assert states(store) == [DriveState.ONLINE, DriveState.ONLINE]
        data = snapshot.read(2 * BLOCK, BLOCK)
        assert data.startswith(b"00000001 00000002")
        assert states(store) == [DriveState.DEGRADED, DriveState.ONLINE]
        chapter = store.drives[0].story.chapters[-1]
        assert (chapter.actor, "read errors; degraded from 1 on" in chapter.reason) == ("seqstore", True)
        record = [*store.audit][-1]
        assert (record.act, record.actor, record.subject["number"]) == ("drive degraded", "seqstore", 0)
        while store.drives[0].in_use:
            assert store.drives[0].facts.read_errors < 3
            assert snapshot.read(2 * BLOCK, BLOCK) == data
        assert states(store) == [DriveState.FAILED, DriveState.ONLINE]
        assert [*store.audit][-1].actor == "seqstore"
        assert (snapshot.read(0, BLOCK), snapshot.read(2 * BLOCK, BLOCK)) == (before, data)
        assert legs(volume) == [1]
        assert store.losses() == ()

    def test_writes_that_fail(self, rack: Rack, volume: Volume) -> None:
        others = [
            rack.store.tenants[0].create_volume(str(n), 40 * BLOCK, copies=2, drive=0) for n in range(4)
        ]
        rack.drives[0].die()
        for number, other in enumerate(others):
            data = fill(other, number)
            assert other.read(0, len(data)) == data
        rack.store.flush()
        assert states(rack.store)[0] in {DriveState.DEGRADED, DriveState.FAILED}
        assert rack.store.losses() == ()
        rack.store.thresholds = Thresholds(
            degraded=HealthCounts(write_errors=1), failed=HealthCounts(write_errors=1)
        )
        rack.store.flush()
        assert states(rack.store) == [DriveState.FAILED, DriveState.ONLINE]
        for number, other in enumerate(others):
            assert other.read(0, 8) == f"{number:08d}".encode()

    def test_findings_of_a_scrub(self, rack: Rack, volume: Volume) -> None:
        spoil(rack, volume, 1, 1)
        rack.store.scrub()
        assert states(rack.store) == [DriveState.ONLINE, DriveState.DEGRADED]
        spoil(rack, volume, 1, 3, 4)
        rack.store.scrub(background=True).wait()
        assert states(rack.store) == [DriveState.ONLINE, DriveState.FAILED]
        assert legs(volume) == [0]

    def test_the_only_copy_that_is_whole(self, rack: Rack, volume: Volume) -> None:
        """A snapshot's damaged block is not repaired in place: the other copy is the only one that has it."""
        store, snapshot = rack.store, volume.snapshot("monday")
        spoil(rack, volume, 0, 2)
        data = snapshot.read(2 * BLOCK, BLOCK)
        store._facts.count(1, reads=FEW.failed.read_errors)
        store.drives[1].health()
        assert states(store) == [DriveState.DEGRADED, DriveState.DEGRADED]
        assert snapshot.read(2 * BLOCK, BLOCK) == data

    def test_somebody_else_was_here_first(
        self, rack: Rack, volume: Volume, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, real = rack.store, Health.act
        rack.add()
        store._facts.count(0, reads=FEW.failed.read_errors)

        def fail_then(self: Health, now: DriveState) -> DriveAct | None:
            act = real(self, now)
            monkeypatch.undo()
            store.drives[0].fail("it clicks")
            return act

        monkeypatch.setattr(Health, "act", fail_then)
        assert store.drives[0].health().state is DriveState.FAILED
        assert states(store) == [DriveState.FAILED, DriveState.ONLINE, DriveState.ONLINE]
        assert volume.read(0, BLOCK)

    def test_never_and_nobody(self, rack: Rack, volume: Volume) -> None:
        rack.store.thresholds = Thresholds(degraded=HealthCounts(), failed=HealthCounts())
        snapshot = volume.snapshot("monday")
        spoil(rack, volume, 0, 2)
        for _ in range(5):
            snapshot.read(2 * BLOCK, BLOCK)
        assert states(rack.store) == [DriveState.ONLINE, DriveState.ONLINE]
        assert rack.store.drives[0].facts.read_errors >= 5


class TestAlone:
    def test_what_holds_something_alone_is_degraded_and_never_failed(
        self, rack: Rack, volume: Volume
    ) -> None:
        store = rack.store
        alone = store.tenants[0].create_volume("alone", 8 * BLOCK, drive=1)
        fill(alone, 2)
        spoil(rack, alone, 1, 5)
        for _ in range(8):
            with pytest.raises(SeqstoreError):
                alone.read(5 * BLOCK, BLOCK)
            assert states(store) == [DriveState.ONLINE, DriveState.DEGRADED]
        assert store.drives[1].facts.read_errors >= 8
        assert alone.read(0, BLOCK).startswith(b"00000002 00000000")
        # With its data elsewhere nothing speaks for it any more.
        alone.delete()
        store.checkpoint()
        assert states(store) == [DriveState.ONLINE, DriveState.FAILED]
        assert legs(volume) == [0]

    def test_the_only_drive(self) -> None:
        with Store.memory(64 * SEGMENT, block_size=BLOCK, segment_size=SEGMENT) as store:
            store.thresholds = FEW
            store._facts.count(0, writes=50)
            store.checkpoint()
            assert states(store) == [DriveState.DEGRADED]


def test_while_volumes_move_it_waits_for_their_end(rack: Rack, volume: Volume) -> None:
    store = rack.store
    rack.add()
    store.thresholds = FEW
    seen: list[DriveState] = []

    def told(_: Progress) -> None:
        store._facts.count(1, reads=5)
        store._registry.alarms.add(1)
        volume.read(0, BLOCK)
        store.flush()
        seen.append(store.drives[1].state)

    store.drives[0].decommission(progress=told)
    assert set(seen) == {DriveState.ONLINE}
    assert states(store) == [DriveState.EVACUATED, DriveState.FAILED, DriveState.ONLINE]
    assert legs(volume) == [2]
    assert volume.read(0, 8) == b"00000001"


def test_calls_without_errors_ask_nobody(store: Store, tenant: Tenant) -> None:
    volume = tenant.create_volume("v", 8 * BLOCK)

    def asked() -> None:
        raise MediumError("somebody asked")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._registry, "look_at_health", asked)
        fill(volume, 1)
        volume.read(0, volume.size)
        volume.trim(0, BLOCK)
        store._registry.alarms.add(0)
        volume.write(0, b"the way of a write asks for nothing, unless it fails")
