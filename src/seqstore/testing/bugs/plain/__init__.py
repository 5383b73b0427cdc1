"""A small correct block store in plain Python, made to be read and to be broken.

It is log-structured: every change is appended to a log that goes round a small medium, and a cleaner keeps
room in front of the log's head. One file holds one part, in the order in which to read them:

===============  =======================================================================================
``geometry``     how big everything is
``medium``       the bytes, and what a crash does to them
``record``       what one place on the medium looks like: header, checksum, payload
``blockmap``     where the blocks of one layer lie
``state``        tenants' volumes and snapshots as layers over each other; the notes that change them
``log``          which segment is written next, and the appending itself
``buffers``      writes that wait, and reads that are remembered
``reading``      from a volume's address to bytes
``cleaner``      moves what is live out of the way
``checkpoint``   the state as a whole on the medium
``recovery``     from the medium back to the state
``purge``        what was deleted goes from the medium as well
``store``        puts the parts together behind the protocol
``keyed``        the same store with a key for each layer, whose loss deletes
===============  =======================================================================================

What always holds: the live blocks are those that a volume or snapshot shows; a segment is written again only
after a checkpoint that does not need it; each record is on the medium whole or does not count.
"""

from seqstore.testing.bugs.plain.keyed import KeyedStore
from seqstore.testing.bugs.plain.store import Parts, PlainStore

__all__ = ["KeyedStore", "Parts", "PlainStore"]
