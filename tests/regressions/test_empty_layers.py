"""A layer that says nothing and that nobody reads stayed in the tree; the store could not be opened again."""

from __future__ import annotations

from pathlib import Path

from seqstore import Store


def test_a_hole_that_has_nothing_left_to_hide(tmp_path: Path) -> None:
    path = tmp_path / "lab.store"
    with Store.create(path, "4MiB", segment_size="64KiB") as store:
        volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write(0, b"A" * 4096)
        first = volume.snapshot("first")
        volume.trim(0, 4096)
        second = volume.snapshot("second")
        clones = [second.clone(name) for name in ("one", "two")]
        second.delete()
        first.delete()
        store.check()
        for clone in clones:
            assert clone.read(0, 4096) == bytes(4096)
    with Store.open(path) as store:
        store.check()
        assert store.tenant("contoso").volume("one").read(0, 4096) == bytes(4096)


def test_holes_that_a_resize_made() -> None:
    with Store.memory(768 * 512, block_size=512, segment_size=32 * 512) as store:
        tenant = store.create_tenant("contoso")
        origin = tenant.create_volume("origin", 23552)
        origin.write(15360, b"x" * 6969)
        first = origin.snapshot("first")
        one = first.clone("one")
        origin.delete()
        first.delete()
        second = one.snapshot("second")
        one.delete()
        two = second.clone("two")
        two.resize(3884)
        third = two.snapshot("third")
        third.clone("three")
        third.delete()
        second.delete()
        store.check()
