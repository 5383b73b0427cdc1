"""Looks for the content of files on a raw medium, whatever the ledger says: ``seqstore forensics``.

`search` needs no store, only bytes. It finds fragments without their header, at any alignment, in what is
live and in what was deleted alike. `find`, beside it, is what the ledger says: where bytes of an owner lie.
`locate` puts the two side by side.
"""

from seqstore.find import FIND_DTYPE, Scope, find
from seqstore.forensics.located import Located, Place, locate
from seqstore.forensics.report import FRAGMENT_DTYPE, FileReport, Report
from seqstore.forensics.search import search

__all__ = [
    "FIND_DTYPE",
    "FRAGMENT_DTYPE",
    "FileReport",
    "Located",
    "Place",
    "Report",
    "Scope",
    "find",
    "locate",
    "search",
]
