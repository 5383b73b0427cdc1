"""What was lost with its drives can be deleted: its name is free, and what became of its bytes is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seqstore import (
    AccessError,
    ClosedError,
    ConfigError,
    NotFoundError,
    Store,
    Tenant,
)
from seqstore.certificate_parts import Person
from seqstore.keys import FileKey
from tests.attacker import Keys, readable
from tests.durable import root_key
from tests.several import BLOCK, CANARY, SEGMENT, Rack, content, fill

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)


def lose(store: Store, tenant: Tenant) -> None:
    """Lose a volume and its snapshot with a drive of their own."""
    store.add_drive(64 * SEGMENT)
    volume = tenant.create_volume("disk", 20 * BLOCK, drive=1)
    fill(volume, 1)
    volume.snapshot("monday")
    store.drives[1].fail("it burns")


class TestAFailedDrive:
    def test_the_name_is_free(self, store: Store, tenant: Tenant) -> None:
        lose(store, tenant)
        volume, snapshot = store.losses()
        store.delete_lost(volume)
        assert store.losses() == (snapshot,)
        data = fill(tenant.create_volume("disk", 20 * BLOCK), 2)
        assert content(store) == {"disk": data}
        with pytest.raises(NotFoundError, match="is not lost"):
            store.delete_lost(volume)
        store.delete_lost(snapshot)
        assert store.losses() == ()
        assert [record.act for record in store.audit][-2:] == ["deletion requested", "snapshot deleted"]

    def test_handles_know(self, store: Store, tenant: Tenant) -> None:
        store.add_drive(64 * SEGMENT)
        volumes = [tenant.create_volume(name, 20 * BLOCK, drive=1) for name in ("first", "second")]
        store.drives[1].fail("it burns")
        store.delete_lost(store.losses()[0])
        volumes[1].delete()  # the same, for those who have it still
        assert store.losses() == ()
        for volume in volumes:
            assert volume.deleted
            with pytest.raises(NotFoundError, match="was deleted"):
                volume.read(0, 1)

    def test_with_its_tenant(self, store: Store, tenant: Tenant) -> None:
        lose(store, tenant)
        tenant.delete()
        assert store.losses() == ()

    def test_its_bytes_have_ended_with_the_drive(self, store: Store, tenant: Tenant) -> None:
        pytest.importorskip("cryptography")
        lose(store, tenant)
        for loss in store.losses():
            store.delete_lost(loss)
        numbers = [erasure.id for erasure in store.erasures]
        assert len(numbers) == 2
        assert not any(store.statement(number).complete for number in numbers)
        store.drives[1].sanitize(operator=ADA, verifier=GRACE)
        assert all(store.statement(number).complete for number in numbers)

    def test_when_the_store_is_opened_again(self, rack: Rack) -> None:
        tenant = rack.store.create_tenant("contoso")
        fill(tenant.create_volume("disk", 20 * BLOCK, drive=1), 1)
        rack.store.drives[1].fail("it burns")
        rack.crash()
        store = rack.open()
        (loss,) = store.losses()
        assert (loss.name, loss.tenant, loss.runs) == ("disk", "contoso", ((0, 20),))
        store.delete_lost(loss)
        rack.crash()
        store = rack.open()
        assert store.losses() == ()
        store.tenant("contoso").create_volume("disk", BLOCK)

    def test_what_is_refused(self, rack: Rack) -> None:
        tenant = rack.store.create_tenant("contoso")
        tenant.create_volume("disk", 20 * BLOCK, drive=1)
        rack.store.drives[1].fail("it burns")
        (loss,) = rack.store.losses()
        with pytest.raises(ConfigError, match="Loss"):
            rack.store.delete_lost("disk")  # type: ignore[arg-type]
        with pytest.raises(NotFoundError, match="'disk'"):
            rack.store.delete_lost(replace(loss, number=77))
        rack.store.close()
        with pytest.raises(ClosedError):
            rack.store.delete_lost(loss)
        store = rack.open(read_only=True)
        with pytest.raises(AccessError):
            store.delete_lost(loss)
        assert store.losses() != ()


class TestAMissingDrive:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "lab.store"

    @pytest.fixture
    def take_away(self, path: Path) -> Callable[..., Store]:
        """Make a store whose second drive has a volume of its own, and take the drive away."""

        def take(**options: FileKey) -> Store:
            with Store.create(path, "2MiB", **options) as store:  # type: ignore[arg-type]
                store.add_drive("2MiB")
                tenant = store.create_tenant("contoso")
                for drive, name in enumerate(("here", "away")):
                    tenant.create_volume(name, 20 * len(CANARY), drive=drive).write(0, CANARY * 20)
            (path / "drives/1.img").rename(path.with_name("away.img"))
            return Store.open(path, missing="go on", key=options.get("encryption"))

        return take

    def test_it_is_deleted_there_when_the_drive_is_back(
        self, path: Path, take_away: Callable[..., Store]
    ) -> None:
        with take_away() as store:
            (loss,) = store.losses()
            store.delete_lost(loss)
            assert store.losses() == ()
            data = CANARY[::-1]
            store.tenant("contoso").create_volume("away", len(data)).write(0, data)
            (erasure,) = store.erasures
            assert not store.statement(erasure.id).complete
        path.with_name("away.img").rename(path / "drives/1.img")
        with Store.open(path) as store:
            assert content(store) == {"here": CANARY * 20, "away": data}
            assert CANARY in (path / "drives/1.img").read_bytes()
            (again,) = (each for each in store.erasures if each.state != "abandoned")
            assert not store.statement(again.id).complete
            store.purge()
            assert CANARY not in (path / "drives/1.img").read_bytes()
            statement = store.statement(again.id)
            assert (statement.complete, statement.document["totals"]["overwritten"]) == (True, 20)

    def test_its_loss_is_told_of_no_more_when_the_drive_is_back(
        self, path: Path, take_away: Callable[..., Store]
    ) -> None:
        with take_away() as store:
            (loss,) = store.losses()
        path.with_name("away.img").rename(path / "drives/1.img")
        with Store.open(path) as store:
            with pytest.raises(NotFoundError, match="is not lost"):
                store.delete_lost(loss)
            assert store.tenant("contoso").volume("away").read(0, 20 * len(CANARY)) == CANARY * 20

    def test_its_key_dies(self, path: Path, take_away: Callable[..., Store], tmp_path: Path) -> None:
        root = root_key(tmp_path / "root.key")
        with take_away(encryption=root) as store:
            image = path.with_name("away.img").read_bytes()
            assert CANARY in readable(image, Keys(path, root), len(CANARY))
            store.delete_lost(store.losses()[0])
            assert CANARY not in readable(image, Keys(path, root), len(CANARY))

    def test_others_may_show_what_it_showed(self, rack: Rack) -> None:
        """Nobody can say what it showed, so that it is all that it could have."""
        tenant = rack.store.create_tenant("contoso")
        volume = tenant.create_volume("volume", 20 * BLOCK, copies=2, drive=0)
        fill(volume, 1)
        rack.close()
        rack.open(without=[0])
        rack.volume("volume").snapshot("base").clone("clone")
        rack.volume("clone").write(0, b"its own")
        rack.close()
        store = rack.open(without=[1])
        volume_lost, base, clone = store.losses()  # the copies on drive 0 missed something
        store.delete_lost(clone)
        here, away = store.erasures
        assert not store.statement(here.id).complete
        for loss in (base, volume_lost):
            store.delete_lost(loss)
        store.purge()
        assert store.statement(here.id).complete
        assert not store.statement(away.id).complete
