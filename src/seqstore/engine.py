"""Typed handle on the C core's log.

Arguments become what C takes, statuses become exceptions, and nothing else happens here. A call into the
core releases the GIL; any number of threads may use one log. What a log holds has handles of its own, in
`seqstore.engine_volume`.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from seqstore._native._core import ffi, lib
from seqstore._native.convert import lend_array
from seqstore._native.records import (
    DAMAGE_DTYPE,
    LATENCY_BINS,
    LEDGER_DTYPE,
    NOTED_DTYPE,
    REACH_DTYPE,
    SEGMENT_DTYPE,
    SHOWN_DTYPE,
    VICTIM_BINS,
    VOLUME_DTYPE,
    WORK_DTYPE,
    Scope,
    field_values,
)
from seqstore._native.status import fault_error, invariant_error, status_error
from seqstore.errors import ClosedError, ConfigError
from seqstore.media.native import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from seqstore._native.crypt import KeyRing
    from seqstore._native.policies import PolicyCalls
    from seqstore.media.native import NativeMedium

_VOLUMES_AT_ONCE = 256
_RUNS_AT_ONCE = 1 << 12

_left_by_forks: list[Any] = []  # in a child process: kept for good, since ending them is for the parent


class Engine:
    """Handle on a log.

    Parameters
    ----------
    medium : NativeMedium
        Where the log lies, or is to lie; nobody else writes to it.
    recover : bool
        Whether there is a log on the medium already, which is to be opened. A new one needs a new medium.
    policy : PolicyCalls, optional
        Functions that choose what is cleaned, or where blocks go.
    ring : KeyRing, optional
        Keys of a log whose blocks are encrypted; outlives it. The option ``sealed`` says whether they are.
    **options : int
        The fields of ``struct sq_log_options``; 0 by default.

    Attributes
    ----------
    recovery : dict of str to int, or None
        What opening an existing log found and did: the fields of ``struct sq_recovery``.
    durable : bool
        Whether the log outlives the process, and so has something to flush.
    read_errors, write_errors : int
        How often the medium failed, or gave something else than was written.
    alarm : callable or None
        Is called when one of these has risen, by whoever met the error and with whatever that one holds.
    disowned : bool
        Whether this process was forked from the one that opened the log, which alone may change it.

    Raises
    ------
    ConfigError
        If nothing is left for data, or the medium is not new.
    FormatError, CorruptionError, VersionError
        If what lies on the medium is no log of this drive, or damaged.
    LostWritesError
        If records are missing that had been reported as flushed.
    MediumError
        If the medium fails.
    MemoryError
        If there is not enough memory.
    """

    def __init__(
        self,
        medium: NativeMedium,
        *,
        recover: bool = False,
        policy: PolicyCalls | None = None,
        ring: KeyRing | None = None,
        **options: int,
    ) -> None:
        self.medium = medium
        self._policy = policy
        self._ring = ring
        # A signal handler may close the store while this thread is closing it.
        self._closing = threading.RLock()
        self.closed = True
        self.disowned = False
        self.recovery: dict[str, int] | None = None
        self.read_errors = self.write_errors = 0
        self.alarm: Callable[[], object] | None = None
        native = ffi.new("struct sq_log_options *", options)
        if policy is not None:
            native.calls, native.context = policy.calls, policy.context
        if ring is not None:
            native.ring = ring.handle
        log_out = ffi.new("sq_log **")
        if recover:
            recovery, fault = ffi.new("struct sq_recovery *"), ffi.new("struct sq_fault *")
            status = lib.sq_log_open(medium.handle, native, log_out, recovery, fault)
            if status:
                raise self.failure_with(status, fault, f"opening the log on {medium!r}")
            self.recovery = field_values("struct sq_recovery", recovery)
        else:
            status = lib.sq_log_create(medium.handle, native, log_out)
            if status == lib.SQ_E_INVALID:
                raise ConfigError(
                    f"a log on {medium!r} has no room for data, beside what it keeps free and in reserve, or"
                    " the medium is not new; use a larger capacity (11 segments at least where it outlives"
                    " the process, and up to 22 small ones; more for placements with several classes, whose"
                    " segments must not be tiny either), or a smaller reserve"
                )
            if status:
                raise explain(medium, status_error(status, f"making a log on {medium!r}"))
        self.log: Any = ffi.gc(log_out[0], lib.sq_log_destroy)
        self.closed = False
        self.durable = self.counters()["atomic_blocks"] > 0
        if self.durable:
            _durable.add(self)

    # ---- life -------------------------------------------------------------------------------

    def disown(self) -> None:
        """In a process that was forked from the one that opened the log: leave the log to the parent."""
        lib.sq_log_disown(self.log)
        self.disowned = True
        _left_by_forks.append((self.log, self.medium))

    def close(self) -> None:
        """Wait for the calls under way, then free the log. Later calls raise `ClosedError`.

        What was not flushed is lost: `finish` comes first where it is to be kept.
        """
        with self._closing:
            if not self.closed:
                self.closed = True
                if not self.disowned:
                    lib.sq_log_close(self.log)

    def finish(self) -> None:
        """Bring everything to the medium and mark the end as a clean one; only `close` may follow."""
        self._call(lib.sq_log_finish, "closing the store")

    def flush(self) -> None:
        """Return when everything acknowledged is on the medium; concurrent calls share a sync."""
        self._call(lib.sq_log_flush, "flush")

    def commit(self) -> None:
        """Flush, where there is something to flush to."""
        if self.durable:
            self.flush()

    def checkpoint(self) -> None:
        """Write a checkpoint, so that the next opening need not read what came before."""
        self._call(lib.sq_log_checkpoint, "checkpoint")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store and its parts are handles, which cannot be copied or pickled")

    def require_open(self) -> None:
        """Raise `ClosedError` if the log was closed."""
        if self.closed:
            raise status_error(lib.SQ_E_CLOSED, "use of a store")

    def require_outside(self) -> None:
        """Raise `ConfigError` in a function that the log itself has called."""
        status = lib.sq_log_stats(self.log, ffi.new("struct sq_stats *"))
        if status == lib.SQ_E_REENTERED:
            raise status_error(status, "closing a store")

    # ---- what is where, and what was done -----------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Return the fields of ``struct sq_stats`` by name."""
        stats = ffi.new("struct sq_stats *")
        self.require(lib.sq_log_stats(self.log, stats), "statistics")
        return field_values("struct sq_stats", stats)

    def check(self) -> None:
        """Walk every structure of the log and compare them.

        Raises
        ------
        InvariantError
            At the first disagreement.
        """
        self.require(lib.sq_log_check(self.log), "deep check")

    def raw(self, mba: int, count: int) -> bytes:
        """Return the bytes of `count` media blocks as they lie, those still in memory included."""
        if not self.medium.keeps_bytes:
            raise status_error(lib.SQ_E_NO_PAYLOAD, "read of the medium")
        data = bytes(count * self.medium.block_size)  # filled by C; see EngineVolume.read
        self.require(lib.sq_log_raw(self.log, mba, count, data), "read of the medium")
        return data

    def ledger(self, mba: int, count: int) -> NDArray[np.void]:
        """Return the ledger's entries of `count` media blocks, as LEDGER_DTYPE[count]."""
        entries = np.empty(count, LEDGER_DTYPE)
        target = lend_array("struct sq_ledger_entry[]", entries)
        self.require(lib.sq_log_ledger(self.log, mba, count, target), "look into the ledger")
        return entries

    def segments(self) -> NDArray[np.void]:
        """Return all segments of the log, as SEGMENT_DTYPE[n]."""
        segments = np.empty(self.medium.zones, SEGMENT_DTYPE)
        target = lend_array("struct sq_segment_info[]", segments)
        self.require(lib.sq_log_segments(self.log, 0, len(segments), target), "look at the segments")
        return segments

    def remanence(self, scope: Scope, number: int) -> tuple[int, int, int, int]:
        """Count the residue of a scope.

        Parameters
        ----------
        scope : Scope
        number : int
            Of the tenant or volume, also of a deleted one.

        Returns
        -------
        residue_blocks, moved_blocks, oldest, position : int
            `oldest` is the position of the oldest death, or NO_ADDRESS; `position` that of the log meanwhile.
        """
        residue = ffi.new("struct sq_remanence *")
        self.require(lib.sq_log_remanence(self.log, scope, number, residue, ffi.NULL), "remanence")
        return residue.residue_blocks, residue.moved_blocks, residue.oldest, residue.position

    def scrub(self, mba: int, count: int) -> tuple[int, NDArray[np.void]]:
        """Read the live ones of `count` media blocks and verify them, and the log's own.

        Those of the log that the next opening depends on are read with the first block of their segment.

        Returns
        -------
        blocks : int
            Blocks that were read.
        damaged : DAMAGE_DTYPE[n]
            Those that could not be read, or are not as they were written.
        """
        damaged = np.empty(count + self.medium.zone_blocks, DAMAGE_DTYPE)
        target = lend_array("struct sq_damage[]", damaged)
        damaged_out, read_out = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        status = lib.sq_log_scrub(self.log, mba, count, len(damaged), target, damaged_out, read_out)
        self.require(status, f"scrub of {count} blocks from mba {mba}")
        return int(read_out[0]), damaged[: damaged_out[0]]

    def histograms(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Return what was counted since the log was made or opened.

        Returns
        -------
        victims : uint64[101]
            Segments cleaned, by utilization in hundredths.
        deleted, moved : uint64[4096]
            Blocks written over, by the blocks put on the medium since they had died, and since the cleaner
            had moved their data away: in 32nds of a lap; the last bin holds all that took longer. Zero unless
            the log was made with ``note_latencies``.
        """
        victims, latencies = np.zeros(VICTIM_BINS, np.uint64), np.zeros(2 * LATENCY_BINS, np.uint64)
        targets = lend_array("uint64_t[]", victims), lend_array("uint64_t[]", latencies)
        self.require(lib.sq_log_histograms(self.log, *targets), "histograms")
        return victims, latencies[:LATENCY_BINS], latencies[LATENCY_BINS:]

    def work(self) -> NDArray[np.void]:
        """Return what was written for each tenant, deleted ones too: WORK_DTYPE[n]; 0 is the log itself."""
        return self._list(WORK_DTYPE, "struct sq_work_entry[]", "work for tenants", lib.sq_log_work)

    def batch(
        self,
        kinds: NDArray[np.uint8],
        volumes: NDArray[np.uint32],
        lbas: NDArray[np.uint64],
        blocks: NDArray[np.uint32],
        handles: NDArray[np.uint64],
    ) -> None:
        """Do many requests on a tags medium: write (0), count a read (1) or trim (2) runs of blocks.

        Parameters
        ----------
        kinds, volumes, lbas, blocks : arrays of n
            C-contiguous; what is done, to which of the handles, where, how many blocks.
        handles : uint64[m]
            Of volumes.
        """
        arrays = (
            ("uint8_t[]", kinds), ("uint32_t[]", volumes), ("uint64_t[]", lbas), ("uint32_t[]", blocks),
            ("uint64_t[]", handles),
        )  # fmt: skip
        # What is lent may be a copy, which the pointers in the structure do not keep.
        lent = [lend_array(*array) for array in arrays]
        calls = ffi.new("struct sq_batch_calls *", [*lent, len(handles)])
        done_out, fault = ffi.new("uint64_t *"), ffi.new("struct sq_fault *")
        status = lib.sq_log_batch(self.log, calls, len(kinds), done_out, fault)
        if status:
            raise self.failure_with(status, fault, f"request {done_out[0]} of a batch")

    def operations(self) -> NDArray[np.void]:
        """Take what batches asked of the medium since the last call, as NOTED_DTYPE[n].

        Only where the log was made with ``note_operations``.
        """
        return self._list(NOTED_DTYPE, "struct sq_operation[]", "list of operations", lib.sq_log_operations)

    # ---- volumes and snapshots ----------------------------------------------------------------

    def volumes(self) -> NDArray[np.void]:
        """List the volumes and snapshots, as VOLUME_DTYPE[n]."""
        return self._list(VOLUME_DTYPE, "struct sq_volume_entry[]", "list of volumes", lib.sq_volume_list)

    def reach(self, number: int, lba: int, count: int) -> NDArray[np.void]:
        """Say who else still shows blocks that were written through a volume, as REACH_DTYPE[n].

        `number` is the volume's, which may have been deleted; lba and count are a range of it.
        """
        what = f"reach of volume number {number}"
        return self._list(REACH_DTYPE, "struct sq_reach[]", what, lib.sq_volume_reach, number, lba, count)

    def shown(self, number: int, lba: int, count: int, *, with_own: bool = False) -> NDArray[np.void]:
        """List what a volume or snapshot shows that others may show too, as SHOWN_DTYPE[n] by address.

        That is all but what only it can have written since its last snapshot, which is told `with_own` alone.
        `number` is its number, of nothing where it was deleted; lba and count are a range.
        """
        place, count_out = ffi.new("uint64_t *", lba), ffi.new("uint64_t *")
        parts = [np.empty(0, SHOWN_DTYPE)]
        while place[0] < lba + count:
            runs = np.empty(_RUNS_AT_ONCE, SHOWN_DTYPE)
            target, end = lend_array("struct sq_shown[]", runs), lba + count
            status = lib.sq_volume_shown(self.log, number, with_own, place, end, len(runs), target, count_out)
            self.require(status, f"blocks shown by volume number {number}")
            parts.append(runs[: count_out[0]])
        return np.concatenate(parts)

    def create_volume(self, number: int, tenant: int, size_bytes: int, *, unwritten_error: bool) -> int:
        """Make a volume for a tenant's number, and return its handle."""
        doing = f"making a volume of {size_bytes} bytes (2**38 blocks at most)"
        return self.make(doing, lib.sq_volume_create, number, tenant, size_bytes, unwritten_error)

    def delete(self, handle: int, doing: str) -> None:
        """Delete a volume or snapshot."""
        self.require(lib.sq_volume_delete(self.log, handle), doing)

    def make(self, doing: str, function: Any, *arguments: int) -> int:
        """Call a function of the core that returns a handle."""
        handle_out = ffi.new("uint64_t *")
        self.require(function(self.log, *arguments, handle_out), doing)
        return int(handle_out[0])

    def _list(
        self, dtype: np.dtype[np.void], ctype: str, doing: str, function: Any, *arguments: int
    ) -> NDArray[np.void]:
        """Fill an array that grows until everything fits."""
        capacity = _VOLUMES_AT_ONCE
        while True:
            rows = np.empty(capacity, dtype)
            count_out = ffi.new("uint64_t *")
            self.require(function(self.log, *arguments, capacity, lend_array(ctype, rows), count_out), doing)
            if count_out[0] <= capacity:
                return rows[: count_out[0]]
            capacity = int(count_out[0])

    # ---- failures -----------------------------------------------------------------------------

    def _call(self, function: Any, doing: str) -> None:
        """Call a function of the core that takes a fault alone; only its first call knows what failed."""
        fault = ffi.new("struct sq_fault *")
        status = function(self.log, fault)
        if status:
            raise self.failure_with(status, fault, doing)

    def failure_with(
        self, status: int, fault: Any, doing: str, volume: int = 0, *, is_read: bool = False
    ) -> BaseException:
        """Make the exception for a status with a ``struct sq_fault``; `volume` is the one that was asked."""
        if status in {lib.SQ_E_IO, lib.SQ_E_CORRUPT}:
            if is_read or status == lib.SQ_E_CORRUPT:
                self.read_errors += 1
            else:
                self.write_errors += 1
            if self.alarm is not None:
                self.alarm()
        error = fault_error(status, fault, doing, volume=volume, block_size=self.medium.block_size)
        if error is None:
            return self.failure(status, doing)
        return explain(self.medium, error) if status == lib.SQ_E_IO else error

    def require(self, status: int, doing: str) -> None:
        """Raise the exception for a status without details, if it is one of failure."""
        if status:
            raise self.failure(status, doing)

    def failure(self, status: int, doing: str) -> BaseException:
        """Make the exception for a status without details."""
        if status == lib.SQ_E_IO:
            fault = ffi.new("struct sq_fault *")
            lib.sq_log_failure(self.log, fault)
            return self.failure_with(status, fault, doing)
        if status == lib.SQ_E_POLICY and self._policy is not None:
            raised = self._policy.take_error()
            if raised is not None:
                return raised
        if status != lib.SQ_E_INVARIANT:
            return status_error(status, doing)
        broken = ffi.new("struct sq_invariant *")
        if lib.sq_log_invariant(self.log, broken):
            return ClosedError(f"{doing}: the store was closed after it had failed a check of its own")
        return invariant_error(broken, doing)


_durable: weakref.WeakSet[Engine] = weakref.WeakSet()


def _disown_all() -> None:
    for engine in list(_durable):
        if not engine.closed:
            engine.disown()


os.register_at_fork(after_in_child=_disown_all)
