"""Callbacks that end other streams, or the one that is just opening: no closed stream stays stored."""

import asyncio

import pytest
from support.census import leave_all
from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig, close_sse, with_connection
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import StreamEnded

EVERYTHING = (ANY, ANY)

#: Stores in which a newcomer makes another connection leave.
STORES = {
    "replace": StoreConfig(same_key="replace"),
    "evict": StoreConfig(maxsize=1, on_full="evict"),
    "replace, no leases": StoreConfig(type="memory", same_key="replace"),
    "evict, no leases": StoreConfig(type="memory", maxsize=1, on_full="evict"),
}


def revoke(hub):
    hub.revoke(EVERYTHING)


def purge(hub):
    hub.purge(EVERYTHING)


def close(hub):
    for connection in hub.store.connections(EVERYTHING):
        connection.close(reconnect=False)


def cut(hub):
    for connection in hub.store.connections(EVERYTHING):
        connection.close()


def dispatch(hub):
    hub.dispatch(with_connection(EVERYTHING, close_sse()))


async def come(url, name):
    try:
        return await StreamClient.open(f"{url}/events?name={name}")
    except StreamEnded:
        return None


@pytest.mark.parametrize("place", ["on_evict", "joined", "left", "on_open", "on_close"])
@pytest.mark.parametrize("act", [revoke, purge, close, cut, dispatch], ids=lambda act: act.__name__)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.gen_test(timeout=20)
async def test_ending_while_another_is_stored_ends_clean(serve, store, act, place, caplog):
    """Whatever is ended from whichever callback: each entry is an open stream, and all go in the end."""
    grace = GraceConfig(client=0.0, error=0.0, server=0.0, replaced=0.0, revoked=0.0)
    hub = Hub(HubConfig(store=STORES[store], presence=PresenceConfig(grace=grace)))
    evicted, acted = [], []

    def ends(where):
        if where == place and len(acted) < 3:
            acted.append(where)
            act(hub)

    class Events(SSEHandler):
        def connection_key(self):
            return ("user", self.get_query_argument("name"))

        def on_open(self, connection):
            ends("on_open")

        def on_close(self, connection):
            ends("on_close")

    @hub.on_evict
    def left(key, connection, cause):
        evicted.append((key.id, connection))
        ends("on_evict")

    hub.on_presence(lambda change: ends(change.kind))
    url = serve(Application([("/events", Events)], sfere=hub))
    census = serve.census(hub)
    clients = []
    for number in range(6):
        name = "brian" if "replace" in store else f"brian-{number}"
        clients.append(await come(url, name))
        await asyncio.sleep(0)
        stored = hub.store.connections(EVERYTHING)
        assert [connection for connection in stored if connection.closed] == []
        assert set(stored) <= set(hub.streams)
    assert acted or (place == "left" and "replace" in store)
    await leave_all([client for client in clients if client is not None])
    await census.empty()
    assert len(evicted) == len(set(evicted))
