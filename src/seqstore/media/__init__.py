"""Media: the bytes and their rules. A medium takes appends at its zones' write pointers and nothing else."""

from seqstore.media.calls import CallsMedium, MediumCalls
from seqstore.media.file import FileMedium
from seqstore.media.memory import MemoryMedium
from seqstore.media.tags import TAG_DTYPE, TagsMedium

__all__ = ["TAG_DTYPE", "CallsMedium", "FileMedium", "MediumCalls", "MemoryMedium", "TagsMedium"]
