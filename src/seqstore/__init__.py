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
from seqstore.clock import Clock, ManualClock, SystemClock
from seqstore.deletion import CryptographicErase, Deadline, Lap, Now, Plan, Purge
from seqstore.drive import Drive
from seqstore.drive_facts import DriveFacts
from seqstore.drive_life import DriveAct, DriveState, DriveStory
from seqstore.errors import (
    AccessError,
    AuditError,
    BadBlockError,
    BoundError,
    CertificateError,
    ClosedError,
    ConfigError,
    ContradictionError,
    CorruptionError,
    DriveStateError,
    EvidenceError,
    FormatError,
    InvariantError,
    LostWritesError,
    MediumError,
    NotFoundError,
    OutOfSpaceError,
    SeqstoreError,
    SequentialWriteError,
    SignatureError,
    StatementError,
    SweepError,
    TraceError,
    UnwrittenError,
    VersionError,
)
from seqstore.find import FIND_DTYPE
from seqstore.losses import Loss
from seqstore.media import TAG_DTYPE, CallsMedium, FileMedium, MediumCalls, MemoryMedium, TagsMedium
from seqstore.moving import Progress
from seqstore.recovery import Recovery
from seqstore.scrub import Damage, Scrub, ScrubReport
from seqstore.snapshot import Snapshot
from seqstore.stats import Remanence, Stats
from seqstore.store import Store
from seqstore.tenants import Tenant
from seqstore.version import __version__
from seqstore.volume import Reach, Volume
from seqstore.volume_io import VolumeIO

__all__ = [
    "EXTENT_DTYPE",
    "FIND_DTYPE",
    "LEDGER_DTYPE",
    "NO_ADDRESS",
    "SEGMENT_DTYPE",
    "TAG_DTYPE",
    "AccessError",
    "AuditError",
    "BadBlockError",
    "BlockState",
    "BoundError",
    "CallsMedium",
    "CertificateError",
    "Clock",
    "ClosedError",
    "ConfigError",
    "ContradictionError",
    "CorruptionError",
    "CryptographicErase",
    "Damage",
    "Deadline",
    "Drive",
    "DriveAct",
    "DriveFacts",
    "DriveState",
    "DriveStateError",
    "DriveStory",
    "EvidenceError",
    "FileMedium",
    "FormatError",
    "InvariantError",
    "Lap",
    "Loss",
    "LostWritesError",
    "ManualClock",
    "MediumCalls",
    "MediumError",
    "MemoryMedium",
    "NotFoundError",
    "Now",
    "OutOfSpaceError",
    "Plan",
    "Progress",
    "Purge",
    "Reach",
    "Recovery",
    "Remanence",
    "Scrub",
    "ScrubReport",
    "SegmentState",
    "SeqstoreError",
    "SequentialWriteError",
    "SignatureError",
    "Snapshot",
    "StatementError",
    "Stats",
    "Store",
    "SweepError",
    "SystemClock",
    "TagsMedium",
    "Tenant",
    "TraceError",
    "UnwrittenError",
    "VersionError",
    "Volume",
    "VolumeIO",
    "__version__",
]
