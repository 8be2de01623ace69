"""A hub in this process with open streams, whose clients are in another; for what must be measured
on the same sockets.
"""

from __future__ import annotations

import asyncio
import gc
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig, broadcast, send

from .clients import ACKNOWLEDGED_AT_ONCE, HOST, allow_many_files, text
from .load import Load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tornado.iostream import IOStream

    from sfere_tornado import Connection

    from .clients import Arrivals

__all__ = ("LOBBY", "Serving", "certificates", "serving")

LOBBY: Final = (ANY, ("lobby", ANY))

#: Turns of the loop in which the last headers leave and the handlers finish starting.
RESTING: Final = 50

#: Seconds in which the hub must have stopped.
STOPPING: Final = 30.0


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("n"))


class Serving:
    """The hub, its port, and the clients of the first streams."""

    def __init__(self, hub: Hub, port: int, load: Load) -> None:
        self.hub = hub
        self.port = port
        self.load = load
        #: The streams whose events are counted; others may be opened besides them.
        self.streams = 0

    async def open(self, streams: int, authority: str | None = None) -> None:
        """Open the streams, and bring them to their steady state."""
        await self.load.opened(self.port, streams, authority=authority)
        self.streams = streams
        for _ in range(RESTING):
            await asyncio.sleep(0)
        gc.collect()
        await self.warm_up()

    async def warm_up(self) -> None:
        """Deliver the events that the clients' kernel acknowledges one by one."""
        for _ in range(ACKNOWLEDGED_AT_ONCE + 1):
            await self.deliver(self.broadcast)

    async def deliver(self, way: Callable[[], Any], events: int = 1) -> Arrivals:
        """Deliver events in some way and wait until all have arrived.

        Args:
            way: returns an awaitable, or None.
            events: how many it delivers to each stream.
        """
        self.load.expect(self.streams * events)
        going = way()
        if going is not None:
            await going
        return await self.load.arrived()

    def broadcast(self, size: int = 150) -> None:
        """Dispatch one event to every stream; it is written when the turn is over."""
        self.hub.dispatch(broadcast(LOBBY, send(text(size))))

    async def written(self) -> None:
        """Give the loop its turns until everything dispatched has been written."""
        while self.hub.streams.writer.pending:  # noqa: ASYNC110  # an event would add to the cost
            await asyncio.sleep(0)

    def tornado_streams(self) -> list[IOStream]:
        """Return Tornado's stream of each connection, in the order of opening."""
        return [stream_of(connection) for connection in self.hub.streams]


def stream_of(connection: Connection) -> IOStream:
    """Return Tornado's stream of a connection."""
    return connection._outbox.transport._stream


@asynccontextmanager
async def serving(
    streams: int, *, tls: tuple[ssl.SSLContext, str] | None = None
) -> AsyncIterator[Serving]:
    """Serve, with this number of open streams.

    Args:
        streams: at most 10,000, or what the limit of open files allows.
        tls: the context of the server, and the certificate of its authority.
    """
    allow_many_files()
    hub = Hub(HubConfig(store=StoreConfig(maxsize=20_000)))
    context, authority = tls or (None, None)
    port = hub.listen(Application([("/events", Events)]), 0, HOST, ssl_options=context)
    with Load() as load:
        made = Serving(hub, port, load)
        await made.open(streams, authority)
        yield made
        await hub.drain(window=0, timeout=STOPPING)


def certificates() -> tuple[ssl.SSLContext, str] | None:
    """Return what :func:`serving` needs for TLS; None when trustme is not installed."""
    try:
        import trustme  # noqa: PLC0415  # needed for this one measurement only
    except ImportError:
        return None
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    return context, authority.cert_pem.bytes().decode()
