"""Catalog and log say the same, also when the power fails at any step between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from seqstore import Store, Tenant, Volume
from seqstore.audit import AuditLog
from seqstore.catalog import Catalog
from seqstore.engine import Engine
from tests.durable import Picture, crash, create, picture, reopen


class Cut(BaseException):
    """The power is gone; nothing that is called afterwards does anything."""


class Switch:
    """Counts the steps that change catalog or log, and fails at one of them and ever after."""

    STEPS = (
        (Catalog, "add_tenant"),
        (Catalog, "add_volume"),
        (Catalog, "remove_volume"),
        (Catalog, "remove_tenant"),
        (Catalog, "mark_deleting"),
        (Catalog, "draw_number"),
        (AuditLog, "append"),
        (Engine, "make"),
        (Engine, "delete"),
        (Engine, "commit"),
        (Engine, "require"),
    )

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.left = limit
        for owner, name in self.STEPS:
            monkeypatch.setattr(owner, name, self.guard(getattr(owner, name)))

    def guard(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if self.left <= 0:
                raise Cut
            self.left -= 1
            return step(*arguments, **options)

        return run


def find(store: Store) -> tuple[Tenant, Volume]:
    tenant = store.tenant("contoso")
    return tenant, tenant.volume("disk")


class TestCrashes:
    OPERATIONS: ClassVar[dict[str, Callable[[Store], object]]] = {
        "create a tenant": lambda s: s.create_tenant("new"),
        "create a volume": lambda s: find(s)[0].create_volume("new", 4096),
        "snapshot": lambda s: find(s)[1].snapshot("new"),
        "clone": lambda s: find(s)[1].find_snapshot("old").clone("new"),
        "rollback": lambda s: find(s)[1].rollback(find(s)[1].find_snapshot("old")),
        "delete a volume": lambda s: find(s)[1].delete(),
        "delete a snapshot": lambda s: find(s)[1].find_snapshot("old").delete(),
        "delete a tenant": lambda s: find(s)[0].delete(),
    }

    @staticmethod
    def make(path: Path) -> Store:
        store = create(path)
        volume = store.create_tenant("contoso").create_volume("disk", 2000)
        volume.write(0, b"old")
        volume.snapshot("old").clone("clone").write(0, b"clone")
        volume.write(0, b"new")
        store.create_tenant("fabrikam").create_volume("disk", 1000).write(0, b"of others")
        store.flush()
        return store

    def attempt(self, path: Path, what: str, limit: int) -> tuple[Picture, bool]:
        """Cut the power after so many steps; what is there afterwards, and whether it all had been done."""
        store = self.make(path)
        with pytest.MonkeyPatch.context() as patch:
            Switch(patch, limit)
            try:
                self.OPERATIONS[what](store)
                done = True
            except Cut:
                done = False
        crash(store)
        with Store.open(path) as again:
            shown = picture(again)
            again.check()
            again.audit.verify()
            crash(again)
        with Store.open(path) as again:
            assert picture(again) == shown
            rows = {row.number for row in again._parts.catalog.volumes()}
            assert rows == {int(number) for number in again._engine.volumes()["number"]}
        return shown, done

    @pytest.mark.parametrize("what", OPERATIONS)
    def test_all_or_nothing_at_every_step(self, tmp_path: Path, what: str) -> None:
        with self.make(tmp_path / "before") as store:
            before = picture(store)
        after, done = self.attempt(tmp_path / "after", what, 10**6)
        assert done
        assert after != before
        seen = []
        for limit in range(100):
            shown, done = self.attempt(tmp_path / str(limit), what, limit)
            seen.append(shown)
            assert shown in (before, after)
            if done:
                break
        assert seen[0] == before
        assert seen[-1] == after
        assert len(seen) > 1

    def test_a_name_is_free_after_a_failed_creation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "lab.store"
        store = create(path)
        tenant = store.create_tenant("contoso")
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "commit", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                tenant.create_volume("disk", 512)
        with reopen(store, path) as again:
            again.check()
            tenant = again.tenant("contoso")
            if not tenant.volumes:
                tenant.create_volume("disk", 512)
            assert [volume.name for volume in tenant.volumes] == ["disk"]

    def test_a_size_that_is_refused_leaves_nothing(self, store: Store, tenant: Tenant) -> None:
        with pytest.raises(ValueError, match="2\\*\\*38"):
            tenant.create_volume("disk", 2**63)
        assert store._parts.catalog.volumes() == []
        assert tenant.create_volume("disk", 512).size == 512
