"""Results of finished runs, kept in a folder until the rest of a sweep is done."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqstore
from seqstore.errors import ConfigError
from seqstore.sim.operations import Source
from seqstore.sim.result import RunResult
from seqstore.sim.timing import TimedDrive

_AT_ONCE = 1 << 22


class Kept:
    """A folder with one file for each run that is over: its result, as `RunResult.to_json` writes it.

    Parameters
    ----------
    folder : Path
        Made if it is missing. Several sweeps may use it at the same time.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ConfigError(f"{folder} is no folder; results are kept in one, a file each") from None
        self._folder = folder

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def load(self, key: str) -> RunResult | None:
        """Return what a run found, or None if it was not kept.

        Raises
        ------
        ConfigError
            If its file holds something else.
        """
        file = self._file(key)
        try:
            return RunResult.from_json(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ConfigError, IsADirectoryError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{file}: {error}; remove the file to have it run again") from error

    def save(self, key: str, result: RunResult) -> None:
        """Keep what a run found: after a crash the file is there as a whole, or not at all."""
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=f".{key}.", suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(result.to_json())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._file(key))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def run_key(source: NDArray[Any] | Source, options: Mapping[str, Any]) -> str:
    """Return what a run is known by: equal for runs that give equal results, whoever asks and when.

    Parameters
    ----------
    source : array of int or Source
        An array and a file go in by their content, other sources by their name and parameters.
    options : mapping
        All arguments of `replay`, defaults included.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits. The version of this library goes in too.

    Raises
    ------
    ConfigError
        If the source or an option can be changed without this noticing.
    """
    content = {"version": seqstore.__version__, "source": _identify(source), "options": options}
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _identify(source: NDArray[Any] | Source) -> Any:
    if isinstance(source, np.ndarray):
        content = np.ascontiguousarray(source, "<u8")
        return {"writes": len(content), "sha256": hashlib.sha256(content.data).hexdigest()}
    parameters = dict(source.parameters)
    path = getattr(source, "path", None)
    if path is not None:
        # Where a file lies is no part of what it holds, nor of what a replay of it finds.
        status = Path(path).stat()
        parameters["path"] = _digest(Path(path), status.st_size, status.st_mtime_ns)
    return {"type": _full_name(type(source)), "name": source.name, "parameters": parameters}


@lru_cache(maxsize=4096)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    """Return the SHA-256 of a file, reading it again only if it has changed."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_AT_ONCE):
            state.update(piece)
    return state.hexdigest()


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does, always the same."""
    found: Any
    if isinstance(value, np.generic):
        found = value.item()
    elif isinstance(value, Mapping):
        found = dict(value)
    elif isinstance(value, os.PathLike):
        found = os.fspath(value)
    elif isinstance(value, TimedDrive):
        found = [_full_name(type(value)), value.parameters]
    elif isinstance(value, FunctionType):
        found = _identify_function(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        found = [_full_name(type(value)), fields]
    else:
        raise ConfigError(
            f"a run with {value!r} cannot be known again: whether that has changed cannot be told; sweep"
            " without a path"
        )
    return found


def _identify_function(function: FunctionType) -> list[Any]:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = ""
    # Of several functions without a name in one line, the text is the same.
    if not text or function.__closure__ or function.__name__ == "<lambda>":
        raise ConfigError(
            f"a run with {function!r} cannot be known again: its text, or what it holds, cannot be read;"
            " sweep without a path, or use a function of a file that has a name and holds nothing"
        )
    defaults = [function.__defaults__, function.__kwdefaults__]
    return [_full_name(function), hashlib.sha256(text.encode()).hexdigest(), defaults]


def _full_name(named: type | FunctionType) -> str:
    return f"{named.__module__}.{named.__qualname__}"
