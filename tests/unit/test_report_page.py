"""The page of a report: what stands in it, that it needs nothing else, and that names stay names."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from seqstore import ConfigError, sim
from seqstore.report.palette import HUES
from seqstore.report.runs import name_runs
from seqstore.report.segment_map import map_run
from seqstore.sim import Latencies, RunResult, workloads

pytest.importorskip("matplotlib")

from seqstore.report import figures
from seqstore.report.amplification_figure import draw_amplification
from seqstore.report.gallery import draw_all, save_all
from seqstore.report.page import write_page
from seqstore.report.trend_figure import find_trend

ZIPF = workloads.zipf(1 << 10, 1 << 13, alpha=1.0, seed=1)


def replayed(selection: str = "greedy", utilization: float = 0.8, placement: str = "single") -> RunResult:
    return sim.replay(
        ZIPF,
        selection=selection,
        placement=placement,
        space=sim.FixedDrive(utilization=utilization),
        segment_blocks=16,
        sample_writes=512,
    )


@pytest.fixture(scope="module")
def pair() -> list[RunResult]:
    return [replayed("fifo"), replayed("greedy")]


@pytest.fixture(scope="module")
def page(pair: list[RunResult], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(pair, path, maps={0: map_run(pair[0])})
    return path.read_text("utf-8")


class _Reader(HTMLParser):
    """Notes each element, and complains where one is not closed."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


class TestPage:
    def test_has_every_figure(self, page: str) -> None:
        sections = [attributes["id"] for tag, attributes in read(page).found if tag == "section"]
        assert sections == [
            "write-amplification", "remanence", "deletion-latency", "victims", "drive-map-1",
            "runs", "parameters",
        ]  # fmt: skip
        links = {attributes["href"] for tag, attributes in read(page).found if tag == "a"}
        assert links == {f"#{section}" for section in sections}

    def test_has_all_maps_in_one_section(self, pair: list[RunResult], tmp_path: Path) -> None:
        write_page(pair, tmp_path / "maps.html", maps={place: map_run(run) for place, run in enumerate(pair)})
        reader = read((tmp_path / "maps.html").read_text("utf-8"))
        anchors = [(tag, attributes.get("id")) for tag, attributes in reader.found if "id" in attributes]
        assert ("section", "drive-map-1") in anchors
        assert ("div", "drive-map-2") in anchors
        links = [attributes["href"] for tag, attributes in reader.found if tag == "a"]
        assert [link for link in links if link and "map" in link] == ["#drive-map-1"]

    def test_needs_nothing_else(self, page: str) -> None:
        for tag, attributes in read(page).found:
            assert tag not in {"link", "iframe", "object", "img"}
            for name, value in attributes.items():
                if name in {"src", "href", "xlink:href"}:
                    assert value is not None
                    assert value.startswith(("#", "data:image/png;base64,"))
        assert "url(http" not in page
        assert "@import" not in page

    def test_says_the_figures_of_each_run(self, page: str, pair: list[RunResult]) -> None:
        rows = {row[0]: row[1:] for row in read(page).rows}
        for name, result in zip(("fifo + single", "greedy + single"), pair, strict=True):
            assert f"{result.write_amplification:.4f}" in rows[name]
            assert f"{result.latencies.quantile_laps(0.99):.2f}" in rows[name]
            assert f"{result.oldest_laps:.2f}" in rows[name]

    def test_is_the_same_for_the_same_runs(self, page: str, pair: list[RunResult], tmp_path: Path) -> None:
        write_page(pair, tmp_path / "again.html", maps={0: map_run(pair[0])})
        assert (tmp_path / "again.html").read_text("utf-8") == page

    def test_of_one_run_says_its_figures(self, pair: list[RunResult], tmp_path: Path) -> None:
        write_page(pair[:1], tmp_path / "one.html", title="A & B")
        text = (tmp_path / "one.html").read_text("utf-8")
        assert "<h1>A &amp; B</h1>" in text
        assert "least " not in text

    def test_lists_tenants_where_there_are_several(self, tmp_path: Path) -> None:
        source = workloads.tenant_churn(1 << 12, 2000, seed=1, volume_blocks=64)
        result = sim.replay(source, segment_blocks=32)
        write_page([result], tmp_path / "tenants.html", maps={0: map_run(result)})
        rows = read((tmp_path / "tenants.html").read_text("utf-8")).rows
        number, most = max(result.tenants.items(), key=lambda entry: entry[1].user_blocks)
        assert [f"tenant {number}", f"{most.user_blocks:,}"] in [row[:2] for row in rows]

    def test_names_stay_names(self, pair: list[RunResult], tmp_path: Path) -> None:
        evil = '<script>alert(1)</script> $x^$ & "q"'
        results = [dataclasses.replace(pair[0], source=evil), dataclasses.replace(pair[1], selection="_own")]
        write_page(results, tmp_path / "evil.html")
        text = (tmp_path / "evil.html").read_text("utf-8")
        assert "<script>alert" not in text
        assert len([tag for tag, _ in read(text).found if tag == "script"]) == 1
        assert "_own + single" in text

    def test_of_nothing_or_nowhere_is_refused(self, pair: list[RunResult], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no results"):
            write_page([], tmp_path / "none.html")
        with pytest.raises(ConfigError, match="cannot be written"):
            write_page(pair, tmp_path / "missing" / "page.html")


class TestPictures:
    def test_are_files_of_1600_pixels(self, pair: list[RunResult], tmp_path: Path) -> None:
        pictures = draw_all(name_runs(pair), {1: map_run(pair[1])})
        paths = save_all(pictures, tmp_path / "new" / "folder")
        assert [path.name for path in paths] == [f"{picture.name}.png" for picture in pictures]
        for path in paths:
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert int.from_bytes(content[16:20], "big") == 1600

    def test_as_svg_take_the_room_there_is(self, pair: list[RunResult]) -> None:
        for picture in draw_all(name_runs(pair), {0: map_run(pair[0])}):
            root = ET.fromstring(picture.to_svg())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert root.get("viewBox") is not None
            assert root.get("width") is root.get("height") is None

    def test_bars_are_as_long_as_the_figures(self, pair: list[RunResult]) -> None:
        runs = name_runs(pair)
        bars = [bar.get_extents() for bar in draw_amplification(runs).axes[0].patches]
        scale = bars[0].width  # of the first, which is what was asked for: 1
        ends = {round(1 + bar.width / scale, 3) for bar in bars}
        assert ends == {2.0, *(round(run.result.write_amplification, 3) for run in runs)}

    def test_latency_ends_at_all_of_the_blocks(self, pair: list[RunResult]) -> None:
        whole, tail = figures.draw_latency(name_runs(pair)).axes
        for line, result in zip(whole.lines, pair, strict=False):
            shares = np.asarray(line.get_ydata(), float)
            assert shares[0] == 0
            assert shares[-1] == pytest.approx(1)
            laps = np.asarray(line.get_xdata(), float)[np.searchsorted(shares, 0.99)]
            assert laps == pytest.approx(result.latencies.quantile_laps(0.99))
        assert tail.get_yscale() == "log"

    def test_axes_say_their_units(self, pair: list[RunResult]) -> None:
        panels = figures.draw_remanence(name_runs(pair)).axes
        written = pair[0].user_blocks * 4096 / 2**20
        assert panels[-1].get_xlabel() == "written on request (MiB)"
        assert np.asarray(panels[0].lines[0].get_xdata(), float)[-1] == pytest.approx(written)
        assert [panel.get_ylabel() for panel in panels] == ["blocks / block", "of data", "laps"]
        ticks = figures.percent_ticks()
        assert [ticks(share) for share in (0.2, 0.1 + 0.2, 0.005, 1e-5)] == [
            "20 %",
            "30 %",
            "0.5 %",
            "0.001 %",
        ]

    def test_maps_of_several_runs_have_one_scale_of_ages(self, pair: list[RunResult]) -> None:
        maps = {place: map_run(result) for place, result in enumerate(pair)}
        oldest = max(result.oldest_laps for result in pair)
        for picture in draw_all(name_runs(pair), maps)[-2:]:
            ages = picture.figure.axes[1].images[0]
            assert ages.get_clim()[0] == 0
            assert ages.get_clim()[1] == pytest.approx(oldest)

    def test_histograms_keep_what_they_count(self, pair: list[RunResult]) -> None:
        # Segments of 16 blocks have 17 utilizations: bins that hold one each add up to all segments.
        for result in pair:
            counts, edges = figures.victim_bins(name_runs([result])[0])
            levels = np.histogram(np.arange(17) * 100 // 16 / 100, edges)[0]
            assert (levels >= 1).all()
            assert (counts * levels).sum() == pytest.approx(result.cleaned_segments)

    def test_of_runs_in_which_nothing_happened_are_drawn_all_the_same(self) -> None:
        result = sim.replay(np.arange(100), segment_blocks=16)
        names = [picture.name for picture in draw_all(name_runs([result]))]
        assert names == ["write-amplification", "remanence", "victims"]

    def test_of_very_many_runs_show_some_and_say_so(self, pair: list[RunResult]) -> None:
        runs = name_runs([pair[0]] * (figures.MOST_LINES + 1))
        pictures = {picture.name: picture for picture in draw_all(runs)}
        assert "the first 12 runs" in pictures["remanence"].caption
        assert len(pictures["victims"].figure.axes) == figures.MOST_LINES

    def test_draw_latencies_that_are_longer_than_the_last_bin(self, pair: list[RunResult]) -> None:
        endless = Latencies(counts=(1, 0, 5), bin_writes=1.0, lap_writes=100, seconds_a_write=0.0)
        draw_all(name_runs([dataclasses.replace(pair[0], latencies=endless)]))


class TestTrend:
    def test_is_found_where_one_number_varies(self) -> None:
        runs = name_runs(
            replayed(selection, full) for selection in ("fifo", "greedy") for full in (0.6, 0.7, 0.8)
        )
        assert find_trend(runs) == ("space.utilization", [0.6, 0.7, 0.8] * 2)
        assert "trend" in [picture.name for picture in draw_all(runs)]
        assert {run.colour for run in runs} == set(HUES[:2])

    def test_is_none_where_two_do_or_few_values_are_there(self, pair: list[RunResult]) -> None:
        assert find_trend(name_runs(pair)) is None
        assert find_trend(name_runs([replayed(utilization=0.6), replayed(utilization=0.7)])) is None
        mixed = [replayed(utilization=full) for full in (0.6, 0.7, 0.8)]
        mixed[0] = dataclasses.replace(mixed[0], parameters={**mixed[0].parameters, "seed": 9})
        assert find_trend(name_runs(mixed)) is None


def test_the_style_speaks_of_matplotlib_as_it_is() -> None:
    """No file name is taken for mathematics, whatever stands in it."""
    assert figures.STYLE["text.parse_math"] is False
    assert re.fullmatch(r"#[0-9a-f]{6}", HUES[0])
