"""What batches leave free goes back to the system."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from shared.hosting import memory

FRAGMENTED = """
import asyncio
from shared.hosting import memory

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

async def main():
    memory.keep_memory_small()
    blocks = [bytearray(100_000) for _ in range(600)]
    held = blocks[::20]  # small neighbours of what is freed
    full = resident()
    del blocks
    giving = asyncio.create_task(memory.give_memory_back())
    for _ in range(100):
        if resident() < full - 30_000_000:
            print("given back", len(held))
            break
        await asyncio.sleep(0.1)
    giving.cancel()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux" or memory._glibc() is None, reason="glibc only")
def test_free_blocks_between_used_ones_are_given_back():
    printed = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "given back 30"


async def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.0)
    memory.keep_memory_small()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await memory.give_memory_back()
