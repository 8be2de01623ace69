"""A clean end with bytes waiting for a slow client: what the result says is what the client gets."""

import asyncio

import pytest
from support.census import leave_all
from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    Key,
    SSEHandler,
    StreamConfig,
    broadcast,
    close_sse,
    send,
    with_connection,
)
from sfere_tornado.dispatch import effect
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing import StreamClient

BRIAN = Key("default", ("lobby", "brian"))

#: Seconds that a clean end waits for the client.
LINGER = 0.5


async def stalled(serve, **settings):
    """Return a hub, its census, a client that does not read, and how much was sent to it."""
    hub = Hub(HubConfig(stream=StreamConfig(linger=LINGER, **settings)))

    class Events(SSEHandler):
        def connection_key(self):
            return ("lobby", self.get_query_argument("name"))

    url = serve(Application([("/events", Events)], sfere=hub))
    census = serve.census(hub)
    client = await StreamClient.open(f"{url}/events?name=brian")
    sent = 0
    while True:
        dispatched = await hub.dispatch(broadcast(BRIAN, send("x" * 60_000, event=f"n{sent}")))
        sent += 1
        if dispatched.results[0].value.waited:
            return hub, census, client, sent


@pytest.mark.gen_test(timeout=20)
async def test_a_slow_client_that_reads_on_gets_the_last_words(serve):
    """Everything that waited comes, then the last words and the request to stay away."""
    hub, census, client, sent = await stalled(serve)
    last = hub.dispatch(broadcast(BRIAN, send("goodbye", event="last")))
    hub.dispatch(with_connection(BRIAN, close_sse()))
    names = []
    while not names or names[-1] != "last":
        names.append((await client.event()).event)
    assert names[-1] == "last"
    assert names[-1 - sent : -1] == [f"n{number}" for number in range(sent)]
    assert await client.ended() is True
    assert client.parser.retry == AWAY
    assert (await asyncio.wait_for(last, 10)).results[0].value.reached == 1
    await leave_all([client])
    await census.empty()


@pytest.mark.parametrize("leaves", [False, True], ids=["cut", "leaves"])
@pytest.mark.gen_test(timeout=20)
async def test_a_slow_client_that_never_reads_them_is_not_reached(serve, leaves):
    """The result waits for the end: the client left, or was cut after ``linger`` seconds."""
    hub, census, client, _ = await stalled(serve)
    last = hub.dispatch(broadcast(BRIAN, send("goodbye", event="last")))
    hub.dispatch(with_connection(BRIAN, close_sse()))
    if leaves:
        client.close()
    result = (await asyncio.wait_for(last, 10)).results[0].value
    assert result.reached == 0
    assert [failure.reason for failure in result.failures] == ["server"]
    await leave_all([client])
    await census.empty()


@pytest.mark.gen_test(timeout=20)
async def test_names_that_cannot_be_told_apart_are_refused(serve, caplog):
    """An unhashable ``conflate`` is an error for the sender; clients get everything else."""
    hub, census, client, _ = await stalled(serve, on_slow="conflate")
    with pytest.raises(TypeError):
        send("9.99", conflate=["price"])
    refused = hub.dispatch(broadcast((ANY, ANY), effect("send", "9.99", {"conflate": ["price"]})))
    await asyncio.wait_for(refused, 5)
    assert refused.results[0].value.errors
    hub.dispatch(broadcast((ANY, ANY), send("still here", event="after")))
    assert (await client.event("after")).data == "still here"
    await leave_all([client])
    await census.empty()
