"""A request as a dispatch: order of stages, errors, what Tornado still sees."""

import asyncio

import pytest
from support.logs import raised
from support.waiting import eventually
from tornado.web import Application, Finish, HTTPError, RequestHandler, authenticated

from sfere_tornado import Hub, HubConfig, InterceptorMixin, Registry, SSEHandler, StoreConfig, send
from sfere_tornado.errors import HubError
from sfere_tornado.testing import FakeClock
from sfere_tornado.testing.stream_client import StreamClient

STAGES = ("before_dispatch", "after_dispatch", "before_effect", "after_effect")


def traced(name, trace, only=("before_dispatch", "after_dispatch")):
    """Return an interceptor that writes down its stages for requests."""

    def stage(which):
        def note(ctx):
            if ctx.kind == "request":
                trace.append(f"{which} {name}")

        return note

    return {"id": name, **{which: stage(which) for which in only}}


async def fetch(url, **options):
    async with await StreamClient.open(url, **options) as client:
        if client.headers.get("Content-Length") not in {None, "0"}:
            await client.ended()
        return client.status, client.body.decode()


@pytest.mark.gen_test
async def test_chains_compose_from_outside_in(serve):
    """The hub's interceptors stand outside the class's, those outside the route's; after-stages run in reverse."""
    trace = []

    class Handler(InterceptorMixin, RequestHandler):
        interceptors = [traced("class", trace)]

        def get(self):
            trace.append("verb")
            self.finish("done")

    hub = Hub(interceptors=[traced("hub", trace)])
    url = serve(
        Application([("/", Handler, {"interceptors": [traced("route", trace)]})], sfere=hub)
    )

    assert await fetch(url + "/") == (200, "done")
    assert trace == [
        "before_dispatch hub",
        "before_dispatch class",
        "before_dispatch route",
        "verb",
        "after_dispatch route",
        "after_dispatch class",
        "after_dispatch hub",
    ]


@pytest.mark.gen_test
async def test_the_verb_is_an_effect(serve):
    """Effect stages stand around the verb method too, and the request, the handler and path arguments are there."""
    trace = []

    def before(ctx):
        trace.append((ctx.effect, type(ctx.system["handler"]).__name__, ctx.system["request"].path))

    class Handler(InterceptorMixin, RequestHandler):
        async def get(self, word):
            await asyncio.sleep(0)
            self.finish(word)

    hub = Hub(interceptors=[{"id": "effects", "before_effect": before}])
    url = serve(Application([("/(.*)", Handler)], sfere=hub))

    assert await fetch(url + "/word") == (200, "word")
    assert trace == [(("request",), "Handler", "/word")]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.gen_test
async def test_http_errors_of_a_stage_refuse_the_request(serve, kind, caplog):
    """A stage that raises HTTPError is answered with it; the method is not run, and after-stages still are."""
    trace, ran = [], []

    def refuse(ctx):
        raise HTTPError(403, reason="Not you")

    async def refuse_later(ctx):
        await asyncio.sleep(0)
        refuse(ctx)

    class Handler(InterceptorMixin, RequestHandler):
        interceptors = [
            traced("outer", trace),
            {"id": "refuse", "before_dispatch": refuse if kind == "sync" else refuse_later},
        ]

        def get(self):
            ran.append(True)

    url = serve(Application([("/", Handler)], sfere=Hub()))
    status, body = await fetch(url + "/")

    assert (status, "Not you" in body, ran) == (403, True, [])
    assert trace == ["before_dispatch outer", "after_dispatch outer"]
    assert [r for r in caplog.records if r.name.startswith("sfere_tornado")] == []


@pytest.mark.gen_test
async def test_errors_of_the_verb_are_tornados(serve, caplog):
    """HTTPError and Finish mean what they always mean; another error is a 500, logged once, by Tornado."""

    class Handler(InterceptorMixin, RequestHandler):
        def get(self, what):
            if what == "finish":
                self.write("finished early")
                raise Finish
            if what == "http":
                raise HTTPError(418)
            raise ZeroDivisionError("the method failed")

    url = serve(Application([("/(.*)", Handler)], sfere=Hub()))

    assert await fetch(url + "/finish") == (200, "finished early")
    assert (await fetch(url + "/http"))[0] == 418
    assert (await fetch(url + "/other"))[0] == 500
    assert [r.name for r in raised(caplog, "ZeroDivisionError")] == ["tornado.application"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.gen_test
async def test_a_stage_that_raises_is_logged_once(serve, stage, caplog):
    """Before the method a failing stage makes a 500; after it, the response stands; in each case one line in the log."""

    def fail(ctx):
        raise ZeroDivisionError(stage)

    class Handler(InterceptorMixin, RequestHandler):
        def get(self):
            self.finish("done")

    url = serve(
        Application(
            [
                ("/", Handler, {"interceptors": [{"id": "failing", stage: fail}]}),
                ("/well", Handler),
            ],
            sfere=Hub(),
        )
    )

    status, _ = await fetch(url + "/")
    assert status == (500 if stage.startswith("before") else 200)
    assert len(raised(caplog, "ZeroDivisionError")) == 1
    assert await fetch(url + "/well") == (200, "done")


@pytest.mark.gen_test
async def test_a_stage_may_answer_by_itself(serve):
    """A stage that finishes the response, or halts, keeps the method from being run."""
    ran = []

    def redirect(ctx):
        ctx.system["handler"].redirect("/elsewhere")

    def halt(ctx):
        ctx.system["handler"].set_status(202)
        ctx.halt()

    class Handler(InterceptorMixin, RequestHandler):
        def get(self):
            ran.append(True)

    routes = [
        ("/redirect", Handler, {"interceptors": [{"id": "redirect", "before_dispatch": redirect}]}),
        ("/halt", Handler, {"interceptors": [{"id": "halt", "before_dispatch": halt}]}),
    ]
    url = serve(Application(routes, sfere=Hub()))
    assert (await fetch(url + "/redirect"))[0] == 302
    assert (await fetch(url + "/halt"))[0] == 202
    assert ran == []


@pytest.mark.gen_test
async def test_dispatch_in_a_handler_is_a_continuation(serve):
    """What stages put into system and dispatch data is there for what the method dispatches, and only inside the request."""
    seen = []
    registry = Registry("test")

    @registry.effect("look")
    def look(ctx, word):
        seen.append(
            (
                word,
                ctx.system.get("db"),
                ctx.dispatch_data.get("user"),
                ctx.system["handler"] is not None,
            )
        )

    def put(ctx):
        ctx.system["db"] = "db"
        ctx.dispatch_data["user"] = "brian"

    class Handler(InterceptorMixin, RequestHandler):
        interceptors = [{"id": "put", "before_dispatch": put}]

        def prepare(self):
            self.dispatch(("look", "prepare"))

        def get(self):
            assert self.dispatch([("look", "verb")], dispatch_data={"more": 1}).errors == []

        def on_finish(self):
            self.dispatch(("look", "finish"), system={"db": "other"})

    hub = Hub(registries=[registry])
    assert (await fetch(serve(Application([("/", Handler)], sfere=hub)) + "/"))[0] == 200
    assert seen[0] == ("prepare", "db", "brian", True)
    assert seen[1] == ("verb", "db", "brian", True)
    assert seen[2] == ("finish", "db", "brian", True)


@pytest.mark.gen_test
async def test_class_attributes_stay_untouched(serve):
    """The chain is hooked in on the instance: the class keeps its method, and authentication works around it."""
    ran = []

    class Handler(InterceptorMixin, RequestHandler):
        def get_current_user(self):
            return self.get_argument("user", None)

        def get_login_url(self):
            return "/login"

        @authenticated
        def get(self):
            ran.append((self.current_user, "get" in vars(self)))

    method = Handler.get
    url = serve(Application([("/", Handler)], sfere=Hub()))
    assert (await fetch(url + "/"))[0] == 302
    assert (await fetch(url + "/?user=brian"))[0] == 200
    assert Handler.get is method
    assert ran == [("brian", False)]


@pytest.mark.gen_test
async def test_methods_that_are_not_there_are_405(serve, caplog):
    """A verb without a method is Tornado's 405, inside the chain as without it; an unknown verb too."""

    class Handler(InterceptorMixin, RequestHandler):
        pass

    url = serve(Application([("/", Handler)], sfere=Hub()))
    assert (await fetch(url + "/"))[0] == 405
    assert (await fetch(url + "/", method="BREW"))[0] == 405


@pytest.mark.gen_test
async def test_an_application_without_a_hub_says_what_to_do(serve, caplog):
    """The error names both ways to give an application its hub."""

    class Handler(InterceptorMixin, RequestHandler):
        def get(self):
            pass

    assert (await fetch(serve(Application([("/", Handler)])) + "/"))[0] == 500
    [failure] = raised(caplog, HubError.__name__)
    assert "sfere=hub" in failure.exc_text
    assert "hub.install(app)" in failure.exc_text


@pytest.mark.gen_test
async def test_a_request_reaches_the_open_stream_of_its_key_and_renews_it(serve):
    """A request with a connection key sends to the client's own stream, and is a sign of life."""

    class Events(SSEHandler):
        def connection_key(self):
            return ("user", self.get_query_argument("name"))

    class Ask(InterceptorMixin, RequestHandler):
        def connection_key(self):
            return ("user", self.get_query_argument("name"))

        def post(self):
            told = self.dispatch(send("for you alone"))
            self.finish({"errors": [str(error.exception) for error in told.errors]})

    clock = FakeClock()
    hub = Hub(HubConfig(store=StoreConfig(ttl=30.0, renewed_by=["request"])), timer=clock)
    url = serve(Application([("/events", Events), ("/ask", Ask)], sfere=hub))
    brian = await StreamClient.open(url + "/events?name=brian")
    phil = await StreamClient.open(url + "/events?name=phil")

    clock.advance(20)
    assert (await fetch(url + "/ask?name=brian", method="POST", body=b"x"))[1] == '{"errors": []}'
    assert (await brian.event()).data == "for you alone"
    assert await phil.quiet() == []

    clock.advance(20)
    hub.clock.tick()
    assert [key.id for key in hub.store.keys()] == ["brian"]
    assert await phil.ended() is False


@pytest.mark.gen_test
async def test_a_request_whose_key_has_no_stream_says_so(serve, caplog):
    """Sending without a connection is a clear error entry."""

    class Ask(InterceptorMixin, RequestHandler):
        def connection_key(self):
            return ("user", "nobody")

        def get(self):
            [error] = self.dispatch(send("x")).errors
            self.finish(str(error.exception))

    status, body = await fetch(serve(Application([("/", Ask)], sfere=Hub())) + "/")
    assert status == 200
    assert "needs an open connection" in body
    assert len(caplog.records) == 1


@pytest.mark.gen_test
async def test_a_cancelled_request_is_cancelled(serve, caplog):
    """Cancelling the handler's own task reaches the method, and is not collected as an error."""
    tasks, cancelled = [], []

    class Handler(InterceptorMixin, RequestHandler):
        async def get(self):
            tasks.append(asyncio.current_task())
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    url = serve(Application([("/", Handler)], sfere=Hub()))
    client = await StreamClient.connect(url)
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await eventually(lambda: tasks)
    tasks[0].cancel()
    await client.read_headers()
    assert client.status == 500
    assert cancelled == [True]
    assert [r for r in caplog.records if r.name.startswith("sfere_tornado")] == []
