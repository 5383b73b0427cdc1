"""Commands as people mistype them: what is said on standard error, and how the command ends."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from seqstore import Store, canonical
from seqstore.cli import _make_parser, main
from seqstore.command_parts import HelpFormatter
from seqstore.keys import FileKey
from seqstore.paper import Paper, Section, to_text
from seqstore.signing import SigningKey
from seqstore.values import to_values
from tests.certificates import good_outcome

pytest.importorskip("rich")
pytest.importorskip("cryptography")

Capture = pytest.CaptureFixture[str]
MAKE = "certificate make outcome --key private.pem --requested clear --sanitized-by 'Ada, technician'"
WIDTH = 80


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, an encrypted one, keys, an outcome and files of all kinds."""
    place = tmp_path_factory.mktemp("place")
    key = SigningKey.generate()
    key.save(place / "private.pem")
    key.public.save(place / "public.pem")
    (place / "root.key").write_bytes(bytes(range(32)))
    (place / "root.key").chmod(0o600)
    for name, provider in (("lab.store", None), ("secret.store", FileKey(place / "root.key"))):
        with Store.create(place / name, "1MiB", segment_size="64KiB", encryption=provider) as store:
            volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
            volume.write(0, bytes(9000))
            volume.delete()
    (place / "outcome").write_bytes(canonical.encode([to_values(good_outcome())]))
    (place / "old.img").write_bytes(bytes(range(256)) * 1024)
    (place / "odd.img").write_bytes(bytes(range(250)) * 1000)
    (place / "empty.img").touch()
    (place / "x.json").write_text("{}")
    (place / "no.json").write_text("not")
    return place


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("statement list nowhere", 2, "there is no 'nowhere'; give the directory of a store"),
        ("statement list x.json", 2, "'x.json' is no store"),
        ("statement list secret.store", 2, "is encrypted; give the file of its root key as --root-key"),
        ("statement make secret.store 1 --key private.pem", 2, "as --root-key"),
        ("statement list secret.store --root-key nowhere", 2, "the key file 'nowhere' cannot be read"),
        ("statement list secret.store --root-key public.pem", 2, "can be reached by others"),
        ("statement list lab.store --root-key root.key", 2, "--root-key is given, and the store 'lab.store'"),
        ("statement make lab.store 1 --key nowhere", 2, "there is no key 'nowhere'"),
        ("statement make lab.store 1 --key public.pem", 2, "holds no private key"),
        ("statement make lab.store 7 --key private.pem", 2, "`seqstore statement list` shows them"),
        ("statement verify nowhere", 2, "there is no file 'nowhere'"),
        ("statement verify no.json", 1, "no.json: what was read is no JSON"),
        ("statement show x.json", 1, "x.json: a signed document has the keys"),
        ("audit show lab.store --first 99", 2, "there is no record 99; the last one is"),
        ("audit export lab.store --key nowhere", 2, "there is no key 'nowhere'"),
        ("audit export lab.store --key private.pem -o x.json", 2, "there is a file 'x.json' already"),
        ("audit verify lab.store --head x.json --key public.pem", 1, "x.json: a signed document has"),
        ("inspect nowhere", 2, "'nowhere' cannot be read: No such file or directory\n"),
        ("inspect old.img --identity xyz", 2, "'xyz' is given; hexadecimal digits are expected"),
        ("forensics nowhere --pattern old.img", 2, "No such file or directory"),
        ("forensics old.img --pattern nowhere", 2, "there is no file 'nowhere'"),
        ("forensics --store secret.store --pattern old.img", 2, "as --root-key"),
        ("forensics old.img --root-key root.key --pattern old.img", 2, "give it as --store"),
        ("sanitize empty.img", 2, "'empty.img' is empty"),
        ("sanitize odd.img", 2, "250,000 bytes, which is no whole number of sectors of 512"),
        ("sanitize old.img old.img", 2, "'old.img' is named twice"),
        ("sanitize old.img --keys root.key", 2, "the technique destroys none"),
        ("sanitize old.img --technique cryptographic --keys nowhere", 2, "--keys is 'nowhere'"),
        ("sanitize old.img --journals nowhere", 2, "--journals is 'nowhere'"),
        ("sanitize old.img --retries -1", 2, "-1 is given; 0 or more is expected"),
        ("sanitize old.img --retries few", 2, "'few' is given; a whole number is expected"),
        ("statement show x.json --nonsense", 2, "seqstore statement show: unknown arguments: --nonsense"),
        ("sanitize old.img --rate 0 --yes-destroy-all-data old.img", 2, "rate is 0"),
        (MAKE, 2, "the outcome bears out clear, and a certificate of that names who verified it"),
        (f"{MAKE} --key nowhere", 2, "there is no key 'nowhere'"),
        ("certificate verify nowhere --key public.pem", 2, "there is no file 'nowhere'"),
        ("certificate verify x.json --key private.pem", 2, "holds a private key"),
        ("certificate summary x.json", 1, "x.json: a signed document has the keys"),
        ("sweep nowhere", 2, "the grid 'nowhere' cannot be read: No such file"),
        ("report nowhere -o page.html", 2, "'nowhere' cannot be read: No such file"),
    ],
)
def test_what_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, command: str, status: int, words: str
) -> None:
    monkeypatch.chdir(place)
    before = (place / "old.img").read_bytes()
    try:
        ended = main(shlex.split(command))
    except SystemExit as end:  # of the parser
        ended = int(end.code or 0)
    said = capsys.readouterr().err
    assert words in said
    assert "the store failed" not in said
    assert "key=" not in said
    assert ended == status
    assert (place / "old.img").read_bytes() == before


def test_an_encrypted_store_is_opened_with_its_root_key(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(place)
    assert main(["statement", "list", "secret.store", "--root-key", "root.key"]) == 0
    assert "volume 1 'disk'" in capsys.readouterr().out
    assert (
        main(shlex.split("forensics --store secret.store --root-key root.key --pattern old.img --quiet")) == 0
    )


def verbs_of(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Yield a command and everything that can be said after it."""
    yield name
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, inner in action.choices.items():
                yield from verbs_of(inner, f"{name} {verb}".strip())


VERBS = tuple(verbs_of(_make_parser()))


def test_all_verbs_are_found() -> None:
    assert {"", "demo", "trace info", "certificate make", "sanitize"} < set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture, verb: str) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: seqstore")
    assert len(lines) > 5
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize("verb", VERBS)
def test_what_cannot_be_parsed_is_told_in_one_line(capsys: Capture, verb: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([*verb.split(), "--nonsense"])
    said = capsys.readouterr()
    assert (end.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    command = f"seqstore {verb}".strip()
    assert said.err.startswith(f"{command}: ")
    assert said.err.endswith(f"; see `{command} --help`\n")


def test_help_keeps_examples_as_they_are() -> None:
    text = "One line\nthat goes on.\n\nexamples:\n  first  \\\n      --second\nexit status: 0\n"
    parser = argparse.ArgumentParser(description=text, formatter_class=HelpFormatter, prog="p")
    shown = parser.format_help()
    assert "One line that goes on.\n\nexamples:\n  first  \\\n      --second\nexit status: 0\n" in shown


def test_papers_fit_a_terminal_but_for_tables() -> None:
    long = "word " * 60
    paper = Paper(
        title="Title", standing="open", verdict="Open", explanation=long.strip(), footer="",
        sections=(
            Section(title="Facts", facts=(("Name", long.strip()), ("Digest", "f" * 100), ("Nothing", ""))),
            Section(title="Words", sentences=(long.strip(),)),
        ),
    )  # fmt: skip
    lines = to_text(paper, width=WIDTH).splitlines()
    assert [line for line in lines if len(line) > WIDTH] == ["Digest   " + "f" * 100]
    assert "Name     word word" in to_text(paper, width=WIDTH)
    assert "* word" in to_text(paper, width=WIDTH)
    assert to_text(paper, width=WIDTH).split() == to_text(paper).split()


# Help that is not kept is written by argparse, which says nothing if it cannot.
_SHOW, _HELP = ["audit", "show", "lab.store"], ["sanitize", "--help"]


@pytest.mark.parametrize(
    ("verb", "buffered"),
    [(_SHOW, True), (_SHOW, False), (_HELP, True)],
    ids=["show", "show at once", "help"],
)
class TestOutputThatGoesNowhere:
    """Python keeps what is printed and writes it at its end, or at once: what fails then is told the same."""

    def test_a_reader_who_has_seen_enough_is_no_error(
        self, place: Path, verb: list[str], buffered: bool
    ) -> None:
        """The pipe is closed before anything is written to it."""
        reader, writer = os.pipe()
        os.close(reader)
        done = _run_into(writer, verb, place, buffered=buffered)
        assert (done.returncode, done.stderr) == (141, b"")

    def test_a_full_disk_is_one(self, place: Path, verb: list[str], buffered: bool) -> None:
        done = _run_into(os.open("/dev/full", os.O_WRONLY), verb, place, buffered=buffered)
        assert done.returncode == 1
        assert done.stderr == b"seqstore: input or output failed: No space left on device\n"


def test_what_failed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Of what no command expects the file is told, and an error that has no number tells itself."""
    for error, told in (
        (OSError(5, "Input/output error", "old.img"), "'old.img': Input/output error"),
        (OSError("odd"), "odd"),
    ):
        monkeypatch.setattr("seqstore.cli._inspect", Mock(side_effect=error))
        assert main(["inspect", "old.img"]) == 1
        assert capsys.readouterr().err == f"seqstore: input or output failed: {told}\n"


def _run_into(
    output: int, verb: list[str], place: Path, *, buffered: bool
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-m", "seqstore", *verb]
    try:
        return subprocess.run(
            command, stdout=output, stderr=subprocess.PIPE, cwd=place, env=environment, check=False
        )
    finally:
        os.close(output)
