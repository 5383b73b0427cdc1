"""``python -m seqstore`` does what the command ``seqstore`` does."""

from __future__ import annotations

import sys

from seqstore.cli import main

sys.exit(main())
