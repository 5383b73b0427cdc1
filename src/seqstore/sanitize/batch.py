"""Many drives at once, each in a thread of its own: the core lets Python go while it works."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqstore.arguments import instance, items
from seqstore.errors import ConfigError
from seqstore.sanitize.run import Sanitization
from seqstore.units import unsigned

if TYPE_CHECKING:
    from seqstore.sanitize.result import SanitizationOutcome


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
        return Batch(outcomes=tuple(threads.map(run, sanitizations)))
