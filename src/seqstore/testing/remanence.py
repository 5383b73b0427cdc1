"""Looks for deleted bytes on raw media."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seqstore.testing.canary import find, find_once
from seqstore.testing.judge import Finding, Judge
from seqstore.testing.model import Model
from seqstore.testing.protocol import AdapterError, signature_of


def scan(model: Model, judge: Judge, media: Any, *, nonce: int) -> bool:
    """Compare raw media with what may still lie there.

    Parameters
    ----------
    model : Model
        What must be there.
    judge : Judge
        Knows names.
    media : iterable of bytes-like
        What `media` returned behind a purge.
    nonce : int
        Of this run.

    Returns
    -------
    bool
        Whether any living block was recognised: media that are compressed or encrypted show none.

    Raises
    ------
    Finding
        If bytes of a dead version lie there.
    AdapterError
        If it is no iterable of bytes-like objects.
    """
    found = find_once(_checked(media), nonce=nonce)
    live = {canary for _, canary in find(b"".join(model.live_blocks()))}
    dead = [(at, canary) for canary, at in found.items() if canary not in live]
    if not dead:
        return bool(found)
    at, canary = min(dead, key=lambda one: one[0])
    tenant = model.everybody.get(canary.tenant)
    raise Finding(
        "remanence",
        f"purge() returned, and the media still hold, at byte {at}, deleted {judge.name(canary)}",
        owner=tenant.name if tenant else None,
        volume=canary.volume,
        lba=canary.lba,
        media_offset=at,
    )


def _checked(media: Any) -> Iterable[bytes]:
    asked = f"the protocol asks for {signature_of('media')}"
    if isinstance(media, str | bytes | bytearray | memoryview) or not isinstance(media, Iterable):
        raise AdapterError(f"media() returned {type(media).__name__}; {asked}, such as [image]")
    for piece in media:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise AdapterError(f"media() gave a piece of type {type(piece).__name__}; {asked}")
        yield bytes(piece)
