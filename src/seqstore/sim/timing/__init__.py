"""Timing: how long a drive takes for what a log, or a store that updates in place, asks of it."""

from __future__ import annotations

from seqstore.sim.timing.drive import MEDIUM_OPERATION_DTYPE, Action, Service, TimedDrive
from seqstore.sim.timing.flash import MLC_NAND, Nand
from seqstore.sim.timing.hdd import HDD, HP_97560, ULTRASTAR_HC310, Mechanics, Seek
from seqstore.sim.timing.in_place import InPlace
from seqstore.sim.timing.latency import Latency, Meter, Performance
from seqstore.sim.timing.smr import SMR
from seqstore.sim.timing.ssd import SSD
from seqstore.sim.timing.zns import ZNS

__all__ = [
    "HDD",
    "HP_97560",
    "MEDIUM_OPERATION_DTYPE",
    "MLC_NAND",
    "SMR",
    "SSD",
    "ULTRASTAR_HC310",
    "ZNS",
    "Action",
    "InPlace",
    "Latency",
    "Mechanics",
    "Meter",
    "Nand",
    "Performance",
    "Seek",
    "Service",
    "TimedDrive",
]
