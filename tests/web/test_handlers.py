"""Event streams on handlers: opening, refusing, closing in every way, and what a failing hook does."""

import asyncio
import json
import logging

import pytest
from support.logs import raised
from support.waiting import eventually
from tornado.web import Application, HTTPError, RequestHandler, authenticated

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    InterceptorMixin,
    SSEHandler,
    SSEMixin,
    StoreConfig,
    StreamConfig,
    broadcast,
    close_sse,
    send,
)
from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing.stream_client import StreamClient, StreamEnded

EVERYBODY = (ANY, ANY)


class Events(SSEHandler):
    """A stream under the name in the query."""

    def connection_key(self):
        return ("lobby", self.get_query_argument("name", "brian"))


def application(handler=Events, config=None, **settings):
    hub = Hub(
        config,
        **{k: v for k, v in settings.items() if k in {"interceptors", "registries", "id_fn"}},
    )
    others = {k: v for k, v in settings.items() if k not in {"interceptors", "registries", "id_fn"}}
    return hub, Application([("/events", handler)], sfere=hub, **others)


@pytest.mark.gen_test
async def test_the_answer_is_an_event_stream(serve):
    """Status, headers and the reconnection time come at once, before any event; nothing marks it as cacheable."""
    hub, app = application(config=HubConfig(stream=StreamConfig(retry=3.0)))
    client = await StreamClient.open(serve(app) + "/events")
    assert client.status == 200
    assert client.headers["Content-Type"] == "text/event-stream"
    assert client.headers["Cache-Control"] == "no-store"
    assert client.headers["X-Accel-Buffering"] == "no"
    assert "Etag" not in client.headers
    assert await client.quiet() == []
    assert 3000 <= client.parser.retry <= 4500
    assert [str(key) for key in hub.store.keys()] == ["default/lobby/brian"]


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.gen_test
async def test_events_arrive_whole_in_both_versions(serve, version):
    """HTTP/1.1 gets chunks, HTTP/1.0 bare bytes that end by closing; a broadcast serves both at once."""
    hub, app = application()
    url = serve(app)
    client = await StreamClient.open(url + "/events?name=a", version=version)
    other = await StreamClient.open(url + "/events?name=b")
    assert ("Transfer-Encoding" in client.headers) == (version == "HTTP/1.1")
    text = "one\ntwo\u2028three\r\n"
    for n in range(3):
        hub.dispatch(broadcast(EVERYBODY, send({"n": n, "text": text}, event="e", id=str(n))))
    for receiver in (client, other):
        for n in range(3):
            event = await receiver.event("e")
            assert event.id == str(n)
            assert json.loads(event.data) == {"n": n, "text": text}
    hub.dispatch(broadcast(EVERYBODY, close_sse()))
    assert await client.ended() is True


@pytest.mark.gen_test
async def test_head_answers_headers_only(serve):
    """HEAD shows what GET would answer and opens nothing."""
    hub, app = application()
    client = await StreamClient.open(serve(app) + "/events", method="HEAD")
    assert client.status == 200
    assert client.headers["Content-Type"] == "text/event-stream"
    assert not hub.streams


@pytest.mark.gen_test
async def test_compression_stays_off_streams(serve):
    """An application that compresses its responses does not compress streams."""
    hub, app = application(compress_response=True)
    client = await StreamClient.open(serve(app) + "/events", headers={"Accept-Encoding": "gzip"})
    hub.dispatch(broadcast(EVERYBODY, send("x" * 5000)))
    assert "Content-Encoding" not in client.headers
    assert (await client.event()).data == "x" * 5000


@pytest.mark.gen_test
async def test_on_open_greets_the_newcomer_first(serve):
    """Effects of on_open go to the new connection before anything else, and may reach the others."""

    class Greeting(Events):
        def on_open(self, connection):
            name = connection.key.id
            return [
                send(f"welcome {name}", event="notice"),
                broadcast(EVERYBODY, send(name, event="joined"), exclude={connection.key}),
            ]

    _, app = application(Greeting)
    url = serve(app)
    first = await StreamClient.open(url + "/events?name=brian")
    assert (await first.event()).data == "welcome brian"
    second = await StreamClient.open(url + "/events?name=phil")
    assert (await second.event()).data == "welcome phil"
    assert (await first.event()).data == "phil"
    assert await second.quiet() == []


@pytest.mark.gen_test
async def test_on_open_may_wait(serve):
    """on_open may be a coroutine function, and return a single effect."""

    class Greeting(Events):
        async def on_open(self, connection):
            await asyncio.sleep(0)
            return send("welcome")

    _, app = application(Greeting)
    client = await StreamClient.open(serve(app) + "/events")
    assert (await client.event()).data == "welcome"


@pytest.mark.gen_test
async def test_on_open_may_promise(serve):
    """A plain on_open may return an awaitable, as a decorated one does."""

    class Greeting(Events):
        def on_open(self, connection):
            async def greeting():
                await asyncio.sleep(0)
                return send("welcome")

            return greeting()

    _, app = application(Greeting)
    client = await StreamClient.open(serve(app) + "/events")
    assert (await client.event()).data == "welcome"


@pytest.mark.parametrize("kind", ["sync", "async", "promised"])
@pytest.mark.gen_test
async def test_a_failing_on_open_cuts_the_stream(serve, kind, caplog):
    """A client that lacks its greeting is cut, so that it comes back; one line in the log, nothing left, others served."""

    class Failing(Events):
        def on_open(self, connection):
            if connection.key.id == "well":
                return
            raise ZeroDivisionError

    class FailingLater(Events):
        async def on_open(self, connection):
            await asyncio.sleep(0)
            if connection.key.id != "well":
                raise ZeroDivisionError

    class Promising(Events):
        def on_open(self, connection):
            return FailingLater.on_open(self, connection)

    hub, app = application({"sync": Failing, "async": FailingLater, "promised": Promising}[kind])
    url = serve(app)
    well = await StreamClient.open(url + "/events?name=well")
    client = await StreamClient.open(url + "/events?name=ill")
    assert await client.ended() is False
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert [key.id for key in hub.store.keys()] == ["well"]
    hub.dispatch(broadcast(EVERYBODY, send("on")))
    assert (await well.event()).data == "on"


@pytest.mark.gen_test
async def test_wrong_effects_of_on_open_are_collected(serve, caplog):
    """Effects that fail are logged; the stream stays open."""

    class Mistaken(Events):
        def on_open(self, connection):
            return [("no_such_effect",), send("and on")]

    _, app = application(Mistaken)
    client = await StreamClient.open(serve(app) + "/events")
    assert (await client.event()).data == "and on"
    assert len(caplog.records) == 1


@pytest.mark.gen_test
async def test_a_stage_refuses_a_stream(serve, caplog):
    """HTTPError of a stage is the answer; nothing was stored, and nobody is told of a departure."""
    closings = []

    def require_user(ctx):
        if ctx.kind == "closing":
            closings.append(ctx.system["sse"])
        elif not ctx.system["request"].headers.get("X-User"):
            raise HTTPError(401)

    class Guarded(Events):
        interceptors = [{"id": "require_user", "before_dispatch": require_user}]

    hub, app = application(Guarded)
    url = serve(app)
    refused = await StreamClient.open(url + "/events")
    assert refused.status == 401
    assert refused.headers["Content-Type"].startswith("text/html")
    assert not hub.streams
    assert hub.store.keys() == []
    assert closings == []

    welcome = await StreamClient.open(url + "/events", headers={"X-User": "brian"})
    assert welcome.status == 200
    welcome.close()
    await eventually(lambda: closings)
    assert closings[0].reason == "client"


@pytest.mark.gen_test
async def test_a_stage_that_halts_keeps_the_stream_closed(serve):
    """A halted opening answers what the stage has prepared."""

    def halt(ctx):
        if ctx.kind != "closing":
            ctx.system["handler"].set_status(204)
            ctx.halt()

    hub, app = application(interceptors=[{"id": "halt", "before_dispatch": halt}])
    assert (await StreamClient.open(serve(app) + "/events")).status == 204
    assert not hub.streams
    assert hub.store.keys() == []


@pytest.mark.parametrize("stage", ["before_effect", "before_action"])
@pytest.mark.gen_test
async def test_a_stage_that_fails_after_storing_leaves_nothing(serve, stage, caplog):
    """Whatever fails between storing and opening takes the connection out again."""

    def fail(ctx):
        raise ZeroDivisionError

    evicted = []
    hub, app = application(interceptors=[{"id": "failing", stage: fail}])
    hub.on_evict(lambda key, connection, cause: evicted.append((key.id, cause)))
    client = await StreamClient.open(serve(app) + "/events")
    if stage == "before_effect":
        assert client.status == 500
        assert evicted == [("brian", "explicit")]
    else:
        assert client.status == 200
        client.close()
        await eventually(lambda: evicted)
    await eventually(lambda: not hub.streams)
    assert hub.store.keys() == []


@pytest.mark.gen_test
async def test_a_key_that_is_no_key_is_an_error(serve, caplog):
    """A connection key with None in it answers 500 and says why, instead of being shared by everybody who lacks a name."""

    class Nameless(SSEHandler):
        def connection_key(self):
            return ("lobby", self.current_user)

    hub, app = application(Nameless)
    assert (await StreamClient.open(serve(app) + "/events")).status == 500
    assert "must not be None" in caplog.text
    assert not hub.streams


@pytest.mark.gen_test
async def test_a_stream_without_a_key_is_open_and_ends(serve):
    """Without a key a stream is not stored; it can still be greeted, and its end is told."""
    ended = []

    class Unnamed(SSEHandler):
        def on_open(self, connection):
            return send("hello")

        def on_close(self, connection):
            ended.append(connection.reason)

    hub, app = application(Unnamed)
    client = await StreamClient.open(serve(app) + "/events")
    assert (await client.event()).data == "hello"
    assert hub.store.keys() == []
    client.close()
    await eventually(lambda: ended == ["client"])
    assert not hub.streams


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.gen_test
async def test_a_close_is_told_once(serve, who):
    """Tornado's hook is called once for a stream, whoever closes; the server then has no request left."""
    told = []

    class Telling(Events):
        def on_connection_close(self):
            told.append(self.request.connection)
            super().on_connection_close()

    hub, app = application(Telling)
    client = await StreamClient.open(serve(app) + "/events")
    if who == "client":
        client.close()
    else:
        hub.dispatch(broadcast((ANY, ANY), close_sse(reconnect=True)))
    await eventually(lambda: told and not hub.streams and len(asyncio.all_tasks()) == 1)
    # A turn in which a second one would come.
    await asyncio.sleep(0)
    assert len(told) == 1


@pytest.mark.gen_test
async def test_on_close_comes_once_after_the_store_has_let_go(serve, caplog):
    """on_close is told once, whatever ended the stream; an exception in it is logged once and loses nothing."""
    ended = []

    class Closing(Events):
        def on_close(self, connection):
            ended.append((connection.key.id, connection.reason, self.hub.store.keys()))
            raise ZeroDivisionError

    hub, app = application(Closing)
    url = serve(app)
    client = await StreamClient.open(url + "/events?name=brian")
    client.close()
    await eventually(lambda: ended)
    other = await StreamClient.open(url + "/events?name=phil")
    hub.store.purge(("default", ("lobby", "phil")))
    assert await other.ended() is True
    assert ended == [("brian", "client", []), ("phil", "server", [])]
    assert len(raised(caplog, "ZeroDivisionError")) == 2


@pytest.mark.gen_test
async def test_an_awaiting_stage_does_not_delay_a_departure(serve):
    """A coroutine function as a stage runs around the opening, and not around the departure."""
    kinds = []

    async def look_up(ctx):
        kinds.append(ctx.kind)
        if ctx.kind == "closing":
            await asyncio.Event().wait()

    class Looking(Events):
        interceptors = [{"id": "slow", "before_dispatch": look_up}]

    hub, app = application(Looking)
    client = await StreamClient.open(serve(app) + "/events")
    client.close()
    await eventually(lambda: not hub.store.keys(), patience=1)
    assert kinds == ["opening"]


@pytest.mark.gen_test
async def test_closing_cleanly_tells_the_client_to_stay_away(serve):
    """close(reconnect=False) sends what waits, the longest reconnection time and the last chunk, then the socket closes."""
    hub, app = application()
    client = await StreamClient.open(serve(app) + "/events")
    hub.dispatch(broadcast(EVERYBODY, send("last words"), close_sse()))
    assert hub.store.keys() == []
    assert (await client.event()).data == "last words"
    assert await client.ended() is True
    assert client.parser.retry == AWAY


@pytest.mark.gen_test
async def test_a_client_that_does_not_close_after_the_end_is_cut(serve):
    """A clean end waits for the client to close, but no longer than ``linger``."""
    hub, app = application(config=HubConfig(stream=StreamConfig(linger=1.0)))
    client = await StreamClient.open(serve(app) + "/events")
    hub.dispatch(broadcast(EVERYBODY, close_sse()))
    assert await client.ended() is True
    with pytest.raises(StreamEnded):
        await client._read(5)


@pytest.mark.gen_test
async def test_cutting_brings_the_client_back(serve):
    """close(reconnect=True) closes the socket without a last chunk."""
    hub, app = application()
    client = await StreamClient.open(serve(app) + "/events")
    hub.dispatch(broadcast(EVERYBODY, close_sse(reconnect=True)))
    assert await client.ended() is False


@pytest.mark.gen_test
async def test_a_full_store_sends_newcomers_away_for_a_while(serve, caplog):
    """At maxsize the answer is 200, a reconnection time and a cut, which brings a browser back; an error would not."""
    hub, app = application(config=HubConfig(store=StoreConfig(maxsize=1)))
    url = serve(app)
    first = await StreamClient.open(url + "/events?name=first")
    refused = await StreamClient.open(url + "/events?name=second")
    assert refused.status == 200
    assert await refused.ended() is False
    assert 2000 <= refused.parser.retry <= 3000
    assert [key.id for key in hub.store.keys()] == ["first"]
    assert [(r.levelname, "maxsize" in r.getMessage()) for r in caplog.records] == [
        ("WARNING", True)
    ]
    first.close()
    await eventually(lambda: not hub.streams)
    assert (await StreamClient.open(url + "/events?name=second")).status == 200


@pytest.mark.gen_test
async def test_a_taken_key_is_409(serve, caplog):
    """With same_key: refuse the newcomer is told to stay away, and the present one stays."""
    hub, app = application(config=HubConfig(store=StoreConfig(same_key="refuse")))
    url = serve(app)
    present = await StreamClient.open(url + "/events")
    assert (await StreamClient.open(url + "/events")).status == 409
    hub.dispatch(broadcast(EVERYBODY, send("still here")))
    assert (await present.event()).data == "still here"


@pytest.mark.gen_test
async def test_replacing_closes_the_old_one_and_keeps_the_new(serve):
    """With same_key: replace the newest wins; the old one is told to stay away, and its late close takes nobody along."""
    evicted = []
    hub, app = application(config=HubConfig(store=StoreConfig(same_key="replace")))
    hub.on_evict(lambda key, connection, cause: evicted.append((cause, connection.reason)))
    url = serve(app)
    old = await StreamClient.open(url + "/events")
    new = await StreamClient.open(url + "/events")
    assert await old.ended() is True
    assert old.parser.retry == AWAY
    old.close()
    hub.dispatch(broadcast(EVERYBODY, send("for the new one")))
    assert (await new.event()).data == "for the new one"
    assert evicted == [("replaced", "replaced")]
    assert hub.store.count() == 1


@pytest.mark.gen_test
async def test_a_client_that_talks_too_much_is_cut(serve):
    """Bytes that a client sends on its open stream are thrown away up to a bound; beyond it the stream is cut."""
    hub, app = application(config=HubConfig(stream=StreamConfig(max_unread=1024)))
    client = await StreamClient.open(serve(app) + "/events")
    await client.send(b"x" * 1000)
    hub.dispatch(broadcast(EVERYBODY, send("fine")))
    assert (await client.event()).data == "fine"
    await client.send(b"x" * 1000)
    assert await client.ended() is False
    assert hub.store.keys() == []


@pytest.mark.gen_test(timeout=20)
async def test_a_client_that_does_not_read_is_cut_at_the_bound(serve):
    """A client whose outbox is full is cut with reason slow; the others get everything."""
    reasons = []

    class Watching(Events):
        def on_close(self, connection):
            reasons.append((connection.key.id, connection.reason))

    hub, app = application(
        Watching, config=HubConfig(stream=StreamConfig(max_outbox=65536, max_event_size=65536))
    )
    url = serve(app)
    slow = await StreamClient.open(url + "/events?name=slow")
    quick = await StreamClient.open(url + "/events?name=quick")
    for n in range(1000):
        told = hub.dispatch(broadcast(EVERYBODY, send("x" * 32768, id=str(n)))).results[0].value
        assert (await quick.event()).id == str(n)
        if told.failures:
            break
    assert reasons == [("slow", "slow")]
    assert [failure.reason for failure in told.failures] == ["slow"]
    assert told.reached == 1
    assert await slow.ended() is False


@pytest.mark.gen_test
async def test_get_may_be_decorated(serve):
    """A subclass overrides get for its decorators and returns super().get()."""

    class Private(Events):
        def get_current_user(self):
            return self.get_query_argument("user", None)

        def get_login_url(self):
            return "/login"

        @authenticated
        def get(self):
            return super().get()

    hub, app = application(Private)
    url = serve(app)
    assert (await StreamClient.open(url + "/events")).status == 302
    assert (await StreamClient.open(url + "/events?user=brian")).status == 200
    assert len(hub.streams) == 1


@pytest.mark.gen_test
async def test_the_mixin_serves_a_hosts_own_base_class(serve):
    """A host's handler and application keep what is theirs; the hub is installed after the fact."""

    class HostHandler(RequestHandler):
        def initialize(self, flavour):
            self.flavour = flavour

    class HostEvents(SSEMixin, HostHandler):
        def on_open(self, connection):
            return send(self.flavour)

    class HostApplication(Application):
        pass

    app = HostApplication([])
    hub = Hub()
    hub.install(app)
    app.add_handlers(".*", [("/events", HostEvents, {"flavour": "vanilla", "interceptors": []})])
    client = await StreamClient.open(serve(app) + "/events")
    assert (await client.event()).data == "vanilla"


@pytest.mark.gen_test
async def test_ordinary_verbs_of_a_stream_handler_run_inside_the_chain(serve):
    """Only the stream's verb is opened in short dispatches; a POST beside it is a request as any other."""

    class Both(Events):
        def post(self):
            self.dispatch(send("to your own stream"))

    _, app = application(Both)
    url = serve(app)
    client = await StreamClient.open(url + "/events")
    answer = await StreamClient.open(url + "/events", method="POST", body=b"x")
    assert answer.status == 200
    assert (await client.event()).data == "to your own stream"
    assert issubclass(Both, InterceptorMixin)


@pytest.mark.gen_test
async def test_scopes_separate_tenants(serve):
    """The scope comes from id_fn; a broadcast to one scope does not reach the other."""
    hub, app = application(id_fn=lambda ctx: ctx.system["request"].headers["X-Tenant"])
    url = serve(app)
    a = await StreamClient.open(url + "/events", headers={"X-Tenant": "a"})
    b = await StreamClient.open(url + "/events", headers={"X-Tenant": "b"})
    hub.dispatch(broadcast(("a", ANY), send("for a")))
    assert (await a.event()).data == "for a"
    assert await b.quiet() == []


@pytest.mark.gen_test
async def test_a_cancelled_stream_ends_quietly(serve):
    """When the loop ends, or a host cancels the request, the stream is cut, purged and nothing is logged."""
    tasks = []

    class Cancelled(Events):
        keep_request = True

        def on_open(self, connection):
            tasks.append(asyncio.current_task())

    hub, app = application(Cancelled)
    client = await StreamClient.open(serve(app) + "/events")
    tasks[0].cancel()
    assert await client.ended() is False
    assert hub.store.keys() == []
    assert tasks[0].cancelled() or tasks[0].done()
