"""The key area under power cuts, failing drives and damage: the dead stay dead, the living are not lost."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from seqstore import AccessError, FormatError, MediumError, VersionError
from seqstore.keys import FileKey, Keychain, KeyKind, KeyProvider, NewKey, PassphraseKey
from seqstore.keys.area import KeyArea
from seqstore.keys.root import new_table
from seqstore.keys.table import Table, copy_bytes

SECTOR = 512
SLOTS = 24
COPY = copy_bytes(SLOTS)


def entropy_of(seed: int) -> Callable[[bytearray], None]:
    generator = Random(seed)

    def fill(buffer: bytearray) -> None:
        buffer[:] = generator.randbytes(len(buffer))

    return fill


@dataclass
class Sheet:
    """Bytes in a row on a drive with a cache, which keeps for each moment what a power cut could leave.

    A moment is what the last sync covers, and what is there now; each sector in which they differ is kept or
    lost by itself.
    """

    content: bytearray
    fail_at: int = -1  # the call that raises, counted from 0
    lose_at: int = -1  # the write that changes nothing and says that it did
    safe: bytes = b""  # what the last sync covers; by default all of it
    calls: int = 0
    moments: list[tuple[bytes, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.safe = self.safe or bytes(self.content)

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, length: int) -> bytearray:
        self._count()
        return self.content[offset : offset + length]

    def write(self, offset: int, data: bytes | bytearray) -> None:
        self._count()
        if self.calls - 1 != self.lose_at:
            self.content[offset : offset + len(data)] = data
        assert len(self.content) == len(self.safe)
        self.moments.append((self.safe, bytes(self.content)))

    def sync(self) -> None:
        self._count()
        self.safe = bytes(self.content)
        self.moments.append((self.safe, self.safe))

    def _count(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.fail_at:
            raise OSError(errno.EIO, "Input/output error")


def cuts(moment: tuple[bytes, bytes], most: int, generator: Random) -> Iterator[bytes]:
    """Yield what may lie on the drive after a power cut at a moment: all of it, or so many by chance."""
    safe, now = moment
    differing = [at for at in range(0, len(safe), SECTOR) if safe[at : at + SECTOR] != now[at : at + SECTOR]]
    choices = [*itertools.product((False, True), repeat=len(differing))]
    for kept in choices if len(choices) <= most else generator.sample(choices, most):
        image = bytearray(safe)
        for at in itertools.compress(differing, kept):
            image[at : at + SECTOR] = now[at : at + SECTOR]
        yield bytes(image)


@dataclass(frozen=True)
class World:
    """What the area shows: each living key's secret, the dead, and under which root key they are."""

    secrets: dict[int, bytes]
    dead: frozenset[int]
    provider: KeyProvider
    wrapped: dict[int, bytes]


def look(keychain: Keychain, provider: KeyProvider) -> World:
    secrets = {}
    for entry in keychain.keys:
        with keychain.secret(entry.number) as secret:
            secrets[entry.number] = bytes(secret.buffer)
    wrapped = {number: keychain._area.table.wrapped(number)[1] for number in secrets}
    return World(secrets, frozenset(key.number for key in keychain.tombstones), provider, wrapped)


def open_sheet(content: bytes, providers: list[KeyProvider]) -> tuple[World, Sheet]:
    """Open an area, under whichever of the two root keys it is."""
    sheet = Sheet(bytearray(content))
    area = KeyArea(sheet)
    provider = provider_of(area, providers)
    return look(Keychain(area, provider, entropy=entropy_of(3)), provider), sheet


def provider_of(area: KeyArea, providers: list[KeyProvider]) -> KeyProvider:
    return providers[area.table.recipe.kind == "passphrase"]


@pytest.fixture
def providers(tmp_path: Path) -> list[KeyProvider]:
    path = tmp_path / "root.key"
    path.touch(0o600)
    path.write_bytes(bytes(range(32)))
    return [FileKey(path), PassphraseKey("open sesame", cost_log2=1, block=1)]


def new_sheet(provider: KeyProvider) -> Sheet:
    sheet = Sheet(bytearray(2 * COPY))
    KeyArea.create(sheet, new_table(provider, entropy_of(1), SLOTS))
    return sheet


def make(kind: KeyKind, scopes: range, parent: int = 0) -> Callable[[Keychain], object]:
    wanted = [NewKey(kind=kind, scope=scope, parent=parent) for scope in scopes]
    return lambda keychain: keychain.make(wanted, at_ns=5)


def kill(*numbers: int) -> Callable[[Keychain], object]:
    return lambda keychain: keychain.kill(numbers, at_ns=9)


def script(providers: list[KeyProvider]) -> list[Callable[[Keychain], object]]:
    return [
        make(KeyKind.TENANT, range(1, 3)),  # keys 1, 2
        make(KeyKind.VOLUME, range(4), 1),  # 3 to 6
        make(KeyKind.VOLUME, range(1), 2),  # 7
        make(KeyKind.EPOCH, range(6), 3),  # 8 to 13
        kill(9),
        kill(3),  # and 8, 10 to 13
        lambda keychain: keychain.rekey(providers[1]),
        make(KeyKind.EPOCH, range(14), 7),  # 14 to 27, in slots of the dead
        kill(4, 14, 20),
        kill(2),
        kill(1),
    ]


@pytest.mark.invariant("I3")
def test_power_cuts_at_every_write_and_sync(providers: list[KeyProvider]) -> None:
    """And in the repair that follows, at every write and sync of it, too."""
    generator = Random(1)
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    before = look(keychain, providers[0])
    wrapped: dict[int, bytes] = {}
    count = 0
    for step in script(providers):
        sheet.moments.clear()
        step(keychain)
        after = look(keychain, provider_of(keychain._area, providers))
        wrapped |= before.wrapped | after.wrapped
        assert_gone(sheet.safe, after, wrapped)
        assert len(sheet.moments) == 4
        for number, moment in enumerate(sheet.moments):
            for image in cuts(moment, 64, generator):
                world, opened = open_sheet(image, providers)
                assert world in (before, after)
                # From the first sync on it has happened; before the first write is whole, it has not.
                assert world == after or number == 0
                assert_gone(opened.safe, world, wrapped)
                count += 1
                for again in opened.moments:
                    for second in cuts(again, 4, generator):
                        shown, repaired = open_sheet(second, providers)
                        assert shown == world
                        assert_gone(repaired.safe, world, wrapped)
                        count += 1
        before = after
    assert before.secrets == {}
    assert count > 500


def test_a_killed_process_and_then_a_power_cut(providers: list[KeyProvider]) -> None:
    """What the process had written is in the system's cache; the repair may not rely on it."""
    generator = Random(2)
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    for step in script(providers)[:5]:
        step(keychain)
    before = look(keychain, providers[0])
    sheet.moments.clear()
    kill(3)(keychain)
    after = look(keychain, providers[0])
    for safe, now in sheet.moments:
        left = Sheet(bytearray(now), safe=safe)
        KeyArea(left)
        for moment in left.moments:
            for image in cuts(moment, 64, generator):
                world, _ = open_sheet(image, providers)
                assert world in (before, after)


def assert_gone(image: bytes, world: World, wrapped: dict[int, bytes]) -> None:
    """Of keys that are dead, or not there any more, nothing is in either copy, not even wrapped."""
    for number, text in wrapped.items():
        if number not in world.secrets:
            assert text not in image
            assert text[:16] not in image
    for text in world.wrapped.values():
        assert image.count(text) == 2


def test_every_call_that_fails(providers: list[KeyProvider]) -> None:
    """The area takes no more changes; opened again it is what it was before the one that failed, or after."""
    steps = script(providers)
    outcomes = set()
    for at in range(6):
        sheet = new_sheet(providers[0])
        keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
        for step in steps[:5]:
            step(keychain)
        before = look(keychain, providers[0])
        sheet.fail_at = sheet.calls + at
        with pytest.raises(MediumError, match="Input/output error"):
            steps[5](keychain)
        now = look(keychain, providers[0])
        for change in (steps[5], make(KeyKind.TENANT, range(1))):
            with pytest.raises(MediumError, match="failed before"):
                change(keychain)
        after, _ = open_sheet(bytes(sheet.content), providers)
        killed = {3, 8, 10, 11, 12, 13}
        assert after.dead - before.dead in (set(), killed)
        # What is dead here is dead for ever; copy one was read back before copy two was touched.
        assert now.dead == before.dead | (killed if at >= 3 else set())
        assert after.dead >= now.dead
        outcomes.add(after == before)
    assert outcomes == {True, False}


def test_every_call_that_fails_in_a_rekeying(providers: list[KeyProvider]) -> None:
    """Keys can be used on, and are under one of the two root keys."""
    for at in range(6):
        sheet = new_sheet(providers[0])
        keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
        make(KeyKind.TENANT, range(2))(keychain)
        before = look(keychain, providers[0])
        sheet.fail_at = sheet.calls + at
        with pytest.raises(MediumError):
            keychain.rekey(providers[1])
        assert look(keychain, providers[0]).secrets == before.secrets
        after, _ = open_sheet(bytes(sheet.content), providers)
        assert after.secrets == before.secrets
        assert at < 3 or after.provider == providers[1]


@pytest.mark.parametrize("copy", [0, 1])
def test_a_write_that_the_drive_loses_is_noticed(providers: list[KeyProvider], copy: int) -> None:
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    make(KeyKind.TENANT, range(2))(keychain)
    sheet.lose_at = sheet.calls + 3 * copy
    with pytest.raises(MediumError, match=f"copy {copy + 1} of the key area does not hold what was written"):
        kill(1)(keychain)
    after, _ = open_sheet(bytes(sheet.content), providers)
    assert after.dead == ({1} if copy else set())


@pytest.mark.parametrize("copy", [0, 1])
def test_a_damaged_copy_is_made_anew_from_the_other(providers: list[KeyProvider], copy: int) -> None:
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    for step in script(providers)[:5]:
        step(keychain)
    world, whole = look(keychain, providers[0]), bytes(sheet.content)
    for at in [*range(0, 112, 7), 480, 511, *range(512, COPY, 211)]:
        damaged = bytearray(whole)
        damaged[copy * COPY + at] ^= 0x01
        shown, opened = open_sheet(bytes(damaged), providers)
        assert shown == world
        assert opened.safe == whole


def test_two_damaged_copies_are_refused(providers: list[KeyProvider]) -> None:
    sheet = new_sheet(providers[0])
    for at in (100, COPY + 600):
        sheet.content[at] ^= 1
    with pytest.raises(FormatError, match="neither copy of the key area is whole"):
        KeyArea(Sheet(sheet.content))


@pytest.mark.parametrize("content", [b"", bytes(8192), b"SEQSKEYS" * 1024, bytes(5000)])
def test_what_is_no_key_area(content: bytes) -> None:
    sheet = Sheet(bytearray(content))
    with pytest.raises(FormatError, match="key area"):
        KeyArea(sheet)
    assert sheet.moments == []


def test_copies_that_contradict_each_other(providers: list[KeyProvider]) -> None:
    """Two areas went their own ways from one; a file was put together of both."""
    one = new_sheet(providers[0])
    two = Sheet(bytearray(one.content))
    for seed, sheet in enumerate((one, two)):
        make(KeyKind.TENANT, range(1))(Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(seed)))
    with pytest.raises(FormatError, match="contradict each other"):
        KeyArea(Sheet(one.content[:COPY] + two.content[COPY:]))


def test_a_newer_format_is_left_alone(providers: list[KeyProvider]) -> None:
    """Also where the other copy is of this one's."""
    sheet = new_sheet(providers[0])
    table = Table(sheet.content[:COPY])
    table.image[8] = 2
    table.finish()
    mixed = Sheet(sheet.content[:COPY] + table.image)
    with pytest.raises(VersionError, match=r"of format 2.*up to 1") as caught:
        KeyArea(mixed)
    assert (caught.value.found, caught.value.expected) == (2, 1)
    assert mixed.moments == []


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (48, 3),  # a root key from nowhere
        (50, 1),  # reserved, in the head
        (300, 1),
        (512, 3),  # a slot that neither lives nor is dead
        (512, 0),  # a free one with something in it
        (512, 2),  # a tombstone with a wrapped key
        (513, 5),  # of no kind
        (515, 1),  # reserved, in a slot
        (512 + 40, 1),  # a living key that died
        (512 + 8, 9),  # a number that was not given yet
        (512 + 8, 2),  # one that was given twice
        (512 + 120, 1),
        (COPY - 1, 1),  # behind the last slot
    ],
)
def test_what_cannot_be_is_refused(providers: list[KeyProvider], at: int, value: int) -> None:
    """Though the checksum is right."""
    sheet = new_sheet(providers[0])
    make(KeyKind.TENANT, range(2))(Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2)))
    table = Table(sheet.content[:COPY])
    table.image[at] = value
    table.finish()
    with pytest.raises(FormatError):
        Table(table.image)


def test_reading_alone_changes_nothing(providers: list[KeyProvider]) -> None:
    """Though copy two lags behind."""
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    make(KeyKind.TENANT, range(2))(keychain)
    old = sheet.content[COPY:]
    kill(1)(keychain)
    lagging = Sheet(sheet.content[:COPY] + old)
    reader = Keychain(KeyArea(lagging, read_only=True), providers[0], entropy=entropy_of(2))
    assert [entry.number for entry in reader.tombstones] == [1]
    assert lagging.moments == []
    with pytest.raises(AccessError, match="reading alone"):
        kill(2)(reader)


def test_the_layout_of_the_documents(providers: list[KeyProvider]) -> None:
    sheet = new_sheet(providers[0])
    keychain = Keychain(KeyArea(sheet), providers[0], entropy=entropy_of(2))
    make(KeyKind.TENANT, range(7, 9))(keychain)
    kill(1)(keychain)
    head, first, second = (bytes(sheet.content[at : at + 128]) for at in (0, 512, 640))
    assert head[:16] == b"SEQSKEYS" + (1).to_bytes(4, "little") + SLOTS.to_bytes(4, "little")
    assert head[16:32] == keychain.identity
    generation, following = (int.from_bytes(head[at : at + 8], "little") for at in (32, 40))
    assert (generation, following) == (3, 3)
    assert first == bytes([2, 1]) + bytes(6) + b"".join(
        n.to_bytes(8, "little") for n in (1, 0, 7, 5, 9)
    ) + bytes(80)
    assert second[:48] == bytes([1, 1]) + bytes(6) + b"".join(
        n.to_bytes(8, "little") for n in (2, 0, 8, 5, 0)
    )
    assert any(second[48:108])
    assert not any(second[108:])
