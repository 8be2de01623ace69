"""A loop that was blocked: what came in meanwhile is read before anything ends."""

import threading
import time
from urllib.parse import urlsplit

import pytest
from support.census import SOAK, leave_all
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import BeatHandler, Hub, HubConfig, SSEHandler, StoreConfig
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import request_bytes


def block(seconds):
    """Do what no callback should do."""
    time.sleep(seconds)  # it is the block that is under test


class Named:
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


class Events(Named, SSEHandler):
    pass


class Beats(Named, BeatHandler):
    pass


@pytest.mark.gen_test(timeout=20)
async def test_beats_that_came_while_the_loop_was_blocked_count(serve):
    """The loop is blocked for longer than a lease: what clients sent meanwhile is read before it ends."""
    ttl, count = 1.0, 10 * SOAK
    config = HubConfig(store=StoreConfig(ttl=ttl, renewed_by={"request"}))
    hub = Hub(config)
    evicted = []
    hub.on_evict(lambda key, connection, cause: evicted.append((key.id, cause)))
    url = serve(Application([("/events", Events), ("/beat", Beats)], sfere=hub))
    census = serve.census(hub)
    clients = [await StreamClient.open(f"{url}/events?name={number}") for number in range(count)]
    beating = [await StreamClient.connect(url) for _ in clients]

    def beat():
        # In the middle of the block, so that leases are renewed before they end.
        time.sleep(0.7)
        for number, client in enumerate(beating):
            request = request_bytes(f"{url}/beat?name={number}", method="POST", body=b" ")
            client.stream.socket.send(request)

    thread = threading.Thread(target=beat)
    thread.start()
    block(1.6)
    thread.join()
    for client in beating:
        await client.read_headers()
        assert client.status == 204
    assert evicted == []
    await leave_all([*clients, *beating])
    await census.empty()


@pytest.mark.gen_test(timeout=20)
async def test_reloads_while_the_loop_was_blocked_are_no_departures(serve):
    """Members that close and open again within their grace are not announced, however late it is read."""
    grace, count = 1.0, 10 * SOAK
    hub = Hub(HubConfig(presence=PresenceConfig(grace=GraceConfig(client=grace))))
    changes = []
    url = serve(Application([("/events", Events)], sfere=hub))
    census = serve.census(hub)
    port = urlsplit(url).port
    clients = [
        await StreamClient.open(f"{url}/events?name={number}&tab=t{number}")
        for number in range(count)
    ]
    await eventually(lambda: len(hub.presence) == count)
    hub.on_presence(lambda change: changes.append((change.kind, change.key.id)))
    again = [await StreamClient.connect(f"http://127.0.0.1:{port}") for _ in clients]
    for client in clients:
        client.close()
    await eventually(lambda: not hub.streams)

    def reopen():
        time.sleep(0.5)  # within the grace
        for number, client in enumerate(again):
            path = f"{url}/events?name={number}&tab=t{number}"
            client.stream.socket.send(request_bytes(path))

    thread = threading.Thread(target=reopen)
    thread.start()
    block(1.7)
    thread.join()
    for client in again:
        await client.read_headers()
    assert [change for change in changes if change[0] in {"left", "joined"}] == []
    await leave_all(again)
    await census.empty()
