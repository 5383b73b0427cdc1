"""Small stores on files, and what tests do to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from seqstore import Snapshot, Store, UnwrittenError, Volume
from seqstore.keys import FileKey
from tests.small import BLOCK_SIZE, SEGMENT_SIZE

CAPACITY = 64 * SEGMENT_SIZE

# What a store shows: tenants, with volumes and snapshots by name: size and content.
Picture = dict[str, dict[tuple[str, str], tuple[int, bytes]]]


def create(path: Path, **options: Any) -> Store:
    options = {"block_size": BLOCK_SIZE, "segment_size": SEGMENT_SIZE, **options}
    return Store.create(path, CAPACITY, **options)


def root_key(file: Path) -> FileKey:
    """Make a file with a root key of its own, for its owner's eyes alone."""
    file.touch(0o600)
    file.write_bytes(os.urandom(32))
    return FileKey(file)


def crash(store: Store) -> None:
    """End a store as the end of its process would."""
    for member in store._fleet:
        member.engine.close()
    store._parts.catalog.close()
    if store._parts.encryption is not None:
        store._parts.encryption.close()
    for member in [*store._fleet, *store._parts.spare]:
        member.close_medium()


def reopen(store: Store, path: Path, **options: Any) -> Store:
    crash(store)
    return Store.open(path, **options)


def picture(store: Store) -> Picture:
    """Everything that the tenants of a store can see."""

    def show(view: Volume | Snapshot) -> tuple[int, bytes]:
        try:
            return view.size, view.read(0, view.size)
        except UnwrittenError as error:
            return view.size, str(error.offset).encode()

    def key(snapshot: Snapshot) -> tuple[str, str]:
        return f"snapshot of {snapshot.volume_number}", snapshot.name

    return {
        tenant.name: {
            **{("volume", volume.name): show(volume) for volume in tenant.volumes},
            **{key(snapshot): show(snapshot) for snapshot in tenant.snapshots},
        }
        for tenant in store.tenants
    }
