"""Rotating key slots from the command line: what erasures wait for, or everything; certificates are completed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.local.commands.show import err, out
from deploy.local.connection import Connection

if TYPE_CHECKING:
    from shared.sealing import LocalKeyFile
    from shared.sealing.rotation import Rotation
    from shared.storage import Store


async def rotate(connection: Connection, *, every: bool) -> None:
    """Rotate with a progress bar, then sign what the certificates waited for.

    Raises:
        CommandFailed: MongoDB does not answer.
    """
    from services.privacy.rotation import record_rotation, slots_awaited
    from shared.sealing import LocalKeyFile

    store = await connection.store("privacy")
    try:
        slots = None if every else await slots_awaited(store)
        if slots is not None and not slots:
            out.print("No erasure waits for a rotation.")
            return
        provider = LocalKeyFile.open(connection.key_folder)
        done = await _rotate_slots(store, provider, slots)
        finished = await record_rotation(store, provider, done.slots, done.started_at, done.finished_at)
        out.print(f"{len(done.slots):,} slots rotated, {done.keys:,} keys wrapped again, {len(finished):,} certificates completed.", highlight=False)
    finally:
        store.close()


async def _rotate_slots(store: Store, provider: LocalKeyFile, slots: set[int] | None) -> Rotation:
    from rich.progress import Progress

    from shared.sealing import KeyRing
    from shared.sealing.rotation import RotationProgress, rotate_slots

    ring = KeyRing(store.other("keyring"), provider)
    await ring.start()
    with Progress(console=err) as progress:
        task = progress.add_task("rotating", total=None)

        def show(at: RotationProgress) -> None:
            progress.update(task, description=at.step.replace("_", " "), completed=at.done, total=at.total or None)

        return await rotate_slots(ring, slots, on_progress=show)
