r"""A log-structured block store whose tenants cannot read each other, and which knows where every byte is.

>>> import seqstore
>>> with seqstore.Store.memory("16MiB") as store:
...     volume = store.create_tenant("contoso").create_volume("vm-disk", "4MiB")
...     volume.write(5, b"hello")
...     volume.read(0, 10)
5
b'\x00\x00\x00\x00\x00hello'
"""

from seqstore._native.records import (
    EXTENT_DTYPE,
    LEDGER_DTYPE,
    NO_ADDRESS,
    SEGMENT_DTYPE,
    BlockState,
    SegmentState,
)
from seqstore.drive import Drive
from seqstore.errors import (
    ClosedError,
    ConfigError,
    CorruptionError,
    FormatError,
    InvariantError,
    MediumError,
    NotFoundError,
    OutOfSpaceError,
    SeqstoreError,
    SequentialWriteError,
    UnwrittenError,
)
from seqstore.media import TAG_DTYPE, MemoryMedium, TagsMedium
from seqstore.stats import Remanence, Stats
from seqstore.store import Store
from seqstore.tenants import Tenant
from seqstore.volume import Volume
from seqstore.volume_io import VolumeIO

__version__ = "0.1.0"

__all__ = [
    "EXTENT_DTYPE",
    "LEDGER_DTYPE",
    "NO_ADDRESS",
    "SEGMENT_DTYPE",
    "TAG_DTYPE",
    "BlockState",
    "ClosedError",
    "ConfigError",
    "CorruptionError",
    "Drive",
    "FormatError",
    "InvariantError",
    "MediumError",
    "MemoryMedium",
    "NotFoundError",
    "OutOfSpaceError",
    "Remanence",
    "SegmentState",
    "SeqstoreError",
    "SequentialWriteError",
    "Stats",
    "Store",
    "TagsMedium",
    "Tenant",
    "UnwrittenError",
    "Volume",
    "VolumeIO",
    "__version__",
]
