"""Several processes on one port, and processes with children: each has a hub of its own, and nothing breaks."""

import asyncio
import contextlib
import os
import signal

import pytest
from support.server import ServerProcess

from sfere_tornado.testing import StreamClient

#: A lobby. Arguments: ``fork``, two processes on one socket; or ``reuse`` and a port, one of several on that port.
SERVER = """
import asyncio, logging, os, sys, time
from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StreamConfig, broadcast, close_sse, send
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

logging.basicConfig(level=logging.WARNING)
EVERYBODY = (ANY, ANY)
# Made before the fork: it meets its loop after it.
hub = Hub(HubConfig(stream=StreamConfig(heartbeat=1.0)))
hub.on_evict(lambda key, connection, cause: hub.dispatch(broadcast(EVERYBODY, send(key.id, event="left"))))
children = []

class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

    def on_open(self, connection):
        told = broadcast(EVERYBODY, send(connection.key.id, event="joined"), exclude={connection.key})
        return [send({"pid": os.getpid(), "present": hub.store.count()}, event="hello"), told]

class Fork(RequestHandler):
    def post(self):
        child = os.fork()
        if not child:
            # Pipes of its own are not what is to be shown: whoever waits for the parent waits for their end.
            os.close(1)
            os.close(2)
            time.sleep(60)
            os._exit(0)
        self.write(str(child))

class Close(RequestHandler):
    def post(self):
        back = self.get_query_argument("reconnect") == "yes"
        hub.dispatch(broadcast((ANY, (ANY, self.get_query_argument("name"))), close_sse(reconnect=back)))

app = Application([("/events", Events), ("/fork", Fork), ("/close", Close)], sfere=hub)

async def serve(sockets):
    if sockets:
        server = HTTPServer(app)
        server.add_sockets(sockets)
        hub._life.servers.append(server)
    else:
        print(hub.listen(app, int(sys.argv[2]), reuse_port=True), flush=True)
    await hub.run_until_signal(window=0, timeout=5)

sockets = []
if sys.argv[1] == "fork":
    sockets = bind_sockets(0, "127.0.0.1")
    print(sockets[0].getsockname()[1], flush=True)
    fork_processes(2, max_restarts=0)
asyncio.run(serve(sockets))
"""


async def enter_two_processes(url, *, each=3):
    """Open streams until two processes have ``each`` or more; returns them by process, in order, with their names."""
    by_process = {}
    for n in range(200):
        client = await StreamClient.open(f"{url}/events?name={n}")
        hello = await client.json("hello")
        there = by_process.setdefault(hello["pid"], [])
        # A process knows its own streams, and nobody else's.
        there.append((str(n), client))
        assert hello["present"] == len(there)
        if len(by_process) == 2 and all(len(those) >= each for those in by_process.values()):
            return by_process
    raise AssertionError(f"200 streams went to {len(by_process)} process")


async def check_each_process(by_process):
    """Joins were told within each process, and so are leaves; heartbeats go out in each."""
    for those in by_process.values():
        names = [name for name, _ in those]
        for place, (_, client) in enumerate(those):
            events = [(event.event, event.data) for event in await client.quiet(0.02)]
            assert events == [("joined", name) for name in names[place + 1 :]]
    for those in by_process.values():
        (leaver, client), *rest = those
        client.close()
        for _, other in rest:
            event = await other.event()
            assert (event.event, event.data) == ("left", leaver)
    await asyncio.sleep(1.2)  # a heartbeat; other processes have no clock of ours
    for those in by_process.values():
        for _, client in those[1:]:
            assert await client.quiet(0) == []
            assert len(client.parser.comments) >= 1


def assert_only_not_alone(server, *, times=1):
    """Its processes have logged that they are not alone, each once, and nothing else."""
    lines = server.log.splitlines()
    assert len(lines) == times, lines
    assert all("reach the streams of this process only" in line for line in lines), lines


async def all_end(by_process):
    """Every stream that is left is cut."""
    for those in by_process.values():
        for _, client in those[1:]:
            assert await client.ended() is False


@pytest.mark.gen_test(timeout=30)
async def test_forked_processes_have_a_hub_each(io_loop):
    """A hub made before the fork works in each child: streams, joins, leaves, timers, and a graceful end."""
    async with ServerProcess(SERVER, "fork") as server:
        by_process = await enter_two_processes(server.url)
        try:
            assert server.process.pid not in by_process
            await check_each_process(by_process)
        finally:
            for pid in by_process:
                os.kill(pid, signal.SIGTERM)
        await all_end(by_process)
        # The parent ends when its children have, well.
        assert await server.ended() == 0
        # Each of the two says once that it is not alone.
        assert_only_not_alone(server, times=2)


@pytest.mark.gen_test(timeout=30)
async def test_processes_that_share_a_port_have_a_hub_each(io_loop):
    """With reuse_port two servers that know nothing of each other divide the streams; either may end without the other."""
    async with (
        ServerProcess(SERVER, "reuse", 0) as first,
        ServerProcess(SERVER, "reuse", first.port) as second,
    ):
        assert second.url == first.url
        by_process = await enter_two_processes(first.url)
        assert set(by_process) == {first.process.pid, second.process.pid}
        await check_each_process(by_process)
        first.signal()
        assert await first.ended() == 0
        await all_end({first.process.pid: by_process[first.process.pid]})
        # Everybody who comes back finds the other one.
        for n in range(10):
            client = await StreamClient.open(f"{second.url}/events?name=back{n}")
            assert (await client.json("hello"))["pid"] == second.process.pid
        second.signal()
        assert await second.ended() == 0
        assert_only_not_alone(first)
        assert_only_not_alone(second)


async def post(url):
    async with await StreamClient.open(
        url, method="POST", headers={"Content-Length": "0"}
    ) as answer:
        await answer.ended()
        return answer.body


@pytest.mark.gen_test(timeout=30)
async def test_closing_is_seen_while_a_child_holds_the_sockets_too(io_loop):
    """A child that was forked later has every descriptor: each kind of end reaches the client all the same, and so does its own."""
    async with ServerProcess(SERVER, "reuse", 0) as server:
        clients = {}
        for name in ("cut", "ended", "leaves", "stays"):
            clients[name] = await StreamClient.open(f"{server.url}/events?name={name}")
        child = int(await post(server.url + "/fork"))
        try:
            await post(server.url + "/close?name=cut&reconnect=yes")
            assert await clients["cut"].ended(timeout=2) is False
            await post(server.url + "/close?name=ended&reconnect=no")
            assert await clients["ended"].ended(timeout=2) is True
            with pytest.raises(ConnectionError):
                # FIN has come behind the last chunk.
                await clients["ended"]._read(2)
            clients["leaves"].close()
            left = [(await clients["stays"].event("left", timeout=2)).data for _ in range(3)]
            assert left == ["cut", "ended", "leaves"]
            server.signal()
            assert await clients["stays"].ended(timeout=2) is False
            assert await server.ended() == 0
            os.kill(child, 0)  # it is there to the end
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        assert_only_not_alone(server)
