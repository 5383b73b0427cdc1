"""Canonical JSON: one sequence of bytes for one value, so that hashes and signatures of it mean something.

Objects with keys in the order of their code points, no white space, UTF-8 without needless escapes; values
are strings, integers, booleans, null, lists and objects. Fractions are left out: their text is not the same
everywhere.

References
----------
RFC 8259, "The JavaScript Object Notation (JSON) Data Interchange Format"; RFC 8785, "JSON Canonicalization
Scheme", of which this is the part without fractions, and with integers of any size.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

from seqstore.errors import ConfigError, FormatError

NO_DIGEST = "0" * 64
"""Stands where a digest is expected and there is nothing before."""


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a value.

    Raises
    ------
    ConfigError
        If it holds what canonical JSON does not: fractions, keys that are no strings, lone surrogates, other
        types.
    """
    _check(value, "the value")
    try:
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:
        raise ConfigError("a string holds half of a surrogate pair; whole characters are expected") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the value cannot be written as JSON: {error}") from error


def decode(data: bytes | str) -> Any:
    """Read JSON of which only one meaning is possible.

    Raises
    ------
    FormatError
        If it is no JSON, or holds a key twice, a fraction, or what is no number.
    ConfigError
        If it is no text at all.
    """
    if not isinstance(data, str | bytes | bytearray):
        raise ConfigError(f"what is to be read is of type {type(data).__name__}; JSON text is expected")
    try:
        return json.loads(
            data, object_pairs_hook=_pairs, parse_float=_refuse_number, parse_constant=_refuse_number
        )
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"what was read is no JSON: {error}") from error


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _check(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if type(key) is not str:
                raise ConfigError(f"{where} has the key {key!r}; strings are expected")
            _check(inner, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            _check(inner, f"{where}[{number}]")
    elif value is not None and type(value) not in {str, int, bool}:
        raise ConfigError(
            f"{where} is of type {type(value).__name__}; strings, integers, booleans, None, lists and"
            " dictionaries of them are expected"
        )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise FormatError("an object of the JSON text has a key twice; each may stand there once")
    return values


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"the JSON text holds the number {text}; integers alone are expected")
