"""A plugin of pytest: stores as fixtures, and how many examples the kit tries.

It is loaded wherever seqstore is installed, and imports nothing else of it until a fixture is asked for.

====================  ======================================================================================
`seqstore_memory`     a store in memory
`seqstore_durable`    a store in a directory of `tmp_path`
`seqstore_faulty`     a small store on a faulty drive: ``.store``, ``.drive``, and ``.crash()``, which cuts
                      the power and opens the store again
`isolation_examples`  what ``--isolation-examples=`` says, for ``max_examples=`` of the checks
====================  ======================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from seqstore.store import Store
    from seqstore.testing.adapters import FaultyAdapter

_EXAMPLES = 200
_CAPACITY = "16MiB"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("seqstore", "isolation of block stores").addoption(
        "--isolation-examples",
        type=_parse_examples,
        default=_EXAMPLES,
        metavar="N",
        help=f"examples that the fixture isolation_examples asks the checks for (default: {_EXAMPLES})",
    )


@pytest.fixture
def isolation_examples(request: pytest.FixtureRequest) -> int:
    """How many examples a check is to try."""
    return int(request.config.getoption("--isolation-examples"))


@pytest.fixture
def seqstore_memory() -> Iterator[Store]:
    """Yield a store in memory."""
    from seqstore.store import Store  # noqa: PLC0415 (a run of pytest that needs no store loads none)

    with Store.memory(_CAPACITY) as store:
        yield store


@pytest.fixture
def seqstore_durable(tmp_path: Path) -> Iterator[Store]:
    """Yield a store in the directory ``tmp_path / "seqstore"``; a test may close it and open it again."""
    from seqstore.store import Store  # noqa: PLC0415

    with Store.create(tmp_path / "seqstore", _CAPACITY, preallocate=False) as store:
        yield store


@pytest.fixture
def seqstore_faulty() -> Iterator[FaultyAdapter]:
    """Yield a store on a drive whose power the test may cut."""
    from seqstore.testing.adapters import faulty  # noqa: PLC0415

    adapter = faulty()()
    try:
        yield adapter
    finally:
        adapter.close()


def _parse_examples(text: str) -> int:
    try:
        examples = int(text)
    except ValueError:
        examples = 0
    if examples < 1:
        raise pytest.UsageError(f"--isolation-examples={text}: a number from 1 on is expected")
    return examples
