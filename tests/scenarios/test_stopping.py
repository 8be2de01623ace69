"""SIGTERM to a process with two thousand streams: everybody is told, nobody comes back in a crowd, and the end comes in time."""

import asyncio
import signal
import time

import pytest
from support.server import ServerProcess

from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import StreamEnded, request_bytes

#: Streams that are open when the signal comes.
STREAMS = 2000

#: A server whose hooks do what its first argument says, for the client ``ill``; window and time-out are the others.
SERVER = """
import asyncio, logging, sys, time
from tornado.web import Application, RequestHandler
from sfere_tornado import Hub, HubConfig, LimitsConfig, Registry, SSEHandler, send

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
hook, window, timeout, lame_duck, closing = sys.argv[1], *map(float, sys.argv[2:])
registry = Registry("mine")

@registry.effect("wait")
async def wait(ctx):
    await asyncio.Event().wait()

# A system that lets it have fewer files than that would be told of in the log.
hub = Hub(HubConfig(limits=LimitsConfig(total=5000)), registries=[registry])

class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

    async def on_open(self, connection):
        if connection.key.id != "ill":
            return
        if hook == "on_open":
            await asyncio.Event().wait()
        if hook == "dispatch":
            self.hub.dispatch(("wait",))
        while hook == "stubborn":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    def on_close(self, connection):
        if hook == "on_close" and connection.key.id == "ill":
            time.sleep(3600)

class Block(RequestHandler):
    def get(self):
        time.sleep(3600)

class Kept(RequestHandler):
    def get(self):
        self.set_status(204)

class Ready(RequestHandler):
    def get(self):
        self.set_status(200 if hub.ready else 503)

async def main():
    app = Application([("/events", Events), ("/block", Block), ("/kept", Kept), ("/ready", Ready)])
    print(hub.listen(app, 0), flush=True)
    farewell = send("goodbye", event="farewell")
    await hub.run_until_signal(window=window, timeout=timeout, farewell=farewell, lame_duck=lame_duck)
    # What an application closes itself, such as a pool of databases.
    await asyncio.sleep(closing)
    if closing:
        print("closed", flush=True)

asyncio.run(main())
"""


class Server(ServerProcess):
    """The server as a process of its own."""

    def __init__(self, hook, window, timeout, *, lame_duck=0, closing=0):
        super().__init__(SERVER, hook, window, timeout, lame_duck, closing)

    async def crowd(self, count):
        clients = []
        for first in range(0, count, 100):
            names = ["ill" if n == 0 else str(n) for n in range(first, min(first + 100, count))]
            clients += await asyncio.gather(
                *(StreamClient.open(f"{self.url}/events?name={name}") for name in names)
            )
        return clients

    def stop(self, number=signal.SIGTERM):
        """Send a signal; returns when."""
        self.signal(number)
        return time.monotonic()

    async def ended_since(self, began):
        """Return the exit code, and how long after the signal it came."""
        code = await self.ended()
        return code, time.monotonic() - began


async def farewell_of(client):
    """Read to the end; returns the events, and when the end came."""
    with pytest.raises(StreamEnded) as caught:  # noqa: PT012  # the reading ends with it
        events = []
        while True:
            events.append(await client.event(timeout=25))
    assert caught.value.clean is False
    return [(event.event, event.data) for event in events], time.monotonic()


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["none", "on_open", "dispatch", "stubborn", "on_close"])
@pytest.mark.gen_test(timeout=60)
async def test_sigterm_with_two_thousand_streams(io_loop, hook):
    """In time and with exit code 0, whatever hook never returns; everybody got farewell and a time to come back of his own."""
    window, timeout = 2.0, 4.0
    async with Server(hook, window, timeout) as server:
        clients = await server.crowd(STREAMS)
        kept = await StreamClient.connect(server.url)
        began = server.stop()
        farewells = await asyncio.gather(*map(farewell_of, clients))
        code, took = await server.ended_since(began)
        kept.close()

    assert code == 0
    assert took <= timeout + 1
    if hook in ("none", "on_open"):
        # Nothing is waited for that nobody could wait for.
        assert took <= window + 1
    # Also the one that is still being greeted when it is cut.
    assert [events for events, _ in farewells] == [[("farewell", "goodbye")]] * STREAMS
    retries = sorted(client.parser.retry / 1000 for client in clients)
    assert retries[0] >= 2
    assert retries[-1] <= 2 + window
    if hook != "on_close":
        ends = [when - began for _, when in farewells]
        assert min(ends) < window / 2
        assert max(ends) <= window + 1
        # When they come back: no tenth of the time sees a third of them.
        returns = sorted(
            end + client.parser.retry / 1000 for end, client in zip(ends, clients, strict=True)
        )
        tenth = (returns[-1] - returns[0]) / 10
        buckets = [
            sum(begin <= when < begin + tenth for when in returns)
            for begin in returns[:: STREAMS // 50]
        ]
        assert max(buckets) < STREAMS / 3
    else:
        # From the blocked hook on nobody is cut one by one: all of them are when the process ends.
        assert timeout <= took
    if hook in {"stubborn", "on_close"}:
        # What kept the process from ending is said, in one line.
        assert server.log.count("\n") == 1
        assert "because its time is over; tasks left: " in server.log
    else:
        assert server.log == ""


@pytest.mark.gen_test(timeout=30)
async def test_a_second_signal_ends_at_once(io_loop):
    """Neither the window nor a hook that waits is waited for any longer; the exit code is 0 all the same."""
    async with Server("dispatch", 60, 60) as server:
        clients = await server.crowd(100)
        server.stop()
        assert [(await client.event()).data for client in clients[-3:]] == ["goodbye"] * 3
        began = server.stop(signal.SIGINT)
        code, took = await server.ended_since(began)
        assert (code, server.log) == (0, "")
        assert took < 1


@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.gen_test(timeout=30)
async def test_a_loop_that_was_blocked_before_the_signal_ends_too(io_loop, signals):
    """The signal finds a hook that has the loop for itself: the time-out counts from then on, and a second signal ends at once."""
    async with Server("none", 0.2, 1.0) as server:
        await server.crowd(10)
        blocker = await StreamClient.connect(server.url)
        await blocker.send(request_bytes(server.url + "/block"))
        await asyncio.sleep(0.3)  # until it is blocked; nothing can tell
        began = server.stop()
        if signals == 2:
            await asyncio.sleep(0.1)  # or the two would be one
            server.stop()
        code, took = await server.ended_since(began)
        blocker.close()
        assert code == 0
        assert took <= (0.1 + 0.8 if signals == 2 else 2.0)
        assert ("because its time is over" in server.log) == (signals == 1)


@pytest.mark.gen_test(timeout=30)
async def test_newcomers_during_the_drain_are_sent_away(io_loop):
    """Nobody new can connect; who asks on a connection that is open gets 200, a time to come back, and a cut."""
    async with Server("none", 5.0, 10.0) as server:
        clients = await server.crowd(50)
        kept = await StreamClient.open(server.url + "/kept")
        assert kept.status == 204
        began = server.stop()
        await clients[1].event("farewell")
        with pytest.raises(OSError):  # refused, or reset: as the kernel likes
            await StreamClient.open(server.url + "/events?name=late")
        await kept.send(request_bytes(server.url + "/events?name=late"))
        await kept.read_headers()
        assert (kept.status, kept.headers["Content-Type"]) == (200, "text/event-stream")
        assert await kept.ended() is False
        assert 2000 <= kept.parser.retry <= 3000
        code, _ = await server.ended_since(began)
        assert (code, server.log) == (0, "")


async def status(url):
    async with await StreamClient.open(url) as answer:
        return answer.status


@pytest.mark.gen_test(timeout=30)
async def test_who_is_being_greeted_for_ever_is_told_farewell(io_loop):
    """A stream whose on_open never returns gets farewell and reconnection time, as last words, before it is cut."""
    async with Server("on_open", 0.2, 5.0) as server:
        ill = await StreamClient.open(server.url + "/events?name=ill")
        assert 2000 <= ill.parser.retry <= 3000
        server.stop()
        events, _ = await farewell_of(ill)
        assert events == [("farewell", "goodbye")]
        assert 2000 <= ill.parser.retry <= 2200
        assert (await server.ended(), server.log) == (0, "")


@pytest.mark.gen_test(timeout=30)
async def test_what_the_application_closes_afterwards_has_its_own_time(io_loop):
    """A drain that left nothing behind calls off what would end the process after the time-out."""
    async with Server("none", 0.1, 0.5, closing=2.0) as server:
        await server.crowd(10)
        began = server.stop()
        assert (await server.process.stdout.readline()).strip() == b"closed"
        code, took = await server.ended_since(began)
        assert (code, server.log) == (0, "")
        assert took >= 2


@pytest.mark.gen_test(timeout=30)
async def test_a_lame_duck_takes_newcomers_and_says_that_it_is_not_ready(io_loop):
    """After the signal a load balancer is told first; whoever it sends meanwhile is served, and drained with the others."""
    async with Server("none", 0.2, 10.0, lame_duck=1.0) as server:
        assert await status(server.url + "/ready") == 200
        early = await StreamClient.open(server.url + "/events?name=early")
        began = server.stop()
        while await status(server.url + "/ready") == 200:  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(0.01)
        late = await StreamClient.open(server.url + "/events?name=late")
        for client in (early, late):
            events, when = await farewell_of(client)
            assert events == [("farewell", "goodbye")]
            assert when - began >= 1
        code, took = await server.ended_since(began)
        assert (code, server.log) == (0, "")
        assert 1 <= took < 3
