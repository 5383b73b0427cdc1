"""A solid-state drive with zoned namespaces."""

from __future__ import annotations

from seqstore.sim.timing.flash import MLC_NAND, FlashDrive, Nand


class ZNS(FlashDrive):
    """A zoned solid-state drive: each zone lies on dies of its own choice, and a reset erases them.

    A zone on all dies is as fast as the drive, and its reset stops every die. A zone on few dies writes no
    faster than they do, and leaves the others alone: a log has to keep several open to use the drive. Zones
    take their dies in turn: zone z begins at die z times `zone_dies`.

    Parameters
    ----------
    blocks, block_size, nand, channels, channel_dies, buffer_pages, interface_ns, queue_depth
        As for `SSD`.
    zone_blocks : int
        Blocks of a zone, whole pages.
    zone_dies : int or None
        Dies that a zone lies on; None stands for all.

    References
    ----------
    M. Bjorling et al., ZNS: avoiding the block interface tax for flash-based SSDs, USENIX ATC 2021: zones and
    erase blocks.
    NVM Express, Zoned Namespace Command Set Specification 1.1 (2021): append, reset.
    I. Song et al., ConfZNS: a novel emulator for exploring design space of ZNS SSDs, SYSTOR 2023: zones on
    one, some or all dies.
    """

    def __init__(
        self,
        blocks: int,
        *,
        zone_blocks: int,
        zone_dies: int | None = None,
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
            zone_blocks=zone_blocks,
            zone_dies=zone_dies,
            nand=nand,
            channels=channels,
            channel_dies=channel_dies,
            buffer_pages=buffer_pages,
            interface_ns=interface_ns,
        )
