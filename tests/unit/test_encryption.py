"""Encrypted stores: what lies on the drive, whose keys live and die, and what an opening puts right."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from seqstore import (
    AccessError,
    ConfigError,
    CryptographicErase,
    FileMedium,
    FormatError,
    MediumError,
    MemoryMedium,
    NotFoundError,
    Now,
    Store,
)
from seqstore.cli import main
from seqstore.encryption import Encryption
from seqstore.evidence import Evidence
from seqstore.format import read_image
from seqstore.keys import FileKey, PassphraseKey
from tests.durable import CAPACITY, crash, create, picture, reopen, root_key
from tests.small import BLOCK_SIZE, SEGMENT_SIZE

CANARY = b"the canary of contoso sings in the mine"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab.store"


@pytest.fixture
def root(tmp_path: Path) -> FileKey:
    return root_key(tmp_path / "root.key")


@pytest.fixture
def made(path: Path, root: FileKey) -> Store:
    """A store with a volume of each of two tenants, and a snapshot."""
    store = create(path, encryption=root)
    for name in ("contoso", "fabrikam"):
        volume = store.create_tenant(name).create_volume("disk", "16KiB")
        volume.write(100, CANARY)
        volume.write(4096, CANARY * 60)
    store.tenant("contoso").volume("disk").snapshot("monday")
    store.tenant("contoso").volume("disk").write(4200, b"x" * 777)
    store.flush()
    return store


def living(store: Store) -> list[tuple[str, int]]:
    """What keys of tenants and volumes there are."""
    assert store._parts.encryption is not None
    keys = store._parts.encryption._keychain.keys
    return [(key.kind.name.lower(), key.scope) for key in keys if key.kind.name != "EPOCH"]


def fates(store: Store) -> list[str]:
    """How the copies of everything deleted ended."""
    return [
        how
        for erasure in store.erasures
        for how in store._evidence.erasures.copies(erasure.id)["how"].tolist()
    ]


class TestWhatIsThere:
    @pytest.mark.invariant("I2")
    def test_it_is_what_was_written(self, made: Store, path: Path, root: FileKey) -> None:
        shown = picture(made)
        assert CANARY in shown["contoso"]["volume", "disk"][1]
        store = reopen(made, path, key=root)
        assert picture(store) == shown
        store.check()
        assert store.encrypted
        store.close()
        with Store.open(path, key=root, read_only=True) as store:
            assert picture(store) == shown

    def test_no_plain_byte_is_in_any_file(self, made: Store, path: Path) -> None:
        made.checkpoint()
        for file in (path / "drives/0.img", path / "keys", path / "catalog.db", path / "catalog.db-wal"):
            assert CANARY[:12] not in file.read_bytes()
        made.close()

    @pytest.mark.parametrize("access", ["cached", "direct", "mapped"])
    def test_however_the_file_is_read(self, path: Path, root: FileKey, access: str) -> None:
        store = Store.create(path, "8MiB", access=access, encryption=root)  # type: ignore[arg-type]
        volume = store.create_tenant("contoso").create_volume("disk", "1MiB")
        data = os.urandom(700_000)
        volume.write(1234, data)
        store.flush()
        assert volume.read(1234, len(data)) == data
        assert volume.read_blocks(1, 100).tobytes() == data[4096 - 1234 :][: 100 * 4096]
        store.close()

    def test_layers_of_others(self, made: Store, path: Path, root: FileKey) -> None:
        volume = made.tenant("contoso").volume("disk")
        snapshot = volume.snapshot("tuesday")
        clone = snapshot.clone("copy", tenant=made.tenant("fabrikam"))
        clone.write(50, b"of fabrikam")
        volume.trim(4096, 1000)
        volume.rollback(snapshot)
        volume.resize(9000)
        made.flush()
        shown = picture(made)
        store = reopen(made, path, key=root)
        assert picture(store) == shown
        store.close()

    def test_the_second_reader_finds_nothing_wrong(self, made: Store, path: Path) -> None:
        made.close()
        image = read_image(path / "drives/0.img")
        assert image.version == 2
        assert image.verify() > 0
        assert image.damage == ()

    def test_rebuilt_catalog(self, made: Store, path: Path, root: FileKey) -> None:
        shown = picture(made)
        made.close()
        (path / "catalog.db").unlink()
        with Store.open(path, key=root, rebuild_catalog=True) as store:
            assert sorted(map(len, picture(store).values())) == sorted(map(len, shown.values()))
            assert any(CANARY in view[1] for view in picture(store)["tenant-1"].values())

    def test_a_medium_of_the_callers(self, tmp_path: Path, root: FileKey) -> None:
        names: dict[str, Any] = {"catalog": tmp_path / "catalog.db", "keys": tmp_path / "keys"}
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "zone_size": SEGMENT_SIZE}
        drive = tmp_path / "drive"
        with (
            FileMedium(drive, CAPACITY, create=True, **sizes) as medium,
            Store.create_on(medium, encryption=root, **names) as store,
        ):
            store.create_tenant("a").create_volume("v", 4096).write(0, CANARY)
        with (
            FileMedium(drive, CAPACITY, create=False, **sizes) as medium,
            Store.open_on(medium, key=root, **names) as store,
        ):
            assert store.tenant("a").volume("v").read(0, len(CANARY)) == CANARY

    def test_threads_read_what_nobody_has_read_yet(self, path: Path, root: FileKey) -> None:
        """Seals of a segment are read from the drive when the first of its blocks is needed."""
        store = Store.create(path, "4MiB", block_size=BLOCK_SIZE, segment_size=SEGMENT_SIZE, encryption=root)
        volume = store.create_tenant("contoso").create_volume("disk", "1MiB")
        data = os.urandom(volume.size)
        volume.write(0, data)
        store.flush()
        store = reopen(store, path, key=root)
        volume = store.tenant("contoso").volume("disk")

        def look(seed: int) -> bool:
            generator = Random(seed)
            places = [generator.randrange(volume.size - 5000) for _ in range(300)]
            if seed == 0:  # one writes, what is there already
                for at in places:
                    volume.write(at, data[at : at + 600])
            return all(volume.read(at, 5000) == data[at : at + 5000] for at in places)

        with ThreadPoolExecutor(5) as pool:
            assert list(pool.map(look, range(5))) == [True] * 5
        store.check()
        store.close()


class TestRefused:
    def test_without_the_key(self, made: Store, path: Path) -> None:
        made.close()
        with pytest.raises(ConfigError, match=r"encrypted.*give key="):
            Store.open(path)

    def test_another_key(self, made: Store, path: Path, tmp_path: Path) -> None:
        made.close()
        other = tmp_path / "other.key"
        other.touch(0o600)
        other.write_bytes(os.urandom(32))
        with pytest.raises(AccessError, match="root key is not the one"):
            Store.open(path, key=FileKey(other))

    def test_a_key_for_nothing(self, path: Path, root: FileKey) -> None:
        create(path).close()
        with pytest.raises(ConfigError, match="not encrypted"):
            Store.open(path, key=root)

    def test_no_key_area(self, made: Store, path: Path, root: FileKey) -> None:
        made.close()
        (path / "keys").unlink()
        with pytest.raises(ConfigError, match=r"key area .* is gone"):
            Store.open(path, key=root)
        with pytest.raises(FormatError, match="the drive is encrypted"):
            Store.open(path)

    def test_the_key_area_of_another_store(self, made: Store, path: Path, root: FileKey) -> None:
        made.close()
        create(path.with_name("other"), encryption=root).close()
        shutil.copy(path.with_name("other") / "keys", path / "keys")
        with pytest.raises(FormatError, match="another store's"):
            Store.open(path, key=root)

    def test_a_key_area_from_before_a_volume(self, path: Path, root: FileKey) -> None:
        with create(path, encryption=root) as store:
            shutil.copy(path / "keys", path.with_name("old"))
            store.create_tenant("contoso").create_volume("disk", 4096).write(0, CANARY)
        shutil.copy(path.with_name("old"), path / "keys")
        with pytest.raises(FormatError, match="no key of volume"):
            Store.open(path, key=root)

    def test_memory(self, tmp_path: Path, root: FileKey) -> None:
        with pytest.raises(ConfigError, match="gone with the process"):
            Store.create_on(MemoryMedium("1MiB"), encryption=root, keys=tmp_path / "keys")
        assert not (tmp_path / "keys").exists()

    def test_only_half_of_it(self, tmp_path: Path, root: FileKey) -> None:
        with pytest.raises(ConfigError, match="keys="):
            Store.create_on(MemoryMedium("1MiB"), encryption=root)

    def test_a_failed_creation_leaves_nothing(self, path: Path, root: FileKey) -> None:
        with pytest.raises(ConfigError):
            create(path, encryption=root, deletion=Now(), reserve=0.999999)
        assert not path.exists()

    def test_a_strategy_that_needs_keys(self, path: Path) -> None:
        with create(path) as store, pytest.raises(ConfigError, match="encrypted store"):
            store.set_deletion(CryptographicErase())


class TestDeath:
    def test_of_a_volume(self, made: Store, path: Path, root: FileKey) -> None:
        before = (path / "keys").read_bytes()
        made.tenant("fabrikam").volume("disk").delete()
        assert living(made) == [("tenant", 1), ("volume", 1), ("tenant", 2)]
        assert set(fates(made)) == {"key"}
        assert (path / "keys").read_bytes() != before
        store = reopen(made, path, key=root)
        assert living(store) == [("tenant", 1), ("volume", 1), ("tenant", 2)]
        store.close()

    def test_a_snapshot_keeps_the_key_of_its_volume(self, made: Store, path: Path, root: FileKey) -> None:
        volume = made.tenant("contoso").volume("disk")
        snapshot = volume.snapshot("friday")
        for other in made.tenant("contoso").snapshots:
            if other is not snapshot:
                other.delete()
        volume.delete()
        assert ("volume", 1) in living(made)
        store = reopen(made, path, key=root)
        (snapshot,) = store.tenant("contoso").snapshots
        assert snapshot.read(100, len(CANARY)) == CANARY
        snapshot.delete()
        assert ("volume", 1) not in living(store)
        assert set(fates(store)) == {"key"}
        store.close()

    def test_a_clone_of_another_tenant_keeps_it_too(self, made: Store, path: Path, root: FileKey) -> None:
        snapshot = made.tenant("contoso").snapshots[0]
        clone = snapshot.clone("copy", tenant=made.tenant("fabrikam"))
        made.tenant("contoso").delete()
        assert {("tenant", 1), ("volume", 1)} <= set(living(made))
        store = reopen(made, path, key=root)
        clone = store.tenant("fabrikam").volume("copy")
        assert clone.read(100, len(CANARY)) == CANARY
        clone.delete()
        assert living(store) == [("tenant", 2), ("volume", 2)]
        assert set(fates(store)) == {"key"}
        store.close()

    @pytest.mark.parametrize("what", ["volume", "tenant"])
    def test_a_crash_before_it(
        self, made: Store, path: Path, root: FileKey, what: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The log knows of the deletion, and the key area does not yet."""
        tenant = made.tenant("fabrikam")

        def fail(*_: object) -> None:
            raise MediumError("the power goes", errno=5)

        doomed = tenant if what == "tenant" else tenant.volume("disk")
        with monkeypatch.context() as patch:
            patch.setattr(Encryption, "bury", fail)
            with pytest.raises(MediumError, match="the power goes"):
                doomed.delete()
        assert ("volume", 2) in living(made)
        store = reopen(made, path, key=root)
        assert ("volume", 2) not in living(store)
        assert (("tenant", 2) in living(store)) == (what == "volume")
        assert set(fates(store)) == {"key"}
        store.close()

    def test_a_volume_whose_making_failed_leaves_no_key(
        self, made: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = living(made)

        def fail(*_: object, **__: object) -> int:
            raise MediumError("the power goes", errno=5)

        tenant = made.tenant("contoso")
        with monkeypatch.context() as patch:
            patch.setattr(made._engine, "create_volume", fail)
            with pytest.raises(MediumError):
                tenant.create_volume("new", 4096)
        assert living(made) == before
        made.tenant("contoso").create_volume("new", 4096).write(0, b"works")
        made.close()

    def test_an_old_catalog_brings_nothing_back(self, made: Store, path: Path, root: FileKey) -> None:
        made.close()
        shutil.copy(path / "catalog.db", path / "catalog.db.backup")
        with Store.open(path, key=root) as store:
            store.tenant("fabrikam").volume("disk").delete()
        shutil.copy(path / "catalog.db.backup", path / "catalog.db")
        with pytest.raises(FormatError, match="another moment"):
            Store.open(path, key=root)
        with Store.open(path, key=root, rebuild_catalog=True) as store:
            assert ("volume", 2) not in living(store)

    @pytest.mark.invariant("I3")
    def test_an_old_drive_brings_nothing_back(self, made: Store, path: Path, root: FileKey) -> None:
        """Whoever puts a copy of the drive and the catalog back has the ciphertext, and no key."""
        made.close()
        old = {name: (path / name).read_bytes() for name in ("drives/0.img", "catalog.db")}
        with Store.open(path, key=root) as store:
            store.tenant("fabrikam").volume("disk").delete()
        for name, content in old.items():
            (path / name).write_bytes(content)
        with Store.open(path, key=root, read_only=True) as store:
            volume = store.tenant("fabrikam").volume("disk")
            with pytest.raises(NotFoundError, match="key of lba 0 of volume number 2 is dead"):
                volume.read(100, 10)
        with Store.open(path, key=root) as store:
            assert [volume.name for volume in store.tenant("fabrikam").volumes] == []
            assert CANARY in store.tenant("contoso").volume("disk").read(0, 16384)

    def test_what_is_written_over_at_once_is_said_to_be(self, path: Path, root: FileKey) -> None:
        with create(path, encryption=root, deletion=Now()) as store:
            volume = store.create_tenant("contoso").create_volume("disk", "16KiB")
            volume.write(0, CANARY * 100)
            volume.delete()
            assert fates(store)
            assert set(fates(store)) <= {"overwritten", "zeroed"}
            assert ("volume", 1) not in living(store)

    def test_the_strategy_is_promised(self, path: Path, root: FileKey) -> None:
        with create(path, encryption=root, deletion=CryptographicErase()) as store:
            volume = store.create_tenant("contoso").create_volume("disk", "16KiB")
            volume.write(0, CANARY * 100)
            volume.delete()
            (erasure,) = store.erasures
            assert erasure.request.details["strategy"] == "CryptographicErase()"
            assert set(fates(store)) == {"key"}
            acts = [record.act for record in store.audit.records()]
            assert acts.index("key destroyed") > acts.index("volume deleted")
            assert acts[-1] == "erasure finished"


def test_the_key_dies_before_the_copies_are_listed(
    made: Store, path: Path, root: FileKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To list them may take long, or fail: nobody can read them any more by then."""
    tenant = made.tenant("contoso")
    assert ("volume", 1) in living(made)

    def fail(*arguments: object, **options: object) -> None:
        assert ("volume", 1) not in living(made)
        raise MediumError("the catalog's disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Evidence, "deleted", fail)
        tenant.delete()
        assert "full" in str(made.deletion_failure)
    with reopen(made, path, key=root) as store:
        assert set(fates(store)) == {"key"}
        assert store.statement(1).complete


def test_rekeying(made: Store, path: Path, root: FileKey) -> None:
    shown = picture(made)
    made.rekey(PassphraseKey("correct horse", cost_log2=10))
    assert picture(made) == shown
    crash(made)
    with pytest.raises(AccessError):
        Store.open(path, key=root)
    with Store.open(path, key=PassphraseKey("correct horse", cost_log2=10)) as store:
        assert picture(store) == shown


def test_rekeying_what_is_not_encrypted(path: Path, root: FileKey) -> None:
    with create(path) as store, pytest.raises(ConfigError, match="not encrypted"):
        store.rekey(root)


def test_statements_on_the_command_line(
    made: Store, path: Path, root: FileKey, capsys: pytest.CaptureFixture[str]
) -> None:
    made.tenant("fabrikam").delete()
    made.close()
    assert main(["statement", "list", str(path)]) == 2
    assert "as --root-key" in capsys.readouterr().err
    assert main(["statement", "list", str(path), "--root-key", str(path.with_name("root.key"))]) == 0
    assert "tenant 2 'fabrikam'" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["root.key", b"0" * 32])
def test_what_is_no_provider_of_keys(path: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="a KeyProvider is expected"):
        Store.create(path, CAPACITY, encryption=wrong)
    with pytest.raises(ConfigError, match="a KeyProvider is expected"):
        Store.open(path, key=wrong)
