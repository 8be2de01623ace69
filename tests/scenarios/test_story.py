"""The story that started the project: two are in a lobby, one leaves, and the other reads it at once."""

import pytest
from support.waiting import eventually
from tornado.web import Application, RequestHandler

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    InterceptorMixin,
    Key,
    SSEHandler,
    StoreConfig,
    broadcast,
    send,
)
from sfere_tornado.testing.stream_client import StreamClient

LOBBY = (ANY, ("lobby", ANY))
BRIAN = Key("default", ("lobby", "brian"))
PHIL = Key("default", ("lobby", "phil"))


class Events(SSEHandler):
    """Streams by name."""

    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


class Message(InterceptorMixin, RequestHandler):
    """Tells everybody."""

    def post(self):
        self.dispatch(broadcast(LOBBY, send(self.get_argument("text"), event="message")))


def sliding_lobby():
    hub = Hub(HubConfig(store=StoreConfig(type="expiring", expiry="sliding", ttl=30.0)))
    evictions = []

    @hub.on_evict
    def left(key, connection, cause):
        evictions.append((key, cause, connection.reason, hub.store.keys()))
        hub.dispatch(broadcast((ANY, (key.category, ANY)), send({"name": key.id}, event="left")))

    return hub, evictions, Application([("/events", Events), ("/message", Message)], sfere=hub)


async def post(url, text):
    async with await StreamClient.open(
        f"{url}/message",
        method="POST",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=f"text={text}".encode(),
    ) as answer:
        assert answer.status == 200
        assert await answer.ended()


@pytest.mark.gen_test
async def test_brian_left(serve):
    """When the first client closes, on_evict is called once, cause explicit, while the second is there to be told."""
    hub, evictions, app = sliding_lobby()
    url = serve(app)
    brian = await StreamClient.open(f"{url}/events?name=brian")
    phil = await StreamClient.open(f"{url}/events?name=phil")
    for n in range(5):
        await post(url, f"message-{n}")
        assert (await brian.event("message")).data == f"message-{n}"
        assert (await phil.event("message")).data == f"message-{n}"

    brian.close()

    assert await phil.json("left") == {"name": "brian"}
    assert evictions == [(BRIAN, "explicit", "client", [PHIL])]
    assert hub.store.keys() == [("default", ("lobby", "phil"))]
    await post(url, "still here")
    assert (await phil.event()).data == "still here"
    assert evictions == [(BRIAN, "explicit", "client", [PHIL])]


@pytest.mark.gen_test
async def test_the_last_one_leaves_an_empty_lobby(serve):
    """The last departure is told too, with nobody remaining."""
    hub, evictions, app = sliding_lobby()
    url = serve(app)
    client = await StreamClient.open(f"{url}/events?name=brian")

    client.reset()
    await eventually(lambda: evictions)

    assert evictions == [(BRIAN, "explicit", "client", [])]
    assert not hub.streams
