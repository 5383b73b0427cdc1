"""AES-256-GCM, HKDF and scrypt of the core: published answers, and what they do with many threads."""

from __future__ import annotations

import gc
import hashlib
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from seqstore import AccessError, ClosedError, ConfigError, NotFoundError
from seqstore._native._core import ffi, lib
from seqstore._native.crypt import Cipher, Crypto, KeyRing, system_crypto

CRYPTO = system_crypto()
BLOCK = 4096

_KEY = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
_TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_SEALED = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
# Key, nonce, associated data, text, sealed text, tag. The first four are the test cases 13 to 16 of McGrew
# and Viega, "The Galois/Counter Mode of Operation (GCM)", submitted to NIST, appendix B; the others come from
# NIST's CAVP, gcmEncryptExtIV256.rsp, the first of their sections.
GCM = {
    "13": ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    "14": (
        "00" * 32,
        "00" * 12,
        "",
        "00" * 16,
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    "15": (_KEY, "cafebabefacedbaddecaf888", "", _TEXT, _SEALED, "b094dac5d93471bdec1a502270e3cc6c"),
    "16": (
        _KEY,
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        _TEXT[:120],
        _SEALED[:120],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
    "CAVP, no text": (
        "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
        "516c33929df5a3284ff463d7",
        "",
        "",
        "",
        "bdc1ac884d332457a1d2664f168c76f0",
    ),
    "CAVP, 16 bytes": (
        "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
        "0d18e06c7c725ac9e362e1ce",
        "",
        "2db5168e932556f8089a0622981d017d",
        "fa4362189661d163fcd6a56d8bf0405a",
        "d636ac1bbedd5cc3ee727dc2ab4a9489",
    ),
    "CAVP, 16 and 16 bytes": (
        "92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b",
        "ac93a1a6145299bde902f21a",
        "1e0889016f67601c8ebea4943bc23ad6",
        "2d71bcfa914e4ac045b2aa60955fad24",
        "8995ae2e6df3dbf96fac7b7137bae67f",
        "eca5aa77d51d4a0a14d9c51e1da474ab",
    ),
}


def random_bytes(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2, from Python's own HMAC."""
    prk = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([number]), "sha256")
        out += block
    return out[:length]


class TestGcm:
    @pytest.mark.parametrize("case", GCM)
    def test_published_values(self, case: str) -> None:
        key, nonce, aad, text, sealed, tag = map(bytes.fromhex, GCM[case])
        with Cipher(CRYPTO, key) as cipher:
            for _ in range(2):  # the second time in a context that was used
                assert cipher.seal(nonce, aad, text) == (sealed, tag)
                out = bytearray(b"\xff" * len(text))
                cipher.open(nonce, aad, sealed, tag, out)
                assert out == text

    @pytest.mark.parametrize("what", ["key", "nonce", "aad", "text", "tag"])
    def test_what_was_changed_does_not_open(self, what: str) -> None:
        parts: dict[str, bytes] = {
            "key": random_bytes(32),
            "nonce": random_bytes(12, 2),
            "aad": b"tenant 1, volume 2, lba 3",
        }
        with Cipher(CRYPTO, parts["key"]) as cipher:
            sealed = cipher.seal(parts["nonce"], parts["aad"], random_bytes(BLOCK, 3))
        parts["text"], parts["tag"] = sealed
        for place in (0, len(parts[what]) // 2, len(parts[what]) - 1):
            damaged = bytearray(parts[what])
            damaged[place] ^= 0x10
            now = {**parts, what: bytes(damaged)}
            out = bytearray(b"\xff" * BLOCK)
            with Cipher(CRYPTO, now["key"]) as cipher, pytest.raises(AccessError, match="do not belong"):
                cipher.open(now["nonce"], now["aad"], now["text"], now["tag"], out)
            assert not any(out)

    def test_a_failure_leaves_the_context_as_good_as_before(self) -> None:
        nonce, out = bytes(12), bytearray(32)
        with Cipher(CRYPTO, random_bytes(32)) as cipher:
            sealed, tag = cipher.seal(nonce, b"", bytes(32))
            with pytest.raises(AccessError):
                cipher.open(nonce, b"", sealed, bytes(16), out)
            cipher.open(nonce, b"", sealed, tag, out)
            assert cipher.seal(nonce, b"", bytes(32)) == (sealed, tag)

    @pytest.mark.parametrize(("key", "nonce", "tag"), [(31, 12, 16), (32, 11, 16), (32, 12, 12)])
    def test_wrong_sizes_are_refused(self, key: int, nonce: int, tag: int) -> None:
        with (
            pytest.raises(ConfigError, match="are expected"),
            Cipher(CRYPTO, bytes(key)) as cipher,
        ):
            cipher.open(bytes(nonce), b"", b"", bytes(tag), bytearray())

    def test_a_closed_cipher_is_closed(self) -> None:
        cipher = Cipher(CRYPTO, bytes(32))
        cipher.close()
        cipher.close()
        with pytest.raises(ClosedError):
            cipher.seal(bytes(12), b"", b"")

    def test_more_threads_than_contexts(self) -> None:
        """Each thread seals and opens texts of its own with one key; the answers are those of one thread."""
        texts = [random_bytes(BLOCK, seed) for seed in range(24)]
        with Cipher(CRYPTO, random_bytes(32)) as cipher:
            expected = [cipher.seal(bytes([n]) * 12, b"", text) for n, text in enumerate(texts)]
            together = threading.Barrier(len(texts))

            def work(n: int) -> bool:
                together.wait()
                out = bytearray(BLOCK)
                for _ in range(50):
                    sealed, tag = cipher.seal(bytes([n]) * 12, b"", texts[n])
                    cipher.open(bytes([n]) * 12, b"", sealed, tag, out)
                    if (sealed, tag) != expected[n] or out != texts[n]:
                        return False
                return True

            with ThreadPoolExecutor(len(texts)) as pool:
                assert all(pool.map(work, range(len(texts))))


class Run:
    """Blocks, sealed as the log would: consecutive nonces, an identity each."""

    def __init__(self, key: Any, count: int, size: int = BLOCK) -> None:
        self.key, self.count, self.size = key, count, size
        self.plain = np.frombuffer(random_bytes(count * size), np.uint8).copy()
        self.aads = np.frombuffer(random_bytes(count * 24, 2), np.uint8).copy()
        self.first = np.zeros(12, np.uint8)
        lib.sq_block_nonce(77, 3, ffi.from_buffer(self.first))
        self.sealed = np.zeros(count * size, np.uint8)
        self.tags = np.zeros(count * 16, np.uint8)

    def nonce(self, index: int) -> bytes:
        first = bytes(self.first)
        return first[:4] + (int.from_bytes(first[4:], "little") + index).to_bytes(8, "little")

    def seal(self, out: np.ndarray[Any, Any] | None = None) -> int:
        lent = [ffi.from_buffer(array) for array in (self.first, self.aads, self.plain)]
        outs = [ffi.from_buffer(array) for array in (self.sealed if out is None else out, self.tags)]
        return int(lib.sq_key_seal_run(self.key, lent[0], lent[1], 24, lent[2], self.size, self.count, *outs))

    def open(self, out: np.ndarray[Any, Any]) -> tuple[int, int]:
        nonces = np.frombuffer(b"".join(map(self.nonce, range(self.count))), np.uint8)
        lent = [ffi.from_buffer(array) for array in (nonces, self.aads, self.sealed, self.tags, out)]
        opened = ffi.new("uint64_t *", 12345)
        status = lib.sq_key_open_blocks(
            self.key, lent[0], lent[1], 24, lent[2], self.size, self.count, lent[3], lent[4], opened
        )
        return int(status), int(opened[0])


@pytest.fixture
def key() -> Any:
    handle = ffi.new("sq_key **")
    assert lib.sq_key_create(CRYPTO.handle, random_bytes(32), handle) == 0
    return ffi.gc(handle[0], lib.sq_key_destroy)


class TestRuns:
    @pytest.mark.parametrize(("count", "size"), [(0, 512), (1, 512), (7, 1), (64, BLOCK)])
    def test_a_run_is_what_its_blocks_are(self, key: Any, count: int, size: int) -> None:
        run = Run(key, count, size)
        assert run.seal() == 0
        with Cipher(CRYPTO, random_bytes(32)) as cipher:
            for i in range(count):
                aad, text = bytes(run.aads[24 * i : 24 * i + 24]), bytes(run.plain[size * i : size * (i + 1)])
                sealed, tag = cipher.seal(run.nonce(i), aad, text)
                assert sealed == bytes(run.sealed[size * i : size * (i + 1)])
                assert tag == bytes(run.tags[16 * i : 16 * i + 16])
        out = np.zeros_like(run.plain)
        assert run.open(out) == (0, 12345)
        assert (out == run.plain).all()

    def test_in_its_place(self, key: Any) -> None:
        run = Run(key, 5)
        plain = run.plain.copy()
        assert run.seal(out=run.plain) == 0
        run.sealed = run.plain
        assert (run.plain != plain).any()
        assert run.open(out=run.plain) == (0, 12345)
        assert (run.plain == plain).all()

    @pytest.mark.parametrize("what", ["sealed", "aads", "tags", "swapped"])
    def test_the_first_wrong_block_is_named_and_nothing_is_shown(self, key: Any, what: str) -> None:
        run = Run(key, 6)
        assert run.seal() == 0
        if what == "swapped":
            run.sealed[2 * BLOCK : 4 * BLOCK] = np.roll(run.sealed[2 * BLOCK : 4 * BLOCK], BLOCK)
            run.tags[32:64] = np.roll(run.tags[32:64], 16)
        else:
            array = getattr(run, what)
            array[2 * len(array) // 6] ^= 1
        out = np.full_like(run.plain, 0xFF)
        assert run.open(out) == (lib.SQ_E_CORRUPT, 2)
        assert not out[: 3 * BLOCK].any()
        assert (out[3 * BLOCK :] == 0xFF).all()

    def test_nonces_never_come_round(self, key: Any) -> None:
        run = Run(key, 3)
        run.first[4:] = 0xFF
        run.first[4] = 0xFE
        assert run.seal() == lib.SQ_E_INVALID
        assert not run.tags.any()
        run.count = 2
        assert run.seal() == 0

    def test_the_nonce_and_the_identity_of_a_block(self) -> None:
        nonce, aad = bytearray(b"\xff" * 12), bytearray(24)
        lib.sq_block_nonce(0x0123456789AB, 0xCDEF, ffi.from_buffer(nonce))
        lib.sq_block_identity(1, 2, 3, ffi.from_buffer(aad))
        assert nonce.hex() == "00000000" + "efcdab8967452301"
        assert aad == b"".join(n.to_bytes(8, "little") for n in (1, 2, 3))


class TestDerivation:
    # RFC 5869, appendix A, test cases 1 and 3.
    @pytest.mark.parametrize(
        ("salt", "info", "expected"),
        [
            (
                bytes(range(13)),
                bytes(range(0xF0, 0xFA)),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                b"",
                b"",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ],
        ids=["1", "3"],
    )
    def test_published_values(self, salt: bytes, info: bytes, expected: str) -> None:
        out = bytearray(42)
        CRYPTO.derive(b"\x0b" * 22, out, salt=salt, info=info)
        assert out.hex() == expected

    @pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100, 8160])
    def test_every_length(self, length: int) -> None:
        out = bytearray(length)
        CRYPTO.derive(b"secret", out, salt=b"salt", info=b"i" * 256)
        assert out == hkdf(b"secret", b"salt", b"i" * 256, length)

    @pytest.mark.parametrize(("length", "info"), [(0, 1), (8161, 1), (32, 257)])
    def test_too_much_is_refused(self, length: int, info: int) -> None:
        with pytest.raises(ConfigError, match="deriving a key"):
            CRYPTO.derive(b"secret", bytearray(length), info=bytes(info))

    def test_scrypt(self) -> None:
        """RFC 7914, section 12, and Python's own."""
        out = bytearray(64)
        CRYPTO.stretch(b"", b"", out, cost_log2=4, block=1, lanes=1)
        assert out.hex().startswith("77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442")
        CRYPTO.stretch(b"password", b"NaCl", out, cost_log2=10, block=8, lanes=16)
        assert out.hex().endswith("2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640")
        CRYPTO.stretch(b"pass", b"salt", out, cost_log2=6, block=4, lanes=3)
        assert out == hashlib.scrypt(b"pass", salt=b"salt", n=64, r=4, p=3, dklen=64)

    @pytest.mark.parametrize(
        ("cost_log2", "block", "lanes"),
        [(0, 8, 1), (25, 1, 1), (24, 64, 1), (4, 0, 1), (4, 1, 65), (-1, 8, 1)],
    )
    def test_costs_that_nobody_could_pay_are_refused(self, cost_log2: int, block: int, lanes: int) -> None:
        with pytest.raises(ConfigError, match=f"cost_log2={cost_log2}, block={block}"):
            CRYPTO.stretch(b"p", b"s", bytearray(32), cost_log2=cost_log2, block=block, lanes=lanes)

    def test_random_bytes_differ(self) -> None:
        first, second = bytearray(32), bytearray(32)
        CRYPTO.fill(first)
        CRYPTO.fill(second)
        assert len({bytes(first), bytes(second), bytes(32)}) == 3


class TestLibrary:
    @pytest.mark.parametrize("path", ["libcrypto-that-is-not-there.so.9", "libc.so.6"])
    def test_a_machine_without_it_is_told_what_to_install(self, path: str) -> None:
        with pytest.raises(ConfigError, match=r"libcrypto\.so\.3.* install OpenSSL 3"):
            Crypto(path)

    def test_it_says_what_it_is(self) -> None:
        assert "SSL" in CRYPTO.version


def test_the_library_stays_as_long_as_what_was_made_with_it() -> None:
    crypto = Crypto()
    cipher, ring = Cipher(crypto, bytes(32)), KeyRing(crypto)
    ring.add(1, bytes(32))
    del crypto
    gc.collect()
    with ring.hold(1, 1):
        assert len(cipher.seal(bytes(12), b"", b"text")[0]) == 4
    cipher.close()
    ring.close()


class TestRing:
    def seal_zeros(self, key: Any) -> bytes:
        tag = bytearray(16)
        assert lib.sq_key_seal(key, bytes(12), b"", 0, b"", 0, b"", ffi.from_buffer(tag)) == 0
        return bytes(tag)

    def expected(self, secret: bytes, opening: int) -> bytes:
        info = b"seqstore blocks 1\0" + opening.to_bytes(8, "little")
        with Cipher(CRYPTO, hkdf(secret, b"", info, 32)) as cipher:
            return cipher.seal(bytes(12), b"", b"")[1]

    def test_keys_are_derived_for_each_opening(self) -> None:
        """And more of them than the ring keeps ready."""
        ring = KeyRing(CRYPTO, capacity=3)
        secrets = {number: random_bytes(32, number) for number in (9, 2, 5, 2**63)}
        for number, secret in secrets.items():
            ring.add(number, secret)
        for _ in range(2):
            for number, secret in secrets.items():
                for opening in (1, 2**64 - 1):
                    with ring.hold(number, opening) as key:
                        assert self.seal_zeros(key) == self.expected(secret, opening)
        ring.close()
        with pytest.raises(ClosedError):
            ring.add(1, bytes(32))

    def test_more_are_held_than_kept(self) -> None:
        ring = KeyRing(CRYPTO, capacity=1)
        ring.add(1, bytes(32))
        with ring.hold(1, 1) as first, ring.hold(1, 2) as second, ring.hold(1, 1) as again:
            assert first == again
            assert self.seal_zeros(first) != self.seal_zeros(second)
        with ring.hold(1, 2) as key:
            assert self.seal_zeros(key) == self.expected(bytes(32), 2)

    def test_a_removed_key_is_gone(self) -> None:
        ring = KeyRing(CRYPTO)
        for number in range(40):
            ring.add(number, random_bytes(32, number))
        with ring.hold(17, 1):
            pass
        with pytest.raises(ConfigError):
            ring.add(17, bytes(32))
        ring.remove(17)
        for call in (lambda: ring.remove(17), lambda: ring.hold(17, 1).__enter__()):
            with pytest.raises(NotFoundError, match="key 17: there is no such key"):
                call()
        for number in {*range(40)} - {17}:
            with ring.hold(number, 1) as key:
                assert self.seal_zeros(key) == self.expected(random_bytes(32, number), 1)

    def test_removing_waits_for_those_who_hold_it(self) -> None:
        ring = KeyRing(CRYPTO)
        ring.add(1, bytes(32))
        removed = threading.Event()

        def remove() -> None:
            ring.remove(1)
            removed.set()

        with ring.hold(1, 1) as key:
            thread = threading.Thread(target=remove)
            thread.start()
            assert not removed.wait(0.05)
            with pytest.raises(NotFoundError):
                ring.hold(1, 1).__enter__()
            assert self.seal_zeros(key) == self.expected(bytes(32), 1)
        thread.join(10)
        assert removed.is_set()

    def test_many_threads(self) -> None:
        ring = KeyRing(CRYPTO, capacity=4)
        for number in range(6):
            ring.add(number, random_bytes(32, number))
        expected = {number: self.expected(random_bytes(32, number), 3) for number in range(6)}

        def work(seed: int) -> bool:
            for number in np.random.default_rng(seed).integers(0, 6, 300):
                with ring.hold(int(number), 3) as key:
                    if self.seal_zeros(key) != expected[int(number)]:
                        return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
