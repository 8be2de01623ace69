"""Verb methods that return effects or HTML: streams, 204, signals, and what is refused."""

import asyncio
import gc
import json
import weakref
from functools import partial
from urllib.parse import quote

import pytest
from support.logs import raised
from support.waiting import eventually
from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import (
    ANY,
    Connection,
    Hub,
    HubConfig,
    Registry,
    StoreConfig,
    StreamConfig,
    broadcast,
    close_sse,
    fail_fast,
    hide,
    send,
    with_connection,
)
from sfere_tornado.config import HistoryConfig, PresenceConfig
from sfere_tornado.datastar.actions import (
    Datastar,
    connection,
    execute_script,
    patch_elements,
    patch_signals,
)
from sfere_tornado.datastar.handlers import DatastarHandler, DatastarMixin
from sfere_tornado.testing.stream_client import StreamClient, StreamEnded

DATASTAR = {"Datastar-Request": "true", "Accept": "text/event-stream, text/html, application/json"}
JSON = {**DATASTAR, "Content-Type": "application/json"}
EVERYBODY = (ANY, ANY)


class Keyed(DatastarHandler):
    """A handler whose streams are stored under the name in the query."""

    def connection_key(self):
        name = self.get_query_argument("name", "")
        return ("page", name) if name else None


def serving(serve, *handlers, config=None, routes=None, **hub_options):
    """Serve handlers, each under its name in lower case; returns the hub and the URL."""
    hub_options.setdefault("registries", []).insert(0, Datastar(**hub_options.pop("datastar", {})))
    hub = Hub(config, **hub_options)
    named = [(f"/{handler.__name__.lower()}", handler) for handler in handlers]
    return hub, serve(Application([*named, *(routes or [])], sfere=hub))


async def fetch(url, **options):
    """Return status, body and headers of an answer that ends."""
    async with await StreamClient.open(url, **options) as client:
        if client.headers.get("Content-Length") not in {None, "0"}:
            await client.ended()
        return client.status, client.body.decode(), client.headers


def post(signals, **more):
    return {"method": "POST", "headers": {**JSON, **more}, "body": json.dumps(signals).encode()}


# -- HTML


@pytest.mark.gen_test
async def test_html_is_the_answer(serve):
    """A returned string is the page, also to Datastar, with the status and the headers that the method has set."""

    class Page(DatastarHandler):
        def get(self):
            self.set_status(418)
            self.set_header("X-Own", "kept")
            return "<h1>é</h1>"

    _, url = serving(serve, Page)
    for headers in ({}, DATASTAR):
        status, body, got = await fetch(url + "/page", headers=headers)
        assert (status, body) == (418, "<h1>é</h1>")
        assert got["Content-Type"].lower() == "text/html; charset=utf-8"
        assert got["X-Own"] == "kept"


@pytest.mark.gen_test
async def test_objects_know_their_own_html(serve):
    """An object with __html__ is asked for it, and what it says is not escaped again; the method may be a coroutine."""

    class Element:
        def __html__(self):
            return '<p class="a">&amp;</p>'

    class Page(DatastarHandler):
        async def get(self):
            await asyncio.sleep(0)
            return Element()

    _, url = serving(serve, Page)
    assert (await fetch(url + "/page"))[1] == '<p class="a">&amp;</p>'


@pytest.mark.gen_test
async def test_a_method_may_answer_by_itself(serve):
    """What a method writes, finishes or sends with a status of its own stays; nothing at all is 204 to Datastar only."""

    class Page(DatastarHandler):
        def post(self, what):
            if what == "written":
                self.write({"signal": 1})
            elif what == "finished":
                self.finish("done")
                return [send("never")]
            elif what == "status":
                self.set_status(202)
            return None

    _, url = serving(serve, routes=[("/(.*)", Page)])
    assert (await fetch(url + "/written", **post({})))[:2] == (200, '{"signal": 1}')
    assert (await fetch(url + "/finished", **post({})))[:2] == (200, "done")
    assert (await fetch(url + "/status", **post({})))[0] == 202
    assert (await fetch(url + "/nothing", **post({})))[0] == 204
    assert (await fetch(url + "/nothing", method="POST", body=b"x"))[0] == 200


@pytest.mark.gen_test
async def test_other_values_are_an_error(serve, caplog):
    """A method that returns neither effects nor HTML is a 500, and the log says what may be returned."""

    class Page(DatastarHandler):
        def get(self):
            return {"signal": 1}

    _, url = serving(serve, Page)
    assert (await fetch(url + "/page", headers=DATASTAR))[0] == 500
    assert "effects, HTML or nothing" in raised(caplog, "EffectShapeError")[0].exc_text


# -- a stream of its own


@pytest.mark.gen_test
async def test_get_opens_a_stream_and_keeps_it(serve):
    """GET that returns effects is answered with a stream that begins with them, is stored, and stays open."""

    class Events(Keyed):
        def get(self):
            return [
                patch_elements("<p id=a>1</p>"),
                patch_signals({"a": 1}),
                execute_script("go()"),
            ]

        def on_open(self, connection):
            return send(str(connection.key), event="after")

    hub, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert client.status == 200
    assert client.headers["Content-Type"] == "text/event-stream"
    assert [(await client.event()).event for _ in range(4)] == [
        "datastar-patch-elements",
        "datastar-patch-signals",
        "datastar-patch-elements",
        "after",
    ]
    assert [str(key) for key in hub.store.keys()] == ["default/page/brian"]
    hub.dispatch(broadcast(EVERYBODY, patch_signals({"a": 2})))
    assert (await client.event()).data == 'signals {"a":2}'
    assert client.clean is None


@pytest.mark.gen_test
async def test_every_tab_gets_a_stream_of_its_own(serve):
    """A second GET under a stored key opens and stores another stream, and its effects go to that one alone."""

    class Events(Keyed):
        def get(self):
            return [send(self.request.headers["X-Tab"])]

    hub, url = serving(serve, Events)
    tabs = [
        await StreamClient.open(url + "/events?name=brian", headers={**DATASTAR, "X-Tab": str(n)})
        for n in range(3)
    ]
    assert [(await tab.event()).data for tab in tabs] == ["0", "1", "2"]
    assert hub.store.count() == 3
    assert [await tab.quiet() for tab in tabs] == [[], [], []]
    tabs[0].close()
    await eventually(lambda: hub.store.count() == 2)


@pytest.mark.gen_test
async def test_a_reload_is_not_dead_for_good(serve):
    """After a stream was closed, a new GET and a new POST open streams again: no dead entry answers for them."""

    class Events(Keyed):
        def get(self):
            return []

        def post(self):
            return [send("posted")]

    hub, url = serving(serve, Events)
    first = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    first.reset()
    await eventually(lambda: not hub.streams)
    second = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert second.status == 200
    second.close()
    await eventually(lambda: not hub.streams)
    third = await StreamClient.open(url + "/events?name=brian", **post({}))
    assert (await third.event()).data == "posted"


@pytest.mark.parametrize("headers", [{}, {"Accept": "text/event-stream"}, DATASTAR])
@pytest.mark.gen_test
async def test_without_a_get_of_its_own_a_handler_streams_to_anybody(serve, headers):
    """The inherited GET opens a stream for whoever asks, curl and EventSource included, with what on_open returns."""

    class Events(Keyed):
        def on_open(self, connection):
            return send("welcome")

    hub, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=headers)
    assert (await client.event()).data == "welcome"
    assert hub.store.count() == 1


@pytest.mark.gen_test
async def test_event_source_reads_the_same_stream(serve):
    """A browser's EventSource says what it reads, and gets the effects of GET as Datastar does, with signals in the query."""

    class Events(DatastarHandler):
        def get(self):
            return [send(self.signals)]

    _, url = serving(serve, Events)
    query = quote('{"a":1}')
    # The last is htmx 4's, with its extension.
    for accept in ("text/event-stream", "Text/Event-Stream;q=1", "text/html, text/event-stream"):
        client = await StreamClient.open(
            f"{url}/events?datastar={query}", headers={"Accept": accept}
        )
        assert (await client.event()).data == '{"a":1}'
    for accept in ("*/*", "text/html", "text/event-streams", "text/html;x=text/event-stream"):
        assert (await fetch(f"{url}/events?datastar={query}", headers={"Accept": accept}))[0] == 406


@pytest.mark.gen_test
async def test_verbs_that_open_streams_can_be_chosen(serve):
    """A handler whose GET is a short question says so, and is then answered on the stream that is open already."""

    class Events(Keyed):
        pass

    class More(Keyed):
        stream_verbs = frozenset()

        def get(self):
            return [send("more")]

    hub, url = serving(serve, Events, More)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert (await fetch(url + "/more?name=brian", headers=DATASTAR))[0] == 204
    assert (await client.event()).data == "more"
    assert len(hub.streams) == 1


@pytest.mark.gen_test
async def test_headers_and_status_reach_the_stream(serve):
    """What the method has set is kept where the stream needs nothing else."""

    class Events(DatastarHandler):
        def get(self):
            self.set_status(203)
            self.set_header("X-Own", "kept")
            self.set_header("Cache-Control", "no-cache")
            self.set_header("Content-Type", "text/plain")
            return []

    _, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events", headers=DATASTAR)
    assert client.status == 203
    assert client.headers["X-Own"] == "kept"
    assert client.headers["Cache-Control"] == "no-cache"
    assert client.headers["Content-Type"] == "text/event-stream"
    assert client.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.gen_test
async def test_effects_come_before_what_on_open_returns(serve, wait):
    """What a method has returned is what its stream begins with, also where on_open is a coroutine function."""

    class Events(Keyed):
        def get(self):
            return [send("first"), send("second")]

        if wait:

            async def on_open(self, connection):
                await asyncio.sleep(0)
                return send("third")

        else:

            def on_open(self, connection):
                return send("third")

    hub, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert [(await client.event()).data for _ in range(3)] == ["first", "second", "third"]
    hub.dispatch(broadcast(EVERYBODY, send("live")))
    assert (await client.event()).data == "live"


@pytest.mark.gen_test
async def test_an_on_open_that_promises_more(serve):
    """An on_open that is no coroutine function, and returns an awaitable all the same, is awaited."""

    class Events(Keyed):
        def get(self):
            return send("first")

        def on_open(self, connection):
            async def later():
                await asyncio.sleep(0)
                return send("second")

            return later()

    _, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert [(await client.event()).data for _ in range(2)] == ["first", "second"]


# -- coming back


@pytest.mark.gen_test
async def test_a_page_that_comes_back_gets_what_it_missed_then_what_it_begins_with(serve):
    """Patches in a category that is kept are replayed, in order, once; the method's own effects follow, then live ones."""

    class Events(Keyed):
        def get(self):
            return patch_signals({"state": "connected"})

    hub, url = serving(serve, Events, config=HubConfig(history=HistoryConfig()))
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    await client.event()
    hub.dispatch(broadcast(EVERYBODY, patch_elements("<p id=a>0</p>")))
    last = (await client.event()).id
    client.close()
    await eventually(lambda: not hub.streams)
    for n in range(1, 4):
        hub.dispatch(
            broadcast(EVERYBODY, patch_elements(f"<p id=a>{n}</p>"), patch_signals({"n": n}))
        )
    hub.dispatch(with_connection(("default", ("page", "brian")), execute_script("go()")))
    client = await StreamClient.open(
        url + "/events?name=brian", headers={**DATASTAR, "Last-Event-ID": last}
    )
    hub.dispatch(broadcast(EVERYBODY, patch_elements("<p id=a>live</p>")))
    got = [(await client.event()).data for _ in range(9)]
    assert got[:6] == [
        line for n in range(1, 4) for line in (f"elements <p id=a>{n}</p>", f'signals {{"n":{n}}}')
    ]
    assert got[6].startswith("selector body")
    assert got[7:] == ['signals {"state":"connected"}', "elements <p id=a>live</p>"]
    assert await client.quiet() == []


@pytest.mark.gen_test
async def test_what_goes_to_each_one_apart_is_not_kept(serve):
    """With each=True an effect is written for one connection; who is not there when it happens never gets it, nor a gap."""

    class Events(Keyed):
        pass

    hub, url = serving(serve, Events, config=HubConfig(history=HistoryConfig()))
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    hub.dispatch(broadcast(EVERYBODY, patch_signals({"kept": 1})))
    hub.dispatch(broadcast(EVERYBODY, patch_signals({"apart": 1}), each=True))
    kept, apart = await client.event(), await client.event()
    # It bears the id of the one before it: to the client it is as if it had no id.
    assert apart.id == kept.id
    client.close()
    await eventually(lambda: not hub.streams)
    hub.dispatch(broadcast(EVERYBODY, patch_signals({"apart": 2}), each=True))
    hub.dispatch(broadcast(EVERYBODY, patch_signals({"kept": 2})))
    client = await StreamClient.open(
        url + "/events?name=brian", headers={**DATASTAR, "Last-Event-ID": kept.id}
    )
    assert (await client.event()).data == 'signals {"kept":2}'
    assert await client.quiet() == []


@pytest.mark.gen_test(timeout=30)
async def test_a_page_that_is_behind_gets_the_newest_state(serve):
    """Conflated signals: a page that does not read is not cut, and gets what the kernel had taken, then the newest only."""

    class Events(Keyed):
        pass

    stream = StreamConfig(on_slow="conflate", max_outbox=256 * 1024)
    hub, url = serving(serve, Events, config=HubConfig(stream=stream))
    behind = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    sent = 5000
    for n in range(sent):
        hub.dispatch(
            broadcast(EVERYBODY, patch_signals({"n": n, "wide": "x" * 1000}, conflate="numbers"))
        )
        await asyncio.sleep(0)
    got = []
    while not got or got[-1] != sent - 1:
        got.append(json.loads((await behind.event()).data.removeprefix("signals "))["n"])
    assert got == sorted(set(got))
    assert got[0] == 0
    assert len(got) < sent
    assert behind.clean is None


@pytest.mark.parametrize(
    ("headers", "away"), [(DATASTAR, False), ({"Accept": "text/event-stream"}, True)]
)
@pytest.mark.gen_test
async def test_a_stream_of_datastars_is_looked_at(serve, headers, away):
    """Datastar opens a hidden tab's stream when somebody looks again; of an EventSource's nobody knows, so it stays away."""

    class Events(Keyed):
        pass

    hub, url = serving(serve, Events, config=HubConfig(presence=PresenceConfig()))
    client = await StreamClient.open(url + "/events?name=brian&tab=t1", headers=headers)
    hub.dispatch(hide(("default", ("page", "brian")), tab="t1"))
    client.close()
    await eventually(lambda: not hub.streams)
    assert [member.away for member in hub.presence.roster()] == [True]
    await StreamClient.open(url + "/events?name=brian&tab=t1", headers=headers)
    assert [member.away for member in hub.presence.roster()] == [away]


# -- the open stream


@pytest.mark.gen_test
async def test_a_post_is_answered_on_the_open_stream(serve):
    """With a stream open under the key, effects go there, all of its tabs included, and the request is answered 204."""

    class Events(Keyed):
        def post(self):
            self.with_open_sse = True
            return [
                patch_signals({"said": self.signals["text"]}),
                broadcast(EVERYBODY, send("all")),
            ]

    hub, url = serving(serve, Events)
    tabs = [await StreamClient.open(url + "/events?name=brian", headers=DATASTAR) for _ in range(2)]
    other = await StreamClient.open(url + "/events?name=phil", headers=DATASTAR)
    status, body, headers = await fetch(url + "/events?name=brian", **post({"text": "hello"}))
    assert (status, body) == (204, "")
    assert "Content-Type" not in headers
    for tab in tabs:
        assert (await tab.event()).data == 'signals {"said":"hello"}'
        assert (await tab.event()).data == "all"
    assert (await other.event()).data == "all"
    assert await other.quiet() == []
    assert len(hub.streams) == 3


@pytest.mark.gen_test
async def test_the_stream_for_an_answer_can_be_given(serve):
    """A method may name a connection: its effects go there before anywhere else, with 204; a closed one does not count."""

    class Events(Keyed):
        pass

    class Answer(Keyed):
        def get(self):
            [self.answer_on] = self.hub.store.peek(("default", ("page", "phil")))
            return [send("for phil")]

        post = get

    hub, url = serving(serve, Events, Answer)
    phil = await StreamClient.open(url + "/events?name=phil", headers=DATASTAR)
    brian = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    for options in ({"headers": DATASTAR}, post({})):
        assert (await fetch(url + "/answer?name=brian", **options))[0] == 204
        assert (await phil.event()).data == "for phil"
    assert await brian.quiet() == []
    [connection_of_phil] = hub.store.peek(("default", ("page", "phil")))
    connection_of_phil.reason = "server"
    client = await StreamClient.open(url + "/answer", headers=DATASTAR)
    assert (await client.event()).data == "for phil"


@pytest.mark.gen_test
async def test_closing_is_an_effect(serve):
    """close_sse among the returned effects ends the stream after what stands before it, and says not to come back."""

    class Events(Keyed):
        def post(self):
            return [send("bye"), close_sse()]

    hub, url = serving(serve, Events)
    left = []
    hub.on_evict(lambda key, connection, cause: left.append((key.id, cause, hub.store.count())))
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert (await fetch(url + "/events?name=brian", **post({})))[0] == 204
    assert (await client.event()).data == "bye"
    assert await client.ended() is True
    assert client.parser.retry > 10**9
    assert left == [("brian", "explicit", 0)]


# -- a stream for one answer


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.gen_test
async def test_a_stream_may_end_with_its_effects(serve, verb):
    """With with_open_sse a new stream ends cleanly after the effects, and was never stored; nobody is told that it left."""

    class Answer(Keyed):
        with_open_sse = True

        def get(self):
            return [patch_signals({"count": self.hub.store.count()})]

        post = put = patch = delete = get

        def on_open(self, connection):
            raise AssertionError("not a stream that stays")

    left = []
    hub, url = serving(serve, Answer)
    hub.on_evict(lambda *arguments: left.append(arguments))
    client = await StreamClient.open(url + "/answer?name=brian", method=verb, headers=DATASTAR)
    assert (await client.event()).data == 'signals {"count":0}'
    assert await client.ended() is True
    client.close()
    await eventually(lambda: not hub.streams)
    assert left == []


@pytest.mark.gen_test
async def test_a_short_stream_ends_also_when_effects_fail(serve, caplog):
    """An effect that raises is logged and nothing else: the others are sent, and the stream ends cleanly."""
    registry = Registry("test")

    @registry.effect("fail")
    async def fail(ctx):
        await asyncio.sleep(0)
        raise ZeroDivisionError("a secret")

    class Answer(DatastarHandler):
        with_open_sse = True

        async def post(self):
            await asyncio.sleep(0)
            return [send("before"), ("fail",), ("no_such_effect",), send("after")]

    _, url = serving(serve, Answer, registries=[registry])
    client = await StreamClient.open(url + "/answer", **post({}))
    assert (await client.event()).data == "before"
    assert (await client.event()).data == "after"
    assert await client.ended() is True
    assert len(raised(caplog, "ZeroDivisionError")) == 1
    assert len(raised(caplog, "UnknownEffectError")) == 1


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.gen_test
async def test_a_method_may_decide_whether_its_stream_stays(serve, verb):
    """What a method says of with_open_sse counts for its request, and not what the class says."""

    class Answer(Keyed):
        with_open_sse = True

        def get(self):
            self.with_open_sse = False
            return send("here")

        post = get

    hub, url = serving(serve, Answer)
    client = await StreamClient.open(url + "/answer?name=brian", method=verb, headers=DATASTAR)
    assert (await client.event()).data == "here"
    assert await client.quiet() == []
    assert (client.clean, hub.store.count()) == (None, 1)


@pytest.mark.gen_test
async def test_a_short_stream_ends_whatever_halts_its_dispatch(serve, caplog):
    """An effect that fails, in a chain that halts at errors, ends the effects; the stream still ends, and cleanly."""

    class Answer(DatastarHandler):
        with_open_sse = True
        interceptors = [fail_fast]

        def post(self):
            return [send("before"), ("no_such_effect",)]

    hub, url = serving(serve, Answer)
    client = await StreamClient.open(url + "/answer", **post({}))
    assert await client.ended() is True
    await eventually(lambda: not hub.streams)
    assert len(raised(caplog, "UnknownEffectError")) == 1


@pytest.mark.gen_test
async def test_a_short_stream_ends_where_a_greeting_would_be_awaited(serve):
    """A stream that ends with its effects ends with them also where on_open, which is not asked, is a coroutine function."""

    class Answer(DatastarHandler):
        with_open_sse = True

        def post(self):
            return send("only this")

        async def on_open(self, connection):
            raise AssertionError("not a stream that stays")

    _, url = serving(serve, Answer)
    client = await StreamClient.open(url + "/answer", **post({}))
    assert (await client.event()).data == "only this"
    assert await client.ended() is True


@pytest.mark.gen_test
async def test_what_was_returned_is_not_kept_as_long_as_the_stream(serve):
    """A page may be large, and ten thousand of them are read once."""
    pages = []

    class Html:
        def __html__(self):
            return "<p id=a></p>"

    class Page(DatastarHandler):
        def get(self):
            html = Html()
            pages.append(weakref.ref(html))
            return [patch_elements(html)]

    hub, url = serving(serve, Page)
    async with await StreamClient.open(url + "/page", headers=DATASTAR) as client:
        await client.event()
        assert len(hub.streams) == 1
        gc.collect()
        assert [page() for page in pages] == [None]


# -- ordinary requests


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.gen_test
async def test_effects_are_not_for_ordinary_requests(serve, method):
    """Without Datastar's header returned effects are not run, and the answer says what the address is for."""
    ran = []
    registry = Registry("test")
    registry.effect("run")(lambda ctx: ran.append(True))

    class Page(DatastarHandler):
        def get(self):
            return [("run",), send("x"), close_sse()]

        post = get

    hub, url = serving(serve, Page, registries=[registry])
    status, body, _ = await fetch(
        url + "/page", method=method, body=b"" if method == "GET" else b"a=1"
    )
    assert status == 406
    assert "answers Datastar" in body
    assert ran == []
    assert not hub.streams


@pytest.mark.gen_test
async def test_one_method_may_serve_both(serve):
    """A method can tell the two kinds of request apart."""

    class Page(DatastarHandler):
        def get(self):
            return [send("stream")] if self.is_datastar else "<h1>page</h1>"

    _, url = serving(serve, Page)
    assert (await fetch(url + "/page"))[1] == "<h1>page</h1>"
    assert (await fetch(url + "/page", headers={"Datastar-Request": "false"}))[1] == "<h1>page</h1>"
    client = await StreamClient.open(url + "/page", headers=DATASTAR)
    assert (await client.event()).data == "stream"


# -- pages of other sites

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
]


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("accept", [{"Accept": "text/event-stream"}, DATASTAR])
@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.gen_test
async def test_pages_of_other_sites_run_no_method(serve, verb, accept, foreign):
    """Abuse: a stranger's page asks for a stream, with the user's cookies; the method that could do something is not run."""
    ran = []

    class Events(Keyed):
        pass

    class Say(Keyed):
        def get(self):
            ran.append("method")
            return broadcast(EVERYBODY, send("in the user's name"))

        post = get

    _, url = serving(serve, Events, Say)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    status, _, _ = await fetch(
        url + "/say?name=brian", method=verb, headers={**accept, **foreign}, body=b""
    )
    assert (status, ran, await client.quiet()) == (403, [], [])
    own = {**accept, "Sec-Fetch-Site": "same-origin"}
    assert (await fetch(url + "/say?name=brian", method="POST", headers=own, body=b""))[0] == 204
    assert (await client.event()).data == "in the user's name"


@pytest.mark.gen_test
async def test_a_page_may_be_linked_to_from_anywhere(serve):
    """What is no request for a stream, such as following a link to a page, is not refused."""

    class Page(DatastarHandler):
        def get(self):
            return "<h1>page</h1>"

    _, url = serving(serve, Page)
    followed = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Site": "cross-site"}
    assert (await fetch(url + "/page", headers=followed))[:2] == (200, "<h1>page</h1>")


# -- in the dispatch


@pytest.mark.gen_test
async def test_effects_actions_placeholders_and_errors(serve, caplog):
    """Returned effects see signals as state and as dispatch data, system and request; an after-stage sees their errors."""
    registry, seen, errors = Registry("test"), [], []

    @registry.effect("look")
    def look(ctx, *words):
        assert ctx.system["request"].method == "POST"
        assert ctx.system["signals"] == ctx.dispatch_data["signals"] == {"name": "brian"}
        seen.append((words, ctx.system["handler"].is_datastar))
        return words

    @registry.effect("later")
    def later(ctx, *effects):
        return ctx.dispatch(effects, data={"cow": "Moo!"})

    @registry.placeholder("cow")
    def cow(data):
        return data.get("cow", ("cow",))

    @registry.action("greet")
    def greet(state):
        return [("look", state["signals"]["name"])]

    class Page(DatastarHandler):
        with_open_sse = True

        def post(self):
            return [
                ("greet",),
                ("later", ("look", ("cow",), ("cow",))),
                connection(),
                ("patch_elements", ""),
            ]

    after = {"id": "after", "after_dispatch": lambda ctx: errors.extend(ctx.errors)}
    _, url = serving(serve, Page, registries=[registry], interceptors=[after])
    client = await StreamClient.open(url + "/page", **post({"name": "brian"}))
    assert await client.ended() is True
    assert seen == [(("brian",), True), (("Moo!", "Moo!"), True)]
    assert [(error.phase, error.item[0]) for error in errors] == [("action", "patch_elements")]
    assert len(caplog.records) == 1


@pytest.mark.gen_test
async def test_an_interceptor_sees_every_send(serve):
    """An effect stage sees each send to a stream, with the connection, be it opened by this request or before."""
    seen = []

    def before(ctx):
        if ctx.effect[0] == "send":
            seen.append((ctx.effect[1], ctx.system["sse"] is not None))

    class Events(Keyed):
        interceptors = [{"id": "watch", "before_effect": before}]

        def get(self):
            return [patch_signals({"n": 1})]

        def post(self):
            return [patch_signals({"n": 2})]

    _, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    await client.event()
    assert (await fetch(url + "/events?name=brian", **post({})))[0] == 204
    assert seen == [('signals {"n":1}', True), ('signals {"n":2}', True)]


@pytest.mark.gen_test
async def test_the_connections_of_a_dispatch(serve):
    """Returned effects have one connection: the one that was named, else the open one of the key, else a new one."""
    registry, seen = Registry("test"), []

    @registry.effect("look")
    def look(ctx):
        seen.append(ctx.system["sse"])

    class Events(Keyed):
        pass

    class Look(Keyed):
        with_open_sse = True

        def post(self):
            if self.get_query_argument("other", ""):
                [self.answer_on] = self.hub.store.peek(("default", ("page", "phil")))
            return ("look",)

    hub, url = serving(serve, Events, Look, registries=[registry])
    for name in ("brian", "phil"):
        await StreamClient.open(f"{url}/events?name={name}", headers=DATASTAR)
    brian, phil = hub.streams
    for query, expected in (("?name=brian&other=1", phil), ("?name=brian", brian)):
        assert (await fetch(url + "/look" + query, **post({})))[0] == 204
        assert seen.pop() is expected
    assert (await fetch(url + "/look?name=nobody", **post({})))[0] == 200
    assert isinstance(seen[0], Connection)
    assert seen[0] not in (brian, phil)


@pytest.mark.gen_test
async def test_an_application_may_keep_connections_in_its_own_way(serve):
    """A stage sees each stream that opens, whether it ends with its effects, and the same connection when it closes."""
    kept = []

    def keep(ctx):
        if ctx.kind == "opening" and not ctx.system["handler"].with_open_sse:
            kept.append(ctx.system["sse"])
        elif ctx.kind == "closing" and ctx.system["sse"] in kept:
            kept.remove(ctx.system["sse"])

    class Events(DatastarHandler):
        def get(self):
            return []

    class Short(Events):
        with_open_sse = True

    hub, url = serving(serve, Events, Short, interceptors=[{"id": "keep", "before_dispatch": keep}])
    client = await StreamClient.open(url + "/events", headers=DATASTAR)
    short = await StreamClient.open(url + "/short", headers=DATASTAR)
    assert await short.ended() is True
    [stream] = kept
    stream.deliver(b"data: by hand\n\n")
    assert (await client.event()).data == "by hand"
    client.close()
    await eventually(lambda: not hub.streams)
    assert kept == []


@pytest.mark.gen_test
async def test_chains_compose_around_returned_effects(serve):
    """Around the method, and around the opening of its stream, stand the stages of hub, class and route, outermost first."""
    trace = []

    def named(name):
        def note(when, ctx):
            if ctx.actions[0][0] in {"request", "sse_opened"}:
                trace.append(f"{when} {name} {ctx.actions[0][0]}")

        return {
            "id": name,
            "before_dispatch": partial(note, "in"),
            "after_dispatch": partial(note, "out"),
        }

    class Answer(DatastarHandler):
        with_open_sse = True
        interceptors = [named("class")]

        def get(self):
            trace.append("method")
            return send("x")

    route = [("/answer", Answer, {"interceptors": [named("route")]})]
    _, url = serving(serve, routes=route, interceptors=[named("hub")])
    client = await StreamClient.open(url + "/answer", headers=DATASTAR)
    assert await client.ended() is True
    names = ("hub", "class", "route")
    assert trace == [
        *(f"in {name} request" for name in names),
        "method",
        *(f"out {name} request" for name in reversed(names)),
        *(f"in {name} sse_opened" for name in names),
        *(f"out {name} sse_opened" for name in reversed(names)),
    ]


@pytest.mark.gen_test
async def test_the_request_is_one_dispatch_and_its_stream_another(serve):
    """Around a request stand the chain's stages once, around the opening once, and around the closing once."""
    trace = []

    def note(ctx):
        trace.append(ctx.actions[0][0])

    class Events(Keyed):
        def get(self):
            return []

    hub, url = serving(serve, Events, interceptors=[{"id": "trace", "before_dispatch": note}])
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    client.close()
    await eventually(lambda: not hub.streams)
    assert [name for name in trace if name in {"request", "sse_opened", "sse_closed"}] == [
        "request",
        "sse_opened",
        "sse_closed",
    ]


@pytest.mark.gen_test
async def test_a_stage_refuses_before_the_method_runs(serve):
    """HTTPError of a stage is the answer; the method has not run, and no stream was opened."""
    ran = []

    def refuse(ctx):
        raise HTTPError(401)

    class Events(Keyed):
        interceptors = [{"id": "refuse", "before_dispatch": refuse}]

        def get(self):
            ran.append(True)
            return []

    hub, url = serving(serve, Events)
    assert (await fetch(url + "/events?name=brian", headers=DATASTAR))[0] == 401
    assert (ran, hub.store.count()) == ([], 0)


# -- errors


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.gen_test
async def test_a_method_that_raises(serve, verb, caplog):
    """The page gets a general error, the log the whole one, once; streams that are open hear nothing of it."""

    class Events(Keyed):
        pass

    class Failing(Keyed):
        def get(self):
            raise ZeroDivisionError("a secret")

        async def post(self):
            await asyncio.sleep(0)
            raise ZeroDivisionError("a secret")

    hub, url = serving(serve, Events, Failing)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    status, body, _ = await fetch(
        url + "/failing?name=brian", method=verb, headers=JSON, body=b"{}"
    )
    assert status == 500
    assert "secret" not in body
    assert "ZeroDivision" not in body
    [record] = raised(caplog, "ZeroDivisionError")
    assert "a secret" in record.exc_text
    assert await client.quiet() == []
    assert len(hub.streams) == 1


@pytest.mark.gen_test
async def test_effects_that_fail_on_the_open_stream_are_logged(serve, caplog):
    """A failing effect is logged; the others are sent, the stream stays, and the request is answered all the same."""

    class Events(Keyed):
        def post(self):
            return [("no_such_effect",), send("and on")]

    hub, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert (await fetch(url + "/events?name=brian", **post({})))[0] == 204
    assert (await client.event()).data == "and on"
    assert len(raised(caplog, "UnknownEffectError")) == 1
    assert len(hub.streams) == 1


@pytest.mark.gen_test
async def test_an_on_open_that_raises_cuts_the_stream(serve, caplog):
    """The stream is cut, so that the page comes back; what was returned has been sent."""

    class Events(Keyed):
        def get(self):
            return [send("first")]

        async def on_open(self, connection):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    hub, url = serving(serve, Events)
    client = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    assert await client.ended() is False
    assert len(raised(caplog, "ZeroDivisionError")) == 1
    assert hub.store.count() == 0


@pytest.mark.gen_test
async def test_effects_of_a_client_that_has_left_are_run(serve):
    """A page that is left while its POST is worked on: what is for others happens, and nothing is opened or stored."""
    gate, seen = asyncio.Event(), []

    class Events(Keyed):
        async def get(self):
            return [send("welcome")]

        async def post(self):
            seen.append(self.request.connection.stream)
            await gate.wait()
            return [broadcast((ANY, ("page", "phil")), send("brian is off")), send("for nobody")]

    hub, url = serving(serve, Events)
    phil = await StreamClient.open(url + "/events?name=phil", headers=DATASTAR)
    await phil.event()
    client = await StreamClient.connect(url)
    await client.send(
        b"POST /events?name=brian HTTP/1.1\r\nHost: x\r\nDatastar-Request: true\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    await eventually(lambda: seen)
    client.close()
    await eventually(seen[0].closed)
    gate.set()
    assert (await phil.event()).data == "brian is off"
    assert [key.id for key in hub.store.keys()] == ["phil"]
    assert len(hub.streams) == 1


@pytest.mark.gen_test
async def test_a_full_store_is_told_by_what_the_client_does_with_it(serve, caplog):
    """A GET is sent away for a while by its stream; a POST, which would be made again, is answered 503, and has no stream."""

    class Events(Keyed):
        def get(self):
            return [send("welcome")]

        def post(self):
            return [send("posted")]

    hub, url = serving(serve, Events, config=HubConfig(store=StoreConfig(maxsize=1)))
    first = await StreamClient.open(url + "/events?name=brian", headers=DATASTAR)
    await first.event()
    second = await StreamClient.open(url + "/events?name=phil", headers=DATASTAR)
    with pytest.raises(StreamEnded) as ended:
        await second.event()
    assert ended.value.clean is False
    assert (await fetch(url + "/events?name=phil", **post({})))[0] == 503
    assert hub.store.count() == 1
    await eventually(lambda: len(hub.streams) == 1)


# -- signals


@pytest.mark.parametrize("verb", ["GET", "DELETE", "POST", "PUT", "PATCH"])
@pytest.mark.gen_test
async def test_signals_are_read(serve, verb):
    """GET and DELETE have signals in the query, the others in the body; everything in them arrives as it was."""

    class Echo(DatastarHandler):
        def get(self):
            return json.dumps(self.signals)

        post = put = patch = delete = get

    signals = {"name": " <b>é\u2028\x07</b> ", "deep": {"list": [1, 2.5, None, True, "\U0001f600"]}}
    text = json.dumps(signals)
    in_query = verb in {"GET", "DELETE"}
    _, url = serving(serve, Echo)
    status, body, _ = await fetch(
        f"{url}/echo?datastar={quote(text)}" if in_query else url + "/echo?datastar=7",
        method=verb,
        headers=JSON,
        body=b"" if in_query else text.encode(),
    )
    assert status == 200
    assert json.loads(body) == signals


@pytest.mark.gen_test
async def test_some_requests_have_no_signals(serve):
    """An ordinary request, a form of either kind, and a request without any: signals are empty, and a form has arguments."""

    class Echo(DatastarHandler):
        def get(self):
            return json.dumps(self.signals)

        def post(self):
            return json.dumps([self.signals, self.get_body_argument("a", None)])

    multipart = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    _, url = serving(serve, Echo)
    assert (await fetch(url + "/echo?datastar=" + quote('{"a":1}')))[1] == "{}"
    assert (await fetch(url + "/echo", headers=DATASTAR))[1] == "{}"
    assert (await fetch(url + "/echo?datastar=%20", headers=DATASTAR))[1] == "{}"
    for kind, body, expected in [
        ("application/x-www-form-urlencoded", b"a=1", '[{}, "1"]'),
        ("multipart/form-data; boundary=x", multipart, '[{}, "1"]'),
        ("application/json", b"", "[{}, null]"),
    ]:
        headers = {**DATASTAR, "Content-Type": kind}
        assert (await fetch(url + "/echo", method="POST", headers=headers, body=body or b" "))[
            1
        ] == expected


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"),
        (b"{} {}", 400, "no JSON"),
        (b'{"a": NaN}', 400, "no JSON"),
        (b'{"a": -Infinity}', 400, "no JSON"),
        (b'{"a": [-1e999]}', 400, "no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", 400, "no JSON"),
        (b'{"a": "\\ud800"}', 400, "no JSON"),
        (b"[" * 50_000, 400, "no JSON"),
        (b"[1]", 400, "no JSON object"),
        (b'"a"', 400, "no JSON object"),
        (b"null", 400, "no JSON object"),
        (b'{"a":\xff}', 400, "not UTF-8"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", 400, "nested"),
        (b'{"a":"' + b"x" * 1000 + b'"}', 413, "more than 999 bytes"),
    ],
)
@pytest.mark.gen_test
async def test_wrong_signals_are_refused(serve, body, status, said):
    """What is no JSON object, too deep or too large is refused with a clear text, before the method runs."""
    ran = []

    class Echo(DatastarHandler):
        max_signals_size = 999 if status == 413 else 100_000

        def post(self):
            ran.append(True)

    _, url = serving(serve, Echo)
    got, text, _ = await fetch(url + "/echo", method="POST", headers=JSON, body=body)
    assert got == status
    assert said in text
    assert ran == []


@pytest.mark.gen_test
async def test_signals_at_the_bounds_are_read(serve):
    """What is exactly as deep, or as long, as allowed is read; a whole surrogate pair is one character."""

    class Echo(DatastarHandler):
        max_signals_size = 20
        max_signals_depth = 3

        def post(self):
            return json.dumps(self.signals, ensure_ascii=False)

    _, url = serving(serve, Echo)
    for body in (b'{"a": [[1], [], {}]}', b'{"a":"\\ud83d\\ude00"}'):
        status, text, _ = await fetch(url + "/echo", method="POST", headers=JSON, body=body)
        assert (status, json.loads(text)) == (200, json.loads(body))
        assert len(body) == 20


@pytest.mark.gen_test
async def test_another_reader_of_json(serve, caplog):
    """An application may read signals in its own way; what that raises is the request's error, as it is."""

    class Own(DatastarHandler):
        def read_json(self, text):
            if text == "bad":
                raise ZeroDivisionError
            return {"read": text}

        def post(self):
            return self.signals["read"]

    _, url = serving(serve, Own)
    assert (await fetch(url + "/own", method="POST", headers=JSON, body=b"well"))[:2] == (
        200,
        "well",
    )
    assert (await fetch(url + "/own", method="POST", headers=JSON, body=b"bad"))[0] == 500
    assert len(raised(caplog, "ZeroDivisionError")) == 1


# -- hosts


@pytest.mark.gen_test
async def test_the_mixin_works_on_a_hosts_handler(serve):
    """Before a base class of a host, its prepare, its user and its decorators stay what they are."""

    class Host(RequestHandler):
        def prepare(self):
            self.user = self.request.headers.get("X-User")
            if not self.user:
                raise HTTPError(403)

    class Events(DatastarMixin, Host):
        def connection_key(self):
            return ("user", self.user)

        def get(self):
            return [send(self.user)]

    hub, url = serving(serve, Events)
    assert (await fetch(url + "/events", headers=DATASTAR))[0] == 403
    client = await StreamClient.open(url + "/events", headers={**DATASTAR, "X-User": "brian"})
    assert (await client.event()).data == "brian"
    assert [key.id for key in hub.store.keys()] == ["brian"]


@pytest.mark.gen_test
async def test_head_shows_the_headers(serve):
    """HEAD answers the headers of the stream, and opens nothing."""

    class Events(DatastarHandler):
        pass

    hub, url = serving(serve, Events)
    status, body, headers = await fetch(url + "/events", method="HEAD")
    assert (status, body, headers["Content-Type"]) == (200, "", "text/event-stream")
    assert not hub.streams


@pytest.mark.gen_test
async def test_head_of_a_page_is_not_that_of_a_stream(serve):
    """Where GET is the application's own, which may be a page, HEAD is answered to who reads streams, and 405 to others."""

    class Page(DatastarHandler):
        def get(self):
            return "<h1>page</h1>"

    _, url = serving(serve, Page)
    for headers, status, kind in (
        ({}, 405, "text/html; charset=UTF-8"),
        (DATASTAR, 200, "text/event-stream"),
    ):
        async with await StreamClient.open(url + "/page", method="HEAD", headers=headers) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
