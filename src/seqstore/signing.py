"""Signatures of documents: Ed25519, with keys in PEM files that openssl reads as well.

A sealed document is JSON with two parts: ``document``, and ``signature`` of its canonical bytes. Those bytes
begin with the kind of the document, so that a signature of one kind never passes for one of another.

References
----------
RFC 8032, "Edwards-Curve Digital Signature Algorithm (EdDSA)"; RFC 8410, which says how such keys stand in
PKCS #8 and SubjectPublicKeyInfo.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from seqstore import canonical
from seqstore.arguments import buffer, file_name, instance, methods
from seqstore.errors import AccessError, ConfigError, FormatError, MediumError, NotFoundError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "Ed25519"

Password: TypeAlias = "str | bytes"
"""What a key in a file is encrypted with; text stands for its UTF-8 bytes, as openssl takes it."""

_SIGNATURE_BYTES = 64
_OWNER_ALONE = 0o600
_MOST_KEY_BYTES = 1 << 16


class PublicKey:
    """Tells whether a signature is of the key that it belongs to. Made by `load`, or by a `SigningKey`."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PublicKey:
        """Read a key from a PEM file, ``BEGIN PUBLIC KEY``.

        Raises
        ------
        NotFoundError, AccessError, MediumError
            If the file cannot be read.
        FormatError
            If it holds something else.
        ConfigError
            If the package cryptography is not installed.
        """
        return cls.from_pem(_read(path), f"{str(path)!r}")

    @classmethod
    def from_pem(cls, pem: bytes, where: str = "the text") -> PublicKey:
        """Read a key from PEM text; errors as in `load`."""
        ed25519, serialization = _cryptography()
        pem = buffer(pem, where)
        if b"PRIVATE KEY" in pem:
            raise FormatError(
                f"{where} holds a private key, which whoever verifies must not have; give the public one,"
                " `openssl pkey -in PRIVATE -pubout` prints it"
            )
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, _unsupported()) as error:
            raise FormatError(f"{where} holds no public key in PEM: {_brief(error)}") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise FormatError(f"{where} holds a public key of another kind; one of {ALGORITHM} is expected")
        return cls(key)

    def __repr__(self) -> str:
        return f"<PublicKey, {ALGORITHM}, {self.fingerprint}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key as SubjectPublicKeyInfo, in hexadecimal digits."""
        _, serialization = _cryptography()
        der = self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()

    def to_pem(self) -> bytes:
        """Return the key as PEM text."""
        _, serialization = _cryptography()
        pem: bytes = self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file; raises `ConfigError` if there is one."""
        _write(path, self.to_pem(), 0o644)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Return if the signature is one of these bytes by this key.

        Raises
        ------
        SignatureError
            If it is not.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  an extra

        try:
            self._key.verify(buffer(signature, "the signature"), buffer(data, "the document"))
        except InvalidSignature:
            raise SignatureError(
                "the signature is not of this document by this key: one of the three was changed"
            ) from None


class SigningKey:
    """Signs. Made by `generate` or `load`; `repr` and `pickle` give nothing of it away.

    Attributes
    ----------
    public : PublicKey
        What those get who verify.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @classmethod
    def generate(cls) -> SigningKey:
        """Draw a new key from the system's randomness.

        Raises
        ------
        ConfigError
            If the package cryptography is not installed.
        """
        ed25519, _ = _cryptography()
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], password: Password | Callable[[], Password] | None = None
    ) -> SigningKey:
        """Read a key from a PEM file, ``BEGIN PRIVATE KEY`` or ``BEGIN ENCRYPTED PRIVATE KEY``.

        Parameters
        ----------
        path : path-like
        password : str, bytes or callable, optional
            Of an encrypted key; text stands for its UTF-8 bytes. A callable returns it, and is only called
            for a key that is encrypted.

        Raises
        ------
        NotFoundError, AccessError, MediumError
            If the file cannot be read.
        FormatError
            If it holds something else.
        ConfigError
            If it is encrypted and the password is missing or wrong, or the package cryptography is not
            installed.
        """
        ed25519, serialization = _cryptography()
        pem, where = _read(path), f"{str(path)!r}"
        is_encrypted = b"ENCRYPTED PRIVATE KEY" in pem
        if is_encrypted and password is None:
            raise ConfigError(f"{where} holds an encrypted key; give its password")
        secret = _to_bytes(password) if is_encrypted else None
        try:
            key = serialization.load_pem_private_key(pem, secret)
        except (ValueError, _unsupported()) as error:
            if is_encrypted:
                raise ConfigError(f"{where} cannot be decrypted; is it the right password?") from error
            raise FormatError(f"{where} holds no private key in PEM: {_brief(error)}") from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise FormatError(f"{where} holds a private key of another kind; one of {ALGORITHM} is expected")
        return cls(key)

    def __repr__(self) -> str:
        return f"<SigningKey, {ALGORITHM}, of {self.public.fingerprint}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a signing key is not pickled; save it to a file, and load it there")

    def save(self, path: str | os.PathLike[str], password: Password | None = None) -> None:
        """Write the key to a new file that its owner alone can read, encrypted if a password is given.

        Raises
        ------
        ConfigError
            If there is such a file, or the password is empty.
        AccessError, MediumError
            If it cannot be written.
        """
        _, serialization = _cryptography()
        encryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(_to_bytes(password))
        )
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        _write(path, pem, _OWNER_ALONE)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of bytes, 64 of them; the same each time."""
        return bytes(self._key.sign(buffer(data, "what is to be signed")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A document with its signature.

    Attributes
    ----------
    document : mapping
        What it says.
    data : bytes
        Its canonical bytes, which the signature is of.
    signature : bytes or None
        None if it is not signed.
    fingerprint : str or None
        Whose signature it claims to be: `PublicKey.fingerprint`.
    """

    document: dict[str, Any]
    data: bytes
    signature: bytes | None
    fingerprint: str | None

    @classmethod
    def make(cls, document: dict[str, Any], key: SigningKey | None = None) -> Sealed:
        """Sign a document, or only put it into the form.

        Raises
        ------
        ConfigError
            If it holds what canonical JSON does not.
        """
        require_key(key)
        data = canonical.encode(document)
        return cls(
            document=document,
            data=data,
            signature=None if key is None else key.sign(data),
            fingerprint=None if key is None else key.public.fingerprint,
        )

    @classmethod
    def parse(cls, text: str | bytes) -> Sealed:
        """Read what `to_json` wrote; white space and the order of keys may differ.

        Raises
        ------
        FormatError
            If it is something else.
        """
        values = canonical.decode(text)
        if not isinstance(values, dict) or values.keys() != {"document", "signature"}:
            raise FormatError("a signed document has the keys 'document' and 'signature', and no others")
        document, seal = values["document"], values["signature"]
        if not isinstance(document, dict):
            raise FormatError("the document is no JSON object")
        try:
            data = canonical.encode(document)
        except ConfigError as error:
            raise FormatError(f"the document cannot be what was signed: {error}") from error
        if seal is None:
            return cls(document=document, data=data, signature=None, fingerprint=None)
        if not isinstance(seal, dict) or seal.keys() != {"algorithm", "key", "value"}:
            raise FormatError("a signature has the keys 'algorithm', 'key' and 'value', and no others")
        if seal["algorithm"] != ALGORITHM:
            raise FormatError(f"the signature is by {seal['algorithm']!r}; {ALGORITHM} is expected")
        if not isinstance(seal["key"], str) or not isinstance(seal["value"], str):
            raise FormatError("the key and the value of a signature are strings")
        try:
            signature = base64.b64decode(seal["value"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise FormatError(f"the signature is no base64: {error}") from error
        if len(signature) != _SIGNATURE_BYTES:
            raise FormatError(f"the signature has {len(signature)} bytes; {_SIGNATURE_BYTES} are expected")
        return cls(document=document, data=data, signature=signature, fingerprint=seal["key"])

    def to_json(self) -> str:
        """Return text to be kept in a file."""
        seal = None
        if self.signature is not None:
            seal = {
                "algorithm": ALGORITHM,
                "key": self.fingerprint,
                "value": base64.b64encode(self.signature).decode(),
            }
        values = {"document": self.document, "signature": seal}
        return json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"

    def verify(self, key: PublicKey) -> None:
        """Return if the document is signed by the key that a public key belongs to.

        Raises
        ------
        SignatureError
            If it is not.
        """
        instance(key, PublicKey, "key", "PublicKey.load(path)")
        if self.signature is None:
            raise SignatureError("the document is not signed; ask whoever made it for one that is")
        if self.fingerprint != key.fingerprint:
            raise SignatureError(
                f"the document is signed by the key {self.fingerprint}, and verified with"
                f" {key.fingerprint}; use the public key of whoever signed it"
            )
        key.verify(self.signature, self.data)


def require_key(key: object) -> None:
    """Check that something can sign, or is None: whatever has `SigningKey.sign` and `SigningKey.public` can.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    if key is not None:
        methods(key, ("sign",), "SigningKey", "key", "SigningKey.load(path)")


def _to_bytes(password: object) -> bytes:
    given = password() if callable(password) else password
    if isinstance(given, str):
        given = given.encode(errors="surrogatepass")
    secret = buffer(given, "the password")
    if not secret:
        raise ConfigError("the password of the key is empty; one of at least a byte is expected")
    return secret


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("signatures need the package cryptography; pip install seqstore[crypto]") from error
    return ed25519, serialization


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  an extra

    return UnsupportedAlgorithm


def _brief(error: Exception) -> str:
    """Keep the first sentence of a message that goes on about what one might have done."""
    return str(error).split(". ")[0].split(" (")[0]


def _read(path: str | os.PathLike[str]) -> bytes:
    name = file_name(path, "the path of the key")
    try:
        with Path(name).open("rb") as file:
            return file.read(_MOST_KEY_BYTES)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no key {str(path)!r}; openssl genpkey makes one") from error
    except PermissionError as error:
        raise AccessError(f"the key {str(path)!r} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise MediumError(
            f"the key {str(path)!r} cannot be read: {error.strerror}", errno=error.errno
        ) from error


def _write(path: str | os.PathLike[str], pem: bytes, mode: int) -> None:
    name = file_name(path, "the path of the key")
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    except FileExistsError as error:
        raise ConfigError(f"there is a file {str(path)!r} already; give another name") from error
    except PermissionError as error:
        raise AccessError(f"the key cannot be written to {str(path)!r}: {error.strerror}") from error
    except OSError as error:
        raise MediumError(
            f"the key cannot be written to {str(path)!r}: {error.strerror}", errno=error.errno
        ) from error
