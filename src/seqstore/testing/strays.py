"""Requests that nobody should make: past the end of a volume, and to what was deleted.

The store may answer as it likes, as long as no byte that is not due is shown, and none changes.
"""

from __future__ import annotations

from seqstore.testing.judge import Finding
from seqstore.testing.model import Volume
from seqstore.testing.session import Session
from seqstore.testing.steps import Step

# Lbas, and offsets in bytes, that numbers of 16, 32 or 64 bits cut to small ones.
_FAR_BLOCKS = (1 << 32, 1 << 16, 1 << 31)
_FAR_BYTES = (1 << 32, 1 << 64)


class Strays(Session):
    """The commands of this kind."""

    def _volume(self, step: Step) -> Volume | None:
        volumes = self.model.volumes
        return volumes[step.which % len(volumes)] if volumes else None

    def _beyond(self, step: Step, size: int) -> tuple[int, int]:
        """Return a range that begins or ends past the end of a volume of `size` blocks."""
        reach = 1 + step.count % 8
        if step.start >= 0:
            inside = min(step.start, size)
            return size - inside, inside + reach
        far = (*_FAR_BLOCKS, *(bound // self.block_size for bound in _FAR_BYTES))
        bases = [base for base in far if base >= size]
        return bases[-step.start % len(bases)] + step.count % size, 1

    def _read_beyond(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = self._beyond(step, len(volume.blocks))
        self._say(_past_the_end(volume, "reads", lba, count))
        data = self._calls.read_anything(volume.handle, lba, count)
        if not data:
            return True
        due = volume.blocks[lba:]
        due += [self.model.zero] * (count - len(due))
        joined = b"".join(due)
        if data != joined[: len(data)]:
            raise self.judge.wrong_bytes(volume, lba, due, data + joined[len(data) :])
        return True

    def _write_beyond(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = self._beyond(step, len(volume.blocks))
        blocks = self._stamp(volume, lba & 0xFFFFFFFF, count)
        data = b"".join(blocks)
        self._know(data)
        self._say(_past_the_end(volume, "writes", lba, count))
        self._calls.attempt("write", volume.handle, lba, data)
        self._adopt(volume, lba, blocks[: max(0, len(volume.blocks) - lba)])
        self._check_everything()
        return True

    def _trim_beyond(self, step: Step) -> bool:
        volume = self._volume(step)
        if volume is None:
            return False
        lba, count = self._beyond(step, len(volume.blocks))
        self._say(_past_the_end(volume, "trims", lba, count))
        self._calls.attempt("trim", volume.handle, lba, count)
        self._adopt(volume, lba, [self.model.zero] * max(0, len(volume.blocks) - lba))
        self._check_everything()
        return True

    def _deleted(self, step: Step) -> Volume | None:
        living = {volume.handle for volume in self.model.volumes}
        deleted = [volume for volume in self.model.deleted if volume.handle not in living]
        return deleted[step.which % len(deleted)] if deleted else None

    def _read_deleted(self, step: Step) -> bool:
        volume = self._deleted(step)
        if volume is None:
            return False
        lba = step.start % len(volume.blocks)
        self._say(f"block {lba} of volume {volume.number} is read, which was deleted")
        data = self._calls.read_anything(volume.handle, lba, 1)
        if data and any(data):
            due = [self.model.zero]
            raise self.judge.wrong_bytes(volume, lba, due, data + due[0][len(data) :])
        return True

    def _write_deleted(self, step: Step) -> bool:
        volume = self._deleted(step)
        if volume is None:
            return False
        lba = step.start % len(volume.blocks)
        data = b"".join(self._stamp(volume, lba, 1))
        self._know(data)
        self._say(f"block {lba} of volume {volume.number} is written, which was deleted")
        if self._calls.attempt("write", volume.handle, lba, data):
            raise Finding(
                "resurrected",
                f"volume {volume.number} ({volume.tenant.name}) was deleted, and takes a write",
                owner=volume.tenant.name,
                reader=volume.tenant.name,
                volume=volume.number,
                lba=lba,
            )
        self._check_everything()
        return True


def _past_the_end(volume: Volume, verb: str, lba: int, count: int) -> str:
    name, number = volume.tenant.name, volume.number
    return f"{name} {verb} {count} blocks from block {lba} on, past the end of volume {number}"
