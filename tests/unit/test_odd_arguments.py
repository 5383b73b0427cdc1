"""Odd arguments of calls that take more than numbers: errors of ours, before anything is done."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqstore import ConfigError, DriveState, SeqstoreError, Store, SystemClock
from seqstore.audit_records import Act
from seqstore.certificate import Certificate
from seqstore.certificate_batch import summarize
from seqstore.certificate_content import Issued, conclude
from seqstore.certificate_page import render_text
from seqstore.certificate_parts import (
    Assurance,
    AssuranceKind,
    Confidentiality,
    Destination,
    Destruction,
    MediumFacts,
    Person,
    Source,
    Validation,
    kind_of,
)
from seqstore.certificate_rules import achieved
from seqstore.drive_life import DriveAct, DriveStory, move
from seqstore.keys import EnvironmentKey, FileKey
from seqstore.media import MemoryMedium
from seqstore.sanitize import (
    Effort,
    FileTarget,
    Journal,
    MemoryTarget,
    Options,
    Sanitization,
    SimulatedTarget,
    Step,
    Technique,
    draw_samples,
)
from seqstore.sanitize.batch import sanitize_many
from seqstore.signing import PublicKey, Sealed, SigningKey
from seqstore.statement import Statement
from tests.certificates import issue, particulars, person

pytest.importorskip("cryptography")

ODD: tuple[Any, ...] = (
    None, "file", "", "\0", -1, 2**70, True, 1.5, float("nan"), b"x", object(), [], {}, ("a",), os,
)  # fmt: skip
SIZES: dict[str, Any] = {"segment_size": "64KiB"}
ADA, GRACE = person("Ada Byron"), person("Grace Murray")
SEED = bytes(range(32))


def refusal(call: Callable[[Any], object], value: Any) -> SeqstoreError | None:
    """Call with a value; return our error, or None if it is taken. Any other error comes through."""
    try:
        call(value)
    except SeqstoreError as error:
        return error
    return None


def try_all(call: Callable[[Any], object]) -> int:
    """Call with each odd value; return how many were refused."""
    errors = [error for error in (refusal(call, value) for value in ODD) if error is not None]
    assert all(len(str(error)) > 20 for error in errors), errors
    return len(errors)


def with_value(call: Callable[..., object], name: str, **given: Any) -> Callable[[Any], object]:
    """Return what calls with one argument more, or another one."""
    return lambda value: call(**{**given, name: value})


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.memory("1MiB", evidence=True, **SIZES) as store:
        store.add_drive("512KiB", **SIZES)
        store.drives[1].fail("clicks")
        yield store


SANITIZE: dict[str, int] = {  # of 15 values, how many at least are refused
    "technique": 15, "operator": 15, "verifier": 15, "verify": 15, "requested": 15, "effort": 14,
    "second_verifier": 14, "particulars": 14, "key": 14, "medium": 14, "journal": 12, "progress": 14,
    "is_cancelled": 14,
}  # fmt: skip


@pytest.mark.parametrize("name", SANITIZE)
def test_sanitizing_a_drive(store: Store, tmp_path: Path, name: str) -> None:
    """Nothing is written to the drive by a call that is refused, and the log knows nothing of it."""
    drive = store.drives[1]
    os.chdir(tmp_path)  # where journals of odd names come to lie

    def call(value: Any) -> None:
        before = [record.act for record in store.audit]
        try:
            drive.sanitize(**{"operator": ADA, "verifier": GRACE, name: value})
        except ConfigError:
            assert [record.act for record in store.audit] == before
            assert drive.state in (DriveState.FAILED, DriveState.SANITIZED)
            raise

    assert try_all(call) >= SANITIZE[name]


def test_what_a_caller_makes_of_the_particulars_is_looked_at(store: Store) -> None:
    nothing: Any = lambda _: None  # noqa: E731 (it has a type that no function has)
    with pytest.raises(ConfigError, match="what particulars= returned is None; a Particulars is expected"):
        store.drives[1].sanitize(operator=ADA, verifier=GRACE, particulars=nothing)
    assert Act.SANITIZATION_BEGUN.value not in [record.act for record in store.audit]


def test_leaving(store: Store) -> None:
    drive = store.drives[1]
    assert try_all(drive.release) == len(ODD)
    assert try_all(drive.destroy) == len(ODD)
    end = Destruction(operator=ADA, witness=GRACE, how="shredded", reason="it is old")
    assert try_all(lambda value: drive.destroy(end, key=value)) >= len(ODD) - 1
    with pytest.raises(ConfigError, match=r"key is of type str.*such as SigningKey.load"):
        drive.destroy(end, key="private.pem")  # type: ignore[arg-type]


GOOD: dict[type, dict[str, Any]] = {
    Person: {"name": "a", "role": "b", "organization": "", "place": "", "contact": "", "time_ns": 1},
    Validation: {"person": ADA, "accepted": True, "remarks": ""},
    MediumFacts: {"serial": "s", "media_type": "hdd", "model": "", "geometry": ""},
    Source: {"store": "", "drive": None, "slot": ""},
    Confidentiality: {"before": "", "after": ""},
    Destination: {"kind": Destination().kind, "details": ""},
    Assurance: {"kind": AssuranceKind.VENDOR_TRUSTED, "said_by": "a", "reference": "b"},
    Destruction: {"operator": ADA, "witness": GRACE, "how": "h", "reason": "r"},
    Issued: {"time_ns": 1, "actor": "a"},
    Effort: {field.name: getattr(Effort(), field.name) for field in dataclasses.fields(Effort)},
    Options: {field.name: getattr(Options(), field.name) for field in dataclasses.fields(Options)},
    Step: dataclasses.asdict(Technique.zero().steps[0]),
    Technique: {"name": "zero", "steps": Technique.zero().steps},
}


@pytest.mark.parametrize("kind", GOOD, ids=lambda kind: kind.__name__)
def test_values_hold_what_their_class_says(kind: type) -> None:
    """What is taken is of the type that the field has; all else is refused with the field's name."""
    for name, good in GOOD[kind].items():
        kinds = {type(good), int} if name in {"drive", "rate"} else {type(good)}
        kinds = {type(None), int} if good is None else kinds

        def make(value: Any, name: str = name, kinds: set[type] = kinds) -> None:
            made = kind(**{**GOOD[kind], name: value})
            assert type(getattr(made, name)) in kinds, (name, value)

        assert try_all(make) >= len(ODD) - 3, name


def test_particulars() -> None:
    for name in (field.name for field in dataclasses.fields(type(particulars()))):
        assert try_all(with_value(particulars, name)) >= 11, name


def test_certificates() -> None:
    certificate = issue()
    content = certificate.content
    given = {
        "particulars": content.particulars,
        "outcome": content.outcome,
        "issued": content.issued,
        "key": None,
    }
    for name in (*given, "evidence", "replaces"):
        assert try_all(with_value(Certificate.issue, name, **given)) >= 14, name
    validation = Validation(person=ADA, accepted=True)
    for call in (
        Certificate, Certificate.from_json, certificate.verify, certificate.verify_in,
        certificate.require_drive, render_text,
        lambda value: conclude(value, None), lambda value: summarize([value]),
        lambda value: certificate.with_validation(value, issued=content.issued, key=None),
        lambda value: certificate.with_validation(validation, issued=value, key=None),
        lambda value: call_off() if isinstance(value, str) else summarize([certificate], expected=[value]),
        lambda value: call_off() if isinstance(value, str) else kind_of(value),
        lambda value: call_off() if value is None else achieved(value, "hdd"),
    ):  # fmt: skip
        assert try_all(call) == len(ODD)


def call_off() -> None:
    """Refuse a value that is no odd one for this argument."""
    raise ConfigError("this value can be used here, and others are tried")


def test_signatures(tmp_path: Path) -> None:
    key, sealed = SigningKey.generate(), Sealed.make({"a": 1}, SigningKey.generate())
    for call in (
        PublicKey.load, SigningKey.load, PublicKey.from_pem, sealed.verify, Sealed.parse, Statement,
        Statement.from_json, lambda value: Statement.make(value, None),
        lambda value: Sealed.make({}, value) if value is not None else call_off(),
        lambda value: key.sign(value) if value != b"x" else call_off(),
        lambda value: key.save(value) if value not in ("file", b"x") else call_off(),
    ):  # fmt: skip
        assert try_all(call) == len(ODD)


def test_sanitization() -> None:
    target = MemoryTarget(MemoryMedium("256KiB", zone_size="64KiB"), "M1")
    good: dict[str, Any] = {
        "target": target,
        "technique": Technique.zero(),
        "clock": SystemClock(),
        "seed": SEED,
        "version": "1",
    }
    least = dict.fromkeys(good, 15) | {
        "version": 12, "journal": 14, "expect": 14, "options": 14, "used_seeds": 11, "report": 15,
        "is_cancelled": 15,
    }  # fmt: skip
    for name, count in least.items():
        assert try_all(with_value(Sanitization, name, **good)) >= count, name
    for call in (
        sanitize_many, FileTarget, SimulatedTarget, lambda value: MemoryTarget(value, "M1"),
        Technique.random, Technique.three_pass, lambda value: draw_samples(100_000, value),
        lambda value: draw_samples(100_000, SEED, subsections=value) if value != 2**70 else call_off(),
        Journal("j").write,
    ):  # fmt: skip
        assert try_all(call) == len(ODD)
    assert try_all(Journal) == try_all(FileKey) >= 12
    assert try_all(EnvironmentKey) == 12
    with pytest.raises(TypeError):
        Technique.zero() + "ones"  # type: ignore[operator]


def test_moves_of_a_drive() -> None:
    story = DriveStory.begin(time_ns=1, actor="alice")
    assert try_all(lambda value: move(value, DriveAct.PUT_ONLINE, time_ns=2, actor="a")) == len(ODD)
    assert try_all(lambda value: move(story, value, time_ns=2, actor="a")) == len(ODD)


def test_stores(tmp_path: Path, store: Store) -> None:
    names = iter(range(100))
    for name in ("clock", "seed", "encryption", "actor"):

        def create(value: Any, name: str = name) -> None:
            Store.create(tmp_path / f"{next(names)}", "1MiB", **SIZES, **{name: value}).close()

        assert try_all(create) >= 8, name
    secret = tmp_path / "key"
    secret.write_bytes(SEED)
    secret.chmod(0o600)
    path = tmp_path / "lab.store"
    with Store.create(path, "1MiB", encryption=FileKey(secret), **SIZES) as made:
        assert try_all(made.rekey) == len(ODD)
    assert try_all(lambda value: Store.open(path, key=value)) == len(ODD)
    with pytest.raises(
        ConfigError, match=r"of type str.*a KeyProvider is expected, such as seqstore.keys.FileKey"
    ):
        Store.open(path, key="file")  # type: ignore[arg-type]
    for call in (
        lambda value: store.audit[value], store.statement, store.audit.verify,
    ):  # fmt: skip
        assert try_all(call) >= len(ODD) - 1
