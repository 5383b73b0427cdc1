"""The plugin of pytest, in runs of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = """
import seqstore
from seqstore.testing import check_isolation
from seqstore.testing.adapters import memory


def test_memory(seqstore_memory):
    volume = seqstore_memory.create_tenant("contoso").create_volume("vm-disk", "1MiB")
    volume.write(0, b"hello")
    assert volume.read(0, 5) == b"hello"


def test_durable(seqstore_durable, tmp_path):
    seqstore_durable.create_tenant("contoso").create_volume("vm-disk", "1MiB").write(0, b"hello")
    seqstore_durable.close()
    with seqstore.Store.open(tmp_path / "seqstore") as store:
        assert store.tenant("contoso").volume("vm-disk").read(0, 5) == b"hello"


def test_faulty(seqstore_faulty):
    volume = seqstore_faulty.create_volume("contoso", 4)
    seqstore_faulty.write(volume, 0, b"x" * 512)
    seqstore_faulty.flush()
    seqstore_faulty.crash()
    assert seqstore_faulty.read(volume, 0, 1) == b"x" * 512
    assert seqstore_faulty.drive.counts.power_cuts == 1


def test_examples(isolation_examples):
    assert check_isolation(memory(), max_examples=isolation_examples, steps=5).examples == {examples}
"""


def run(folder: Path, *options: str, examples: int = 200) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS.replace("{examples}", str(examples)), "utf-8")
    command = [sys.executable, "-m", "pytest", "-W", "error", "-v", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_fixtures_give_stores(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_the_option_says_how_many_examples(tmp_path: Path) -> None:
    done = run(tmp_path, "--isolation-examples=7", "-k", "test_examples", examples=7)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("number", ["0", "-3", "many"])
def test_an_option_that_is_no_number_is_refused(tmp_path: Path, number: str) -> None:
    done = run(tmp_path, f"--isolation-examples={number}")
    assert done.returncode != 0
    assert "a number from 1 on is expected" in done.stderr + done.stdout


def test_the_fixtures_are_listed_with_what_they_are(tmp_path: Path) -> None:
    shown = run(tmp_path, "--fixtures").stdout
    for line in ("seqstore_memory", "seqstore_durable", "seqstore_faulty", "isolation_examples"):
        assert line in shown


def test_the_package_brings_the_plugin() -> None:
    plugins = {entry.value for entry in entry_points(group="pytest11") if entry.name == "seqstore"}
    assert plugins == {"seqstore.testing.plugin"}


def test_loading_the_plugin_loads_no_hypothesis() -> None:
    script = "import sys, seqstore.testing.plugin; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
