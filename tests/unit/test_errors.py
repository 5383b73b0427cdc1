"""The error tree: classes, attributes, and that errors travel between processes."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle

import pytest

import seqstore
from seqstore import errors
from seqstore.drive_life import DriveStory
from seqstore.sim import Table

EXAMPLES = [
    errors.SeqstoreError("m"),
    errors.ConfigError("m"),
    errors.BoundError("m", smallest=7),
    errors.ClosedError("m"),
    errors.NotFoundError("m"),
    errors.UnwrittenError("m", volume=1, offset=2, length=3),
    errors.MediumError("m"),
    errors.OutOfSpaceError("m", needed=1, available=2),
    errors.SequentialWriteError("m", mba=1, write_pointer=2),
    errors.BadBlockError("m", mba=1, errno=errno.EIO),
    errors.AccessError("m"),
    errors.FormatError("m"),
    errors.VersionError("m", found=2, expected=1),
    errors.LostWritesError("m", last_sequence=1, flushed_sequence=2),
    errors.CorruptionError("m", volume=1, lba=2, mba=3),
    errors.TraceError("m", file="t.csv", line=7),
    errors.EvidenceError("m"),
    errors.AuditError("m", number=7),
    errors.SignatureError("m"),
    errors.ContradictionError("m", problems=("one", "two")),
    errors.StatementError("m", problems=("one", "two")),
    errors.CertificateError("m", problems=("one", "two")),
    errors.DriveStateError("m", state="new", act="release", story=DriveStory.begin(time_ns=1, actor="alice")),
    errors.SweepError("m", failures={}, table=Table({})),
    errors.InvariantError("m", file="f.c", line=7, condition="a == b"),
]


def classes() -> set[type[errors.SeqstoreError]]:
    members = {member for _, member in inspect.getmembers(errors, inspect.isclass)}
    return {member for member in members if issubclass(member, errors.SeqstoreError)}


def test_every_class_has_an_example() -> None:
    assert {type(error) for error in EXAMPLES} == classes()


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (errors.ConfigError, (ValueError,)),
        (errors.ClosedError, (ValueError,)),
        (errors.NotFoundError, (LookupError,)),
        (errors.UnwrittenError, (LookupError,)),
        (errors.MediumError, (OSError,)),
        (errors.OutOfSpaceError, (errors.MediumError, OSError)),
        (errors.SequentialWriteError, (errors.MediumError, OSError)),
        (errors.BadBlockError, (errors.MediumError, OSError)),
        (errors.AccessError, (PermissionError,)),
        (errors.CorruptionError, (errors.FormatError,)),
        (errors.VersionError, (errors.FormatError,)),
        (errors.LostWritesError, (errors.FormatError,)),
        (errors.TraceError, (errors.FormatError,)),
        (errors.ContradictionError, (errors.EvidenceError,)),
        (errors.StatementError, (errors.ContradictionError,)),
        (errors.CertificateError, (errors.ContradictionError,)),
        (errors.SweepError, (errors.SeqstoreError,)),
        (errors.InvariantError, (errors.SeqstoreError,)),
    ],
)
def test_parents(error: type[Exception], parents: tuple[type[Exception], ...]) -> None:
    assert issubclass(error, (errors.SeqstoreError, *parents))
    assert all(issubclass(error, parent) for parent in parents)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_travel(error: errors.SeqstoreError, travel: object) -> None:
    arrived = travel(error)  # type: ignore[operator]
    assert type(arrived) is type(error)
    assert str(arrived) == str(error) == "m"
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_class_is_public(error: errors.SeqstoreError) -> None:
    name = type(error).__name__
    assert name in seqstore.__all__
    assert getattr(seqstore, name) is type(error)


def test_out_of_space_is_the_operating_systems_error_too() -> None:
    assert errors.OutOfSpaceError("m", needed=1, available=0).errno == errno.ENOSPC


def test_the_operating_systems_number_travels() -> None:
    error = pickle.loads(pickle.dumps(errors.MediumError("m", errno=errno.EBUSY)))
    assert (error.errno, errors.MediumError("m").errno) == (errno.EBUSY, None)


def test_notes_travel_with_pickles() -> None:
    error = errors.ConfigError("m")
    error.hint = "look there"  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(error)).hint == "look there"
