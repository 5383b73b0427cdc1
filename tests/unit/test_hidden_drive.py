"""The simulated drive with hidden places: what it keeps where, what it admits, what it says of itself."""

from __future__ import annotations

import random
from typing import Any

import pytest

import seqstore
from seqstore import ConfigError
from seqstore.media.faults import FaultMedium, FaultPlan
from seqstore.media.hidden import HiddenDrive
from seqstore.sanitize import Area, Effort, Options, Technique
from tests.sanitizing import BLOCK, BLOCKS, COMMAND_AND_ZERO, RANDOM_SEED, full_drive, sanitize


def block(text: bytes) -> bytes:
    return text.ljust(BLOCK, b".")


def drive(**options: Any) -> HiddenDrive:
    return HiddenDrive(64 * BLOCK, block_size=BLOCK, zone_size=16 * BLOCK, **options)


def test_a_replaced_block_keeps_what_it_held() -> None:
    worn = drive(spare=1)
    worn.overwrite(3, block(b"old"))
    assert worn.wear_out(3)
    worn.overwrite(3, block(b"new"))
    assert worn.peek(3, 1) == block(b"new")
    places = {place.area: place for place in worn.places()}
    assert places[Area.REPLACED].read(0, 1) == block(b"old")
    assert Area.SPARE not in places
    assert not worn.wear_out(4)  # none is left, and the block cannot be written any more
    with pytest.raises(OSError, match="cannot be written"):
        worn.overwrite(4, block(b"new"))


def test_flash_keeps_old_copies() -> None:
    flash = drive(working=4, translates=True)
    flash.overwrite(3, block(b"old"))
    flash.overwrite(3, block(b"new"))
    (place,) = flash.places()
    assert place.area is Area.OVER_PROVISIONED
    assert block(b"old") in {place.read(index, 1) for index in range(4)}
    for _ in range(4):
        flash.overwrite(3, block(b"newer"))
    assert block(b"old") not in {place.read(index, 1) for index in range(4)}


def test_the_cache_keeps_the_last_writes() -> None:
    hybrid = drive(cached=2)
    for text in (b"one", b"two", b"three"):
        hybrid.overwrite(3, block(text))
    (place,) = hybrid.places()
    assert {place.read(index, 1) for index in range(2)} == {block(b"two"), block(b"three")}


def test_what_is_protected_can_be_reached_another_way() -> None:
    protected = drive(protected=2)
    protected.plant(Area.HOST_PROTECTED, 1, block(b"secret"))
    (place,) = protected.places()
    assert place.read(1, 1) == block(b"secret")
    place.write(1, block(b"gone"))
    assert block(b"secret") not in protected.everything()


def test_a_drive_may_not_admit_to_a_place_nor_let_it_be_read() -> None:
    shy = drive(spare=2, protected=2, vendor_reads=False)
    places = {place.area: place for place in shy.places()}
    with pytest.raises(OSError, match="no access to its spare blocks"):
        places[Area.SPARE].read(0, 1)
    with pytest.raises(OSError, match="no access to its spare blocks"):
        places[Area.SPARE].write(0, block(b"x"))
    shy.admits = frozenset()
    assert shy.places() == ()


def test_translation_needs_something_to_work_with() -> None:
    with pytest.raises(ConfigError, match="needs working blocks"):
        drive(translates=True)


def test_a_power_cycle_loses_what_was_not_synced() -> None:
    plain = drive()
    plain.overwrite(1, block(b"synced"))
    plain.sync()
    plain.overwrite(1, block(b"cached"))
    assert plain.power_cycle()
    assert plain.peek(1, 1) == block(b"synced")
    plain.cannot_power_cycle = True
    assert not plain.power_cycle()


def test_the_health_table_counts() -> None:
    worn = drive(spare=2)
    worn.wear_out(3)
    worn.bad_on_read(5)
    with pytest.raises(OSError, match="cannot be read"):
        worn.read(5, 1, bytearray(BLOCK))
    worn.power_cycle()
    table = {row.name: row.raw for row in worn.reports_health()}
    assert table["reallocated sectors"] == 1
    assert table["spare blocks left"] == 1
    assert table["uncorrectable read errors"] == 1
    assert table["pending sectors"] == 1
    assert table["power cycles"] == 1
    assert len({row.number for row in worn.reports_health()}) == len(table)


def test_a_store_works_on_such_a_drive() -> None:
    flash = HiddenDrive("8MiB", working=64, spare=8, translates=True)
    medium = FaultMedium(flash)
    with medium:
        medium.append(0, b"x" * 4096)
        medium.sync()
        assert medium.read(0, 1) == b"x" * 4096
    assert isinstance(medium, seqstore.media.CallsMedium)


@pytest.mark.parametrize(
    "technique",
    [COMMAND_AND_ZERO, Technique.random(RANDOM_SEED) + Technique.command(), Technique.command()],
    ids=lambda technique: technique.name,
)
def test_after_success_one_value_is_left_everywhere(technique: Technique) -> None:
    """Seen by whoever takes the drive apart, which here admits to all of its places."""
    hidden = full_drive()
    assert len(set(hidden.everything())) == 256
    outcome = sanitize(hidden, technique)
    assert outcome.succeeded
    assert set(hidden.everything()) == {0}
    assert {area.area for area in outcome.areas} == set(Area) - {Area.USER}
    assert all(area.proven for area in outcome.areas)


def test_what_a_drive_does_not_admit_to_nobody_sees() -> None:
    """The honest limit: success is of all that the drive tells of."""
    hidden = full_drive()
    hidden.admits = frozenset({Area.HOST_PROTECTED})
    hidden.leaves_out = frozenset({Area.SPARE})
    outcome = sanitize(hidden, COMMAND_AND_ZERO)
    assert outcome.succeeded
    assert {area.area for area in outcome.areas} == {Area.HOST_PROTECTED}
    assert len(set(hidden.everything())) > 1


def test_what_cannot_be_read_back_is_not_called_proven() -> None:
    outcome = sanitize(full_drive(vendor_reads=False), COMMAND_AND_ZERO)
    assert outcome.succeeded
    assert {area.area for area in outcome.areas if area.proven} == {Area.HOST_PROTECTED}
    assert {area.reached_by for area in outcome.areas if not area.proven} == {"command"}


def test_a_random_step_behind_the_command_is_no_lie_in_the_cache() -> None:
    outcome = sanitize(full_drive(), Technique.command() + Technique.random(RANDOM_SEED))
    assert outcome.succeeded, outcome.problems
    assert outcome.verifications[0].blocks == BLOCKS


@pytest.mark.parametrize("seed", range(60))
def test_success_is_never_claimed_while_anything_else_lies_there(seed: int) -> None:
    """Faults and lies by chance, on a drive that admits to all its places and can be taken apart."""
    generator = random.Random(seed)
    few = {
        name: generator.choice([0.0, 0.0, 0.0, 0.01]) for name in ("rot", "misdirect", "lose_write", "lie")
    }
    bad = {name: generator.choice([0.0, 0.0, 0.001]) for name in ("bad_on_read", "bad_on_write")}
    shaky = full_drive(256, generator=generator)
    shaky._chance.plan = FaultPlan(**few, **bad)  # type: ignore[arg-type]
    shaky.lies_on_sanitize = generator.random() < 0.2
    shaky.leaves_out = frozenset(area for area in Area if generator.random() < 0.05)
    if generator.random() < 0.2:
        shaky.lie_on_sync(generator.randrange(4))
    if generator.random() < 0.2:
        shaky.die(after=generator.randrange(60))
    effort = Effort(piece_blocks=generator.choice([1, 8, 64]), checkpoint_bytes=64 * BLOCK, retries=1)
    technique = generator.choice([COMMAND_AND_ZERO, Technique.random(RANDOM_SEED) + COMMAND_AND_ZERO])
    outcome = sanitize(shaky, technique, options=Options(effort=effort, second_verifier=True))
    if outcome.succeeded:
        assert set(shaky.everything()) == {0}
    else:
        assert outcome.problems
    if set(shaky.everything()) != {0}:
        assert not outcome.succeeded


def test_by_chance_both_ends_are_met() -> None:
    """Else the test above would say nothing."""
    assert sanitize(full_drive(256), COMMAND_AND_ZERO).succeeded
    lost = full_drive(256, generator=random.Random(1))
    lost._chance.plan = FaultPlan(lose_write=0.2)
    assert not sanitize(lost, Technique.ones(), options=Options(effort=Effort(piece_blocks=8))).succeeded
