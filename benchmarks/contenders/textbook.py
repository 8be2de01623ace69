"""The textbook handler of Tornado: ``write`` and ``flush`` to each.

It is added to a set in ``get``, and removed in ``on_connection_close``.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from ..clients import SHORT, text
from .orders import listening, obey
from .pace import Pace

pace = Pace()


class Stream(RequestHandler):
    handlers: ClassVar[set[Stream]]

    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        await self.flush()
        self.gone = asyncio.Event()
        self.handlers.add(self)
        await self.gone.wait()

    def on_connection_close(self):
        self.handlers.discard(self)
        self.gone.set()


class Watch(Stream):
    handlers: ClassVar[set[Stream]] = set()


class Events(Stream):
    handlers: ClassVar[set[Stream]] = set()

    def on_connection_close(self):
        super().on_connection_close()
        tell(Watch.handlers, f"event: left\ndata: {text(SHORT)}\n\n")


class Tokens(RequestHandler):
    """Writes in ``get`` until the client has gone."""

    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        await self.flush()
        while True:
            await pace.next()
            self.write(f"data: {text()}\n\n")
            await self.flush()


def tell(handlers: set[Stream], event: str) -> None:
    for handler in handlers:
        handler.write(event)
        handler.flush()


def dispatch(events: int) -> None:
    for _ in range(events):
        tell(Events.handlers, f"data: {text()}\n\n")


async def main() -> None:
    http, orders = listening()
    paths = [("/events", Events), ("/watch", Watch), ("/tokens", Tokens)]
    server = HTTPServer(Application(paths))
    server.add_socket(http)
    obey(orders, dispatch, lambda: {"streams": len(Events.handlers)}, pace)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
