"""The commands `seqstore audit` and `seqstore statement`, and openssl on what they write."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from seqstore import (
    FormatError,
    Store,
)
from seqstore.cli import main
from seqstore.signing import PublicKey, SigningKey
from seqstore.statement import Statement
from tests.deletions import delete, fill
from tests.durable import create

pytest.importorskip("cryptography")

Capture = pytest.CaptureFixture[str]


class TestCommands:
    @pytest.fixture
    def place(self, tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        key.save("private.pem")
        key.public.save("public.pem")
        with create(tmp_path / "lab.store", actor="alice") as store:
            fill(store)
            delete(store)
        return tmp_path

    def test_audit(self, place: Path, capsys: Capture) -> None:
        assert main(["audit", "export", "lab.store", "--key", "private.pem", "-o", "head.json"]) == 0
        assert main(["audit", "verify", "lab.store", "--head", "head.json", "--key", "public.pem"]) == 0
        assert "records of the exported head are there" in capsys.readouterr().out
        assert main(["audit", "show", "lab.store"]) == 0
        shown = capsys.readouterr().out
        assert "deletion requested  tenant 1 'contoso'  by bob: ticket 4711" in shown
        assert main(["audit", "show", "lab.store", "--json"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert json.loads(lines[-1])["number"] == len(lines) == len(shown.splitlines())

    def test_audit_of_a_log_that_was_cut(self, place: Path, capsys: Capture) -> None:
        main(["audit", "export", "lab.store", "--key", "private.pem", "-o", "head.json"])
        shutil.rmtree("lab.store")
        with create(place / "lab.store") as store:
            fill(store)
        assert main(["audit", "verify", "lab.store"]) == 0
        assert main(["audit", "verify", "lab.store", "--head", "head.json", "--key", "public.pem"]) == 1
        assert "another audit log" in capsys.readouterr().err
        assert main(["audit", "verify", "lab.store", "--head", "head.json"]) == 2
        assert main(["audit", "show", "nowhere"]) == 2

    def test_audit_while_the_store_is_open(self, place: Path) -> None:
        with Store.open("lab.store") as store:
            store.create_tenant("new")
            assert main(["audit", "verify", "lab.store"]) == 0

    def test_statement(self, place: Path, capsys: Capture) -> None:
        assert main(["statement", "list", "lab.store"]) == 0
        assert "tenant 1 'contoso'  by bob" in capsys.readouterr().out
        make = ["statement", "make", "lab.store", "1", "--key", "private.pem", "--actor", "carol"]
        assert main([*make, "-o", "s.json"]) == 0
        assert main([*make, "-o", "s.json"]) == 2  # it is there already
        assert main(["statement", "verify", "s.json", "--key", "public.pem", "--store", "lab.store"]) == 0
        assert "not finished, 60 blocks pending" in capsys.readouterr().out
        assert main(["statement", "show", "s.json", "--key", "public.pem"]) == 0
        assert "by carol" in capsys.readouterr().out
        assert main(["statement", "show", "s.json", "--html", "s.html"]) == 0
        assert (place / "s.html").read_text().startswith("<!DOCTYPE html>")
        assert main(["statement", "make", "lab.store", "9", "--key", "private.pem"]) == 2

    def test_what_nobody_verified_says_so_first(self, place: Path, capsys: Capture) -> None:
        main(["statement", "make", "lab.store", "1", "--key", "private.pem", "-o", "s.json"])
        main(["statement", "show", "s.json"])
        assert capsys.readouterr().out.splitlines()[2].startswith("NOT VERIFIED: anybody can have made this")
        main(["statement", "show", "s.json", "--html", "s.html"])
        page = Path("s.html").read_text("utf-8")
        assert 0 < page.index("NOT VERIFIED") < page.index('class="state')
        main(["statement", "show", "s.json", "--key", "public.pem"])
        assert "NOT" not in capsys.readouterr().out
        document = Statement.from_json(Path("s.json").read_text()).document
        Path("bare.json").write_text(Statement.make(document, None).to_json())
        main(["statement", "show", "bare.json"])
        assert capsys.readouterr().out.splitlines()[2].startswith("NOT SIGNED: anybody can have made this")

    def test_a_statement_that_was_changed(self, place: Path, capsys: Capture) -> None:
        main(["statement", "make", "lab.store", "1", "--key", "private.pem", "-o", "s.json"])
        (place / "s.json").write_text((place / "s.json").read_text().replace("ticket 4711", "ticket 4712"))
        assert main(["statement", "verify", "s.json", "--key", "public.pem"]) == 1
        assert "one of the three was changed" in capsys.readouterr().err
        (place / "s.json").write_text("{}")
        assert main(["statement", "verify", "s.json", "--key", "public.pem"]) == 1

    def test_verifying_needs_no_store(self, place: Path) -> None:
        main(["statement", "make", "lab.store", "1", "--key", "private.pem", "-o", "s.json"])
        shutil.rmtree("lab.store")
        (place / "private.pem").unlink()
        assert main(["statement", "verify", "s.json", "--key", "public.pem"]) == 0

    def test_without_the_key_it_says_that_the_signature_was_not_checked(
        self, place: Path, capsys: Capture
    ) -> None:
        main(["statement", "make", "lab.store", "1", "--key", "private.pem", "-o", "s.json"])
        assert main(["statement", "verify", "s.json"]) == 0
        assert "the signature was NOT checked" in capsys.readouterr().out
        changed = json.loads((place / "s.json").read_text())
        changed["document"]["complete"] = True
        (place / "s.json").write_text(json.dumps(changed))
        assert main(["statement", "verify", "s.json"]) == 1
        with Store.open("lab.store") as store:
            (place / "t.json").write_text(store.statement(1).to_json())
        capsys.readouterr()
        assert main(["statement", "verify", "t.json"]) == 0
        assert "is not signed" in capsys.readouterr().out

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
    def test_openssl_verifies_it_too(self, place: Path) -> None:
        main(["statement", "make", "lab.store", "1", "--key", "private.pem", "-o", "s.json"])
        main(["statement", "show", "s.json", "--signed-bytes", "s.bytes"])
        main(["statement", "show", "s.json", "--signature", "s.sig"])
        command = shlex.split(
            "openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in s.bytes -sigfile s.sig"
        )
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        data = (place / "s.bytes").read_bytes()
        assert data == Statement.from_json((place / "s.json").read_text()).sealed.data
        (place / "s.bytes").write_bytes(data.replace(b"4711", b"4712"))
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
    def test_keys_of_openssl_are_read(self, place: Path) -> None:
        for command in (
            "openssl genpkey -algorithm ed25519 -out a.pem",
            "openssl pkey -in a.pem -pubout -out b.pem",
            "openssl genpkey -algorithm x25519 -out c.pem",
        ):
            subprocess.run(command.split(), capture_output=True, check=True)
        assert SigningKey.load("a.pem").public == PublicKey.load("b.pem")
        with pytest.raises(FormatError, match="another kind"):
            SigningKey.load("c.pem")
