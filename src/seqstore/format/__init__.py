"""A second reader of the medium, in plain Python: the witness.

It shares no code with the engine and imports nothing native. The engine writes, this package reads, and
what they say must agree; it works without the engine too, and on drives that the engine refuses.
``docs/reference/on-media-format.md`` is the specification of what it reads.

=============  ===================================================================
module         holds
=============  ===================================================================
`crc32c`       the checksum
`layout`       fields, offsets, limits
`summary`      the head of a record and its entries
`checkpoint`   the stream of a checkpoint
`ledger`       what each block is
`state`        volumes, layers and ledger, and how they change together
`replay`       the effect of each entry
`medium`       bytes of a file, an image or anything else; sizes of a drive
`recovery`     the steps of recovery
`image`        all of it together, for callers
`views`        what it hands out
=============  ===================================================================
"""

from seqstore.format.checkpoint import Checkpoint, parse_checkpoint
from seqstore.format.crc32c import crc32c
from seqstore.format.image import DriveImage, read_image
from seqstore.format.layout import FORMAT_VERSION, SEALED_VERSION, Geometry
from seqstore.format.ledger import BlockState
from seqstore.format.seals import Seal
from seqstore.format.summary import Entry, Kind, Summary, parse_summary
from seqstore.format.views import BlockInfo, Damage, Extent, RecordInfo, VolumeImage

__all__ = [
    "FORMAT_VERSION",
    "SEALED_VERSION",
    "BlockInfo",
    "BlockState",
    "Checkpoint",
    "Damage",
    "DriveImage",
    "Entry",
    "Extent",
    "Geometry",
    "Kind",
    "RecordInfo",
    "Seal",
    "Summary",
    "VolumeImage",
    "crc32c",
    "parse_checkpoint",
    "parse_summary",
    "read_image",
]
