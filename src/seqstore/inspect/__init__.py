"""What ``seqstore inspect`` shows of a drive: collected from its bytes, as text or JSON.

Needs `seqstore.format` and the standard library alone.
"""

from seqstore.inspect.facts import Facts, collect
from seqstore.inspect.text import render

__all__ = ["Facts", "collect", "render"]
