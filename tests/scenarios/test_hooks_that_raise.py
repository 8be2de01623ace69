"""Hooks that raise, whatever they raise: each stream ends, each listener is called, nothing stays.

A hook of the application that raises ``CancelledError`` is no cancellation of the loop, and one that
raises ``SystemExit`` does not end the process: both come from ``task.result()`` or a library.
"""

import asyncio

import pytest
from support.census import SOAK, leave_all
from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import StreamEnded

#: Clients for each exception.
EACH = 4 * SOAK

KINDS = (
    ValueError,
    MemoryError,
    RecursionError,
    StopIteration,
    asyncio.CancelledError,
    GeneratorExit,
    SystemExit,
)

#: Where a stream ends, and where it opens.
ENDING = ("on_close", "on_evict", "on_presence", "before_dispatch", "after_dispatch")
OPENING = ("on_open", "coroutine on_open", "opening stage", "after opening")


class Lobby:
    """An application with one hook that raises, and listeners beside it."""

    def __init__(self, where):
        self.where, self.kind = where, ValueError
        self.evicted, self.left = [], []
        lobby = self

        class Events(SSEHandler):
            def connection_key(self):
                return ("lobby", self.get_query_argument("name"))

            def on_open(self, connection):
                if where == "coroutine on_open":
                    return lobby.later()
                lobby.fail("on_open")
                return None

            def on_close(self, connection):
                lobby.fail("on_close")

        stages = {
            "before_dispatch": lambda ctx: self.stage(ctx, "before_dispatch", "opening stage"),
            "after_dispatch": lambda ctx: self.stage(ctx, "after_dispatch", "after opening"),
        }
        presence = PresenceConfig(grace=GraceConfig(client=0.0, error=0.0, server=0.0))
        self.hub = Hub(HubConfig(presence=presence), interceptors=[{"id": "raising", **stages}])
        self.hub.on_evict(lambda *arguments: self.fail("on_evict"))
        self.hub.on_evict(lambda key, connection, cause: self.evicted.append(key.id))
        self.hub.on_presence(lambda change: self.fail("on_presence"))
        self.hub.on_presence(
            lambda change: self.left.append(change.key.id) if change.kind == "left" else None
        )
        self.app = Application([("/events", Events)], sfere=self.hub)

    def stage(self, ctx, closing, opening):
        if ctx.kind == "closing":
            self.fail(closing)
        if ctx.kind == "opening":
            self.fail(opening)

    async def later(self):
        await asyncio.sleep(0)
        self.fail("coroutine on_open")

    def fail(self, where):
        if where == self.where:
            raise self.kind("raised by a hook")


async def come(url, name):
    try:
        return await StreamClient.open(f"{url}/events?name={name}")
    except StreamEnded:
        return None


async def visit(lobby, url, census, leave):
    """Let clients come and go, and look at what is left; returns their names."""
    lobby.evicted.clear()
    lobby.left.clear()
    names = [f"{lobby.kind.__name__}-{number}" for number in range(EACH)]
    clients = await asyncio.gather(*(come(url, name) for name in names))
    await leave_all([client for client in clients if client is not None], leave)
    try:
        await census.empty(patience=2)
    except AssertionError as error:
        raise AssertionError(f"{lobby.where} raises {lobby.kind.__name__}: {error}") from None
    assert len(lobby.evicted) == len(set(lobby.evicted))
    assert sorted(lobby.left) == sorted(lobby.evicted)
    return names


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("where", ENDING)
@pytest.mark.gen_test(timeout=20 + 5 * SOAK)
async def test_a_hook_that_raises_stops_no_end(serve, where, leave, caplog):
    """Other listeners are called once for each client, and nothing of any client is left."""
    lobby = Lobby(where)
    url = serve(lobby.app)
    census = serve.census(lobby.hub)
    for lobby.kind in KINDS:
        names = await visit(lobby, url, census, leave)
        assert sorted(lobby.evicted) == sorted(names), lobby.kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", OPENING)
@pytest.mark.gen_test(timeout=20 + 5 * SOAK)
async def test_a_hook_that_raises_opens_nothing_for_good(serve, where, kind, caplog):
    """A stream whose opening fails has ended, for the others and for the process."""
    lobby = Lobby(where)
    lobby.kind = kind
    url = serve(lobby.app)
    census = serve.census(lobby.hub)
    for leave in ("close", "reset"):
        await visit(lobby, url, census, leave)
