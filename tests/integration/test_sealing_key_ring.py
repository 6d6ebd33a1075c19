from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from shared.sealing import KeyMissing, KeyRing, KeyringMismatch, KeyStoreUnavailable, MemoryKeyProvider, SealBroken, body_aad
from shared.storage import DuplicateKey, Store

pytestmark = pytest.mark.servers


@pytest.fixture
async def keyring(mongodb_uri: str, namespace: str) -> AsyncIterator[Store]:
    store = await Store.connect(mongodb_uri, database="keyring", namespace=namespace)
    yield store
    store.close()


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


@pytest.fixture
async def ring(keyring: Store, provider: MemoryKeyProvider) -> KeyRing:
    ring = KeyRing(keyring, provider)
    await ring.start()
    return ring


async def create(ring: KeyRing, *key_ids: UUID) -> None:
    await ring.store.transaction(lambda transaction: ring.create(key_ids, transaction))


async def another_process(ring: KeyRing, provider: MemoryKeyProvider) -> KeyRing:
    other = KeyRing(ring.store, provider.reader())
    await other.start()
    return other


async def test_another_process_opens_what_this_one_sealed(ring: KeyRing, provider: MemoryKeyProvider) -> None:
    key_id = uuid4()
    draft = ring.draft([key_id])[key_id]
    sealed = draft.key.seal(b"body", body_aad(key_id, 1))
    await ring.store.transaction(lambda transaction: ring.insert([draft], transaction))

    opened = await (await another_process(ring, provider)).open([key_id])

    key = opened[key_id]
    assert key is not None
    assert key.unseal(sealed, body_aad(key_id, 1)) == b"body"


async def test_a_key_of_an_aborted_transaction_does_not_exist(ring: KeyRing) -> None:
    key_id = uuid4()

    async def abort(transaction: object) -> None:
        await ring.create([key_id], transaction)  # type: ignore[arg-type]
        raise LookupError

    with pytest.raises(LookupError):
        await ring.store.transaction(abort)
    with pytest.raises(KeyMissing):
        await ring.open([key_id])


async def test_a_taken_id_is_refused_and_nothing_stands(ring: KeyRing) -> None:
    taken, free = uuid4(), uuid4()
    await create(ring, taken)
    with pytest.raises(DuplicateKey):
        await create(ring, free, taken)
    with pytest.raises(KeyMissing):
        await ring.open([free])


async def test_a_destroyed_key_is_none_and_cannot_be_created_again(ring: KeyRing) -> None:
    destroyed, living = uuid4(), uuid4()
    await create(ring, destroyed, living)
    assert await ring.store.transaction(lambda transaction: ring.destroy([destroyed], transaction)) == 1

    opened = await ring.open([destroyed, living])

    assert opened[destroyed] is None
    assert opened[living] is not None
    with pytest.raises(DuplicateKey):
        await create(ring, destroyed)


async def test_destroying_twice_counts_once_and_keeps_the_first_time(ring: KeyRing) -> None:
    key_id = uuid4()
    await create(ring, key_id)
    assert await ring.destroy([key_id]) == 1
    first = await ring.store.collection("keys").find_one({"_id": key_id.bytes})
    assert await ring.destroy([key_id]) == 0
    assert await ring.store.collection("keys").find_one({"_id": key_id.bytes}) == first


async def test_destroying_an_id_without_a_row_keeps_a_late_writer_out(ring: KeyRing) -> None:
    key_id = uuid4()
    assert await ring.destroy([key_id]) == 0
    with pytest.raises(DuplicateKey):
        await create(ring, key_id)


async def test_a_missing_row_stops_loudly(ring: KeyRing) -> None:
    with pytest.raises(KeyMissing):
        await ring.open([uuid4()])


async def test_a_cached_key_is_gone_as_soon_as_it_is_evicted(ring: KeyRing, provider: MemoryKeyProvider) -> None:
    key_id = uuid4()
    await create(ring, key_id)
    reader = await another_process(ring, provider)
    await reader.open([key_id])
    await ring.destroy([key_id])
    assert (await reader.open([key_id]))[key_id] is not None, "the cache should still hold it: otherwise this test shows nothing"
    reader.evict([key_id])
    assert (await reader.open([key_id]))[key_id] is None


async def test_a_cached_key_is_gone_by_itself_in_time(ring: KeyRing, provider: MemoryKeyProvider) -> None:
    key_id = uuid4()
    await create(ring, key_id)
    reader = KeyRing(ring.store, provider, cache_seconds=0)
    await reader.open([key_id])
    await ring.destroy([key_id])
    assert (await reader.open([key_id]))[key_id] is None


async def test_sealed_bytes_moved_to_another_id_do_not_open(ring: KeyRing) -> None:
    mine, yours = uuid4(), uuid4()
    await create(ring, mine, yours)
    keys = await ring.open([mine, yours])
    mine_key, yours_key = keys[mine], keys[yours]
    assert mine_key is not None
    assert yours_key is not None
    sealed = mine_key.seal(b"body", body_aad(mine, 1))
    with pytest.raises(SealBroken):
        yours_key.unseal(sealed, body_aad(yours, 1))


async def test_a_wrapped_key_moved_to_another_id_opens_nothing_of_it(ring: KeyRing) -> None:
    """Whoever can write the keyring still cannot show one person's body as another's."""
    mine, yours = uuid4(), uuid4()
    await create(ring, mine, yours)
    keys = await ring.open([mine, yours])
    mine_key = keys[mine]
    assert mine_key is not None
    sealed = mine_key.seal(b"body", body_aad(mine, 1))
    row = await ring.store.collection("keys").find_one({"_id": mine.bytes})
    assert row is not None
    await ring.store.collection("keys").update_one({"_id": yours.bytes}, {"$set": {"wrapped": row["wrapped"], "epoch": row["epoch"]}})
    ring.evict([yours])
    assert await opens(ring, mine, mine_key.seal(b"body", body_aad(mine, 1)))
    assert not await opens(ring, yours, sealed)


async def opens(ring: KeyRing, key_id: UUID, sealed: bytes) -> bool:
    try:
        key = (await ring.open([key_id]))[key_id]
        return key is not None and bool(key.unseal(sealed, body_aad(key_id, 1)))
    except (KeyMissing, SealBroken):
        return False


async def test_a_keyring_of_another_installation_is_refused(ring: KeyRing) -> None:
    stranger = KeyRing(ring.store, MemoryKeyProvider())
    with pytest.raises(KeyringMismatch):
        await stranger.start()
    with pytest.raises(KeyringMismatch):
        await create(stranger, uuid4())


async def test_an_unprepared_keyring_takes_no_keys(keyring: Store, provider: MemoryKeyProvider) -> None:
    await keyring.create_collection("keys")
    with pytest.raises(KeyringMismatch, match="call start"):
        await create(KeyRing(keyring, provider), uuid4())


async def test_an_unreachable_key_store_means_wait(provider: MemoryKeyProvider) -> None:
    nowhere = await Store.connect("mongodb://127.0.0.1:1/?replicaSet=none", database="keyring", timeout_ms=200)
    ring = KeyRing(nowhere, provider)
    with pytest.raises(KeyStoreUnavailable):
        await ring.open([uuid4()])
    with pytest.raises(KeyStoreUnavailable):
        await ring.start()
    nowhere.close()


async def test_the_keyring_holds_no_key_in_clear(ring: KeyRing) -> None:
    """With a negative control: the same search finds the key in a row that does hold it."""
    key_ids = [uuid4() for _ in range(200)]
    drafts = ring.draft(key_ids)
    await ring.store.transaction(lambda transaction: ring.insert(drafts.values(), transaction))
    raw_keys = [draft._raw for draft in drafts.values()]
    assert not await found_in_keyring(ring, raw_keys)
    await ring.store.collection("keys").insert_one({"_id": uuid4().bytes, "careless": raw_keys[0]})
    assert await found_in_keyring(ring, raw_keys)


async def found_in_keyring(ring: KeyRing, raw_keys: list[bytes]) -> bool:
    stored = [value for row in await ring.store.collection("keys").find({}) for value in row.values() if isinstance(value, bytes)]
    return any(raw in value for raw in raw_keys for value in stored)
