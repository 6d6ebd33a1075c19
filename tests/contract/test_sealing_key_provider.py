"""What every key provider promises, on the local key file and on the one in memory. A new provider adds itself to `provider`."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.sealing import KeyProvider, LocalKeyFile, MemoryKeyProvider, verify
from shared.sealing.slots import SLOTS


class Installation:
    """A provider, and other processes' views of the same keys."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory = MemoryKeyProvider()

    def another_process(self) -> KeyProvider:
        return self._memory.reader() if self._folder is None else LocalKeyFile.open(self._folder)


@pytest.fixture(params=["local_key_file", "memory"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "keys" if request.param == "local_key_file" else None)


@pytest.fixture
def provider(installation: Installation) -> KeyProvider:
    return installation.another_process()


def test_all_slots_have_a_key_of_their_own(provider: KeyProvider) -> None:
    assert len({each.key for each in provider.table.current}) == SLOTS
    assert [each.slot for each in provider.table.current] == list(range(SLOTS))


def test_peppers_are_secret_sized_and_differ(provider: KeyProvider) -> None:
    peppers = {provider.pepper("id"), provider.pepper("index"), provider.pepper("suppression")}
    assert len(peppers) == 3
    assert {len(pepper) for pepper in peppers} == {32}


def test_all_processes_hold_the_same_secrets(installation: Installation, provider: KeyProvider) -> None:
    other = installation.another_process()
    assert (other.installation, other.pepper("id"), other.public_key) == (provider.installation, provider.pepper("id"), provider.public_key)


def test_what_it_signs_verifies(provider: KeyProvider) -> None:
    assert verify(b"message", provider.sign(b"message"), provider.public_key)


async def test_a_new_slot_key_is_visible_to_another_process_once_it_refreshes(installation: Installation, provider: KeyProvider) -> None:
    other = installation.another_process()
    await provider.begin_rotation(1, [3])
    assert other.table.find(3, 1) is None
    await other.refresh()
    assert other.table.find(3, 1) == provider.table.find(3, 1) is not None
    assert other.table.find(3, 0) is not None


async def test_an_ended_rotation_leaves_no_older_key_to_anybody(installation: Installation, provider: KeyProvider) -> None:
    other = installation.another_process()
    await provider.begin_rotation(1, [3])
    await provider.end_rotation(1, [3])
    await other.refresh()
    assert other.table.find(3, 0) is None
    assert installation.another_process().table.find(3, 0) is None


async def test_a_repeated_step_changes_nothing(provider: KeyProvider) -> None:
    await provider.begin_rotation(1, [3])
    once = provider.table
    await provider.begin_rotation(1, [3])
    assert provider.table == once
    await provider.end_rotation(1, [3])
    ended = provider.table
    await provider.end_rotation(1, [3])
    assert provider.table == ended


async def test_two_processes_that_rotate_do_not_lose_each_others_keys(installation: Installation, provider: KeyProvider) -> None:
    other = installation.another_process()
    await provider.begin_rotation(1, [3])
    await other.begin_rotation(2, [4])
    assert other.table.find(3, 1) == provider.table.find(3, 1)
    assert other.table.number == 2
