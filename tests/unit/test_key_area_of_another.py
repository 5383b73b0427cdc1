"""A key area belongs to one store: that of another, under the same root key, is refused and left as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqstore import FileMedium, FormatError, Store
from seqstore.keys import FileKey
from tests.durable import CAPACITY, reopen
from tests.small import BLOCK_SIZE, SEGMENT_SIZE
from tests.unit.test_encryption import CANARY, made, path, root

__all__ = ["made", "path", "root"]


class TestOtherAreas:
    @pytest.mark.invariant("I2")
    def test_the_key_area_of_another_store(self, tmp_path: Path, root: FileKey) -> None:
        """Both have one root key: keys that the wrong store does not need died when it was opened."""
        sizes: dict[str, Any] = {"block_size": BLOCK_SIZE, "zone_size": SEGMENT_SIZE}

        def use(number: int, keys: int, volumes: int = 0) -> list[bytes]:
            names: dict[str, Any] = {"catalog": tmp_path / f"{number}.db", "keys": tmp_path / f"keys-{keys}"}
            with FileMedium(tmp_path / f"drive-{number}", CAPACITY, create=volumes > 0, **sizes) as medium:
                if volumes:
                    store = Store.create_on(medium, encryption=root, **names)
                    tenant = store.create_tenant("contoso")
                    for lba in range(volumes):
                        tenant.create_volume(f"v{lba}", 4096).write(0, CANARY)
                else:
                    store = Store.open_on(medium, key=root, **names)
                with store:
                    return [volume.read(0, len(CANARY)) for volume in store.tenant("contoso").volumes]

        assert use(1, 1, volumes=4) == 4 * [CANARY]
        assert use(2, 2, volumes=2) == 2 * [CANARY]
        before = (tmp_path / "keys-1").read_bytes()
        with pytest.raises(FormatError, match=r"another store's.*nothing of it was changed"):
            use(2, 1)
        assert (tmp_path / "keys-1").read_bytes() == before
        assert use(1, 1) == 4 * [CANARY]
        assert use(2, 2) == 2 * [CANARY]

    def test_a_catalog_from_before_it_remembered(self, made: Store, path: Path, root: FileKey) -> None:
        made._parts.catalog.database.run("DELETE FROM key_area")
        store = reopen(made, path, key=root, read_only=True)
        store = reopen(store, path, key=root)
        identity = store._parts.catalog.database.run("SELECT identity FROM key_area")[0][0]
        assert bytes.fromhex(identity) in (path / "keys").read_bytes()
        store.close()
