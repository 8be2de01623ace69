"""The pace of the tasks that feed single streams."""

from __future__ import annotations

import asyncio
import random

__all__ = ("Pace",)


class Pace:
    """How often each task sends. All tasks of a server share it; at first they wait."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._going = asyncio.Event()

    def set(self, rate: int) -> None:
        """Let each task send this number of events a second; 0 makes all of them wait."""
        if rate:
            self._seconds = 1 / rate
            self._going.set()
        else:
            self._going.clear()

    async def next(self) -> None:
        """Wait until the next event is due."""
        if self._going.is_set():
            await asyncio.sleep(self._seconds)
            return
        await self._going.wait()
        # Tasks that begin together do not stay together.
        await asyncio.sleep(random.uniform(0, self._seconds))
