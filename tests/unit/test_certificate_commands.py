"""The command `seqstore certificate`, from the outcome of a pass to a PDF, and openssl on what it writes."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqstore import Store, canonical
from seqstore.certificate import Certificate
from seqstore.cli import main
from seqstore.signing import Sealed, SigningKey
from seqstore.values import to_values
from tests.certificates import SERIAL, bad_blocks, good_outcome, issue

pytest.importorskip("cryptography")

Capture = pytest.CaptureFixture[str]
MAKE = (
    "certificate make {file} --key private.pem --requested clear --media-type hdd --place 'Ghent, hall 3'"
    " --sanitized-by 'Ada Byron, technician' --verified-by 'Grace Murray, auditor'"
)


@pytest.fixture
def place(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    key.save("private.pem")
    key.public.save("public.pem")
    for name, outcome in (("good", good_outcome()), ("bad", bad_blocks())):
        Path(f"{name}.outcome").write_bytes(canonical.encode([to_values(outcome)]))
        assert run(MAKE.format(file=f"{name}.outcome") + f" -o {name}.json") == 0
    return tmp_path


def run(command: str) -> int:
    return main(shlex.split(command))


class TestMaking:
    def test_what_a_pass_found_is_certified(self, place: Path, key: SigningKey) -> None:
        certificate = Certificate.from_json(Path("good.json").read_text())
        certificate.verify(key.public)
        said = certificate.content.particulars
        assert (said.medium.serial, said.medium.manufacturer, said.medium.model) == (
            SERIAL,
            "Example",
            "EX-10",
        )
        assert said.verified_by is not None
        assert (said.verified_by.name, said.verified_by.role, said.verified_by.place) == (
            "Grace Murray",
            "auditor",
            "Ghent, hall 3",
        )
        assert certificate.content.issued.actor == "Ada Byron"

    def test_what_the_owner_knows_of_the_drive(self, place: Path) -> None:
        known = "--geometry '4 heads' --slot 'bay 7' --source rack --property-number P-1"
        assert run(f"{MAKE.format(file='good.outcome')} {known} -o c.json") == 0
        said = Certificate.from_json(Path("c.json").read_text()).content.particulars
        assert (said.medium.geometry, said.medium.property_number) == ("4 heads", "P-1")
        assert (said.source.slot, said.source.store) == ("bay 7", "rack")

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ("--verified-by 'ada byron, auditor'", "two persons are expected"),
            ("--verified-by Grace", "'NAME, ROLE' is expected"),
            ("--serial ZX-0043", "give one as --serial"),
            ("--assure magic me because", "one of encrypted throughout"),
            ("-o good.json", "there is a file 'good.json' already"),
        ],
    )
    def test_what_cannot_be_used(self, place: Path, capsys: Capture, more: str, words: str) -> None:
        options = {"--serial ZX-0043": "two.outcome"}
        both = [to_values(good_outcome()), to_values(bad_blocks())]
        Path("two.outcome").write_bytes(canonical.encode(both))
        assert run(f"{MAKE.format(file=options.get(more, 'good.outcome'))} {more}") == 2
        assert words in capsys.readouterr().err

    def test_files_that_are_no_outcome(self, place: Path, capsys: Capture) -> None:
        Path("x.outcome").write_text("[]")
        assert run(MAKE.format(file="x.outcome")) == 2
        assert "holds no outcome" in capsys.readouterr().err

    def test_a_success_that_nobody_verified_is_not_certified(self, place: Path, capsys: Capture) -> None:
        assert run(MAKE.format(file="good.outcome").partition(" --verified-by")[0]) == 2
        assert "names who verified it: give --verified-by" in capsys.readouterr().err

    def test_assurances_and_destinations(self, place: Path, capsys: Capture) -> None:
        more = "--assure 'vendor trusted' 'Ada Byron' 'audit 7' --destination manufacturer --profile r1"
        assert run(f"{MAKE.format(file='good.outcome')} {more} -o c.json") == 0
        assert run("certificate show c.json") == 0
        shown = capsys.readouterr().out
        assert "Ada Byron vouches for: vendor trusted (audit 7)" in shown
        assert "NIST SP 800-88 Rev. 1" in shown


class TestEncryptedKeys:
    COMMANDS = (
        MAKE.replace("private.pem", "locked.pem").format(file="good.outcome"),
        "certificate validate good.json --key locked.pem --by 'Carol Shaw, owner' --accept",
        "audit export lab.store --key locked.pem",
        "statement make lab.store 1 --key locked.pem",
    )

    @pytest.fixture
    def locked(self, place: Path, key: SigningKey) -> Path:
        key.save("locked.pem", b"open sesame")
        Path("words").write_bytes(b"open sesame\r\nwhat follows is not read")
        with Store.create("lab.store", "1MiB", segment_size="64KiB") as store:
            volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
            volume.write(0, b"gone")
            volume.delete()
        return place

    @pytest.mark.parametrize("command", COMMANDS)
    def test_the_passphrase_is_in_a_file(self, locked: Path, key: SigningKey, command: str) -> None:
        assert run(f"{command} --passphrase-file words -o signed.json") == 0
        Sealed.parse(Path("signed.json").read_bytes()).verify(key.public)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_nobody_is_asked_who_is_not_there(self, locked: Path, capsys: Capture, command: str) -> None:
        assert run(f"{command} -o signed.json") == 2
        assert "as --passphrase-file" in capsys.readouterr().err
        assert not Path("signed.json").exists()

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            ("open sesame", ""),
            ("open barley", "is it the right password?"),
            ("", "is empty"),
            (None, "no passphrase was typed"),
        ],
    )
    def test_somebody_types_it(
        self,
        locked: Path,
        key: SigningKey,
        capsys: Capture,
        monkeypatch: pytest.MonkeyPatch,
        typed: str | None,
        words: str,
    ) -> None:
        asked = []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            if typed is None:
                raise EOFError
            return typed

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr("getpass.getpass", ask)
        assert run(f"{self.COMMANDS[0]} -o signed.json") == (2 if words else 0)
        assert words in capsys.readouterr().err
        assert asked == ["Passphrase of locked.pem: "]
        assert Path("signed.json").exists() == (not words)

    def test_files_that_hold_none(self, locked: Path, capsys: Capture) -> None:
        Path("wrong").write_text("open barley\n")
        for file, words in (("wrong", "right password"), ("nowhere", "there is no file 'nowhere'")):
            assert run(f"{self.COMMANDS[0]} --passphrase-file {file}") == 2
            assert words in capsys.readouterr().err


class TestReading:
    def test_one_that_holds(self, place: Path, key: SigningKey, capsys: Capture) -> None:
        assert run(f"certificate verify good.json --key public.pem --serial {SERIAL} --require clear") == 0
        told = capsys.readouterr().out
        assert key.public.fingerprint in told
        assert f"{SERIAL}: Clear achieved" in told

    def test_one_of_a_failure_holds_and_says_so(self, place: Path, capsys: Capture) -> None:
        assert run("certificate verify good.json bad.json --key public.pem") == 0
        assert "Not sanitized. Some blocks could not be written" in capsys.readouterr().out
        assert run("certificate verify good.json bad.json --key public.pem --require clear") == 1
        assert "bad.json: clear is required" in capsys.readouterr().err
        assert run("certificate verify good.json --key public.pem --require purge") == 1

    def test_ones_that_do_not_hold(self, place: Path, capsys: Capture) -> None:
        text = Path("good.json").read_text()
        Path("lie.json").write_text(text.replace('"Grace Murray"', '"Grace Hopper"'))
        assert run("certificate verify lie.json --key public.pem") == 1
        assert "lie.json: the signature is not of this document" in capsys.readouterr().err
        assert run("certificate verify good.json --key public.pem --serial ZX-0043") == 1
        assert "the one in hand" in capsys.readouterr().err
        Path("none.json").write_text("{}")
        for command in (
            "show none.json",
            "verify none.json --key public.pem",
            "render none.json --html x.html",
        ):
            assert run(f"certificate {command}") == 1

    def test_a_store_that_does_not_know_it(self, place: Path, capsys: Capture) -> None:
        assert run("certificate verify good.json --key public.pem --store lab.store") == 2
        assert "there is no 'lab.store'" in capsys.readouterr().err

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
    def test_openssl_verifies_it_too(self, place: Path) -> None:
        assert run("certificate render good.json --signed-bytes c.bytes --signature c.sig") == 0
        command = shlex.split(
            "openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in c.bytes -sigfile c.sig"
        )
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        data = Path("c.bytes").read_bytes()
        assert json.loads(data) == json.loads(Path("good.json").read_text())["document"]
        Path("c.bytes").write_bytes(data.replace(b"Grace", b"Grade"))
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0

    def test_rendering(self, place: Path, capsys: Capture) -> None:
        pytest.importorskip("fpdf")
        assert run("certificate render good.json --key public.pem --html c.html --pdf c.pdf") == 0
        assert "Clear achieved" in Path("c.html").read_text("utf-8")
        assert Path("c.pdf").read_bytes().startswith(b"%PDF-")
        assert run("certificate render good.json") == 2
        assert run("certificate render good.json --html c.html") == 2
        Path("bare.json").write_text(issue().to_json())
        assert run("certificate render bare.json --signature s") == 2
        assert "not signed" in capsys.readouterr().err


class TestFilesThatAreThere:
    """Nothing is done, or asked, for what could not be written in the end."""

    @pytest.mark.parametrize(
        "command",
        [
            MAKE.replace("private.pem", "nowhere").format(file="good.outcome") + " -o taken",
            "certificate validate good.json --key nowhere --by 'Carol, owner' --accept -o taken",
            "certificate render good.json --html new --signature taken",
            "certificate render good.json --html new --signature new",
            "certificate summary good.json --html new --json taken",
            "audit export lab.store --key private.pem -o taken",
            "statement make lab.store 1 --key private.pem -o taken",
        ],
    )
    def test_they_are_refused_first(self, place: Path, capsys: Capture, command: str) -> None:
        with Store.create("lab.store", "1MiB", segment_size="64KiB") as store:
            volume = store.create_tenant("contoso").create_volume("disk", "64KiB")
            volume.write(0, b"gone")
            volume.delete()
            before = len(store.audit)
        Path("taken").write_text("mine")
        capsys.readouterr()
        assert run(command) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "there is a file 'taken' already" in said.err or "'new' is given for two files" in said.err
        assert Path("taken").read_text() == "mine"
        assert not Path("new").exists()
        with Store.open("lab.store", read_only=True) as store:
            assert len(store.audit) == before


class TestValidation:
    def test_a_decision_takes_the_place_of_the_first(self, place: Path, capsys: Capture) -> None:
        command = "certificate validate good.json --key private.pem --by 'Carol Shaw, owner'"
        assert run(f"{command} --refuse --remarks 'purge it' -o no.json") == 0
        assert run("certificate verify no.json --key public.pem") == 0
        assert "not accepted by the organisation" in capsys.readouterr().out
        assert run("certificate verify no.json --key public.pem --require clear") == 1
        assert run(f"{command} --accept -o yes.json") == 0
        assert run("certificate verify yes.json --key public.pem --require clear") == 0
        assert run("certificate validate yes.json --key private.pem --by 'Eve, owner' --accept") == 2

    def test_one_of_another_key_is_not_validated(self, place: Path, capsys: Capture) -> None:
        SigningKey.generate().save("other.pem")
        assert run("certificate validate good.json --key other.pem --by 'Eve, owner' --accept") == 1
        assert "signed by the key" in capsys.readouterr().err


def test_a_batch(place: Path, capsys: Capture) -> None:
    assert run("certificate summary good.json --key public.pem --expect ZX-0042 --json s.json") == 0
    document = json.loads(Path("s.json").read_text())
    assert (document["drives"], document["done"], document["achieved"]["clear"]) == (1, 1, 1)
    assert run("certificate summary good.json --key public.pem --expect ZX-0043 --html s.html") == 1
    assert "ZX-0043: there is no certificate" in capsys.readouterr().out
    assert "1 of 2 drives are done" in Path("s.html").read_text("utf-8")
    assert run("certificate summary good.json bad.json") == 1
    assert "several certificates of this drive" in capsys.readouterr().out
