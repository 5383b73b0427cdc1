"""Root keys from their providers, and the keys below them: who opens what, and what is gone."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from seqstore import AccessError, ClosedError, ConfigError, MediumError, NotFoundError, OutOfSpaceError
from seqstore._native.crypt import system_crypto
from seqstore.keys import (
    ROOT,
    EnvironmentKey,
    FileKey,
    Keychain,
    KeyEntry,
    KeyKind,
    KeyProvider,
    NewKey,
    PassphraseKey,
    Recipe,
    Secret,
)

SALT = bytes(range(16))
DIGITS = bytes(range(32)).hex()
CHEAP = {"cost_log2": 4, "block": 1}


def entropy_of(seed: int) -> Callable[[bytearray], None]:
    generator = Random(seed)

    def fill(buffer: bytearray) -> None:
        buffer[:] = generator.randbytes(len(buffer))

    return fill


def key_file(path: Path, content: bytes = bytes(range(32)), mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def expected_root(key: bytes, salt: bytes = SALT) -> bytes:
    out = bytearray(32)
    system_crypto().derive(key, out, salt=salt, info=b"seqstore root 1")
    return bytes(out)


def root_of(provider: KeyProvider, salt: bytes = SALT) -> bytes:
    with provider.root_key(provider.prepare(salt)) as root:
        return bytes(root.buffer)


class TestProviders:
    @pytest.mark.parametrize(
        "content",
        [
            bytes(range(32)),
            bytes(range(32)).hex().encode(),
            bytes(range(32)).hex().upper().encode() + b"\r\n",
        ],
        ids=["bytes", "digits", "a line"],
    )
    def test_a_file(self, tmp_path: Path, content: bytes) -> None:
        provider = FileKey(key_file(tmp_path / "root.key", content))
        assert root_of(provider) == expected_root(bytes(range(32)))
        assert root_of(provider, bytes(16)) != root_of(provider)

    @pytest.mark.parametrize(
        "content", [b"", bytes(31), bytes(33), b"0" * 63, b"0" * 63 + b"g", b"0" * 63 + b"/", bytes(1000)]
    )
    def test_a_file_with_something_else(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(ConfigError, match="hexadecimal"):
            root_of(FileKey(key_file(tmp_path / "root.key", content)))

    def test_a_file_that_others_can_reach(self, tmp_path: Path) -> None:
        path = key_file(tmp_path / "root.key", mode=0o640)
        with pytest.raises(AccessError, match=r"mode 0640.*chmod 600"):
            root_of(FileKey(path))
        assert root_of(FileKey(path, shared=True)) == expected_root(bytes(range(32)))

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(AccessError, match="No such file"):
            root_of(FileKey(tmp_path / "none"))

    def test_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SEQSTORE_TEST_KEY", bytes(range(32)).hex())
        assert root_of(EnvironmentKey("SEQSTORE_TEST_KEY")) == expected_root(bytes(range(32)))
        monkeypatch.setenv("SEQSTORE_TEST_KEY", "x" * 32)
        with pytest.raises(ConfigError, match="64 hex digits"):
            root_of(EnvironmentKey("SEQSTORE_TEST_KEY"))
        monkeypatch.delenv("SEQSTORE_TEST_KEY")
        with pytest.raises(AccessError, match="no variable 'SEQSTORE_TEST_KEY'"):
            root_of(EnvironmentKey("SEQSTORE_TEST_KEY"))

    def test_a_passphrase(self) -> None:
        root = root_of(PassphraseKey("gr\u00fc\u00df Gott", **CHEAP))
        assert root == root_of(PassphraseKey("gru\u0308\u00df Gott", **CHEAP))
        assert root == root_of(PassphraseKey("gr\u00fc\u00df Gott".encode, **CHEAP))
        assert root != root_of(PassphraseKey("gr\u00fcss Gott", **CHEAP))
        assert root != root_of(PassphraseKey("gr\u00fc\u00df Gott", cost_log2=5, block=1))

    def test_a_passphrase_that_is_handed_over_is_wiped(self) -> None:
        given = bytearray(b"open sesame")
        kept = bytearray(given)
        assert root_of(PassphraseKey(lambda: given, **CHEAP)) == root_of(PassphraseKey(kept, **CHEAP))
        assert not any(given)
        assert kept == b"open sesame"

    @pytest.mark.parametrize(("passphrase", "what"), [("", "empty"), (7, "of type int")])
    def test_what_is_no_passphrase(self, passphrase: str, what: str) -> None:
        with pytest.raises(ConfigError, match=what):
            root_of(PassphraseKey(passphrase, **CHEAP))

    @pytest.mark.parametrize("costs", [{"cost_log2": 25}, {"lanes": 65}, {"block": -1}, {"cost_log2": 0}])
    def test_costs_that_cannot_be(self, costs: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match="cost_log2="):
            root_of(PassphraseKey("open sesame", **{**CHEAP, **costs}))

    def test_a_provider_of_the_other_kind(self, tmp_path: Path) -> None:
        file, passphrase = FileKey(key_file(tmp_path / "root.key")), PassphraseKey("open sesame", **CHEAP)
        with pytest.raises(AccessError, match="under a passphrase"):
            file.root_key(passphrase.prepare(SALT))
        with pytest.raises(AccessError, match="under a key"):
            passphrase.root_key(file.prepare(SALT))

    def test_none_shows_what_it_knows(self, tmp_path: Path) -> None:
        path = key_file(tmp_path / "root.key", b"4" * 64)
        shown = [repr(FileKey(path)), repr(EnvironmentKey("NAME")), repr(PassphraseKey("open sesame"))]
        assert shown == [f"FileKey({str(path)!r})", "EnvironmentKey('NAME')", "PassphraseKey(...)"]

    def test_a_recipe_is_checked(self) -> None:
        recipe = Recipe(kind="passphrase", salt=SALT, cost_log2=17, block=8, lanes=1)
        assert Recipe.unpacked(recipe.packed()) == recipe
        for packed in (b"\0" + recipe.packed()[1:], b"\3" + recipe.packed()[1:]):
            with pytest.raises(ConfigError):
                Recipe.unpacked(packed)
        with pytest.raises(ConfigError, match="15 bytes of salt"):
            Recipe(kind="key", salt=bytes(15))


class TestSecret:
    def test_it_is_wiped_and_never_shown(self) -> None:
        with Secret.draw(entropy_of(1)) as secret:
            buffer = secret.buffer
            assert any(buffer)
            assert repr(secret) == "<Secret>"
            for leak in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="one place in memory"):
                    leak(secret)
        assert buffer == bytes(32)

    def test_it_is_wiped_when_it_is_forgotten(self) -> None:
        secret = Secret.draw(entropy_of(1))
        buffer = secret.buffer
        del secret
        assert buffer == bytes(32)

    def test_equality(self) -> None:
        one, same, other = (Secret.draw(entropy_of(seed)) for seed in (1, 1, 2))
        assert one == same
        assert one != other


@pytest.fixture
def provider(tmp_path: Path) -> FileKey:
    return FileKey(key_file(tmp_path / "root.key"))


@pytest.fixture
def keychain(tmp_path: Path, provider: FileKey) -> Iterator[Keychain]:
    with Keychain.create(tmp_path / "keys", provider, entropy=entropy_of(7), slots=12) as keychain:
        yield keychain


def make(keychain: Keychain, kind: KeyKind, scope: int, parent: int = ROOT) -> KeyEntry:
    (made,) = keychain.make([NewKey(kind=kind, scope=scope, parent=parent)], at_ns=scope)
    return made


def make_family(keychain: Keychain) -> tuple[int, int, int]:
    """Make a tenant's key, one of a volume of the tenant's, and one of an epoch."""
    tenant = make(keychain, KeyKind.TENANT, 1).number
    volume = make(keychain, KeyKind.VOLUME, 2, tenant).number
    return tenant, volume, make(keychain, KeyKind.EPOCH, 3, volume).number


def bytes_of(keychain: Keychain, number: int) -> bytes:
    with keychain.secret(number) as secret:
        return bytes(secret.buffer)


def reopen(keychain: Keychain, tmp_path: Path, provider: KeyProvider | None) -> Keychain:
    keychain.close()
    return Keychain.open(tmp_path / "keys", provider, entropy=entropy_of(8))


class TestKeychain:
    def test_keys_outlive_it(self, keychain: Keychain, tmp_path: Path, provider: FileKey) -> None:
        numbers = make_family(keychain)
        secrets = [bytes_of(keychain, number) for number in numbers]
        assert len({*secrets, bytes(32)}) == 4
        entries, identity = keychain.keys, keychain.identity
        with reopen(keychain, tmp_path, provider) as again:
            assert [bytes_of(again, number) for number in numbers] == secrets
            assert again.keys == entries
            assert again.identity == identity
            assert [(key.kind, key.scope, key.parent, key.made_ns) for key in again.keys] == [
                (KeyKind.TENANT, 1, ROOT, 1),
                (KeyKind.VOLUME, 2, numbers[0], 2),
                (KeyKind.EPOCH, 3, numbers[1], 3),
            ]
            assert again.find(KeyKind.EPOCH, 3, numbers[1]) == entries[2]
            with pytest.raises(NotFoundError, match="no living key of volume 9"):
                again.find(KeyKind.VOLUME, 9)

    def test_no_secret_is_in_the_file(self, keychain: Keychain, tmp_path: Path, provider: FileKey) -> None:
        secrets = [bytes_of(keychain, number) for number in make_family(keychain)]
        content = (tmp_path / "keys").read_bytes()
        roots = [bytes(range(32)), expected_root(bytes(range(32)), content[60:76])]
        with reopen(keychain, tmp_path, provider):
            assert all(secret not in content for secret in secrets + roots)

    @pytest.mark.invariant("I3")
    def test_a_dead_key_leaves_a_tombstone_and_nothing_else(self, keychain: Keychain, tmp_path: Path) -> None:
        tenant, volume, epoch = make_family(keychain)
        other = make(keychain, KeyKind.EPOCH, 4, volume).number
        wrapped = {
            number: b"".join(keychain._area.table.wrapped(number)) for number in (tenant, epoch, other)
        }
        path = tmp_path / "keys"
        assert all(path.read_bytes().count(whole) == 2 for whole in wrapped.values())
        (dead,) = keychain.kill([epoch], at_ns=99)
        assert (dead.number, dead.died_ns, dead.is_dead) == (epoch, 99, True)
        assert wrapped[epoch][12:] not in path.read_bytes()
        assert path.read_bytes().count(wrapped[other]) == 2
        assert keychain.tombstones == (dead,)
        for call in (lambda: keychain.secret(epoch), lambda: keychain.kill([epoch], at_ns=100)):
            with pytest.raises(NotFoundError, match=f"key {epoch} died at 99 ns"):
                call()

    def test_children_die_with_their_parents(self, keychain: Keychain, tmp_path: Path) -> None:
        tenant, volume, epoch = make_family(keychain)
        survivor = make(keychain, KeyKind.TENANT, 5)
        dead = keychain.kill([tenant], at_ns=0)
        assert [(entry.number, entry.died_ns) for entry in dead] == [(tenant, 0), (volume, 0), (epoch, 0)]
        assert keychain.keys == (survivor,)
        with reopen(keychain, tmp_path, None) as again:
            assert (again.keys, again.tombstones) == ((survivor,), dead)

    def test_a_locked_keychain_lists_and_kills(self, keychain: Keychain, tmp_path: Path) -> None:
        tenant, *_ = make_family(keychain)
        with reopen(keychain, tmp_path, None) as locked:
            assert repr(locked) == "<Keychain, locked>"
            with pytest.raises(AccessError, match="locked"):
                locked.secret(tenant)
            with pytest.raises(AccessError, match="locked"):
                make(locked, KeyKind.TENANT, 9)
            assert len(locked.keys) == 3
            assert len(locked.kill([tenant], at_ns=1)) == 3

    def test_another_root_key_is_refused(self, keychain: Keychain, tmp_path: Path) -> None:
        other = FileKey(key_file(tmp_path / "other.key", b"\1" * 32))
        with pytest.raises(AccessError, match="not the one of this key area"):
            reopen(keychain, tmp_path, other)
        with pytest.raises(AccessError, match="under a key"):
            reopen(keychain, tmp_path, PassphraseKey("open sesame", **CHEAP))

    def test_rekeying(self, keychain: Keychain, tmp_path: Path, provider: FileKey) -> None:
        numbers = make_family(keychain)
        secrets = [bytes_of(keychain, number) for number in numbers]
        before = (tmp_path / "keys").read_bytes()
        passphrase = PassphraseKey("open sesame", **CHEAP)
        keychain.rekey(passphrase)
        assert [bytes_of(keychain, number) for number in numbers] == secrets
        after = (tmp_path / "keys").read_bytes()
        assert len(after) == len(before)
        assert before[512 + 48 : 512 + 108] not in after  # the tenant's key, wrapped with the old root
        with pytest.raises(AccessError):
            reopen(keychain, tmp_path, provider)
        with reopen(keychain, tmp_path, passphrase) as again:
            assert [bytes_of(again, number) for number in numbers] == secrets

    def test_a_wrapped_key_in_the_place_of_another_does_not_open(self, keychain: Keychain) -> None:
        """Though it was wrapped with the same key, and the checksum of the table is right."""
        _, volume, first = make_family(keychain)
        second = make(keychain, KeyKind.EPOCH, 4, volume).number
        table = keychain._area.table.copy()
        for number, other in ((first, second), (second, first)):
            table.put(table.entries[number], b"".join(keychain._area.table.wrapped(other)))
        keychain._area.commit(table)
        for number in (first, second):
            with pytest.raises(AccessError, match=f"key {number} does not open"):
                keychain.secret(number)

    def test_the_same_key_is_never_wrapped_the_same_way(self, tmp_path: Path, keychain: Keychain) -> None:
        make_family(keychain)
        before = keychain._area.table.wrapped(1)
        keychain.rekey(FileKey(tmp_path / "root.key"))
        after = keychain._area.table.wrapped(1)
        assert all(old != new for old, new in zip(before, after, strict=True))

    @pytest.mark.parametrize(
        ("kind", "parent", "expected"),
        [
            (KeyKind.TENANT, 1, "the root"),
            (KeyKind.VOLUME, ROOT, "the key of a tenant"),
            (KeyKind.VOLUME, 2, "the key of a tenant"),
            (KeyKind.EPOCH, 1, "the key of a volume"),
            (KeyKind.EPOCH, 3, "the key of a volume"),
        ],
    )
    def test_parents_are_of_the_right_kind(
        self, keychain: Keychain, kind: KeyKind, parent: int, expected: str
    ) -> None:
        make_family(keychain)
        with pytest.raises(ConfigError, match=f"parent of .* must be {expected}"):
            make(keychain, kind, 1, parent)

    def test_parents_are_alive(self, keychain: Keychain) -> None:
        tenant, volume, _ = make_family(keychain)
        keychain.kill([volume], at_ns=5)
        with pytest.raises(NotFoundError, match="died at 5"):
            make(keychain, KeyKind.EPOCH, 9, volume)
        with pytest.raises(NotFoundError, match="no key 77"):
            make(keychain, KeyKind.VOLUME, 9, 77)
        assert make(keychain, KeyKind.VOLUME, 9, tenant).number == 4

    def test_a_change_that_cannot_be_whole_is_not_made(self, keychain: Keychain) -> None:
        wanted = [NewKey(kind=KeyKind.TENANT, scope=scope) for scope in range(13)]
        with pytest.raises(OutOfSpaceError, match="12 slots"):
            keychain.make(wanted, at_ns=1)
        assert keychain.keys == ()
        made = keychain.make(wanted[:12], at_ns=1)
        with pytest.raises(NotFoundError):
            keychain.kill([made[0].number, 99], at_ns=2)
        assert keychain.keys == made

    def test_slots_of_the_oldest_tombstones_are_used_again(self, keychain: Keychain) -> None:
        made = keychain.make([NewKey(kind=KeyKind.TENANT, scope=n) for n in range(12)], at_ns=1)
        for at_ns, place in ((30, 3), (10, 8), (20, 5)):
            keychain.kill([made[place].number], at_ns=at_ns)
        new = [make(keychain, KeyKind.TENANT, 50 + n) for n in range(2)]
        assert [entry.number for entry in new] == [13, 14]
        assert [entry.died_ns for entry in keychain.tombstones] == [30]
        secrets = {bytes_of(keychain, entry.number) for entry in keychain.keys}
        assert len(secrets) == len(keychain.keys) == 11

    def test_closed(self, keychain: Keychain) -> None:
        keychain.close()
        keychain.close()
        assert repr(keychain) == "<Keychain, closed>"
        for call in (lambda: keychain.keys, lambda: keychain.secret(1), lambda: make_family(keychain)):
            with pytest.raises(ClosedError):
                call()

    def test_two_processes_do_not_change_one_area(self, keychain: Keychain, tmp_path: Path) -> None:
        with pytest.raises(MediumError, match="another process"):
            Keychain.open(tmp_path / "keys", None, entropy=entropy_of(1))
        with Keychain.open(tmp_path / "keys", None, entropy=entropy_of(1), read_only=True) as reader:
            assert reader.keys == ()
            with pytest.raises(AccessError, match="reading alone"):
                reader.rekey(FileKey(tmp_path / "root.key"))

    def test_making_one(self, keychain: Keychain, tmp_path: Path, provider: FileKey) -> None:
        assert os.stat(tmp_path / "keys").st_mode & 0o777 == 0o600  # noqa: PTH116
        with pytest.raises(ConfigError, match="a file already"):
            Keychain.create(tmp_path / "keys", provider, entropy=entropy_of(1))
        with pytest.raises(MediumError, match="No such file"):
            Keychain.create(tmp_path / "none" / "keys", provider, entropy=entropy_of(1))
        for slots in (0, 1 << 21):
            with pytest.raises(ConfigError, match=f"slots is {slots}"):
                Keychain.create(tmp_path / "other", provider, entropy=entropy_of(1), slots=slots)
        assert not (tmp_path / "other").exists()
