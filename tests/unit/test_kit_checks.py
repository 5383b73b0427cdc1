"""The checks on a small store that is right, and on others that are not."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from seqstore.testing import (
    KINDS,
    AdapterError,
    BlockStore,
    IsolationViolation,
    Report,
    check_deletion,
    check_durability,
    check_isolation,
)
from seqstore.testing.canary import parse

BLOCK = 512


class DictStore:
    """The example of the documentation."""

    block_size = BLOCK

    def __init__(self) -> None:
        self.volumes: dict[int, tuple[int, dict[int, bytes]]] = {}
        self.numbers = itertools.count(1)

    def create_volume(self, tenant: str, blocks: int) -> int:
        number = next(self.numbers)
        self.volumes[number] = blocks, {}
        return number

    def delete_volume(self, volume: int) -> None:
        del self.volumes[volume]

    def find(self, volume: int, lba: int, count: int) -> dict[int, bytes]:
        size, blocks = self.volumes[volume]
        if lba + count > size:
            raise ValueError("beyond the end")
        return blocks

    def write(self, volume: int, lba: int, data: bytes) -> None:
        count = len(data) // BLOCK
        blocks = self.find(volume, lba, count)
        blocks.update((lba + i, data[BLOCK * i : BLOCK * (i + 1)]) for i in range(count))

    def read(self, volume: int, lba: int, count: int) -> bytes:
        blocks = self.find(volume, lba, count)
        return b"".join(blocks.get(at, bytes(BLOCK)) for at in range(lba, lba + count))

    def trim(self, volume: int, lba: int, count: int) -> None:
        blocks = self.find(volume, lba, count)
        for at in range(lba, lba + count):
            blocks.pop(at, None)


def fail(factory: type[BlockStore], *, seed: int = 1) -> IsolationViolation:
    with pytest.raises(IsolationViolation) as caught:
        check_isolation(factory, seed=seed)
    return caught.value


def test_the_small_store_passes() -> None:
    report = check_isolation(DictStore, seed=1, max_examples=30)
    assert isinstance(report, Report)
    assert report.examples == 30
    assert report.steps == report.commands.total() > 30 * 30
    assert report.steps_per_second > 3000
    assert set(report.unchecked) == {"I2 durability", "I5 deletion"}
    assert "no crash()" in report.unchecked["I2 durability"]
    assert "seed=1" in str(report)
    assert "I8" in str(report)


class RaisesForUnwritten(DictStore):
    def read(self, volume: int, lba: int, count: int) -> bytes:
        blocks = self.find(volume, lba, count)
        return b"".join(blocks[at] for at in range(lba, lba + count))


def test_a_store_that_raises_for_unwritten_blocks_passes() -> None:
    check_isolation(RaisesForUnwritten, seed=2, max_examples=50)


class Refuses(DictStore):
    """Takes no more than ten blocks, and leaves a write half done that does not fit."""

    def write(self, volume: int, lba: int, data: bytes) -> None:
        for i in range(len(data) // BLOCK):
            if sum(len(blocks) for _, blocks in self.volumes.values()) >= 10:
                raise OSError("full")
            super().write(volume, lba + i, data[BLOCK * i : BLOCK * (i + 1)])


def test_refused_writes_may_be_half_done() -> None:
    report = check_isolation(Refuses, seed=3, max_examples=50)
    assert report.refused["write"] > 10


class OneNamespace(DictStore):
    """Keys blocks by lba alone."""

    def find(self, volume: int, lba: int, count: int) -> dict[int, bytes]:
        super().find(volume, lba, count)
        return self.volumes[min(self.volumes)][1]


def test_another_tenants_bytes() -> None:
    for seed in range(20):
        violation = fail(OneNamespace, seed=seed)
        if violation.kind == "foreign":
            break
    assert violation.kind == "foreign"
    assert violation.owner != violation.reader
    assert f"bytes of {violation.owner}" in str(violation)
    assert len(violation.story) <= 5
    assert violation.volume is not None
    assert violation.lba is not None
    assert f"seed={violation.seed}" in str(violation)


def test_the_code_repeats_it() -> None:
    violation = fail(OneNamespace)
    with pytest.raises(AssertionError):
        exec(violation.code, {"factory": OneNamespace})


def test_the_seed_repeats_it() -> None:
    assert fail(OneNamespace, seed=5).story == fail(OneNamespace, seed=5).story


class KeepsTrimmed(DictStore):
    def trim(self, volume: int, lba: int, count: int) -> None:
        self.find(volume, lba, count)


class LosesEveryOther(DictStore):
    def write(self, volume: int, lba: int, data: bytes) -> None:
        super().write(volume, lba, data)
        self.volumes[volume][1].pop(lba + 1, None)


class Rotates(DictStore):
    def read(self, volume: int, lba: int, count: int) -> bytes:
        data = super().read(volume, lba, count)
        return data[BLOCK:] + data[:BLOCK]


class Garbage(DictStore):
    def read(self, volume: int, lba: int, count: int) -> bytes:
        blocks = self.find(volume, lba, count)
        return b"".join(blocks.get(at, b"\xa5" * BLOCK) for at in range(lba, lba + count))


class ShortTail(DictStore):
    """The last bytes of a block are those of the version before."""

    def write(self, volume: int, lba: int, data: bytes) -> None:
        old = self.read(volume, lba, 1)
        super().write(volume, lba, data[: BLOCK - 40] + old[-40:] + data[BLOCK:])


class Raises(DictStore):
    def trim(self, volume: int, lba: int, count: int) -> None:
        raise ZeroDivisionError("trim")


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        (KeepsTrimmed, "resurrected"),
        (LosesEveryOther, "lost"),
        (Rotates, "misplaced"),
        (Garbage, "uninitialised"),
        (ShortTail, "torn"),
        (Raises, "error"),
    ],
)
def test_kinds(factory: type[BlockStore], kind: str) -> None:
    violation = fail(factory)
    assert violation.kind == kind
    assert KINDS[kind] in str(violation)
    assert len(violation.story) <= 6


def test_an_unexpected_exception_is_the_cause() -> None:
    assert isinstance(fail(Raises).__cause__, ZeroDivisionError)


class Crashes(DictStore):
    """Has nothing but what was flushed, at the crash; `forgets` makes it lose that too."""

    forgets = False

    def __init__(self) -> None:
        super().__init__()
        self.flush()

    def flush(self) -> None:
        self.safe = {number: (size, dict(blocks)) for number, (size, blocks) in self.volumes.items()}

    def crash(self) -> None:
        if self.forgets:
            self.safe = {number: (size, {}) for number, (size, _) in self.safe.items()}
        self.volumes = self.safe
        self.flush()


class Forgets(Crashes):
    forgets = True


def test_durability() -> None:
    report = check_durability(Crashes, seed=1, max_examples=40)
    assert "crashes" in report.checked["I2 durability"]
    with pytest.raises(IsolationViolation) as caught:
        check_durability(Forgets, seed=1)
    assert caught.value.kind == "rollback"
    assert len(caught.value.story) <= 5


class Media(DictStore):
    """Appends everything to a log, which a purge leaves or writes anew."""

    wipes = True

    def __init__(self) -> None:
        super().__init__()
        self.log = bytearray()

    def write(self, volume: int, lba: int, data: bytes) -> None:
        super().write(volume, lba, data)
        self.log += data

    def purge(self) -> None:
        if self.wipes:
            self.log[:] = b"".join(block for _, blocks in self.volumes.values() for block in blocks.values())

    def media(self) -> list[memoryview]:
        return [memoryview(self.log)]


class Keeps(Media):
    wipes = False


def test_deletion() -> None:
    report = check_deletion(Media, seed=1, max_examples=40)
    assert "purges" in report.checked["I5 deletion"]
    with pytest.raises(IsolationViolation) as caught:
        check_deletion(Keeps, seed=1)
    violation = caught.value
    assert violation.kind == "remanence"
    assert violation.media_offset is not None
    assert violation.owner is not None
    assert len(violation.story) <= 5


class Encrypted(Media):
    def media(self) -> list[memoryview]:
        return [memoryview(bytes(byte ^ 0x5A for byte in self.log))]


def test_media_that_show_nothing_are_not_called_checked() -> None:
    report = check_deletion(Encrypted, seed=1, max_examples=10)
    assert "encrypted" in report.unchecked["I5 deletion"]


def test_checks_refuse_stores_that_cannot() -> None:
    with pytest.raises(AdapterError, match="crash"):
        check_durability(DictStore)
    with pytest.raises(AdapterError, match="purge and media"):
        check_deletion(DictStore)


class Leaky(DictStore):
    """Gives buffers of another store of the same process."""

    shared: dict[int, bytes] = {}  # noqa: RUF012

    def read(self, volume: int, lba: int, count: int) -> bytes:
        data = super().read(volume, lba, count)
        if not any(data) and lba in self.shared:
            return (self.shared[lba] + data)[: len(data)]
        if parse(data):
            self.shared.setdefault(lba, data[:BLOCK])
        return data


def test_bytes_of_another_store_are_foreign() -> None:
    assert fail(Leaky).kind in {"foreign", "resurrected", "other_volume"}


def test_the_kit_needs_neither_hypothesis_nor_pytest() -> None:
    code = (
        "import sys, seqstore.testing; "
        "assert not {'hypothesis', 'pytest'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class CannotClose(DictStore):
    def close(self) -> None:
        raise OSError("not written")


def test_closing_that_fails_is_found() -> None:
    violation = fail(CannotClose)
    assert violation.kind == "error"
    assert "close() raised OSError: not written" in str(violation)
