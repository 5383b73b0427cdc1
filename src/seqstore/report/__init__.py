"""Pictures for people: of a store, :mod:`seqstore.report.drive_map`; of replays, :mod:`seqstore.report.page`.

Everything here looks at stores and results through their public classes and changes nothing. The packages
that draw (matplotlib, rich) belong to the extra ``cli`` and are imported where they are used.
"""

from seqstore.report.drive_map import DriveMap, draw_drive_map, format_bytes, render_terminal
from seqstore.report.palette import Kind

__all__ = ["DriveMap", "Kind", "draw_drive_map", "format_bytes", "render_terminal"]
