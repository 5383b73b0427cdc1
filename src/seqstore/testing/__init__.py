"""The isolation kit: points at a block store, and finds the tenant whose byte got out.

`check_isolation` and its kin are plain functions. What needs Hypothesis is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqstore.testing.checks import check_deletion, check_durability, check_isolation
from seqstore.testing.judge import KINDS
from seqstore.testing.protocol import AdapterError, BlockStore, Capabilities, OptionalCalls
from seqstore.testing.report import IsolationViolation, Report

if TYPE_CHECKING:
    from seqstore.testing.machine import isolation_machine

__all__ = [
    "KINDS",
    "AdapterError",
    "BlockStore",
    "Capabilities",
    "IsolationViolation",
    "OptionalCalls",
    "Report",
    "check_deletion",
    "check_durability",
    "check_isolation",
    "isolation_machine",
]

# What needs packages that the kit itself does without.
_LATER = {"isolation_machine": "seqstore.testing.machine"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
