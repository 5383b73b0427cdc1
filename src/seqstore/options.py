"""What a store's options mean: checked, and in the form that logs and catalogs want."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from seqstore.catalog import Settings
from seqstore.cleaning import CUSTOM, Placement, PlacementFunction, Policy, Selection, SelectionFunction
from seqstore.errors import ConfigError
from seqstore.media.native import NativeMedium
from seqstore.parts import Options
from seqstore.units import parse_size, shorten

if TYPE_CHECKING:
    from seqstore.clock import Clock
    from seqstore.media.file import Access

Missing = Literal["refuse", "go on"]

_PPM = 1_000_000
_MOST_SEED = 1 << 63  # the catalog keeps it in 64 bits


def check_medium(medium: Any) -> NativeMedium:
    """Refuse what is no medium."""
    if not isinstance(medium, NativeMedium):
        raise ConfigError(
            f"medium is of type {type(medium).__name__}; a FileMedium or CallsMedium is expected, or another"
            " medium; Store.create and Store.open take paths"
        )
    return medium


def draw_identity() -> int:
    """Draw what tells a new drive from all others; 0 is that of drives in memory."""
    return int.from_bytes(os.urandom(8), "little") or 1


def draw_seed() -> bytes:
    """Draw 32 bytes that nobody could know: where samples are taken, or the stream that is written."""
    return os.urandom(32)


def name_user() -> str:
    """Name the user of the operating system, who acts where nobody else is named."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in many a container
        return f"uid {number}"
    return f"{name} (uid {number})"


def make_policy(selection: Selection, placement: Placement, classes: int, seed: int) -> Policy:
    """Make the cleaning policy of a store."""
    if placement == "oracle":
        raise ConfigError("placement is 'oracle', which has to know the future; only sim.replay does")
    return Policy(selection=selection, placement=placement, classes=classes, seed=seed)


def make_settings(
    clock: Clock, reserve: float = 0.07, policy: Policy | None = None, *, access: Access = "cached"
) -> Settings:
    """Say what a new store keeps; also what stands in for a catalog that is gone."""
    policy = policy or Policy()
    if not -_MOST_SEED <= policy.seed < _MOST_SEED:
        raise ConfigError(f"seed is {shorten(policy.seed)}; -2**63 to 2**63 - 1 is expected")
    return Settings(
        created_ns=clock.now_ns(),
        reserve_ppm=parse_reserve(reserve),
        selection=policy.selection if isinstance(policy.selection, str) else CUSTOM,
        placement=policy.placement if isinstance(policy.placement, str) else CUSTOM,
        classes=policy.classes,
        seed=policy.seed,
        access=access,
    )


def make_options(
    verify: bool,
    checkpoint_interval: SupportsIndex | str | None = None,
    *,
    policy: Policy | None = None,
    selection: SelectionFunction | None = None,
    placement: PlacementFunction | None = None,
    **flags: bool,
) -> Options:
    """Say what is asked of a log, and name this opening."""
    for name, flag in {"verify": verify, **flags}.items():
        check_flag(flag, name)
    others: dict[str, Any] = flags
    checkpoint_bytes = 0
    if checkpoint_interval is not None:
        checkpoint_bytes = parse_size(checkpoint_interval, "checkpoint_interval")
        if not checkpoint_bytes:
            raise ConfigError(
                "checkpoint_interval is 0; a size is expected, or None to leave it to the store"
            )
    return Options(
        verify=verify,
        checkpoint_bytes=checkpoint_bytes,
        opening=draw_identity(),
        sealing=draw_identity(),
        draw=draw_identity,
        policy=policy,
        selection=selection,
        placement=placement,
        **others,
    )


def check_flag(flag: object, name: str) -> bool:
    """Refuse what is neither true nor false."""
    if not isinstance(flag, bool):
        raise ConfigError(f"{name} is {flag!r}; True or False is expected")
    return flag


def parse_missing(missing: object) -> bool:
    """Tell whether a store is to be opened without drives that are missing."""
    if missing not in ("refuse", "go on"):
        raise ConfigError(f"missing is {missing!r}; 'refuse' or 'go on' is expected")
    return missing == "go on"


def parse_reserve(reserve: object) -> int:
    """Check the share that is kept back for cleaning, and return it in millionths."""
    if not isinstance(reserve, (int, float)) or not 0 <= reserve < 1:
        raise ConfigError(f"reserve is {reserve!r}; a number from 0 to below 1 is expected, such as 0.07")
    return min(round(reserve * _PPM), _PPM - 1)
