"""The drive of version 2 that is kept: both readers open all blocks of it, and the engine writes it again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqstore._native.crypt import Cipher, system_crypto
from seqstore.format import BlockState, DriveImage, Kind, Seal, layout, read_image
from tests.attacker import LEVELS, hkdf, leaf_key
from tests.crash.core_store import CoreStore, secret_of
from tests.crash.ops import BLOCK
from tests.crash.world import difference
from tests.format import golden_v2
from tests.format.golden_v2 import OPENINGS, SEALINGS, GoldenCore
from tests.format.test_agreement import expect_agreement, shown_by
from tests.format.unsealing import unseal

HERE = Path(__file__).parent
GOLDEN = (HERE / "golden-v2.img").read_bytes()
PAGE = (HERE.parents[1] / "docs" / "reference" / "on-media-format.md").read_text("utf-8")
EXAMPLE = PAGE[PAGE.index("## A worked example of version 2") : PAGE.index("## References")]


@pytest.fixture(scope="module")
def image() -> DriveImage:
    return read_image(GOLDEN)


def sealed_blocks(image: DriveImage) -> list[tuple[Seal, int, int, int, bytes]]:
    """Seal, layer, lba, address and ciphertext of every block that any summary names."""
    found = []
    for record in image.records():
        summary = record.summary
        for (entry, mba), seal in zip(summary.placed(), summary.seals, strict=True):
            if entry.kind is Kind.DATA:
                assert seal is not None
                block = GOLDEN[mba * BLOCK : (mba + 1) * BLOCK]
                found.append((seal, entry.volume, entry.lba, mba, block))
    return found


def keys_in_the_page() -> list[bytes]:
    return [bytes.fromhex(found) for found in re.findall(r"\| `([0-9a-f]{64})` \|", EXAMPLE)]


def test_the_fields_in_the_page_are_in_the_file() -> None:
    rows = re.findall(r"^\| ([0-9a-f]{4}) \| `([0-9a-f ]+)` \| (\w+) \|", EXAMPLE, re.MULTILINE)
    assert [name for *_, name in rows] == [
        name
        for what in (layout.ENTRY, layout.SEAL)
        for name in what.offsets
        if not name.startswith("reserved")
    ]
    for at, packed, _ in rows:
        content = bytes.fromhex(packed)
        assert GOLDEN[int(at, 16) : int(at, 16) + len(content)] == content, at


def test_the_keys_in_the_page_open_the_blocks(image: DriveImage) -> None:
    """By HKDF and the cipher alone."""
    secret, key, first_secret, root, first_key = keys_in_the_page()
    by_address = {mba: (seal, lba, block) for seal, _, lba, mba, block in sealed_blocks(image)}
    (seal, lba, block), (first, _, first_block) = by_address[6], by_address[3]
    assert (secret, first_secret) == (secret_of(2), secret_of(1))
    assert key == hkdf(secret, b"seqstore blocks 1", seal.opening)
    assert root == hkdf(first_secret, b"seqstore leaves 1", first.opening)
    assert first_key == leaf_key((0, LEVELS, root), first.leaf - 1)
    for cipher_key, of, where, content, words in (
        (key, seal, (9, 2, 1), block, "two 1"),
        (first_key, first, (7, 1, 0), first_block, "one 0"),
    ):
        identity = b"".join(number.to_bytes(8, "little") for number in where)
        plain = bytearray(BLOCK)
        Cipher(system_crypto(), cipher_key).open(of.nonce, identity, content, of.tag, plain)
        assert plain == golden_v2.text(words)
    assert f"`{seal.nonce.hex()}`" in EXAMPLE
    assert f"`{block[:16].hex()}`" in EXAMPLE
    assert lba == 1


def open_golden() -> CoreStore:
    drive = golden_v2.blank()
    for mba in range(len(GOLDEN) // BLOCK):
        drive.overwrite(mba, GOLDEN[mba * BLOCK : (mba + 1) * BLOCK])
    return GoldenCore(sealing=1, read_only=1).open(drive)


def test_it_has_what_version_2_can_have(image: DriveImage) -> None:
    assert image.damage == ()
    assert image.version == 2
    assert image.state.opening == OPENINGS[1]
    assert not image.recovered.clean
    seals = [seal for seal, *_ in sealed_blocks(image)]
    assert {seal.opening for seal in seals} == set(SEALINGS)
    assert {(seal.key % 2, seal.leaf > 0) for seal in seals} == {(0, False), (1, True)}
    states = {image.block(mba).state for mba in range(len(GOLDEN) // BLOCK)}
    assert states >= {BlockState.LIVE, BlockState.DEAD, BlockState.SUMMARY, BlockState.FREE}
    kinds = {entry.kind for record in image.records() for entry in record.summary.entries}
    assert kinds >= {Kind.DATA, Kind.SNAPSHOT, Kind.CLONE, Kind.TRIM, Kind.OPENED, Kind.PAD}
    copies = [entry for record in image.records() for entry in record.summary.entries if entry.flags & 1]
    assert copies


def test_every_block_opens_as_what_was_written(image: DriveImage) -> None:
    """Residue, too: who has the keys can read it, which is what keys die for."""
    worlds = [shown for world in golden_v2.worlds() for shown in world.values()]
    written = {item for shown in worlds for item in shown.blocks.items()}
    tenants = {layer.number: layer.tenant for layer in image.layers}
    blocks = sealed_blocks(image)
    found = {(lba, unseal(seal, tenants[layer], layer, lba, block)) for seal, layer, lba, _, block in blocks}
    assert found <= written
    assert len(blocks) == len(found) == 10


def test_both_readers_show_what_was_written(image: DriveImage) -> None:
    expected = golden_v2.worlds()[-1]
    store = open_golden()
    assert difference(store.show(), expected) == ""
    assert difference(shown_by(image), expected) == ""
    expect_agreement(image, store, exact=True)
    store.check()
    store.abandon()


def test_the_bytes_say_nothing() -> None:
    words = {
        block[:5]
        for world in golden_v2.worlds()
        for shown in world.values()
        for block in shown.blocks.values()
    }
    assert len(words) > 4
    assert [word for word in words if word in GOLDEN] == []


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_engine_writes_it_again(attempt: int) -> None:
    assert golden_v2.make() == GOLDEN
