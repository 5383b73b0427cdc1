"""Signatures: keys and their files, and documents that are signed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from seqstore import (
    ConfigError,
    FormatError,
    NotFoundError,
    SignatureError,
)
from seqstore.signing import PublicKey, Sealed, SigningKey

pytest.importorskip("cryptography")


class TestSigning:
    def test_keys_come_back_from_files(self, tmp_path: Path, key: SigningKey) -> None:
        key.save(tmp_path / "a.pem")
        key.save(tmp_path / "b.pem", b"secret")
        key.public.save(tmp_path / "pub.pem")
        assert (tmp_path / "a.pem").stat().st_mode & 0o077 == 0
        for loaded in (SigningKey.load(tmp_path / "a.pem"), SigningKey.load(tmp_path / "b.pem", b"secret")):
            assert loaded.public == key.public == PublicKey.load(tmp_path / "pub.pem")
            key.public.verify(loaded.sign(b"data"), b"data")

    def test_what_is_no_key(self, tmp_path: Path, key: SigningKey) -> None:
        key.save(tmp_path / "locked.pem", b"secret")
        key.public.save(tmp_path / "public.pem")
        (tmp_path / "text.pem").write_text("hello")
        with pytest.raises(ConfigError, match="give its password"):
            SigningKey.load(tmp_path / "locked.pem")
        with pytest.raises(ConfigError, match="right password"):
            SigningKey.load(tmp_path / "locked.pem", b"wrong")
        with pytest.raises(FormatError, match="no private key"):
            SigningKey.load(tmp_path / "public.pem")
        with pytest.raises(FormatError, match="private key, which whoever verifies"):
            PublicKey.load(tmp_path / "locked.pem")
        with pytest.raises(FormatError, match="no public key"):
            PublicKey.load(tmp_path / "text.pem")
        with pytest.raises(NotFoundError):
            PublicKey.load(tmp_path / "nothing.pem")
        with pytest.raises(ConfigError, match="already"):
            key.save(tmp_path / "text.pem")

    def test_a_password_is_text_or_bytes_or_asked_for(self, tmp_path: Path, key: SigningKey) -> None:
        key.save(tmp_path / "plain.pem")
        key.save(tmp_path / "locked.pem", "gehe\u00edm")
        asked = []

        def ask() -> bytes:
            asked.append(1)
            return "gehe\u00edm".encode()

        for password in ("gehe\u00edm", "gehe\u00edm".encode(), ask):
            assert SigningKey.load(tmp_path / "locked.pem", password).public == key.public
        assert SigningKey.load(tmp_path / "plain.pem", ask).public == key.public
        assert len(asked) == 1
        for wrong in ("", b"", lambda: "", 7, lambda: None):
            with pytest.raises(ConfigError, match="the password"):
                SigningKey.load(tmp_path / "locked.pem", wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="password of the key is empty"):
            key.save(tmp_path / "new.pem", "")
        assert not (tmp_path / "new.pem").exists()

    def test_nothing_gives_a_key_away(self, key: SigningKey) -> None:
        assert key.public.fingerprint in repr(key)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(key)

    def test_documents(self, key: SigningKey) -> None:
        sealed = Sealed.make({"b": 1, "a": ["ü", None]}, key)
        again = Sealed.parse(sealed.to_json())
        assert again == sealed
        again.verify(key.public)
        with pytest.raises(SignatureError, match="verified with"):
            again.verify(SigningKey.generate().public)
        with pytest.raises(SignatureError, match="not signed"):
            Sealed.parse(Sealed.make({}).to_json()).verify(key.public)

    @pytest.mark.parametrize(
        "text",
        [
            "", "[]", "{}", '{"document":{},"signature":1}', '{"document":1,"signature":null}',
            '{"document":{},"document":{},"signature":null}', '{"document":{"a":1.5},"signature":null}',
            '{"document":{"a":NaN},"signature":null}', "[" * 100_000,
            '{"document":{"a":"\\ud800"},"signature":null}',
            '{"document":{},"signature":{"algorithm":"none","key":"","value":""}}',
            '{"document":{},"signature":{"algorithm":"Ed25519","key":"","value":"AAAA"}}',
        ],
    )  # fmt: skip
    def test_text_that_is_no_document(self, text: str) -> None:
        with pytest.raises(FormatError):
            Sealed.parse(text)
