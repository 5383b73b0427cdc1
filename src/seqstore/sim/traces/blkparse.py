"""Text that blkparse makes of a recording by blktrace, in its default format.

References
----------
The manual page blkparse(1): a line holds the device, CPU, sequence number, time in seconds, process, action
and kind (RWBS), and for requests ``sector + sectors [process]``; sectors have 512 bytes.
"""

from __future__ import annotations

import re
from pathlib import Path

from seqstore.sim.operations import Kind
from seqstore.sim.traces.reader import MAX_SECONDS, MalformedLineError, Row, TextReader, bounded
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET, SECTOR_BYTES
from seqstore.sim.traces.streams import Chunk

LINE = re.compile(r" *(\d+,\d+) +(\d+) +(\d+) +(\d+)\.(\d{9}) +(\d+) +([A-Za-z]{1,2}) +(\S.*)?", re.ASCII)
_REQUEST = re.compile(r"([A-Z]+) +(\d+) \+ (\d+)(?: .*)?", re.ASCII)
_OTHER = re.compile(r"[A-Z]+ +(?:\d+ +)?[\[(].*", re.ASCII)
_SUMMARY = re.compile(r"(CPU\d+|Total) \(", re.ASCII)
_INPUT_FILE = re.compile(r"Input file \S+ added")
_KINDS = {"R": Kind.READ, "W": Kind.WRITE, "D": Kind.TRIM}
# The same request is seen when it is queued, issued to the driver and completed; one of them is taken.
_ACTIONS = ("Q", "D", "C")


class BlkparseReader(TextReader):
    """Reads the text of blkparse. All volumes belong to tenant 1; they are the devices as they appear.

    A request is taken where it is queued (Q). If the beginning of the file has no such lines, it is taken
    where it is issued (D), and if there are none of these either, where it is completed (C).
    """

    time_unit_ns = 1

    def __init__(self, path: Path, block_size: int) -> None:
        super().__init__(path, block_size)
        self._action = _ACTIONS[0]
        self._ended = False

    def begin(self, chunk: Chunk) -> None:
        """Choose the action to look for."""
        found = {match[7] for match in LINE.finditer(chunk.data.decode("ascii", "replace"))}
        self._action = next((action for action in _ACTIONS if action in found), _ACTIONS[0])

    def parse(self, line: str) -> Row | None:
        """Read a line."""
        if self._ended or _SUMMARY.match(line):
            self._ended = True  # sums follow up to the end of the file
            return None
        match = LINE.fullmatch(line)
        if match is None:
            if _INPUT_FILE.fullmatch(line):
                return None
            raise MalformedLineError(
                "device, CPU, sequence, time, process, action and kind, as blkparse writes them"
            )
        device, seconds, fraction, action, rest = match[1], match[4], match[5], match[7], match[8] or ""
        if action != self._action:
            return None
        request = _REQUEST.fullmatch(rest)
        if request is None:
            if _OTHER.fullmatch(rest):
                return None  # a flush, or a command that is passed to the drive
            raise MalformedLineError("kind, sector + sectors and [process]")
        # What the request does comes first, but for an F that flushes before it.
        kind = _KINDS.get(request[1].lstrip("F")[:1])
        if kind is None:
            return None
        sector = bounded(request[2], MAX_OFFSET // SECTOR_BYTES, "a sector")
        sectors = bounded(request[3], MAX_LENGTH // SECTOR_BYTES, "sectors")
        time_ns = bounded(seconds, MAX_SECONDS, "seconds") * 10**9 + int(fraction)
        return time_ns, kind, self.volume(device), sector * SECTOR_BYTES, sectors * SECTOR_BYTES
