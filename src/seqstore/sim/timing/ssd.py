"""A solid-state drive without zones."""

from __future__ import annotations

from seqstore.sim.timing.flash import MLC_NAND, FlashDrive, Nand


class SSD(FlashDrive):
    """A solid-state drive: pages are striped over all dies of all channels.

    It stands for one whose user writes it as a log and resets (trims) segments whole, so that it has nothing
    to clean inside. What a drive that takes random updates does inside is a log of its own, for which this
    library is a model; without one, it would have to overwrite erase blocks (`FlashDrive`).

    Parameters
    ----------
    blocks, block_size, nand, channels, channel_dies, buffer_pages, interface_ns, queue_depth
        As for `FlashDrive`. Channels and dies are those of MQSim: 8 channels of 4 chips of 2 dies. The
        interface takes 10 us, rounded: what a buffered write of 4 KiB takes on an NVMe drive.

    References
    ----------
    A. Tavakkol et al., MQSim, FAST 2018: channels and dies.
    K. Doekemeijer et al., Performance characterization of NVMe flash devices with zoned namespaces (ZNS),
    IEEE CLUSTER 2023: the order of the latency of a buffered write.
    """

    def __init__(
        self,
        blocks: int,
        *,
        block_size: int | str = 4096,
        nand: Nand = MLC_NAND,
        channels: int = 8,
        channel_dies: int = 8,
        buffer_pages: int | None = None,
        interface_ns: int = 10_000,
        queue_depth: int | None = None,
    ) -> None:
        super().__init__(
            blocks,
            block_size=block_size,
            queue_depth=queue_depth,
            zone_blocks=blocks,
            zone_dies=None,
            nand=nand,
            channels=channels,
            channel_dies=channel_dies,
            buffer_pages=buffer_pages,
            interface_ns=interface_ns,
        )
