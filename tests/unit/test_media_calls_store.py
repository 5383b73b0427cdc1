"""A store whose medium is written in Python: what comes out of it when the medium raises something."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from seqstore import BadBlockError, CallsMedium, MediumError, Store, Volume
from tests import durable
from tests.faulty import Shelf
from tests.small import BLOCK_SIZE, CAPACITY, SEGMENT_SIZE


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(4 * CAPACITY)


@pytest.fixture
def volume(shelf: Shelf) -> Iterator[Volume]:
    medium = CallsMedium(shelf, 4 * CAPACITY, block_size=BLOCK_SIZE, zone_size=SEGMENT_SIZE)
    store = Store.create_on(medium)
    volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
    volume.write(0, bytes(4 * BLOCK_SIZE))
    store.flush()
    yield volume
    durable.crash(store)


def refuse(shelf: Shelf, call: Callable[[], object], error: BaseException) -> BaseException:
    def fail(name: str, view: Any) -> None:
        raise error

    shelf.hook = fail
    with pytest.raises(MediumError if type(error) is OSError else type(error)) as caught:
        call()
    shelf.hook = lambda name, view: None
    return caught.value


def test_a_bad_block_has_its_place(volume: Volume, shelf: Shelf) -> None:
    (extent,) = volume.extents()
    for lba, call in (
        (2, lambda: volume.read(2 * BLOCK_SIZE, 1)),
        (1, lambda: volume.read_blocks(1, 1)),
        (3, lambda: volume.write(3 * BLOCK_SIZE + 1, b"x")),
        (1, lambda: volume.trim(BLOCK_SIZE, 1)),
        (2, lambda: volume.resize(3 * BLOCK_SIZE - 1)),
    ):
        error = OSError(errno.EIO, "a scratch")
        raised = refuse(shelf, call, error)
        assert isinstance(raised, BadBlockError)
        assert raised.__cause__ is error
        assert (raised.mba, raised.errno) == (extent["mba"] + lba, errno.EIO)
        assert f"media block {raised.mba}:" in str(raised)
    assert volume.read(0, 4 * BLOCK_SIZE) == bytes(4 * BLOCK_SIZE)


def test_what_is_not_about_a_block(volume: Volume, shelf: Shelf) -> None:
    volume.write(0, b"x")
    error = OSError(errno.ENODEV, "unplugged")
    raised = refuse(shelf, volume.flush, error)
    assert (type(raised), raised.__cause__) == (MediumError, error)
    assert isinstance(raised, MediumError)
    assert raised.errno == errno.ENODEV


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ZeroDivisionError(), BadBlockError("its own", mba=7)], ids=repr
)
def test_what_is_no_error_of_the_system(volume: Volume, shelf: Shelf, error: BaseException) -> None:
    assert refuse(shelf, lambda: volume.read(0, 1), error) is error
    assert refuse(shelf, lambda: volume.write(1, b"x"), error) is error


def test_making_and_deleting(volume: Volume, shelf: Shelf) -> None:
    """These calls of the core know no place; the medium says why all the same."""
    volume.write(0, b"x")
    tenant = volume.tenant
    for call in (lambda: volume.snapshot("monday"), lambda: tenant.create_volume("other", 512)):
        error = OSError(errno.ENOSPC, "full")
        raised = refuse(shelf, call, error)
        assert isinstance(raised, MediumError)
        assert (raised.__cause__, raised.errno) == (error, errno.ENOSPC)
    volume.snapshot("monday")


def test_a_buffer_is_given_back(volume: Volume, shelf: Shelf) -> None:
    """Though the error that somebody keeps still shows the frames that it passed."""
    data = bytearray(BLOCK_SIZE + 1)
    kept = refuse(shelf, lambda: volume.write(0, data), OSError(errno.EIO, "a scratch"))
    data.append(0)
    assert kept.__traceback__ is not None
