"""Media: the bytes and their rules. A medium takes appends at its zones' write pointers and nothing else."""

from seqstore.media.memory import MemoryMedium
from seqstore.media.tags import TAG_DTYPE, TagsMedium

__all__ = ["TAG_DTYPE", "MemoryMedium", "TagsMedium"]
