"""Workloads: operations generated from a few parameters and a seed.

Each function returns a `seqstore.sim.operations.Source`: frozen, cheap until it is iterated over, and and may
be so any number of times. Its `name` and `parameters` are the function and the arguments that make it again.
The same arguments give the same operations on every machine, with every version of NumPy. A workload that
writes single blocks of one volume is a `seqstore.sim.operations.Writes` as well.

What all of them take:

blocks : int
    Size of the volume, or of the drive where there are several; 2**30 at most.
writes, operations : int
    How many follow after the fill.
fill : bool
    Whether all blocks are written once before, from the first to the last.
interval_ns : int
    Simulated time from one operation to the next, 10 microseconds by default.
seed : int
    From 0 to 2**64 - 1.
"""

from __future__ import annotations

from typing import Final

from seqstore.sim.churn import TenantChurn
from seqstore.sim.file_system import FileSystem
from seqstore.sim.generated import INTERVAL_NS
from seqstore.sim.single import HotCold, Mixed, Sequential, Uniform, Zipf, ZipfDrift

# Tenants that come during a run, and that are there at a time, unless the caller says otherwise.
_ARRIVALS: Final = 200
_PRESENT: Final = 20
_VOLUMES_ON_A_DRIVE: Final = 64


def sequential(blocks: int, writes: int, *, fill: bool = False, interval_ns: int = INTERVAL_NS) -> Sequential:
    """Write from the first block to the last, and again.

    Parameters
    ----------
    blocks, writes, fill, interval_ns
        See the head of this module.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.
    """
    return Sequential(blocks=blocks, operations=writes, fill=fill, interval_ns=interval_ns)


def uniform(
    blocks: int, writes: int, *, seed: int, fill: bool = True, interval_ns: int = INTERVAL_NS
) -> Uniform:
    """Write to blocks of which none is likelier than another.

    Parameters
    ----------
    blocks, writes, seed, fill, interval_ns
        See the head of this module.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.
    """
    return Uniform(blocks=blocks, operations=writes, seed=seed, fill=fill, interval_ns=interval_ns)


def zipf(
    blocks: int,
    writes: int,
    *,
    alpha: float = 1.0,
    seed: int,
    fill: bool = True,
    shuffle: bool = True,
    interval_ns: int = INTERVAL_NS,
) -> Zipf:
    """Write to the block of rank r with a probability in proportion to r**-alpha, r from 1 to `blocks`.

    Parameters
    ----------
    blocks, writes, seed, fill, interval_ns
        See the head of this module.
    alpha : float
        From 0, which is uniform, to 20.
    shuffle : bool
        Whether ranks are spread over the volume at random; otherwise block 0 is the likeliest.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.

    References
    ----------
    The alias method: see `seqstore.sim.alias`.
    """
    return Zipf(
        blocks=blocks,
        operations=writes,
        alpha=alpha,
        seed=seed,
        fill=fill,
        shuffle=shuffle,
        interval_ns=interval_ns,
    )


def zipf_drift(
    blocks: int,
    writes: int,
    *,
    alpha: float = 1.0,
    period: int | None = None,
    share: float = 0.01,
    seed: int,
    fill: bool = True,
    interval_ns: int = INTERVAL_NS,
) -> ZipfDrift:
    """Write by Zipf's law, while blocks exchange their ranks: what is hot changes with time.

    Parameters
    ----------
    blocks, writes, alpha, seed, fill, interval_ns
        As for `zipf`, with ranks spread over the volume.
    period : int, optional
        Writes from one exchange to the next, 1 at least; a tenth of `blocks` if not given.
    share : float
        Ranks that take part in each exchange, in proportion to all of them, and two at least unless it is 0.
        Their blocks move in a ring whose order is random. Ranks take part in turn, in a random order: after
        ``1 / share`` exchanges nearly every block has another rank.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.
    """
    return ZipfDrift(
        blocks=blocks,
        operations=writes,
        alpha=alpha,
        period=max(1, blocks // 10) if period is None else period,
        share=share,
        seed=seed,
        fill=fill,
        interval_ns=interval_ns,
    )


def hot_cold(
    blocks: int,
    writes: int,
    *,
    hot: float = 0.2,
    rate: float = 0.8,
    seed: int,
    fill: bool = True,
    shuffle: bool = True,
    interval_ns: int = INTERVAL_NS,
) -> HotCold:
    """Write to hot blocks and to cold ones, uniformly in each.

    Parameters
    ----------
    blocks, writes, seed, fill, interval_ns
        See the head of this module.
    hot : float
        Share of the blocks that are hot; at least one is, and one is not.
    rate : float
        Share of the writes that go to them, from 0 to 1.
    shuffle : bool
        Whether hot blocks are spread over the volume at random; otherwise they are the first ones.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.

    References
    ----------
    Rosenblum and Ousterhout: The Design and Implementation of a Log-Structured File System. ACM TOCS 10(1),
    1992, section 3.5, simulates such a law, with 0.1 and 0.9.
    """
    return HotCold(
        blocks=blocks,
        operations=writes,
        hot=hot,
        rate=rate,
        seed=seed,
        fill=fill,
        shuffle=shuffle,
        interval_ns=interval_ns,
    )


def mixed(
    blocks: int,
    operations: int,
    *,
    read_share: float = 0.5,
    alpha: float = 1.0,
    request_blocks: int = 1,
    seed: int,
    fill: bool = True,
    interval_ns: int = INTERVAL_NS,
) -> Mixed:
    """Read and write, both by the same Zipf law over aligned requests of one size.

    Parameters
    ----------
    blocks, operations, seed, fill, interval_ns
        See the head of this module.
    read_share : float
        Share of the operations that read, from 0 to 1.
    alpha : float
        Of Zipf's law, from 0, which is uniform, to 20. Ranks are spread over the volume at random.
    request_blocks : int
        Blocks of a request; it divides `blocks`.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.
    """
    return Mixed(
        blocks=blocks,
        operations=operations,
        read_share=read_share,
        alpha=alpha,
        request_blocks=request_blocks,
        seed=seed,
        fill=fill,
        interval_ns=interval_ns,
    )


def file_system(
    blocks: int,
    operations: int,
    *,
    utilization: float = 0.8,
    mu: float = 9.48,
    sigma: float = 2.46,
    append_share: float = 0.4,
    overwrite_share: float = 0.2,
    append_blocks: int = 4,
    alpha: float = 1.0,
    seed: int,
    interval_ns: int = INTERVAL_NS,
) -> FileSystem:
    """Do what a file system does: metadata in place, files that are made, appended to, overwritten, deleted.

    First files are made until they take their share of the room. Then follow `operations` operations on
    files: an append, an overwrite in place, or else the making of a file. Files, of which none is likelier
    than another, are deleted as soon as others need their room; deletions are not among the `operations`.
    Everything writes the block of the file's inode and, unless it overwrites, a block of the bitmap; a
    deletion trims.

    Parameters
    ----------
    blocks, operations, seed, interval_ns
        See the head of this module; 1024 blocks at least, of 4096 bytes.
    utilization : float
        Share of the room for data that files take, from 0.1 to 0.95.
    mu, sigma : float
        Mean and standard deviation of the natural logarithm of a new file's size in bytes. Sizes are rounded
        up to blocks; no new file takes more than a sixteenth of what all take.
    append_share, overwrite_share : float
        Shares of the operations on files.
    append_blocks : int
        Mean length of appends and overwrites: uniform from 1 to twice that less 1.
    alpha : float
        Which file is appended to or overwritten: Zipf's law over files from the youngest to the oldest.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.

    Notes
    -----
    The law of sizes is the body of the one in [1]_, without its Pareto tail of files above 512 MiB (6 of
    100 000). Making and appending are equally frequent and appends have a mean of 16 KiB, as in the
    personality *varmail* of filebench [2]_; the share of overwrites and the preference for young files are
    assumptions. Inodes of 256 bytes, one for each 16 KiB, and bitmaps of 32768 blocks are the defaults of
    ext4 [3]_.

    References
    ----------
    .. [1] Agrawal, Arpaci-Dusseau and Arpaci-Dusseau: Generating Realistic Impressions for File-System
       Benchmarking. FAST 2009, table 2.
    .. [2] filebench, workloads/varmail.f.
    .. [3] e2fsprogs, mke2fs.conf: inode_size, inode_ratio.
    """
    return FileSystem(
        blocks=blocks,
        operations=operations,
        utilization=utilization,
        mu=mu,
        sigma=sigma,
        append_share=append_share,
        overwrite_share=overwrite_share,
        append_blocks=append_blocks,
        alpha=alpha,
        seed=seed,
        interval_ns=interval_ns,
    )


def tenant_churn(
    blocks: int,
    operations: int,
    *,
    arrival: float | None = None,
    lifetime: float | None = None,
    volume_lifetime: float | None = None,
    tenant_volumes: float = 2.0,
    volume_blocks: int | None = None,
    sigma: float = 1.0,
    image: float = 0.5,
    trim_share: float = 0.1,
    read_share: float = 0.0,
    request_blocks: int = 8,
    hot: float = 0.2,
    rate: float = 0.8,
    seed: int,
    interval_ns: int = INTERVAL_NS,
) -> TenantChurn:
    """Let tenants arrive, make volumes, write, trim and read them, delete some, and leave.

    Tenants arrive as a Poisson process. Each makes its volumes at once and writes an image to the beginning
    of each. From then on all volumes together see one operation after the other, each by its size.
    A volume whose life ends is deleted, and its tenant makes another. When a tenant's stay ends, it leaves
    with all volumes. Volumes never take more than `blocks`: one that would not fit is not made, and a tenant
    without any is turned away, as in Erlang's loss system. Numbers are never given again.

    Parameters
    ----------
    blocks, operations, seed, interval_ns
        See the head of this module. The writing of images is not among the `operations`.
    arrival : float
        Mean number of operations from one arrival to the next, exponentially distributed; a 200th of
        `operations` if not given. Divide by the operations a second for seconds.
    lifetime, volume_lifetime : float
        Mean stay of a tenant, and mean life of a volume whose tenant stays, in operations, exponentially
        distributed; 20 arrivals and half of that if not given.
    tenant_volumes : float
        Mean number of volumes that a tenant arrives with: uniform from 1 to twice that less 1.
    volume_blocks : int
        Median size of a volume, in blocks; a 64th of `blocks` if not given.
    sigma : float
        Standard deviation of the natural logarithm of the size, from 0 to 10; sizes are lognormal, in whole
        requests.
    image : float
        Share of a new volume that is written, from its beginning, when it is made.
    trim_share, read_share : float
        Shares of the operations; the rest writes.
    request_blocks : int
        Blocks of each operation, which is aligned to them.
    hot, rate : float
        The first `hot` of each volume gets `rate` of its operations, as in `hot_cold`.

    Raises
    ------
    ConfigError
        If an argument is out of its bounds.
    """
    mean = max(1.0, operations / _ARRIVALS) if arrival is None else arrival
    stay = _PRESENT * mean if lifetime is None else lifetime
    return TenantChurn(
        blocks=blocks,
        operations=operations,
        arrival=mean,
        lifetime=stay,
        volume_lifetime=max(1.0, stay / 2) if volume_lifetime is None else volume_lifetime,
        tenant_volumes=tenant_volumes,
        volume_blocks=max(1, blocks // _VOLUMES_ON_A_DRIVE) if volume_blocks is None else volume_blocks,
        sigma=sigma,
        image=image,
        trim_share=trim_share,
        read_share=read_share,
        request_blocks=request_blocks,
        hot=hot,
        rate=rate,
        seed=seed,
        interval_ns=interval_ns,
    )
