"""The form of erasure statements, and the sums that have to come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqstore.copies import COPY_DTYPE, digest_copies
from seqstore.runs import NEVER

NUMBER_OR_NONE = (int, type(None))
HOW = ("overwritten", "zeroed", "key", "drive")
STATES = ("DEAD", "MOVED")

# What each object of a statement holds, and no more. Version 1 had no `drive`, and no copies that went with
# one.
_FORM: dict[str, dict[str, Any]] = {
    "": {
        "format": str, "version": int, "claim": str, "issued": dict, "store": dict, "drive": dict,
        "subject": dict, "request": dict, "promise": dict, "lists": list, "copies": list, "kept": list,
        "elsewhere": list,
        "verifications": list, "totals": dict, "pending": (dict, type(None)), "limits": list,
        "complete": bool, "audit": dict,
    },
    "issued": {"time_ns": int, "position": int, "actor": str},
    "store": {"chain": str, "drives": list},
    "store.drives": {"number": int, "identity": str, "block_size": int, "blocks": int},
    "drive": {
        "number": int, "serial": str, "in_use": bool, "why": str, "most_blocks": NUMBER_OR_NONE,
        "end": (dict, type(None)),
    },
    "drive.end": {
        "record": int, "hash": str, "time_ns": int, "technique": (str, type(None)), "stands": bool,
        "certificate": (dict, type(None)),
    },
    "drive.end.certificate": {"record": int, "hash": str, "digest": str},
    "request": {
        "record": int, "hash": str, "time_ns": int, "position": int, "actor": str, "reason": str,
    },
    "promise": {"strategy": str, "bound_writes": NUMBER_OR_NONE, "bound_ns": NUMBER_OR_NONE},
    "lists": {
        "record": int, "hash": str, "time_ns": int, "position": int, "blocks": int, "digest": str,
        "interrupted": bool,
    },
    "copies": {
        "record": int, "drive": int, "mba": int, "blocks": int, "died": int, "state": str,
        "gone": (dict, type(None)),
    },
    "copies.gone": {"how": str, "position": int, "time_ns": int, "observed": bool},
    "kept": {"kind": str, "number": int, "name": str, "tenant": int, "blocks": int},
    "elsewhere": {
        "erasure": int, "record": int, "hash": str, "drive": int, "kept": list, "pending": int,
        "finished": bool,
    },
    "elsewhere.kept": {"kind": str, "number": int, "name": str, "tenant": int, "blocks": int},
    "verifications": {
        "record": int, "time_ns": int, "what": str, "passed": bool, "blocks": int, "position": int,
        "details": str,
    },
    "pending": {"blocks": int, "until_position": NUMBER_OR_NONE, "until_ns": NUMBER_OR_NONE},
    "audit": {"number": int, "hash": str},
}  # fmt: skip
_SINCE_2 = {"drive", "elsewhere"}
_MOST = (1 << 63) - 1


def find_problems(document: Any) -> Iterator[str]:
    """Yield what is wrong with a statement; nothing if it is sound."""
    is_first = isinstance(document, dict) and document.get("version") == 1
    wrong = list(_find_wrong_form(document, "", without=_SINCE_2 if is_first else set()))
    if wrong:
        yield from wrong
        return
    copies = copies_of(document)
    yield from _find_wrong_lists(document, copies)
    yield from _find_wrong_copies(document, copies)
    yield from _find_wrong_drive(document, copies)
    yield from _find_wrong_followers(document)
    yield from _find_wrong_sums(document, copies)


def copies_of(document: dict[str, Any]) -> NDArray[np.void]:
    """Return the copies of a statement of sound form as an array; ``seen`` is the position of their list.

    Returns
    -------
    COPY_DTYPE[n]
    """
    seen = {entry["record"]: entry["position"] for entry in document["lists"]}
    nothing = {"position": NEVER, "time_ns": NEVER, "how": "", "observed": False}
    rows = []
    for number, copy in enumerate(document["copies"]):
        gone = copy["gone"] or nothing
        place = (copy["drive"], copy["mba"], copy["blocks"], copy["died"], copy["state"] == "MOVED")
        fate = (gone["position"], gone["time_ns"], gone["how"], gone["observed"])
        rows.append((number, 0, copy["record"], *place, seen.get(copy["record"], NEVER), *fate))
    return np.array(rows, COPY_DTYPE)


def sum_up(
    copies: NDArray[np.void],
    request: dict[str, Any],
    promise: dict[str, Any],
    issued: dict[str, Any],
    drive: Mapping[str, Any] | None,
) -> tuple[dict[str, int], dict[str, Any] | None]:
    """Return the totals of copies, in blocks, and what is pending.

    A copy is late if it was written over after its bound had passed, or is there and its bound has passed.
    Whether one was late that was only observed to be gone is not known, and neither is it where the bound is
    one of time: then it is known when the store took note. On a drive that is out of use no bound holds, and
    something is pending there, known or not, until the drive as a whole has come to its end.
    """
    count = copies["count"].astype(np.int64)
    gone = copies["gone_position"] != NEVER
    late = unsure = np.zeros(len(copies), bool)
    until_position = until_ns = None
    if promise["bound_writes"] is not None:
        due = np.maximum(copies["died"], request["position"]) + promise["bound_writes"]
        is_over = np.where(gone, copies["gone_position"], issued["position"]) > due
        late, unsure = is_over & ~copies["observed"], is_over & copies["observed"]
        until_position = int(due[~gone].max(initial=0))
    if promise["bound_ns"] is not None:
        until_ns = request["time_ns"] + promise["bound_ns"]
        is_over = np.where(gone, copies["gone_ns"], issued["time_ns"]) > until_ns
        late, unsure = late | (is_over & ~gone), unsure | (is_over & gone)
    unsure = unsure & ~late
    totals = {
        "blocks": int(count.sum()),
        "pending": int(count[~gone].sum()),
        **{how: int(count[copies["how"] == how].sum()) for how in HOW[: 3 if drive is None else 4]},
        "moved": int(count[copies["moved"]].sum()),
        "observed": int(count[copies["observed"]].sum()),
        "late": int(count[late].sum()),
        "unsure": int(count[unsure].sum()),
    }
    if _is_out_of_reach(drive):
        return totals, {"blocks": totals["pending"], "until_position": None, "until_ns": None}
    if not totals["pending"]:
        return totals, None
    return totals, {"blocks": totals["pending"], "until_position": until_position, "until_ns": until_ns}


def _is_out_of_reach(drive: Mapping[str, Any] | None) -> bool:
    """Tell whether nobody can say what lies on a drive."""
    return drive is not None and not drive["in_use"] and not (drive["end"] and drive["end"]["stands"])


def is_complete(document: dict[str, Any]) -> bool:
    """Tell whether a statement may say that nothing is left that can be read."""
    # What was looked at several times is judged by the last time.
    last = {entry["what"]: entry["passed"] for entry in document["verifications"]}
    return (
        bool(document["lists"])
        and not document["totals"]["pending"]
        and not any(entry["blocks"] for entry in document["kept"])
        and not _is_out_of_reach(document.get("drive"))
        and all(entry["finished"] for entry in document.get("elsewhere", ()))
        and all(last.values())
    )


def _find_wrong_form(value: Any, path: str, without: Set[str] = frozenset()) -> Iterator[str]:
    """Compare an object with its form, and those inside of it."""
    where, form = path or "the statement", _FORM[path]
    form = {name: kind for name, kind in form.items() if name not in without}
    if not isinstance(value, dict) or value.keys() != form.keys():
        found = sorted(value) if isinstance(value, dict) else value
        yield f"{where} holds {found!r}; {sorted(form)} are expected"
        return
    for name, kind in form.items():
        inner, inner_path = value[name], f"{path}.{name}".removeprefix(".")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(inner) not in kinds:
            yield f"{inner_path} is {inner!r}, which it cannot be"
        elif type(inner) is int and not 0 <= inner <= _MOST:
            yield f"{inner_path} is {inner}, which is beyond all that is counted"
        elif inner_path in _FORM and isinstance(inner, list):
            for entry in inner:
                yield from _find_wrong_form(entry, inner_path)
        elif inner_path in _FORM and inner is not None:
            yield from _find_wrong_form(inner, inner_path)
    if not path and isinstance(value["limits"], list) and not all(type(e) is str for e in value["limits"]):
        yield "limits are sentences, and something else is among them"


def _find_wrong_lists(document: dict[str, Any], copies: NDArray[np.void]) -> Iterator[str]:
    """Compare the copies with the digests under which they were listed."""
    before = document["request"]["record"], document["request"]["position"]
    for entry in document["lists"]:
        number, mine = entry["record"], copies[copies["record"] == entry["record"]]
        is_listed = digest_copies(mine, entry["digest"]) == entry["digest"]
        if not is_listed or int(mine["count"].sum()) != entry["blocks"]:
            yield f"the copies of record {number} are not those that were listed there"
        if number <= before[0] or entry["position"] < before[1]:
            yield f"the list of record {number} is older than what comes before it"
        before = number, entry["position"]
    last = document["audit"]["number"]
    if before[0] > last:
        yield f"record {before[0]} is newer than the head of the audit log, record {last}"
    if not np.isin(copies["record"], [entry["record"] for entry in document["lists"]]).all():
        yield "there are copies of which no record speaks"


def _find_wrong_copies(document: dict[str, Any], copies: NDArray[np.void]) -> Iterator[str]:
    """Look for copies that cannot be where or when they are."""
    request, issued = document["request"], document["issued"]
    sizes = {drive["number"]: drive["blocks"] for drive in document["store"]["drives"]}
    for copy in document["copies"]:
        if copy["state"] not in STATES or (copy["gone"] and copy["gone"]["how"] not in HOW):
            yield f"the copy at {copy['mba']} is {copy['state']!r}, or ended as {copy['gone']!r}"
        if not copy["blocks"] or copy["mba"] + copy["blocks"] > sizes.get(copy["drive"], 0):
            yield f"the copy at {copy['mba']} is not on drive {copy['drive']}"
    gone = copies[copies["gone_position"] != NEVER]
    after = (gone["gone_position"] > issued["position"]) | (gone["gone_ns"] > issued["time_ns"])
    for what, among, is_so in (
        ("died after it was listed", copies, copies["died"] > copies["seen"]),
        ("was gone before it was listed", gone, gone["gone_position"] < gone["seen"]),
        ("was gone before it was to be deleted", gone, gone["gone_ns"] < request["time_ns"]),
        ("was gone after the statement was issued", gone, after),
    ):
        if is_so.any():
            yield f"the copy at {among['mba'][is_so][0]} {what}"
    if issued["position"] < request["position"] or issued["time_ns"] < request["time_ns"]:
        yield "the statement was issued before the deletion was asked for"
    for record in np.unique(copies["record"]):
        yield from _find_overlap(copies[copies["record"] == record])
    yield from _find_overlap(copies[copies["gone_position"] == NEVER])


def _find_wrong_drive(document: dict[str, Any], copies: NDArray[np.void]) -> Iterator[str]:
    """Look for ends of the drive that cannot be, and for copies that went with a drive that did not end."""
    drive, with_drive = document.get("drive"), copies["how"] == "drive"
    if drive is None or drive["end"] is None:
        if with_drive.any():
            yield f"the copy at {copies['mba'][with_drive][0]} went with a drive of whose end nothing is said"
        if drive is None:
            return
    end, drives = drive["end"], [entry["number"] for entry in document["store"]["drives"]]
    if drives != [drive["number"]]:
        yield f"the statement speaks of drive {drive['number']}, and lists drives {drives}"
    if end is None:
        return
    numbers = [document["request"]["record"], end["record"]]
    if end["certificate"] is not None:
        numbers.append(end["certificate"]["record"])
    if drive["in_use"]:
        yield f"drive {drive['number']} has come to its end, and is in use"
    if numbers != sorted(set(numbers)) or numbers[-1] > document["audit"]["number"]:
        yield f"the end of drive {drive['number']}, record {end['record']}, is not behind the request"


def _find_wrong_followers(document: dict[str, Any]) -> Iterator[str]:
    """Look for erasures on other drives that cannot be, or are through while something is left."""
    last = document["request"]["record"]
    for entry in document.get("elsewhere", ()):
        if not last < entry["record"] <= document["audit"]["number"]:
            yield f"erasure {entry['erasure']} on another drive is not behind what it follows"
        if entry["finished"] and (entry["pending"] or entry["kept"]):
            yield f"erasure {entry['erasure']} on another drive is through, and something is left there"
        last = entry["record"]


def _find_overlap(copies: NDArray[np.void]) -> Iterator[str]:
    """Look for blocks that hold two copies at a time."""
    ordered = copies[np.lexsort((copies["mba"], copies["drive"]))]
    is_same = ordered["drive"][1:] == ordered["drive"][:-1]
    overlap = is_same & (ordered["mba"][1:] < ordered["mba"][:-1] + ordered["count"][:-1])
    if overlap.any():
        yield f"the block at {ordered['mba'][1:][overlap][0]} holds two copies at a time"


def _find_wrong_sums(document: dict[str, Any], copies: NDArray[np.void]) -> Iterator[str]:
    request, promise, issued = document["request"], document["promise"], document["issued"]
    totals, pending = sum_up(copies, request, promise, issued, document.get("drive"))
    if document["totals"] != totals:
        yield f"totals are {document['totals']}; the copies come to {totals}"
    elif document["complete"] != is_complete(document):
        yield f"complete is {document['complete']}, which does not follow from what is said"
    if document["pending"] != pending:
        yield f"pending is {document['pending']}; the copies come to {pending}"
