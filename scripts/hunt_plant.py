"""Runs the isolation kit on the C core that is imported, which has a bug planted in it.

    PYTHONPATH=FOLDER/lib python scripts/hunt_plant.py NAME MEDIUM SEED...

Prints a line of JSON for each seed. Run by scripts/plants.py, in a process of its own: a planted bug may
end it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from seqstore._native import _core
from seqstore.testing import IsolationViolation, check_isolation
from seqstore.testing.adapters import SeqstoreAdapter, faulty, memory

FACTORIES: dict[str, Callable[[int], Callable[[], SeqstoreAdapter]]] = {
    "memory": lambda _: memory(),
    "faulty": faulty,
}


def hunt(medium: str, seed: int) -> dict[str, object]:
    """Run the kit with its default budget and say what it found."""
    try:
        report = check_isolation(FACTORIES[medium](seed), seed=seed)
    except IsolationViolation as found:
        return {
            "seed": seed,
            "kind": found.kind,
            "steps": found.steps,
            "seconds": found.seconds,
            "story": found.story,
        }
    return {"seed": seed, "kind": None, "steps": report.steps, "seconds": report.seconds, "story": ()}


def main(name: str, medium: str, seeds: list[str]) -> int:
    """Hunt with each seed, if the core is the planted one."""
    core = _core.__file__
    if f"SEQSTORE_PLANT={name}\0".encode() not in Path(core).read_bytes():
        print(f"{core} was not built with SEQSTORE_PLANT={name}. Is PYTHONPATH set?", file=sys.stderr)
        return 1
    for seed in seeds:
        print(json.dumps(hunt(medium, int(seed))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
