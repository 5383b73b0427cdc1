"""What people say of a drive: degraded, good again, not accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from seqstore import ConfigError, Drive, DriveState, DriveStateError, Store, Tenant
from seqstore.certificate_parts import Person
from tests.several import BLOCK, SEGMENT, legs

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)


def state(drive: Drive) -> DriveState:
    """Look anew, which a type checker does not expect of an attribute."""
    return drive.state


def test_volumes_are_placed_on_a_degraded_drive_last(store: Store, tenant: Tenant) -> None:
    drive = store.add_drive(128 * SEGMENT)
    drive.degrade("it is loud")
    assert (state(drive), drive.story.chapters[-1].reason) == (DriveState.DEGRADED, "it is loud")
    assert legs(tenant.create_volume("first", 10 * BLOCK)) == [0]
    drive.recover("the rack was loud")
    assert state(drive) is DriveState.ONLINE
    assert legs(tenant.create_volume("second", 10 * BLOCK)) == [1]
    assert [record.act for record in store.audit][-4::2] == ["drive degraded", "drive recovered"]


def test_a_drive_that_is_good_again_counts_anew(store: Store) -> None:
    drive = store.drives[0]
    store._facts.count(0, reads=3, writes=2, findings=1)
    assert drive.health().state is DriveState.DEGRADED
    drive.recover("the cable was loose")
    counts = drive.health().counts
    assert (counts.read_errors, counts.write_errors, counts.scrub_findings) == (0, 0, 0)
    assert state(drive) is DriveState.ONLINE


def test_a_result_that_is_refused_releases_nothing(store: Store) -> None:
    drive = store.add_drive(64 * SEGMENT)
    drive.fail("it clicks")
    certificate = drive.sanitize(operator=ADA, verifier=GRACE)
    drive.refuse("what was on it asks for more")
    assert state(drive) is DriveState.SANITIZE_FAILED
    with pytest.raises(DriveStateError, match="only a sanitized drive"):
        drive.release(certificate)


@pytest.mark.parametrize(
    "word",
    [
        pytest.param(lambda drive, reason: drive.degrade(reason), id="degrade"),
        pytest.param(lambda drive, reason: drive.recover(reason), id="recover"),
        pytest.param(lambda drive, reason: drive.refuse(reason), id="refuse"),
    ],
)
def test_words_take_a_reason_and_a_state(store: Store, word: Callable[[Drive, str], None]) -> None:
    drive = store.add_drive(64 * SEGMENT)
    with pytest.raises(ConfigError, match="reason is empty"):
        word(drive, " ")
    drive.fail("it is dead")
    with pytest.raises(DriveStateError, match="it is dead"):
        word(drive, "it is not")
    assert state(drive) is DriveState.FAILED
