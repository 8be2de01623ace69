"""Counts everything that a client may leave behind, not only what the store knows."""

import asyncio
import os
import ssl
from pathlib import Path

from support.waiting import eventually

#: How many times more clients each battery sends: ``SFERE_SOAK=50 pytest tests/scenarios``.
SOAK = int(os.environ.get("SFERE_SOAK", "1"))


def open_files():
    """Return how many files the process has open; 0 where the system does not say."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return 0


class Census:
    """What a hub and its server hold beyond what they held in the beginning.

    Args:
        hub: of the application.
        server: Tornado's, which serves it.
    """

    def __init__(self, hub, server):
        self._hub, self._server = hub, server
        self._tasks = asyncio.all_tasks()
        self._files = open_files()

    def left(self):
        """Return what is there, by kind; kinds of which nothing is left are not named."""
        hub = self._hub
        tasks = asyncio.all_tasks() - self._tasks - {asyncio.current_task()}
        counts = {
            "tasks": len(tasks),
            "files": open_files() - self._files,
            "server connections": len(self._server._connections),
            "streams": len(hub.streams),
            "stored": len(hub.store),
            "admitted": admitted(hub),
            "members": 0 if hub.streams.feed is None else len(hub.presence),
        }
        return {kind: count for kind, count in counts.items() if count > 0}

    async def empty(self, *, patience=5.0):
        """Wait until nothing is left, and fail with the counts if something stays."""
        try:
            await eventually(lambda: not self.left(), patience=patience)
        except AssertionError:
            raise AssertionError(f"left behind: {self.left()}") from None


def admitted(hub):
    """Return how many streams count against the limits of a hub."""
    return hub.streams.admission.total


async def leave_all(clients, how="close"):
    """Let clients go, all in one turn; ``how`` is a method of theirs."""
    for client in clients:
        if not client.stream.closed():
            getattr(client, how)()
    await asyncio.sleep(0)


def quiet(error):
    """Whether an error is what a client gets whose server has closed."""
    return isinstance(error, OSError | ssl.SSLError)
