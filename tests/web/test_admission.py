"""Who may open a stream: limits with each of their answers, and pages of foreign sites, refused before any side effect."""

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler
from sfere_tornado.config import LimitsConfig, PresenceConfig
from sfere_tornado.testing import StreamClient


class Events(SSEHandler):
    """A stream of a tenant, under the name in the query, opened by GET or POST."""

    stream_verbs = frozenset({"GET", "POST"})

    def connection_key(self):
        return ("lobby", self.get_query_argument("name", "brian"))

    async def post(self):
        await self.open_stream()


def application(handler=Events, limits=None, **arguments):
    hub = Hub(HubConfig(limits=limits or LimitsConfig()), **arguments)
    return hub, Application([("/events", handler)], sfere=hub, xheaders=True)


def tenant(ctx):
    return ctx.system["request"].headers.get("X-Tenant", "default")


# -- limits

#: For each limit: settings that admit two, whom the third one must resemble to be refused, and who is let in all the same.
LIMITS = {
    "total": ({"total": 2}, ("a", "acme"), None),
    "per_scope": ({"per_scope": 2}, ("c", "acme"), ("c", "umbrella")),
    "per_key": ({"per_key": 2}, ("a", "acme"), ("c", "acme")),
    "per_address": ({"per_address": 2}, ("c", "umbrella"), None),
}


async def enter(url, name, scope):
    return await StreamClient.open(f"{url}/events?name={name}", headers={"X-Tenant": scope})


@pytest.mark.parametrize("answer", ["retry", "unavailable", "too_many"])
@pytest.mark.parametrize("limit", list(LIMITS))
@pytest.mark.gen_test
async def test_over_a_limit_the_answer_is_the_one_that_was_chosen(serve, limit, answer, caplog):
    """A cut stream brings a browser back, a status keeps it away; nothing of the refused is left, and a place is free again."""
    settings, refused_one, other = LIMITS[limit]
    hub, app = application(limits=LimitsConfig(answer=answer, **settings), id_fn=tenant)
    told = []
    hub.on_evict(lambda key, connection, cause: told.append(key))
    url = serve(app)
    first = await enter(url, "a", "acme")
    await enter(url, "a" if limit == "per_key" else "b", "acme")

    refused = await enter(url, *refused_one)
    assert refused.status == {"retry": 200, "unavailable": 503, "too_many": 429}[answer]
    if answer == "retry":
        assert await refused.ended() is False
        assert 2000 <= refused.parser.retry <= 3000
        assert await refused.quiet(0) == []
    assert (len(hub.streams), hub.streams.admission.total, told) == (2, 2, [])
    lines = [record.getMessage() for record in caplog.records if record.name == "sfere_tornado.web"]
    assert [limit in line for line in lines] == [True]
    if other is not None:
        assert (await enter(url, *other)).headers["Content-Type"] == "text/event-stream"
        assert len(hub.streams) == 3

    present = len(hub.streams)
    first.close()
    await eventually(lambda: len(hub.streams) == present - 1)
    again = await enter(url, *refused_one)
    assert again.status == 200
    assert await again.quiet() == []
    assert again.clean is None


@pytest.mark.parametrize(("answer", "status"), [("retry", 200), ("too_many", 429)])
@pytest.mark.gen_test
async def test_a_full_presence_answers_as_a_full_store(serve, answer, status, caplog):
    """Stops the client of a refused member from an answer of 500: it gets what limits.answer says."""
    hub = Hub(HubConfig(limits=LimitsConfig(answer=answer), presence=PresenceConfig()))
    app = Application([("/events", Events)], sfere=hub)
    hub.presence.max_members = 1
    url = serve(app)
    await enter(url, "a", "acme")
    refused = await enter(url, "b", "acme")
    assert refused.status == status
    assert await refused.ended() is (status != 200)
    assert "presence already has 1 members" in caplog.text
    assert (len(hub.store), len(hub.presence)) == (1, 1)


@pytest.mark.gen_test
async def test_reconnection_times_are_jittered(serve):
    """Clients that were turned away, or cut, together do not come back together: each stream has a time of its own."""
    _, app = application()
    url = serve(app)
    clients = [await StreamClient.open(url + "/events") for _ in range(20)]
    times = set()
    for client in clients:
        assert await client.quiet(0.01) == []
        times.add(client.parser.retry)
    assert len(times) > 10
    assert min(times) >= 2000
    assert max(times) <= 3000


@pytest.mark.gen_test
async def test_a_refused_opening_leaves_its_place(serve):
    """A stream that a stage refuses, or whose opening fails, is counted no longer than it takes."""

    class Closed(Events):
        interceptors = [{"id": "closed", "before_dispatch": lambda ctx: ctx.halt()}]

    hub, app = application(Closed, limits=LimitsConfig(total=1))
    url = serve(app)
    for _ in range(3):
        assert (await StreamClient.open(url + "/events")).headers[
            "Content-Type"
        ] != "text/event-stream"
    assert hub.streams.admission.total == 0


# -- pages of other sites

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1"},
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.gen_test
async def test_a_foreign_page_is_refused_before_anything_happens(serve, headers, method, caplog):
    """403 for a page that rides on a user's cookies: no stage has run, nothing was stored, counted or told."""
    ran = []

    class Watched(Events):
        interceptors = [{"id": "watching", "before_dispatch": lambda ctx: ran.append(ctx.actions)}]

        def connection_key(self):
            ran.append("connection_key")
            return super().connection_key()

        def on_open(self, connection):
            ran.append("on_open")

        def on_close(self, connection):
            ran.append("on_close")

    hub, app = application(Watched)
    body = b"x" if method == "POST" else b""
    client = await StreamClient.open(
        serve(app) + "/events", method=method, headers=headers, body=body
    )
    assert client.status == 403
    assert (ran, hub.streams.admission.total, len(hub.streams), hub.store.keys()) == ([], 0, 0, [])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "OWN"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "OWN"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-site", "Origin": "OWN"},
    ],
    ids=str,
)
@pytest.mark.gen_test
async def test_the_own_pages_and_no_pages_at_all_are_welcome(serve, headers, method):
    """The own origin, what a user types himself, and clients that are no browsers open streams."""
    hub, app = application()
    url = serve(app)
    sent = {name: url if text == "OWN" else text for name, text in headers.items()}
    body = b"x" if method == "POST" else b""
    client = await StreamClient.open(url + "/events", method=method, headers=sent, body=body)
    assert (client.status, len(hub.streams)) == (200, 1)


@pytest.mark.gen_test
async def test_an_application_may_trust_other_origins(serve, caplog):
    """``check_origin`` decides about origins that are not the own; a page that names none cannot be trusted."""
    asked = []

    class Trusting(Events):
        def check_origin(self, origin):
            asked.append(origin)
            return origin == "https://friend.example" or super().check_origin(origin)

    _, app = application(Trusting)
    url = serve(app) + "/events"
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert (
        await StreamClient.open(url, headers={**cross, "Origin": "https://friend.example"})
    ).status == 200
    assert (
        await StreamClient.open(url, headers={**cross, "Origin": "https://evil.example"})
    ).status == 403
    assert (await StreamClient.open(url, headers=cross)).status == 403
    assert asked == ["https://friend.example", "https://evil.example"]


# -- while the hub drains


@pytest.mark.gen_test
async def test_newcomers_are_sent_away_while_the_hub_drains_and_afterwards(serve):
    """200, a reconnection time and a cut: a browser comes back, by then to another process; nobody is told of it."""
    told = []

    class Watched(Events):
        def on_open(self, connection):
            told.append("on_open")

        def on_close(self, connection):
            told.append("on_close")

    hub, app = application(Watched)
    url = serve(app)
    await StreamClient.open(url + "/events?name=early")
    hub._life.begin_draining()
    assert told == ["on_open"]
    for ended in (False, True):
        if ended:
            await hub.drain(window=0, timeout=5)
        client = await StreamClient.open(url + "/events?name=late")
        assert client.status == 200
        assert await client.ended() is False
        assert 2000 <= client.parser.retry <= 3000
        assert "late" not in [key.id for key in hub.store.keys()]
        assert hub.ready is False
    assert told == ["on_open", "on_close"]
    hub.start()
    assert (await StreamClient.open(url + "/events?name=welcome")).status == 200
    assert len(hub.streams) == 1
