"""Clients that send bytes on their stream, and go: nothing of them stays, in whatever way they go."""

import asyncio
import socket
import struct
from contextlib import suppress
from itertools import product
from urllib.parse import urlsplit

import pytest
from support.census import SOAK
from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler, StreamConfig
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.testing.stream_client import request_bytes

#: Clients a row of the battery.
EACH = 6 * SOAK

#: Bytes that a client says: none, fewer than ``max_unread``, more, and much more.
TALKS = (0, 10_000, 20_000, 60_000)

LEAVES = ("FIN", "RST", "half-close")

#: When the client talks: before it has read the headers, when its stream is open, and when the
#: server has ended it cleanly.
MOMENTS = ("early", "open", "ended")


def lobby():
    grace = GraceConfig(client=0.0, error=0.0, server=0.0)
    hub = Hub(
        HubConfig(stream=StreamConfig(linger=1.0), presence=PresenceConfig(grace=grace)),
    )
    evicted = []

    class Events(SSEHandler):
        def connection_key(self):
            return ("lobby", self.get_query_argument("name"))

        def on_open(self, connection):
            if connection.key.id.startswith("ended"):
                connection.close(reconnect=False)

    hub.on_evict(lambda key, connection, cause: evicted.append(key.id))
    return hub, evicted, Application([("/events", Events)], sfere=hub)


def visit(url, name, row, tls):
    """Come, talk and go, in a thread: the server's loop does not turn for this client's sake."""
    moment, talk, leave = row
    client = socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=5)
    with suppress(OSError):  # the server was faster
        if tls is not None:
            client = tls.wrap_socket(client, server_hostname="127.0.0.1")
        client.sendall(request_bytes(f"{url}/events?name={name}"))
        if moment != "early":
            received = client.recv(4096)
        if moment == "ended":
            while b"0\r\n\r\n" not in received:
                received += client.recv(4096)
        if talk:
            client.sendall(b"x" * talk)
        if leave == "RST":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif leave == "half-close":
            socket.socket.shutdown(client, socket.SHUT_WR)
            while client.recv(65536):
                pass
    client.close()


@pytest.mark.parametrize("transport", ["plain", "tls"])
@pytest.mark.gen_test(timeout=30 + 10 * SOAK)
async def test_who_talks_and_goes_leaves_nothing(serve, transport, server_tls, client_tls, caplog):
    """Handler tasks, files and Tornado's connections are released, as are the store and presence."""
    hub, evicted, app = lobby()
    tls = transport == "tls"
    url = serve(app, ssl_options=server_tls if tls else None)
    await asyncio.to_thread(int)  # the pool's own files are there before they are counted
    census = serve.census(hub)
    gate = asyncio.Semaphore(20)

    async def one(row, number):
        async with gate:
            name = "-".join(map(str, (*row, number)))
            await asyncio.to_thread(visit, url, name, row, client_tls if tls else None)

    rows = product(MOMENTS, TALKS, LEAVES)
    await asyncio.gather(*(one(row, number) for row in rows for number in range(EACH)))
    await census.empty()
    assert len(evicted) == len(set(evicted))
