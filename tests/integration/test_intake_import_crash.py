"""An intake process killed in the middle of a file: the same import again goes on where it was."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import httpx
import pytest

from shared.contracts.topics import SUBMISSIONS
from shared.failpoints import KILLED
from shared.hosting import Settings
from tests.intake_service import DEADLINE_SECONDS, QUIET, running_intake

pytestmark = [pytest.mark.long, pytest.mark.servers, QUIET]
ROWS, STRIKES = 2_500, 5
MAPPING = {"kind": "profile", "columns": {"number": "identifiers.member_number", "city": "fields.city"}}
IMPORT = {"mapping": json.dumps(MAPPING), "import_id": "once"}


@pytest.mark.timeout(300)
async def test_an_import_killed_between_chunks_has_every_row_exactly_once(settings: Settings, unused_tcp_port: int) -> None:
    """Five deaths after the first chunk, so that its rows come six times."""
    file = "number,city\n" + "".join(f"C{number:06d},上海\n" for number in range(ROWS))
    async with running_intake(settings) as intake:
        write_key = intake.write_key
    for _ in range(STRIKES):
        await _die_importing(settings, unused_tcp_port, write_key, file)

    async with running_intake(settings, topics=False) as again:
        again.write_key = write_key
        answer = await again.client.post("/v1/imports", params=IMPORT, content=file, headers=again.auth | {"Content-Type": "text/csv"})
        records = await again.records(SUBMISSIONS, ROWS)

    report = answer.json()
    assert (answer.status_code, report["state"], report["rows"]) == (200, "done", ROWS)
    assert (report["accepted"], report["duplicate"], report["rejected"]) == (ROWS - 1_000, 1_000, 0)
    assert len({headers["ce_id"] for headers, _ in records}) == ROWS


async def _die_importing(settings: Settings, port: int, write_key: str, file: str) -> None:
    environment = {
        "KEHU_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KEHU_MONGODB_URI": settings.mongodb_uri,
        "KEHU_NAMESPACE": settings.namespace,
        "KEHU_KEY_FOLDER": str(settings.keys),
        "KEHU_DATA_FOLDER": str(settings.data_folder),
        "KEHU_PORT": str(port),
        "KEHU_FAILPOINT": "intake.import_between_chunks",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.intake", env=os.environ | environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await _import_until_dead(port, write_key, file)
            assert await process.wait() == KILLED
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _import_until_dead(port: int, write_key: str, file: str) -> None:
    headers = {"Authorization": f"Bearer {write_key}", "Content-Type": "text/csv"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
        while True:
            try:
                answer = await client.post("/v1/imports", params=IMPORT, content=file)
            except httpx.ConnectError:
                await asyncio.sleep(0.1)  # it is not up yet
            except httpx.HTTPError:
                return
            else:
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.1)
