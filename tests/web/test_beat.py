"""The client's own sign of life: a small POST that renews the lease of its stream."""

import asyncio

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler, StoreConfig
from sfere_tornado.testing import FakeClock, StreamClient
from sfere_tornado.web.signs import BeatHandler


class Named:
    def connection_key(self):
        name = self.get_query_argument("name", None)
        return None if name is None else ("lobby", name)


class Events(Named, SSEHandler):
    pass


class Beat(Named, BeatHandler):
    pass


def lobby(**store):
    clock = FakeClock()
    hub = Hub(HubConfig(store=StoreConfig(ttl=60.0, renewed_by={"request"}, **store)), timer=clock)
    return hub, clock, Application([("/events", Events), ("/beat", Beat)], sfere=hub)


async def beat(url, name=None, method="POST"):
    query = "" if name is None else f"?name={name}"
    async with await StreamClient.open(
        f"{url}/beat{query}",
        method=method,
        headers={"Content-Length": "0"} if method == "POST" else {},
    ) as answer:
        return answer.status, answer.body


async def pass_time(hub, clock, seconds):
    for _ in range(seconds):
        clock.advance(1)
        hub.clock.tick()
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_a_beat_renews_the_lease(serve):
    """Who beats stays for as long as it does; who does not is gone when its lease ends, whatever its kernel says."""
    hub, clock, app = lobby()
    url = serve(app)
    beating = await StreamClient.open(url + "/events?name=beating")
    silent = await StreamClient.open(url + "/events?name=silent")
    for _ in range(10):
        await pass_time(hub, clock, 20)
        assert await beat(url, "beating") == (204, b"")
    assert [key.id for key in hub.store.keys()] == ["beating"]
    assert await silent.ended() is False
    assert await beating.quiet() == []
    assert beating.clean is None
    await pass_time(hub, clock, 60)
    assert await beating.ended() is False


@pytest.mark.gen_test
async def test_a_beat_without_a_stream_says_so(serve, caplog):
    """404: the client should open one; neither somebody else's stream nor its own that has ended counts."""
    hub, _, app = lobby()
    url = serve(app)
    client = await StreamClient.open(url + "/events?name=brian")
    assert (await beat(url, "phil"))[0] == 404
    assert (await beat(url))[0] == 404
    client.close()
    await eventually(lambda: not hub.streams)
    assert (await beat(url, "brian"))[0] == 404


@pytest.mark.gen_test
async def test_only_a_post_is_a_beat(serve, caplog):
    """A GET, which any page can cause, renews nothing."""
    _, _, app = lobby()
    url = serve(app)
    await StreamClient.open(url + "/events?name=brian")
    assert (await beat(url, "brian", method="GET"))[0] == 405


@pytest.mark.gen_test
async def test_a_beat_renews_every_tab(serve):
    """Two streams under one key live by the same beat."""
    hub, clock, app = lobby()
    url = serve(app)
    for _ in range(2):
        await StreamClient.open(url + "/events?name=brian")
    for _ in range(4):
        await pass_time(hub, clock, 30)
        assert (await beat(url, "brian"))[0] == 204
    assert hub.store.count() == 2
