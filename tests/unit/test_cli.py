"""The command: its verbs, its exit statuses, and what it says when it cannot be used."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

import seqstore
from seqstore import CorruptionError
from seqstore.cli import main

pytest.importorskip("rich")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "input"
    root.mkdir()
    rng = np.random.default_rng(1)
    for name in ("one", "two", "[red]three"):
        (root / name).write_bytes(rng.bytes(20_000))
    return root


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a package seem not to be installed."""
    find_spec = importlib.util.find_spec

    def hide(package: str) -> None:
        def find(name: str) -> ModuleSpec | None:
            return None if name == package else find_spec(name)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return hide


class TestHelp:
    def test_version(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out == f"seqstore {seqstore.__version__}\n"

    def test_names_each_verb_with_an_example(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["--help"])
        out = capsys.readouterr().out
        assert caught.value.code == 0
        assert "\n    demo " in out
        assert "\n  seqstore demo " in out

    def test_of_the_demo_has_examples_and_exit_statuses(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit):
            main(["demo", "--help"])
        out = capsys.readouterr().out
        assert "\n  seqstore demo --capacity 512MiB" in out
        assert "exit status: 0" in out

    def test_without_a_verb_helps_and_fails(self, capsys: Capture) -> None:
        assert main([]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "usage: seqstore" in captured.err

    def test_runs_as_a_module(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "seqstore", "--version"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, f"seqstore {seqstore.__version__}\n")


class TestDemo:
    def test_tells_the_story_and_draws_the_picture(self, tree: Path, tmp_path: Path, capsys: Capture) -> None:
        pytest.importorskip("matplotlib")
        assert main(["demo", str(tree), "--output", str(tmp_path / "new" / "folder")]) == 0
        out = capsys.readouterr().out
        assert "3 files, 58.6 KiB" in out
        assert "input/[red]three" in out
        assert "0 of 3" in out
        assert out.count("holds  ") == 9
        assert "All 9 claims hold." in out
        picture = tmp_path / "new" / "folder" / "seqstore-demo.png"
        assert f"Picture of the drive: {picture}" in out
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(content[16:20], "big") == 1600

    def test_writes_no_colour_where_there_is_no_terminal(self, tree: Path, capsys: Capture) -> None:
        assert main(["demo", str(tree), "--no-picture"]) == 0
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out
        assert "Picture" not in captured.out
        assert captured.err == ""

    def test_maps_tell_the_tenants_apart_without_colour(self, tree: Path, capsys: Capture) -> None:
        assert main(["demo", str(tree), "--no-picture"]) == 0
        before, after = capsys.readouterr().out.split("contoso is deleted: nothing has moved")
        assert "C contoso, live" in before
        assert "CCC" in before
        assert "c contoso, dead" not in before
        assert "ccc" in after
        assert "C contoso, live" not in after

    def test_names_of_files_cannot_reach_the_terminal(self, tree: Path, capsys: Capture) -> None:
        (tree / "one").unlink()
        (tree / os.fsdecode(b"\x1b[31m\xff")).write_bytes(np.random.default_rng(2).bytes(20_000))
        assert main(["demo", str(tree), "--no-picture"]) == 0
        out = capsys.readouterr().out
        assert "input/?[31m?" in out
        assert "\x1b" not in out

    def test_quiet_leaves_figures_and_claims(self, tree: Path, capsys: Capture) -> None:
        assert main(["demo", str(tree), "--no-picture", "--quiet"]) == 0
        out = capsys.readouterr().out
        assert out.lstrip().startswith("files")
        assert "write amplification" in out
        assert "one cell" not in out
        assert out.rstrip().endswith("All 9 claims hold.")

    def test_takes_a_capacity(self, tree: Path, capsys: Capture) -> None:
        assert main(["demo", str(tree), "--no-picture", "--capacity", "8MiB"]) == 0
        assert "8 MiB of memory: 2,048 blocks" in capsys.readouterr().out

    def test_fails_when_a_claim_does(
        self, tree: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seqstore.demo.story._is_refused", lambda _: False)
        assert main(["demo", str(tree), "--no-picture"]) == 1
        out = capsys.readouterr().out
        assert "FAILS" in out
        assert "1 of 9 claims do not hold." in out

    def test_fails_when_the_store_does(
        self, tree: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise CorruptionError("block 3 is not what was written", volume=1, lba=3, mba=9)

        monkeypatch.setattr("seqstore.demo.story.verify", fail)
        assert main(["demo", str(tree), "--no-picture"]) == 1
        assert capsys.readouterr().err == "seqstore: block 3 is not what was written\n"

    def test_an_interrupt_is_no_traceback(
        self, tree: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("seqstore.demo.story.verify", interrupt)
        assert main(["demo", str(tree), "--no-picture"]) == 130
        assert capsys.readouterr().err == "seqstore: interrupted\n"


class TestMissingPackages:
    def test_without_rich_says_what_to_install(
        self, tree: Path, capsys: Capture, without: Callable[[str], None]
    ) -> None:
        without("rich")
        assert main(["demo", str(tree)]) == 2
        assert "pip install seqstore[cli]" in capsys.readouterr().err

    def test_without_matplotlib_leaves_out_the_picture_alone(
        self, tree: Path, tmp_path: Path, capsys: Capture, without: Callable[[str], None]
    ) -> None:
        without("matplotlib")
        assert main(["demo", str(tree), "--output", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert "All 9 claims hold." in out
        assert "No picture: matplotlib is missing; pip install seqstore[cli]" in out
        assert not list(tmp_path.glob("*.png"))

    def test_importing_the_command_imports_neither(self) -> None:
        code = "import sys, seqstore.cli, seqstore.report; print({'rich', 'matplotlib'} & {*sys.modules})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing"], "missing does not exist"),
            (["file"], "file is not a directory"),
            (["empty"], "holds nothing to store"),
            (["tiny"], "at least one file of 32 bytes or more"),
            (["input", "--capacity", "12XB"], "unit"),
            (["input", "--capacity", "5MB"], "multiple"),
            (["input", "--capacity", "64KiB"], "too small"),
            (["input", "--seed", "-1"], "seed is -1"),
            (["input", "--output", "file"], "the directory file for the picture"),
        ],
    )
    def test_is_told_with_status_2(
        self,
        tree: Path,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        message: str,
    ) -> None:
        monkeypatch.chdir(tree.parent)
        Path("empty").mkdir()
        Path("tiny").mkdir()
        Path("tiny", "file").write_bytes(b"too small to be found again")
        Path("file").write_bytes(b"content")
        assert main(["demo", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("seqstore: ")
        assert message in captured.err
        assert not list(Path().glob("*.png"))

    @pytest.mark.parametrize("arguments", [["--seed", "x"], ["--unknown"], ["--output", "a", "--no-picture"]])
    def test_of_the_form_is_refused_by_the_parser(self, capsys: Capture, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["demo", *arguments])
        assert caught.value.code == 2
        assert "see `seqstore demo --help`" in capsys.readouterr().err

    def test_of_files_that_are_all_alike(self, tmp_path: Path, capsys: Capture) -> None:
        for name in "ab":
            (tmp_path / name).write_bytes(bytes(100))
        assert main(["demo", str(tmp_path), "--no-picture", "--quiet"]) == 2
        captured = capsys.readouterr()
        assert "FAILS" not in captured.out
        assert "at least one file of 32 bytes or more, not all of them equal" in captured.err
