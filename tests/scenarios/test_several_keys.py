"""One stream under several keys: each key's departure has the reason of its own end."""

import pytest
from support.lobby import Events, Lobby, Page, key
from support.waiting import eventually

from sfere_tornado import Key, StoreConfig
from sfere_tornado.config import CategoryRules


def table(name):
    return Key("default", ("table", name))


@pytest.mark.gen_test(timeout=20)
async def test_a_lease_of_one_key_ends_for_that_reason(serve):
    """A second key whose lease ends is told as expired, and the stream with its first key stays."""
    store = StoreConfig(
        ttl=86_400.0, close_on_evict=False, categories={"table": CategoryRules(ttl=60.0)}
    )
    lobby = Lobby(Events, store=store)
    lobby.url = serve(lobby.app)
    brian = await lobby.enter("brian", tab="t1")
    [connection] = lobby.hub.store.connections(key("brian"))
    evicted = []
    lobby.hub.on_evict(lambda left, connection, cause: evicted.append((left.category, cause)))
    lobby.hub.store.put(table("brian"), connection)
    lobby.pass_time(61)
    assert evicted == [("table", "expired")]
    assert lobby.state("brian") == "here"
    left = [(kind, reason) for kind, _, reason, _ in lobby.changes if kind == "left"]
    assert left in ([], [("left", "expired")])
    brian.close()
    await eventually(lambda: not lobby.hub.streams)


@pytest.mark.gen_test(timeout=20)
async def test_a_tab_that_replaces_a_stream_of_several_keys_has_not_left(serve):
    """The stream that it replaces had two keys; the others read neither a departure nor an arrival."""
    lobby = Lobby(Events, store=StoreConfig(ttl=86_400.0, same_key="replace"))
    lobby.url = serve(lobby.app)
    phil = await lobby.enter("phil", tab="p1")
    page = Page().take([await phil.event("presence_state")])
    first = await lobby.enter("brian", tab="t1")
    [connection] = lobby.hub.store.connections(key("brian"))
    lobby.hub.store.put(table("brian"), connection)
    page.take(await phil.quiet())
    lobby.changes.clear()
    second = await lobby.enter("brian", tab="t1")
    assert lobby.hub.store.keys_of(connection) == (table("brian"),)
    page.take(await phil.quiet())
    assert [change for change in lobby.changes if change[0] in {"left", "joined"}] == []
    assert page.left == []
    assert page.joined == ["brian"]
    assert lobby.state("brian") == "here"
    for client in (first, second, phil):
        client.close()
    await eventually(lambda: not lobby.hub.streams)
