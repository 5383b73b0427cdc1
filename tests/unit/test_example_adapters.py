"""The adapters that the how-to page shows, each put to the kit; one whose tools are missing says so."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from seqstore.testing import IsolationViolation, check_deletion, check_durability, check_isolation
from seqstore.testing.protocol import BlockStore, Capabilities

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "adapters"
PAGE = FOLDER.parent / "test-your-own-store.md"

Factory = Callable[[], Any]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path: Path) -> Callable[[], Path]:
    """Make folders, one after the other."""
    numbers = itertools.count(1)

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@pytest.fixture
def plain_dict() -> Factory:
    return load("plain_dict").DictStore  # type: ignore[no-any-return]


@pytest.fixture
def sqlite_blobs(place: Callable[[], Path]) -> Factory:
    store = load("sqlite_blobs").SqliteStore
    return lambda: store(place() / "blocks.db")


@pytest.fixture
def lmdb_store(place: Callable[[], Path]) -> Factory:
    pytest.importorskip("lmdb", reason="LMDB is not installed: pip install lmdb")
    store = load("lmdb_store").LmdbStore
    return lambda: store(place())


@pytest.fixture
def qcow2(place: Callable[[], Path]) -> Factory:
    missing = [tool for tool in ("qemu-img", "qemu-io") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: the package qemu-utils has them")
    store = load("qcow2").Qcow2Store
    return lambda: store(place())


EXAMPLES = {"plain_dict": 50, "sqlite_blobs": 20, "lmdb_store": 20, "qcow2": 2}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes(name: str, request: pytest.FixtureRequest) -> None:
    report = check_isolation(request.getfixturevalue(name), max_examples=EXAMPLES[name], seed=1)
    assert report.steps > 10 * EXAMPLES[name]
    assert report.commands["clone"] + report.commands["snapshot"] > 0


@pytest.mark.parametrize("name", ["plain_dict", "sqlite_blobs", "lmdb_store"])
def test_an_example_passes_with_threads(name: str, request: pytest.FixtureRequest) -> None:
    check_isolation(request.getfixturevalue(name), max_examples=3, seed=1, threads=3)


def test_sqlite_keeps_what_was_committed(sqlite_blobs: Factory) -> None:
    assert check_durability(sqlite_blobs, max_examples=15, seed=1).commands["crash"] > 15


def test_sqlite_keeps_nothing_that_was_purged(sqlite_blobs: Factory) -> None:
    report = check_deletion(sqlite_blobs, max_examples=15, seed=1)
    assert report.commands["purge"] > 15
    assert "I5 deletion" in report.checked


def test_sqlite_without_secure_delete_or_vacuum_is_caught(place: Callable[[], Path]) -> None:
    class Careless(load("sqlite_blobs").SqliteStore):  # type: ignore[misc]
        def _open(self) -> None:
            super()._open()
            self._database.execute("PRAGMA secure_delete = OFF")

        def purge(self) -> None:
            self.flush()

    with pytest.raises(IsolationViolation) as caught:
        check_deletion(lambda: Careless(place() / "blocks.db"), seed=1)
    assert caught.value.kind == "remanence"
    assert caught.value.media_offset is not None


def test_qcow2_that_is_only_cut_shows_old_bytes_when_it_grows(
    place: Callable[[], Path], qcow2: Factory
) -> None:
    """What the page says of images that are not cut at a cluster."""

    class OnlyCut(load("qcow2").Qcow2Store):  # type: ignore[misc]
        def resize(self, volume: int, blocks: int) -> None:
            self._sizes[volume] = blocks
            super().resize(volume, blocks)

    with closing(OnlyCut(place())) as store:
        volume = store.create_volume("amber", 8)
        store.write(volume, 4, b"x" * 512)
        store.resize(volume, 4)
        store.resize(volume, 8)
        assert store.read(volume, 4, 1) == b"x" * 512


def test_each_example_keeps_to_the_protocol_and_is_named_on_the_page(
    plain_dict: Factory, sqlite_blobs: Factory
) -> None:
    for factory in (plain_dict, sqlite_blobs):
        store = factory()
        assert isinstance(store, BlockStore)
        assert Capabilities.of(store).clone
    page = PAGE.read_text("utf-8")
    assert [path.name for path in sorted(FOLDER.glob("*.py")) if f"adapters/{path.name}" not in page] == []
    assert {path.stem for path in FOLDER.glob("*.py")} == EXAMPLES.keys()
