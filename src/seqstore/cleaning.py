"""Cleaning policies by name: which segment is cleaned next, and where its live blocks, and new ones, go.

The two are independent of each other: any selection works with any placement, on every medium. The C core has
those that are named here; a selection or placement of the caller's own is a Python function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seqstore._native.policies import PolicyCalls
from seqstore.errors import ConfigError
from seqstore.units import integer, real, unsigned

SELECTIONS = (
    "fifo",
    "greedy",
    "cost_benefit",
    "cost_benefit_sqrt",
    "d_choices",
    "windowed_greedy",
    "random_greedy",
)
PLACEMENTS = (
    "single",
    "separate",
    "dac",
    "sepbit",
    "multilog",
    "by_tenant",
    "by_volume",
    "oracle",
)
CLASSES_MAX = 64
CLASSES = 6
CUSTOM = "custom"
"""Stands in catalogs for a function."""

SelectionFunction: TypeAlias = Callable[[NDArray[np.void]], int]
"""A selection of one's own: called once a segment that is cleaned, with `SEGMENT_TABLE_DTYPE`[n], the
segments that may be cleaned; returns the index of the one that will be."""

PlacementFunction: TypeAlias = Callable[[NDArray[np.void]], "NDArray[np.integer[Any]]"]
"""A placement of one's own: called once a batch, with `PLACING_DTYPE`[n], blocks that are to be placed;
returns the class of each, n integers from 0 to below `classes`."""

Selection: TypeAlias = "str | SelectionFunction"
Placement: TypeAlias = "str | PlacementFunction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is cleaned next, and where blocks go.

    Parameters
    ----------
    selection : str or callable
        ``"fifo"``: the segment that was sealed first: the circular log. ``"greedy"``: the one with the fewest
        live blocks. ``"cost_benefit"``: the largest (1-u) age / (1+u), u being the share of live blocks [1]_.
        ``"cost_benefit_sqrt"``: the largest (1-u) sqrt(age) / u. ``"d_choices"``: the emptiest of `choices`
        drawn at random [2]_. ``"windowed_greedy"``: the emptiest of the share `window` of segments that was
        sealed first [3]_. ``"random_greedy"``: the emptiest of a fifth, drawn at random.
    placement : str or callable
        ``"single"``: all blocks to one open segment. ``"separate"``: what users write apart from what the
        cleaner moves. ``"dac"``: a class up at each write, one down at each move [4]_. ``"sepbit"``: by
        inferred lifespan [5]_. ``"multilog"``: by update frequency [6]_. ``"by_tenant"``, ``"by_volume"``:
        a class each, modulo `classes`. ``"oracle"``: by the time until a block will be written next, which
        only a replay knows.
    classes : int
        Segments that are open at once, for the placements that leave it open: 1 to 64.
    choices : int
        Segments that ``"d_choices"`` draws.
    window : float
        Share of the sealed segments that ``"windowed_greedy"`` considers, above 0 and up to 1.
    seed : int
        For the choices that are drawn.

    Raises
    ------
    ConfigError
        If a name is unknown, or a number outside its range.

    References
    ----------
    .. [1] Rosenblum and Ousterhout, "The design and implementation of a log-structured file system", SOSP
       1991.
    .. [2] Van Houdt, "A mean field model for a class of garbage collection algorithms in flash-based solid
       state drives", SIGMETRICS 2013.
    .. [3] Hu et al., "Write amplification analysis in flash-based solid state drives", SYSTOR 2009.
    .. [4] Chiang, Lee and Chang, "Using data clustering to improve cleaning performance for flash memory",
       1999.
    .. [5] Wang et al., "Separating data via block invalidation time inference for write amplification
       reduction in log-structured storage", FAST 2022.
    .. [6] Stoica and Ailamaki, "Improving flash write performance by using update frequency", VLDB 2013.
    """

    selection: Selection = "fifo"
    placement: Placement = "single"
    classes: int = CLASSES
    choices: int = 10
    window: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_policy(self.selection, self.placement)
        for name, number in (
            ("classes", unsigned(self.classes, "classes")),
            ("choices", unsigned(self.choices, "choices")),
            ("window", real(self.window, "window")),
            ("seed", integer(self.seed, "seed")),
        ):
            # A number of another library's type is one of Python's from here on.
            object.__setattr__(self, name, number)
        least = 4 if self.placement == "sepbit" else 1
        if not least <= self.classes <= CLASSES_MAX:
            raise ConfigError(
                f"classes is {self.classes}; {self.placement!r} works with {least} to {CLASSES_MAX}"
            )
        if not 1 <= self.choices < 2**32:
            raise ConfigError(f"choices is {self.choices}; 1 to 2**32 - 1 segments are drawn")
        if not 0 < self.window <= 1:
            raise ConfigError(f"window is {self.window}; it is a share of the segments, above 0 and up to 1")

    @property
    def class_count(self) -> int:
        """Segments that are open at once."""
        known = {"single": 1, "separate": 2}
        return known.get(self.placement, self.classes) if isinstance(self.placement, str) else self.classes

    @property
    def spare_segments(self) -> int:
        """Free segments that the cleaner needs: one for each class to which it moves blocks."""
        if self.placement in {"single", "separate"}:
            return 1
        return self.classes - 2 if self.placement == "sepbit" else self.classes

    @property
    def selection_name(self) -> str:
        """The name, of a function its own."""
        return _name(self.selection)

    @property
    def placement_name(self) -> str:
        """The name, of a function its own."""
        return _name(self.placement)

    def calls(self) -> PolicyCalls | None:
        """Return what the core calls, if there is a function among the two."""
        select = None if isinstance(self.selection, str) else self.selection
        place = None if isinstance(self.placement, str) else self.placement
        return PolicyCalls(select, place, self.classes) if select or place else None

    def for_log(self) -> dict[str, Any]:
        """Return the fields of ``struct sq_log_options`` that are numbers."""
        return {
            "selection": _number(self.selection, SELECTIONS),
            "placement": _number(self.placement, PLACEMENTS),
            "classes": self.classes,
            "choices": self.choices,
            "window_ppm": round(self.window * 1_000_000),
            "seed": self.seed % 2**64,
        }


def _number(policy: object, known: tuple[str, ...]) -> int:
    """Return the core's number of a policy; that of functions comes behind those of the names."""
    return known.index(policy) if isinstance(policy, str) else len(known)


def _name(policy: object) -> str:
    return policy if isinstance(policy, str) else getattr(policy, "__name__", type(policy).__name__)


def check_policy(selection: Selection, placement: Placement) -> None:
    """Refuse a policy that does not exist.

    Raises
    ------
    ConfigError
        If either is neither the name of an existing policy nor a function.
    """
    for option, value, known in (("selection", selection, SELECTIONS), ("placement", placement, PLACEMENTS)):
        if callable(value) or value in known:
            continue
        raise ConfigError(f"{option} is {value!r}; there is {', '.join(map(repr, known))}, or a function")
