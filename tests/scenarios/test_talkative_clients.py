"""Clients that send bytes on their event stream and then leave: the server releases all of them.

A read that brings more than ``max_unread`` bytes may be the one that also finds the close, and no other
read follows it. So these tests count what a process has of a client, not only what the store has.
"""

import asyncio
import contextlib
import socket
import struct

import pytest
from support.waiting import eventually
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from sfere_tornado import Hub, SSEHandler
from sfere_tornado.config import StreamConfig

#: Clients of each case.
CLIENTS = 40

#: Bytes that a client sends: below max_unread, just above it, and more than one read of the socket.
BELOW, ABOVE, FAR_ABOVE = 10_000, 20_000, 200_000


def is_of_the_server(task):
    """Tell whether a task runs a handler, or Tornado's loop over the requests of a connection."""
    return task.get_coro().__name__ in ("_execute", "_server_request_loop")


class Lobby:
    """A server with one address of event streams, and what it has of its clients."""

    def __init__(self, ssl_options):
        self.ends_cleanly = False
        self.hub = Hub()
        lobby = self

        class Events(SSEHandler):
            def connection_key(self):
                return ("lobby", self.get_query_argument("name"))

            def on_open(self, connection):
                if lobby.ends_cleanly:
                    # A clean end waits for the client to close.
                    connection.close(reconnect=False)

        app = Application([("/events", Events)], sfere=self.hub)
        self.server = HTTPServer(app, ssl_options=ssl_options)
        sockets = bind_sockets(0, "127.0.0.1")
        self.server.add_sockets(sockets)
        scheme = "https" if ssl_options else "http"
        self.url = f"{scheme}://127.0.0.1:{sockets[0].getsockname()[1]}"
        self.hub.start()

    def left_behind(self):
        """Return what is still there: tasks of handlers and of Tornado's connections, connections of the server, streams, places in the limits, keys."""
        return (
            sum(is_of_the_server(task) for task in asyncio.all_tasks()),
            len(self.server._connections),
            len(self.hub.streams),
            self.hub.admission.total,
            self.hub.store.count(),
        )

    async def stop(self):
        self.server.stop()
        await self.hub.stop()
        await self.server.close_all_connections()


def talk(url, name, size, context=None):
    """Open a stream in a thread of the caller, send bytes on it, and return the socket.

    A plain socket, because a stream of Tornado closes itself when the server has ended.
    """
    port = int(url.rpartition(":")[2])
    client = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    client.sendall(f"GET /events?name={name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    # The server may cut the client before it has read everything.
    with contextlib.suppress(OSError):
        client.sendall(b"x" * size)
    return client


def talk_and_leave(url, name, size, leave, context=None):
    """Talk, and leave with FIN or RST."""
    client = talk(url, name, size, context)
    if leave == "RST":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("ends_cleanly", [False, True], ids=["open", "ended cleanly"])
@pytest.mark.parametrize("leave", ["FIN", "RST"])
@pytest.mark.parametrize("size", [BELOW, ABOVE, FAR_ABOVE])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.gen_test
async def test_a_client_that_talks_and_leaves_is_released(
    tls, size, leave, ends_cleanly, server_tls, client_tls
):
    """However much a client has sent, whoever ended the stream: tasks, connections and counts are back."""
    assert BELOW < StreamConfig().max_unread < ABOVE
    lobby = Lobby(server_tls if tls else None)
    lobby.ends_cleanly = ends_cleanly
    context = client_tls if tls else None
    await asyncio.gather(
        *(
            asyncio.to_thread(talk_and_leave, lobby.url, name, size, leave, context)
            for name in range(CLIENTS)
        )
    )
    try:
        await eventually(lambda: lobby.left_behind() == (0, 0, 0, 0, 0), patience=8.0)
    except AssertionError:
        pytest.fail(f"tasks, connections, streams, places, keys left: {lobby.left_behind()}")
    finally:
        await lobby.stop()


@pytest.mark.parametrize("size", [ABOVE, FAR_ABOVE])
@pytest.mark.gen_test
async def test_a_client_that_talks_after_a_clean_end_is_cut(size):
    """It need not leave: above max_unread the server closes, without waiting for the time of lingering."""
    lobby = Lobby(None)
    lobby.ends_cleanly = True
    started = asyncio.get_running_loop().time()
    clients = await asyncio.gather(
        *(asyncio.to_thread(talk, lobby.url, name, size) for name in range(CLIENTS))
    )
    await eventually(lambda: lobby.left_behind() == (0, 0, 0, 0, 0), patience=8.0)
    assert asyncio.get_running_loop().time() - started < StreamConfig().linger
    for client in clients:
        client.close()
    await lobby.stop()
