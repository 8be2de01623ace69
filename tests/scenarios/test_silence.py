"""Clients that vanish without a word: a pulled cable, one that is back in time, and one beyond a proxy."""

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import threading

import pytest
from support.proxy import Wire
from support.waiting import eventually
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    SSEHandler,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
)
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import request_bytes
from sfere_tornado.web.signs import BeatHandler

EVERYBODY = (ANY, ANY)


class Named:
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


class Events(Named, SSEHandler):
    pass


class Beat(Named, BeatHandler):
    pass


class Lobby:
    """A hub, and how its streams left: name, cause, reason, and when by the loop's clock."""

    def __init__(self, *, store=None, **stream):
        self.hub = Hub(HubConfig(store=store or StoreConfig(), stream=StreamConfig(**stream)))
        self.app = Application([("/events", Events), ("/beat", Beat)], sfere=self.hub)
        self.left = []
        self.hub.on_evict(self.note)

    def note(self, key, connection, cause):
        self.left.append((key.id, cause, connection.reason, asyncio.get_running_loop().time()))

    def connection(self, name):
        (found,) = self.hub.store.connections((ANY, ("lobby", name)))
        return found


# -- a cable between two network namespaces

_CLONE_NEWNET = 0x40000000


class Cable:
    """Two network namespaces with a cable between them that can be pulled: packets are lost, and nobody is told."""

    SERVER, CLIENT = "10.213.77.1", "10.213.77.2"

    def __init__(self):
        if shutil.which("ip") is None:
            pytest.skip("network namespaces need the command ip (Debian: iproute2)")
        self.names = [f"sfere{os.getpid()}{end}" for end in "sc"]
        ends = [f"sf{os.getpid()}{end}" for end in "sc"]
        try:
            for name in self.names:
                self.ip("netns", "add", name)
            server, client = self.names
            self.ip(
                "link",
                "add",
                ends[0],
                "netns",
                server,
                "type",
                "veth",
                "peer",
                "name",
                ends[1],
                "netns",
                client,
            )
            for name, end, address in zip(
                self.names, ends, (self.SERVER, self.CLIENT), strict=True
            ):
                self.ip("-n", name, "address", "add", f"{address}/30", "dev", end)
                self.ip("-n", name, "link", "set", end, "up")
                self.ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.remove()
            pytest.skip(
                f"network namespaces are not permitted here: {error.stderr.decode().strip()}"
            )
        self._end = ends[1]

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def socket(self, namespace, make):
        """Return what ``make`` returns, made in a namespace: a socket stays where it was made."""
        made = []

        def work():
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(f"/run/netns/{self.names[namespace]}", os.O_RDONLY)
            # Of this thread alone, which ends here.
            made.append(OSError(ctypes.get_errno()) if libc.setns(fd, _CLONE_NEWNET) else make())
            os.close(fd)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            pytest.skip(f"network namespaces are not permitted here: {made[0]}")
        return made[0]

    def pull(self):
        self.ip("-n", self.names[1], "link", "set", self._end, "down")

    def plug_in(self):
        self.ip("-n", self.names[1], "link", "set", self._end, "up")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def cable(io_loop):
    """A cable with a server at one end; ``serve`` and ``open`` as elsewhere."""
    made = Cable()
    clients, apps = [], []

    def serve(app):
        listening = made.socket(0, lambda: socket.create_server((made.SERVER, 0)))
        listening.setblocking(False)
        server = HTTPServer(app)
        server.add_socket(listening)
        apps.append((app, server))
        return f"http://{made.SERVER}:{listening.getsockname()[1]}"

    async def open_stream(url):
        stream = IOStream(made.socket(1, socket.socket))
        await stream.connect((made.SERVER, int(url.rpartition(":")[2].partition("/")[0])))
        client = StreamClient(stream)
        clients.append(client)
        await client.send(request_bytes(url))
        await client.read_headers()
        return client

    made.serve, made.open = serve, open_stream
    yield made

    async def stop():
        for app, server in apps:
            server.stop()
            await app.settings["sfere"].stop()
            await server.close_all_connections()
        for client in clients:
            client.close()

    io_loop.run_sync(stop)
    made.remove()


@pytest.mark.slow
@pytest.mark.gen_test(timeout=30)
async def test_a_pulled_cable_is_noticed_in_time(cable, caplog):
    """Gone within heartbeat and user time-out, 5 s each, told with reason timeout; who has a cable of his own stays."""
    lobby = Lobby(heartbeat=5.0, user_timeout=5.0)
    url = cable.serve(lobby.app)
    client = await cable.open(url + "/events?name=pulled")
    # Both ends in the same namespace: this one's cable is not pulled.
    here = IOStream(cable.socket(0, socket.socket))
    await here.connect((cable.SERVER, int(url.rpartition(":")[2])))
    stays = StreamClient(here)
    await stays.send(request_bytes(url + "/events?name=stays"))
    await stays.read_headers()
    while not client.parser.comments:
        await client.quiet(0.05)

    loop = asyncio.get_running_loop()
    pulled = loop.time()
    cable.pull()
    await eventually(lambda: lobby.left, patience=12)
    ((name, cause, reason, when),) = lobby.left
    print(f"\ncable pulled: known after {when - pulled:.1f} s")
    assert (name, cause, reason) == ("pulled", "explicit", "timeout")
    assert 5 < when - pulled <= 10.1
    lobby.hub.dispatch(broadcast(EVERYBODY, send("still here")))
    assert (await stays.event()).data == "still here"
    stays.close()


@pytest.mark.gen_test(timeout=30)
async def test_a_cable_that_is_back_in_time_loses_nothing(cable):
    """Nobody has left, everything sent meanwhile arrives once and in order; ``health`` shows the silence while it lasts."""
    lobby = Lobby(heartbeat=1.0, user_timeout=10.0)
    client = await cable.open(cable.serve(lobby.app) + "/events?name=brian")
    lobby.hub.dispatch(broadcast(EVERYBODY, send("before")))
    assert (await client.event()).data == "before"
    connection = lobby.connection("brian")
    assert connection.health().kernel.unacknowledged == 0

    cable.pull()
    loop = asyncio.get_running_loop()
    pulled, sent = loop.time(), []
    while loop.time() < pulled + 1.2:
        sent.append(str(len(sent)))
        lobby.hub.dispatch(broadcast(EVERYBODY, send(sent[-1])))
        await asyncio.sleep(0.05)  # the kernel's clock is the real one
    health = connection.health()
    assert health.kernel.unacknowledged > 0
    assert health.kernel.silence > 1
    assert not connection.closed
    cable.plug_in()
    assert [(await client.event()).data for _ in sent] == sent
    await eventually(lambda: connection.health().kernel.unacknowledged == 0)
    assert connection.health().outbox == 0
    assert lobby.left == []


@pytest.mark.gen_test(timeout=20)
async def test_idle_streams_beat_and_busy_ones_do_not(serve):
    """Over real sockets and the real clock: comments on the stream that nothing is sent on, none on the other."""
    lobby = Lobby(heartbeat=1.0)
    url = serve(lobby.app)
    idle = await StreamClient.open(url + "/events?name=idle")
    busy = await StreamClient.open(url + "/events?name=busy")
    for n in range(11):
        lobby.hub.dispatch(broadcast((ANY, (ANY, "busy")), send(str(n))))
        await asyncio.sleep(0.2)  # less than a heartbeat
    assert await idle.quiet() == []
    assert len(await busy.quiet()) == 11
    assert 2 <= len(idle.parser.comments) <= 3
    assert len(busy.parser.comments) == 0
    assert lobby.connection("idle").health().outbox == 0


# -- behind a proxy


async def beat(url, name):
    async with await StreamClient.open(
        f"{url}/beat?name={name}", method="POST", headers={"Content-Length": "0"}
    ) as answer:
        return answer.status


@pytest.mark.parametrize("renewed_by", [{"request"}, {"request", "ack"}], ids=["request", "ack"])
@pytest.mark.gen_test(timeout=20)
async def test_only_the_client_itself_can_tell_that_it_is_there_beyond_a_proxy(serve, renewed_by):
    """The proxy takes everything for a client that is gone: the lease ends unless beats come, or an ack is taken for one."""
    lobby = Lobby(store=StoreConfig(ttl=1.2, renewed_by=renewed_by), heartbeat=1.0)
    url = serve(lobby.app)
    async with Wire(url) as proxy:
        beating = await StreamClient.open(proxy.url + "/events?name=beating")
        # From here on its cable is pulled: it neither reads, nor beats, nor closes, and the proxy does not know.
        await StreamClient.open(proxy.url + "/events?name=pulled")
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + 3:
            assert await beat(proxy.url, "beating") == 204
            await asyncio.sleep(0.2)  # some beats in each lease
        if renewed_by == {"request"}:
            assert [(name, cause, reason) for name, cause, reason, _ in lobby.left] == [
                ("pulled", "expired", "expired")
            ]
            assert 1.1 <= lobby.left[0][3] - began <= 1.7
            await eventually(lambda: len(lobby.left) == 2, patience=3)
            assert await beating.ended() is False
        else:
            assert lobby.left == []
