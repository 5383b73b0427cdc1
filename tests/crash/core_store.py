"""The C core as the harness drives it: its functions by their C names, on a medium with a faulty drive.

Nothing of the Python around the core takes part, so what fails here is the core's, and a call costs little.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from seqstore import FormatError, OutOfSpaceError
from seqstore._native._core import ffi, lib
from seqstore._native.crypt import KeyRing, system_crypto
from seqstore._native.records import LEDGER_DTYPE
from seqstore.media.faults import FaultMedium, FaultyDrive
from tests.crash.ops import (
    BLOCK,
    Bind,
    Checkpoint,
    Clone,
    Create,
    Delete,
    Flush,
    Op,
    Purge,
    Resize,
    Rollback,
    Snapshot,
    Trim,
    Write,
    WriteBlocks,
)
from tests.crash.world import Shown, World

Manage = Create | Snapshot | Clone | Rollback | Delete | Flush | Checkpoint | Purge | Bind

_MOST = 256  # volumes, and extents of a volume
_STATUSES = {getattr(lib, name): name for name in dir(lib) if name.startswith("SQ_E_")}


class CoreError(Exception):
    """A status that nobody expected."""

    def __init__(self, status: int, fault: Any, doing: str) -> None:
        self.status = status
        self.fault = {name: getattr(fault, name) for name, _ in ffi.typeof("struct sq_fault").fields}
        details = ", ".join(f"{name} {value}" for name, value in self.fault.items() if value)
        super().__init__(f"{doing}: {_STATUSES.get(status, status)} {details}")


class DamageError(CoreError, FormatError):
    """Damage that was noticed."""


class LostError(DamageError):
    """Flushed records are missing."""


DAMAGE = {lib.SQ_E_FORMAT, lib.SQ_E_VERSION, lib.SQ_E_CORRUPT, lib.SQ_E_LOST}

_MOST_KEYS = 4096
_uses = itertools.count(1)  # each use of a log seals under keys of its own


@functools.cache
def _ring() -> KeyRing:
    """Secrets for all sealed stores: one for each number that a volume may have."""
    ring = KeyRing(system_crypto())
    for number in range(1, _MOST_KEYS):
        ring.add(number, secret_of(number))
    return ring


def secret_of(number: int) -> bytes:
    """The secret that the blocks of the volume of a number are sealed under."""
    return number.to_bytes(32, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A kind of store: the core with these options."""

    checkpoint_blocks: int = 0
    window_blocks: int = 0
    reserve_ppm: int = 70_000
    accept_loss: int = 0
    expect_sequence: int = 0
    selection: int = lib.SQ_SELECT_FIFO
    placement: int = lib.SQ_PLACE_SINGLE
    classes: int = 1
    drive: int = 0x1122334455667788
    sealed: int = 0

    def options(self) -> Any:
        keys = {"ring": _ring().handle, "sealing": next(_uses)} if self.sealed else {}
        return ffi.new("struct sq_log_options *", {"verify": 1, **asdict(self), **keys})

    def create(self, drive: FaultyDrive) -> CoreStore:
        medium, log_out = FaultMedium(drive), ffi.new("sq_log **")
        status = lib.sq_log_create(medium.handle, self.options(), log_out)
        if status:
            raise CoreError(status, ffi.new("struct sq_fault *"), "create")
        return CoreStore(medium, log_out[0], {}, is_sealed=bool(self.sealed))

    def open(self, drive: FaultyDrive) -> CoreStore:
        medium, log_out = FaultMedium(drive), ffi.new("sq_log **")
        recovery, fault = ffi.new("struct sq_recovery *"), ffi.new("struct sq_fault *")
        status = lib.sq_log_open(medium.handle, self.options(), log_out, recovery, fault)
        if status == lib.SQ_E_LOST:
            raise LostError(status, fault, "open")
        if status in DAMAGE:
            raise DamageError(status, fault, "open")
        if status:
            raise CoreError(status, fault, "open")
        found = {name: getattr(recovery, name) for name, _ in ffi.typeof("struct sq_recovery").fields}
        return CoreStore(medium, log_out[0], found, is_sealed=bool(self.sealed))


class CoreStore:
    """A log that was made or opened."""

    def __init__(
        self, medium: FaultMedium, log: Any, recovery: dict[str, int], *, is_sealed: bool = False
    ) -> None:
        self.medium = medium
        self.recovery = recovery
        self._log = ffi.gc(log, lib.sq_log_destroy)
        self._fault = ffi.new("struct sq_fault *")
        self._handle_out = ffi.new("uint64_t *")
        self._is_sealed = is_sealed
        self._handles = {entry.number: entry.handle for entry in self.entries()}
        for entry in self.entries():
            if not entry.flags & 2:
                self._seal(entry.number)
        self.atomic_blocks = self.stats()["atomic_blocks"]

    def _seal(self, number: int) -> None:
        """Give a volume its key, which has its number."""
        if self._is_sealed:
            self._require(lib.sq_volume_seal(self._log, self._handles[number], number, number % 2), "seal")

    # ---- changes --------------------------------------------------------------------------------

    def apply(self, op: Op) -> None:
        status = self._write(op) if isinstance(op, Write | WriteBlocks | Trim | Resize) else self._manage(op)
        if status == lib.SQ_E_OUT_OF_SPACE:
            needed, available = self._fault.needed_blocks, self._fault.available_blocks
            raise OutOfSpaceError("no room", needed=needed, available=available)
        self._require(status, type(op).__name__)
        if isinstance(op, Create | Clone):
            self._seal(op.number)

    def _write(self, op: Write | WriteBlocks | Trim | Resize) -> int:
        log, fault, handle = self._log, self._fault, self._handles[op.number]
        match op:
            case Write(_, offset, data):
                status = lib.sq_volume_write(log, handle, offset, data, len(data), fault)
            case WriteBlocks(_, lbas, data):
                rows = ffi.from_buffer("uint8_t[]", data)
                status = lib.sq_volume_write_blocks(log, handle, list(lbas), len(lbas), rows, fault)
            case Trim(_, offset, length):
                status = lib.sq_volume_trim(log, handle, offset, length, fault)
            case Resize(_, size):
                status = lib.sq_volume_resize(log, handle, size, fault)
        return int(status)

    def _manage(self, op: Manage) -> int:
        log, fault, out, handles = self._log, self._fault, self._handle_out, self._handles
        match op:
            case Create(number, tenant, size, strict):
                status = lib.sq_volume_create(log, number, tenant, size, strict, out)
                handles[number] = out[0]
            case Snapshot(volume, number):
                status = lib.sq_volume_snapshot(log, handles[volume], number, out)
                handles[number] = out[0]
            case Clone(snapshot, number, tenant, strict):
                status = lib.sq_volume_clone(log, handles[snapshot], number, tenant, strict, out)
                handles[number] = out[0]
            case Rollback(volume, snapshot, number):
                status = lib.sq_volume_rollback(log, handles[volume], handles[snapshot], number)
            case Delete(number):
                status = lib.sq_volume_delete(log, handles[number])
            case Flush():
                status = lib.sq_log_flush(log, fault)
            case Checkpoint():
                status = lib.sq_log_checkpoint(log, fault)
            case Purge(tenant):
                status = self._purge(lib.SQ_SCOPE_TENANT if tenant else lib.SQ_SCOPE_ALL, tenant)
            case Bind():
                least = ffi.new("uint64_t *")
                lib.sq_log_smallest_bound(log, least)
                status = lib.sq_log_bound(log, lib.SQ_SCOPE_ALL, 0, least[0], 0, fault)
        return int(status)

    def _purge(self, scope: int, number: int) -> int:
        """Write over all residue of a scope; see that nothing is left."""
        done, log = ffi.new("struct sq_purge *"), self._log
        status = lib.sq_log_purge(log, scope, number, lib.SQ_NO_ADDRESS, done, self._fault)
        if status == lib.SQ_OK:
            found = ffi.new("struct sq_remanence *")
            self._require(lib.sq_log_remanence(log, scope, number, found, ffi.NULL), "remanence")
            assert found.residue_blocks == 0, f"{found.residue_blocks} blocks left after a purge"
        return int(status)

    def finish(self) -> None:
        """End cleanly; only `abandon` may follow."""
        self._require(lib.sq_log_finish(self._log, self._fault), "finish")

    def abandon(self) -> None:
        lib.sq_log_close(self._log)
        self.medium.close()

    # ---- looking --------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        stats = ffi.new("struct sq_stats *")
        self._require(lib.sq_log_stats(self._log, stats), "stats")
        return {name: getattr(stats, name) for name, _ in ffi.typeof("struct sq_stats").fields}

    def check(self) -> None:
        status = lib.sq_log_check(self._log)
        if status == lib.SQ_E_INVARIANT:
            broken = ffi.new("struct sq_invariant *")
            lib.sq_log_invariant(self._log, broken)
            file, condition = ffi.string(broken.file).decode(), ffi.string(broken.condition).decode()
            raise AssertionError(f"{file}:{broken.line}: {condition}")
        self._require(status, "check")
        self._check_free_blocks()

    def _check_free_blocks(self) -> None:
        """What the ledger calls free was never written, or written over with zeros; residue was not."""
        blocks, zone = self.medium.blocks, self.medium.zone_blocks
        entries, raw = np.zeros(blocks, LEDGER_DTYPE), np.zeros((blocks, BLOCK), np.uint8)
        target = ffi.from_buffer("struct sq_ledger_entry[]", entries, require_writable=True)
        self._require(lib.sq_log_ledger(self._log, 0, blocks, target), "ledger")
        with ffi.from_buffer("uint8_t[]", raw, require_writable=True) as target:
            self._require(lib.sq_log_raw(self._log, 0, blocks, target), "raw")
        states, is_blank = entries["state"], raw.max(axis=1) == 0
        wrong = np.flatnonzero((states == lib.SQ_FREE) & ~is_blank)
        assert wrong.size == 0, f"block {wrong[0]} is free and holds something"
        # What a purge was about to write over counts as there, unless it had begun with the segment.
        has_begun = np.repeat(is_blank[::zone], zone)[:blocks]
        wrong = np.flatnonzero(np.isin(states, [lib.SQ_DEAD, lib.SQ_MOVED]) & is_blank & has_begun)
        assert wrong.size == 0, f"block {wrong[0]} is residue and blank"

    def entries(self) -> list[SimpleNamespace]:
        rows, count_out = ffi.new("struct sq_volume_entry[]", _MOST), ffi.new("uint64_t *")
        self._require(lib.sq_volume_list(self._log, _MOST, rows, count_out), "list")
        assert count_out[0] < _MOST
        names = [name for name, _ in ffi.typeof("struct sq_volume_entry").fields]
        values = ({name: getattr(rows[i], name) for name in names} for i in range(count_out[0]))
        return [SimpleNamespace(**entry) for entry in values]

    def show(self) -> World:
        return {entry.number: self._show(entry) for entry in self.entries()}

    def _show(self, entry: SimpleNamespace) -> Shown:
        strict = bool(entry.flags & 1)
        extents, count_out = ffi.new("struct sq_extent[]", _MOST), ffi.new("uint64_t *")
        status = lib.sq_volume_extents(self._log, entry.handle, 0, _MOST, extents, count_out)
        self._require(status, f"extents of {entry.number}")
        assert count_out[0] < _MOST
        runs = [(extents[i].lba, extents[i].count) for i in range(count_out[0])]
        blocks: dict[int, bytes] = {}
        for lba, count in runs:
            data = self._read(entry, lba * BLOCK, count * BLOCK)
            blocks.update((lba + i, data[i * BLOCK : (i + 1) * BLOCK]) for i in range(count))
        if not strict:
            self._expect_zeros(entry, blocks)
        return Shown(entry.tenant, entry.size_bytes, strict, entry.origin, bool(entry.flags & 2), blocks)

    def _expect_zeros(self, entry: SimpleNamespace, blocks: dict[int, bytes]) -> None:
        """See that a volume shows nothing but its blocks, when it is read as a whole."""
        image = np.zeros(entry.size_bytes + BLOCK, np.uint8)
        for lba, data in blocks.items():
            image[lba * BLOCK : (lba + 1) * BLOCK] = np.frombuffer(data, np.uint8)
        assert self._read(entry, 0, entry.size_bytes) == image[: entry.size_bytes].tobytes()

    def _read(self, entry: SimpleNamespace, offset: int, length: int) -> bytes:
        """Read bytes, and zeros beyond the end of the volume for the rest of its last block."""
        inside = min(length, entry.size_bytes - offset)
        data = bytearray(length)
        target = ffi.from_buffer("char[]", data, require_writable=True)
        status = lib.sq_volume_read(self._log, entry.handle, offset, target, inside, self._fault)
        self._require(status, f"read of {inside} bytes at {offset} of {entry.number}")
        ffi.release(target)
        return bytes(data)

    def _require(self, status: int, doing: str) -> None:
        if status:
            raise (DamageError if status in DAMAGE else CoreError)(status, self._fault, doing)
