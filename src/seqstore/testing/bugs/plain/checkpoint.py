"""The state as a whole on the medium, in two areas in turn, so that one is whole at any time."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from seqstore.testing.bugs.plain.record import Part

_CRC_BYTES = 4


class Checkpoint(Part):
    """Writes the state, and finds the newest that was written."""

    serial = 0

    def save(self) -> None:
        """Make the state durable: first what it points to, then itself."""
        self.sync()
        self.serial += 1
        self.store.medium.areas[self.area()] = self.encode(self.contents())

    def sync(self) -> None:
        """Make durable what the state points to."""
        self.store.medium.sync()

    def area(self) -> int:
        """Return which area is written next: the one with the older checkpoint."""
        return self.serial % 2

    def contents(self) -> dict[str, Any]:
        """Return what a checkpoint says."""
        log = self.store.log
        return {
            "serial": self.serial,
            "mount": log.mount,
            "sequence": log.sequence,
            "closed": list(log.closed),
            **self.store.state.to_json(),
        }

    def load(self) -> dict[str, Any] | None:
        """Return the newest checkpoint, or None on a new medium."""
        found = [saved for area in self.store.medium.areas if (saved := self.decode(area)) is not None]
        newest = max(found, key=lambda saved: int(saved["serial"]), default=None)
        self.serial = newest["serial"] if newest else 0
        return newest

    @staticmethod
    def encode(contents: dict[str, Any]) -> bytes:
        """Return a checkpoint as bytes, its checksum first."""
        text = json.dumps(contents).encode()
        return crc32(text).to_bytes(_CRC_BYTES, "little") + text

    @staticmethod
    def decode(area: bytes) -> dict[str, Any] | None:
        """Return what an area says, or None if it is not whole."""
        text = area[_CRC_BYTES:]
        if not text or crc32(text) != int.from_bytes(area[:_CRC_BYTES], "little"):
            return None
        contents: dict[str, Any] = json.loads(text)
        return contents
