"""Runs the demonstration from choosing the files to the verdict."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from seqstore import ConfigError
from seqstore.demo.claims import judge
from seqstore.demo.files import NEEDED
from seqstore.demo.picture import PICTURE_NAME, draw_picture
from seqstore.demo.plan import LEAVER, STAYER, Plan
from seqstore.demo.screen import Screen
from seqstore.demo.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the user chose.

    Attributes
    ----------
    path : Path or None
        Directory whose files are stored; None takes the standard library of the running Python.
    capacity : str or None
        Size of the drive, such as ``"256MiB"``; None derives it from the files.
    output : Path or None
        Directory for the picture; None draws none.
    seed : int
        Of all choices made at random.
    quiet : bool
        Shows figures and claims only.
    """

    path: Path | None = None
    capacity: str | None = None
    output: Path | None = None
    seed: int = 0
    quiet: bool = False


def run_demo(options: DemoOptions) -> bool:
    """Tell the story on the terminal.

    Returns
    -------
    bool
        Whether every claim holds.

    Raises
    ------
    ConfigError
        The options cannot be used, or the files.
    SeqstoreError
        The store failed on the way.
    """
    picture = None if options.output is None else _picture_path(options.output)
    screen = Screen(quiet=options.quiet)
    story = Story(Plan.make(options.path, options.capacity, options.seed))
    with story.store:
        _tell(story, screen)
        claims = judge(story)
        screen.conclude(story, claims)
        if picture is not None:
            _draw(story, picture, screen)
    return all(claim.holds for claim in claims)


def _tell(story: Story, screen: Screen) -> None:
    plan = story.plan
    both = plan.leaver.size + plan.stayer.size
    screen.introduce(story)
    screen.open_act("1  Both store their files, as tar streams, at the same time")
    with screen.progress("storing the files of both", both) as advance:
        story.store_files(advance)
    with screen.progress("reading back, comparing SHA-256", both) as advance:
        story.verify_files(advance)
    if not story.canary_mbas:
        raise ConfigError(NEEDED)
    screen.stored(story)
    screen.open_act(f"2  {LEAVER}'s volume and then the tenant are deleted")
    story.delete_leaver()
    screen.deleted(story)
    screen.open_act(f"3  {STAYER} overwrites its own blocks, at random, until the head has come round")
    with screen.progress("one lap, with a search at each tenth", story.drive.capacity) as advance:
        story.lap(advance)
    with screen.progress(f"reading {STAYER}'s files back", plan.stayer.size) as advance:
        story.verify_stayer(advance)
    screen.lapped(story)


def _picture_path(folder: Path) -> Path:
    """Make sure, before the work, that the picture can be written after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the directory {folder} for the picture cannot be made: {error.strerror}"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ConfigError(
            f"the directory {folder} for the picture cannot be written to; give another --output"
        )
    return folder / PICTURE_NAME


def _draw(story: Story, path: Path, screen: Screen) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        screen.not_pictured("matplotlib is missing; pip install seqstore[cli]")
        return
    try:
        draw_picture(story, path)
    except OSError as error:
        screen.not_pictured(f"{path} cannot be written: {error.strerror}")
    else:
        screen.pictured(path)
