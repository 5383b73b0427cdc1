"""What does ``import seqstore`` cost on top of ``import numpy``?"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.side_by_side import Result, Session

ROUNDS = 15
CODE = """
import time
import numpy
start = time.perf_counter()
import seqstore
print(time.perf_counter() - start)
"""


def test_import(side_by_side: Session) -> None:
    seconds = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout))
    result = Result(
        question="import seqstore, after numpy", unit="ms (less is better)", ours="seqstore",
        against="50 ms", to_reach=1.0,
    )  # fmt: skip
    result.rates = {"seqstore": [second * 1e3 for second in seconds], "50 ms": [50.0]}
    side_by_side.results.append(result)
    assert statistics.median(seconds) > 0
