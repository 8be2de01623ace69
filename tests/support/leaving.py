"""Twelve ways in which a client leaves an event stream, and a battery that sends many clients out by each of them."""

import asyncio
import time
from dataclasses import dataclass, field

from tornado.httputil import url_concat

from sfere_tornado.testing.stream_client import StreamClient, request_bytes


async def fin(client):
    client.close()


async def rst(client):
    client.reset()


async def half_close(client):
    client.half_close()


def after_stray_byte(leave):
    async def way(client):
        await client.send(b"\n")
        await leave(client)

    return way


def after_pipelined_request(leave):
    async def way(client):
        await client.send(b"GET /events?name=pipelined HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await leave(client)

    return way


@dataclass(frozen=True)
class Way:
    name: str
    leave: object
    path: str = "/events"
    method: str = "GET"
    body: bytes = b""
    #: Whether the client waits for its stream before it leaves; otherwise it may be gone before it was ever stored.
    opened: bool = True


WAYS = [
    Way("FIN", fin),
    Way("RST", rst),
    Way("half-close", half_close),
    Way("FIN after a stray byte", after_stray_byte(fin)),
    Way("RST after a stray byte", after_stray_byte(rst)),
    Way("half-close after a stray byte", after_stray_byte(half_close)),
    Way("FIN after a pipelined request", after_pipelined_request(fin)),
    Way("RST after a pipelined request", after_pipelined_request(rst)),
    Way("FIN during prepare", fin, path="/slow", opened=False),
    Way("RST during prepare", rst, path="/slow", opened=False),
    Way("FIN right after the request", fin, opened=False),
    Way("FIN after a POST body with a trailing CRLF", fin, method="POST", body=b"a=1\r\n"),
]


@dataclass
class Departures:
    """What the server saw of each client, by name."""

    stored: list = field(default_factory=list)
    left: dict = field(default_factory=dict)

    def stores(self, name):
        self.stored.append(name)

    def leaves(self, name):
        self.left.setdefault(name, []).append(time.perf_counter())


async def leave_in_every_way(base_url, *, each, ssl_options=None, at_once=60):
    """Send ``each`` clients out by every way; returns when each left, by name ``<way>-<n>``, and the clients kept open."""
    left_at, clients, gate = {}, [], asyncio.Semaphore(at_once)

    async def one(way, name):
        async with gate:
            url = url_concat(base_url + way.path, {"name": name})
            client = await StreamClient.connect(base_url, ssl_options=ssl_options)
            clients.append(client)
            # A body with a line end that its length does not count stays unread on the connection.
            request = request_bytes(url, method=way.method, body=way.body.rstrip(b"\r\n"))
            await client.send(request + way.body[len(way.body.rstrip(b"\r\n")) :])
            if way.opened:
                await client.read_headers()
                assert client.status == 200
            left_at[name] = time.perf_counter()
            await way.leave(client)

    await asyncio.gather(*(one(way, f"{way.name}-{n}") for n in range(each) for way in WAYS))
    return left_at, clients
