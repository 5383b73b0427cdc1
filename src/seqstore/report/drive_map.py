"""A map of a drive: what each block is, in the order in which the blocks lie.

`DriveMap.of` takes the ledger of a drive at one moment and keeps one small code a block, so that a map
can be drawn later and several moments can be compared. `draw_drive_map` makes a picture of it and
`render_terminal` a text of coloured letters.

A drive has more blocks than a map has room for, so one cell stands for a run of neighbouring blocks and
shows what most of them are; a tie goes to residue. Whoever wants to see the last block of somebody's
residue names that tenant in ``residue_of``: a cell with even one such block then shows it, which
overstates what is left and never hides any. The legend says which rule was used, how many blocks a cell
stands for, and the exact number of blocks of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqstore import BlockState, ConfigError, Drive
from seqstore.report.palette import MOST_TENANTS, Kind, State, channels, make_kinds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.text import Text

_LEDGER_CHUNK_BLOCKS = 1 << 20
_HEAD_SYMBOL, _HEAD_STYLE = "#", "bold white on black"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

# Codes while the ledger is read, before all tenants are known: of nobody's blocks, then in pairs, dead and
# live, of the tenants that get no colour of their own and of the others in the order in which they are met.
_FREE, _SUMMARY, _OTHERS = 0, 1, 2
_OWNED_STATES: tuple[State, State] = ("dead", "live")
_OTHERS_SLOT = -1
_DRAFTS = _OTHERS + 2 * (1 + MOST_TENANTS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriveMap:
    """What every block of a drive was at one moment.

    Attributes
    ----------
    codes : ndarray of uint8, shape (blocks,)
        Index into `kinds`, in block order.
    kinds : tuple of Kind
        Dead before live, and both before summaries and free blocks.
    counts : tuple of int
        Blocks of each kind.
    head : int
        Media block address where the next block goes.
    block_size : int
        Bytes.
    """

    codes: NDArray[np.uint8]
    kinds: tuple[Kind, ...]
    counts: tuple[int, ...]
    head: int
    block_size: int

    @classmethod
    def of(cls, drive: Drive, names: Mapping[int, str] | None = None) -> DriveMap:
        """Take the ledger of a drive.

        Parameters
        ----------
        drive : Drive
            The drive; nothing on it changes.
        names : mapping of int to str, optional
            Tenants' names by their numbers. They come first in the legend, in this order and even where
            they own nothing, so that maps of different moments match in colour. Tenants without a name
            follow by number; where there are more than six in all, those that lie behind the first six on
            the drive are drawn as one.
        """
        slots = {number: slot for slot, number in enumerate(list(names or {})[:MOST_TENANTS])}
        drafts = np.empty(drive.blocks, dtype=np.uint8)
        tally = np.zeros(_DRAFTS, dtype=np.int64)
        for first in range(0, drive.blocks, _LEDGER_CHUNK_BLOCKS):
            entries = drive.ledger(first, min(_LEDGER_CHUNK_BLOCKS, drive.blocks - first))
            draft = _draft_codes(entries, slots)
            tally += np.bincount(draft, minlength=_DRAFTS)
            drafts[first : first + len(draft)] = draft

        shown = {number: (names or {}).get(number, f"tenant {number}") for number in _in_order(slots, names)}
        kinds = make_kinds(shown, others=bool(tally[_OTHERS : _OTHERS + 2].any()))
        place = {(kind.state, kind.tenant): code for code, kind in enumerate(kinds)}
        final = np.zeros(_DRAFTS, dtype=np.uint8)
        final[_FREE], final[_SUMMARY] = place["free", None], place["summary", None]
        for number, slot in [*slots.items(), (None, _OTHERS_SLOT)]:
            for is_live, state in enumerate(_OWNED_STATES):
                final[_OTHERS + 2 * (slot + 1) + is_live] = place.get((state, number), 0)
        counts = np.bincount(final, weights=tally, minlength=len(kinds)).astype(np.int64)
        return cls(
            codes=final[drafts],
            kinds=kinds,
            counts=tuple(counts.tolist()),
            head=drive.head,
            block_size=drive.block_size,
        )

    def cells(self, count: int, residue_of: int | None = None) -> tuple[NDArray[np.uint8], int]:
        """Gather the blocks into at most `count` cells.

        Parameters
        ----------
        count : int
            Cells that there is room for, at least 1.
        residue_of : int, optional
            Number of a tenant: a cell that holds any dead block of it shows that.

        Returns
        -------
        cells : ndarray of uint8, shape (n,)
            Index into `kinds`: the kind of most blocks of the cell; of equally many, the first in `kinds`.
        blocks_per_cell : int
            The last cell may stand for fewer.
        """
        per_cell = -(-len(self.codes) // count)
        if per_cell == 1 and residue_of is None:
            return self.codes, 1
        starts = np.arange(0, len(self.codes), per_cell)
        tallies = np.stack(
            [np.add.reduceat(self.codes == code, starts, dtype=np.int64) for code in range(len(self.kinds))]
        )
        cells = np.argmax(tallies, axis=0).astype(np.uint8)
        for code, kind in enumerate(self.kinds):
            if residue_of is not None and kind.state == "dead" and kind.tenant == residue_of:
                cells[tallies[code] > 0] = code
        return cells, per_cell

    def legend(self) -> list[tuple[Kind, int]]:
        """List all kinds, with their blocks, as people read them: by tenant, live before dead."""
        owners = [kind.tenant for kind in self.kinds if kind.state == "dead"]

        def place(entry: tuple[Kind, int]) -> tuple[int, bool]:
            kind = entry[0]
            if kind.state in {"summary", "free"}:
                return len(owners), kind.state == "free"
            return owners.index(kind.tenant), kind.state == "dead"

        return sorted(zip(self.kinds, self.counts, strict=True), key=place)

    def explain_cell(self, blocks_per_cell: int, residue_of: int | None = None) -> str:
        """Say in a sentence what a cell of `cells` stands for."""
        if blocks_per_cell == 1:
            return f"one cell = one block ({format_bytes(self.block_size)})"
        rule = "what most of them are"
        for kind in self.kinds:
            if residue_of is not None and kind.state == "dead" and kind.tenant == residue_of:
                rule = f'"{kind.label}" if even one of them is, else what most of them are'
        size = format_bytes(blocks_per_cell * self.block_size)
        return f"one cell = {blocks_per_cell:,} blocks ({size}): {rule}"


def _draft_codes(entries: NDArray[np.void], slots: dict[int, int]) -> NDArray[np.uint8]:
    """Code a piece of the ledger, and give the tenants in it a slot as long as there are any."""
    owners, states = entries["tenant"], entries["state"]
    numbers = np.unique(owners)
    for number in numbers[numbers != 0].tolist():
        if len(slots) < MOST_TENANTS:
            slots.setdefault(number, len(slots))
    slot_of = np.array([slots.get(number, _OTHERS_SLOT) for number in numbers.tolist()])
    owned = _OTHERS + 2 * (slot_of + 1)
    codes: NDArray[np.int64] = owned[np.searchsorted(numbers, owners)] + (states == BlockState.LIVE)
    # A summary that is no longer in use is dead, and the log's own.
    codes[owners == 0] = _SUMMARY
    codes[states == BlockState.FREE] = _FREE
    return codes.astype(np.uint8)


def _in_order(slots: Mapping[int, int], names: Mapping[int, str] | None) -> list[int]:
    """List the tenants that are drawn: those with a name as they were named, then the others by number."""
    named = [number for number in names or {} if number in slots]
    return [*named, *sorted(slots.keys() - named)]


def format_bytes(count: int) -> str:
    """Write a number of bytes with a binary unit, such as ``"64 MiB"`` or ``"1.5 KiB"``."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{count / 1024**power:.1f}".removesuffix(".0") + f" {_UNITS[power]}"


def draw_drive_map(
    drive: Drive | DriveMap,
    target: Axes | str | os.PathLike[str],
    *,
    title: str | None = None,
    names: Mapping[int, str] | None = None,
    columns: int = 192,
    rows: int = 96,
    residue_of: int | None = None,
    legend: bool = True,
) -> None:
    """Draw the map of a drive, row by row in block order, with the head marked.

    Parameters
    ----------
    drive : Drive or DriveMap
        A drive as it is now, or a map that was taken earlier.
    target : matplotlib Axes, str or path
        Axes to draw on, or a file to write (PNG unless the name ends otherwise, 1600 pixels wide).
    title : str, optional
        Stands above the map.
    names : mapping of int to str, optional
        See `DriveMap.of`; ignored for a `DriveMap`.
    columns, rows : int
        Cells that there is room for, each way.
    residue_of : int, optional
        See `DriveMap.cells`.
    legend : bool
        Whether to draw the legend under the map.

    Raises
    ------
    ConfigError
        `columns` or `rows` is less than 1.
    ImportError
        matplotlib is not installed (``pip install seqstore[cli]``).
    OSError
        The file cannot be written.
    """
    _check_grid(columns, rows)
    drive_map = drive if isinstance(drive, DriveMap) else DriveMap.of(drive, names)
    draw = partial(
        _draw_on,
        drive_map=drive_map,
        title=title,
        columns=columns,
        rows=rows,
        residue_of=residue_of,
        legend=legend,
    )
    if not isinstance(target, (str, os.PathLike)):
        draw(target)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  only needed to draw
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 10 * rows / columns + 1.4), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    figure.savefig(target)


def legend_handles(maps: Sequence[DriveMap]) -> list[Any]:
    """Make matplotlib's legend entries: one for each kind of block that occurs, and one for the head.

    Parameters
    ----------
    maps : sequence of DriveMap
        Maps that share the legend, the last made with all names. The amounts stand in it if it is one map.
    """
    from matplotlib.lines import Line2D  # noqa: PLC0415  only needed to draw
    from matplotlib.patches import Patch  # noqa: PLC0415

    occurring = {kind.label for drive_map in maps for kind, blocks in drive_map.legend() if blocks}
    handles: list[Any] = []
    for kind, blocks in maps[-1].legend():
        if kind.label in occurring:
            amount = f": {format_bytes(blocks * maps[-1].block_size)}" if len(maps) == 1 else ""
            label = kind.label + amount
            handles.append(Patch(facecolor=kind.colour, edgecolor="#888888", linewidth=0.5, label=label))
    label = "head: the next block goes here"
    handles.append(Line2D([], [], marker=">", color="black", linestyle="none", label=label))
    return handles


def render_terminal(
    drive: Drive | DriveMap,
    width: int = 80,
    height: int = 8,
    *,
    names: Mapping[int, str] | None = None,
    residue_of: int | None = None,
) -> Text:
    """Draw the map of a drive with coloured letters.

    The letters differ by kind, so that the map reads without colour too: upper case is live, lower case
    is dead, ``+`` is a summary, ``.`` is free, and ``#`` is the cell that the head stands in.

    Parameters
    ----------
    drive : Drive or DriveMap
        A drive as it is now, or a map that was taken earlier.
    width, height : int
        Columns and rows of the map, without its legend.
    names, residue_of : optional
        See `draw_drive_map`.

    Returns
    -------
    rich.text.Text
        The map and its legend, to print with a rich console; ``.plain`` is the text alone.

    Raises
    ------
    ConfigError
        `width` or `height` is less than 1.
    ImportError
        rich is not installed (``pip install seqstore[cli]``).
    """
    _check_grid(width, height)
    from rich.text import Text  # noqa: PLC0415  only needed to draw

    drive_map = drive if isinstance(drive, DriveMap) else DriveMap.of(drive, names)
    cells, per_cell = drive_map.cells(width * height, residue_of)
    styles = [kind.letter_style for kind in drive_map.kinds]
    head_cell = drive_map.head // per_cell

    text = Text(no_wrap=True)
    for first in range(0, len(cells), width):
        for cell, code in enumerate(cells[first : first + width].tolist(), start=first):
            if cell == head_cell:
                text.append(_HEAD_SYMBOL, _HEAD_STYLE)
            else:
                text.append(drive_map.kinds[code].symbol, styles[code])
        text.append("\n")
    legend = [
        (kind.symbol, kind.letter_style, f"{kind.label} {format_bytes(blocks * drive_map.block_size)}")
        for kind, blocks in drive_map.legend()
        if blocks
    ]
    column = 0
    for symbol, style, label in [*legend, (_HEAD_SYMBOL, _HEAD_STYLE, "head")]:
        entry = Text.assemble((symbol, style), f" {label}")
        if column and column + 3 + len(entry) > width:
            text.append("\n")
            column = 0
        elif column:
            text.append("   ")
            column += 3
        text.append_text(entry)
        column += len(entry)
    text.append(f"\n{drive_map.explain_cell(per_cell, residue_of)}", "dim")
    return text


def _check_grid(columns: int, rows: int) -> None:
    if columns < 1 or rows < 1:
        raise ConfigError(f"a map needs at least one column and one row, not {columns} x {rows}")


def _draw_on(
    axes: Axes,
    drive_map: DriveMap,
    *,
    title: str | None,
    columns: int,
    rows: int,
    residue_of: int | None,
    legend: bool,
) -> None:
    """Draw a map, its title and its legend."""
    cells, per_cell = drive_map.cells(columns * rows, residue_of)
    _draw_cells(axes, drive_map, cells, columns, drive_map.head // per_cell)
    if title is not None:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    if legend:
        axes.legend(
            handles=legend_handles([drive_map]),
            title=drive_map.explain_cell(per_cell, residue_of),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=3,
            frameon=False,
        )


def _draw_cells(
    axes: Axes, drive_map: DriveMap, cells: NDArray[np.uint8], columns: int, head_cell: int
) -> None:
    """Paint the cells as an image, white where the last row ends early, and mark the head."""
    palette = np.array(
        [channels(kind.colour) for kind in drive_map.kinds] + [(255, 255, 255)], dtype=np.uint8
    )
    rows = -(-len(cells) // columns)
    padded = np.full(rows * columns, len(drive_map.kinds), dtype=np.uint8)
    padded[: len(cells)] = cells
    axes.imshow(palette[padded.reshape(rows, columns)], interpolation="nearest", aspect="auto")

    row, column = divmod(head_cell, columns)
    axes.axhline(row, color="black", linewidth=0.8)
    axes.plot([column], [row], marker="o", markersize=6, markerfacecolor="white", markeredgecolor="black")
    axes.plot([-0.006], [row], marker=">", color="black", clip_on=False, transform=axes.get_yaxis_transform())
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#999999")
