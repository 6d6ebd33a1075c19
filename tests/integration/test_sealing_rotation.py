"""A rotation loses no key, whatever dies meanwhile, and leaves nothing that the old slot keys could open."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.failpoints import FAILPOINTS
from shared.sealing import KeyRing, KeyStoreUnavailable, LocalKeyFile, MemoryKeyProvider, RotationProgress, rotate_slots, slot_of
from shared.sealing.key_draft import unwrap
from shared.sealing.keyring_backup import KeyringBackup
from shared.sealing.slots import SLOTS
from shared.storage import Store, Transaction

pytestmark = pytest.mark.servers

LIFETIME_SECONDS = 0.5
ROTATE = """
import asyncio, sys
from pathlib import Path
from shared.sealing import KeyRing, LocalKeyFile, rotate_slots
from shared.storage import Store

async def main(uri, namespace, folder):
    store = await Store.connect(uri, database="keyring", namespace=namespace)
    await rotate_slots(KeyRing(store, LocalKeyFile.open(Path(folder))), transaction_lifetime_seconds=0.05)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def keyring(mongodb_uri: str, namespace: str) -> AsyncIterator[Store]:
    store = await Store.connect(mongodb_uri, database="keyring", namespace=namespace)
    yield store
    store.close()


@pytest.fixture
async def ring(keyring: Store, tmp_path: Path) -> KeyRing:
    ring = KeyRing(keyring, LocalKeyFile.open(tmp_path / "keys"), cache_seconds=0)
    await ring.start()
    return ring


async def create(ring: KeyRing, count: int) -> dict[UUID, bytes]:
    """New keys, and a text sealed under each."""
    drafts = ring.draft(uuid4() for _ in range(count))
    await ring.store.transaction(lambda transaction: ring.insert(drafts.values(), transaction))
    return {key_id: draft.key.seal(key_id.bytes, b"") for key_id, draft in drafts.items()}


async def assert_opens(ring: KeyRing, sealed: dict[UUID, bytes]) -> None:
    for key_id, key in (await ring.open(sealed)).items():
        assert key is not None
        assert key.unseal(sealed[key_id], b"") == key_id.bytes


async def rotate(ring: KeyRing, slots: set[int] | None = None) -> None:
    await rotate_slots(ring, slots, transaction_lifetime_seconds=0)


async def test_every_key_opens_after_a_rotation_and_no_row_opens_under_the_old_slot_keys(ring: KeyRing) -> None:
    sealed = await create(ring, 300)
    old_rows = await ring.store.collection("keys").find({})
    old_table = ring.provider.table

    await rotate(ring)

    await assert_opens(ring, sealed)
    assert all(unwrap(row, old_table) is None for row in await ring.store.collection("keys").find({}))
    # A copy of the database from before is noise now, which is the point. Control: with the old slot keys it was not.
    assert all(unwrap(row, ring.provider.table) is None for row in old_rows)
    assert all(unwrap(row, old_table) is not None for row in old_rows)


async def test_a_rotation_of_some_slots_leaves_the_others_alone(ring: KeyRing) -> None:
    sealed = await create(ring, 200)
    touched = {slot_of(key_id) for key_id in list(sealed)[:20]}
    await rotate(ring, touched)
    rows = await ring.store.collection("keys").find({})
    assert {slot_of(UUID(bytes=row["_id"])) for row in rows if row["epoch"] == 1} == touched
    await assert_opens(ring, sealed)


async def test_a_destroyed_key_stays_destroyed_through_a_rotation(ring: KeyRing) -> None:
    sealed = await create(ring, 10)
    gone = next(iter(sealed))
    await ring.destroy([gone])
    await rotate(ring)
    assert (await ring.open([gone]))[gone] is None
    await assert_opens(ring, {key_id: each for key_id, each in sealed.items() if key_id != gone})


async def test_another_process_notices_the_rotation_by_itself(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing(ring.store, LocalKeyFile.open(tmp_path / "keys"))
    sealed = await create(ring, 50)
    await rotate(ring)
    await assert_opens(other, sealed)
    await assert_opens(ring, await create(other, 50))


async def test_a_cached_row_that_no_longer_opens_is_read_again(ring: KeyRing, tmp_path: Path) -> None:
    """The rotation ends between reading the row and opening it."""
    sealed = await create(ring, 1)
    reader = KeyRing(ring.store, LocalKeyFile.open(tmp_path / "keys"))
    read_rows, rotated = reader._rows, False

    async def rows_then_rotation(raw_ids: list[bytes]) -> object:
        nonlocal rotated
        rows = await read_rows(raw_ids)
        if not rotated:
            rotated = True
            await rotate(ring)
            await reader.provider.refresh()
        return rows

    reader._rows = rows_then_rotation  # type: ignore[method-assign, assignment]
    await assert_opens(reader, sealed)
    assert rotated


@pytest.mark.parametrize("name", sorted(each for each in FAILPOINTS if each.startswith("rotation.")))
async def test_a_rotation_killed_at_any_step_is_finished_by_the_next(
    ring: KeyRing, mongodb_uri: str, namespace: str, tmp_path: Path, name: str
) -> None:
    """With an insert held between wrapping and commit, keys created while the rotation lies open, and a second kill at the same place."""
    sealed = await create(ring, 100)
    rotation = [sys.executable, "-c", ROTATE, mongodb_uri, namespace, str(tmp_path / "keys")]
    held = ring.draft([uuid4()])

    async def killed(transaction: Transaction) -> None:
        await ring.insert(held.values(), transaction)
        # The wait for old transactions is real only in the next test; here it would be cut to nothing, so nothing may be held beyond it.
        if name in {"rotation.after_plan", "rotation.after_slot_keys", "rotation.after_floor"}:
            assert await run(rotation, name) == 137

    await ring.store.transaction(killed)
    sealed |= {key_id: draft.key.seal(key_id.bytes, b"") for key_id, draft in held.items()}
    assert await run(rotation, name) == 137
    sealed |= await create(ring, 20)
    await assert_opens(ring, sealed)

    await rotate_slots(ring, [0], transaction_lifetime_seconds=0)

    await assert_opens(ring, sealed)
    open_rotations = await ring.store.collection("rotations").count({"finished_at": None})
    older = await ring.store.collection("keys").count({"epoch": {"$lt": 1}})
    assert (open_rotations, older, len(ring.provider.table.older)) == (0, 0, 0)


async def run(command: list[str], failpoint: str) -> int:
    environment = os.environ | {"KEHU_FAILPOINT": failpoint, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    done = await asyncio.to_thread(subprocess.run, command, env=environment, timeout=60, check=False)
    return done.returncode


async def test_an_insert_that_read_the_former_floor_commits_before_its_slot_key_is_destroyed(ring: KeyRing) -> None:
    """The insert wraps, then is held for as long as the server lets it live; the rotation must wait for it, then wrap its row again."""
    wrapped, floor_raised, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    draft = ring.draft([uuid4()])

    async def hold(transaction: Transaction) -> None:
        await ring.insert(draft.values(), transaction)
        wrapped.set()
        await go_on.wait()

    insert = asyncio.create_task(ring.store.transaction(hold))
    await wrapped.wait()

    def notice(progress: RotationProgress) -> None:
        if progress.step == "wait":
            floor_raised.set()

    rotating = asyncio.create_task(rotate_slots(ring, transaction_lifetime_seconds=LIFETIME_SECONDS, on_progress=notice))
    await floor_raised.wait()
    await asyncio.sleep(LIFETIME_SECONDS)
    go_on.set()
    await insert
    await rotating

    await assert_opens(ring, {key_id: each.key.seal(key_id.bytes, b"") for key_id, each in draft.items()})


async def test_an_insert_that_reads_the_new_floor_wraps_again(ring: KeyRing, tmp_path: Path) -> None:
    """Its keys were drafted, and sealed with, before the rotation; its process has not noticed the rotation yet."""
    other = KeyRing(ring.store, LocalKeyFile.open(tmp_path / "keys"), cache_seconds=0)
    drafts = other.draft(uuid4() for _ in range(20))
    sealed = {key_id: draft.key.seal(key_id.bytes, b"") for key_id, draft in drafts.items()}
    await rotate(ring)
    await other.store.transaction(lambda transaction: other.insert(drafts.values(), transaction))
    assert await ring.store.collection("keys").count({"epoch": 1}) == 20
    await assert_opens(ring, sealed)


async def test_a_process_that_cannot_see_the_new_slot_keys_waits_instead_of_inserting(keyring: Store) -> None:
    provider = MemoryKeyProvider()
    ring = KeyRing(keyring, provider)
    await ring.start()
    await keyring.collection("floor").update_one({"_id": "floor"}, {"$set": {"number": 7}})
    with pytest.raises(KeyStoreUnavailable):
        await keyring.transaction(lambda transaction: ring.create([uuid4()], transaction))


async def test_the_backup_set_brings_a_lost_keyring_back_without_what_was_destroyed(ring: KeyRing, tmp_path: Path) -> None:
    sealed = await create(ring, 100)
    gone = next(iter(sealed))
    before_destruction = await ring.store.collection("keys").find({"_id": gone.bytes})
    await ring.destroy([gone])
    await rotate(ring)
    await ring.store.collection("keys").delete_many({})
    # Worse than lost: an old copy brought the destroyed key's row back.
    await ring.store.collection("keys").insert_many(before_destruction)

    restored = await KeyringBackup(tmp_path / "keyring-backup").restore(ring.store.collection("keys"))

    assert restored == 100
    assert (await ring.open([gone]))[gone] is None
    await assert_opens(ring, {key_id: each for key_id, each in sealed.items() if key_id != gone})


async def test_two_rotations_at_once_lose_nothing(ring: KeyRing, tmp_path: Path) -> None:
    sealed = await create(ring, 200)
    other = KeyRing(ring.store, LocalKeyFile.open(tmp_path / "keys"), cache_seconds=0)
    results = await asyncio.gather(rotate(ring), rotate(other), return_exceptions=True)
    assert all(result is None or isinstance(result, RuntimeError) for result in results), results
    await assert_opens(ring, sealed)
    await assert_opens(other, sealed)


async def test_progress_ends_at_the_number_of_keys(ring: KeyRing) -> None:
    await create(ring, 50)
    seen: list[tuple[str, int, int]] = []
    done = await rotate_slots(ring, transaction_lifetime_seconds=0, on_progress=lambda each: seen.append((each.step, each.done, each.total)))
    assert [step for step, _, _ in seen if step != "rewrap"] == ["slot_keys", "floor", "wait", "backup", "destroy"]
    assert seen[-1] == ("destroy", 50, 50)
    assert (done.keys, len(done.slots)) == (50, SLOTS)
