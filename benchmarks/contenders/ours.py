"""This library: with its default settings, except the size of the store; or, with the argument
``full``, with everything on: history, presence and two interceptors.
"""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application

from sfere_tornado import (
    ANY,
    Event,
    Hub,
    HubConfig,
    SSEHandler,
    StoreConfig,
    broadcast,
    send,
    with_connection,
)
from sfere_tornado.config import HistoryConfig, PresenceConfig

from ..clients import HOST, SHORT, allow_many_files, text
from .orders import obey, orders_on
from .pace import Pace

LOBBY = (ANY, ("lobby", ANY))
WATCHERS = (ANY, ("watch", ANY))

#: Streams of a category where not all are in the lobby. With presence they see each other.
ROOM = 10

pace = Pace()
tasks: set[asyncio.Task[None]] = set()


def passing(ctx) -> None:
    """Change nothing."""


def make_hub(full: bool) -> Hub:
    store = StoreConfig(maxsize=20_000)
    if not full:
        return Hub(HubConfig(store=store))
    return Hub(
        HubConfig(store=store, history=HistoryConfig(), presence=PresenceConfig()),
        interceptors=[
            {"id": "dispatches", "before_dispatch": passing, "after_dispatch": passing},
            {"id": "effects", "before_effect": passing, "after_effect": passing},
        ],
    )


hub = make_hub("full" in sys.argv)


class Stream(SSEHandler):
    """The stream with a number, in the lobby, or in a small room."""

    def initialize(self, room: str) -> None:
        self.room = room

    def connection_key(self):
        number = self.get_query_argument("n")
        return (self.room or f"room{int(number) // ROOM}", number)


class Tokens(Stream):
    """A stream that a task of its own feeds; the last part of the path says how."""

    def on_open(self, connection):
        task = asyncio.create_task(self.feed(connection, WAYS[self.path_args[0]]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def feed(self, connection, way) -> None:
        while not connection.closed:
            await pace.next()
            way(connection)


class Generated(Stream):
    """A stream that ``on_open`` feeds, an asynchronous generator."""

    async def on_open(self, connection):
        while True:
            await pace.next()
            yield send(text())


#: How a task sends an event to its stream, by the last part of the path.
WAYS = {
    "send": lambda connection: connection.send(Event(text())),
    "dispatch": lambda connection: hub.dispatch(send(text()), system={"sse": connection}),
    "key": lambda connection: hub.dispatch(with_connection(connection.key, send(text()))),
}


@hub.on_evict
def left(key, connection, cause):
    hub.dispatch(broadcast(WATCHERS, send(text(SHORT), event="left")))


def dispatch(events: int) -> None:
    for _ in range(events):
        hub.dispatch(broadcast(LOBBY, send(text())))


async def main() -> None:
    allow_many_files()
    handlers = [
        ("/events", Stream, {"room": "lobby"}),
        ("/watch", Stream, {"room": "watch"}),
        ("/rooms", Stream, {"room": ""}),
        ("/tokens/generator", Generated, {"room": "tokens"}),
        ("/tokens/(.*)", Tokens, {"room": "tokens"}),
    ]
    port = hub.listen(Application(handlers), 0, HOST)
    obey(
        orders_on(port),
        dispatch,
        lambda: {"stored": hub.store.count(), "streams": len(hub.streams)},
        pace,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
