"""Bugs planted in the engine: a normal build has none, and the kit finds those of other builds."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import plants
from scripts.plants import Hunt, Plant, as_markdown, hunt, is_caught, read_plants, row, tell
from seqstore._native import _core

PLANTS = {plant.name: plant for plant in read_plants()}
# One that shows at once, and one that needs a crash; the soak tries them all.
QUICK = {"shrink_keeps_the_blocks": "memory", "replays_a_write_but_not_its_trim": "faulty"}
# A lie about the past that no later call depends on; tests/invariants/test_i4_ledger.py compares the ledger.
NOT_SEEN_FROM_OUTSIDE = {"ledger_forgets_the_cleaners_copy"}

needs_a_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or importlib.util.find_spec("setuptools") is None,
    reason="building takes a C compiler and setuptools",
)


def sources() -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in plants.HEADER.parent.glob("*.[ch]")
        if path.name not in {"plant.h", "_core.c"}
    }


def test_there_are_enough_and_each_says_what_goes_wrong() -> None:
    assert len(PLANTS) >= 20
    assert len({plant.family for plant in PLANTS.values()}) == 5
    assert len({plant.sentence for plant in PLANTS.values()}) == len(PLANTS)
    assert all(re.fullmatch(r"[A-Z].*\.", plant.sentence) for plant in PLANTS.values())
    listed = re.findall(r"SQ_PLANT_(\w+),?$", plants.HEADER.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == {"none", *PLANTS}


def test_each_is_planted_somewhere() -> None:
    planted = {name for text in sources().values() for name in re.findall(r"SQ_PLANTED\((\w+)\)", text)}
    assert planted == set(PLANTS)


def test_a_normal_build_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from seqstore._native.build import build_flags  # noqa: PLC0415  it describes a build when it is imported

    monkeypatch.delenv("SEQSTORE_PLANT", raising=False)
    compile_flags, link_flags = build_flags()
    assert [flag for flag in (*compile_flags, *link_flags) if "PLANT" in flag] == []
    monkeypatch.setenv("SEQSTORE_PLANT", "shrink_off_by_one")
    assert {"-DSQ_PLANT=shrink_off_by_one", "-O1"} <= set(build_flags()[0])
    assert b"SEQSTORE_PLANT" not in Path(_core.__file__).read_bytes()


def test_the_build_alone_reads_the_flag() -> None:
    package = plants.HEADER.parents[1]
    files = {path.name for path in package.rglob("*.py") if "SEQSTORE_PLANT" in path.read_text("utf-8")}
    assert files == {"build.py"}
    assert [name for name, text in sources().items() if re.search(r"\bSQ_PLANT\b", text)] == []


def test_the_page_lists_every_plant() -> None:
    page = plants.ROOT / "docs" / "reference" / "seeded-bugs.md"
    text = page.read_text(encoding="utf-8")
    assert [one.name for one in PLANTS.values() if f"| `{one.name}` | {one.sentence} |" not in text] == []


def check_caught(name: str, media: tuple[str, ...], seeds: int, folder: Path) -> None:
    plants.build(name, folder)
    hunts = [one for medium in media for one in hunt(name, folder, medium, range(seeds))]
    assert is_caught(hunts), tell(PLANTS[name], hunts)


@needs_a_compiler
@pytest.mark.parametrize("name", QUICK)
def test_the_kit_finds_it(name: str, tmp_path: Path) -> None:
    check_caught(name, (QUICK[name],), 1, tmp_path / name)


@needs_a_compiler
@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(PLANTS.keys() - NOT_SEEN_FROM_OUTSIDE))
def test_the_kit_finds_each(name: str, tmp_path: Path) -> None:
    check_caught(name, PLANTS[name].media, 5, tmp_path / name)


@needs_a_compiler
def test_an_unknown_name_does_not_compile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        plants.build("no_such_bug", tmp_path / "plant")
    assert "SQ_PLANT_no_such_bug" in capfd.readouterr().err


# ---- the command, with a process that answers as it is told ------------------------------------------


PLANT = Plant(name="shrink_off_by_one", family="resize", sentence="It leaves one.")


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """Put a script in the place of the one that hunts."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "hunt_plant.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(plants, "ROOT", tmp_path)
    return tmp_path


def test_the_death_of_the_process_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.dumps({"seed": 1, "kind": "lost", "steps": 7, "seconds": 0.5, "story": ["a", "b"]})
    folder = script(
        tmp_path,
        monkeypatch,
        f"import os, sys\nif sys.argv[3] == '0':\n    os.kill(os.getpid(), 9)\nprint({found!r})\n",
    )
    hunts = hunt(PLANT.name, folder, "memory", [0, 1])
    assert [(one.seed, one.kind) for one in hunts] == [(0, "signal 9"), (1, "lost")]
    assert is_caught(hunts)
    assert row(PLANT, hunts).endswith("| It leaves one. | 2 of 2 |  | 7 | 1 | lost, signal 9 |")


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = script(tmp_path, monkeypatch, "import time\ntime.sleep(60)\n")
    monkeypatch.setattr(plants, "TIMEOUT_SECONDS", 0.5)
    assert [one.kind for one in hunt(PLANT.name, folder, "memory", [3])] == ["hang"]


def test_a_hunt_on_another_core_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="was not built with SEQSTORE_PLANT=shrink_off_by_one"):
        hunt(PLANT.name, tmp_path, "memory", [0])


def test_what_no_seed_finds_is_said() -> None:
    missed = [Hunt(medium="memory", seed=0, kind=None, steps=900), Hunt(medium="faulty", seed=0, kind="lost")]
    assert is_caught(missed)
    assert not is_caught(missed[:1])
    assert "memory: caught by no seed" in tell(PLANT, missed[:1])
    assert "0 of 1 planted bugs" in as_markdown({PLANT: missed[:1]})
