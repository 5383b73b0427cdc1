"""Objects that callers pass in, checked before anything is done with them: a mistake has one kind of error.

Sizes and numbers are checked in `seqstore.units`. Messages name types and not values, which may be data or
keys where arguments were swapped.
"""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Iterable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from seqstore.errors import ConfigError

T = TypeVar("T")


def instance(value: object, kind: type[T], what: str, hint: str = "") -> T:
    """Check that something is of a class.

    Parameters
    ----------
    value : object
        What the caller gave.
    kind : type
        What it has to be.
    what : str
        What it is, for the message.
    hint : str
        Where one comes from, for the message.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{what} is {_tell(value)}; {_article(kind.__name__)} is expected{_such(hint)}")
    return value


def optional(value: object, kind: type[T], what: str, hint: str = "") -> T | None:
    """Check that something is of a class, or None; raises as `instance`."""
    return None if value is None else instance(value, kind, what, hint)


def function(value: T, what: str, takes: str = "") -> T:
    """Check that something can be called.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    if not callable(value):
        raise ConfigError(
            f"{what} is {_tell(value)}; a function{takes and ' that takes ' + takes} is expected"
        )
    return value


def methods(value: T, names: tuple[str, ...], kind: str, what: str, hint: str = "") -> T:
    """Check that something has the methods of a protocol.

    Raises
    ------
    ConfigError
        If one is missing.
    """
    missing = [name for name in names if not callable(getattr(value, name, None))]
    if missing or isinstance(value, type):
        lacks = f", which has no {missing[0]}()" if missing else ""
        raise ConfigError(f"{what} is {_tell(value)}{lacks}; {_article(kind)} is expected{_such(hint)}")
    return value


def items(value: Iterable[T], what: str) -> tuple[T, ...]:
    """Check that something holds several things, and return them.

    Raises
    ------
    ConfigError
        If it is a single one; a text and bytes are.
    """
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise ConfigError(f"{what} is {_tell(value)}; a list of them is expected")
    return tuple(value)


def buffer(value: object, what: str) -> bytes:
    """Check that something is bytes, or an array of them, and return a copy.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ConfigError(f"{what} is {_tell(value)}; bytes are expected")
    return bytes(value)


def file_name(path: object, what: str) -> str:
    """Check that something names a file, and return the name.

    Raises
    ------
    ConfigError
        If it is no path.
    """
    try:
        name = os.fsdecode(cast("os.PathLike[str]", path))
    except TypeError:
        raise ConfigError(f"{what} is {_tell(path)}; a path is expected") from None
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        name = ""
    if not name or "\0" in name:
        raise ConfigError(f"{what} is {name!r}, which is no path")
    return name


def check_fields(value: object) -> None:
    """Check that each field of a dataclass holds what the class says, when one is made.

    Raises
    ------
    ConfigError
        If one does not.
    """
    kind: Any = type(value)
    for name, hint in _hints(kind).items():
        _check(getattr(value, name), hint, name)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(cast(Any, kind))}


def _check(value: object, hint: Any, name: str) -> None:
    kinds = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    if get_origin(kinds[0]) is tuple:
        inner = get_args(kinds[0])[0]
        for number, entry in enumerate(instance(value, tuple, name)):
            _check(entry, inner, f"{name}[{number}]")
        return
    # True is an integer to Python, and a mistake here.
    is_wrong_bool = isinstance(value, bool) and bool not in kinds
    if is_wrong_bool or not any(isinstance(value, kind) for kind in kinds):
        raise ConfigError(f"{name} is {_tell(value)}; {' or '.join(map(_name, kinds))} is expected")


def _name(kind: type) -> str:
    if kind is type(None):
        return "None"
    if issubclass(kind, Enum):
        return f"a {kind.__name__} such as {kind.__name__}.{list(kind)[-1].name}"
    words = {int: "an integer", str: "a string", bool: "True or False", bytes: "bytes"}
    return words.get(kind) or _article(kind.__name__)


def _tell(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _such(hint: str) -> str:
    return f", such as {hint}" if hint else ""
