"""The story: two tenants store real files on one drive, one is deleted, and the head laps over what it left.

One method for each act; each does the work, keeps what it found as attributes, and prints nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqstore import BlockState, InvariantError, NotFoundError, Stats, Store, Tenant, Volume
from seqstore.demo.archive import (
    Advance,
    Archive,
    ArchiveWriter,
    archive_size,
    choose_canary_files,
    store_side_by_side,
    verify,
)
from seqstore.demo.plan import LEAVER, STAYER, Plan
from seqstore.demo.search import (
    ZEROS_PRINT,
    Fingerprinter,
    MediumScan,
    Probe,
    Wanted,
    keep_distinctive,
    probe_volume,
    scan_medium,
)
from seqstore.report import DriveMap

VOLUME_NAME = "files"
STEPS_PER_LAP = 10

_CANARIES = 6
_BATCH_BLOCKS = 256
_MOST_POKED_BLOCKS = 64
_POKE_OFFSET = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The drive at one moment of the lap after the deletion.

    Attributes
    ----------
    laps : float
        Device blocks written since the deletion, in laps of the drive.
    head : int
        Media block address where the next block goes.
    ledger_blocks, remanence_blocks : int
        Residue of the deleted tenant as the ledger has it, and as the store's report has it.
    scan : MediumScan
        What a search of the medium found.
    raw_blocks : int
        Blocks in which that search found what only the deleted tenant had stored.
    agrees : bool
        The ledger's residue includes every such block, holds nothing but what that tenant stored, and is
        what the report says.
    probe : Probe
        What reading all addresses of all volumes gave.
    """

    laps: float
    head: int
    ledger_blocks: int
    remanence_blocks: int
    scan: MediumScan
    raw_blocks: int
    agrees: bool
    probe: Probe


class Story:
    """The acts, to be called in the order in which they stand here.

    Parameters
    ----------
    plan : Plan
        Files and drive.

    Attributes
    ----------
    store : Store
        Empty at first.
    maps : list of (str, DriveMap)
        The drive at the moments that the pictures show, with a title each.
    steps : list of Step
        The deletion, and each tenth of the lap after it.
    seconds : dict of str to float
        Time that it took to store, verify, delete and overwrite, by those names.
    """

    # What act 1 leaves.
    leaver: Tenant
    stayer: Tenant
    leaver_archive: Archive
    stayer_archive: Archive
    damaged: list[str]  # names of files that did not read back
    wanted: Wanted  # what the searches look for
    canary_mbas: list[int]  # where the pieces of named files lie

    # Act 2.
    before: Stats  # at the deletion
    handle_refused: bool
    recreated_probe: Probe  # of a new volume of the deleted one's name

    # Act 3, and the end.
    after: Stats
    damaged_later: list[str]  # of the stayer
    broken_invariant: str | None

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store.memory(plan.capacity, block_size=plan.block_size, segment_size=plan.segment_size)
        self.drive = self.store.drives[0]
        self.maps: list[tuple[str, DriveMap]] = []
        self.steps: list[Step] = []
        self.seconds: dict[str, float] = {}
        self._labels: dict[int, str] = {}
        self._rng = np.random.default_rng(plan.seed)
        self._fingerprinter = Fingerprinter(self.drive.block_size, self._rng)

    # ---- act 1: two tenants store their files -------------------------------------------------

    def store_files(self, advance: Advance) -> None:
        """Create both tenants and store their archives side by side."""
        plan = self.plan
        sizes = [self._whole_blocks(archive_size(files)) for files in (plan.leaver, plan.stayer)]
        self.leaver, self.stayer = self._create_tenant(LEAVER), self._create_tenant(STAYER)
        leavers = self.leaver.create_volume(VOLUME_NAME, sizes[0])
        # The stayer gets more addresses than it needs: the unwritten ones are read as well.
        stayers = self.stayer.create_volume(VOLUME_NAME, sizes[1] + sizes[0])
        canaries = choose_canary_files(plan.leaver, _CANARIES, self.drive.block_size)
        writers = [
            (ArchiveWriter(leavers, self._fingerprinter, canaries), plan.leaver),
            (ArchiveWriter(stayers, self._fingerprinter, ()), plan.stayer),
        ]
        began = time.perf_counter()
        self.leaver_archive, self.stayer_archive = store_side_by_side(writers, advance)
        leavers.flush()
        stayers.flush()
        self.seconds["store"] = time.perf_counter() - began
        self._take_map("Both tenants have stored their files")

    def verify_files(self, advance: Advance) -> None:
        """Read both archives back, and learn where the pieces of named files lie while they live."""
        began = time.perf_counter()
        self.damaged = verify(self.leaver_archive, advance) + verify(self.stayer_archive, advance)
        self.seconds["verify"] = time.perf_counter() - began
        volume = self.leaver_archive.volume
        canaries = keep_distinctive(self.leaver_archive.canaries, [self.stayer_archive.volume])
        self.wanted = Wanted(
            self.leaver_archive.prints, self.stayer_archive.prints, canaries, self._fingerprinter
        )
        self.canary_mbas = [_media_address(volume, canary.lba) for canary in canaries]

    # ---- act 2: the first tenant is deleted ---------------------------------------------------

    def delete_leaver(self) -> None:
        """Delete the volume, try to get at its bytes through its handle, its name and a new tenant's."""
        volume = self.leaver_archive.volume
        size = volume.size
        self.before = self.store.stats()
        began = time.perf_counter()
        volume.delete()
        self.seconds["delete"] = time.perf_counter() - began
        self.handle_refused = _is_refused(volume)

        recreated = self.leaver.create_volume(VOLUME_NAME, size)
        self.recreated_probe = probe_volume(recreated, self.wanted, np.empty(0, dtype=np.uint64))
        self.leaver.delete()
        self._take_map(f"{LEAVER} is deleted: nothing has moved")

        returned, prints = self._return_of_leaver()
        # Every volume that there is from now on, and what its blocks have to be.
        self._readable = [(self.stayer_archive.volume, self.stayer_archive.prints), (returned, prints)]
        self._take_step()

    def _return_of_leaver(self) -> tuple[Volume, NDArray[np.uint64]]:
        """Let a tenant of the deleted one's name come and write single bytes, each into a block of its own.

        The rest of such a block is where a careless store shows what lay there before.
        """
        tenant = self._create_tenant(LEAVER, label=f"new {LEAVER}")
        volume = tenant.create_volume(VOLUME_NAME, self._whole_blocks(self.plan.leaver.size))
        block_size = volume.block_size
        # Few of them, so that the head hardly moves.
        count = min(self.drive.blocks // 256, _MOST_POKED_BLOCKS)
        lbas = np.unique(np.linspace(0, volume.blocks - 1, count).astype(np.int64))
        for lba in lbas.tolist():
            volume.write(lba * block_size + _POKE_OFFSET, b"\x01")
        poked = np.zeros((1, block_size), dtype=np.uint8)
        poked[0, _POKE_OFFSET] = 1
        prints = np.full(volume.blocks, ZEROS_PRINT)
        prints[lbas] = self._fingerprinter.of(poked)[0]
        return volume, prints

    # ---- act 3: the head laps -----------------------------------------------------------------

    def lap(self, advance: Advance) -> None:
        """Let the other tenant overwrite its own blocks at random until the head has come round once."""
        self.seconds["overwrite"] = 0.0
        for number in range(1, STEPS_PER_LAP + 1):
            self._overwrite_until(
                self.before.position + -(-self.drive.blocks * number // STEPS_PER_LAP), advance
            )
            self._take_step()
            if number == STEPS_PER_LAP // 2:
                self._take_map("Half a lap later")
        self._take_map("One lap later")
        self.after = self.store.stats()

    def _overwrite_until(self, position: int, advance: Advance) -> None:
        volume, written = self.stayer_archive.volume, len(self.stayer_archive.prints)
        now = self.store.stats().position
        while now < position:
            count = min(position - now, _BATCH_BLOCKS)
            lbas = self._rng.integers(0, written, count, dtype=np.uint64)
            blocks = volume.read_blocks(lbas)
            began = time.perf_counter()
            volume.write_blocks(lbas, blocks)
            self.seconds["overwrite"] += time.perf_counter() - began
            advanced = self.store.stats().position
            advance((advanced - now) * self.drive.block_size)
            now = advanced

    # ---- the end ------------------------------------------------------------------------------

    def verify_stayer(self, advance: Advance) -> None:
        """Read the other tenant's files once more, and let the engine check itself."""
        self.damaged_later = verify(self.stayer_archive, advance)
        self.broken_invariant = None
        try:
            self.store.check()
        except InvariantError as error:
            self.broken_invariant = str(error)

    # ---- what the acts share ------------------------------------------------------------------

    def _create_tenant(self, name: str, label: str | None = None) -> Tenant:
        tenant = self.store.create_tenant(name)
        self._labels[tenant.number] = label or name
        return tenant

    def _whole_blocks(self, size: int) -> int:
        return -(-size // self.drive.block_size) * self.drive.block_size

    def _take_map(self, title: str) -> None:
        self.maps.append((title, DriveMap.of(self.drive, self._labels)))

    def _take_step(self) -> None:
        stats = self.store.stats()
        ledger = self.drive.ledger()
        residue = (ledger["tenant"] == self.leaver.number) & np.isin(
            ledger["state"], (BlockState.DEAD, BlockState.MOVED)
        )
        scan = scan_medium(self.drive, self.wanted)
        reported = self.store.remanence(self.leaver).blocks
        ledger_blocks = int(np.count_nonzero(residue))
        unknown_to_ledger = np.any(scan.distinctive & ~residue)
        not_residue = np.any(residue & ~scan.own)
        self.steps.append(
            Step(
                laps=(stats.position - self.before.position) / self.drive.blocks,
                head=self.drive.head,
                ledger_blocks=ledger_blocks,
                remanence_blocks=reported,
                scan=scan,
                raw_blocks=int(np.count_nonzero(scan.distinctive)),
                agrees=not unknown_to_ledger and not not_residue and reported == ledger_blocks,
                probe=sum(
                    (probe_volume(volume, self.wanted, prints) for volume, prints in self._readable), Probe()
                ),
            )
        )


def _media_address(volume: Volume, lba: int) -> int:
    extents = volume.extents()
    run = int(np.searchsorted(extents["lba"], lba, side="right")) - 1
    return int(extents["mba"][run]) + lba - int(extents["lba"][run])


def _is_refused(volume: Volume) -> bool:
    try:
        volume.read(0, 1)
    except NotFoundError:
        return True
    return False
