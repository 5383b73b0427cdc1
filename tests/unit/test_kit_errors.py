"""What an adapter is told that does not keep to the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seqstore.testing import AdapterError, Capabilities, check_isolation
from seqstore.testing.protocol import signature_of
from tests.unit.test_kit_checks import DictStore

ONE_STORE = DictStore()


def with_method(name: str, value: Any) -> Callable[[], Any]:
    return type("Wrong", (DictStore,), {name: value})


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: None, "must return the store"),
        (lambda: DictStore, "not the class"),
        (object, "create_volume.*tenant: str, blocks: int"),
        (with_method("block_size", 512.0), "block_size is 512.0"),
        (with_method("block_size", 16), "from 32"),
        (with_method("read", lambda self, volume: b""), r"read\(volume, lba: int, count: int\) -> bytes"),
        (with_method("read", lambda self, volume, lba, count: bytes(count)), "count \\* block_size = "),
        (with_method("read", lambda self, volume, lba, count: bytearray(512 * count)), "return bytes"),
        (with_method("read", lambda self, volume, lba, count: None), "NoneType"),
        (with_method("create_volume", lambda self, tenant, blocks: None), "handle"),
        (with_method("create_volume", lambda self, tenant, blocks: [1]), "handle"),
        (with_method("flush", 3), "flush is 3.*flush\\(\\) -> None"),
        (with_method("clone", lambda self, snapshot, tenant: 1), "no snapshot"),
        (with_method("boundaries", (0,)), "boundaries is"),
        (lambda: ONE_STORE, "same store twice"),
        (with_method("atomic_blocks", "8"), "atomic_blocks is '8'"),
    ],
)
def test_messages(factory: Callable[[], Any], message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        check_isolation(factory, seed=1, max_examples=5)


@pytest.mark.parametrize("media", [lambda self: b"image", lambda self: 5, lambda self: ["text"]])
def test_media(media: Callable[[Any], Any]) -> None:
    factory = type("Wrong", (DictStore,), {"media": media, "purge": lambda self: None})
    with pytest.raises(AdapterError, match=r"media\(\).*Iterable"):
        check_isolation(factory, seed=1)


def test_capabilities() -> None:
    found = Capabilities.of(DictStore())
    assert not found.crash
    assert Capabilities.of(with_method("crash", lambda self: None)()).crash


def test_signatures_are_those_of_the_protocol() -> None:
    assert signature_of("write") == "write(volume, lba: int, data: bytes) -> None"
    assert signature_of("clone") == "clone(snapshot, tenant: str) -> Hashable"
