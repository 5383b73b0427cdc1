"""Pictures of a store for people: see :mod:`seqstore.report.drive_map`.

Everything here looks at a store through its public classes and changes nothing. The packages that draw
(matplotlib, rich) belong to the extra ``cli`` and are imported by the functions that use them.
"""

from seqstore.report.drive_map import DriveMap, draw_drive_map, format_bytes, render_terminal
from seqstore.report.palette import Kind

__all__ = ["DriveMap", "Kind", "draw_drive_map", "format_bytes", "render_terminal"]
