"""What opening a stream meets: clients that leave meanwhile, tasks that are cancelled, missed events, compression."""

import asyncio
import zlib

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    Registry,
    SSEHandler,
    StreamConfig,
    broadcast,
    close_sse,
    send,
)
from sfere_tornado.config import HistoryConfig
from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.parser import Parser

EVERYBODY = (ANY, ANY)
LOBBY = (ANY, ("lobby", ANY))


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name", "brian"))


def application(handler=Events, **config):
    hub = Hub(HubConfig(**config))
    return hub, Application([("/events", handler)], sfere=hub)


async def resume(url, last):
    return await StreamClient.open(url + "/events", headers={"Last-Event-ID": last})


# -- leaving and being cancelled meanwhile


@pytest.mark.gen_test
async def test_a_client_that_left_before_its_turn_opens_nothing(serve):
    """Gone while ``prepare`` is awaited: that is cancelled, no stage runs, nothing is stored."""
    ran, go_on, begun = [], asyncio.Event(), []

    class Slow(Events):
        interceptors = [{"id": "watching", "before_dispatch": lambda ctx: ran.append(ctx.actions)}]

        async def prepare(self):
            begun.append((asyncio.current_task(), self.request.connection.stream))
            await go_on.wait()
            ran.append("prepared")

    hub, app = application(Slow)
    client = await StreamClient.connect(serve(app))
    await client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: begun)
    ((task, stream),) = begun
    client.close()
    await eventually(stream.closed)
    await eventually(task.done)
    assert not go_on.is_set()
    assert (ran, len(hub.streams), hub.store.keys(), hub.streams.admission.total) == (
        [],
        0,
        [],
        0,
    )


@pytest.mark.gen_test
async def test_a_client_that_leaves_while_its_greeting_is_prepared_has_left_once(serve):
    """What ``on_open`` promises comes too late, is written to nobody, and is no error."""
    ended, go_on, tasks = [], asyncio.Event(), []

    class Slow(Events):
        async def on_open(self, connection):
            tasks.append(asyncio.current_task())
            await go_on.wait()
            return send("too late")

        def on_close(self, connection):
            ended.append(connection.reason)

    hub, app = application(Slow)
    client = await StreamClient.open(serve(app) + "/events")
    client.close()
    await eventually(lambda: ended)
    go_on.set()
    await eventually(tasks[0].done)
    assert (ended, len(hub.streams), hub.store.keys()) == (["client"], 0, [])


@pytest.mark.gen_test
async def test_a_request_that_is_cancelled_while_a_stage_waits_opens_nothing(serve, caplog):
    """A host gives up on a request before there is a stream: its place is free, and nobody was told of it."""
    tasks = []

    async def wait(ctx):
        if ctx.kind != "closing":
            tasks.append(asyncio.current_task())
            await asyncio.Event().wait()

    class Waiting(Events):
        interceptors = [{"id": "waiting", "before_dispatch": wait}]

    hub, app = application(Waiting)
    client = await StreamClient.connect(serve(app))
    await client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: tasks)
    assert hub.streams.admission.total == 1
    tasks[0].cancel()
    await eventually(lambda: hub.streams.admission.total == 0)
    assert (len(hub.streams), hub.store.keys()) == (0, [])
    client.close()


# -- the handler's own stream


@pytest.mark.gen_test
async def test_an_open_stream_is_its_handlers_connection(serve):
    """After the opening too, a dispatch of the handler goes to its own stream."""
    handlers = []

    class Remembered(Events):
        def on_open(self, connection):
            handlers.append(self)

    _, app = application(Remembered)
    url = serve(app)
    brian = await StreamClient.open(url + "/events?name=brian")
    phil = await StreamClient.open(url + "/events?name=phil")
    first = handlers[0]
    await eventually(lambda: first._context is None)
    assert first.connection.key.id == "brian"
    first.dispatch(send("for you alone"))
    assert (await brian.event()).data == "for you alone"
    assert await phil.quiet() == []


@pytest.mark.gen_test
async def test_a_tab_is_what_its_query_says(serve):
    """The name of a tab is taken where it can be kept; by default presence is told of nothing else."""
    handlers = []

    class Remembered(Events):
        def on_open(self, connection):
            handlers.append(self)

    _, app = application(Remembered)
    url = serve(app)
    for query in ("?tab=t1", "?tab=", "", "?tab=" + "x" * 10_000, "?tab=a%0Ab"):
        await StreamClient.open(url + "/events" + query)
    assert [handler.presence_meta() for handler in handlers] == [{"tab": "t1"}, {}, {}, {}, {}]


# -- what was missed


@pytest.mark.gen_test
async def test_a_client_that_comes_back_gets_what_it_missed_first(serve):
    """Missed events, then the greeting, then the present; each once."""

    class Greeting(Events):
        def on_open(self, connection):
            return send("welcome back", event="notice")

    hub, app = application(Greeting, history=HistoryConfig())
    url = serve(app)
    client = await StreamClient.open(url + "/events")
    hub.dispatch(broadcast(LOBBY, send("one")))
    await client.event("message")
    client.close()
    await eventually(lambda: not hub.streams)
    for text in ("two", "three"):
        hub.dispatch(broadcast(LOBBY, send(text)))
    back = await resume(url, client.parser.last_event_id)
    hub.dispatch(broadcast(LOBBY, send("four")))
    assert [(await back.event()).data for _ in range(4)] == ["two", "three", "welcome back", "four"]


def dictation(steps):
    """Return a registry with an effect that says one word after the other, each when its step has come."""
    registry = Registry("dictation")

    @registry.effect
    async def dictate(ctx):
        for number, step in enumerate(steps):
            await step.wait()
            ctx.dispatch(send(f"word {number}"))

    return registry


@pytest.mark.gen_test
async def test_a_greeting_is_read_as_it_is_made(serve):
    """Behind a replay too, text that is made word by word arrives so; what is sent to everybody waits for its end."""
    steps = [asyncio.Event() for _ in range(3)]

    class Dictating(Events):
        def on_open(self, connection):
            return ("dictate",)

    hub = Hub(HubConfig(history=HistoryConfig()), registries=[dictation(steps)])
    url = serve(Application([("/events", Dictating)], sfere=hub))
    client = await resume(url, hub.history.cursor())
    for number, step in enumerate(steps):
        hub.dispatch(broadcast(LOBBY, send(f"meanwhile {number}")))
        step.set()
        assert (await client.event()).data == f"word {number}"
    assert [(await client.event()).data for _ in steps] == [
        f"meanwhile {number}" for number in range(3)
    ]


@pytest.mark.gen_test
async def test_who_leaves_during_a_greeting_has_left_while_it_goes_on(serve):
    """The departure is known at once, the effect goes on to its end, and what it sends then is no error."""
    steps = [asyncio.Event() for _ in range(3)]

    class Dictating(Events):
        async def on_open(self, connection):
            return ("dictate",)

    hub = Hub(registries=[dictation(steps)])
    client = await StreamClient.open(
        serve(Application([("/events", Dictating)], sfere=hub)) + "/events"
    )
    steps[0].set()
    assert (await client.event()).data == "word 0"
    client.close()
    await eventually(lambda: not hub.streams)
    assert hub.store.keys() == []
    steps[1].set()
    await eventually(lambda: len(hub._life.tasks) == 1)
    steps[2].set()
    await eventually(lambda: not hub._life.tasks)


@pytest.mark.gen_test
async def test_a_greeting_may_end_the_stream_before_it_is_over(serve):
    """The stream ends when that is asked for, not when the effect that asked has come to its end."""
    registry, go_on = Registry("ending"), asyncio.Event()

    @registry.effect
    async def refuse(ctx):
        ctx.dispatch([send("no"), close_sse()])
        await go_on.wait()

    class Refusing(Events):
        async def on_open(self, connection):
            return ("refuse",)

    hub = Hub(registries=[registry])
    client = await StreamClient.open(
        serve(Application([("/events", Refusing)], sfere=hub)) + "/events"
    )
    assert (await client.event()).data == "no"
    await eventually(lambda: not hub.streams)
    go_on.set()
    await eventually(lambda: not hub._life.tasks)


@pytest.mark.parametrize("snapshot", [None, "plain", "awaited"])
@pytest.mark.gen_test
async def test_a_gap_is_told_and_may_be_filled(serve, snapshot):
    """Of an id that is none nobody knows what was missed: by default only the present follows, or the application's snapshot."""

    class Filling(Events):
        def on_gap(self, connection, reason):
            if snapshot is None:
                return super().on_gap(connection, reason)
            return self.later(reason) if snapshot == "awaited" else send(reason, event="snapshot")

        async def later(self, reason):
            await asyncio.sleep(0)
            return send(reason, event="snapshot")

    hub, app = application(Filling, history=HistoryConfig())
    url = serve(app)
    await StreamClient.open(url + "/events?name=phil")
    hub.dispatch(broadcast(LOBBY, send("kept")))
    client = await resume(url, "nonsense")
    assert await client.json("gap") == {"reason": "garbage"}
    hub.dispatch(broadcast(LOBBY, send("now")))
    expected = [] if snapshot is None else [("snapshot", "garbage")]
    received = [(event.event, event.data) for event in await client.quiet()]
    assert received == [*expected, ("message", "now")]


@pytest.mark.gen_test
async def test_a_client_that_leaves_during_its_replay_has_left(serve):
    """The replay stops where the client was, and is no error."""

    class Slow(Events):
        async def on_gap(self, connection, reason):
            left = asyncio.get_running_loop().create_future()
            self.hub.on_evict(lambda key, connection, cause: left.done() or left.set_result(None))
            client.close()
            await left
            return send("too late")

    hub, app = application(Slow, history=HistoryConfig())
    client = await StreamClient.connect(serve(app))
    await client.send(b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: nonsense\r\n\r\n")
    await eventually(client.stream.closed)
    await eventually(lambda: not hub.streams)
    assert hub.store.keys() == []


# -- compression


@pytest.mark.gen_test
async def test_a_compressed_category_is_compressed_for_who_can_read_it(serve):
    """Gzip over HTTP/1.1 for who accepts it, plain for others; caches and proxies are told that the answers differ."""
    hub, app = application(stream=StreamConfig(compress={"lobby"}))
    url = serve(app)
    packed = await StreamClient.open(url + "/events", headers={"Accept-Encoding": "gzip"})
    plain = await StreamClient.open(url + "/events", headers={"Accept-Encoding": "identity"})
    old = await StreamClient.open(
        url + "/events", headers={"Accept-Encoding": "gzip"}, version="HTTP/1.0"
    )
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Cache-Control"] == "no-store, no-transform"
    for client in (plain, old):
        assert "Content-Encoding" not in client.headers
        assert client.headers["Cache-Control"] == "no-store"
    assert {client.headers["Vary"] for client in (packed, plain, old)} == {"Accept-Encoding"}
    data = [b""]
    packed.parser.feed = lambda body: data.append(body) or []
    hub.dispatch(broadcast(EVERYBODY, send("hello " * 100)))
    for client in (plain, old):
        assert (await client.event()).data == "hello " * 100
    await packed.quiet()
    assert len(b"".join(data)) < 300


@pytest.mark.gen_test
async def test_a_compressed_stream_is_read_by_a_decoder(serve):
    """What a compressed client gets is one gzip stream, from its first byte: reconnection time, then events."""
    hub, app = application(stream=StreamConfig(compress={"lobby"}))
    client = await StreamClient.connect(serve(app))
    await client.send(b"GET /events HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
    await eventually(lambda: hub.streams)
    hub.dispatch(broadcast(EVERYBODY, send("hello")))
    hub.dispatch(broadcast(EVERYBODY, send("again")))
    await client.stream.read_until(b"\r\n\r\n")
    decoder, parser, events = zlib.decompressobj(wbits=31), Parser(), []
    while len(events) < 2:
        size = int(await client.stream.read_until(b"\r\n"), 16)
        chunk = await client.stream.read_bytes(size + 2)
        events += parser.feed(decoder.decompress(chunk[:-2]))
    assert [event.data for event in events] == ["hello", "again"]
    assert 2000 <= parser.retry <= 3000
    client.close()


@pytest.mark.gen_test
async def test_another_category_is_not_compressed(serve):
    """Only what the settings name is; what is one person's secret never shares a context."""
    hub, app = application(stream=StreamConfig(compress={"news"}))
    client = await StreamClient.open(serve(app) + "/events", headers={"Accept-Encoding": "gzip"})
    assert ("Content-Encoding" in client.headers, "Vary" in client.headers) == (False, False)
    hub.dispatch(broadcast(EVERYBODY, send("plain")))
    assert (await client.event()).data == "plain"
