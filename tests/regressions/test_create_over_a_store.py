"""Making a store where something is already: it was found that the clean-up after the refusal removed it."""

from __future__ import annotations

from pathlib import Path

import pytest

import seqstore


def test_a_store_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with seqstore.Store.create(tmp_path / "lab.store", "4MiB", segment_size="64KiB") as store:
        store.create_tenant("contoso").create_volume("vm-disk", "64KiB").write(0, b"kept")
    with pytest.raises(seqstore.ConfigError, match="not empty"):
        seqstore.Store.create(tmp_path / "lab.store", "4MiB", segment_size="64KiB")
    with seqstore.Store.open(tmp_path / "lab.store") as store:
        assert store.tenant("contoso").volume("vm-disk").read(0, 4) == b"kept"


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"somebody's")
    (tmp_path / "drives").mkdir()
    (tmp_path / "drives" / "0.img").write_bytes(b"too")
    with pytest.raises(seqstore.ConfigError, match="not empty"):
        seqstore.Store.create(tmp_path, "4MiB", segment_size="64KiB")
    assert (tmp_path / "catalog.db").read_bytes() == b"somebody's"
    assert (tmp_path / "drives" / "0.img").read_bytes() == b"too"
