"""This library, with everything on: the default settings, except the size of the store."""

from __future__ import annotations

import asyncio

from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig, broadcast, send

from ..clients import HOST, SHORT, allow_many_files, text
from .orders import obey, orders_on

LOBBY = (ANY, ("lobby", ANY))
WATCHERS = (ANY, ("watch", ANY))

hub = Hub(HubConfig(store=StoreConfig(maxsize=20_000)))


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("n"))


class Watch(SSEHandler):
    def connection_key(self):
        return ("watch", self.get_query_argument("n"))


@hub.on_evict
def left(key, connection, cause):
    hub.dispatch(broadcast(WATCHERS, send(text(SHORT), event="left")))


def dispatch(events: int) -> None:
    for _ in range(events):
        hub.dispatch(broadcast(LOBBY, send(text())))


async def main() -> None:
    allow_many_files()
    port = hub.listen(Application([("/events", Events), ("/watch", Watch)]), 0, HOST)
    obey(
        orders_on(port),
        dispatch,
        lambda: {"stored": hub.store.count(), "streams": len(hub.streams)},
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
