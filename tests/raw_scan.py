"""Compares what lies on a medium with what the ledger says and with what the oracle knows.

Plain functions over a `Scan`, so that the state machines, the named invariants and single tests share
them. Each raises AssertionError with the media address and both sides of the disagreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

import seqstore
from seqstore import BlockState
from tests import blocks, witness
from tests.oracle import Oracle

LOG = 0  # tenant and volume of what the log wrote for itself
DATA_STATES = (BlockState.LIVE, BlockState.DEAD, BlockState.MOVED)
RESIDUE_STATES = (BlockState.DEAD, BlockState.MOVED)


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at a drive: every block's bytes, the ledger, and the log's time."""

    raw: npt.NDArray[np.uint8]
    ledger: npt.NDArray[Any]
    position: int

    @classmethod
    def take(cls, store: seqstore.Store) -> Scan:
        """Read the whole drive of a memory store."""
        drive = store.drives[0]
        raw = np.frombuffer(drive.raw(0, drive.blocks), dtype=np.uint8)
        return cls(raw.reshape(drive.blocks, drive.block_size), drive.ledger(), store.stats().position)

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return int(self.raw.shape[1])

    def in_state(self, *states: BlockState) -> list[int]:
        """List the media blocks in one of these states, ascending."""
        return [int(mba) for mba in np.flatnonzero(np.isin(self.ledger["state"], states))]

    def place(self, volume: int, lba: int) -> int:
        """Return where the live copy of a volume's block lies."""
        owned = self.ledger["state"] == BlockState.LIVE
        owned &= (self.ledger["volume"] == volume) & (self.ledger["lba"] == lba)
        (mba,) = np.flatnonzero(owned).tolist()
        return int(mba)

    def entry(self, mba: int) -> tuple[int, int, int, int]:
        """Return tenant, volume, lba and time of death of one media block."""
        row = self.ledger[mba]
        return int(row["tenant"]), int(row["volume"]), int(row["lba"]), int(row["died"])


def check_all(scan: Scan, oracle: Oracle, before: Scan | None = None) -> None:
    """Run every comparison of this file; ``before`` is an earlier look at the same drive."""
    check_any(scan, oracle, before)
    check_age(scan)
    check_order(scan)


def check_any(scan: Scan, oracle: Oracle, before: Scan | None = None) -> None:
    """Run the comparisons that hold under every policy of cleaning, not under the circular log alone."""
    check_live(scan, oracle)
    check_residue(scan, oracle)
    check_free(scan)
    check_tags(scan)
    check_records(scan)
    if before is not None:
        check_progress(before, scan)
        check_moved(before, scan, oracle)


def check_live(scan: Scan, oracle: Oracle) -> None:
    """LIVE entries are the oracle's mapping: each block once, with its current bytes."""
    expected = oracle.mapping()
    for mba in scan.in_state(BlockState.LIVE):
        tenant, volume, lba, died = scan.entry(mba)
        content = expected.pop((tenant, volume, lba), None)
        assert content is not None, f"mba {mba}: LIVE for {(tenant, volume, lba)}, which is not or twice"
        assert scan.raw[mba].tobytes() == content, f"mba {mba}: LIVE, but not the current bytes"
        assert died == seqstore.NO_ADDRESS, f"mba {mba}: LIVE, yet died at {died}"
    assert not expected, f"written, but LIVE nowhere: {sorted(expected)[:5]}"


def check_residue(scan: Scan, oracle: Oracle) -> None:
    """DEAD and MOVED blocks hold what their owner once wrote, and died."""
    for mba in scan.in_state(*RESIDUE_STATES):
        tenant, volume, lba, died = scan.entry(mba)
        content = scan.raw[mba].tobytes()
        if volume == LOG:
            assert content.startswith(witness.MAGIC), f"mba {mba}: residue of the log, but no summary"
        else:
            owner = oracle.by_number(volume)
            assert owner.tenant == tenant, f"mba {mba}: residue of volume {volume} with tenant {tenant}"
            assert content in owner.past, f"mba {mba}: residue that volume {volume} never wrote"
        assert lba == seqstore.NO_ADDRESS, f"mba {mba}: residue with lba {lba}"
        assert died <= scan.position, f"mba {mba}: died at {died}, after {scan.position}"


def check_age(scan: Scan) -> None:
    """No residue is older than a lap."""
    for mba in scan.in_state(*RESIDUE_STATES):
        age = scan.position - scan.entry(mba)[3]
        assert age <= len(scan.raw), f"mba {mba}: residue is {age} device writes old, more than a lap"


def check_free(scan: Scan) -> None:
    """FREE blocks are blank; a SUMMARY is one, or zero while its record is open. Neither has an owner."""
    for mba in scan.in_state(BlockState.FREE, BlockState.SUMMARY):
        content = scan.raw[mba].tobytes()
        is_summary = scan.ledger["state"][mba] == BlockState.SUMMARY and content.startswith(witness.MAGIC)
        assert is_summary or not scan.raw[mba].any(), f"mba {mba}: bytes in a block of nobody"
        assert scan.entry(mba) == (0, 0, seqstore.NO_ADDRESS, seqstore.NO_ADDRESS), f"mba {mba}"


def check_tags(scan: Scan) -> None:
    """Every tag that a raw scan finds names the owner that the ledger names; none lies off its place."""
    image = scan.raw.tobytes()
    at_cells, anywhere = blocks.count_magic(image)
    assert at_cells == anywhere, f"{anywhere - at_cells} tags begin where no cell does"
    cells = blocks.find_cells(image, scan.block_size)
    rows = scan.ledger[cells["block"]]
    wrong = ~np.isin(rows["state"], DATA_STATES) | (rows["state"] == BlockState.LIVE) & (
        rows["lba"] != cells["lba"]
    )
    wrong |= (rows["tenant"] != cells["tenant"]) | (rows["volume"] != cells["volume"])
    for cell, row in zip(cells[wrong], rows[wrong], strict=True):
        raise AssertionError(f"mba {cell['block']}: found {cell}, the ledger says {row}")


def records_of(scan: Scan) -> dict[int, witness.Record]:
    """Parse the log's own blocks, in use and dead, but for that of the open record; by mba."""
    found = {}
    for mba in np.flatnonzero(
        (scan.ledger["volume"] == LOG) & (scan.ledger["state"] != BlockState.FREE)
    ).tolist():
        record = witness.parse_summary(scan.raw[mba].tobytes())
        if record is not None:
            assert record.mba == mba, f"mba {mba}: a summary that was written for {record.mba}"
            found[mba] = record
    return found


def check_records(scan: Scan) -> None:
    """Summaries in use describe the blocks that follow them: owner, lba and checksum."""
    records = records_of(scan)
    for mba in scan.in_state(BlockState.SUMMARY):
        record = records.get(mba)
        if record is None:
            continue  # the open record: its place is zero until it is sealed
        following = range(mba + 1, mba + 1 + record.data_blocks)
        for at, entry in zip(following, record.data, strict=True):
            tenant, volume, lba, _ = scan.entry(at)
            assert volume == entry.volume, f"mba {at}: summary says volume {entry.volume}, ledger {volume}"
            assert lba in {entry.lba, seqstore.NO_ADDRESS}, f"mba {at}: lba {entry.lba}, ledger {lba}"
            assert tenant != 0, f"mba {at}: data of nobody"
        sums = witness.data_checksums(record.data, scan.raw[list(following)])
        assert sums == [entry.value for entry in record.data], f"record at mba {mba}: checksums differ"


def check_order(scan: Scan) -> None:
    """The records are one sequence, which leads to the ledger."""
    records = records_of(scan)
    in_order = sorted(records.values(), key=lambda record: record.sequence)
    for earlier, record in pairwise(in_order):
        follows = record.sequence > earlier.sequence + 1 or record.previous == earlier.checksum
        assert follows, f"record {record.sequence} does not name the checksum of the one before"
    positions = [record.position for record in in_order]
    assert positions == sorted(set(positions)), "records' positions do not rise with their numbers"
    check_replay(scan, in_order)


def check_replay(scan: Scan, in_order: list[witness.Record]) -> None:
    """Following the sealed records gives the ledger, but for what has happened since the last of them."""
    last = in_order[-1].position if in_order else 0
    replayed = witness.replay(in_order)
    for (volume, lba), mba in replayed.items():
        state, owner = scan.ledger["state"][mba], scan.entry(mba)[1:3]
        if state == BlockState.LIVE:
            assert owner == (volume, lba), f"mba {mba}: {(volume, lba)} in the records, {owner} in the ledger"
        else:
            died = scan.entry(mba)[3]
            assert died >= last, f"mba {mba}: {(volume, lba)} died at {died}, and no record says so"
    sealed = {
        mba for record in in_order for mba in range(record.mba + 1, record.mba + 1 + record.data_blocks)
    }
    for mba in sealed.intersection(scan.in_state(BlockState.LIVE)):
        assert replayed.get(scan.entry(mba)[1:3]) == mba, f"mba {mba}: LIVE, but not by the records"


def check_progress(before: Scan, after: Scan) -> None:
    """What was dead stays dead with its time of death until it is written over."""
    old, new = before.ledger, after.ledger
    was = np.isin(old["state"], RESIDUE_STATES)
    now = np.isin(new["state"], RESIDUE_STATES)
    fresh = now & (new["died"] >= before.position)
    same = was & now & (old["died"] == new["died"]) & (old["volume"] == new["volume"])
    unexplained = np.flatnonzero(now & ~fresh & ~same)
    assert not unexplained.size, f"mba {unexplained[:5]}: residue older than the step that made it"
    kept = np.flatnonzero(same & ~fresh)
    assert (before.raw[kept] == after.raw[kept]).all(), "residue whose bytes changed"


def check_moved(before: Scan, after: Scan, oracle: Oracle) -> None:
    """A copy that was live and is no more, while nobody wrote or trimmed its block, was MOVED."""
    gone = (before.ledger["state"] == BlockState.LIVE) & np.isin(after.ledger["state"], RESIDUE_STATES)
    gone &= (before.raw == after.raw).all(axis=1)
    for mba in np.flatnonzero(gone).tolist():
        _, volume, lba, _ = before.entry(mba)
        twin = oracle.by_number(volume)
        if lba in twin.blocks and lba not in twin.rewritten:
            assert after.ledger["state"][mba] == BlockState.MOVED, f"mba {mba}: moved, yet not MOVED"
