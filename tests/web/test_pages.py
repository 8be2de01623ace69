"""A large list over sockets: it is sent in pages, and asked for by page."""

import asyncio
import json
import time
from math import inf
from urllib.parse import urlencode

import pytest
from support.lobby import LOBBY, Events, Lobby, Named, Page, key
from support.waiting import eventually
from tornado.httpclient import AsyncHTTPClient

from sfere_tornado import leave
from sfere_tornado.config import PresenceConfig
from sfere_tornado.web.pages import PresencePageHandler


class Pages(Named, PresencePageHandler):
    pass


ROUTES = [("/members", Pages)]


@pytest.fixture
def lobby(serve):
    made = Lobby(presence=PresenceConfig(large=10), routes=ROUTES)
    made.url = serve(made.app)
    return made


async def ask(lobby, name, *, headers=None, **query):
    """Ask for a page; returns the status and the body."""
    url = f"{lobby.url}/members?{urlencode({'name': name, **query})}"
    answer = await AsyncHTTPClient().fetch(url, headers=headers or {}, raise_error=False)
    return answer.code, answer.body.decode()


@pytest.mark.gen_test
async def test_a_client_asks_for_pages(lobby):
    """It asks on where the state ended, until nothing follows: then it knows all members."""
    clients = [await lobby.enter(f"m{number:03}") for number in range(120)]
    lobby.pass_time(1)
    late = await lobby.enter("late")
    page = Page().take(await late.quiet())
    assert (page.is_whole, page.count) == (False, 121)
    while page.next is not None:
        status, body = await ask(lobby, "late", after=page.next)
        assert status == 200
        assert page.turn_to(body)
    assert page.certain() == {
        member.key.id: member.away for member in lobby.hub.presence.announced(LOBBY)
    }
    answer = await AsyncHTTPClient().fetch(f"{lobby.url}/members?name=late")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.body)["members"]["m000"]["away"] is False
    assert len(clients) == 120


@pytest.mark.gen_test
async def test_only_members_may_ask(lobby):
    """A client without a stream is refused, and so is one without a key; a list is that of the client's own key."""
    await lobby.enter("ann")
    assert (await ask(lobby, "ann"))[0] == 200
    assert (await ask(lobby, "brian"))[0] == 404
    lobby.hub.dispatch(leave(key("ann")))
    assert (await ask(lobby, "ann"))[0] == 404


@pytest.mark.gen_test
async def test_a_client_without_a_key_may_not_ask(serve):
    """Nothing says whose list it would be."""
    lobby = Lobby(routes=[("/members", PresencePageHandler)])
    lobby.url = serve(lobby.app)
    await lobby.enter("ann")
    assert (await ask(lobby, "ann"))[0] == 404


@pytest.mark.gen_test
async def test_lists_do_not_mix(serve):
    """Members of another scope or category are not on the page."""

    class Elsewhere(Events):
        def connection_key(self):
            return ("kitchen", self.get_query_argument("name"))

    def scope(ctx):
        return ctx.system["request"].headers.get("X-Tenant", "default")

    lobby = Lobby(routes=[*ROUTES, ("/kitchen", Elsewhere)], id_fn=scope)
    lobby.url = serve(lobby.app)
    ann = await lobby.enter("ann")
    other = await lobby.enter("other", url=lobby.url)
    lobby.hub.store.put(("elsewhere", ("lobby", "eve")), lobby.hub.store.peek(key("ann"))[0])
    lobby.hub.presence.arrive(("elsewhere", ("lobby", "eve")), object())
    lobby.hub.presence.arrive(("default", ("kitchen", "cook")), object())
    status, body = await ask(lobby, "ann")
    assert (status, list(json.loads(body)["members"])) == (200, ["ann", "other"])
    assert (await ask(lobby, "ann", headers={"X-Tenant": "nowhere"}))[0] == 404
    assert (ann.clean, other.clean) == (None, None)


@pytest.mark.parametrize("wrong", ["", "-1", "x", "1.5", "\u0663", "9" * 16, "0x10", " "])
@pytest.mark.gen_test
async def test_a_place_that_is_not_a_number_is_an_error(lobby, wrong):
    """It is answered 400; a number beyond the last page has no members."""
    await lobby.enter("ann")
    assert (await ask(lobby, "ann", after=wrong))[0] == 400
    status, body = await ask(lobby, "ann", after="9" * 15)
    assert (status, json.loads(body)["members"]) == (200, {})


@pytest.mark.gen_test
async def test_a_foreign_page_may_not_ask(lobby):
    """As with streams and signs: 403 for what the page of another site asks."""
    await lobby.enter("ann")
    status, _ = await ask(lobby, "ann", headers={"Sec-Fetch-Site": "cross-site"})
    assert status == 403
    assert (await ask(lobby, "ann", headers={"Sec-Fetch-Site": "same-origin"}))[0] == 200


@pytest.mark.gen_test
async def test_a_hub_without_presence_has_no_pages(serve, caplog):
    """It says what is missing in the log."""
    lobby = Lobby(presence=None, routes=ROUTES)
    lobby.url = serve(lobby.app)
    await lobby.enter("ann")
    assert (await ask(lobby, "ann"))[0] == 500
    assert "section presence" in caplog.text


@pytest.mark.gen_test(timeout=60)
async def test_a_crowd_enters_at_once(serve):
    """Hundreds enter together, in real time: nobody is left out, also not those that were there before, and few events say it all."""
    lobby = Lobby(
        presence=PresenceConfig(large=100), routes=ROUTES, history=None, timer=time.monotonic
    )
    lobby.url = serve(lobby.app)
    residents = [await lobby.enter(f"resident {number}") for number in range(5)]
    crowd = await asyncio.gather(*(lobby.enter(f"m{number}") for number in range(80)))
    await eventually(lambda: lobby.hub.streams.feed.announcer.due == inf)
    now = {member.key.id: member.away for member in lobby.hub.presence.announced(LOBBY)}
    assert len(now) == 85
    for client in (*residents, *crowd):
        events = await client.quiet(0.01)
        page = Page().take(events)
        assert (page.is_whole, page.roster) == (True, now)
    crowd = await asyncio.gather(*(lobby.enter(f"n{number}") for number in range(200)))
    await eventually(lambda: lobby.hub.streams.feed.announcer.due == inf)
    version = lobby.hub.presence.page(key("any")).version
    for client in (*residents, *crowd):
        events = await client.quiet(0.01)
        counts = [json.loads(event.data) for event in events if event.event == "presence_count"]
        assert (counts[-1]["count"], counts[-1]["version"]) == (285, version)
        assert len(events) < 20
    for number, client in enumerate(crowd[:3]):
        page = Page()
        texts = []
        after = 0
        while after is not None:
            _, body = await ask(lobby, f"n{number}", after=after)
            texts.append(body)
            after = json.loads(body)["next"]
        page.roster = {}
        assert all(page.turn_to(text) for text in texts)
        assert set(page.certain()) == {member.key.id for member in lobby.hub.presence.roster(LOBBY)}
        assert client.clean is None
