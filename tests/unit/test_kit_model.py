"""The oracle: former states, and who descends from whom."""

from __future__ import annotations

from seqstore.testing.model import Model, State, Volume

A, B, C = (bytes([letter]) * 32 for letter in b"ABC")
ZERO = bytes(32)


def shows(state: State) -> dict[int, bytes]:
    return {volume.number: b"".join(blocks) for volume, blocks in state.volumes.items()}


def test_former_states_come_back_to_the_last_flush() -> None:
    model = Model(32, crashes=True)
    volume = model.create("a", "handle", 2)
    model.put(volume, 0, [A])
    model.flushed()
    model.put(volume, 0, [B, C])
    model.trim(volume, 1, 1)
    model.resize(volume, 1)
    model.resize(volume, 2)
    other = model.create("b", "other", 1)
    model.delete(volume)
    assert [shows(state) for state in model.states()] == [
        {2: ZERO},
        {1: B + ZERO, 2: ZERO},
        {1: B + ZERO},
        {1: B},
        {1: B + ZERO},
        {1: B + C},
        {1: A + ZERO},
    ]
    model.install(list(model.states())[4])
    assert model.volumes == [volume]
    assert other in model.deleted
    assert volume not in model.deleted
    assert volume.blocks == [B, ZERO]
    assert not model.log


def test_long_writes_may_be_cut() -> None:
    model = Model(32, crashes=True, atomic_blocks=2)
    volume = model.create("a", "handle", 3)
    model.flushed()
    model.put(volume, 0, [A, B, C])
    assert [shows(state)[1] for state in model.states()] == [A + B + C, A + B + ZERO, ZERO * 3]


def test_a_deleted_tenant_is_one_step() -> None:
    model = Model(32, crashes=True)
    volume = model.create("a", "handle", 1)
    model.put(volume, 0, [A])
    model.snapshot(volume, "snapshot")
    model.create("b", "other", 1)
    model.flushed()
    model.delete_tenant("a")
    now, before = model.states()
    assert (shows(now), now.snapshots) == ({2: ZERO}, ())
    assert shows(before) == {1: A, 2: ZERO}
    assert len(before.snapshots) == 1
    assert model.tenant("a").number == 3


def test_lineage_ends_at_the_snapshot() -> None:
    model = Model(32)
    origin = model.create("a", "handle", 1)
    model.version = 4
    snapshot = model.snapshot(origin, "snapshot")
    model.version = 5
    clone: Volume = model.clone(snapshot, "b", "clone")
    assert model.descends(clone, origin.number, 4)
    assert not model.descends(clone, origin.number, 5)
    assert not model.descends(origin, clone.number, 5)


def test_what_lives_keeps_its_blocks() -> None:
    model = Model(32)
    volume = model.create("a", "handle", 2)
    model.put(volume, 0, [A, B])
    snapshot = model.snapshot(volume, "snapshot")
    model.put(volume, 0, [C])
    assert model.live_blocks() == {A, B, C}
    model.delete(snapshot)
    assert model.live_blocks() == {B, C}
