"""Hooks that never come back are cancelled when their client has gone."""

import asyncio

import pytest
from support.census import SOAK, leave_all
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler, StreamConfig
from sfere_tornado.config import GraceConfig, HistoryConfig, PresenceConfig
from sfere_tornado.testing import FakeClock, StreamClient
from sfere_tornado.testing.stream_client import request_bytes

#: Clients for each way to leave.
EACH = 5 * SOAK


class Lobby:
    """An application with one hook that hangs; ``hanging`` is how many calls of it do."""

    def __init__(self, where):
        self.hanging, self.cancelled = 0, 0
        lobby = self

        class Events(SSEHandler):
            async def prepare(self):
                await lobby.hang("prepare", where)

            def connection_key(self):
                return ("lobby", self.get_query_argument("name"))

            async def on_open(self, connection):
                await lobby.hang("on_open", where)

            async def on_gap(self, connection, reason):
                await lobby.hang("on_gap", where)

            async def revalidate(self, connection):
                await lobby.hang("revalidate", where)
                return True

        async def stage(ctx):
            await self.hang("stage", where)

        async def after(ctx):
            await self.hang("after stage", where)

        class Staged(Events):
            interceptors = [{"id": "hangs", "before_dispatch": stage, "after_dispatch": after}]

        self.clock = FakeClock()
        handler = Staged if "stage" in where else Events
        grace = GraceConfig(client=0.0, error=0.0, server=0.0)
        self.hub = Hub(
            HubConfig(
                history=HistoryConfig(),
                presence=PresenceConfig(grace=grace),
                stream=StreamConfig(revalidate_timeout=60.0),
            ),
            timer=self.clock,
        )
        self.app = Application([("/events", handler)], sfere=self.hub)

    async def hang(self, hook, where):
        if hook != where:
            return
        self.hanging += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
@pytest.mark.parametrize(
    "where", ["prepare", "on_open", "on_gap", "revalidate", "stage", "after stage"]
)
@pytest.mark.gen_test(timeout=20)
async def test_a_hook_that_hangs_ends_with_its_client(serve, where, leave):
    """Each client's hook is cancelled, and its task, file and connection are released."""
    lobby = Lobby(where)
    url = serve(lobby.app)
    census = serve.census(lobby.hub)
    clients = []
    for number in range(EACH):
        client = await StreamClient.connect(url)
        headers = {"Last-Event-ID": "an id of another history"} if where == "on_gap" else {}
        await client.send(request_bytes(f"{url}/events?name={number}", headers=headers))
        clients.append(client)
    if where == "revalidate":
        await eventually(lambda: len(lobby.hub.store) == EACH)
        for _ in range(4):  # a heartbeat, at the latest
            lobby.clock.advance(5)
            lobby.hub.clock.tick()
    await eventually(lambda: lobby.hanging == EACH)
    await leave_all(clients, leave)
    await eventually(lambda: lobby.cancelled == EACH, patience=3)
    await leave_all(clients)
    await census.empty()
