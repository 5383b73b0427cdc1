"""Logs that fio writes of its requests (``write_iolog``), versions 2 and 3.

References
----------
The chapter "Trace file format" of fio's manual. In version 2 time passes by ``wait`` lines alone, in
microseconds after the previous one. In version 3 each line begins with a time, which fio writes in
microseconds.
"""

from __future__ import annotations

from pathlib import Path

from seqstore.sim.operations import Kind
from seqstore.sim.traces.reader import MAX_MICROSECONDS, MalformedLineError, Row, TextReader, bounded
from seqstore.sim.traces.requests import MAX_LENGTH, MAX_OFFSET

HEADERS = {"fio version 2 iolog": 2, "fio version 3 iolog": 3}
_KINDS = {"read": Kind.READ, "write": Kind.WRITE, "trim": Kind.TRIM}
_FILE_ACTIONS = {"add", "open", "close", "unlink"}
_SYNCS = {"sync", "datasync", "sync_file_range"}
_SHAPES = {
    2: "'filename action' or 'filename action offset length'",
    3: "'timestamp filename action' or 'timestamp filename action offset length'",
}


class FioReader(TextReader):
    """Reads a log of fio. All volumes belong to tenant 1; they are the files, numbered as they appear."""

    time_unit_ns = 1000

    def __init__(self, path: Path, block_size: int) -> None:
        super().__init__(path, block_size)
        self._version = 0
        self._now = 0

    def parse(self, line: str) -> Row | None:
        """Read a line."""
        if not self._version:
            self._version = HEADERS.get(line.strip(), 0)
            if not self._version:
                raise MalformedLineError(
                    f"{' or '.join(repr(header) for header in HEADERS)} on the first line"
                )
            return None
        fields = line.split()
        if self._version == 3:
            self._now = bounded(fields[0], MAX_MICROSECONDS, "a timestamp")
            fields = fields[1:]
        if len(fields) == 2 and fields[1] in _FILE_ACTIONS:
            self.volume(fields[0])
            return None
        if len(fields) != 4:
            raise MalformedLineError(_SHAPES[self._version])
        name, action, offset, length = fields
        kind = _KINDS.get(action)
        if kind is not None:
            return (
                self._now,
                kind,
                self.volume(name),
                bounded(offset, MAX_OFFSET, "an offset"),
                bounded(length, MAX_LENGTH, "a length"),
            )
        if action == "wait" and self._version == 2:
            self._now += bounded(offset, MAX_MICROSECONDS, "microseconds to wait")
            if self._now >= MAX_MICROSECONDS:
                raise MalformedLineError(f"waits of less than {MAX_MICROSECONDS} microseconds in all")
        elif action not in _SYNCS:
            words = [*_KINDS, *sorted(_SYNCS), *(["wait"] if self._version == 2 else [])]
            raise MalformedLineError(f"an action with offset and length: {', '.join(words)}")
        return None
