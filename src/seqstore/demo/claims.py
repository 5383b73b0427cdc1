"""What the demonstration claims, each with the evidence that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from seqstore.demo.plan import LEAVER, STAYER
from seqstore.demo.story import Story
from seqstore.report import format_bytes

# The cleaner moves a segment's live blocks at once, so that the lap may end a little late.
_LONGEST_LAP = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence that holds or not.

    Attributes
    ----------
    text : str
        What is claimed.
    holds : bool
        Whether it was found to be so.
    evidence : str
        What was found.
    """

    text: str
    holds: bool
    evidence: str


def judge(story: Story) -> tuple[Claim, ...]:
    """Compare what a finished story found with what it claims."""
    return (
        _read_back(story),
        _refused(story),
        _still_there(story),
        _nobody_reads(story),
        _ledger_agrees(story),
        _disappears(story),
        _nothing_left(story),
        _neighbour_intact(story),
        _engine_sound(story),
    )


def _read_back(story: Story) -> Claim:
    files = len(story.leaver_archive.digests) + len(story.stayer_archive.digests)
    return Claim(
        text="Both tenants read back what they stored",
        holds=not story.damaged and files > 0,
        evidence=_checksums(files, story.damaged),
    )


def _refused(story: Story) -> Claim:
    again = story.recreated_probe
    return Claim(
        text="A deleted volume cannot be read: not by its old handle, not by its name",
        holds=story.handle_refused and not again.wrong and not again.leaked and again.blocks > 0,
        evidence=f"the old handle {'is refused' if story.handle_refused else 'still reads'}; a new volume of"
        f" the same name reads as zeros in {again.blocks - again.wrong:,} of {again.blocks:,} blocks",
    )


def _still_there(story: Story) -> Claim:
    first = story.steps[0]
    at_home = [mba in places for mba, places in zip(story.canary_mbas, first.scan.found_at, strict=True)]
    if not at_home:
        evidence = (
            "nothing could be looked for: the files are too small, or alike; give a directory of larger ones"
        )
    else:
        size = format_bytes(first.ledger_blocks * story.drive.block_size)
        evidence = (
            f"{sum(at_home)} of {len(at_home)} named files found where they lay; by the ledger"
            f" {first.ledger_blocks:,} blocks ({size}), of {len(story.leaver_archive.prints):,} stored"
        )
    return Claim(
        text=f"Right after the deletion all of {LEAVER}'s bytes still lie on the medium",
        holds=all(at_home) and bool(at_home) and first.ledger_blocks == len(story.leaver_archive.prints),
        evidence=evidence,
    )


def _nobody_reads(story: Story) -> Claim:
    total = sum((step.probe for step in story.steps), story.recreated_probe)
    return Claim(
        text="Meanwhile no address of any tenant shows one of them",
        holds=total.leaked == 0 and total.wrong == 0 and total.blocks > 0,
        evidence=f"{total.blocks:,} blocks read in {len(story.steps)} rounds over all addresses, also those"
        f" never written: {total.leaked:,} with {LEAVER}'s bytes, {total.wrong:,} with anything but what the"
        " reader wrote there, or zeros",
    )


def _ledger_agrees(story: Story) -> Claim:
    agreeing = sum(step.agrees for step in story.steps)
    return Claim(
        text="The ledger, the remanence report and a raw search of the medium agree, block by block",
        holds=agreeing == len(story.steps) > 0,
        evidence=f"at {agreeing} of {len(story.steps)} moments",
    )


def _disappears(story: Story) -> Claim:
    residue = [step.ledger_blocks for step in story.steps]
    shrinks = all(later <= earlier for earlier, later in pairwise(residue))
    middle = residue[len(residue) // 2]
    return Claim(
        text="The residue shrinks as the head laps, and never grows",
        holds=shrinks and residue[-1] < residue[0],
        evidence=f"{residue[0]:,} blocks, {middle:,} after half a lap, {residue[-1]:,} after one",
    )


def _nothing_left(story: Story) -> Claim:
    last = story.steps[-1]
    left = (last.ledger_blocks, last.remanence_blocks, last.raw_blocks, last.scan.canaries_found)
    return Claim(
        text="After one lap none of it is left",
        holds=1 <= last.laps < _LONGEST_LAP and max(left) == 0,
        evidence=f"after {last.laps:.3f} laps: {last.ledger_blocks:,} blocks by the ledger,"
        f" {last.raw_blocks:,} by raw search, {last.scan.canaries_found} of"
        f" {len(last.scan.found_at)} named files",
    )


def _neighbour_intact(story: Story) -> Claim:
    return Claim(
        text=f"{STAYER}'s files are still what they were",
        holds=not story.damaged_later,
        evidence=_checksums(len(story.stayer_archive.digests), story.damaged_later),
    )


def _engine_sound(story: Story) -> Claim:
    return Claim(
        text="The engine's own deep check finds nothing",
        holds=story.broken_invariant is None,
        evidence=story.broken_invariant or "maps, ledger, segments and medium agree",
    )


def _checksums(files: int, damaged: list[str]) -> str:
    if damaged:
        return f"SHA-256 differs in {len(damaged):,} of {files:,} files, the first is {damaged[0]!r}"
    return f"SHA-256 of {files:,} files is that of the originals"
