"""Erasures: copies that are listed, cut, struck off and compared, against a model of single blocks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seqstore import BlockState, ConfigError, ManualClock, NotFoundError, Store, canonical
from seqstore._native.records import OVERWRITTEN_DTYPE, RESIDUE_DTYPE
from seqstore.audit import AuditLog
from seqstore.audit_records import Subject
from seqstore.catalog import Catalog, DriveRow, Settings
from seqstore.copies import as_copies, digest_copies
from seqstore.erasures import Erasures
from seqstore.promise import Promise
from seqstore.runs import NEVER, strike
from tests.deletions import delete, fill, go_round
from tests.durable import create
from tests.old_catalogs import copies_of, make_older

SETTINGS = Settings(created_ns=7, reserve_ppm=70_000, selection="fifo", placement="single")
DRIVE = DriveRow(number=0, identity=5, block_size=512, zone_blocks=16, blocks=256, flushed_sequence=0)
VOLUME = Subject(kind="volume", number=3, name="disk", tenant=1)
LAP = Promise(strategy="Lap()", bound_writes=256)

Run = tuple[int, ...]


def residue(*runs: Run) -> NDArray[np.void]:
    """Runs of mba, count, death and whether the cleaner left them."""
    out = np.zeros(len(runs), RESIDUE_DTYPE)
    for row, (mba, count, died, *moved) in zip(out, runs, strict=True):
        row["mba"], row["count"], row["died"] = mba, count, died
        row["state"] = BlockState.MOVED if moved else BlockState.DEAD
    return out


def written(*runs: Run, volume: int = 3) -> NDArray[np.void]:
    """Runs of mba, count and the position at which they were written over."""
    out = np.zeros(len(runs), OVERWRITTEN_DTYPE)
    for row, (mba, count, position) in zip(out, runs, strict=True):
        row["volume"], row["mba"], row["count"], row["position"] = volume, mba, count, position
    return out


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    catalog = Catalog.create(None, SETTINGS, DRIVE)
    yield catalog
    catalog.close()


@pytest.fixture
def audit(catalog: Catalog, clock: ManualClock) -> AuditLog:
    return AuditLog(catalog, clock.now_ns, "tester")


@pytest.fixture
def erasures(catalog: Catalog, audit: AuditLog, clock: ManualClock) -> Erasures:
    return Erasures(catalog, audit, clock.now_ns)


def begin(erasures: Erasures, *runs: Run, position: int = 100, subject: Subject = VOLUME) -> int:
    number = erasures.request(subject, LAP, position, {"volumes": [subject.number]}).id
    erasures.list_copies(number, residue(*runs), before=position, after=position)
    return number


def fates(erasures: Erasures, number: int) -> list[tuple[int, int, int]]:
    """Pieces of an erasure by address: mba, blocks, position at which they were gone."""
    copies = np.sort(erasures.copies(number), order=["mba", "id"])
    return [(int(c["mba"]), int(c["count"]), int(c["gone_position"])) for c in copies]


def blocks_of(copies: NDArray[np.void]) -> list[tuple[int, ...]]:
    """Single blocks of copies, with record, position of death and whether they were moved."""
    return sorted(
        (record, mba, died, moved)
        for record, first, count, died, moved in copies[["record", "mba", "count", "died", "moved"]].tolist()
        for mba in range(first, first + count)
    )


def check_memory(erasures: Erasures, number: int) -> None:
    """What is kept in memory and what the table says are the same."""
    copies = erasures.copies(number)
    assert blocks_of(copies[copies["gone_position"] == NEVER]) == blocks_of(erasures.pending(number))


class TestSteps:
    def test_the_life_of_an_erasure(self, erasures: Erasures, audit: AuditLog, clock: ManualClock) -> None:
        number = begin(erasures, (10, 4, 90), (20, 2, 95, True))
        clock.sleep_ns(5)
        assert erasures.mark(written((0, 12, 110), volume=9)) == 2
        assert fates(erasures, number) == [(10, 2, 110), (12, 2, NEVER), (20, 2, NEVER)]
        clock.sleep_ns(5)
        assert erasures.mark(written((12, 2, 120), (20, 2, 121)), how="zeroed") == 4
        assert fates(erasures, number) == [(10, 2, 110), (12, 2, 120), (20, 2, 121)]
        copies = erasures.copies(number)
        assert copies["how"].tolist() == ["overwritten", "zeroed", "zeroed"]
        assert copies["gone_ns"].tolist() == [1005, 1010, 1010]
        assert copies["moved"].tolist() == [False, False, True]
        assert not copies["observed"].any()
        assert [record.act for record in audit] == ["deletion requested", "copies listed", "erasure finished"]
        assert list(audit)[-1].details["blocks"] == 6

    def test_nothing_left_behind_is_finished_at_once(self, erasures: Erasures, audit: AuditLog) -> None:
        begin(erasures)
        assert [record.act for record in audit][-1] == "erasure finished"

    def test_an_abandoned_one(self, erasures: Erasures) -> None:
        number = erasures.request(VOLUME, LAP, 100).id
        erasures.abandon(number)
        assert erasures.get(number).state == "abandoned"
        with pytest.raises(ConfigError, match="abandoned"):
            erasures.list_copies(number, residue(), before=1, after=1)
        with pytest.raises(NotFoundError):
            erasures.get(number + 1)

    def test_copies_are_listed_once(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        with pytest.raises(ConfigError, match="listed"):
            erasures.list_copies(number, residue(), before=1, after=1)

    def test_runs_that_overlap_are_refused_and_nothing_is_kept(self, erasures: Erasures) -> None:
        number = erasures.request(VOLUME, LAP, 100).id
        with pytest.raises(ConfigError, match="overlap"):
            erasures.list_copies(number, residue((10, 4, 90), (13, 1, 90)), before=100, after=100)
        assert erasures.get(number).state == "requested"

    def test_a_key_ends_all_that_is_left(self, erasures: Erasures, audit: AuditLog) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.mark(written((10, 1, 110)))
        assert erasures.destroy_key(number, Subject(kind="key", number=7), 115) == 3
        assert erasures.copies(number)["how"].tolist() == ["overwritten", "key"]
        assert [record.act for record in audit][-2:] == ["key destroyed", "erasure finished"]

    def test_several_erasures_of_one_block(self, erasures: Erasures) -> None:
        one = begin(erasures, (10, 4, 90))
        two = begin(erasures, (8, 4, 90), subject=Subject(kind="tenant", number=1))
        assert erasures.mark(written((0, 64, 110), volume=9)) == 8
        assert fates(erasures, one) == [(10, 4, 110)]
        assert fates(erasures, two) == [(8, 4, 110)]

    def test_another_opening_goes_on(self, catalog: Catalog, audit: AuditLog, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.mark(written((10, 1, 110)))
        again = Erasures(catalog, audit, lambda: 5)
        again.mark(written((11, 3, 120)))
        assert fates(again, number) == [(10, 1, 110), (11, 3, 120)]
        # The clock was set back; what is later is not told to be earlier.
        assert again.copies(number)["gone_ns"].tolist() == [1000, 1000]

    def test_what_fails_changes_nothing(self, erasures: Erasures, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise KeyboardInterrupt

        number = begin(erasures, (10, 4, 90))
        with monkeypatch.context() as patch:
            patch.setattr(AuditLog, "append", fail)
            with pytest.raises(KeyboardInterrupt):
                erasures.mark(written((0, 64, 110)))
        assert fates(erasures, number) == [(10, 4, NEVER)]
        check_memory(erasures, number)

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM copy_lists",
            "DELETE FROM copy_ends",
            "DELETE FROM erasures",
            "UPDATE erasures SET requested_ns = 1",
            "UPDATE copy_lists SET runs = x''",
            "UPDATE copy_lists SET is_through = TRUE, seen = 0",
            "UPDATE copy_ends SET position = 1",
        ],
    )
    def test_the_tables_refuse_changes(self, catalog: Catalog, erasures: Erasures, statement: str) -> None:
        begin(erasures, (10, 4, 90))
        erasures.mark(written((10, 2, 110)))
        with pytest.raises(ConfigError):
            catalog.database.run(statement)


class TestEvents:
    def test_one_from_before_the_copy_was_there(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90), position=100)
        assert erasures.mark(written((10, 4, 99))) == 0
        assert erasures.mark(written((10, 4, 100))) == 4
        assert fates(erasures, number) == [(10, 4, 100)]

    def test_the_first_one_counts(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.mark(written((10, 4, 130), (11, 1, 120), (10, 2, 110), volume=9))
        assert sorted(fates(erasures, number))[0] == (10, 2, 110)
        assert sum(count for _, count, _ in fates(erasures, number)) == 4

    def test_copies_that_lived_on_with_others_and_died_unseen(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        assert erasures.mark(written((10, 2, 110), (40, 2, 111))) == 4
        assert fates(erasures, number) == [(10, 2, 110), (12, 2, NEVER), (40, 2, 111)]
        assert erasures.copies(number)["observed"].tolist() == [False, False, True]
        check_memory(erasures, number)

    def test_those_of_other_volumes_are_nobodys(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        assert erasures.mark(written((40, 2, 111), volume=4)) == 0
        assert len(erasures.copies(number)) == 1

    def test_a_block_that_held_two_copies_in_turn(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        assert erasures.mark(written((10, 4, 110), (10, 4, 150))) == 8
        assert fates(erasures, number) == [(10, 4, 110), (10, 4, 150)]

    def test_pieces_keep_the_digest_of_their_list(self, erasures: Erasures, audit: AuditLog) -> None:
        number = begin(erasures, (10, 9, 90), (19, 5, 90), (30, 5, 91))
        listed = list(audit)[1].details["digest"]
        erasures.mark(written((12, 1, 110), (18, 3, 111), (34, 1, 112)))
        copies = erasures.copies(number)
        assert len(copies) > 3
        assert digest_copies(copies) == listed
        assert digest_copies(copies[1:]) != listed


class TestComparing:
    def test_what_the_ledger_lacks_is_gone(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90), (20, 4, 91))
        assert erasures.reconcile(number, residue((11, 2, 90)), before=200, after=201) == 6
        assert fates(erasures, number) == [(10, 1, 201), (11, 2, NEVER), (13, 1, 201), (20, 4, 201)]
        gone = erasures.copies(number)["gone_position"] != NEVER
        assert (erasures.copies(number)["observed"] == gone).all()
        check_memory(erasures, number)

    def test_what_it_has_more_is_added(self, erasures: Erasures, audit: AuditLog) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.reconcile(number, residue((8, 8, 90), (50, 1, 150, True)), before=200, after=201)
        assert fates(erasures, number) == [(8, 2, NEVER), (10, 4, NEVER), (14, 2, NEVER), (50, 1, NEVER)]
        assert [record.act for record in audit][-1] == "copies found"

    def test_another_copy_on_the_same_block(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90), position=100)
        erasures.reconcile(number, residue((10, 4, 150)), before=200, after=201)
        assert fates(erasures, number) == [(10, 4, 201), (10, 4, NEVER)]

    def test_it_changes_nothing_twice(self, erasures: Erasures, audit: AuditLog) -> None:
        number = begin(erasures, (10, 4, 90))
        runs = residue((10, 4, 90), (50, 1, 150))
        erasures.reconcile(number, runs, before=200, after=201)
        before = len(audit)
        assert erasures.reconcile(number, runs, before=300, after=301) == 0
        assert len(audit) == before

    def test_events_of_what_was_seen_to_be_gone_come_late(self, erasures: Erasures) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.reconcile(number, residue(), before=200, after=201)
        assert erasures.mark(written((10, 4, 150))) == 0
        assert fates(erasures, number) == [(10, 4, 201)]

    def test_a_finished_one_that_is_not(self, erasures: Erasures, audit: AuditLog) -> None:
        number = begin(erasures, (10, 4, 90))
        erasures.mark(written((10, 4, 110)))
        erasures.reconcile(number, residue((50, 1, 150)), before=200, after=201)
        erasures.mark(written((50, 1, 210)))
        ends = [record.act for record in audit][2:]
        assert ends == ["erasure finished", "copies found", "erasure finished"]


SPAN = 24
RUNS = st.lists(
    st.tuples(st.integers(0, SPAN - 1), st.integers(1, 8), st.integers(0, 9)), min_size=0, max_size=8
)


@given(runs=RUNS, events=RUNS)
@settings(max_examples=300)
def test_strike_does_as_single_blocks_do(runs: list[Run], events: list[Run]) -> None:
    mba, count, since = (
        np.array([run[i] for run in runs], kind) for i, kind in enumerate(["u8", "u8", "i8"])
    )
    hit, size, when = (
        np.array([run[i] for run in events], kind) for i, kind in enumerate(["u8", "u8", "i8"])
    )
    pieces = strike(mba, count, since, event_mba=hit, event_count=size, event_position=when)
    found = [
        (run, block, position)
        for run, start, length, position in zip(*map(np.ndarray.tolist, _columns(pieces)), strict=True)
        for block in range(start, start + length)
    ]
    expected = []
    for run, (start, length, first) in enumerate(runs):
        for block in range(start, start + length):
            hits = [p for m, c, p in events if m <= block < m + c and p >= first]
            expected.append((run, block, min(hits, default=NEVER)))
    assert found == expected


def _columns(pieces: object) -> tuple[NDArray[np.generic], ...]:
    return tuple(getattr(pieces, name) for name in ("run", "mba", "count", "position"))


@given(
    listed=st.sets(st.integers(0, SPAN - 1)),
    steps=st.lists(st.tuples(st.integers(0, SPAN - 1), st.integers(1, 8), st.booleans()), max_size=6),
)
@settings(max_examples=60)
def test_every_block_is_accounted_for(listed: set[int], steps: list[tuple[int, int, bool]]) -> None:
    catalog = Catalog.create(None, SETTINGS, DRIVE)
    audit = AuditLog(catalog, lambda: 5, "tester")
    erasures = Erasures(catalog, audit, lambda: 5)
    number = begin(erasures, *((block, 1, 50) for block in sorted(listed)))
    left, position = set(listed), 100
    for mba, count, is_event in steps:
        position += 10
        blocks = set(range(mba, mba + count))
        if is_event:
            erasures.mark(written((mba, count, position), volume=9))
        else:
            remaining = residue(*((block, 1, 50) for block in sorted(left - blocks)))
            erasures.reconcile(number, remaining, before=position, after=position)
        left -= blocks
        pending = erasures.pending(number)
        assert {b for c in pending for b in range(int(c["mba"]), int(c["mba"] + c["count"]))} == left
        check_memory(erasures, number)
    assert erasures.copies(number)["count"].sum() == len(listed)
    assert ([record.act for record in audit][-1] == "erasure finished") == (not left)
    catalog.close()


def test_many_runs_take_no_longer_than_they_may(erasures: Erasures) -> None:
    """A hundred thousand runs in about a second, on a machine that has other things to do as well."""
    rng = np.random.default_rng(1)
    runs = np.zeros(100_000, RESIDUE_DTYPE)
    runs["mba"], runs["count"], runs["died"] = np.arange(100_000) * 8, 4, rng.integers(0, 100, 100_000)
    number = erasures.request(VOLUME, LAP, 100, {"volumes": [3]}).id
    erasures.list_copies(number, runs, before=100, after=100)
    events = np.zeros(100_000, OVERWRITTEN_DTYPE)
    events["mba"], events["count"], events["position"], events["volume"] = (
        np.arange(100_000) * 8 + 2,
        4,
        110,
        9,
    )
    start = time.perf_counter()
    assert erasures.mark(rng.permutation(events)) == 200_000
    assert time.perf_counter() - start < 8
    assert len(erasures.copies(number)) == 200_000


def test_runs_are_merged_whatever_their_order() -> None:
    one = as_copies(residue((10, 2, 5), (12, 2, 5), (14, 1, 6), (15, 1, 6, True)))
    assert one["count"].tolist() == [4, 1, 1]
    assert digest_copies(one) == digest_copies(as_copies(residue((15, 1, 6, True), (10, 4, 5), (14, 1, 6))))


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("read_only", [True, False])
def test_catalogs_of_earlier_formats(tmp_path: Path, version: int, read_only: bool) -> None:
    """Until the fourth they had a row for each piece of a copy; statements say the same as before."""
    with create(tmp_path / "lab.store") as store:
        fill(store)
        delete(store)
        while store.statement(1).document["totals"]["pending"] == 60:
            go_round(store, 0.02)
            store.flush()
        assert store.statement(1).document["totals"]["pending"] > 0
        copies = copies_of(store, 1)
    assert len(set(copies["gone_position"].tolist())) > 1
    make_older(tmp_path / "lab.store" / "catalog.db", version)
    with Store.open(tmp_path / "lab.store", read_only=read_only) as store:
        names = [name for name in copies.dtype.names or () if name != "id"]
        now, gone = copies_of(store, 1), copies["gone_position"] != NEVER
        assert now[gone][names].tolist() == copies[gone][names].tolist()
        assert blocks_of(now) == blocks_of(copies)
        if not read_only:
            go_round(store)
            assert store.statement(1).complete


def test_digests_of_earlier_stores_are_of_json() -> None:
    listed = as_copies(residue((10, 4, 5), (20, 1, 6, True)))
    rows = [[0, 10, 4, 5, False], [0, 20, 1, 6, True]]
    digest = canonical.digest(canonical.encode(rows))
    assert digest_copies(listed, digest) == digest
    table = b"".join(value.to_bytes(8, "little") for row in rows for value in row)
    assert digest_copies(listed) == "runs:" + hashlib.sha256(table).hexdigest()
