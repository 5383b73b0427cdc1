"""The seeded bugs and their table: every bug is found, the correct stores pass."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from seqstore.testing import bugs, check_isolation
from seqstore.testing.bugs.plain import KeyedStore, PlainStore
from seqstore.testing.bugs.plain.geometry import BLOCK_BYTES, SLOTS, USABLE_BLOCKS
from seqstore.testing.bugs.table import BEGIN, END, Hunt, Row, hunt, is_good, main, write_between

# A seed may miss a bug that others find; this many are tried before the test gives up.
SEEDS = range(3)


def block(text: str) -> bytes:
    return text.encode().ljust(BLOCK_BYTES, b".")


def fill(store: PlainStore, volume: int, blocks: int) -> int:
    """Write until the store is full, and say how many blocks it took."""
    lba = 0
    with suppress(OSError):
        for lba in range(blocks):
            store.write(volume, lba, block(f"{lba}"))
    return lba


@pytest.fixture(params=bugs.CORRECT)
def store(request: pytest.FixtureRequest) -> PlainStore:
    return bugs.store(request.param)()


@pytest.mark.parametrize("name", bugs.names())
def test_every_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Short stories are for people, and take longer to make than the bug to find.
    monkeypatch.setattr("seqstore.testing.checks._SHRINK_SECONDS", 0.0)
    assert any(hunt(name, seed).kind for seed in SEEDS)


@pytest.mark.parametrize("name", bugs.CORRECT)
@pytest.mark.parametrize("seed", range(4))
def test_a_correct_store_passes(name: str, seed: int) -> None:
    report = check_isolation(bugs.store(name), seed=seed)
    assert report.examples == 200
    # The kit went where bugs hide: the store was full at times, cleaned, crashed and was purged.
    assert report.refused
    assert {"crash", "purge", "clean", "clone", "resize", "write_bytes"} <= report.commands.keys()


def test_there_are_enough_bugs_and_each_says_what_is_wrong() -> None:
    assert len(bugs.families()) == 5
    assert len(bugs.names()) == len(set(bugs.names())) >= 40
    assert all(len(family) >= 8 for family in bugs.families().values())
    sentences = [bugs.describe(name) for name in bugs.names()]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in sentences)


def test_an_unknown_bug_is_refused_with_the_names() -> None:
    with pytest.raises(LookupError, match="trim-rounded-outward"):
        bugs.store("no-such-bug")


def test_the_page_lists_every_bug() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "seeded-bugs.md"
    text = page.read_text(encoding="utf-8")
    assert [name for name in bugs.names() if f"| `{name}` | {bugs.describe(name)} |" not in text] == []


def test_the_log_comes_round_and_nothing_is_lost(store: PlainStore) -> None:
    volume = store.create_volume("a", 8)
    for version in range(2 * SLOTS):
        store.write(volume, version % 8, block(f"version {version}"))
    expected = b"".join(block(f"version {2 * SLOTS - 8 + lba}") for lba in range(8))
    assert store.read(volume, 0, 8) == expected
    store.flush()
    store.crash()
    assert store.read(volume, 0, 8) == expected


def test_a_full_store_refuses_and_goes_on(store: PlainStore) -> None:
    volume = store.create_volume("a", 2 * SLOTS)
    written = fill(store, volume, 2 * SLOTS)
    with pytest.raises(OSError, match="full"):
        store.write(volume, written, block("one more"))
    assert written >= USABLE_BLOCKS - 1
    assert store.read(volume, 0, written + 1) == b"".join(block(f"{n}") for n in range(written)) + bytes(512)
    store.trim(volume, 0, written)
    store.write(volume, 0, block("again"))
    for _ in range(8):
        store.crash()
    assert store.create_volume("b", 1) > volume


def test_a_crash_takes_back_whole_calls_from_the_end(store: PlainStore) -> None:
    some_kept = some_lost = False
    for count in range(1, 40):
        volume = store.create_volume("a", 40)
        store.flush()
        for lba in range(count):
            store.write(volume, lba, block(f"{lba}"))
        store.crash()
        found = store.read(volume, 0, 40)
        kept = sum(found[lba * 512 : lba * 512 + 1] != b"\0" for lba in range(40))
        assert found == b"".join(block(f"{lba}") for lba in range(kept)) + bytes((40 - kept) * 512)
        some_kept |= kept > 0
        some_lost |= kept < count
        store.delete_volume(volume)
    assert some_kept
    assert some_lost


def test_numbers_that_a_crash_took_back_are_not_given_again(store: PlainStore) -> None:
    given = set()
    for _ in range(20):
        volume = store.create_volume("a", 1)
        assert volume not in given
        given.add(volume)
        store.crash()


def test_a_purge_leaves_what_a_clone_shows(store: PlainStore) -> None:
    volume = store.create_volume("a", 2)
    store.write(volume, 0, block("kept") + block("gone"))
    store.trim(volume, 1, 1)
    snapshot = store.snapshot(volume)
    clone = store.clone(snapshot, "b")
    store.delete_tenant("a")
    store.purge()
    media = b"".join(map(bytes, store.media()))
    assert store.read(clone, 0, 2) == block("kept") + bytes(512)
    assert b"kept" in media
    assert b"gone" not in media


def test_a_keyed_store_leaves_the_blocks_whose_key_is_gone() -> None:
    store = KeyedStore()
    volume = store.create_volume("a", 1)
    store.write(volume, 0, block("secret"))
    store.flush()
    raw = bytes(store.medium.slots)
    assert b"secret" not in raw
    assert any(b"secret" in bytes(piece) for piece in store.media())
    (slot,) = store.state.live()
    before = store.medium.get(slot)
    store.delete_volume(volume)
    store.purge()
    assert store.medium.get(slot) == before
    assert not any(b"secret" in bytes(piece) for piece in store.media())


def a_hunt(seed: int, *, kind: str | None, story: int = 5) -> Hunt:
    name = "trim-rounded-outward"
    return Hunt(name=name, seed=seed, kind=kind, steps=100 * seed, seconds=0.5, story=story)


def test_a_row_counts_the_seeds_that_found_it() -> None:
    row = Row(
        name="trim-rounded-outward", hunts=[a_hunt(seed, kind="lost" if seed else None) for seed in range(20)]
    )
    assert row.is_caught
    assert "| 19 of 20 | 1,000 | 0.50 | 5 | lost |" in str(row)
    assert is_good([row], [])
    missed = Row(name=row.name, hunts=[a_hunt(seed, kind=None if seed < 2 else "lost") for seed in range(20)])
    assert not is_good([missed], [])
    long = Row(name=row.name, hunts=[a_hunt(seed, kind="lost", story=9) for seed in range(20)])
    assert not is_good([long], [])
    assert not is_good([row], [row])


def test_the_table_is_written_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    command = ["--seeds", "2", "--correct-seeds", "1", "--jobs", "1", "--bug", "flush-does-not-sync"]
    assert main([*command, "--write", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\n### Crash, recovery and deletion\n")
    assert text.endswith(f"\n\n{END}\nafter\n")
    assert "old" not in text
    assert "| 2 of 2 |" in text
    assert "`plain` passed 1 of 1 seeds" in capsys.readouterr().out


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(ValueError, match="seeded bugs: begin"):
        write_between(page, "table")
