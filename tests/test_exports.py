"""The public names: what ``seqstore.__all__`` says, what is there, and what is documented are the same."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import seqstore
from seqstore import errors, sanitize
from seqstore.media import faults

DOCS = Path(__file__).resolve().parents[1] / "docs"
CLASSES = [name for name in seqstore.__all__ if inspect.isclass(getattr(seqstore, name))]


def test_every_exported_name_exists_once() -> None:
    assert [name for name in seqstore.__all__ if not hasattr(seqstore, name)] == []
    assert len(set(seqstore.__all__)) == len(seqstore.__all__)


def test_every_public_name_is_exported() -> None:
    public = {
        name
        for name, value in vars(seqstore).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == {name for name in seqstore.__all__ if not name.startswith("_")}
    assert "__version__" in seqstore.__all__


def test_every_error_is_exported_and_ours() -> None:
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    raised = {name for name, value in classes.items() if issubclass(value, Exception)}
    assert raised <= set(seqstore.__all__)
    assert all(issubclass(classes[name], seqstore.SeqstoreError) for name in raised)


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", seqstore.__version__)


def public_members(owner: type) -> Iterator[tuple[str, object]]:
    """Yield what a class defines for its users, itself or in a base of ours: methods and properties."""
    ours = [base for base in reversed(owner.__mro__) if base.__module__.startswith("seqstore")]
    for name, value in {name: value for base in ours for name, value in vars(base).items()}.items():
        if name.startswith("_"):
            continue
        if isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value):
            yield name, value


def documentation(value: object) -> str:
    return (inspect.getdoc(value) or "").strip()


@pytest.mark.parametrize("name", CLASSES)
def test_classes_and_their_members_say_what_they_do(name: str) -> None:
    owner = getattr(seqstore, name)
    assert documentation(owner), f"{name} has no docstring"
    assert [f"{name}.{member}" for member, value in public_members(owner) if not documentation(value)] == []


def missing_in_reference(names: Iterable[str]) -> list[str]:
    """Pick the names whose last part no page of the reference mentions."""
    pages = "\n".join(page.read_text("utf-8") for page in sorted((DOCS / "reference").rglob("*.md")))
    return [name for name in names if not re.search(rf"\b{re.escape(name.rpartition('.')[2])}\b", pages)]


def test_the_reference_names_everything() -> None:
    assert missing_in_reference(seqstore.__all__) == []


@pytest.mark.parametrize("name", CLASSES)
def test_the_reference_names_every_member(name: str) -> None:
    owner = getattr(seqstore, name)
    members = dict(public_members(owner)).keys() - set(dir(io.RawIOBase))
    if dataclasses.is_dataclass(owner):
        members |= {field.name for field in dataclasses.fields(owner)}
    assert missing_in_reference(f"{name}.{member}" for member in sorted(members)) == []


@pytest.mark.parametrize("module", [faults, sanitize], ids=lambda module: module.__name__)
def test_the_reference_names_what_is_imported_from_where_it_is(module: ModuleType) -> None:
    """A program that stores things has no use for it."""
    assert missing_in_reference(module.__all__) == []
    for name in module.__all__:
        owner = getattr(module, name)
        if inspect.isclass(owner):
            members = {member for member, _ in public_members(owner)}
            if dataclasses.is_dataclass(owner):
                members |= {field.name for field in dataclasses.fields(owner)}
            assert missing_in_reference(f"{name}.{member}" for member in sorted(members)) == []


def test_importing_loads_numpy_and_cffi_alone() -> None:
    script = (
        "import sys, json, numpy, _cffi_backend; before = set(sys.modules); import seqstore; "
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout)) - {"seqstore", "numpy", "_cffi_backend"}
    assert {name for name in loaded if name not in sys.stdlib_module_names} == set()
