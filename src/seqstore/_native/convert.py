"""What goes to C without being copied: the bytes of Python objects and the items of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from seqstore._native._core import ffi
from seqstore.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    # Before Python 3.12 type checkers do not know that an array is a buffer.
    BytesLike: TypeAlias = Buffer | NDArray[Any]

_UINT8 = np.dtype(np.uint8)
_CHARS = ffi.typeof("char[]")
_from_buffer = ffi.from_buffer
_ndarray = np.ndarray


def lend(buffer: Any, what: str, writable: bool = False) -> Any:
    """Lend the bytes of an object to C for as long as the result lives, without copying them.

    Parameters
    ----------
    buffer : bytes-like, C-contiguous
    what : str
        What the object is, for the message.
    writable : bool
        Whether C fills it.

    Returns
    -------
    cdata
        ``char[n]``, which fits ``char *`` and ``uint8_t *``.

    Raises
    ------
    ConfigError
        If it is no such object, is read-only where C is to fill it, or holds references to Python objects:
        C would store addresses of this process, or overwrite them.
    """
    try:
        # The usual kinds come first: a closer look costs as much as all the rest.
        kind = type(buffer)
        if kind is not _ndarray and isinstance(buffer, _ndarray):
            buffer = plain(buffer)
        if kind is bytearray or (kind is _ndarray and buffer.dtype is _UINT8) or not _holds_objects(buffer):
            return _from_buffer(_CHARS, buffer, writable)
    except (TypeError, ValueError, BufferError) as error:
        expected = "bytes-like, C-contiguous and writable" if writable else "bytes-like and C-contiguous"
        raise ConfigError(f"{what} must be {expected}: {error}") from None
    raise ConfigError(f"{what} holds Python objects; use numbers or bytes")


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that is an array and nothing more: a subclass may state sizes that its memory has not."""
    return array if type(array) is _ndarray else np.asarray(array)


def wipe(copy: NDArray[Any]) -> None:
    """Clear a copy of ours, of any type, so that no tenant's data stays behind in memory that is free."""
    copy.reshape(-1).view(np.uint8).fill(0)


def give_back(lent: Any) -> None:
    """End a loan before its time, where an exception is about to keep it; what was never lent is left alone.

    Up to Python 3.12 the garbage collector can crash on a memoryview that is still lent to cffi when both
    hang on the frames of an exception.
    """
    if isinstance(lent, ffi.CData):
        ffi.release(lent)


def _holds_objects(buffer: BytesLike) -> bool:
    if isinstance(buffer, np.ndarray):
        return buffer.dtype.hasobject
    return "O" in memoryview(buffer).format


def lend_blocks(data: BytesLike, block_size: int) -> Any:
    """Lend as `lend` does, for reading, what must be a whole number of blocks.

    Raises
    ------
    ConfigError
        As `lend`, and if it is no multiple of the block size.
    """
    buffer = lend(data, "data")
    length = len(buffer)
    if length % block_size:
        give_back(buffer)
        raise ConfigError(f"data has {length} bytes; a multiple of the block size, {block_size}, is expected")
    return buffer


def lend_array(ctype: str, array: NDArray[Any]) -> Any:
    """Lend a C-contiguous array, made or checked by this library, as an array of another C type.

    Of one that does not lie where numbers of its type have to, such as a field of a single packed record, a
    copy is lent: it can only be one that C reads, since those that C fills are made by this library. The
    copy lives as long as what is returned, which has to be kept until C is done, and not only its address.
    """
    return _from_buffer(ctype, array if array.flags.aligned else array.copy())
