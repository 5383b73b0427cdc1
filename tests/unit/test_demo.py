"""The demonstration on a small tree of files: the story, and each of its claims."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import InvariantError, Store
from seqstore.demo.claims import judge
from seqstore.demo.plan import Plan
from seqstore.demo.search import Probe
from seqstore.demo.story import STEPS_PER_LAP, Story


def ignore(_: int) -> None:
    """Take the place of a progress bar."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("input") / "tree"
    root.mkdir()
    rng = np.random.default_rng(5)
    for size in (100, 70_000, 9_000, 8_192, 4_095, 20_000, 30_000):
        (root / f"{size}.bin").write_bytes(rng.bytes(size))
    return root


@pytest.fixture(scope="module")
def finished(tree: Path) -> Iterator[Story]:
    story = Story(Plan.make(tree, seed=3))
    with story.store:
        tell(story)
        yield story


def tell(story: Story) -> None:
    story.store_files(ignore)
    story.verify_files(ignore)
    story.delete_leaver()
    story.lap(ignore)
    story.verify_stayer(ignore)


class TestStory:
    def test_every_claim_holds(self, finished: Story) -> None:
        assert [claim for claim in judge(finished) if not claim.holds] == []
        assert len(judge(finished)) == 9

    def test_all_bytes_are_there_at_first_and_gone_after_a_lap(self, finished: Story) -> None:
        stored = len(finished.leaver_archive.prints)
        first, *_, last = finished.steps
        assert len(finished.steps) == STEPS_PER_LAP + 1
        assert first.ledger_blocks == first.remanence_blocks == stored
        assert first.raw_blocks == stored - finished.wanted.ambiguous_blocks > 0.9 * stored
        assert first.scan.canaries_found == len(finished.wanted.canaries) > 0
        assert last.ledger_blocks == last.remanence_blocks == last.raw_blocks == 0
        assert 1 <= last.laps < 1.05

    def test_reads_every_address_at_each_step(self, finished: Story) -> None:
        blocks = sum(volume.blocks for tenant in finished.store.tenants for volume in tenant.volumes)
        assert {step.probe.blocks for step in finished.steps} == {blocks}
        assert finished.recreated_probe.blocks == finished.leaver_archive.prints.size

    def test_the_deleted_tenant_came_back_under_its_name(self, finished: Story) -> None:
        assert finished.leaver.deleted
        assert [tenant.name for tenant in finished.store.tenants] == ["fabrikam", "contoso"]
        assert finished.store.tenant("contoso").volume("files").mapped_blocks > 0

    def test_maps_show_the_four_moments(self, finished: Story) -> None:
        owned = [
            {
                kind.state: blocks
                for kind, blocks in drive_map.legend()
                if kind.tenant == finished.leaver.number
            }
            for _, drive_map in finished.maps
        ]
        stored = len(finished.leaver_archive.prints)
        assert owned[0] == {"live": stored, "dead": 0}
        assert owned[1] == {"live": 0, "dead": stored}
        assert owned[2] == {"live": 0, "dead": finished.steps[STEPS_PER_LAP // 2].ledger_blocks}
        assert owned[3] == {"live": 0, "dead": 0}

    def test_the_same_seed_tells_the_same_story(self, finished: Story) -> None:
        again = Story(finished.plan)
        with again.store:
            tell(again)
            for one, other in zip(finished.steps, again.steps, strict=True):
                assert (one.laps, one.head, one.raw_blocks) == (other.laps, other.head, other.raw_blocks)
            assert again.after == finished.after


def with_step(number: int, **changes: Any) -> Callable[[Story], None]:
    def change(story: Story) -> None:
        story.steps = list(story.steps)
        story.steps[number] = replace(story.steps[number], **changes)

    return change


def with_attribute(name: str, value: object) -> Callable[[Story], None]:
    return lambda story: setattr(story, name, value)


def without_canaries(story: Story) -> None:
    story.canary_mbas = []
    with_step(0, scan=replace(story.steps[0].scan, found_at=()))(story)


@pytest.mark.parametrize(
    ("damage", "failing"),
    [
        (with_attribute("damaged", ["tree/a.txt"]), {0}),
        (with_attribute("handle_refused", False), {1}),
        (with_attribute("recreated_probe", Probe(blocks=10, wrong=1)), {1, 3}),
        (with_attribute("canary_mbas", [0] * 6), {2}),
        (without_canaries, {2}),
        (with_step(0, ledger_blocks=1, remanence_blocks=1), {2, 5}),
        (with_step(4, probe=Probe(blocks=10, leaked=1)), {3}),
        (with_step(4, probe=Probe(blocks=10, wrong=1)), {3}),
        (with_step(4, agrees=False), {4}),
        (with_step(4, ledger_blocks=10**6), {5}),
        (with_step(-1, ledger_blocks=1), {6}),
        (with_step(-1, remanence_blocks=1), {6}),
        (with_step(-1, raw_blocks=1), {6}),
        (with_step(-1, laps=0.99), {6}),
        (with_step(-1, laps=1.2), {6}),
        (with_attribute("damaged_later", ["x"]), {7}),
        (with_attribute("broken_invariant", "a condition"), {8}),
    ],
)
def test_claims_fail_when_they_should(
    finished: Story, damage: Callable[[Story], None], failing: set[int]
) -> None:
    story = copy.copy(finished)
    damage(story)
    assert {number for number, claim in enumerate(judge(story)) if not claim.holds} == failing


def test_a_residue_that_the_ledger_does_not_know_is_noticed(tree: Path) -> None:
    story = Story(Plan.make(tree))
    with story.store:
        story.store_files(ignore)
        story.verify_files(ignore)
        # A copy of the first tenant's block under another owner: the ledger cannot know whose bytes it holds.
        smuggled = story.leaver_archive.volume.read_blocks(story.wanted.canaries[0].lba, 1)
        story.stayer_archive.volume.write_blocks(story.stayer_archive.volume.blocks - 1, smuggled)
        story.delete_leaver()
    assert not story.steps[0].agrees
    assert (story.steps[0].probe.leaked, story.steps[0].probe.wrong) == (1, 1)


def test_a_broken_engine_is_a_claim_that_fails(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Store) -> None:
        raise InvariantError("live == counted", file="check.c", line=1, condition="live == counted")

    monkeypatch.setattr(Store, "check", fail)
    story = Story(Plan.make(tree))
    with story.store:
        tell(story)
        last = judge(story)[-1]
    assert (last.holds, last.evidence) == (False, "live == counted")
