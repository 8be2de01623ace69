"""Guards of requests: pages of other sites, and methods that take too long."""

import asyncio

import pytest
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, InterceptorMixin, SSEHandler, broadcast, send
from sfere_tornado.datastar.handlers import DatastarHandler
from sfere_tornado.errors import RegistryError
from sfere_tornado.testing.stream_client import StreamClient
from sfere_tornado.web.guards import require_origin, timeout


class Say(InterceptorMixin, RequestHandler):
    """Says something to everybody."""

    def post(self):
        self.dispatch(broadcast((ANY, ANY), send("x")))
        self.finish("said")


class Events(SSEHandler):
    """A stream that leaves the judgement to the interceptor."""

    def connection_key(self):
        return ("page", "brian")

    def check_origin(self, origin):
        return True


async def status_of(url, **options):
    async with await StreamClient.open(url, **options) as client:
        return client.status


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, True),
        ({"Origin": "http://{host}"}, True),
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "https://app.example:8443"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://{host}.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://[bad"}, False),
        ({"Origin": "https://app.example:443"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"}, False),
    ],
)
@pytest.mark.gen_test
async def test_pages_of_other_sites_are_refused(serve, headers, allowed, caplog):
    """Abuse: a stranger's page makes a browser open a stream, or post, with the user's cookies; nothing of it happens."""
    hub = Hub(interceptors=[require_origin("https://app.example")])
    url = serve(Application([("/events", Events), ("/say", Say)], sfere=hub))
    sent = {name: value.format(host=url.removeprefix("http://")) for name, value in headers.items()}

    stream = await StreamClient.open(url + "/events", headers=sent)
    assert stream.status == (200 if allowed else 403)
    assert hub.store.count() == int(allowed)
    assert await status_of(url + "/say", method="POST", headers=sent, body=b"x") == (
        200 if allowed else 403
    )
    if allowed:
        assert (await stream.event()).data == "x"


@pytest.mark.gen_test
async def test_only_requests_are_judged(serve):
    """What a server dispatches by itself, and the end of a stream, pass the guard."""
    hub = Hub(interceptors=[require_origin()])
    url = serve(Application([("/events", Events)], sfere=hub))
    client = await StreamClient.open(url + "/events")
    assert hub.dispatch(broadcast((ANY, ANY), send("x"))).errors == []
    assert (await client.event()).data == "x"


@pytest.mark.parametrize(
    "origin", ["app.example", "https://app.example/", "https://app.example/path", "*", ""]
)
def test_allowed_origins_are_checked(origin):
    """What is no origin would never match, so it is refused where it is written."""
    with pytest.raises(RegistryError, match="is not a valid origin"):
        require_origin(origin)


@pytest.mark.gen_test
async def test_a_method_that_takes_too_long_is_cancelled(serve, caplog):
    """At its bound the method is cancelled and the request answered 503; one that is quick, or not asynchronous, is not."""
    cancelled = []

    class Work(InterceptorMixin, RequestHandler):
        async def get(self, what):
            if what == "slow":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(True)
                    raise
            if what == "own":
                raise TimeoutError
            self.finish(what)

        def post(self, what):
            self.finish(what)

    hub = Hub(interceptors=[timeout(0.02)])
    url = serve(Application([("/(.*)", Work)], sfere=hub))
    assert await status_of(url + "/slow") == 503
    assert cancelled == [True]
    assert await status_of(url + "/quick") == 200
    assert await status_of(url + "/plain", method="POST", body=b"x") == 200
    assert await status_of(url + "/own") == 500


@pytest.mark.gen_test
async def test_streams_may_stay_longer(serve):
    """Only the method that returns effects is bounded; the stream that it opens outlives the bound."""

    class Page(DatastarHandler):
        interceptors = [timeout(0.02)]

        async def get(self):
            await asyncio.sleep(0)
            return [send("welcome")]

    hub = Hub()
    url = serve(
        Application(
            [("/", Page), ("/events", Events, {"interceptors": [timeout(0.02)]})], sfere=hub
        )
    )
    clients = [
        await StreamClient.open(url + "/", headers={"Datastar-Request": "true"}),
        await StreamClient.open(url + "/events"),
    ]
    assert (await clients[0].event()).data == "welcome"
    assert [await client.quiet(0.06) for client in clients] == [[], []]
    assert [client.clean for client in clients] == [None, None]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_bound_is_more_than_nothing(seconds):
    """A bound of nothing would refuse every method that waits."""
    with pytest.raises(RegistryError, match="more than 0"):
        timeout(seconds)
