"""How long a stream may live, and whose rights end: cut to come back, or told to stay away and nothing more."""

import asyncio

import pytest
from support.logs import raised
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    SSEHandler,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
)
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing import FakeClock, StreamClient

EVERYBODY = (ANY, ANY)

#: Longer than a heartbeat interval and its jitter, in seconds.
INTERVAL = 20


class Lobby:
    """A hub on a clock of the test, and how its streams ended."""

    def __init__(self, serve, *, stream=None, **handler):
        self.clock = FakeClock()
        config = HubConfig(store=StoreConfig(ttl=86_400.0), stream=stream or StreamConfig())
        self.hub = Hub(config, timer=self.clock)
        self.ended = ended = {}

        class Events(SSEHandler):
            def connection_key(self):
                return ("lobby", self.get_query_argument("name", "brian"))

            def on_close(self, connection):
                ended[connection.key.id] = connection.reason

        events = type("Events", (Events,), handler)
        self.url = serve(Application([("/events", events)], sfere=self.hub))

    async def open(self, name="brian"):
        return await StreamClient.open(f"{self.url}/events?name={name}")

    def connection(self, name="brian"):
        (found,) = self.hub.store.connections((ANY, ("lobby", name)))
        return found

    async def pass_time(self, seconds):
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.hub.clock.tick()
            await asyncio.sleep(0)


async def told_to_stay_away(client):
    """Whether a stream has ended cleanly, for good, and without anything but that."""
    clean = await client.ended()
    return clean is True and client.parser.retry == AWAY and await client.quiet(0) == []


@pytest.mark.gen_test
async def test_max_age_brings_every_client_back_once_in_a_while(serve):
    """A stream older than max_age is cut: no last chunk, its usual reconnection time, and nobody is told to stay away."""
    lobby = Lobby(serve, stream=StreamConfig(max_age=3600.0))
    clients = [await lobby.open(str(n)) for n in range(20)]
    await lobby.pass_time(0.79 * 3600)
    assert lobby.ended == {}
    await lobby.pass_time(0.12 * 3600)
    assert 0 < len(lobby.ended) < 20
    await lobby.pass_time(0.1 * 3600)
    assert lobby.ended == dict.fromkeys(map(str, range(20)), "server")
    for client in clients:
        assert await client.ended() is False
        assert client.parser.retry < 5000
    assert (await lobby.open("0")).status == 200


@pytest.mark.gen_test
async def test_rights_with_an_end_end_on_time(serve):
    """``expires_at``, set in on_open, is looked at on the tick, before anything more is written: away, for good."""

    def on_open(self, connection):
        connection.expires_at = self.hub.clock.time() + 300

    lobby = Lobby(serve, on_open=on_open)
    client = await lobby.open()
    await lobby.pass_time(295)
    lobby.hub.dispatch(broadcast(EVERYBODY, send("in time")))
    assert [event.data for event in await client.quiet()] == ["in time"]
    beats = len(client.parser.comments)
    await lobby.pass_time(10)
    assert lobby.ended == {"brian": "revoked"}
    lobby.hub.dispatch(broadcast(EVERYBODY, send("too late")))
    assert await told_to_stay_away(client)
    assert len(client.parser.comments) == beats
    assert lobby.hub.store.keys() == []


@pytest.mark.gen_test
async def test_the_handler_is_asked_whether_the_client_may_stay(serve):
    """``revalidate`` is asked once in each heartbeat interval, also on a busy stream; False ends it, for good, at once.

    Nothing that was sent from the question on reaches who may not stay, and everything who may.
    """
    asked = []

    async def revalidate(self, connection):
        asked.append((connection.key.id, self.request.path))
        seconds[connection.key.id] = second
        await asyncio.sleep(0)
        return (
            connection.key.id != "brian" or len([name for name, _ in asked if name == "brian"]) < 3
        )

    lobby = Lobby(serve, revalidate=revalidate)
    brian, phil = await lobby.open("brian"), await lobby.open("phil")
    seconds = {}
    for second in range(4 * INTERVAL):
        lobby.hub.dispatch(broadcast(EVERYBODY, send(str(second))))
        await lobby.pass_time(1)
        if lobby.ended:
            break
    assert lobby.ended == {"brian": "revoked"}
    assert asked.count(("brian", "/events")) == 3
    assert 2 <= asked.count(("phil", "/events")) <= 4
    lobby.hub.dispatch(broadcast(EVERYBODY, send("for those who may")))
    assert await brian.ended() is True
    assert [event.data for event in await brian.quiet(0)] == [
        str(n) for n in range(seconds["brian"])
    ]
    assert brian.parser.retry == AWAY
    sent = [*map(str, range(second + 1)), "for those who may"]
    assert [event.data for event in await phil.quiet()] == sent


@pytest.mark.gen_test
async def test_a_handler_that_does_not_ask_is_not_asked(serve):
    """Without a revalidate of one's own there is no task for each stream and interval."""
    lobby = Lobby(serve)
    await lobby.open()
    (watched,) = lobby.hub.streams._watch.streams.values()
    assert watched.revalidate is None
    await lobby.pass_time(INTERVAL)
    assert lobby.hub._life.tasks == set()


@pytest.mark.gen_test
async def test_the_question_of_the_base_class_says_yes(serve):
    """A subclass may ask its parent."""

    async def revalidate(self, connection):
        return await SSEHandler.revalidate(self, connection)

    lobby = Lobby(serve, revalidate=revalidate)
    await lobby.open()
    await lobby.pass_time(3 * INTERVAL)
    assert lobby.ended == {}


@pytest.mark.gen_test
async def test_a_question_that_fails_throws_nobody_out(serve, caplog):
    """An exception is logged, the stream stays and gets what is sent, and the next interval asks again."""
    asked = []

    async def revalidate(self, connection):
        asked.append(1)
        if len(asked) < 3:
            raise ConnectionRefusedError
        return False

    lobby = Lobby(serve, revalidate=revalidate)
    client = await lobby.open()
    while len(asked) < 2:
        await lobby.pass_time(1)
    lobby.hub.dispatch(broadcast(EVERYBODY, send("still here")))
    assert (await client.event()).data == "still here"
    assert len(raised(caplog, "ConnectionRefusedError")) == 2
    await lobby.pass_time(INTERVAL)
    assert await told_to_stay_away(client)
    assert lobby.ended == {"brian": "revoked"}


@pytest.mark.gen_test
async def test_a_question_without_an_answer_keeps_nobody_else_waiting(serve):
    """While one is waited for, its stream gets nothing and all others go on; a client that leaves meanwhile has left."""
    answer = asyncio.Event()

    async def revalidate(self, connection):
        if connection.key.id == "phil":
            return True
        await answer.wait()
        return False

    lobby = Lobby(serve, revalidate=revalidate, stream=StreamConfig(revalidate_timeout=60.0))
    brian, stan, phil = [await lobby.open(name) for name in ("brian", "stan", "phil")]
    await lobby.pass_time(INTERVAL)
    assert await brian.quiet() == []
    heard = len(brian.parser.comments)
    lobby.hub.dispatch(broadcast(EVERYBODY, send("on")))
    assert (await phil.event()).data == "on"
    assert await brian.quiet() == []
    stan.close()
    await eventually(lambda: lobby.ended == {"stan": "client"})
    answer.set()
    assert await told_to_stay_away(brian)
    assert len(brian.parser.comments) == heard
    await eventually(lambda: not lobby.hub._life.tasks)
    assert lobby.ended == {"stan": "client", "brian": "revoked"}


@pytest.mark.gen_test
async def test_a_question_that_hangs_is_given_up(serve, caplog):
    """After ``revalidate_timeout`` the hook is cancelled, with a line in the log; its stream stays, and what waited follows."""
    ends = []

    async def revalidate(self, connection):
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(connection.key.id)

    lobby = Lobby(serve, revalidate=revalidate)
    client = await lobby.open()
    while not lobby.connection().state.paused:
        await lobby.pass_time(1)
    lobby.hub.dispatch(broadcast(EVERYBODY, send("first")))
    lobby.hub.dispatch(broadcast(EVERYBODY, send("second")))
    assert await client.quiet() == []
    await lobby.pass_time(10)
    lobby.hub.dispatch(broadcast(EVERYBODY, send("third")))
    assert [(await client.event()).data for _ in range(3)] == ["first", "second", "third"]
    await eventually(lambda: not lobby.hub._life.tasks)
    assert (ends, lobby.ended) == (["brian"], {})
    assert ["has not answered" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.gen_test
async def test_revoking_ends_who_matches_and_nobody_else(serve):
    """``hub.revoke`` ends the streams of a pattern with reason revoked, says how many, and tells their clients to stay away."""
    lobby = Lobby(serve)
    brian, again, phil = (
        await lobby.open("brian"),
        await lobby.open("brian"),
        await lobby.open("phil"),
    )
    lobby.hub.dispatch(broadcast((ANY, ("lobby", "brian")), send("you are banned")))
    assert lobby.hub.revoke((ANY, ("lobby", "brian"))) == 2
    assert lobby.hub.revoke((ANY, ("lobby", "brian"))) == 0
    for client in (brian, again):
        assert (await client.event()).data == "you are banned"
        assert await told_to_stay_away(client)
    assert lobby.ended == {"brian": "revoked"}
    lobby.hub.dispatch(broadcast(EVERYBODY, send("on")))
    assert (await phil.event()).data == "on"
