"""The map of a drive: what it counts, how it gathers blocks into cells, and how it is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqstore import BlockState, ConfigError, Store
from seqstore.report import DriveMap, Kind, draw_drive_map, drive_map, format_bytes, render_terminal
from seqstore.report.palette import MOST_TENANTS, make_kinds
from tests.small import BLOCK_COUNT, run_lap, write_tagged

CONTOSO, FABRIKAM = 1, 2
NAMES = {CONTOSO: "contoso", FABRIKAM: "fabrikam"}


@pytest.fixture
def mixed(store: Store) -> Store:
    """Two tenants' live blocks, one's residue, summaries and free blocks."""
    volumes = [store.create_tenant(name).create_volume("disk", "64KiB") for name in NAMES.values()]
    for volume in volumes:
        write_tagged(volume, range(20))
    write_tagged(volumes[0], range(5), version=2)
    return store


def synthetic(codes: list[int], head: int = 0) -> DriveMap:
    """A map of two tenants: 0 and 1 are dead, 2 and 3 live, 4 is a summary, 5 is free."""
    kinds = make_kinds(NAMES, others=False)
    counts = tuple(codes.count(code) for code in range(len(kinds)))
    array = np.array(codes, dtype=np.uint8)
    return DriveMap(codes=array, kinds=kinds, counts=counts, head=head, block_size=4096)


def kind(taken: DriveMap, state: str, tenant: int | None = None) -> tuple[Kind, int]:
    """The kind of a state and tenant, and how many blocks are of it."""
    ((found, count),) = (
        (one, count)
        for one, count in zip(taken.kinds, taken.counts, strict=True)
        if one.state == state and one.tenant == tenant
    )
    return found, count


class TestTaking:
    def test_counts_what_the_ledger_says(self, mixed: Store) -> None:
        ledger = mixed.drives[0].ledger()
        taken = DriveMap.of(mixed.drives[0], NAMES)
        assert kind(taken, "live", CONTOSO)[1] == 20
        assert kind(taken, "dead", CONTOSO)[1] == 5
        assert kind(taken, "live", FABRIKAM)[1] == 20
        assert kind(taken, "dead", FABRIKAM)[1] == 0
        assert kind(taken, "summary")[1] == np.count_nonzero(ledger["state"] == BlockState.SUMMARY) > 0
        assert kind(taken, "free")[1] == np.count_nonzero(ledger["state"] == BlockState.FREE) > 0
        assert sum(taken.counts) == BLOCK_COUNT

    def test_is_in_block_order(self, mixed: Store) -> None:
        taken = DriveMap.of(mixed.drives[0], NAMES)
        assert taken.head == mixed.drives[0].head
        states = {"live": BlockState.LIVE, "summary": BlockState.SUMMARY, "free": BlockState.FREE}
        ledger = mixed.drives[0].ledger()
        for code, entry in zip(taken.codes.tolist(), ledger, strict=True):
            shown = taken.kinds[code]
            assert entry["state"] == states.get(shown.state, BlockState.DEAD)
            assert entry["tenant"] == (shown.tenant or 0)

    def test_copies_that_the_cleaner_left_are_dead(self, mixed: Store) -> None:
        tenant = mixed.tenant("fabrikam")
        while not np.any(mixed.drives[0].ledger()["state"] == BlockState.MOVED):
            run_lap(mixed, tenant, laps=0.05)
        ledger = mixed.drives[0].ledger()
        taken = DriveMap.of(mixed.drives[0], NAMES)
        for number in NAMES:
            residue = np.isin(ledger["state"], (BlockState.DEAD, BlockState.MOVED))
            assert kind(taken, "dead", number)[1] == np.count_nonzero(residue & (ledger["tenant"] == number))

    def test_only_blank_blocks_are_free(self, mixed: Store) -> None:
        run_lap(mixed, mixed.tenant("fabrikam"), laps=2)
        drive = mixed.drives[0]
        taken = DriveMap.of(drive, NAMES)
        free = np.flatnonzero(drive.ledger()["state"] == BlockState.FREE)
        assert kind(taken, "free")[1] == len(free)
        owned = sum(kind(taken, state, number)[1] for state in ("live", "dead") for number in NAMES)
        assert kind(taken, "summary")[1] == BLOCK_COUNT - len(free) - owned

    def test_is_a_moment(self, mixed: Store) -> None:
        taken = DriveMap.of(mixed.drives[0], NAMES)
        mixed.tenant("contoso").delete()
        assert kind(taken, "live", CONTOSO)[1] == 20
        assert kind(DriveMap.of(mixed.drives[0], NAMES), "dead", CONTOSO)[1] == 25

    def test_reads_the_ledger_piece_by_piece(self, mixed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = DriveMap.of(mixed.drives[0])
        monkeypatch.setattr(drive_map, "_LEDGER_CHUNK_BLOCKS", 7)
        assert np.array_equal(DriveMap.of(mixed.drives[0]).codes, whole.codes)

    def test_tenants_without_a_name_have_a_number(self, mixed: Store) -> None:
        labels = [one.label for one, blocks in DriveMap.of(mixed.drives[0]).legend() if blocks]
        assert labels == [
            "tenant 1, live", "tenant 1, dead", "tenant 2, live", "log's summaries", "free",
        ]  # fmt: skip

    def test_named_tenants_keep_their_colour_when_they_own_nothing(self, store: Store, mixed: Store) -> None:
        before = kind(DriveMap.of(mixed.drives[0], NAMES), "live", FABRIKAM)[0].colour
        with Store.memory("1MiB") as empty:
            assert kind(DriveMap.of(empty.drives[0], NAMES), "live", FABRIKAM)[0].colour == before

    def test_draws_many_tenants_as_one(self, store: Store) -> None:
        for number in range(MOST_TENANTS + 3):
            write_tagged(store.create_tenant(f"t{number}").create_volume("disk", "8KiB"), range(2))
        taken = DriveMap.of(store.drives[0])
        assert kind(taken, "live", None) == (taken.kinds[2 * MOST_TENANTS + 1], 6)
        assert kind(taken, "live", None)[0].label == "other tenants, live"
        assert kind(taken, "live", MOST_TENANTS)[1] == 2

    def test_works_on_a_simulated_store(self, simulated: Store) -> None:
        volume = simulated.create_tenant("contoso").create_volume("disk", "64KiB")
        volume.write_blocks(0, None, count=30)
        assert kind(DriveMap.of(simulated.drives[0], NAMES), "live", CONTOSO)[1] == 30


class TestCells:
    def test_show_what_most_blocks_are(self) -> None:
        cells, per_cell = synthetic([2, 2, 3, 3, 3, 2, 5, 4, 5]).cells(3)
        assert (cells.tolist(), per_cell) == ([2, 3, 5], 3)

    def test_show_residue_where_it_is_half(self) -> None:
        cells, _ = synthetic([0, 2, 3, 1, 5, 1]).cells(3)
        assert cells.tolist() == [0, 1, 1]

    def test_show_the_last_block_of_the_residue_that_is_looked_for(self) -> None:
        cells, _ = synthetic([2, 2, 2, 0, 1, 3, 3, 3]).cells(2, residue_of=CONTOSO)
        assert cells.tolist() == [0, 3]

    def test_last_one_may_be_smaller(self) -> None:
        cells, per_cell = synthetic([2, 2, 2, 3, 3]).cells(2)
        assert (cells.tolist(), per_cell) == ([2, 3], 3)

    def test_are_blocks_where_there_is_room(self) -> None:
        cells, per_cell = synthetic([0, 1, 2, 3]).cells(100)
        assert (cells.tolist(), per_cell) == ([0, 1, 2, 3], 1)

    def test_say_what_they_stand_for(self) -> None:
        taken = synthetic([2] * 8)
        assert taken.explain_cell(1) == "one cell = one block (4 KiB)"
        assert taken.explain_cell(4) == "one cell = 4 blocks (16 KiB): what most of them are"
        assert '"contoso, dead" if even one of them is' in taken.explain_cell(4, residue_of=CONTOSO)


class TestTerminal:
    def test_reads_without_colour(self) -> None:
        pytest.importorskip("rich")
        lines = render_terminal(synthetic([0, 1, 2, 3, 4, 5, 5, 5], head=5), 4, 2).plain.split("\n")
        assert lines[:2] == ["cfCF", "+#.."]

    def test_marks_the_cell_that_holds_the_head(self) -> None:
        pytest.importorskip("rich")
        lines = render_terminal(synthetic([5] * 100, head=57), 5, 2).plain.split("\n")
        assert lines[:2] == [".....", "#...."]

    def test_states_amounts_and_cell(self) -> None:
        pytest.importorskip("rich")
        plain = render_terminal(synthetic([2] * 256 + [0] * 256), 64, 1).plain
        assert "C contoso, live 1 MiB" in plain
        assert "c contoso, dead 1 MiB" in plain
        assert "fabrikam" not in plain
        assert plain.endswith("one cell = 8 blocks (32 KiB): what most of them are")

    def test_legend_keeps_to_the_width(self, mixed: Store) -> None:
        pytest.importorskip("rich")
        lines = render_terminal(mixed.drives[0], 40, 4, names=NAMES).plain.split("\n")
        assert max(map(len, lines[:-1])) <= 40
        assert sum(map(len, lines[:4])) == 128  # 256 blocks in cells of 2

    def test_colours_differ_by_kind(self) -> None:
        pytest.importorskip("rich")
        text = render_terminal(synthetic([0, 1, 2, 3, 4, 5, 5], head=6), 7, 1)
        assert len({str(span.style) for span in text.spans if span.end <= 7}) == 7

    def test_tenants_with_one_initial_get_letters_of_their_own(self) -> None:
        names = {1: "contoso", 2: "carol", 3: "0x", 4: "Otto", 5: "\N{LATIN SMALL LETTER E WITH ACUTE}"}
        symbols = [one.symbol for one in make_kinds(names, others=True)]
        assert len(set(symbols)) == len(symbols) == 2 * 6 + 2
        assert all(symbol.isascii() for symbol in symbols)


class TestPicture:
    def test_is_a_png_1600_pixels_wide(self, mixed: Store, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        draw_drive_map(mixed.drives[0], tmp_path / "map.png", title="A drive", names=NAMES)
        content = (tmp_path / "map.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(content[16:20], "big") == 1600

    def test_paints_each_cell_in_its_colour(self) -> None:
        figures = pytest.importorskip("matplotlib.figure")
        axes = figures.Figure().add_subplot()
        taken = synthetic([0, 1, 2, 3, 5])
        draw_drive_map(taken, axes, columns=3, rows=2, title="A drive", legend=False)
        painted = axes.images[0].get_array()
        expected = [taken.kinds[code].colour for code in (0, 1, 2, 3, 5)]
        colours = ["#" + bytes(pixel.tolist()).hex() for row in painted for pixel in row]
        assert colours == [*expected, "#ffffff"]
        assert axes.get_title(loc="left") == "A drive"
        assert axes.get_legend() is None

    def test_legend_has_every_kind_that_occurs_and_the_head(self) -> None:
        figures = pytest.importorskip("matplotlib.figure")
        axes = figures.Figure().add_subplot()
        draw_drive_map(synthetic([0] * 4 + [2] * 2 + [5] * 2), axes, columns=4, rows=1)
        legend = axes.get_legend()
        labels = [text.get_text() for text in legend.get_texts()]
        assert labels[:3] == ["contoso, live: 8 KiB", "contoso, dead: 16 KiB", "free: 8 KiB"]
        assert labels[3].startswith("head")
        assert legend.get_title().get_text().startswith("one cell = 2 blocks (8 KiB)")


@pytest.mark.parametrize(("columns", "rows"), [(0, 4), (4, 0), (-1, 4)])
def test_refuses_a_map_without_cells(columns: int, rows: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one column"):
        render_terminal(synthetic([0]), columns, rows)
    with pytest.raises(ConfigError, match="at least one column"):
        draw_drive_map(synthetic([0]), tmp_path / "map.png", columns=columns, rows=rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        (3 << 40, "3 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_formats_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
