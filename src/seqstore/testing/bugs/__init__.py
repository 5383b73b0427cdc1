"""A correct store, and variants of it with one bug each that the kit has to find.

Each bug is a class that replaces one part of the store in `seqstore.testing.bugs.plain`, with one or two
methods changed; its docstring says in a sentence what is wrong. Its name is that of the class, with hyphens::

    from seqstore.testing import bugs, check_isolation

    check_isolation(bugs.store("plain"))                    # the correct one
    check_isolation(bugs.store("trim-rounded-outward"))     # raises IsolationViolation
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from seqstore.testing.bugs import buffers, cleaning, layers, mapping, recovery
from seqstore.testing.bugs.plain import KeyedStore, Parts, PlainStore

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CORRECT", "describe", "families", "names", "store"]

CORRECT = MappingProxyType({"plain": PlainStore, "keyed": KeyedStore})

_FAMILIES = {
    "mapping and allocation": mapping.BUGS,
    "reads and buffers": buffers.BUGS,
    "resize, snapshot and clone": layers.BUGS,
    "cleaning and the log": cleaning.BUGS,
    "crash, recovery and deletion": recovery.BUGS,
}


def _name(bug: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", bug.__name__).lower()


_BUGS: dict[str, type] = {_name(bug): bug for family in _FAMILIES.values() for bug in family}


def families() -> Mapping[str, tuple[str, ...]]:
    """Return the names of the bugs by family."""
    return {family: tuple(_name(bug) for bug in found) for family, found in _FAMILIES.items()}


def names() -> tuple[str, ...]:
    """Return the names of all bugs, family by family."""
    return tuple(_BUGS)


def describe(name: str) -> str:
    """Return the sentence that says what is wrong.

    Raises
    ------
    LookupError
        If there is no bug of that name.
    """
    return (_find(name).__doc__ or "").strip()


def store(name: str) -> Callable[[], PlainStore]:
    """Return the factory of a store.

    Parameters
    ----------
    name : str
        A bug, or ``"plain"`` or ``"keyed"`` for one of the correct stores.

    Returns
    -------
    Callable
        What `check_isolation` takes: a fresh store with each call.

    Raises
    ------
    LookupError
        If there is no bug of that name.
    """
    bug = CORRECT.get(name) or _find(name)
    return bug if issubclass(bug, PlainStore) else partial(PlainStore, Parts().with_part(bug))


def _find(name: str) -> type:
    if name not in _BUGS:
        raise LookupError(f"there is no bug {name!r}; the names are {', '.join(_BUGS)}")
    return _BUGS[name]
