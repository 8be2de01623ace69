"""What is left of a request once its stream is open, and that nothing waits for the cyclic collector."""

import asyncio
import gc
import logging
import socket

import pytest
from support.waiting import eventually
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StreamConfig, broadcast, send
from sfere_tornado.hub.serving import Serving
from sfere_tornado.streams.connection import Connection
from sfere_tornado.testing import StreamClient
from sfere_tornado.web.opening import Opening
from sfere_tornado.web.sockets import StreamTransport

OF_A_REQUEST = (SSEHandler, HTTPServerRequest, Opening)
OF_A_STREAM = (Connection, StreamTransport)


class Events(SSEHandler):
    """Overrides nothing that is called after the stream has opened."""

    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

    async def on_open(self, connection):
        await asyncio.sleep(0)
        return send("welcome")


def application(handler=Events, **arguments):
    hub = Hub(HubConfig(stream=StreamConfig(linger=0.05)), **arguments)
    return hub, Application([("/events", handler)], sfere=hub)


def alive(*types):
    """Count the objects of some types."""
    return sum(isinstance(each, types) for each in gc.get_objects())


@pytest.fixture
def uncollected():
    """Run a test without the cyclic collector, from a clean start."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.gen_test
async def test_an_open_stream_keeps_nothing_of_its_request(serve, server_tls, client_tls, tls):
    """Handler, request and Tornado's connection are freed when the stream is open, by their counts."""
    hub, app = application()
    url = serve(app, ssl_options=server_tls if tls else None)
    before, streams = alive(*OF_A_REQUEST), alive(*OF_A_STREAM)
    clients = [
        await StreamClient.open(f"{url}/events?name={n}", ssl_options=client_tls if tls else None)
        for n in range(5)
    ]
    for client in clients:
        assert (await client.event()).data == "welcome"
    await eventually(lambda: alive(*OF_A_REQUEST) == before)
    assert alive(*OF_A_STREAM) == streams + 10
    hub.dispatch(broadcast((ANY, ("lobby", ANY)), send("still here")))
    for client in clients:
        assert (await client.event()).data == "still here"


async def _leave(client, connection):
    client.close()


async def _reset(client, connection):
    sock = client.stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


async def _cut(client, connection):
    connection.close()


async def _end_cleanly(client, connection):
    connection.close(reconnect=False)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("end", [_leave, _reset, _cut, _end_cleanly])
@pytest.mark.gen_test
async def test_an_ended_stream_leaves_nothing(serve, end):
    """However it ends, everything of it is freed in the next turns, without the cyclic collector."""
    hub, app = application()
    url = serve(app)
    before = alive(*OF_A_REQUEST, *OF_A_STREAM)
    client = await StreamClient.open(url + "/events?name=ann")
    assert (await client.event()).data == "welcome"
    await end(client, *hub.store.peek(("default", ("lobby", "ann"))))
    await eventually(lambda: hub.keys() == [])
    client.close()
    await eventually(lambda: alive(*OF_A_REQUEST, *OF_A_STREAM) == before)


@pytest.mark.gen_test
async def test_a_handler_is_kept_for_its_hooks(serve):
    """``self`` in ``on_close``, ``revalidate`` and ``on_connection_close`` is the handler that opened."""
    called = []

    class Kept(Events):
        def on_open(self, connection):
            self.name = connection.key.id

        async def revalidate(self, connection):
            called.append(
                ("revalidate", self.name, self.request.path, self.connection is connection)
            )
            return True

        def on_close(self, connection):
            called.append(("on_close", self.name, connection.reason))

        def on_connection_close(self):
            called.append(("on_connection_close", self.name))

    hub, app = application(Kept)
    url = serve(app)
    client = await StreamClient.open(url + "/events?name=ann")
    (connection,) = hub.store.peek(("default", ("lobby", "ann")))
    watched = hub.serving.streams._watch.streams[connection]
    assert await watched.revalidate(connection)
    client.close()
    await eventually(lambda: len(called) == 3)
    assert called == [
        ("revalidate", "ann", "/events", True),
        ("on_close", "ann", "client"),
        ("on_connection_close", "ann"),
    ]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.gen_test
async def test_stages_of_a_closing_get_the_request_of_a_handler_that_is_kept(serve, kept):
    """``keep_request`` keeps it, and so does a hook; a plain handler's is gone."""
    seen = []

    def after(ctx):
        if ctx.kind == "closing":
            seen.append((ctx.system.get("request"), ctx.system.get("handler")))

    handler = type("Handler", (Events,), {"keep_request": kept})
    _, app = application(handler, interceptors=[{"id": "look", "after_dispatch": after}])
    client = await StreamClient.open(serve(app) + "/events?name=ann")
    await client.event()
    client.close()
    await eventually(lambda: len(seen) == 1)
    ((request, found),) = seen
    if kept:
        assert (request.path, type(found)) == ("/events", handler)
    else:
        assert (request, found) == (None, None)


@pytest.mark.parametrize("keep_request", [False, True])
@pytest.mark.gen_test
async def test_a_request_is_logged_and_finished_once(serve, caplog, keep_request):
    """Tornado logs a request that ends when the stream is open, and one that is kept at its end."""
    caplog.set_level(logging.INFO, "tornado.access")
    finished = []

    class Logged(Events):
        def on_finish(self):
            finished.append(self.get_status())

    Logged.keep_request = keep_request
    hub, app = application(Logged)
    client = await StreamClient.open(serve(app) + "/events?name=ann")
    await client.event()
    await eventually(lambda: len(finished) == (not keep_request))
    client.close()
    await eventually(lambda: finished == [200] and hub.keys() == [])
    lines = [record.getMessage() for record in caplog.records if record.name == "tornado.access"]
    assert len(lines) == 1
    assert lines[0].startswith("200 GET /events?name=ann")


@pytest.mark.gen_test
async def test_an_on_finish_that_fails_is_logged_and_changes_nothing(serve, caplog):
    """The stream stays open."""

    class Failing(Events):
        def on_finish(self):
            raise LookupError("no such counter")

    hub, app = application(Failing)
    client = await StreamClient.open(serve(app) + "/events?name=ann")
    assert (await client.event()).data == "welcome"
    hub.dispatch(broadcast((ANY, ("lobby", ANY)), send("still here")))
    assert (await client.event()).data == "still here"
    assert "no such counter" in caplog.text
    caplog.clear()
    client.close()


@pytest.mark.gen_test
async def test_streams_without_a_request_end_with_their_hub(serve):
    """A stop cuts them; Tornado's server no longer knows them."""
    hub, app = application()
    client = await StreamClient.open(serve(app) + "/events?name=ann")
    await client.event()
    assert isinstance(hub.serving, Serving)
    await hub.stop()
    assert await client.ended() is False
    assert hub.keys() == []
