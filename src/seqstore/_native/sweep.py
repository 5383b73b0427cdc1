"""Going over a whole medium in the core: fills, and sweeps that write or compare them; see sweep.h."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seqstore._native._core import ffi, lib
from seqstore._native.convert import lend
from seqstore._native.crypt import system_crypto
from seqstore._native.status import status_error
from seqstore.errors import ClosedError, ConfigError, MediumError

if TYPE_CHECKING:
    from types import TracebackType

Span = tuple[int, int]
"""First block and number of blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """Blocks that are not as they should be.

    Attributes
    ----------
    first, count : int
        Blocks.
    os_error : int
        Why they could not be read or written, an errno; 0: they hold something else.
    """

    first: int
    count: int
    os_error: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one call did.

    Attributes
    ----------
    done, failed, other : int
        Blocks written or compared, blocks that could not be, and blocks that held something else.
    retries : int
        Further attempts.
    finds : tuple of Find
        All that did not go well, in the order of the medium; neighbours are joined.
    next_span, next_block : int
        Where to go on: number of the span, and blocks of it that are over.
    is_dead : bool
        Whether too much failed in a row.
    """

    done: int
    failed: int
    other: int
    retries: int
    finds: tuple[Find, ...]
    next_span: int
    next_block: int
    is_dead: bool


class Fill:
    """What lies on a medium afterwards.

    Parameters
    ----------
    pattern : bytes
        Repeated from byte 0 on; 1 to 4096 bytes. Empty: the stream of `seed`.
    seed : bytes
        Key of AES-256 in counter mode, 32 bytes.

    Raises
    ------
    ConfigError
        If the sizes are others, or a stream is asked for and there is no libcrypto.
    """

    def __init__(self, *, pattern: bytes = b"", seed: bytes = b"") -> None:
        out = ffi.new("sq_fill **")
        if pattern or not seed:
            doing = f"a pattern of {len(pattern)} bytes"
            _require(lib.sq_fill_create(pattern, len(pattern), out), doing)
            self.handle = ffi.gc(out[0], lib.sq_fill_destroy)
            return
        if len(seed) != lib.SQ_FILL_SEED_BYTES:
            raise ConfigError(f"the seed has {len(seed)} bytes; {lib.SQ_FILL_SEED_BYTES} are expected")
        crypto = system_crypto()  # lives as long as the process
        _require(lib.sq_fill_create_stream(crypto.handle, seed, out), "a random stream")
        self.handle = ffi.gc(out[0], lib.sq_fill_destroy)

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Return what should lie from a byte on; offset and length are multiples of 16."""
        data = bytearray(length)
        out = lend(data, "data", writable=True)
        _require(lib.sq_fill_bytes(self.handle, offset, length, out), "making the bytes of a fill")
        return bytes(data)


class Sweep:
    """Threads of the core that go over a medium, which is theirs meanwhile.

    Parameters
    ----------
    medium : cdata
        ``sq_medium *``.
    fill : Fill
    piece_blocks, workers : int
        Blocks that are moved at once, and by how many threads; 0: what suits the medium.
    retries : int
        Further attempts at a block that fails.
    failures_in_row : int
        Pieces that may fail one after the other before the medium is taken for dead; 0: any number.

    Raises
    ------
    MediumError
        If the medium belongs to a store, or keeps no bytes.
    """

    def __init__(
        self,
        medium: Any,
        fill: Fill,
        *,
        piece_blocks: int = 0,
        workers: int = 0,
        retries: int = 0,
        failures_in_row: int = 0,
    ) -> None:
        out = ffi.new("sq_sweep **")
        status = lib.sq_sweep_create(medium, fill.handle, piece_blocks, workers, out)
        _require(status, "going over a medium")
        self._keep = (medium, fill)  # outlive the sweep
        self._handle: Any = ffi.gc(out[0], lib.sq_sweep_destroy)
        self._retries, self._failures = retries, failures_in_row
        self._capacity = int(lib.sq_sweep_least_finds(self._handle))
        self._finds = ffi.new("struct sq_sweep_find[]", self._capacity)
        self._report = ffi.new("struct sq_sweep_report *")

    def __enter__(self) -> Sweep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the medium back. Closing again does nothing."""
        if self._handle is not None:
            ffi.release(self._handle)
            self._handle = None

    def write(self, spans: Sequence[Span]) -> Swept:
        """Overwrite spans in their order; behind a bad block the rest of its piece is left out."""
        return self._go(lib.sq_sweep_write, spans, stop_at_first=False)

    def read(self, spans: Sequence[Span], *, stop_at_first: bool) -> Swept:
        """Read spans and compare them."""
        return self._go(lib.sq_sweep_read, spans, stop_at_first=stop_at_first)

    def write_back(self, span: Span) -> Swept:
        """Overwrite one span, every block of it, from its far end."""
        options = self._options(False)
        status = lib.sq_sweep_write_back(
            self._open(), (span,), options, self._capacity, self._finds, self._report
        )
        _require(status, f"overwriting {span[1]} blocks back to {span[0]}")
        return self._swept()

    def sync(self) -> None:
        """Return when what was written is safe from a power cut.

        Raises
        ------
        MediumError
            If the medium fails.
        """
        number = ffi.new("int *")
        status = lib.sq_sweep_sync(self._open(), number)
        if status == lib.SQ_E_IO:
            raise MediumError("the sync after overwriting failed", errno=int(number[0]))
        _require(status, "a sync")

    def rewind(self) -> None:
        """Move all write pointers to the starts of their zones."""
        lib.sq_sweep_rewind(self._open())

    def _open(self) -> Any:
        if self._handle is None:
            raise ClosedError("the sweep was closed; make another")
        return self._handle

    def _options(self, stop_at_first: bool) -> Any:
        return ffi.new("struct sq_sweep_options *", (self._retries, stop_at_first, self._failures))

    def _go(self, function: Any, spans: Sequence[Span], *, stop_at_first: bool) -> Swept:
        native = ffi.new("struct sq_span[]", list(spans))
        options = self._options(stop_at_first)
        status = function(
            self._open(), native, len(spans), options, self._capacity, self._finds, self._report
        )
        _require(status, f"going over {len(spans)} spans of a medium")
        return self._swept()

    def _swept(self) -> Swept:
        report = self._report
        found = [
            Find(first=int(find.first), count=int(find.count), os_error=int(find.os_error))
            for find in self._finds[0 : report.find_count]
        ]
        return Swept(
            done=int(report.done_blocks),
            failed=int(report.failed_blocks),
            other=int(report.other_blocks),
            retries=int(report.retries),
            finds=join(found),
            next_span=int(report.next_span),
            next_block=int(report.next_block),
            is_dead=bool(report.is_dead),
        )


def join(finds: Sequence[Find]) -> tuple[Find, ...]:
    """Sort finds and join neighbours of one kind."""
    joined: list[Find] = []
    for find in sorted(finds, key=lambda find: find.first):
        last = joined[-1] if joined else None
        if last and last.first + last.count == find.first and last.os_error == find.os_error:
            joined[-1] = Find(first=last.first, count=last.count + find.count, os_error=find.os_error)
        else:
            joined.append(find)
    return tuple(joined)


def cached_bytes(descriptor: int, size: int) -> int:
    """Count the bytes of a file that the system's cache holds.

    Raises
    ------
    MediumError
        If the system does not say.
    """
    cached, number = ffi.new("uint64_t *"), ffi.new("int *")
    if lib.sq_file_cached_bytes(descriptor, size, cached, number) != lib.SQ_OK:
        raise MediumError(
            "the system does not say what its cache holds of a file", errno=int(number[0]) or errno.ENOSYS
        )
    return int(cached[0])


def _require(status: int, doing: str) -> None:
    if status == lib.SQ_E_NO_CRYPTO:
        raise ConfigError(f"{doing}: libcrypto failed, or is not there; use a technique without 'random'")
    if status:
        raise status_error(status, doing)
