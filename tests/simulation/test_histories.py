"""Workloads that make and delete: each operation must make sense after those before it."""

from __future__ import annotations

import numpy as np
import pytest

from seqstore.sim import workloads
from seqstore.sim.file_system import FileSystem
from seqstore.sim.operations import Kind, Source

PAGE = 4096


class Mapped:
    """Which blocks of each volume hold something, kept beside a workload by its operations."""

    def __init__(self, source: Source) -> None:
        self.blocks = {key: np.zeros(size, bool) for key, size in (source.volumes or {}).items()}
        self.most = 0
        self.seen: set[tuple[int, int]] = set(self.blocks)
        self.left: set[int] = set()
        for batch in source.batches():
            for row in batch.tolist():
                self.do(*row)

    def do(self, time_ns: int, kind: int, tenant: int, volume: int, lba: int, count: int) -> None:
        key = (tenant, volume)
        if kind == Kind.CREATE:
            assert key not in self.seen, "numbers are never given again"
            assert tenant not in self.left
            self.seen.add(key)
            self.blocks[key] = np.zeros(lba, bool)
        elif kind == Kind.DELETE:
            del self.blocks[key]
        elif kind == Kind.LEAVE:
            assert any(owner == tenant for owner, _ in self.seen)
            assert tenant not in self.left
            self.left.add(tenant)
            self.blocks = {key: blocks for key, blocks in self.blocks.items() if key[0] != tenant}
        else:
            assert lba + count <= len(self.blocks[key])
            self.blocks[key][lba : lba + count] = kind == Kind.WRITE or (
                kind == Kind.READ and self.blocks[key][lba : lba + count]
            )
        self.most = max(self.most, self.size)

    @property
    def size(self) -> int:
        return sum(len(blocks) for blocks in self.blocks.values())


def room(source: FileSystem) -> tuple[int, int]:
    """Return where the data of a file system begin, and how many blocks its files may take."""
    first = -(-source.blocks // 32768) + -(-(source.blocks // 4) // 16)
    return first, int((source.blocks - first) * source.utilization)


SYSTEMS = [
    workloads.file_system(40_000, 8_000, seed=1),
    workloads.file_system(1024, 3_000, seed=2, utilization=0.95),
    workloads.file_system(1024, 3_000, seed=2, utilization=0.1),
    # As many files as there are inodes; then no appends, then nothing else.
    workloads.file_system(4096, 6_000, seed=3, mu=1.0, sigma=0.0, append_share=0.0),
    workloads.file_system(4096, 6_000, seed=4, append_share=0.0, overwrite_share=0.0),
    workloads.file_system(4096, 6_000, seed=5, append_share=1.0, overwrite_share=0.0, append_blocks=40),
    workloads.file_system(4096, 6_000, seed=6, append_share=0.0, overwrite_share=1.0),
    workloads.file_system(4096, 2_000, seed=7, mu=40.0, sigma=10.0, alpha=0.0),
]


@pytest.mark.parametrize("source", SYSTEMS, ids=range(len(SYSTEMS)))
def test_files_never_lie_on_each_other(source: FileSystem) -> None:
    """What is trimmed was written, what is new goes to free blocks, and the files keep to their room."""
    first, most = room(source)
    mapped = np.zeros(source.blocks, bool)
    used, largest, overwritten = 0, 0, 0
    for batch in source.batches():
        for kind, lba, count in zip(
            batch["kind"].tolist(), batch["lba"].tolist(), batch["count"].tolist(), strict=True
        ):
            run = mapped[lba : lba + count]
            assert len(run) == count
            if lba < first:
                assert kind == Kind.WRITE
                assert count == 1
                continue
            if kind == Kind.TRIM:
                assert run.all()
                used -= count
            else:
                assert run.all() or not run.any(), "a write is an overwrite or new, and never both"
                overwritten += count * int(run.all())
                used += 0 if run.all() else count
            run[:] = kind == Kind.WRITE
            largest = max(largest, used)
    assert largest <= most
    assert bool(overwritten) == (source.overwrite_share > 0.0 or source.append_share == 1.0)


class TestFileSystem:
    source = workloads.file_system(200_000, 20_000, seed=1)
    operations = np.concatenate(list(source.batches()))

    def test_it_stays_as_full_as_it_was_told(self) -> None:
        first, most = room(self.source)
        signs = np.where(self.operations["kind"] == Kind.TRIM, -1, 1)
        mapped = np.zeros(self.source.blocks, bool)
        for sign, lba, count in zip(
            signs.tolist(), self.operations["lba"].tolist(), self.operations["count"].tolist(), strict=True
        ):
            mapped[lba : lba + count] = sign > 0
        assert mapped[first:].sum() == pytest.approx(most, rel=0.05)

    def test_metadata_are_written_often(self) -> None:
        first, _ = room(self.source)
        small = self.operations["lba"] < first
        assert 0.3 < small.mean() < 0.7
        assert set(np.unique(self.operations["lba"][small & (self.operations["lba"] < 7)])) == set(range(7))

    def test_files_come_in_pieces_when_old(self) -> None:
        """A young volume has whole files; an old one has runs that are shorter."""
        first, _ = room(self.source)
        data = (self.operations["lba"] >= first) & (self.operations["kind"] == Kind.WRITE)
        counts = self.operations["count"][data].astype(int)
        assert counts[:1000].mean() > 2 * counts[-5000:].mean()

    def test_sizes_of_new_files(self) -> None:
        """The first files of an empty volume are whole: their runs are their sizes."""
        source = workloads.file_system(1 << 20, 0, seed=1)
        first, most = room(source)
        operations = np.concatenate(list(source.batches()))
        sizes = operations["count"][operations["lba"] >= first]
        assert np.median(sizes) == pytest.approx(np.exp(9.48) / PAGE + 0.5, abs=1.0)
        assert sizes.max() <= most // 16
        assert (sizes == 1).mean() == pytest.approx(0.3182, abs=0.02)


CHURNS = [
    workloads.tenant_churn(20_000, 30_000, seed=1),
    workloads.tenant_churn(5_000, 30_000, seed=2, tenant_volumes=4.0, request_blocks=1, image=0.0),
    workloads.tenant_churn(999, 10_000, seed=3, volume_blocks=5_000, request_blocks=10, read_share=0.5),
    workloads.tenant_churn(64, 10_000, seed=4, arrival=3.0, lifetime=50.0, sigma=0.0, hot=1.0),
]


@pytest.mark.parametrize("source", CHURNS, ids=range(len(CHURNS)))
def test_tenants_use_only_what_they_have(source: Source) -> None:
    mapped = Mapped(source)
    assert source.blocks // 4 < mapped.most <= source.blocks
    assert len(mapped.left) > 10
    assert source.volumes is None


class TestChurn:
    def test_counts_and_shares(self) -> None:
        source = workloads.tenant_churn(
            50_000, 200_000, seed=5, image=0.0, trim_share=0.2, read_share=0.3, rate=0.9, hot=0.1
        )
        operations = np.concatenate(list(source.batches()))
        kinds = np.bincount(operations["kind"], minlength=6)
        assert kinds[:3].sum() == 200_000
        assert kinds[:3] / 200_000 == pytest.approx(np.array([0.5, 0.3, 0.2]), abs=0.01)
        sizes = {(row[2], row[3]): row[4] for row in operations[operations["kind"] == Kind.CREATE].tolist()}
        work = operations[operations["kind"] <= Kind.TRIM]
        ends = np.array([sizes[key] for key in zip(work["tenant"], work["volume"], strict=True)])
        assert (work["lba"] < ends * 0.1).mean() == pytest.approx(0.9, abs=0.01)

    def test_an_image_is_written_first(self) -> None:
        operations = np.concatenate(list(workloads.tenant_churn(50_000, 1000, seed=5, image=1.0).batches()))
        created = np.flatnonzero(operations["kind"] == Kind.CREATE)[0]
        requests = int(operations["lba"][created]) // 8
        image = operations[created + 1 : created + 1 + requests]
        assert np.array_equal(image["lba"], np.arange(requests) * 8)
        assert (image["kind"] == Kind.WRITE).all()

    def test_as_many_are_there_as_arrive_while_one_stays(self) -> None:
        """Little's law, where there is room for all."""
        source = workloads.tenant_churn(
            1 << 24, 200_000, seed=6, arrival=100.0, lifetime=2_000.0, volume_blocks=64, image=0.0
        )
        operations = np.concatenate(list(source.batches()))
        leaves = operations["kind"] == Kind.LEAVE
        came = np.zeros(len(operations), int)
        tenants, firsts = np.unique(operations["tenant"], return_index=True)
        came[firsts] = 1
        there = np.cumsum(came) - np.cumsum(leaves)
        assert len(tenants) == pytest.approx(2_000, rel=0.08)
        assert there[len(there) // 10 :].mean() == pytest.approx(20.0, rel=0.1)

    def test_volumes_are_replaced_while_their_tenant_stays(self) -> None:
        source = workloads.tenant_churn(
            1 << 20, 100_000, seed=7, arrival=1_000.0, lifetime=1e6, volume_lifetime=5_000.0, volume_blocks=64
        )
        kinds = np.bincount(np.concatenate(list(source.batches()))["kind"], minlength=6)
        assert kinds[Kind.DELETE] > 300
        assert kinds[Kind.CREATE] > kinds[Kind.DELETE]
