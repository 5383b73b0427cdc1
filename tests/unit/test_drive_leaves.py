"""A drive leaves a store: emptied or failed, sanitized, certified, and released or destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import seqstore
from seqstore import Drive, DriveState, ManualClock, Store
from seqstore.certificate import Certificate
from seqstore.certificate_parts import Category, Destruction, Person
from seqstore.drive_health import HealthCounts, Thresholds
from seqstore.erasures import Erasures
from seqstore.errors import CertificateError, ConfigError, DriveStateError, MediumError
from seqstore.media import MemoryMedium
from seqstore.media.faults import FaultMedium
from seqstore.media.hidden import HiddenDrive
from seqstore.sanitize import Effort
from seqstore.signing import SigningKey

SECRET = b"what nobody else may ever read!!" * 128  # a block
ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    with Store.create(tmp_path / "lab.store", "2MiB", clock=clock) as store:
        store.add_drive("2MiB", vendor="Acme", model="M1", serial="ZA1", media_type="hdd")
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB", drive=1)
        volume.write(0, SECRET)
        store.flush()
        yield store


def state(drive: Drive) -> DriveState:
    """Look anew, which a type checker does not expect of an attribute."""
    return drive.state


def file_of(store: Store, tmp_path: Path, number: int) -> bytes:
    return (tmp_path / "lab.store" / "drives" / f"{number}.img").read_bytes()


def stop(_: object) -> None:
    """End the process, as soon as it says how far it is."""
    raise KeyboardInterrupt


def test_an_emptied_drive_is_sanitized_certified_and_released(store: Store, tmp_path: Path) -> None:
    drive, key = store.drives[1], SigningKey.generate()
    drive.decommission("three years old")
    assert SECRET in file_of(store, tmp_path, 1)
    seen: list[str] = []
    certificate = drive.sanitize(
        operator=ADA, verifier=GRACE, key=key, progress=lambda progress: seen.append(progress.doing)
    )
    assert seen
    assert not any(file_of(store, tmp_path, 1))
    assert state(drive) is DriveState.SANITIZED
    assert certificate.category is Category.CLEAR
    said = certificate.content.particulars
    assert said.medium.serial == "ZA1"
    segment = f"segments of {drive.segment_blocks} blocks of {drive.block_size} bytes"
    assert (said.medium.geometry, said.source.drive, said.source.slot) == (segment, 1, "drives/1.img")
    again = Certificate.from_json(certificate.to_json())
    again.verify(key.public)
    again.verify_in(store.audit)
    drive.release(again, "back to the maker")
    assert state(drive) is DriveState.RELEASED
    assert store.tenant("contoso").volume("disk").read(0, len(SECRET)) == SECRET
    acts = [record.act for record in store.audit]
    begun = acts.index("sanitization begun")
    assert acts[begun:] == [
        "sanitization begun", "sanitization finished", "certificate issued", "drive released",
    ]  # fmt: skip


def test_what_was_deleted_is_gone_from_it(store: Store) -> None:
    tenant = store.tenant("contoso")
    tenant.volume("disk").delete()
    (erasure,) = store.erasures
    assert not store.statement(erasure).complete
    drive = store.drives[1]
    drive.decommission()
    assert store.remanence(tenant).out_of_use_blocks > 0
    assert drive.sanitize(operator=ADA, verifier=GRACE).fulfilled
    assert store.remanence(tenant).out_of_use_blocks == 0
    erasures = Erasures(store._parts.catalog, store.audit, lambda: 0, 1)
    copies = erasures.copies(erasure.id)
    assert copies["count"].sum() >= 1
    assert set(copies["how"].tolist()) == {"drive"}
    assert not len(erasures.pending())


def test_a_drive_in_use_is_not_touched(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DriveStateError, match="the store uses it"):
        store.drives[1].sanitize(operator=ADA, verifier=GRACE)
    assert SECRET in file_of(store, tmp_path, 1)


def test_another_drive_in_its_place_is_not_touched(store: Store, tmp_path: Path) -> None:
    drive = store.drives[1]
    drive.decommission()
    store.create_tenant("fabrikam").create_volume("disk", "64KiB").write(0, SECRET)
    store.flush()
    image = tmp_path / "lab.store" / "drives" / "1.img"
    other = tmp_path / "other.store"
    with Store.create(other, "2MiB") as second:
        second.create_tenant("c").create_volume("d", "64KiB").write(0, SECRET)
    image.unlink()
    (other / "drives" / "0.img").rename(image)
    with pytest.raises(MediumError, match="nothing was written"):
        drive.sanitize(operator=ADA, verifier=GRACE)
    assert SECRET in image.read_bytes()
    assert state(drive) is DriveState.EVACUATED


def test_a_cancelled_pass_goes_on_after_the_store_was_opened_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "lab.store"
    with Store.create(path, "2MiB", clock=clock) as store:
        store.add_drive("2MiB")
        store.create_tenant("contoso").create_volume("disk", "64KiB", drive=1).write(0, SECRET)
        store.drives[1].decommission()
        slow = Effort(piece_blocks=1, workers=1, checkpoint_bytes=4096)
        certificate = store.drives[1].sanitize(
            operator=ADA, verifier=GRACE, effort=slow, is_cancelled=lambda: True
        )
        assert certificate.category is Category.NONE
        assert not certificate.fulfilled
        assert state(store.drives[1]) is DriveState.SANITIZE_FAILED
        with pytest.raises(DriveStateError, match="only a sanitized drive can be released"):
            store.drives[1].release(certificate)
    with Store.open(path, clock=clock) as store:
        drive = store.drives[1]
        assert state(drive) is DriveState.SANITIZE_FAILED
        assert drive.sanitize(operator=ADA, verifier=GRACE).fulfilled
        assert state(drive) is DriveState.SANITIZED
    assert not any((path / "drives" / "1.img").read_bytes())


def test_a_drive_that_is_gone_amid_its_pass_can_be_destroyed(tmp_path: Path) -> None:
    def end(_: object) -> None:
        raise RuntimeError("the process ends here")

    with Store.create(tmp_path / "lab.store", "2MiB") as store:
        store.add_drive("2MiB")
        store.drives[1].decommission()
        with pytest.raises(RuntimeError):
            store.drives[1].sanitize(operator=ADA, verifier=GRACE, progress=end)
    (tmp_path / "lab.store" / "drives" / "1.img").unlink()
    with Store.open(tmp_path / "lab.store") as store:
        drive = store.drives[1]
        assert state(drive) is DriveState.SANITIZING
        with pytest.raises(MediumError, match="or destroy drive 1"):
            drive.sanitize(operator=ADA, verifier=GRACE)
        how = Destruction(operator=ADA, witness=GRACE, how="shredded", reason="it was lost")
        assert drive.destroy(how).category is Category.DESTROY
        assert [chapter.state for chapter in drive.story.chapters][-3:] == [
            DriveState.SANITIZING,
            DriveState.SANITIZE_FAILED,
            DriveState.DESTROYED,
        ]


def test_a_certificate_of_another_drive_releases_nothing(tmp_path: Path) -> None:
    with Store.create(tmp_path / "lab.store", "2MiB") as store:
        for serial in ("ZA1", "ZA2"):
            store.add_drive("2MiB", serial=serial)
        papers = []
        for drive in store.drives[1:]:
            drive.decommission()
            papers.append(drive.sanitize(operator=ADA, verifier=GRACE))
        with pytest.raises(CertificateError, match="ZA1"):
            store.drives[2].release(papers[0])
        assert state(store.drives[2]) is DriveState.SANITIZED


def test_a_lying_drive_is_none_and_can_only_be_destroyed() -> None:
    drive = HiddenDrive("2MiB", serial="LIAR-1", media_type="ssd")
    medium = FaultMedium(drive)
    with Store.memory("2MiB", evidence=True) as store:
        # a simulated drive goes with media of callers alone
        with pytest.raises(ConfigError):
            store.add_drive(medium=object())  # type: ignore[arg-type]
        added = store.add_drive(medium=medium, serial="LIAR-1", media_type="ssd")
        store.create_tenant("contoso").create_volume("disk", "64KiB", drive=1).write(0, SECRET)
        added.decommission()
        drive.lies_on_sanitize = True
        certificate = added.sanitize("command", operator=ADA, verifier=GRACE)
        assert certificate.category is Category.NONE
        assert state(added) is DriveState.SANITIZE_FAILED
        destruction = Destruction(operator=ADA, witness=GRACE, how="shredded to 2 mm", reason="it lied")
        paper = added.destroy(destruction, key=SigningKey.generate())
        assert paper.category is Category.DESTROY
        assert state(added) is DriveState.DESTROYED
        assert added.story.chapters[-1].witness == "Grace Murray"
        with pytest.raises(DriveStateError, match="its life is over"):
            added.sanitize(operator=ADA, verifier=GRACE)


def test_a_dead_drive_is_certified_to_be_none_that_was_sanitized_also_when_it_died_on_the_way() -> None:
    """So that it can be destroyed: a pass that was begun must come to an end."""
    with Store.memory("2MiB", evidence=True) as store:
        for number, was_begun in enumerate([False, True], 1):
            drive = HiddenDrive("2MiB", serial=f"DEAD-{number}")
            added = store.add_drive(medium=FaultMedium(drive))
            assert added.serial == f"DEAD-{number}"  # it says so itself
            added.decommission()
            if was_begun:
                with pytest.raises(KeyboardInterrupt):
                    added.sanitize(operator=ADA, verifier=GRACE, progress=stop)
                assert state(added) is DriveState.SANITIZING
            drive.die()
            certificate = added.sanitize(operator=ADA, verifier=GRACE)
            assert certificate.category is Category.NONE
            assert state(added) is DriveState.SANITIZE_FAILED
            added.destroy(Destruction(operator=ADA, witness=GRACE, how="shredded", reason="it is dead"))


def test_a_drive_of_which_no_serial_number_was_written_down_is_not_taken_for_another(tmp_path: Path) -> None:
    drive = HiddenDrive("2MiB", serial="FIRST")
    with Store.create_on(FaultMedium(drive), catalog=tmp_path / "names.db") as store:
        store.add_drive(medium=FaultMedium(HiddenDrive("2MiB", serial="SECOND")))
        store.drives[0].decommission()
        before = drive.everything()
        with pytest.raises(MediumError, match="says that it is 'FIRST', and the store knows drive 0 as"):
            store.drives[0].sanitize(operator=ADA, verifier=GRACE)
        assert drive.everything() == before
        assert state(store.drives[0]) is DriveState.EVACUATED


def test_health_moves_the_state() -> None:
    with Store.memory("2MiB") as store:
        drive = store.add_drive("2MiB")
        assert drive.health().state is DriveState.ONLINE
        store.create_tenant("contoso").create_volume("disk", "64KiB", drive=1).write(0, SECRET)
        store._facts.count(1, reads=1)
        assert drive.health().state is DriveState.DEGRADED
        assert state(drive) is DriveState.DEGRADED
        store._facts.count(1, reads=200)
        found = drive.health()
        assert found.state is DriveState.FAILED
        assert state(drive) is DriveState.DEGRADED  # it alone holds the volume
        drive.decommission()
        assert state(drive) is DriveState.EVACUATED


def test_a_drive_with_nothing_of_its_own_fails_by_its_counts() -> None:
    with Store.memory("2MiB") as store:
        drive = store.add_drive("2MiB")
        store._facts.count(1, writes=3)
        never = Thresholds(degraded=HealthCounts(), failed=HealthCounts())
        assert drive.health(never).state is DriveState.ONLINE
        few = Thresholds(degraded=HealthCounts(write_errors=1), failed=HealthCounts(write_errors=3))
        assert drive.health(few).state is DriveState.FAILED
        assert state(drive) is DriveState.FAILED
        assert "3 write errors" in drive.story.chapters[-1].reason


def test_what_is_asked_for_has_to_exist(store: Store) -> None:
    drive = store.drives[1]
    drive.decommission()
    for wrong in ({"technique": "magnet"}, {"verify": "maybe"}, {"requested": "spotless"}):
        with pytest.raises(ConfigError):
            drive.sanitize(operator=ADA, verifier=GRACE, **wrong)  # type: ignore[arg-type]
    assert state(drive) is DriveState.EVACUATED
    assert seqstore.DriveState is DriveState


def test_without_an_audit_log_nothing_is_begun() -> None:
    with Store.memory("2MiB") as store:
        drive = store.add_drive("2MiB")
        store.create_tenant("contoso").create_volume("disk", "64KiB", drive=1).write(0, SECRET)
        drive.decommission()
        with pytest.raises(ConfigError, match="evidence=True"):
            drive.sanitize(operator=ADA, verifier=GRACE)
        assert state(drive) is DriveState.EVACUATED
        medium = drive.require_idle()
        assert medium is not None
        assert SECRET in medium.read(0, medium.blocks)


def test_what_is_no_person_key_or_certificate_is_refused_before(store: Store, tmp_path: Path) -> None:
    drive = store.drives[1]
    drive.decommission()
    for wrong in ({"operator": "Ada"}, {"verifier": None}, {"key": "private.pem"}):
        with pytest.raises(ConfigError, match="is expected"):
            drive.sanitize(**{"operator": ADA, "verifier": GRACE, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is expected"):
        drive.destroy(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is expected"):
        drive.release(None)  # type: ignore[arg-type]
    assert SECRET in file_of(store, tmp_path, 1)
    assert state(drive) is DriveState.EVACUATED


def test_a_store_in_a_directory_takes_no_medium_of_callers(store: Store) -> None:
    with MemoryMedium("2MiB") as medium, pytest.raises(ConfigError, match="finds its drives there"):
        store.add_drive(medium=medium)


def test_a_drive_that_is_not_there_is_said_to_be_missing(store: Store, tmp_path: Path) -> None:
    drive = store.drives[1]
    drive.decommission()
    (tmp_path / "lab.store" / "drives" / "1.img").rename(tmp_path / "away.img")
    store.close()
    with Store.open(tmp_path / "lab.store") as again:
        with pytest.raises(MediumError, match=r"no file '.*1\.img'; bring it back, .* or destroy drive 1$"):
            again.drives[1].sanitize(operator=ADA, verifier=GRACE)
        assert again.drives[1].state is DriveState.EVACUATED


def test_a_blank_file_in_its_place_is_not_certified(store: Store, tmp_path: Path) -> None:
    drive = store.drives[1]
    drive.decommission()
    image = tmp_path / "lab.store" / "drives" / "1.img"
    image.rename(tmp_path / "away.img")
    image.write_bytes(bytes(drive.capacity))
    with pytest.raises(MediumError, match="is it another one"):
        drive.sanitize(operator=ADA, verifier=GRACE)
    with pytest.raises(ConfigError, match="is not known to be drive 1"), MemoryMedium("2MiB") as blank:
        drive.sanitize(operator=ADA, verifier=GRACE, medium=blank)
    assert state(drive) is DriveState.EVACUATED


def test_another_drive_is_not_touched_when_a_pass_is_taken_up_again(store: Store, tmp_path: Path) -> None:
    drive = store.drives[1]
    drive.decommission()
    with pytest.raises(KeyboardInterrupt):
        drive.sanitize(operator=ADA, verifier=GRACE, progress=stop)
    assert state(drive) is DriveState.SANITIZING
    image = tmp_path / "lab.store" / "drives" / "1.img"
    with Store.create(tmp_path / "other.store", "2MiB") as second:
        second.create_tenant("c").create_volume("d", "64KiB").write(0, SECRET)
    image.unlink()
    (tmp_path / "other.store" / "drives" / "0.img").rename(image)
    with pytest.raises(MediumError, match="nothing was written"):
        drive.sanitize(operator=ADA, verifier=GRACE)
    assert SECRET in image.read_bytes()
