"""A qcow2 image for each volume, used through `qemu-img` and one running `qemu-io` for each image.

A snapshot is an image that nobody writes to any more, and those made from it have it as their backing file.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

_PROMPT = b"qemu-io> "


class _Image:
    """One image, and the process that has it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = path.with_suffix(".data")
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "qcow2", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._answer()

    def write(self, offset: int, data: bytes) -> None:
        self._source.write_bytes(data)
        self.do(f"write -q -s {self._source} {offset} {len(data)}")

    def read(self, offset: int, length: int) -> bytes:
        lines = self.do(f"read -v {offset} {length}").split(b"\n")[: -(-length // 16)]
        return b"".join(bytes.fromhex(line[11:58].decode()) for line in lines)

    def do(self, command: str) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        answer = self._answer()
        if b"failed" in answer or b"rror" in answer:
            raise ValueError(f"{command}: {answer.decode()}")
        return answer

    def close(self) -> None:
        """End the process, which writes what it still holds."""
        self._process.communicate(b"quit\n")

    def _answer(self) -> bytes:
        assert self._process.stdout is not None
        answer = b""
        while not answer.endswith(_PROMPT):
            part = os.read(self._process.stdout.fileno(), 1 << 20)
            if not part:
                raise ValueError(f"qemu-io ended: {answer.decode()}")
            answer += part
        return answer.removesuffix(_PROMPT)


class Qcow2Store:
    """Images in a folder of their own."""

    block_size = 512

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        self._sizes: dict[int, int] = {}
        self._images: dict[int, _Image] = {}
        self._frozen: dict[int, Path] = {}

    def create_volume(self, tenant: str, blocks: int) -> int:  # noqa: ARG002 (an image belongs to nobody)
        return self._add(blocks, str(blocks * 512))

    def delete_volume(self, volume: int) -> None:
        image = self._images.pop(volume)
        image.close()
        image.path.unlink()

    def write(self, volume: int, lba: int, data: bytes) -> None:
        self._images[volume].write(lba * 512, data)

    def read(self, volume: int, lba: int, count: int) -> bytes:
        return self._images[volume].read(lba * 512, count * 512)

    def trim(self, volume: int, lba: int, count: int) -> None:
        self._images[volume].do(f"write -q -z -u {lba * 512} {count * 512}")

    def resize(self, volume: int, blocks: int) -> None:
        if blocks < self._sizes[volume]:
            # An image is cut at clusters, so that one that grew again would show what was written before.
            self.trim(volume, blocks, self._sizes[volume] - blocks)
        self._images[volume].do(f"truncate {blocks * 512}")
        self._sizes[volume] = blocks

    def snapshot(self, volume: int) -> int:
        image, number = self._images[volume], next(self._numbers)
        self._sizes[number] = self._sizes[volume]
        image.close()
        self._frozen[number] = image.path.rename(self._path / f"{number}.frozen")
        _create(image.path, "-b", self._frozen[number], "-F", "qcow2")
        self._images[volume] = _Image(image.path)
        return number

    def clone(self, snapshot: int, tenant: str) -> int:  # noqa: ARG002
        return self._add(self._sizes[snapshot], "-b", self._frozen[snapshot], "-F", "qcow2")

    def delete_snapshot(self, snapshot: int) -> None:
        del self._frozen[snapshot]  # the file stays: others may lie on it

    def flush(self) -> None:
        for image in self._images.values():
            image.do("flush")

    def close(self) -> None:
        for image in self._images.values():
            image.close()

    def _add(self, blocks: int, *options: str | Path) -> int:
        number = next(self._numbers)
        self._sizes[number] = blocks
        path = self._path / f"{number}.qcow2"
        _create(path, *options)
        self._images[number] = _Image(path)
        return number


def _create(path: Path, *options: str | Path) -> None:
    """Make an image: with a backing file, or with a size, which comes behind the name."""
    size, options = (options, ()) if len(options) == 1 else ((), options)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, *size], check=True)
