"""Clients leave in twelve ways, over real sockets; nobody stays behind, and nobody leaves twice."""

import asyncio
import time
from statistics import quantiles

import pytest
from support.census import leave_all
from support.leaving import WAYS, Departures, leave_in_every_way
from support.waiting import eventually
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig
from sfere_tornado.testing.stream_client import StreamClient

ALL = (ANY, ("lobby", ANY))


def lobby(departures):
    """Return an application that keeps book of who was stored and who left."""
    hub = Hub(HubConfig(store=StoreConfig(maxsize=100_000)))

    class Events(SSEHandler):
        stream_verbs = frozenset({"GET", "POST"})

        def connection_key(self):
            return ("lobby", self.get_query_argument("name"))

        def on_open(self, connection):
            departures.stores(connection.key.id)

        async def post(self):
            await self.open_stream()

    class Slow(Events):
        async def prepare(self):
            await asyncio.sleep(
                0.01
            )  # what a look-up of a session takes; the client leaves meanwhile

    @hub.on_evict
    def left(key, connection, cause):
        assert cause == "explicit"
        departures.leaves(key.id)

    return hub, Application([("/events", Events), ("/slow", Slow)], sfere=hub)


def textbook(departures):
    """Return the handler that everybody writes: registered in ``get``, removed in ``on_connection_close``."""
    registry = set()

    class Events(RequestHandler):
        async def get(self):
            self.name = self.get_query_argument("name")
            self.set_header("Content-Type", "text/event-stream")
            registry.add(self)
            departures.stores(self.name)
            self.released = asyncio.Event()
            await self.flush()
            await self.released.wait()

        post = get

        def on_connection_close(self):
            registry.discard(self)
            if hasattr(self, "released"):
                departures.leaves(self.name)
                self.released.set()

    class Slow(Events):
        async def prepare(self):
            await asyncio.sleep(0.01)  # as above

    return registry, Application([("/events", Events), ("/slow", Slow)])


def wrongly_left(departures, ways=WAYS):
    """Return the names of those who were stored and did not leave once, or who left without having been there."""
    stored = set(departures.stored)
    twice_or_never = {name for name in stored if len(departures.left.get(name, [])) != 1}
    return twice_or_never | (set(departures.left) - stored)


@pytest.mark.gen_test(timeout=60)
async def test_the_battery_is_red_on_a_textbook_handler(serve, caplog):
    """The battery finds ghosts where there are some."""
    departures = Departures()
    registry, app = textbook(departures)
    url = serve(app)

    await leave_in_every_way(url, each=10)
    await asyncio.sleep(0.3)  # long enough for every leave that was going to be noticed

    assert len(registry) >= 30
    assert len(wrongly_left(departures)) >= 30
    for handler in list(registry):
        handler.on_connection_close()
        handler.request.connection.stream.close()


@pytest.mark.parametrize("transport", ["plain", "tls"])
@pytest.mark.gen_test(timeout=120)
async def test_1200_clients_leave_in_twelve_ways(serve, transport, server_tls, client_tls, caplog):
    """Of 1,200 clients, 100 a way, each one who came has left exactly once, and nothing is left behind."""
    departures = Departures()
    hub, app = lobby(departures)
    tls = transport == "tls"
    url = serve(app, ssl_options=server_tls if tls else None)
    census = serve.census(hub)

    left_at, clients = await leave_in_every_way(
        url, each=100, ssl_options=client_tls if tls else None
    )
    await eventually(lambda: not hub.streams and not len(hub.store))
    for client in clients:
        client.close()
    await census.empty()

    must_have_come = {
        name
        for name in left_at
        if any(name.startswith(f"{way.name}-") for way in WAYS if way.opened)
    }
    assert len(left_at) == 1200
    assert must_have_come <= set(departures.stored)
    assert len(departures.stored) == len(set(departures.stored))
    assert wrongly_left(departures) == set()
    assert hub.store.keys() == []
    # A client that has ended only its sending side reads the server's answer to that: its own stream logs it.
    assert [
        r
        for r in caplog.records
        if r.levelname != "INFO" and "TLSV1_ALERT_DECODE_ERROR" not in r.getMessage()
    ] == []


@pytest.mark.gen_test(timeout=120)
async def test_a_departure_is_known_within_50_ms(serve):
    """With 1,000 streams open, 99 of 100 departures are known after 50 ms at the latest, in each way that can be timed."""
    departures = Departures()
    hub, app = lobby(departures)
    url = serve(app)
    census = serve.census(hub)
    stay = []
    for first in range(0, 1000, 50):
        names = range(first, first + 50)
        stay += await asyncio.gather(
            *(StreamClient.open(f"{url}/events?name=resident-{n}") for n in names)
        )

    left_at, clients = await leave_in_every_way(url, each=10, at_once=2)
    await eventually(lambda: len(hub.streams) == 1000)

    waits = sorted(
        departures.left[name][0] - left_at[name] for name in left_at if name in departures.left
    )
    p50, p99 = quantiles(waits, n=100)[49], quantiles(waits, n=100)[98]
    print(
        f"\n1,000 streams open, {len(waits)} departures: known after p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
    )
    assert p99 <= 0.05
    assert hub.store.count(ALL) == 1000
    began = time.perf_counter()
    for client in stay:
        client.close()
    await eventually(lambda: not hub.streams)
    print(f"1,000 closed at once: all known after {(time.perf_counter() - began) * 1e3:.0f} ms")
    await leave_all(clients)
    await census.empty()
