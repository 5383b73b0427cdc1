"""The specification, the reader and the engine's headers say the same of each field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from seqstore.format import BlockState, Kind, layout
from seqstore.format.summary import KINDS_WITH_BLOCK

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "on-media-format.md").read_text("utf-8")
NATIVE = ROOT / "src" / "seqstore" / "_native"
HEADERS = "\n".join((NATIVE / name).read_text("utf-8") for name in ("record.h", "checkpoint.h", "entries.h"))

LAYOUTS = {value.what: value for value in vars(layout).values() if isinstance(value, layout.Layout)}
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


def table_behind(mark: str) -> list[list[str]]:
    """Return the rows of the table behind a mark, without its head."""
    match = re.search(rf"<!-- {re.escape(mark)}[^\n]* -->\n\n((?:\|[^\n]*\n)+)", PAGE)
    assert match, mark
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in match[1].splitlines()]
    return rows[2:]


def fields_of(what: str) -> list[tuple[int, int, str]]:
    return [(int(at), SIZES[size] if size in SIZES else int(size), name)
            for at, size, name, *_ in table_behind(f"layout: {what}")]  # fmt: skip


def test_every_structure_has_its_table() -> None:
    assert set(re.findall(r"<!-- layout: ([a-z ]+?)(?: SQ_\w+)? -->", PAGE)) == LAYOUTS.keys()


@pytest.mark.parametrize("what", LAYOUTS)
def test_the_page_and_the_reader_agree_on_fields(what: str) -> None:
    known = LAYOUTS[what]
    in_reader = [
        (at, known.sizes[name], "reserved" if name.startswith("reserved") else name)
        for name, at in known.offsets.items()
    ]
    assert fields_of(what) == in_reader


@pytest.mark.parametrize("what", LAYOUTS)
def test_fields_leave_no_gap(what: str) -> None:
    end = 0
    for at, size, _ in fields_of(what):
        assert at == end
        end = at + size
    assert end == LAYOUTS[what].size


@pytest.mark.parametrize(("what", "prefix"), re.findall(r"<!-- layout: ([a-z ]+?) (SQ_\w+) -->", PAGE))
def test_the_page_and_the_headers_agree_on_offsets(what: str, prefix: str) -> None:
    in_header = {
        name.lower(): int(at) for name, at in re.findall(rf"#define {prefix}_([A-Z_]+) (\d+)\b", HEADERS)
    }
    assert in_header == {name: at for at, _, name in fields_of(what) if name != "reserved"}


def test_the_page_and_the_headers_agree_on_sizes() -> None:
    sizes = dict(re.findall(r"#define (SQ_\w+_BYTES) (\d+)\b", HEADERS))
    expected = {
        "SQ_HEAD_BYTES": "summary",
        "SQ_ENTRY_BYTES": "entry",
        "SQ_ENTRY_SEAL_BYTES": "seal",
        "SQ_CKP_HEAD_BYTES": "checkpoint",
        "SQ_CKP_VOLUME_BYTES": "volume",
        "SQ_CKP_LAYER_BYTES": "layer",
        "SQ_CKP_HOLES_BYTES": "hole leaf",
        "SQ_CKP_OPEN_BYTES": "head",
        "SQ_CKP_RUN_BYTES": "run",
        "SQ_CKP_TABLE_HEAD_BYTES": "table",
        "SQ_CKP_BLOCK_BYTES": "table word",
    }
    assert {what: int(sizes[name]) for name, what in expected.items()} == {
        what: known.size for what, known in LAYOUTS.items()
    }


def test_the_kinds_are_the_same_everywhere() -> None:
    rows = table_behind("kinds: SQ_ENTRY")
    assert {(int(number), name) for number, name, *_ in rows} == {(kind.value, kind.name) for kind in Kind}
    assert {int(row[0]) for row in rows if row[2]} == KINDS_WITH_BLOCK
    in_header = re.findall(r"\bSQ_ENTRY_([A-Z_]+) = (\d+)", HEADERS)
    assert {(int(number), name) for name, number in in_header} == {(kind.value, kind.name) for kind in Kind}


def test_the_states_are_in_their_places() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+)", PAGE[PAGE.index("| state | name |") :], re.MULTILINE)
    assert [(int(number), name.upper()) for number, name in rows[:5]] == [
        (s.value, s.name) for s in BlockState
    ]


@pytest.mark.parametrize("name", ["SQ_RECORD", "SQ_CHECKPOINT"])
def test_magic_and_version(name: str) -> None:
    magic = re.search(rf'#define {name}_MAGIC "(\w{{8}})"', HEADERS)
    version = re.search(rf"#define {name}_VERSION (\d+)", HEADERS)
    assert magic
    assert version
    assert int(version[1]) == layout.FORMAT_VERSION
    assert magic[1].encode() in {layout.RECORD_MAGIC, layout.CHECKPOINT_MAGIC}
    assert f"`{magic[1]}`" in PAGE


def test_the_limits_are_those_of_the_reader() -> None:
    for shift, entries in ((9, "17"), (12, "166"), (16, "2,726")):
        geometry = layout.Geometry(block_size=1 << shift, segment_blocks=4, block_count=8)
        assert f"{geometry.max_entries:,}" == entries
        assert re.search(rf"entries of a summary \|[^|]*\b{entries} at", PAGE)
        in_version_2 = re.findall(r"in version 2: ([\d, ]+) \|", PAGE)
        assert f"{geometry.max_sealed_entries:,}" in in_version_2[0].split(", ")
    assert layout.MAX_LAYERS == 2**23
    assert layout.MAX_LBA == 2**38 - 1
