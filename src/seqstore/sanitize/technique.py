"""What is written over a drive, or done to it: techniques and the steps that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from seqstore.arguments import buffer, check_fields
from seqstore.errors import ConfigError

SEED_BYTES = 32
"""Bytes of the seed of a random step, which is the key of its stream."""
MOST_PATTERN_BYTES = 4096


class Method(str, Enum):
    """How one step of a technique works.

    Attributes
    ----------
    ZERO, ONES
        Every byte is overwritten with 0x00, or 0xFF.
    PATTERN
        A pattern of bytes is repeated from the first block on.
    RANDOM
        A stream that its seed determines: AES-256 in counter mode over zeros, the seed its key, the first
        counter 0 at the first byte of the drive.
    CRYPTOGRAPHIC
        The keys under which the drive was encrypted are destroyed.
    COMMAND
        The drive's own sanitize command, which alone reaches places that no address leads to, and is expected
        to leave zeros.
    """

    ZERO = "zero"
    ONES = "ones"
    PATTERN = "pattern"
    RANDOM = "random"
    CRYPTOGRAPHIC = "cryptographic"
    COMMAND = "command"

    @property
    def overwrites(self) -> bool:
        """Whether the step writes to every block, so that it can be seen afterwards that it did."""
        return self not in {Method.CRYPTOGRAPHIC, Method.COMMAND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a technique.

    Attributes
    ----------
    method : Method
    pattern : bytes
        Of `Method.PATTERN`, 1 to 4096 of them; else empty.
    seed : bytes
        Of `Method.RANDOM`, 32 of them; else empty.

    Raises
    ------
    ConfigError
        If pattern and seed are not what the method needs.
    """

    method: Method
    pattern: bytes = b""
    seed: bytes = b""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.method is Method.PATTERN and not 1 <= len(self.pattern) <= MOST_PATTERN_BYTES:
            raise ConfigError(
                f"the pattern has {len(self.pattern)} bytes; 1 to {MOST_PATTERN_BYTES} are expected"
            )
        if self.method is Method.RANDOM and len(self.seed) != SEED_BYTES:
            raise ConfigError(f"the seed has {len(self.seed)} bytes; {SEED_BYTES} are expected")
        if self.pattern and self.method is not Method.PATTERN:
            raise ConfigError(f"a step {self.method.value!r} takes no pattern; 'pattern' does")
        if self.seed and self.method is not Method.RANDOM:
            raise ConfigError(f"a step {self.method.value!r} takes no seed; 'random' does")

    def __str__(self) -> str:
        detail = self.pattern.hex() or self.seed.hex()
        return f"{self.method.value}:{detail}" if detail else self.method.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """Steps that follow each other; two techniques are combined with ``+``.

    Attributes
    ----------
    name : str
        Such as ``"zero"`` or ``"cryptographic + zero"``.
    steps : tuple of Step
        At least one.
    """

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.steps:
            raise ConfigError(f"the technique {self.name!r} has no steps; at least one is expected")

    @classmethod
    def zero(cls) -> Technique:
        """One pass of zeros."""
        return _single(Method.ZERO)

    @classmethod
    def ones(cls) -> Technique:
        """One pass of bytes 0xFF."""
        return _single(Method.ONES)

    @classmethod
    def pattern(cls, pattern: bytes) -> Technique:
        """One pass of a repeated pattern of 1 to 4096 bytes."""
        return cls(
            name="pattern", steps=(Step(method=Method.PATTERN, pattern=buffer(pattern, "the pattern")),)
        )

    @classmethod
    def random(cls, seed: bytes) -> Technique:
        """One pass of the stream of a seed of 32 bytes."""
        return cls(name="random", steps=(Step(method=Method.RANDOM, seed=buffer(seed, "the seed")),))

    @classmethod
    def three_pass(cls, seed: bytes) -> Technique:
        """Zeros, their complement, then the stream of a seed of 32 bytes."""
        steps = (Step(method=Method.ZERO), Step(method=Method.ONES))
        return cls(
            name="three_pass", steps=(*steps, Step(method=Method.RANDOM, seed=buffer(seed, "the seed")))
        )

    @classmethod
    def cryptographic(cls) -> Technique:
        """Destroy the drive's keys."""
        return _single(Method.CRYPTOGRAPHIC)

    @classmethod
    def command(cls) -> Technique:
        """Run the drive's own sanitize command, which leaves zeros."""
        return _single(Method.COMMAND)

    def __add__(self, other: Technique) -> Technique:
        if not isinstance(other, Technique):
            return NotImplemented
        return Technique(name=f"{self.name} + {other.name}", steps=self.steps + other.steps)

    @property
    def expected(self) -> Step | None:
        """What must lie on the drive in the end, as a step that writes it. None: that cannot be foretold."""
        for step in reversed(self.steps):
            if step.method.overwrites:
                return step
            if step.method is Method.COMMAND:
                return Step(method=Method.ZERO)
        return None


def _single(method: Method) -> Technique:
    return Technique(name=method.value, steps=(Step(method=method),))
