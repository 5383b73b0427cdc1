"""The fuzz target on the kept inputs and on some made of them, with the compiler that is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent
RANDOM_SECONDS = 4


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Under `make sanitizers` the interpreter's own run-time library is preloaded: the compiler needs none.
    environment = {name: text for name, text in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run(
        ["scripts/fuzz.sh", *arguments],
        cwd=ROOT,
        env={**environment, "PLAIN": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    return fuzz(str(RANDOM_SECONDS))


def test_no_image_breaks_the_engine(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


def test_all_that_is_kept_was_tried(run: subprocess.CompletedProcess[str]) -> None:
    kept = [path for name in ("corpus", "regressions") for path in (FOLDER / name).iterdir()]
    assert f"{len(kept)} inputs kept" in run.stdout
    assert len(kept) > 50


def test_the_kept_inputs_are_small() -> None:
    sizes = [path.stat().st_size for name in ("corpus", "regressions") for path in (FOLDER / name).iterdir()]
    assert sum(sizes) < 1 << 20
