"""A closed store: each public call of it and of its parts says so, and none says what names are kept in."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqstore import ClosedError, Loss, Now, Store
from seqstore.certificate_parts import Destruction, Person
from seqstore.keys import FileKey

ADA = Person(name="Ada Byron", role="technician", time_ns=0)
GRACE = Person(name="Grace Murray", role="auditor", time_ns=0)
BLOCK = np.zeros((1, 4096), np.uint8)

# What a call needs; those that are not here need nothing.
LOSS = Loss(kind="volume", number=7, name="disk", tenant="contoso", drives=(1,), why="it burns", runs=None)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "add_drive": ("1MiB",), "clone": ("copy",), "create_tenant": ("fabrikam",), "delete_lost": (LOSS,),
    "create_volume": ("b", "64KiB"), "idle": (1,),
    "destroy": (Destruction(operator=ADA, witness=GRACE, how="shredded", reason="it is old"),),
    "fail": ("clicks",), "degrade": ("loud",), "recover": ("quiet",), "refuse": ("no",),
    "find_snapshot": ("monday",), "open": ("rb",), "plan_deletion": (Now(),),
    "raw": (0, 1), "read": (0, 1), "read_blocks": (0, 1), "readinto": (0, bytearray(1)),
    "rekey": (FileKey("key"),), "rename": ("other",), "resize": ("64KiB",), "set_deletion": (Now(),),
    "snapshot": ("monday",), "statement": (1,), "tenant": ("contoso",), "trim": (0, 1), "volume": ("disk",),
    "write": (0, b"x"), "write_blocks": (0, BLOCK),
}  # fmt: skip
KEYWORDS = {"sanitize": {"operator": ADA, "verifier": GRACE}}
# What was known before may still be told; all else that goes well is a mistake.
ANSWERS = {
    "Store": {"audit", "block_size", "close", "closed", "deletion", "deletion_failure", "drives", "encrypted",
              "read_only", "recovery"},
    "Tenant": {"deleted", "name", "number", "store"},
    "Volume": {"block_size", "copies", "deleted", "name", "number", "tenant", "unwritten"},
    "Snapshot": {"block_size", "copies", "deleted", "name", "number", "tenant", "unwritten", "volume_number"},
    "Drive": {"block_size", "blocks", "capacity", "data_capacity_blocks", "identity", "in_use", "medium",
              "number", "recovery", "reserved_blocks", "segment_blocks", "segment_size", "takes_volumes",
              "usable_blocks", "why_not"},
    "AuditLog": {"acting", "who"},
}  # fmt: skip
# Those need arguments of their own, and are tried below or elsewhere; the others make stores.
LEFT_OUT = {
    "Store": {"create", "create_on", "memory", "open", "open_on", "simulated"},
    "Volume": {"rollback"},
    "Drive": {"release"},
    "AuditLog": {"append"},
}


def parts(path: Path) -> dict[str, Any]:
    """Make a store with everything in it, and close it."""
    store = Store.create(path, "2MiB", segment_size="64KiB")
    store.add_drive("1MiB", segment_size="64KiB")
    tenant = store.create_tenant("contoso")
    volume = tenant.create_volume("disk", "64KiB")
    volume.write(0, bytes(9000))
    snapshot = volume.snapshot("friday")
    tenant.create_volume("gone", "64KiB").delete()
    first, second = store.drives
    second.fail("clicks")
    store.close()
    return {
        "store": store, "tenant": tenant, "volume": volume, "snapshot": snapshot, "drive": first,
        "drive out of use": second, "audit": store.audit,
    }  # fmt: skip


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return parts(tmp_path_factory.mktemp("closed") / "lab.store")


def calls(owner: Any) -> Iterator[str]:
    kind = type(owner).__name__
    for name in dir(owner if not isinstance(owner, Store) else Store):
        if not name.startswith("_") and name not in LEFT_OUT.get(kind, ()):
            yield name


def use(owner: Any, name: str) -> object:
    value = getattr(owner, name)
    if not callable(value):
        return value
    done = value(*ARGUMENTS.get(name, ()), **KEYWORDS.get(name, {}))
    return list(done) if inspect.isgenerator(done) else done


@pytest.mark.parametrize(
    "part", ["store", "tenant", "volume", "snapshot", "drive", "drive out of use", "audit"]
)
def test_every_call_says_that_the_store_was_closed(closed: dict[str, Any], part: str) -> None:
    owner, wrong, tried = closed[part], [], 0
    for name in calls(owner):
        tried += 1
        try:
            use(owner, name)
        except ClosedError as error:
            if "the store was closed" not in str(error) or "database" in str(error):
                wrong.append(f"{name}: {error}")
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
        else:
            if name not in ANSWERS[type(owner).__name__]:
                wrong.append(f"{name}: went well")
    assert wrong == []
    assert tried >= 3


def test_everything_can_be_shown(closed: dict[str, Any]) -> None:
    assert all("closed" in repr(owner) or "Drive" in repr(owner) for owner in closed.values())


def test_the_log_is_closed_with_it(closed: dict[str, Any]) -> None:
    for use_log in (len, list, lambda log: log[1]):
        with pytest.raises(ClosedError, match=r"^the store was closed"):
            use_log(closed["audit"])


def test_rolling_back_to_a_snapshot(closed: dict[str, Any]) -> None:
    with pytest.raises(ClosedError, match="the store was closed"):
        closed["volume"].rollback(closed["snapshot"])
