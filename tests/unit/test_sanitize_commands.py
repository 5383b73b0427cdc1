"""The command `seqstore sanitize`: whom it asks, what it refuses, what it says, and how it ends."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from seqstore import ConfigError, MediumError, Store, canonical
from seqstore.cli import main
from seqstore.keys import FileKey
from seqstore.sanitize import SanitizationOutcome
from seqstore.sanitize.batch import Batch, draw_lots
from seqstore.sanitize.devices import identify
from seqstore.sanitize.key_file import KeyFile
from seqstore.sanitize_commands import parse_technique
from seqstore.values import from_values
from tests.sanitizing import plain_drive, sanitize

pytest.importorskip("rich")

Capture = pytest.CaptureFixture[str]
SIZE = 1 << 20
YES = "--yes-destroy-all-data"


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "old.img"
    file.write_bytes(random.Random(1).randbytes(SIZE))
    return file


class Terminal(io.StringIO):
    """Somebody who types a line."""

    def isatty(self) -> bool:
        return True


def test_it_overwrites_and_says_so(drive: Path, capsys: Capture) -> None:
    assert main(["sanitize", "old.img", YES, "old.img", "--second-verifier", "--outcome", "o.json"]) == 0
    assert drive.read_bytes() == bytes(SIZE)
    said = capsys.readouterr().out
    assert "old.img (old.img): sanitized" in said
    assert "pass 1, zero: 256 of 256 blocks" in said
    assert "verification, full, by the independent verifier: 256 of 256 blocks, 100 %" in said
    (values,) = json.loads(Path("o.json").read_text())
    outcome = from_values(SanitizationOutcome, values)
    assert outcome.succeeded
    assert sorted(path.name for path in drive.parent.iterdir()) == ["o.json", "old.img"]  # no journal is left


@pytest.mark.parametrize(("answer", "status"), [("old.img\n", 0), ("yes\n", 2), ("\n", 2), ("", 2)])
def test_it_asks_for_the_serial_number(
    drive: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    before = drive.read_bytes()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["sanitize", "old.img"]) == status
    assert "ALL DATA ON IT WILL BE DESTROYED" in capsys.readouterr().out
    assert (drive.read_bytes() == before) == (status != 0)


def test_nothing_is_written_where_nobody_said_yes(
    drive: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drive.read_bytes()
    other = drive.with_name("other.img")
    shutil.copy(drive, other)
    assert main(["sanitize", "old.img", "other.img", YES, "old.img"]) == 2
    assert "nothing was written to any drive" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("old.img\n"))  # no terminal
    assert main(["sanitize", "old.img"]) == 2
    assert "nobody can be asked" in capsys.readouterr().err
    assert drive.read_bytes() == other.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.img"], "is not there"),
        (["old.img", "--technique", "gutmann"], "the technique is 'gutmann'"),
        (["old.img", "--technique", "pattern:xy"], "hexadecimal digits are expected"),
        (["old.img", "--technique", "command"], "the technique is 'command'"),
        (["old.img", "--rate", "fast"], "--rate is 'fast'"),
        (["small.img"], "is it a drive?"),
        (["."], "is neither a regular file nor a block device"),
    ],
)
def test_what_cannot_be_done_is_refused(
    drive: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    drive.with_name("small.img").write_bytes(b"x" * 1000)
    assert main(["sanitize", *arguments, YES, "old.img"]) == 2
    assert message in capsys.readouterr().err


def test_drives_of_a_store_are_refused(drive: Path, capsys: Capture) -> None:
    with Store.create("lab.store", "16MiB") as store:
        store.create_tenant("a").create_volume("v", "1MiB").write(0, b"alive")
    image = Path("lab.store/drives/0.img")
    before = image.read_bytes()
    assert main(["sanitize", str(image), YES, "0.img"]) == 2
    assert "is a drive of the store" in capsys.readouterr().err
    os.link(image, "retired.img")
    with Store.open("lab.store"):
        assert main(["sanitize", "retired.img", YES, "retired.img"]) == 2
        assert "is in use" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_what_is_refused_leaves_no_outcome(drive: Path) -> None:
    Path("retired.img").write_bytes(bytes(8192))
    assert main(["sanitize", "retired.img", YES, "other", "--outcome", "outcome.json"]) == 2
    assert not Path("outcome.json").exists()


def test_no_outcome_is_written_over(drive: Path, capsys: Capture) -> None:
    before = drive.read_bytes()
    words = ["sanitize", "old.img", YES, "old.img", "--outcome"]
    Path("o.json").write_text("of another drive")
    assert main([*words, "o.json"]) == 2
    assert "there is a file 'o.json' already" in capsys.readouterr().err
    assert main([*words, "old.img"]) == 2
    assert main([*words, "old.img.sanitize"]) == 2
    assert "where the journal is kept" in capsys.readouterr().err
    assert drive.read_bytes() == before
    assert sorted(path.name for path in drive.parent.iterdir()) == ["o.json", "old.img"]
    assert Path("o.json").read_text() == "of another drive"


def test_an_outcome_goes_into_a_pipe(drive: Path) -> None:
    reader, writer = os.pipe()
    try:
        assert main(["sanitize", "old.img", YES, "old.img", "--outcome", f"/dev/fd/{writer}"]) == 0
        assert json.loads(os.read(reader, 1 << 16))[0]["before"]["serial"] == "old.img"
    finally:
        os.close(reader)
        os.close(writer)


def test_the_serial_of_a_drive_file_is_the_drives_identity(drive: Path, capsys: Capture) -> None:
    with Store.create("lab.store", "16MiB") as store:
        store.create_tenant("a").create_volume("v", "1MiB").write(0, b"alive")
    shutil.copy("lab.store/drives/0.img", "retired.img")
    assert main(["inspect", "retired.img", "--json", "--quick"]) == 0
    identity = json.loads(capsys.readouterr().out)["drive"]
    assert main(["sanitize", "retired.img", YES, "retired.img"]) == 2
    assert repr(identity) in capsys.readouterr().err
    assert main(["sanitize", "retired.img", YES, identity]) == 0
    assert set(Path("retired.img").read_bytes()) == {0}


@pytest.mark.parametrize("purged", [0, 1, 5])
def test_a_drive_is_known_whose_start_was_written_over(drive: Path, purged: int) -> None:
    with Store.create("lab.store", "32MiB") as store:
        store.create_tenant("a").create_volume("v", "12MiB").write(0, b"alive" * 2_000_000)
        identity = store.drives[0].identity
    image = Path("lab.store/drives/0.img").rename("retired.img")
    with image.open("r+b") as file:
        file.write(bytes(purged << 20))
    assert identify(str(image)).serial == f"{identity:016x}"


def test_the_keys_of_an_encrypted_drive_are_destroyed(drive: Path, capsys: Capture) -> None:
    root = Path("root.key")
    root.touch(0o600)
    root.write_bytes(bytes(range(32)))
    with Store.create("lab.store", "16MiB", encryption=FileKey(root)) as store:
        store.create_tenant("a").create_volume("v", "1MiB").write(0, b"alive")
    keys = KeyFile("lab.store/keys")
    with Store.open("lab.store", key=FileKey(root)), pytest.raises(MediumError, match="destroying the keys"):
        keys.destroy()
    copy = Path("lab.store/drives/0.img").rename("retired.img")
    assert not keys.are_gone()
    identity = identify(str(copy)).serial
    words = ["sanitize", "retired.img", YES, identity, "--technique", "cryptographic+zero"]
    assert main(words) == 2
    assert "give their file as --keys" in capsys.readouterr().err
    assert main([*words, "--keys", "lab.store/keys"]) == 0
    assert "pass 1, cryptographic: 3 keys destroyed" in capsys.readouterr().out
    assert keys.are_gone()
    assert set(Path("lab.store/keys").read_bytes()) == {0}
    assert KeyFile("lab.store/keys").destroy() == 0  # once more does no harm


def test_sampling_tells_how_likely_it_finds_what(drive: Path, capsys: Capture) -> None:
    drive.write_bytes(bytes(20_480 * 4096))
    assert main(["sanitize", "old.img", YES, "old.img", "--verification", "sampling"]) == 0
    said = capsys.readouterr().out
    assert "verification, sampling: " in said
    assert "probability of finding so many stray blocks: 1: 0.1" in said


def test_several_drives_at_once(drive: Path, capsys: Capture) -> None:
    names = [f"{number}.img" for number in range(5)]
    for name in names:
        shutil.copy(drive, name)
    yes = [word for name in names for word in (YES, name)]
    assert main(["sanitize", *names, *yes, "--at-once", "2", "--outcome", "o.json"]) == 0
    said = capsys.readouterr().out.split()
    assert said[-6:] == ["drives", "5", "sanitized", "5", "failed", "0"]
    assert [Path(name).read_bytes() for name in names] == [bytes(SIZE)] * 5
    assert len(json.loads(Path("o.json").read_text())) == 5


def test_a_batch_says_which_drives_failed(drive: Path, capsys: Capture) -> None:
    for name in ("1.img", "2.img", "3.img"):
        shutil.copy(drive, name)
    Path("2.img.sanitize.new").mkdir()  # where its journal would be written
    yes = [word for name in ("1.img", "2.img", "3.img") for word in (YES, name)]
    assert main(["sanitize", "1.img", "2.img", "3.img", *yes, "--outcome", "o.json"]) == 1
    said = capsys.readouterr().out
    assert "2.img (2.img): sanitize-failed" in said
    assert [line.split() for line in said.splitlines()[-3:]] == [
        ["drives", "3"],
        ["sanitized", "2"],
        ["failed", "1:", "2.img"],
    ]
    assert [each["before"]["serial"] for each in json.loads(Path("o.json").read_text())] == [
        "1.img",
        "2.img",
        "3.img",
    ]


def test_a_second_verifier_for_a_share_of_the_drives(drive: Path, capsys: Capture) -> None:
    drives = [f"{n}.img" for n in range(5)]
    for name in drives:
        Path(name).write_bytes(drive.read_bytes())
    sure = [word for name in drives for word in (YES, name)]
    assert main(["sanitize", *drives, *sure, "--second-verifier-share", "25%", "--outcome", "o.json"]) == 0
    assert capsys.readouterr().out.count("by the independent verifier") == 2
    outcomes = [from_values(SanitizationOutcome, values) for values in json.loads(Path("o.json").read_text())]
    assert sorted(len(outcome.verifications) for outcome in outcomes) == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("share", ["0", "101%", "-5%", "all", "nan"])
def test_shares_that_are_none(share: str, drive: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["sanitize", "old.img", YES, "old.img", f"--second-verifier-share={share}"])
    assert "is no share" in capsys.readouterr().err
    assert any(drive.read_bytes())


def test_lots_fall_on_every_drive_as_often() -> None:
    seeds = [bytes([n % 256, n // 256]) * 8 for n in range(1000)]
    drawn = Counter(number for seed in seeds for number in draw_lots(10, 0.2, seed))
    assert sum(drawn.values()) == 2000
    assert sorted(drawn) == list(range(10))
    assert max(abs(times - 200) for times in drawn.values()) < 60  # more than four standard deviations
    assert draw_lots(10, 0.01, seeds[0]) == draw_lots(10, 0.1, seeds[0])
    assert draw_lots(3, 1, seeds[0]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("drives", "share", "seed", "message"),
    [
        (0, 0.5, bytes(16), "drives is 0"),
        (5, 0, bytes(16), "share is 0"),
        (5, 1.5, bytes(16), "share is 1.5"),
        (5, 0.5, bytes(15), "has 15 bytes"),
    ],
)
def test_lots_that_cannot_be_drawn(drives: int, share: float, seed: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_lots(drives, share, seed)


def test_a_batch_counts() -> None:
    good, bad = sanitize(plain_drive()), plain_drive()
    bad.bad_on_write(3)
    batch = Batch(outcomes=(good, sanitize(bad), RuntimeError("it broke")))
    assert (batch.sanitized, batch.failed) == (1, 2)
    assert batch.overwritten_bytes == (1024 + 1023) * 512


def test_an_interrupt_can_be_taken_up_again(drive: Path, capsys: Capture) -> None:
    drive.write_bytes(b"x" * (8 << 20))
    command = [
        sys.executable,
        "-m",
        "seqstore",
        "sanitize",
        "old.img",
        YES,
        "old.img",
        "--technique",
        "random",
        "--outcome",
        "o.json",
    ]
    slowly = subprocess.Popen(
        [*command, "--rate", "4MiB"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while drive.read_bytes()[:4096] == b"x" * 4096 and time.monotonic() < deadline:
        time.sleep(0.05)
    slowly.send_signal(signal.SIGINT)
    said, complaint = slowly.communicate(timeout=30)
    assert slowly.returncode == 130
    assert "sanitize-failed" in said
    assert complaint == "seqstore: interrupted; the same command goes on where it was\n"
    assert "cancelled: it was cancelled; it can be taken up again" in said
    assert Path("old.img.sanitize").exists()
    assert main(["sanitize", "old.img", YES, "old.img"]) == 2  # of another technique
    assert "was begun with 'random'" in capsys.readouterr().err
    shutil.copy("o.json", "first.json")
    (values,) = json.loads(Path("o.json").read_text())
    values["before"]["serial"] = values["after"]["serial"] = "other.img"
    Path("o.json").write_bytes(canonical.encode([values, *canonical.decode(Path("o.json").read_bytes())]))
    assert main(["sanitize", "old.img", YES, "old.img", "--technique", "random", "--outcome", "o.json"]) == 0
    assert "taken up again once" in capsys.readouterr().out
    assert not Path("old.img.sanitize").exists()
    told = [
        from_values(SanitizationOutcome, each)
        for file in ("first.json", "o.json")
        for each in json.loads(Path(file).read_text())
    ]
    found = [(each.before.serial, each.succeeded) for each in told if each.before is not None]
    assert found == [("old.img", False), ("other.img", False), ("old.img", True)]


def test_of_a_batch_those_are_named_that_are_left(drive: Path, capsys: Capture) -> None:
    """One drive is done before the interrupt; with the other alone the command goes on."""
    drive.write_bytes(b"x" * (2 << 20))
    Path("small.img").write_bytes(b"x" * 4096)
    words = ["sanitize", "small.img", "old.img", YES, "old.img", YES, "small.img", "--outcome", "o.json"]
    both = subprocess.Popen(
        [sys.executable, "-m", "seqstore", *words, "--at-once", "1", "--rate", "1MiB"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not Path("old.img.sanitize").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    both.send_signal(signal.SIGINT)
    _, complaint = both.communicate(timeout=30)
    assert both.returncode == 130
    assert complaint == (
        "seqstore: interrupted; the same command, with old.img alone, goes on where it was\n"
    )
    assert main(["sanitize", "old.img", YES, "old.img", "--outcome", "o.json"]) == 0
    told = [from_values(SanitizationOutcome, each) for each in json.loads(Path("o.json").read_text())]
    assert {each.before.serial: each.succeeded for each in told if each.before is not None} == {
        "small.img": True,
        "old.img": True,
    }


def test_techniques_are_read() -> None:
    technique = parse_technique("pattern:AA55 + three_pass+zero")
    assert technique.name == "pattern + three_pass + zero"
    assert [step.method.value for step in technique.steps] == ["pattern", "zero", "ones", "random", "zero"]
    assert technique.steps[0].pattern == b"\xaa\x55"
    assert parse_technique("random") != parse_technique("random")


def attach(file: Path) -> str:
    """Make a block device of a file, where this machine lets us."""
    program = shutil.which("losetup")
    if program is None or os.geteuid() != 0:
        pytest.skip("block devices are made of files by root, with losetup")
    done = subprocess.run([program, "-f", "--show", str(file)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"there are no loop devices here: {done.stderr.strip()}")
    return done.stdout.strip()


def test_a_block_device_and_the_file_behind_it(drive: Path, capsys: Capture) -> None:
    device = attach(drive)
    try:
        assert main(["sanitize", "old.img", YES, "old.img"]) == 2
        assert f"is attached to {device}" in capsys.readouterr().err
        name = Path(device).name
        assert main(["sanitize", device, YES, name, "--technique", "ones"]) == 0
        assert f"{device} ({name}): sanitized" in capsys.readouterr().out
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    assert drive.read_bytes() == b"\xff" * SIZE


def test_a_mounted_device_is_refused(drive: Path, capsys: Capture) -> None:
    drive.write_bytes(bytes(16 << 20))
    device = attach(drive)
    mounted = drive.with_name("mounted")
    mounted.mkdir()
    try:
        made = subprocess.run(["mkfs.ext4", "-q", device], capture_output=True, check=False)
        done = subprocess.run(["mount", device, str(mounted)], capture_output=True, check=False)
        if made.returncode or done.returncode:
            pytest.skip("file systems cannot be made and mounted here")
        try:
            (mounted / "file").write_text("alive")
            assert main(["sanitize", device, YES, Path(device).name]) == 2
            assert "mounted or in use" in capsys.readouterr().err
            assert (mounted / "file").read_text() == "alive"
        finally:
            subprocess.run(["umount", str(mounted)], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
