"""Certificates of sanitization as PDF, with the signed text attached.

fpdf2 sets them: it is plain Python, keeps attachments and sets tables that go on over pages. The letters are
those of DejaVu, which comes with matplotlib, since the fonts that every PDF reader has know no more than
western European ones. The same certificate gives the same bytes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from seqstore.certificate import Certificate
from seqstore.certificate_page import make_paper
from seqstore.errors import ConfigError
from seqstore.paper import Fact, Paper, Section, is_short

if TYPE_CHECKING:
    from fpdf import FPDF
    from fpdf.fonts import FontFace

ATTACHMENT = "certificate.json"
"""Name of the signed text in the PDF."""

_INK, _SOFT, _LINE, _MARKED = (29, 29, 27), (99, 99, 94), (226, 226, 220), (253, 241, 227)
_CAUTION = (163, 64, 43)
_BOXES: Final = {
    "complete": ((233, 245, 239), (159, 205, 184)),
    "open": ((253, 241, 227), (227, 181, 122)),
    "failed": ((251, 233, 231), (217, 150, 140)),
}
_FAMILY = "DejaVu"
_MARGIN, _TOP, _PADDING, _NAME_WIDTH = 18, 14, 4, 38  # mm
_NEARLY_EMPTY = 80  # mm
_TABLE_SIZES = (7.5, 6.5, 5.8)  # points; the largest that fits, or else the smallest
_LATEST_NS = 253_402_300_799 * 10**9  # the end of the year 9999


def render_pdf(certificate: Certificate, *, verified: str | None = None) -> bytes:
    """Return a certificate as PDF; parameters as in `seqstore.certificate_page.make_paper`.

    Raises
    ------
    ConfigError
        If fpdf2, or matplotlib with its fonts, is not installed.
    """
    paper = make_paper(certificate, verified=verified)
    return to_pdf(
        paper, certificate.content.issued.time_ns, attachment=(ATTACHMENT, certificate.to_json().encode())
    )


def to_pdf(paper: Paper, time_ns: int, *, attachment: tuple[str, bytes] | None = None) -> bytes:
    """Return a paper as PDF.

    Parameters
    ----------
    paper : Paper
    time_ns : int
        Stands in the file as the time of its making, so that equal papers are equal files.
    attachment : (str, bytes), optional
        Name and content of a file to be attached.

    Raises
    ------
    ConfigError
        If fpdf2, or matplotlib with its fonts, is not installed.
    """
    pdf = _set(paper)
    if pdf.page_no() == 2 and pdf.get_y() < _NEARLY_EMPTY:
        _close_fonts(pdf)
        pdf = _set(paper, is_even=True)
    pdf.set_title(paper.title)
    pdf.set_creation_date(datetime.fromtimestamp(min(time_ns, _LATEST_NS) // 10**9, timezone.utc))
    if attachment is not None:
        name, data = attachment
        pdf.embed_file(basename=name, bytes=data, desc="the signed text, which is what counts")
    return bytes(pdf.output())


def _set(paper: Paper, *, is_even: bool = False) -> FPDF:
    """Set a paper; is_even: with a new page where its second half begins, and not where the first is full."""
    pdf = _begin(paper.footer)
    _write(pdf, paper.title, 17, bold=True)
    if paper.caution:
        pdf.ln(0.8)
        _write(pdf, paper.caution, 8.5, bold=True, colour=_CAUTION)
    if paper.subtitle:
        pdf.ln(0.8)
        _write(pdf, paper.subtitle, 8.5, colour=_SOFT)
    pdf.ln(2)
    _verdict(pdf, paper)
    for section in paper.sections:
        if is_even and section.begins_second_half and pdf.page_no() == 1:
            pdf.add_page()
        _section(pdf, section)
    return pdf


def _begin(footer: str) -> FPDF:
    try:
        from fpdf import FPDF  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ConfigError("PDF needs the package fpdf2; pip install seqstore[pdf]") from error

    class Sheet(FPDF):
        """A4 with a line below each page."""

        def footer(self) -> None:
            """Write what stands below a page: what counts, and which page this is."""
            self.set_y(-16)
            self.set_font(_FAMILY, "", 6.5)
            self.set_text_color(*_SOFT)
            self.multi_cell(0, 3.2, footer, align="L", new_x="LMARGIN", new_y="NEXT")
            self.cell(0, 3.2, f"Page {self.page_no()} of {{nb}}")

    pdf = Sheet(format="A4")
    fonts = _find_fonts()
    pdf.add_font(_FAMILY, "", fonts / "DejaVuSans.ttf")
    pdf.add_font(_FAMILY, "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.set_margins(_MARGIN, _TOP, _MARGIN)
    pdf.set_auto_page_break(True, 20)
    pdf.set_draw_color(*_LINE)
    pdf.set_creator("seqstore")
    pdf.add_page()
    return pdf


def _close_fonts(pdf: FPDF) -> None:
    """Close the files of the letters of a document that is never put out, which would do that."""
    for font in pdf.fonts.values():
        if hasattr(font, "close"):  # not those that every PDF reader has
            font.close()


def _find_fonts() -> Path:
    """Find the fonts that matplotlib brings, without loading it."""
    spec = importlib.util.find_spec("matplotlib")
    for folder in () if spec is None else spec.submodule_search_locations or ():
        fonts = Path(folder) / "mpl-data" / "fonts" / "ttf"
        if (fonts / "DejaVuSans.ttf").exists():
            return fonts
    raise ConfigError("PDF needs the fonts of the package matplotlib; pip install seqstore[pdf]")


def _write(
    pdf: FPDF, text: str, size: float, *, bold: bool = False, colour: tuple[int, int, int] = _INK
) -> None:
    pdf.set_font(_FAMILY, "B" if bold else "", size)
    pdf.set_text_color(*colour)
    pdf.multi_cell(0, size * 0.5, text, new_x="LMARGIN", new_y="NEXT", align="L")


def _verdict(pdf: FPDF, paper: Paper) -> None:
    """Draw a box as high as its two texts, and write them into it."""
    from fpdf.enums import MethodReturnValue  # noqa: PLC0415  an extra

    fill, border = _BOXES[paper.standing]
    parts = ((paper.verdict, "B", 14.0, 6.5), (paper.explanation, "", 9.5, 5.0))
    height, width = 2.0 * _PADDING, pdf.epw - 2 * _PADDING
    for text, style, size, line in parts:
        pdf.set_font(_FAMILY, style, size)
        measured = pdf.multi_cell(width, line, text, align="L", dry_run=True, output=MethodReturnValue.HEIGHT)
        height += float(measured)  # type: ignore[arg-type]
    pdf.set_fill_color(*fill)
    pdf.set_draw_color(*border)
    pdf.rect(pdf.l_margin, pdf.get_y(), pdf.epw, height, style="DF", round_corners=True, corner_radius=1.5)
    pdf.set_fill_color(255, 255, 255)
    pdf.set_draw_color(*_LINE)
    bottom = pdf.get_y() + height
    pdf.set_y(pdf.get_y() + _PADDING)
    for text, style, size, line in parts:
        pdf.set_font(_FAMILY, style, size)
        pdf.set_text_color(*_INK)
        pdf.set_x(pdf.l_margin + _PADDING)
        pdf.multi_cell(width, line, text, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.set_y(bottom + 1)


def _section(pdf: FPDF, section: Section) -> None:
    if pdf.will_page_break(_least_height(section)):
        pdf.add_page()
    pdf.ln(3)
    _write(pdf, section.title, 11.5, bold=True)
    pdf.ln(0.8)
    if section.facts:
        _facts(pdf, section)
    if section.rows:
        _table(pdf, section)
    for sentence in section.sentences:
        pdf.ln(0.8)
        _write(pdf, f"\u2022  {sentence}", 8.5)


def _least_height(section: Section) -> float:
    """Return the room below which a section begins on the next page: its title and its first lines, in mm."""
    rows = len(list(_rows_of(section.facts))) or len(section.sentences)
    return 26 if section.rows else 10 + 4.8 * min(rows, 4)


def _facts(pdf: FPDF, section: Section) -> None:
    pdf.set_font(_FAMILY, "", 8.5)
    wide = pdf.epw / 2 - _NAME_WIDTH
    with pdf.table(
        col_widths=(_NAME_WIDTH, wide, _NAME_WIDTH, wide),
        first_row_as_headings=False,
        borders_layout="NONE",
        line_height=4.0,
        padding=(0.4, 1, 0.4, 0),
        align="LEFT",
        text_align="LEFT",
        v_align="TOP",
        wrapmode="CHAR"
        if any(" " not in value and len(value) > 60 for _, value in section.facts)
        else "WORD",
    ) as table:
        for facts in _rows_of(section.facts):
            row = table.row()
            for name, value in facts:
                row.cell(name, style=_style(None, colour=_SOFT))
                row.cell(value, style=_style(None), colspan=1 if is_short((name, value)) else 3)
            if len(facts) == 1 and is_short(facts[0]):
                row.cell("", colspan=2)


def _rows_of(facts: Sequence[Fact]) -> Iterator[Sequence[Fact]]:
    """Put short facts beside each other, two in a row."""
    waiting: list[Fact] = []
    for fact in facts:
        if not is_short(fact):
            yield from filter(None, (waiting, [fact]))
            waiting = []
            continue
        waiting = [*waiting, fact]
        if len(waiting) == 2:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _table(pdf: FPDF, section: Section) -> None:
    pdf.ln(1)
    size, widths = _TABLE_SIZES[0], [0.0]
    for size in _TABLE_SIZES:
        widths = _widths(pdf, section, size)
        if sum(widths) <= pdf.epw:
            break
    pdf.set_font(_FAMILY, "", size)
    with pdf.table(
        col_widths=tuple(widths),
        borders_layout="HORIZONTAL_LINES",
        line_height=size * 0.52,
        padding=(0.9, 1),
        text_align="LEFT",
        headings_style=_style(None, bold=True, size=size),
    ) as table:
        table.row(section.columns)
        for number, cells in enumerate(section.rows):
            fill = _MARKED if number in section.marked else None
            row = table.row()
            for cell in cells:
                row.cell(cell, style=_style(fill, size=size))


def _widths(pdf: FPDF, section: Section, size: float) -> list[float]:
    """Return how wide the columns are if nothing in them is broken, in mm."""
    columns = list(zip(section.columns, *section.rows, strict=True))
    widths = []
    for head, *cells in columns:
        pdf.set_font(_FAMILY, "B", size)
        width = pdf.get_string_width(head)
        pdf.set_font(_FAMILY, "", size)
        widths.append(max(width, *map(pdf.get_string_width, cells)) + 2.4)
    return widths


def _style(
    fill: tuple[int, int, int] | None,
    *,
    bold: bool = False,
    size: float = 8.5,
    colour: tuple[int, int, int] = _INK,
) -> FontFace:
    from fpdf.fonts import FontFace  # noqa: PLC0415  an extra

    return FontFace(family=_FAMILY, emphasis="B" if bold else "", size_pt=size, color=colour, fill_color=fill)
