"""``python -m seqstore.testing.bugs``: which bugs the kit finds, and how fast."""

from __future__ import annotations

import sys

from seqstore.testing.bugs.table import main

if __name__ == "__main__":
    sys.exit(main())
