"""Media written in Python: what their methods are given, and what becomes of what they raise."""

from __future__ import annotations

import errno
import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from seqstore import ClosedError, ConfigError, MediumError, SequentialWriteError
from seqstore._native._core import ffi, lib
from seqstore.media import CallsMedium, calls
from tests.faulty import Shelf
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_BLOCKS, SEGMENT_SIZE


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def medium(shelf: Shelf) -> Iterator[CallsMedium]:
    with CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE) as medium:
        yield medium


def blocks(mark: int, count: int = 1) -> bytes:
    return bytes([mark]) * (count * BLOCK_SIZE)


OPERATIONS: dict[str, Callable[[CallsMedium], object]] = {
    "append": lambda medium: medium.append(0, blocks(1)),
    "read": lambda medium: medium.read(0, 1),
    "sync": lambda medium: medium.sync(),
    "reset": lambda medium: medium.reset(0),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


def test_the_methods_do_the_work(medium: CallsMedium, shelf: Shelf) -> None:
    medium.append(16, blocks(1, 3))
    medium.append(19, blocks(2, 13))
    assert medium.read(15, 6) == blocks(0) + blocks(1, 3) + blocks(2, 2)
    medium.sync()
    medium.reset(1)
    medium.append(16, blocks(3))
    assert medium.read(16, 2) == blocks(3) + blocks(1)
    assert shelf.noted == [
        ("append", 16, 3 * BLOCK_SIZE),
        ("append", 19, 13 * BLOCK_SIZE),
        ("read", 15, 6),
        ("sync",),
        ("reset", 1),
        ("append", 16, BLOCK_SIZE),
        ("read", 16, 2),
    ]


def test_what_the_core_refuses_does_not_come_that_far(medium: CallsMedium, shelf: Shelf) -> None:
    with pytest.raises(SequentialWriteError):
        medium.append(1, blocks(1))
    with pytest.raises(SequentialWriteError):
        medium.append(0, blocks(1, SEGMENT_BLOCKS + 1))
    for refused in (
        lambda: medium.read(medium.blocks, 1),
        lambda: medium.append(medium.blocks, blocks(1)),
        lambda: medium.reset(medium.zones),
        lambda: medium.append(0, b"x"),
    ):
        with pytest.raises(ConfigError):
            refused()
    assert medium.read(0, 0) == b""
    assert not hasattr(medium, "overwrite")
    medium.close()
    for use in OPERATIONS.values():
        with pytest.raises(ClosedError):
            use(medium)
    assert shelf.noted == []


@pytest.mark.parametrize("missing", OPERATIONS)
def test_methods_that_are_missing(shelf: Shelf, missing: str) -> None:
    setattr(shelf, missing, None)
    with pytest.raises(ConfigError, match=missing):
        CallsMedium(shelf, CAPACITY)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), MediumError("y")])
@each_operation
def test_what_a_method_raises_comes_out(
    medium: CallsMedium, shelf: Shelf, operation: str, error: BaseException, capfd: Any
) -> None:
    def fail(name: str, view: Any) -> None:
        raise error

    medium.append(0, blocks(9, 3))
    shelf.hook = fail
    with pytest.raises(type(error)) as caught:
        OPERATIONS[operation](medium) if operation != "append" else medium.append(3, blocks(1))
    assert caught.value is error
    assert medium.write_pointer(0) == 3
    assert medium.take_error() is None
    assert capfd.readouterr() == ("", "")
    shelf.hook = lambda name, view: None
    medium.append(3, blocks(2))
    assert medium.read(2, 2) == blocks(9) + blocks(2)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EREMOTEIO, None])
@each_operation
def test_an_error_of_the_system_is_the_cause_of_ours(
    medium: CallsMedium, shelf: Shelf, operation: str, number: int | None
) -> None:
    error = OSError("lost") if number is None else OSError(number, "lost")

    def fail(name: str, view: Any) -> None:
        raise error

    shelf.hook = fail
    with pytest.raises(MediumError) as caught:
        OPERATIONS[operation](medium)
    assert caught.value.__cause__ is error
    assert caught.value.errno == (number or errno.EIO)
    assert medium.take_error() is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError("no number"), errno.EIO),
        (OSError(-5, "negative"), errno.EIO),
        (OSError(2**40, "large"), errno.EIO),
        (OSError("text", "text"), errno.EIO),
        (RuntimeError(), errno.EIO),
    ],
)
@each_operation
def test_what_the_core_is_told(
    medium: CallsMedium, shelf: Shelf, operation: str, error: BaseException, expected: int
) -> None:
    def fail(name: str, view: Any) -> None:
        raise error

    shelf.hook = fail
    os_error = ffi.new("int *")
    page = ffi.new("uint8_t[]", BLOCK_SIZE)
    status = {
        "append": lambda: lib.sq_medium_append(medium.handle, 0, 1, page, ffi.NULL, os_error),
        "read": lambda: lib.sq_medium_read(medium.handle, 0, 1, page, os_error),
        "sync": lambda: lib.sq_medium_flush(medium.handle, os_error),
        "reset": lambda: lib.sq_medium_reset(medium.handle, 0, os_error),
    }[operation]()
    assert (status, os_error[0]) == (lib.SQ_E_IO, expected)
    assert medium.take_error() is error
    assert medium.take_error() is None


def test_errors_belong_to_their_threads(medium: CallsMedium, shelf: Shelf) -> None:
    both = threading.Barrier(2, timeout=10)
    caught: dict[str, BaseException] = {}

    def fail(name: str, view: Any) -> None:
        both.wait()
        raise ValueError(threading.current_thread().name)

    def work() -> None:
        try:
            medium.sync()
        except ValueError as error:
            caught[threading.current_thread().name] = error

    shelf.hook = fail
    threads = [threading.Thread(target=work, name=name) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: str(error) for name, error in caught.items()} == {"one": "one", "two": "two"}


@pytest.mark.parametrize(
    "keep", [lambda view: view[3:5], lambda view: np.frombuffer(view, np.uint8), memoryview]
)
@pytest.mark.parametrize("operation", ["append", "read"])
def test_views_may_not_be_kept(medium: CallsMedium, shelf: Shelf, operation: str, keep: Any) -> None:
    kept = []
    shelf.hook = lambda name, view: kept.append(keep(view))
    with pytest.raises(MediumError, match="kept"):
        OPERATIONS[operation](medium)
    assert medium.write_pointer(0) == 0


@pytest.mark.parametrize("operation", ["append", "read"])
def test_a_view_ends_with_its_call(medium: CallsMedium, shelf: Shelf, operation: str) -> None:
    kept = []
    shelf.hook = lambda name, view: kept.append(view)
    OPERATIONS[operation](medium)
    with pytest.raises(ValueError, match="released"):
        kept[0][0]


@pytest.mark.parametrize("operation", ["append", "read"])
def test_an_error_shows_no_views(medium: CallsMedium, shelf: Shelf, operation: str) -> None:
    """Who looks at the variables of a traceback would look at memory that is something else by then."""

    def inner(view: memoryview) -> None:
        array = np.frombuffer(view, np.uint8)
        raise ValueError(len(array))

    def fail(name: str, view: memoryview) -> None:
        part = view[1:]
        try:
            inner(part)
        except ValueError as error:
            raise RuntimeError from error

    shelf.hook = fail
    with pytest.raises(RuntimeError) as caught:
        OPERATIONS[operation](medium)
    assert caught.value.__cause__ is not None
    traces = [caught.value.__traceback__, caught.value.__cause__.__traceback__]
    frames = [frame for trace in traces for frame, _ in traceback.walk_tb(trace)]
    passed = [frame for frame in frames if frame.f_code.co_name in {"fail", "inner", operation}]
    assert len(passed) >= 4
    assert [name for frame in passed for name in ("array", "part", "view") if name in frame.f_locals] == []


def test_what_the_caller_was_handling_keeps_its_variables(medium: CallsMedium, shelf: Shelf) -> None:
    def outer() -> None:
        precious = 5
        raise KeyError(precious)

    def fail(name: str, view: Any) -> None:
        raise RuntimeError

    shelf.hook = fail
    try:
        outer()
    except KeyError as error:
        with pytest.raises(RuntimeError):
            medium.append(0, blocks(1))
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert frames[-1].f_locals == {"precious": 5}


def test_a_read_that_fills_nothing_gives_zeros(medium: CallsMedium, shelf: Shelf) -> None:
    shelf.append = shelf.read = lambda *arguments: None  # type: ignore[assignment]
    page = ffi.new("uint8_t[]", b"\x55" * BLOCK_SIZE)
    assert lib.sq_medium_read(medium.handle, 0, 1, page, ffi.NULL) == 0
    assert bytes(ffi.buffer(page, BLOCK_SIZE)) == bytes(BLOCK_SIZE)


def test_a_zone_takes_one_append_at_a_time(medium: CallsMedium, shelf: Shelf) -> None:
    """The others need not wait for it: appends to other zones, reads and syncs run beside."""
    begun, end = threading.Event(), threading.Event()

    def wait(name: str, view: Any) -> None:
        if threading.current_thread() is thread:
            begun.set()
            assert end.wait(10)

    shelf.hook = wait
    thread = threading.Thread(target=lambda: medium.append(0, blocks(1, 2)))
    thread.start()
    assert begun.wait(10)
    try:
        for mba in (0, 2):
            with pytest.raises(SequentialWriteError):
                medium.append(mba, blocks(2))
        with pytest.raises(MediumError, match="append"):
            medium.reset(0)
        assert medium.write_pointer(0) == 0
        medium.append(SEGMENT_BLOCKS, blocks(3))
        assert medium.read(SEGMENT_BLOCKS, 1) == blocks(3)
        medium.sync()
    finally:
        end.set()
        thread.join()
    assert medium.write_pointer(0) == 2
    medium.append(2, blocks(4))
    assert medium.read(0, 3) == blocks(1, 2) + blocks(4)


def test_a_signal_between_c_and_python(
    medium: CallsMedium, shelf: Shelf, monkeypatch: Any, capfd: Any
) -> None:
    """What is raised before the medium is found comes out nevertheless, and not on stderr."""
    find = calls._find
    signals = [KeyboardInterrupt()]

    def interrupted(context: Any) -> Any:
        if signals:
            raise signals.pop()
        return find(context)

    monkeypatch.setattr(calls, "_find", interrupted)
    with pytest.raises(KeyboardInterrupt):
        medium.append(0, blocks(1))
    assert (signals, shelf.noted) == ([], [])
    assert capfd.readouterr() == ("", "")


def test_nothing_is_held_by_circles() -> None:
    gc.disable()
    try:
        shelf = Shelf()
        medium = CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
        medium.append(0, blocks(1))
        shelf.hook = lambda name, view: view.release()
        with pytest.raises(ValueError, match="released"):
            medium.append(1, blocks(1))
        gone: list[weakref.ref[object]] = [weakref.ref(medium), weakref.ref(shelf)]
        del medium, shelf
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def test_c_may_outlive_the_object(shelf: Shelf) -> None:
    """Garbage is collected in any order, and C then hears that there is no such medium any more."""
    medium = CallsMedium(shelf, CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
    handle = medium.handle
    del medium
    gc.collect()
    os_error = ffi.new("int *")
    page = ffi.new("uint8_t[]", BLOCK_SIZE)
    for status in (
        lib.sq_medium_append(handle, 0, 1, page, ffi.NULL, os_error),
        lib.sq_medium_read(handle, 0, 1, page, os_error),
        lib.sq_medium_flush(handle, os_error),
        lib.sq_medium_reset(handle, 0, os_error),
    ):
        assert (status, os_error[0]) == (lib.SQ_E_IO, errno.ENODEV)
    assert shelf.noted == []
