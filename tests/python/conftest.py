import asyncio
import contextlib

import pytest


@pytest.fixture
def ticking():
    """async with ticking() as ticks: len(ticks) counts how often the event loop has come round meanwhile."""

    @contextlib.asynccontextmanager
    async def count():
        ticks = []

        async def tick():
            while True:
                ticks.append(None)
                await asyncio.sleep(0)

        other = asyncio.create_task(tick())
        try:
            yield ticks
        finally:
            other.cancel()

    return count
