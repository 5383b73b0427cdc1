"""Tells a story twice: in sentences, and as Python that does the same calls."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from seqstore.testing.judge import Finding
from seqstore.testing.protocol import BlockStore, OptionalCalls

_MADE_BY = {"create_volume": "volume", "clone": "volume", "snapshot": "snapshot"}
_CALLS = {
    name
    for protocol in (BlockStore, OptionalCalls)
    for name, value in vars(protocol).items()
    if callable(value) and not name.startswith("_")
}


class Narrator:
    """Collects the story of one run.

    Attributes
    ----------
    sentences : list of str
        A sentence for each step that did something.
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self._calls: list[str] = []
        self._data: dict[bytes, str] = {}
        self._names: dict[Hashable, str] = {}
        self._made = 0

    def say(self, sentence: str) -> None:
        """Add a sentence."""
        self.sentences.append(sentence)

    def know(self, data: bytes, text: str) -> None:
        """Say how to write some data as Python."""
        self._data[data] = text

    def listen(self, store: BlockStore) -> BlockStore:
        """Return the store, with its calls written down."""
        listening: Any = _Listening(store, self)
        return listening  # type: ignore[no-any-return]

    def code(self, finding: Finding, block_size: int) -> str:
        """Return the calls as Python, with what the last one should have given."""
        calls = list(self._calls)
        if finding.expected and finding.place is not None and calls and calls[-1].startswith("store.read("):
            first, last = finding.place * block_size, (finding.place + 1) * block_size
            calls[-1] = f"data = {calls[-1]}\nassert data[{first}:{last}] == {finding.expected}"
        text = "\n".join(["store = factory()", *calls, f"# {finding.text}"])
        imports = (("contextlib", "suppress"), ("seqstore.testing.canary", "stamp"))
        lines = [f"from {module} import {name}\n\n" for module, name in imports if f"{name}(" in text]
        return "".join([*lines, text])

    def call(self, name: str, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Call the store and write that down."""
        written = [
            self._write(value) if i or isinstance(value, str) else self._names.get(value, repr(value))
            for i, value in enumerate(arguments)
        ]
        text = f"store.{name}({', '.join(written)})"
        try:
            result = method(*arguments)
        except Exception as error:
            self._calls.append(f"with suppress({_importable(error)}):\n    {text}")
            raise
        if name in _MADE_BY:
            self._made += 1
            variable = self._names[result] = f"{_MADE_BY[name]}_{self._made}"
            text = f"{variable} = {text}"
        self._calls.append(text)
        return result

    def _write(self, value: object) -> str:
        return self._data.get(value, repr(value)) if isinstance(value, bytes) else repr(value)


def _importable(error: Exception) -> str:
    """Return the nearest class of an error that Python has without an import."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


class _Listening:
    def __init__(self, store: BlockStore, narrator: Narrator) -> None:
        self._store = store
        self._narrator = narrator

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if name not in _CALLS or name == "close" or not callable(value):
            return value
        return lambda *arguments: self._narrator.call(name, value, arguments)
