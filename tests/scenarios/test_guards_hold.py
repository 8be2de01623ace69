"""Guards hold whatever other stages do to a dispatch: no foreign page gets in, no method overruns."""

import asyncio

import pytest
from tornado.web import Application, RequestHandler

from sfere_tornado import Hub, InterceptorMixin, SSEHandler
from sfere_tornado.testing import StreamClient
from sfere_tornado.web.guards import require_origin, timeout

FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def application(where):
    """Return an application with its guards at the hub or at each handler, and what has run."""
    guards, ran = [require_origin(), timeout(0.1)], []

    class Events(SSEHandler):
        interceptors = guards if where == "handler" else []

        def connection_key(self):
            return ("lobby", "brian")

        def on_open(self, connection):
            ran.append("stream")

    class Quick(InterceptorMixin, RequestHandler):
        interceptors = guards if where == "handler" else []

        def post(self):
            ran.append("quick")

    class Slow(InterceptorMixin, RequestHandler):
        interceptors = guards if where == "handler" else []

        async def post(self):
            await asyncio.Event().wait()

    hub = Hub(interceptors=guards if where == "hub" else [])
    routes = [("/events", Events), ("/quick", Quick), ("/slow", Slow)]
    return Application(routes, sfere=hub), ran


async def status_of(url, method="POST", headers=None):
    body = b"x" if method == "POST" else b""
    async with await StreamClient.open(url, method=method, headers=headers, body=body) as answer:
        return answer.status


@pytest.mark.parametrize("where", ["hub", "handler"])
@pytest.mark.gen_test(timeout=20)
async def test_guards_hold(serve, where, caplog):
    """Foreign pages are refused before anything runs, and a method that hangs is answered with 503."""
    app, ran = application(where)
    url = serve(app)
    census = serve.census(app.settings["sfere"])
    assert await status_of(f"{url}/events", "GET", FOREIGN) == 403
    assert await status_of(f"{url}/quick", headers=FOREIGN) == 403
    assert ran == []
    assert await status_of(f"{url}/slow") == 503
    assert await status_of(f"{url}/quick") == 200
    assert await status_of(f"{url}/events", "GET") == 200
    assert ran == ["quick", "stream"]
    await census.empty()
