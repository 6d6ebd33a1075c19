"""The command that rotated key slots is killed before it noted on the certificates what it did."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from services.privacy import proof, rotation
from services.privacy.migrations import MIGRATIONS
from shared.failpoints import KILLED
from shared.sealing import KeyRing, LocalKeyFile
from shared.storage import Store, migrate
from tests.integration.test_privacy_saga import START, Installation, erase

pytestmark = [pytest.mark.long, pytest.mark.servers]
STRIKES = 5
STARTED, ENDED = START + timedelta(minutes=5), START + timedelta(minutes=6)
RECORD = """
import asyncio, sys
from datetime import datetime
from pathlib import Path
from services.privacy.rotation import record_rotation, slots_awaited
from shared.sealing import LocalKeyFile
from shared.storage import Store

async def main(uri, namespace, folder, started, ended):
    store = await Store.connect(uri, database="privacy", namespace=namespace)
    provider = LocalKeyFile.open(Path(folder))
    await record_rotation(store, provider, await slots_awaited(store), datetime.fromisoformat(started), datetime.fromisoformat(ended))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(300)
async def test_a_certificate_is_completed_once_though_the_command_was_killed(mongodb_uri: str, namespace: str, tmp_path: Path) -> None:
    """Five installations side by side, since the server keeps what a killed command wrote locked for a while."""
    places = [(f"{namespace}{number}_", tmp_path / str(number)) for number in range(STRIKES)]
    await asyncio.gather(*(_kill_and_repeat(mongodb_uri, *each) for each in places))


async def _kill_and_repeat(mongodb_uri: str, namespace: str, keys: Path) -> None:
    async with _installation(mongodb_uri, namespace, keys) as installation:
        asked, *_ = await erase(installation)
        command = [sys.executable, "-c", RECORD, mongodb_uri, namespace, str(keys), STARTED.isoformat(), ENDED.isoformat()]

        assert await _run(command, "privacy.rotation_before_commit") == KILLED
        killed = await installation.book.certificate(asked)
        assert await _run(command, "") == 0
        repeated = await installation.book.certificate(asked)

        assert killed is not None
        assert repeated is not None
        assert len(killed["revisions"]) == 1
        assert [each["certificate"]["unrecoverable_at"] for each in repeated["revisions"]] == [None, ENDED.isoformat()]
        assert await proof.verify_audit_chain(installation.store) is None
        assert await installation.store.collection("audit").count({"kind": "erasure-unrecoverable"}) == 1
        assert await rotation.slots_awaited(installation.store) == set()


@asynccontextmanager
async def _installation(mongodb_uri: str, namespace: str, folder: Path) -> AsyncIterator[Installation]:
    store = await Store.connect(mongodb_uri, database="privacy", namespace=namespace)
    provider = LocalKeyFile.open(folder)
    keys = KeyRing(store.other("keyring"), provider)
    await migrate(store, MIGRATIONS)
    await keys.start()
    yield Installation(store, keys, provider)  # type: ignore[arg-type]
    store.close()


async def _run(command: list[str], failpoint: str) -> int:
    environment = os.environ | {"KEHU_FAILPOINT": failpoint, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    done = await asyncio.to_thread(subprocess.run, command, env=environment, timeout=90, check=False)
    return done.returncode
