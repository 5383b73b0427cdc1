"""Collects what a drive says of itself, in values that JSON can hold.

Addresses and counts are in blocks unless a name ends in ``_bytes``; identities are hexadecimal strings,
since JSON's readers lose bits of large numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from seqstore.format import BlockInfo, BlockState, DriveImage, Kind

Values = dict[str, Any]

_RECORD_STATUSES = ("valid", "stale", "torn", "discarded", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found on a drive.

    Attributes
    ----------
    values : dict
        Everything, ready for `json.dumps`.
    sound : bool
        Whether nothing damaged was found.
    """

    values: Values
    sound: bool


def collect(image: DriveImage, *, data: bool = True, blocks: bool = False) -> Facts:
    """Collect the facts about a drive.

    Parameters
    ----------
    image : DriveImage
        The drive.
    data : bool
        Whether to read and check every live block.
    blocks : bool
        Whether to list each block.

    Returns
    -------
    Facts
    """
    geometry, known = image.geometry, image.recovered.state is not None
    verified = image.verify() if data and known else 0
    records, said = _records(image)
    values: Values = {
        "format_version": image.version,
        "drive": f"{image.drive:016x}",
        "geometry": {
            "block_bytes": geometry.block_size,
            "segment_blocks": geometry.segment_blocks,
            "block_count": geometry.block_count,
            "segment_count": geometry.segment_count,
            "capacity_bytes": geometry.capacity,
        },
        "log": _log(image),
        "heads": _heads(image),
        "checkpoint": _checkpoint(image),
        "records": records,
        "verified_blocks": verified,
    }
    if known:
        values["volumes"] = _volumes(image)
        values["tenants"], values["segments"] = _census(image)
    else:
        values["layers_named"] = said
    values["damage"] = [{"mba": damage.mba, "what": damage.what} for damage in image.damage]
    values["sound"] = not image.damage
    if blocks and known:
        values["blocks"] = [
            {**_plain(block), "state": block.state.name.lower()}
            for block in image.blocks()
            if block.state is not BlockState.FREE
        ]
    return Facts(values=values, sound=not image.damage)


def _plain(block: BlockInfo) -> Values:
    return {name: getattr(block, name) for name in ("mba", "layer", "volume", "tenant", "lba", "died")}


def _log(image: DriveImage) -> Values:
    found = image.recovered
    return {
        "recoverable": found.state is not None,
        "clean": found.clean,
        "last_sequence": found.last.sequence if found.last else 0,
        "flushed_sequence": found.flushed,
        "lost_records": found.lost_records if found.state is not None else 0,
        "records_rolled_forward": found.records,
        "records_verified": found.verified_records,
        "void_entries": found.void_entries,
        "torn_mba": found.torn.mba if found.torn else None,
        "opening": f"{found.state.opening:016x}" if found.state is not None else None,
        "position": image.position,
        "laps": round(image.position / image.geometry.block_count, 3),
        "foreign_segments": image.survey.foreign,
        "unreadable_segments": len(image.survey.unreadable),
    }


def _heads(image: DriveImage) -> list[Values]:
    heads = image.recovered.state.write_heads if image.recovered.state is not None else {}
    return [
        {"class": class_id, "segment": heads[class_id].segment, "open_blocks": heads[class_id].blocks}
        for class_id in sorted(heads)
    ]


def _checkpoint(image: DriveImage) -> Values | None:
    checkpoint = image.recovered.checkpoint
    if checkpoint is None:
        return None
    return {
        "sequence": checkpoint.sequence,
        "mba": image.recovered.checkpoint_mba,
        "position": checkpoint.position,
        "stream_bytes": checkpoint.stream_bytes,
        "volumes": len(checkpoint.volumes),
        "layers": len(checkpoint.layers) - 1,
    }


def _records(image: DriveImage) -> tuple[Values, list[Values]]:
    """Count the records by what has become of them, and the blocks that unplaced ones name."""
    statuses: Counter[str] = Counter()
    said: Counter[int] = Counter()
    for record in image.records():
        statuses[record.status] += 1
        if record.status == "unknown":
            said.update(entry.volume for entry in record.summary.entries if entry.kind is Kind.DATA)
    return (
        {status: statuses[status] for status in _RECORD_STATUSES},
        [{"layer": layer, "blocks_written": said[layer]} for layer in sorted(said)],
    )


def _volumes(image: DriveImage) -> list[Values]:
    return [
        {
            "number": volume.number,
            "kind": "snapshot" if volume.snapshot else "volume",
            "tenant": volume.tenant,
            "size_bytes": volume.size_bytes,
            "mapped_blocks": len(volume.mapped()),
            "layer": volume.layer,
            "origin": volume.origin or None,
            "unwritten": "error" if volume.unwritten_error else "zero",
        }
        for volume in image.volumes
    ]


def _census(image: DriveImage) -> tuple[list[Values], list[Values]]:
    """Count the blocks of each tenant and of each segment by their states."""
    tenants: dict[int, Values] = {}
    segments: dict[int, Values] = {}
    damaged = {
        damage.mba // image.geometry.segment_blocks for damage in image.damage if damage.mba is not None
    }
    open_segments = {head.segment for head in image.state.write_heads.values()}
    for block in image.blocks():
        number = block.mba // image.geometry.segment_blocks
        if number not in segments:
            segments[number] = {"segment": number, **_NO_BLOCKS}
        state = block.state.name.lower()
        segments[number][state] += 1
        if block.tenant:
            owner = tenants.setdefault(
                block.tenant, {"tenant": block.tenant, "live": 0, "dead": 0, "moved": 0, "oldest_age": None}
            )
            owner[state] += 1
            if block.died is not None:
                owner["oldest_age"] = max(owner["oldest_age"] or 0, image.position - block.died)
    for number, segment in segments.items():
        segment["open"] = number in open_segments
        segment["damaged"] = number in damaged
    return [tenants[number] for number in sorted(tenants)], list(segments.values())


_NO_BLOCKS = {state.name.lower(): 0 for state in BlockState}
