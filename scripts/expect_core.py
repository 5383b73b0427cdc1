"""Fails unless the C core that is imported is the one in a given folder and was built as asked.

    python scripts/expect_core.py FOLDER SYMBOL...

A run under sanitizers or with coverage is worth nothing when it tests the ordinary core by mistake.
"""

import sys
from pathlib import Path

from seqstore._native import _core


def main(folder: str, symbols: list[str]) -> int:
    """Compare the imported core with what was expected; 0 if it is that, 1 if not."""
    core = Path(_core.__file__).resolve()
    if not core.is_relative_to(Path(folder).resolve()):
        print(f"The core in use is {core}, expected one in {folder}. Is PYTHONPATH set?", file=sys.stderr)
        return 1
    image = core.read_bytes()
    missing = [symbol for symbol in symbols if symbol.encode() not in image]
    if missing:
        print(f"{core} does not mention {', '.join(missing)}: built without its flags?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
