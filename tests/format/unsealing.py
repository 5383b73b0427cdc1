"""Opens blocks of encrypted drives by what the page on keys says, and nothing of the engine's."""

from __future__ import annotations

from functools import lru_cache

from seqstore._native.crypt import Cipher, system_crypto
from seqstore.format import DriveImage, Seal, VolumeImage
from tests.attacker import LEVELS, hkdf, leaf_key
from tests.crash.core_store import secret_of


@lru_cache(maxsize=256)
def cipher_of(key: int, opening: int, leaf: int) -> Cipher:
    """The key of blocks, or of one: from HKDF-SHA-256 of the epoch's key, by RFC 5869."""
    secret = secret_of(key)
    if leaf == 0:
        return Cipher(system_crypto(), hkdf(secret, b"seqstore blocks 1", opening))
    root = hkdf(secret, b"seqstore leaves 1", opening)
    return Cipher(system_crypto(), leaf_key((0, LEVELS, root), leaf - 1))


def unseal(seal: Seal, tenant: int, layer: int, lba: int, block: bytes) -> bytes:
    """Open one block."""
    identity = b"".join(number.to_bytes(8, "little") for number in (tenant, layer, lba))
    plain = bytearray(len(block))
    cipher_of(seal.key, seal.opening, seal.leaf).open(seal.nonce, identity, block, seal.tag, plain)
    return bytes(plain)


def blocks_of(image: DriveImage, volume: VolumeImage, seals: dict[int, Seal]) -> dict[int, bytes]:
    """What a volume shows, block by block; opened, where there are seals."""
    blocks = {}
    for lba, mba in volume.mapped().items():
        block = volume.read(lba)
        if mba in seals:
            info = image.block(mba)
            block = unseal(seals[mba], info.tenant, info.layer, lba, block)
        blocks[lba] = block
    return blocks
