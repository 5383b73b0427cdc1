"""The harness by itself, on a tiny journal: the right ones pass, each wrong one is caught."""

from __future__ import annotations

import pytest

from seqstore.media.faults import KEPT, LOST
from tests.crash.explore import CrashError, Effort, Explorer, format_path, parse_path
from tests.crash.script import Script, Shape
from tests.crash.toy import (
    Forgetting,
    Halving,
    Jumping,
    Tidying,
    ToyStore,
    Unchained,
    Unchecked,
    Unsynced,
    Zeroing,
)

SHAPE = Shape(16, 16)
EFFORT = Effort(subsets=4, sectors=2, again=2, depth=2)


def a_bit_of_everything() -> Script:
    script = Script()
    first = script.create(16)
    script.write(first, 0, 3)
    script.flush()
    script.write_bytes(first, 700, 900)
    second = script.create(8, tenant=2, strict=True)
    script.scatter(second, [5, 1, 5])
    script.trim(first, 1)
    script.flush()
    frozen = script.snapshot(first)
    script.write(first, 0, 2)
    copy = script.clone(frozen, tenant=2)
    script.trim_bytes(copy, 100, 600)
    script.resize(second, 3, extra=40)
    script.flush()
    script.rollback(first, frozen)
    script.delete(second)
    script.write(first, 7)
    return script


def explorer(kind: type[ToyStore]) -> Explorer:
    return Explorer(kind, SHAPE, a_bit_of_everything().ops)


@pytest.mark.parametrize("kind", [ToyStore, Zeroing])
def test_a_store_that_is_right_passes(kind: type[ToyStore]) -> None:
    tally = explorer(kind).explore(EFFORT, seed=1)
    assert tally.cuts > 200
    assert len(tally.shown) > 3


@pytest.mark.parametrize("kind", [Unsynced, Unchecked, Unchained, Jumping, Halving, Forgetting, Tidying])
def test_a_store_that_is_wrong_is_caught(kind: type[ToyStore]) -> None:
    with pytest.raises(CrashError) as caught:
        explorer(kind).explore(EFFORT, seed=1)
    path = parse_path(format_path(caught.value.path))
    assert path == caught.value.path
    with pytest.raises(CrashError) as again:
        explorer(kind).replay(path)
    assert str(again.value) == str(caught.value)


def test_a_path_tells_kept_lost_and_torn_writes_apart() -> None:
    path = ((17, (KEPT, LOST, 0xF3)), (2, (0b111,)), (0, ()))
    assert format_path(path) == "17:k.0.f3/2:7/0:"
    assert parse_path("17:k.0.f3/2:7/0:") == path
