"""Serving an application that has a hub: a backlog for a crowd, bounds on what a request may cost."""

import asyncio
import errno
import gc
import socket
import sys

import pytest
from support.waiting import eventually
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StreamConfig, broadcast, send
from sfere_tornado.errors import HubError, ListenError
from sfere_tornado.testing import StreamClient
from sfere_tornado.web.serving import BACKLOG, OTHER_FILES, SERVER_LIMITS


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name", "brian"))


class Echo(RequestHandler):
    def post(self):
        self.write(str(len(self.request.body)))


def application():
    return Application([("/events", Events), ("/echo", Echo)])


@pytest.mark.gen_test
async def test_one_call_serves_an_application():
    """The hub is installed and started, the port is returned, and a drain ends the server too."""
    hub, app = Hub(), application()
    port = hub.listen(app, 0)
    assert app.settings["sfere"] is hub
    assert "running" in repr(hub)
    client = await StreamClient.open(f"http://127.0.0.1:{port}/events")
    hub.dispatch(broadcast((ANY, ANY), send("hello")))
    assert (await client.event()).data == "hello"
    await hub.drain(window=0, timeout=5)
    assert await client.ended() is False
    with pytest.raises(OSError):  # whichever of the two finds out
        await StreamClient.connect(f"http://127.0.0.1:{port}")


@pytest.mark.gen_test
async def test_a_drain_sends_away_who_asks_on_a_connection_that_is_open_already():
    """Nobody new can connect; a request on a kept connection gets a reconnection time and a cut."""
    hub = Hub()
    port = hub.listen(application(), 0)
    url = f"http://127.0.0.1:{port}"
    await StreamClient.open(url + "/events?name=early")
    await StreamClient.open(url + "/events?name=another")
    kept = await StreamClient.connect(url)
    await kept.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    await kept.read_headers()
    assert kept.status == 200
    draining = asyncio.ensure_future(hub.drain(window=0.5, timeout=5))
    await eventually(lambda: not hub.ready)
    kept.clean, kept._buffer = None, b""
    await kept.send(b"GET /events?name=late HTTP/1.1\r\nHost: x\r\n\r\n")
    await kept.read_headers()
    assert kept.status == 200
    assert await kept.ended() is False
    assert 2000 <= kept.parser.retry <= 3000
    assert not draining.done()
    await draining


@pytest.mark.gen_test
@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
async def test_there_is_no_such_port(port):
    """A port that there is not is refused; the system would take it for another one."""
    hub, app = Hub(), application()
    with pytest.raises(
        ListenError, match=f"port {port} of 127.0.0.1: ports go from 0, .* to 65535"
    ):
        hub.listen(app, port)
    assert ("sfere" in app.settings, hub._life.servers) == (False, [])


@pytest.mark.gen_test
# Tornado leaves a socket that cannot be bound to the garbage collection, which warns.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_what_cannot_be_listened_on_is_said():
    """A port that somebody has, and an address that is not ours, are the system's errors, with what to do."""
    hub = Hub()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match="take another, 0 for any free one") as caught:
            hub.listen(application(), port)
        assert (caught.value.errno, caught.value.port) == (errno.EADDRINUSE, port)
    with pytest.raises(OSError, match=r"port 0 of 192\.0\.2\.1: "):
        hub.listen(application(), 0, "192.0.2.1")
    await hub.stop()
    del caught
    gc.collect()


@pytest.mark.gen_test
async def test_a_kept_connection_does_not_hold_up_the_end():
    """A browser's idle connection is closed; a request that never ends is left behind when time is over."""
    hub = Hub()

    begun = []

    class Never(RequestHandler):
        async def get(self):
            begun.append(self)
            await asyncio.Event().wait()

    app = application()
    app.add_handlers(".*", [("/never", Never)])
    url = f"http://127.0.0.1:{hub.listen(app, 0)}"
    idle = await StreamClient.connect(url)
    waiting = await StreamClient.connect(url)
    await waiting.send(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: begun)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await hub.drain(window=0, timeout=0.5)
    assert loop.time() - began < 1
    assert idle.stream.closed() or (await idle.stream.read_until_close()) == b""
    # What is left of the request that never ends.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@pytest.mark.gen_test
async def test_a_crowd_fits_into_the_backlog():
    """More connections than Tornado's 128 wait for being accepted, with nobody turned away or tried again."""
    hub = Hub()
    port = hub.listen(application(), 0)
    server = hub._life.servers[0]
    (listening,) = server._sockets.values()
    # The loop does not turn meanwhile, so nobody is accepted.
    crowd = [socket.create_connection(("127.0.0.1", port), timeout=1) for _ in range(500)]
    assert len(crowd) < BACKLOG
    for client in crowd:
        client.close()
    await hub.drain(window=0, timeout=5)
    assert listening.fileno() == -1


@pytest.mark.gen_test
async def test_what_a_request_may_cost_is_bounded(caplog):
    """Bodies and headers have bounds far below Tornado's, and each may be given for an application."""
    hub = Hub()
    port = hub.listen(application(), 0)
    big = b"x" * (SERVER_LIMITS["max_body_size"] + 1)
    url = f"http://127.0.0.1:{port}/echo"
    refused = await StreamClient.connect(url)
    await refused.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big))
    await refused.read_headers()
    assert refused.status == 400
    roomy = hub.listen(application(), 0, max_body_size=2 * len(big), backlog=16)
    fine = await StreamClient.open(f"http://127.0.0.1:{roomy}/echo", method="POST", body=big)
    await fine.ended()
    assert fine.body == str(len(big)).encode()
    await hub.drain(window=0, timeout=5)


@pytest.mark.gen_test
async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(caplog):
    """Time-outs that Tornado does not set by itself are set, and are the application's to change."""
    hub = Hub()
    port = hub.listen(application(), 0, body_timeout=0.1, idle_connection_timeout=0.1)
    server = hub._life.servers[0]
    assert (server.conn_params.body_timeout, server.conn_params.max_header_size) == (0.1, 65536)
    slow = await StreamClient.connect(f"http://127.0.0.1:{port}")
    await slow.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
    assert await slow.stream.read_until_close() == b""
    idle = await StreamClient.connect(f"http://127.0.0.1:{port}")
    assert await idle.stream.read_until_close() == b""
    await hub.drain(window=0, timeout=5)


@pytest.mark.gen_test
async def test_streams_outlive_the_time_outs_of_requests():
    """A stream is one long answer: neither the time-out of bodies nor that of idle connections ends it."""
    hub = Hub()
    port = hub.listen(application(), 0, body_timeout=0.1, idle_connection_timeout=0.1)
    client = await StreamClient.open(f"http://127.0.0.1:{port}/events")
    assert await client.quiet(0.4) == []
    assert client.clean is None
    await hub.drain(window=0, timeout=5)


@pytest.mark.gen_test
async def test_several_processes_may_share_a_port(caplog):
    """With reuse_port a second server listens on the same port; the log says what that means."""
    first, second = Hub(), Hub()
    port = first.listen(application(), 0, reuse_port=True)
    assert second.listen(application(), port, reuse_port=True) == port
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("reach the streams of this process only" in line for line in lines)
    caplog.clear()
    await first.drain(window=0, timeout=5)
    await second.drain(window=0, timeout=5)


def test_serving_needs_a_running_event_loop():
    """Outside of one it is an error that says so, and nothing is bound."""
    with pytest.raises(HubError, match="running event loop"):
        Hub().listen(application(), 0)


@pytest.mark.gen_test
async def test_a_wrong_argument_leaves_no_socket_behind():
    """Whoever mistypes an option of the server can try again on the same port."""
    hub = Hub()
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    with pytest.raises(TypeError, match="max_boddy_size"):
        hub.listen(application(), port, max_boddy_size=1)
    assert hub._life.servers == []
    assert hub.listen(application(), port) == port
    assert isinstance(hub._life.servers[0], HTTPServer)
    await hub.drain(window=0, timeout=5)


@pytest.mark.gen_test
async def test_the_sockets_of_streams_are_tuned():
    """What finds vanished clients, and keeps the kernel from hoarding for them, is really set on the server's sockets."""
    settings = StreamConfig(
        user_timeout=7.0,
        keepalive_idle=11.0,
        keepalive_interval=3.0,
        keepalive_count=4,
        notsent_lowat=32 * 1024,
    )
    hub = Hub(HubConfig(stream=settings))
    port = hub.listen(application(), 0)
    await StreamClient.open(f"http://127.0.0.1:{port}/events")
    (connection,) = hub.streams
    sock = connection._outbox.transport._stream.socket
    tcp = socket.IPPROTO_TCP
    wanted = {
        (socket.SOL_SOCKET, "SO_KEEPALIVE"): 1,
        (tcp, "TCP_NODELAY"): 1,
        (tcp, "TCP_KEEPIDLE"): 11,
        (tcp, "TCP_KEEPINTVL"): 3,
        (tcp, "TCP_KEEPCNT"): 4,
        (tcp, "TCP_USER_TIMEOUT"): 7000,
        (tcp, "TCP_NOTSENT_LOWAT"): 32 * 1024,
    }
    # Elsewhere than on Linux some are missing: what exists is set.
    found = {
        (level, name): sock.getsockopt(level, getattr(socket, name))
        for level, name in wanted
        if hasattr(socket, name)
    }
    assert found == {option: value for option, value in wanted.items() if option in found}
    assert len(found) >= 5
    await hub.drain(window=0, timeout=5)


# -- open files


SERVE = """
import asyncio, logging, resource, sys
from tornado.web import Application
from sfere_tornado import Hub, HubConfig, LimitsConfig, SSEHandler

class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

async def main(soft, hard, total):
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    hub = Hub(HubConfig(limits=LimitsConfig(total=total)))
    port = hub.listen(Application([("/events", Events)]), 0)
    running = asyncio.ensure_future(hub.run_until_signal(window=0, timeout=5))
    # A turn in which it begins to listen for signals.
    await asyncio.sleep(0)
    print("port", port, resource.getrlimit(resource.RLIMIT_NOFILE)[0], hub.streams.admission.files, flush=True)
    await running

asyncio.run(main(*map(int, sys.argv[1:])))
"""


async def serve_with_files(soft, hard, total):
    """Start a process with so many files; returns it, its port, what it is allowed then, and how many streams it takes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVE,
        str(soft),
        str(hard),
        str(total),
        stdout=asyncio.subprocess.PIPE,
    )
    line = b""
    while not line.startswith(b"port"):
        line = await asyncio.wait_for(process.stdout.readline(), 20)
    _, port, allowed, files = line.split()
    return process, int(port), int(allowed), None if files == b"None" else int(files)


async def ended(process):
    """End a process kindly; returns its exit code and what it has said since."""
    process.terminate()
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, said.decode().splitlines()


@pytest.mark.gen_test
async def test_the_system_is_asked_for_as_many_files_as_the_limits_let_in():
    """The limit that a process begins with, often 1,024, is raised to what is needed, no further."""
    process, _, allowed, files = await serve_with_files(64, 5000, 300)
    assert (allowed, files) == (300 + OTHER_FILES, None)
    assert await ended(process) == (0, [])


@pytest.mark.gen_test
async def test_where_files_end_newcomers_are_refused():
    """Before the last file is taken: those who are there are served, the others are told when to come back, nothing fails."""
    process, port, allowed, files = await serve_with_files(64, 80, 1000)
    assert (allowed, files) == (80, 60)
    url = f"http://127.0.0.1:{port}/events?name="
    streams = [await StreamClient.open(url + str(number)) for number in range(files)]
    refused = [await StreamClient.open(f"{url}late{number}") for number in range(5)]
    assert [await client.ended() for client in refused] == [False] * 5
    assert all(client.parser.retry >= 2000 for client in refused)
    streams[0].close()
    come_back = await asyncio.wait_for(opened(url + "again"), 5)
    code, said = await ended(process)
    assert code == 0
    assert [line for line in said if "WARNING" not in line] == []
    assert "already has 60 open streams (the system's limit of open files)" in said[0]
    assert await come_back.ended() is False


async def opened(url):
    """Open a stream that stays, at the latest when the server has noticed that there is room."""
    while True:
        client = await StreamClient.open(url)
        if not await client.quiet() and not client.stream.closed():
            return client
