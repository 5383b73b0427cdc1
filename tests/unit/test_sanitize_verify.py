"""Verification: which blocks are read, what is found, how likely it is to be, and a second opinion."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction
from math import comb

import pytest

from seqstore import ConfigError
from seqstore.clock import ManualClock
from seqstore.format.medium import BytesSource
from seqstore.format.wiped import read_wiped, stream
from seqstore.media import MemoryMedium
from seqstore.media.faults import FaultMedium
from seqstore.sanitize import Step, Technique, Verification, draw_samples
from seqstore.sanitize.overwrite import Effort, fill_of
from seqstore.sanitize.verify import read_back
from tests.sanitizing import BLOCK, RANDOM_SEED, SEED, plain_drive, sanitize

ZERO = Technique.zero().steps[0]
RANDOM = Technique.random(RANDOM_SEED).steps[0]


def seen(read: int, blocks: int, **fields: object) -> Verification:
    return Verification(
        method="full", verifier="core", expected=ZERO, blocks=blocks, block_size=512, read=read,
        past_caches="memory", started_ns=0, ended_ns=1, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


# ---- sampling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [20_000, 20_001, 33_333, 99_999, 1_000_000])
def test_samples_are_as_the_standard_says(blocks: int) -> None:
    samples = draw_samples(blocks, SEED)
    assert samples is not None
    chosen = {block for first, count in samples.spans for block in range(first, first + count)}
    assert len(chosen) == samples.blocks
    assert {0, blocks - 1} <= chosen
    assert samples.subsections == 1000
    for number in range(1000):
        start, end = number * blocks // 1000, (number + 1) * blocks // 1000
        inside = sum(1 for block in range(start, end) if block in chosen)
        # Two samples of 5 % each that do not overlap; the first and last block of the medium come on top.
        least = 2 * -(-(end - start) // 20)
        assert least <= inside <= least + (number in {0, 999})
    assert samples.sample_blocks == -(-(blocks // 1000) // 20)


def test_samples_lie_elsewhere_each_time() -> None:
    one, same, other = (draw_samples(50_000, seed) for seed in (SEED, SEED, RANDOM_SEED))
    assert one is not None
    assert other is not None
    assert one == same
    assert len(set(one.spans) & set(other.spans)) < 100


def test_every_block_is_as_likely_to_be_read() -> None:
    """Two of 20 blocks a subsection are: the ends of a subsection no less often than its middle."""
    counts: Counter[int] = Counter()
    rounds = 40
    for number in range(rounds):
        samples = draw_samples(20_000, number.to_bytes(16, "big"))
        assert samples is not None
        counts.update(
            block % 20
            for first, count in samples.spans
            for block in range(first, first + count)
            if 20 <= block < 19_980
        )
    expected = rounds * 998 / 10
    # The standard deviation of a binomial count is below 60; five of them are never reached by chance.
    assert all(abs(counts[place] - expected) < 300 for place in range(20))


def test_what_is_too_small_is_read_as_a_whole() -> None:
    assert draw_samples(19_999, SEED) is None
    outcome = sanitize(plain_drive())
    assert outcome.verifications[0].method == "full"
    medium = MemoryMedium(19_984 * BLOCK, block_size=BLOCK, zone_size=16 * BLOCK)
    found = read_back(medium, ZERO, method="sampling", clock=ManualClock(), past_caches="memory", seed=SEED)
    assert (found.method, found.coverage) == ("full", 1.0)


def test_less_than_the_standard_asks_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1000"):
        draw_samples(50_000, SEED, subsections=999)
    with pytest.raises(ConfigError, match="the seed has 8 bytes"):
        draw_samples(50_000, SEED[:8])
    with pytest.raises(ConfigError, match="'full' or 'sampling'"):
        read_back(MemoryMedium("1MiB"), ZERO, method="some", clock=ManualClock(), past_caches="memory")


def test_sampling_reads_the_samples_and_nothing_else() -> None:
    """Blocks that hold something else are found exactly if they are in a sample."""
    medium = MemoryMedium(20_000 * BLOCK, block_size=BLOCK, zone_size=100 * BLOCK)
    samples = draw_samples(medium.blocks, SEED)
    assert samples is not None
    chosen = {block for first, count in samples.spans for block in range(first, first + count)}
    stray = random.Random(5).sample(range(medium.blocks), 300)
    for block in stray:
        medium.overwrite(block, b"x" * BLOCK)
    found = read_back(
        medium, ZERO, method="sampling", clock=ManualClock(), past_caches="memory", seed=SEED,
        stop_at_first=False,
    )  # fmt: skip
    assert found.mismatches == len(chosen & set(stray))
    assert found.read == len(chosen)
    assert 0.1 <= found.coverage < 0.11
    assert found.seed == SEED
    told = {block for part in found.first_mismatches for block in range(part.first, part.first + part.count)}
    assert told <= chosen & set(stray)


# ---- how likely it is to be found ------------------------------------------------------------------


def test_the_probability_is_the_hypergeometric_one() -> None:
    for blocks, read, stray in itertools.product((10, 57), range(1, 10), range(1, 10)):
        exact = 1 - Fraction(comb(blocks - stray, read), comb(blocks, read))
        assert seen(read, blocks).detection_probability(stray) == pytest.approx(float(exact), abs=1e-12)


def test_the_probability_by_counting_all_cases() -> None:
    blocks, read, stray = 8, 3, 2
    cases = list(itertools.combinations(range(blocks), stray))
    hits = sum(1 for places in cases if any(place < read for place in places))
    assert seen(read, blocks).detection_probability(stray) == pytest.approx(hits / len(cases))


def test_the_probability_at_its_ends() -> None:
    assert seen(10, 10).detection_probability(1) == 1.0
    assert seen(1, 10).detection_probability(0) == 0.0
    assert seen(5, 10).detection_probability(6) == 1.0
    assert seen(10**8, 10**9).detection_probability(1) == pytest.approx(0.1)
    assert seen(10**8, 10**9).detection_probability(44) == pytest.approx(1 - 0.9**44, rel=1e-6)


# ---- what is found ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [ZERO, RANDOM, Technique.pattern(b"seven b").steps[0]], ids=str)
@pytest.mark.parametrize("workers", [1, 2])
def test_both_verifiers_find_the_same_single_bits(step: Step, workers: int) -> None:
    """One flipped bit each, anywhere: at the ends of the drive, of blocks and of pieces."""
    generator = random.Random(9)
    medium = MemoryMedium("2MiB", block_size=BLOCK)
    clean = fill_of(step).bytes_at(0, medium.capacity)
    medium.overwrite(0, clean)
    blocks = sorted({0, 1, medium.blocks - 1, *generator.sample(range(medium.blocks), 12)})
    for block in blocks:
        data = bytearray(medium.read(block, 1))
        data[generator.choice([0, BLOCK - 1, generator.randrange(BLOCK)])] ^= 1 << generator.randrange(8)
        medium.overwrite(block, data)
    core = read_back(
        medium, step, method="full", clock=ManualClock(), past_caches="memory", stop_at_first=False,
        effort=Effort(piece_blocks=64, workers=workers),
    )  # fmt: skip
    pattern = b"" if step.seed else fill_of(step).bytes_at(0, 16)[:1] if step is ZERO else step.pattern
    python = read_wiped(
        BytesSource(medium.read(0, medium.blocks)), medium.blocks, BLOCK, pattern=pattern, seed=step.seed
    )
    told = [(part.first, part.count) for part in core.first_mismatches]
    assert [first + i for first, count in told for i in range(count)] == blocks
    assert list(python.first_mismatches) == told
    assert core.mismatches == python.mismatches == len(blocks)
    assert not core.stopped_early
    assert not core.clean


def test_the_first_mismatch_may_end_it() -> None:
    medium = MemoryMedium("8MiB", block_size=BLOCK)
    for block in (5, 8000, 16_000):
        medium.overwrite(block, b"x" * BLOCK)
    found = read_back(
        medium, ZERO, method="full", clock=ManualClock(), past_caches="memory",
        effort=Effort(piece_blocks=16, workers=1, rate=BLOCK * 1024),
    )  # fmt: skip
    assert found.stopped_early
    assert found.mismatches == 1
    assert found.read < 1000


def test_a_drive_that_was_never_overwritten_is_counted_without_end() -> None:
    medium = MemoryMedium("4MiB", block_size=BLOCK)
    medium.overwrite(0, b"x" * medium.capacity)
    found = read_back(
        medium, ZERO, method="full", clock=ManualClock(), past_caches="memory", stop_at_first=False
    )
    assert found.mismatches == medium.blocks
    assert [(part.first, part.count) for part in found.first_mismatches] == [(0, medium.blocks)]


@pytest.mark.parametrize("workers", [1, 2])
def test_more_finds_than_the_core_has_room_for_are_all_counted(workers: int) -> None:
    """Every second block holds something else: it has to stop and go on several times."""
    medium = MemoryMedium("4MiB", block_size=BLOCK)
    medium.overwrite(0, (b"x" * BLOCK + bytes(BLOCK)) * (medium.blocks // 2))
    found = read_back(
        medium, ZERO, method="full", clock=ManualClock(), past_caches="memory", stop_at_first=False,
        effort=Effort(piece_blocks=4, workers=workers),
    )  # fmt: skip
    assert found.mismatches == medium.blocks // 2
    assert [(part.first, part.count) for part in found.first_mismatches] == [(b, 1) for b in range(0, 128, 2)]


def test_unreadable_blocks_are_all_told() -> None:
    """Every second block is, and what is between them is compared."""
    drive = plain_drive()
    sanitize(drive)
    for block in range(1, 1024, 2):
        drive.bad_on_read(block)
    outcome = sanitize(drive)
    assert outcome.succeeded  # writing mends them
    for block in range(1, 1024, 2):
        drive.bad_on_read(block)
    found = read_back(
        FaultMedium(drive), ZERO, method="full", clock=ManualClock(), past_caches="direct",
        stop_at_first=False, effort=Effort(piece_blocks=4, retries=0),
    )  # fmt: skip
    assert [(part.first, part.count) for part in found.read_errors] == [(b, 1) for b in range(1, 1024, 2)]
    assert found.mismatches == 0
    assert not found.clean


# ---- the stream ------------------------------------------------------------------------------------


def test_the_stream_is_the_published_cipher() -> None:
    """FIPS 197, appendix C.3: AES-256 of one block; as a counter it gives the same."""
    key = bytes(range(32))
    plain = int.from_bytes(bytes.fromhex("00112233445566778899aabbccddeeff"), "big")
    assert stream(key, plain * 16, 16).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_core_and_python_compute_the_same_stream_anywhere() -> None:
    fill = fill_of(RANDOM)
    for offset in (0, 16, 4096, (1 << 32) - 32, (1 << 60) + 48, (1 << 63)):
        assert fill.bytes_at(offset, 512) == stream(RANDOM_SEED, offset, 512)
