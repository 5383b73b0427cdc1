"""Many drives at once, each in a thread of its own: the core lets Python go while it works."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.arguments import buffer, instance, items
from seqstore.errors import ConfigError
from seqstore.sanitize.run import Sanitization
from seqstore.sanitize.sampling import LEAST_SEED_BYTES
from seqstore.units import unsigned

if TYPE_CHECKING:
    from seqstore.sanitize.result import SanitizationOutcome

_SIGNAL_WAIT_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of many drives.

    Attributes
    ----------
    outcomes : tuple of SanitizationOutcome or Exception
        In the order of the drives; what a sanitization raised stands for an outcome that it has not.
    """

    outcomes: tuple[SanitizationOutcome | Exception, ...]

    @property
    def sanitized(self) -> int:
        """Drives that were."""
        return sum(1 for each in self.outcomes if not isinstance(each, Exception) and each.succeeded)

    @property
    def failed(self) -> int:
        """Drives that were not."""
        return len(self.outcomes) - self.sanitized

    @property
    def overwritten_bytes(self) -> int:
        """Bytes that were, over all drives and passes."""
        passes = [part for each in self.outcomes if not isinstance(each, Exception) for part in each.passes]
        return sum(part.overwritten * part.block_size for part in passes)


def draw_lots(drives: int, share: float, seed: bytes) -> frozenset[int]:
    """Choose a share of many drives that nobody can foretell, for a second verifier for instance.

    Parameters
    ----------
    drives : int
        How many there are; they are numbered from 0.
    share : float
        Above 0, at most 1. Rounded up to whole drives: at least one is chosen of any number.
    seed : bytes
        Decides which; 16 bytes at least. Whoever knows it before knows which drives will not be looked at.

    Returns
    -------
    frozenset of int
        Numbers of those that were chosen.

    Raises
    ------
    ConfigError
        If there are no drives, the share is none, or the seed too short.
    """
    count, secret = unsigned(drives, "drives"), buffer(seed, "seed")
    if count < 1:
        raise ConfigError("drives is 0; at least one is expected")
    if not 0 < share <= 1:
        raise ConfigError(f"share is {share!r}; a number above 0 and at most 1 is expected")
    if len(secret) < LEAST_SEED_BYTES:
        raise ConfigError(f"the seed has {len(secret)} bytes; {LEAST_SEED_BYTES} at least are expected")
    lots = [hashlib.sha256(b"%d of %d " % (number, count) + secret).digest() for number in range(count)]
    return frozenset(sorted(range(count), key=lots.__getitem__)[: math.ceil(count * share)])


def sanitize_many(sanitizations: Sequence[Sanitization], *, at_once: int = 0) -> Batch:
    """Run sanitizations side by side.

    Parameters
    ----------
    sanitizations : sequence of Sanitization
        Each of another drive.
    at_once : int
        How many run at a time; 0: all.

    Raises
    ------
    ConfigError
        If there are none.
    """
    sanitizations = tuple(
        instance(one, Sanitization, "each of sanitizations") for one in items(sanitizations, "sanitizations")
    )
    at_once = unsigned(at_once, "at_once")
    if not sanitizations:
        raise ConfigError("no drives were given; at least one is expected")

    def run(sanitization: Sanitization) -> SanitizationOutcome | Exception:
        try:
            return sanitization.run()
        except Exception as error:
            return error

    with ThreadPoolExecutor(max_workers=min(at_once or len(sanitizations), len(sanitizations))) as threads:
        running = [threads.submit(run, sanitization) for sanitization in sanitizations]
        # A signal that comes just before this thread waits is handled after the wait: a handler that cancels
        # the passes would be called when they are over.
        while wait(running, timeout=_SIGNAL_WAIT_S).not_done:
            pass
        return Batch(outcomes=tuple(future.result() for future in running))
