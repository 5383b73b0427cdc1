"""Repeats a power cut, or tries many: ``python -m tests.crash WORKLOAD [PATH | --seed SEED --again N]``."""

from __future__ import annotations

import argparse
import sys

from tests.crash.explore import CrashError, Effort, Explorer, parse_path
from tests.crash.workloads import NAMES, workload


def main() -> int:
    """Run what the command line asks for; 1 if a store came back wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("workload", choices=NAMES)
    parser.add_argument("path", nargs="?", help="the cuts of a failure, as its message gives them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", type=int, default=Effort().again, help="second cuts after each first one")
    options = parser.parse_args()
    chosen = workload(options.workload)
    explorer = Explorer(chosen.core, chosen.shape, chosen.script.ops)
    try:
        if options.path:
            explorer.replay(parse_path(options.path))
            print("the store came back as it should")  # noqa: T201
        else:
            print(explorer.explore(Effort(again=options.again), options.seed))  # noqa: T201
    except CrashError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
